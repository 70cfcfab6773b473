//! JSON as Python's `json.dumps` writes it: RFC 8259, and `NaN`, `Infinity`, `-Infinity` beside the numbers. Numbers stay
//! the text that they are, so that nothing is rounded before the type is known.

use std::borrow::Cow;

/// Why a text can't be read: a constant, so that it never holds a cell's value.
pub(super) type Defect = &'static str;

/// Arrays and objects in each other, at most: types nest no deeper, and a hostile file must not exhaust the stack.
const NESTING_MAX: usize = 128;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// A number, or Python's word for one that is not finite.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// In the order of the text; a key may stand there twice.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Reads a whole text.
pub(super) fn parse(text: &[u8]) -> Result<Json<'_>, Defect> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at == text.len() { Ok(value) } else { Err("something follows a value") }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Json<'a>, Defect> {
        if depth > NESTING_MAX {
            return Err("values nest too deep");
        }
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(_) => self.bare(),
            None => Err("a value is missing"),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, Defect> {
        self.at += 1;
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.eat(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, Defect> {
        self.at += 1;
        let mut members = Vec::new();
        if self.eat(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err("the name of a member is missing");
            }
            let name = self.string()?;
            self.expect(b':')?;
            members.push((name, self.value(depth + 1)?));
            if self.eat(b'}') {
                return Ok(Json::Object(members));
            }
            self.expect(b',')?;
        }
    }

    /// A word or a number.
    fn bare(&mut self) -> Result<Json<'a>, Defect> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        match word {
            "null" => Ok(Json::Null),
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            "NaN" | "Infinity" | "-Infinity" => Ok(Json::Number(word)),
            _ if is_number(word) => Ok(Json::Number(word)),
            _ => Err("something stands where a value should"),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Defect> {
        self.at += 1;
        let rest = &self.text[self.at..];
        let plain = rest.find(['"', '\\']).ok_or("a string does not end")?;
        let head = &rest[..plain];
        if head.bytes().any(|byte| byte < 0x20) {
            return Err("a control character stands in a string");
        }
        self.at += plain;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(head));
        }
        let mut text = head.to_owned();
        loop {
            let c = self.text[self.at..].chars().next().ok_or("a string does not end")?;
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(Cow::Owned(text)),
                '\\' => text.push(self.escape()?),
                c if c < ' ' => return Err("a control character stands in a string"),
                c => text.push(c),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Defect> {
        let byte = self.peek().ok_or("a string does not end")?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err("a string holds an unknown escape"),
        })
    }

    fn unicode(&mut self) -> Result<char, Defect> {
        const HALF: Defect = "a string holds half a character";
        let first = self.hex()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(HALF);
        }
        if first >= 0xdc00 || !self.text[self.at..].starts_with("\\u") {
            return Err(HALF);
        }
        self.at += 2;
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(HALF);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(HALF)
    }

    fn hex(&mut self) -> Result<u32, Defect> {
        const DEFECT: Defect = "a string holds an unfinished escape";
        let digits = self.text.get(self.at..self.at + 4).ok_or(DEFECT)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DEFECT);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| DEFECT)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Defect> {
        if self.eat(wanted) { Ok(()) } else { Err("a comma, a colon or an end is missing") }
    }
}

/// A number of JSON's grammar.
fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let text = br#" {"a" : [1, -2.5e-07, NaN, -Infinity, true,null], "b":"\u00e9\ud83d\ude00\n\/", "c": {}} "#;
        let number = Json::Number;
        let items =
            vec![number("1"), number("-2.5e-07"), number("NaN"), number("-Infinity"), Json::Bool(true), Json::Null];
        let expected = Json::Object(vec![
            ("a".into(), Json::Array(items)),
            ("b".into(), Json::Text("é😀\n/".into())),
            ("c".into(), Json::Object(vec![])),
        ]);
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn damage_is_refused() {
        for text in [
            "",
            "{",
            "[1",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{1:2}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "nan",
            "tru",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "\"\u{1}\"",
            "\"\\n\u{1}\"",
            "1 2",
            "\"a\"b",
            "--1",
            "'a'",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_ends_without_a_panic(text in "[\\[\\]{}\",:0-9eE.\\\\u a-f+-]{0,40}") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn strings_are_those_that_serde_writes(text: String) {
            let written = serde_json::to_string(&text).expect("a string");
            prop_assert_eq!(parse(written.as_bytes()), Ok(Json::Text(text.into())));
        }
    }
}
