//! Which keyspaces and tables a job is about: names, globs (`orders_*`, `?` for one character) and exclusions (`!*_tmp`).
//!
//! Names are unquoted, as the database stores them. A pattern of tables may name its keyspace: `shop.orders_*`.

use std::fmt;

/// Longest pattern, in bytes: two of the longest names with a dot and some stars.
const PATTERN_BYTES_MAX: usize = 512;

/// Patterns of one kind of name. Without any that includes, everything is included that none excludes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    excludes: bool,
    keyspace: Option<String>,
    name: String,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no pattern of names: {why}; write letters, digits and underscores, * and ?, and ! in front to exclude"
)]
pub struct PatternError {
    text: String,
    why: &'static str,
}

impl Patterns {
    /// Patterns of keyspaces.
    ///
    /// # Errors
    /// Names the first text that is no pattern.
    pub fn of_keyspaces(texts: &[String]) -> Result<Self, PatternError> {
        let patterns = texts.iter().map(|text| Pattern::parse(text, false)).collect::<Result<_, _>>()?;
        Ok(Self(patterns))
    }

    /// Patterns of tables.
    ///
    /// # Errors
    /// Names the first text that is no pattern.
    pub fn of_tables(texts: &[String]) -> Result<Self, PatternError> {
        let patterns = texts.iter().map(|text| Pattern::parse(text, true)).collect::<Result<_, _>>()?;
        Ok(Self(patterns))
    }

    /// Whether nothing is included by name, so that everything is that is not excluded.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.0.iter().all(|pattern| pattern.excludes)
    }

    /// Whether nothing was given: no choice was made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a keyspace is meant.
    #[must_use]
    pub fn has_keyspace(&self, keyspace: &str) -> bool {
        self.has(|pattern| glob(&pattern.name, keyspace))
    }

    /// Whether a table is meant.
    #[must_use]
    pub fn has_table(&self, keyspace: &str, table: &str) -> bool {
        self.has(|pattern| {
            pattern.keyspace.as_ref().is_none_or(|named| glob(named, keyspace)) && glob(&pattern.name, table)
        })
    }

    /// The one name that is meant, where that is all there is: no glob, no exclusion.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        match &self.0[..] {
            [one] if !one.excludes && one.is_name() => Some(&one.name),
            _ => None,
        }
    }

    /// Plain names that must exist, or the user mistyped one; with their keyspace where it was given.
    pub fn names(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let names = self.0.iter().filter(|pattern| !pattern.excludes && pattern.is_name());
        names.map(|pattern| (pattern.keyspace.as_deref(), pattern.name.as_str()))
    }

    fn has(&self, matches: impl Fn(&Pattern) -> bool) -> bool {
        let excluded = self.0.iter().any(|pattern| pattern.excludes && matches(pattern));
        !excluded && (self.takes_all() || self.0.iter().any(|pattern| !pattern.excludes && matches(pattern)))
    }
}

impl Pattern {
    fn parse(text: &str, may_name_keyspace: bool) -> Result<Self, PatternError> {
        let error = |why| PatternError { text: text.chars().take(100).collect(), why };
        if text.len() > PATTERN_BYTES_MAX {
            return Err(error("it is too long"));
        }
        let (excludes, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (keyspace, name) = match rest.split_once('.') {
            Some(_) if !may_name_keyspace => return Err(error("a dot is part of no keyspace's name")),
            Some((keyspace, name)) => (Some(keyspace), name),
            None => (None, rest),
        };
        for part in keyspace.into_iter().chain([name]) {
            if part.is_empty() {
                return Err(error("a name is empty"));
            }
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'*' | b'?')) {
                return Err(error("it holds another character"));
            }
        }
        Ok(Self { excludes, keyspace: keyspace.map(str::to_owned), name: name.to_owned() })
    }

    fn is_name(&self) -> bool {
        let plain = |text: &str| !text.contains(['*', '?']);
        plain(&self.name) && self.keyspace.as_deref().is_none_or(plain)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for Pattern { excludes, keyspace, name } in &self.0 {
            f.write_str(separator)?;
            f.write_str(if *excludes { "!" } else { "" })?;
            if let Some(keyspace) = keyspace {
                write!(f, "{keyspace}.")?;
            }
            f.write_str(name)?;
            separator = ",";
        }
        Ok(())
    }
}

/// Whether a glob matches a whole name, by the usual two cursors that go back to the last star.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut to, mut star) = (0, 0, None);
    while to < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, to));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[to] => {
                at += 1;
                to += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, to) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(texts: &[&str]) -> Patterns {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Patterns::of_tables(&texts).expect("patterns")
    }

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name, matches) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders_*", "orders_", true),
            ("*_tmp", "a_tmp_b_tmp", true),
            ("*_tmp", "a_tmp_b", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xaxbx", true),
            ("**", "", true),
        ] {
            assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_excluded_is_out_whatever_includes_it() {
        let patterns = tables(&["orders_*", "!*_tmp"]);
        assert!(patterns.has_table("shop", "orders_2024"));
        assert!(!patterns.has_table("shop", "orders_tmp"));
        assert!(!patterns.has_table("shop", "users"));
        assert!(tables(&["!a"]).has_table("shop", "b"));
        assert!(tables(&[]).has_table("shop", "b"));
    }

    #[test]
    fn a_table_may_be_named_with_its_keyspace() {
        let patterns = tables(&["shop.*", "!shop.a", "b"]);
        assert!(patterns.has_table("shop", "x") && patterns.has_table("other", "b"));
        assert!(!patterns.has_table("shop", "a") && !patterns.has_table("other", "x"));
        assert_eq!(patterns.names().collect::<Vec<_>>(), [(None, "b")]);
        assert_eq!(patterns.to_string(), "shop.*,!shop.a,b");
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_name() {
        for text in ["", "!", "a b", "a.", "x\"y", "a.b.c"] {
            assert!(Patterns::of_tables(&[text.to_owned()]).is_err(), "{text}");
        }
        assert!(Patterns::of_keyspaces(&["a.b".to_owned()]).is_err());
    }
}
