//! CQL tokens (CQL specification, "Appendix: CQL grammar"): enough to find the parts of a statement without ever taking
//! a character inside a string, a quoted name, a function body or a comment for syntax.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bare word: keyword, unquoted name, number, duration.
    Word,
    /// `"a name"`.
    QuotedName,
    /// `'text'` or `$$text$$`.
    Text,
    /// Any other single character.
    Symbol,
}

/// A token with its place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its source, quotes included.
    pub text: &'a str,
    /// Byte offset of its first character.
    pub start: usize,
}

impl Token<'_> {
    /// Byte offset behind its last character.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword, in any case.
    #[must_use]
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this character.
    #[must_use]
    pub fn is_symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol && self.text.starts_with(symbol)
    }

    /// The name or text that it stands for: unquoted, bare words in lower case.
    #[must_use]
    pub fn value(&self) -> String {
        match self.kind {
            Kind::Word => self.text.to_lowercase(),
            Kind::QuotedName => inner(self.text, 1).replace("\"\"", "\""),
            Kind::Text if self.text.starts_with("$$") => inner(self.text, 2).to_owned(),
            Kind::Text => inner(self.text, 1).replace("''", "'"),
            Kind::Symbol => self.text.to_owned(),
        }
    }
}

/// `text` without `width` bytes of quotes on both sides; an unclosed token has none at its end.
fn inner(text: &str, width: usize) -> &str {
    let body = &text[width.min(text.len())..];
    let quote = &text[..width.min(text.len())];
    body.strip_suffix(quote).unwrap_or(body)
}

/// The tokens of `source`, without white space and comments. Never fails: an unclosed string ends with the source.
#[must_use]
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let (kind, length) = match first {
            c if c.is_whitespace() => (None, c.len_utf8()),
            _ if rest.starts_with("--") || rest.starts_with("//") => (None, rest.find('\n').unwrap_or(rest.len())),
            _ if rest.starts_with("/*") => (None, rest[2..].find("*/").map_or(rest.len(), |end| end + 4)),
            _ if rest.starts_with("$$") => (Some(Kind::Text), rest[2..].find("$$").map_or(rest.len(), |end| end + 4)),
            '\'' => (Some(Kind::Text), closed(rest, b'\'')),
            '"' => (Some(Kind::QuotedName), closed(rest, b'"')),
            c if is_word(c) => (Some(Kind::Word), rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            c => (Some(Kind::Symbol), c.len_utf8()),
        };
        if let Some(kind) = kind {
            found.push(Token { kind, text: &rest[..length], start: at });
        }
        at += length;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of a quoted token whose quotes inside are doubled.
fn closed(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

/// The statements of a script, without the `;` between them.
#[must_use]
pub fn statements(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut first: Option<usize> = None;
    let mut last = 0;
    for token in tokens(source) {
        if token.is_symbol(';') {
            found.extend(first.take().map(|start| &source[start..last]));
        } else {
            first.get_or_insert(token.start);
            last = token.end();
        }
    }
    found.extend(first.map(|start| &source[start..last]));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_inside_a_body_a_text_a_name_or_a_comment_ends_no_statement() {
        let script = "CREATE FUNCTION f() AS $$ return 'a;'; $$;\n-- a; b\nCREATE TABLE \"a;\"\"b\" (k int) /* ; */ WITH comment = 'it''s; so';;  ";
        assert_eq!(
            statements(script),
            [
                "CREATE FUNCTION f() AS $$ return 'a;'; $$",
                "CREATE TABLE \"a;\"\"b\" (k int) /* ; */ WITH comment = 'it''s; so'",
            ]
        );
    }

    #[test]
    fn tokens_know_what_they_stand_for() {
        let values: Vec<String> = tokens("Foo \"Ba\"\"r\" 'it''s' $$x'y$$ =").iter().map(Token::value).collect();
        assert_eq!(values, ["foo", "Ba\"r", "it's", "x'y", "="]);
    }

    #[test]
    fn an_unclosed_text_ends_with_the_source() {
        for source in ["'abc", "\"abc", "$$abc", "/* abc", "'", "$$", "\"", "'''"] {
            let found = tokens(source);
            assert!(found.len() <= 1, "{source}");
            let _ = found.first().map(Token::value);
        }
    }
}
