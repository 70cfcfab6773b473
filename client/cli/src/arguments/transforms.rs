//! Values of flags that say how rows are chosen and changed on their way: pairs of names, replication, tokens, keys.

use std::{collections::BTreeMap, convert::Infallible, fmt, str::FromStr};

use ringvault_proto::v1;
use serde::de::IgnoredAny;
use serde_json::Value;

/// An old name and a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// Reads `OLD=NEW`.
pub(crate) fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=').map(|(old, new)| (old.trim(), new.trim())) {
        Some((old, new)) if !old.is_empty() && !new.is_empty() && !new.contains('=') => {
            Ok(Pair { old: old.to_owned(), new: new.to_owned() })
        }
        _ => Err("want OLD=NEW, the backup's name first".to_owned()),
    }
}

/// A keyspace's replication: its class and the options of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replication(pub(crate) BTreeMap<String, String>);

/// Reads a map as CQL writes it, or the same as JSON: they differ in nothing but the quotes.
pub(crate) fn replication(text: &str) -> Result<Replication, String> {
    const WANT: &str = "want a map such as {'class': 'NetworkTopologyStrategy', 'dc1': 3}";
    let value: Value = serde_json::from_str(&json_of_cql(text)).map_err(|_| WANT.to_owned())?;
    let Value::Object(entries) = value else { return Err(WANT.to_owned()) };
    let mut map = BTreeMap::new();
    for (name, value) in entries {
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return Err(format!("{name:?} wants a text or a number; {WANT}")),
        };
        map.insert(name, value);
    }
    if map.contains_key("class") { Ok(Replication(map)) } else { Err(format!("it names no 'class'; {WANT}")) }
}

/// CQL's quotes around texts, turned into those of JSON. What stands in JSON's quotes already stays.
fn json_of_cql(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                json.push('"');
                while let Some(inner) = characters.next() {
                    json.push(inner);
                    match inner {
                        '"' => break,
                        '\\' => json.extend(characters.next()),
                        _ => {}
                    }
                }
            }
            '\'' => {
                let mut inner = String::new();
                while let Some(next) = characters.next() {
                    match next {
                        '\'' if characters.peek() == Some(&'\'') => {
                            characters.next();
                            inner.push('\'');
                        }
                        '\'' => break,
                        next => inner.push(next),
                    }
                }
                json.push_str(&Value::String(inner).to_string());
            }
            other => json.push(other),
        }
    }
    json
}

/// Reads `START:END`, tokens in (START, END]. Where END is lower, the range goes over the end of the ring; where both are
/// equal, it is the whole ring.
pub(crate) fn token_span(text: &str) -> Result<v1::TokenSpan, String> {
    const WANT: &str = "want START:END, two tokens between -9223372036854775808 and 9223372036854775807, such as \
                        -4611686018427387904:0";
    let (start, end) = text.split_once(':').ok_or(WANT)?;
    let token = |text: &str| text.trim().parse::<i64>().map_err(|_| WANT.to_owned());
    Ok(v1::TokenSpan { start: token(start)?, end: token(end)? })
}

/// A partition key as it was written. It is a value of the database: no message, no log and no `Debug` shows it, so it is
/// read only by [`Key::cells`], which names what is wrong and not what was given.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl FromStr for Key {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// The JSON of each key column: of an array its members, else the one value.
    pub(crate) fn cells(&self) -> Result<Vec<String>, &'static str> {
        const WANT: &str = "--partition-key wants JSON as in a row line: 42, '\"anna\"', or an array with a value for each \
                            key column: '[42,\"anna\"]'; texts, uuids and timestamps stand in double quotes";
        let text = self.0.trim();
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| WANT)?;
        let cells = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(members) if members.trim().is_empty() => {
                return Err("--partition-key is an empty array; give a value for each key column");
            }
            Some(members) => members_of(members),
            None => vec![text.to_owned()],
        };
        if cells.iter().any(|cell| cell == "null") {
            return Err("--partition-key holds null, which no key does");
        }
        Ok(cells)
    }
}

/// The members of a JSON array that is known to be one, as they were written.
fn members_of(inner: &str) -> Vec<String> {
    let (mut members, mut start, mut depth) = (Vec::new(), 0, 0);
    let (mut in_text, mut escaped) = (false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                members.push(inner[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(inner[start..].trim().to_owned());
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Vec<(String, String)> {
        replication(text).expect(text).0.into_iter().collect()
    }

    #[test]
    fn replication_is_a_map_of_cql_or_of_json() {
        let want =
            [("class", "SimpleStrategy"), ("replication_factor", "1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        for text in [
            "{'class': 'SimpleStrategy', 'replication_factor': 1}",
            "{'class':'SimpleStrategy','replication_factor':'1'}",
            r#"{"class": "SimpleStrategy", "replication_factor": 1}"#,
            "{ 'class' : \"SimpleStrategy\" , \"replication_factor\" : '1' }",
        ] {
            assert_eq!(map(text), want, "{text}");
        }
        let odd = map(r#"{'class': 'NetworkTopologyStrategy', 'o''dc "1"': '3'}"#);
        assert_eq!(odd[1], ("o'dc \"1\"".to_owned(), "3".to_owned()));
        for text in
            ["", "SimpleStrategy", "{}", "{'dc1': 3}", "{'class': ['a']}", "{'class': 'a'", "{'class': null}", "[1]"]
        {
            assert!(replication(text).expect_err(text).contains("'class'"), "{text}");
        }
    }

    #[test]
    fn pairs_name_the_old_one_first() {
        assert_eq!(pair("a=b"), Ok(Pair { old: "a".into(), new: "b".into() }));
        for text in ["a", "=b", "a=", "a=b=c", ""] {
            assert!(pair(text).expect_err(text).contains("OLD=NEW"), "{text}");
        }
    }

    #[test]
    fn a_token_range_is_two_tokens() {
        assert_eq!(token_span("-5:7"), Ok(v1::TokenSpan { start: -5, end: 7 }));
        let whole = format!("{0}:{0}", i64::MIN);
        assert!(token_span(&whole).is_ok() && token_span("5:-5").is_ok());
        for text in ["", "5", "a:b", "1:9223372036854775808"] {
            assert!(token_span(text).expect_err(text).contains("START:END"), "{text}");
        }
    }

    #[test]
    fn a_partition_key_is_taken_as_it_was_written_and_never_shown() {
        let key = |text: &str| Key(text.to_owned());
        let cells = |text: &str| key(text).cells().expect(text);
        assert_eq!(cells("42"), ["42"]);
        assert_eq!(cells(r#" "anna" "#), [r#""anna""#]);
        assert_eq!(cells(r#"[ 9223372036854775807, "a,b", [1,2] ]"#), ["9223372036854775807", r#""a,b""#, "[1,2]"]);
        assert_eq!(cells("1.50"), ["1.50"]);
        for text in ["canary", "", "[]", "null", "[1,canary]", "1 canary"] {
            let error = key(text).cells().expect_err(text);
            assert!(error.contains("--partition-key") && !error.contains("canary"), "{text}: {error}");
        }
        assert!(!format!("{:?}", key("canary")).contains("canary"));
    }
}
