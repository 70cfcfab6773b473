//! One value ↔ its JSON, for every type: `write_x` and `read_x` stand side by side. What the canonical form of a type
//! can't reproduce is written verbatim (`{"$":"0x…"}`), so that reading gives back every byte string. Composites are in
//! `composite`.
//!
//! Recursion follows the type, never the data, and types are bounded by `TYPE_NESTING_MAX`; both sides check it again.

use super::{
    cursor::{Cursor, Defect, Quoted},
    number, text, time,
};
use crate::cql_type::{CqlType, TYPE_NESTING_MAX};

/// Map keys in map keys that are written out as JSON text in a string, at most. A deeper composite key is verbatim: each
/// level escapes the level inside it again, so without a bound a line could grow exponentially with the depth.
pub(super) const KEY_NESTING_MAX: usize = 3;

/// Opens a verbatim value; its hex digits and [`VERBATIM_END`] follow.
const VERBATIM: &[u8] = b"{\"$\":\"0x";
const VERBATIM_END: &[u8] = b"\"}";

/// Writes values. Holds buffers only.
#[derive(Default)]
pub(super) struct ValueWriter {
    /// The JSON text of a composite map key, before it is escaped.
    key_text: Vec<u8>,
    /// Composites around the value that is being written.
    pub(super) depth: usize,
    /// Map keys around it.
    key_depth: usize,
}

impl ValueWriter {
    /// Writes a value that is not null.
    pub(super) fn value(&mut self, cql_type: &CqlType, bytes: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if self.canonical(cql_type, bytes, out).is_none() {
            out.truncate(start);
            out.extend_from_slice(VERBATIM);
            text::write_hex(bytes, out);
            out.extend_from_slice(VERBATIM_END);
        }
    }

    /// Writes a map key, always a string: of a string its contents, of anything else its JSON text, `$0x…` for verbatim.
    pub(super) fn key(&mut self, cql_type: &CqlType, bytes: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if self.canonical_key(cql_type, bytes, out).is_none() {
            out.truncate(start);
            out.extend_from_slice(b"\"$0x");
            text::write_hex(bytes, out);
            out.push(b'"');
        }
    }

    /// Nothing where the bytes can't be reproduced from the form that the type has; `out` then holds leftovers.
    fn canonical(&mut self, cql_type: &CqlType, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if bytes.is_empty() && !empty_is_normal(cql_type) {
            out.extend_from_slice(b"\"\"");
            return Some(());
        }
        if !cql_type.is_composite() {
            return write_scalar(cql_type, bytes, out);
        }
        if self.depth >= TYPE_NESTING_MAX {
            return None;
        }
        self.depth += 1;
        let written = self.composite(cql_type, bytes, out);
        self.depth -= 1;
        written
    }

    fn canonical_key(&mut self, cql_type: &CqlType, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        if let CqlType::Text | CqlType::Ascii = cql_type {
            std::str::from_utf8(bytes).ok()?;
            out.push(b'"');
            if bytes.first() == Some(&b'$') {
                out.push(b'$');
            }
            text::write_escaped(bytes, out);
            out.push(b'"');
            return Some(());
        }
        if !cql_type.is_composite() || bytes.is_empty() {
            self.canonical(cql_type, bytes, out)?;
            if out.get(start) != Some(&b'"') {
                out.insert(start, b'"');
                out.push(b'"');
            }
            return Some(());
        }
        if self.key_depth >= KEY_NESTING_MAX {
            return None;
        }
        self.key_depth += 1;
        let written = self.canonical(cql_type, bytes, out);
        self.key_depth -= 1;
        written?;
        self.key_text.clear();
        self.key_text.extend_from_slice(&out[start..]);
        out.truncate(start);
        out.push(b'"');
        text::write_escaped(&self.key_text, out);
        out.push(b'"');
        Some(())
    }
}

/// Reads values. Holds buffers only.
#[derive(Default)]
pub(super) struct ValueReader {
    /// Spare buffers for map keys and field names.
    pub(super) spare: Vec<Vec<u8>>,
    /// Composites around the value that is being read.
    depth: usize,
}

impl ValueReader {
    /// Ready for another line, also after an error in the middle of one.
    pub(super) fn reset(&mut self) {
        self.depth = 0;
    }

    /// Reads a value that is not null and appends its bytes.
    pub(super) fn value(
        &mut self,
        cql_type: &CqlType,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Defect> {
        if cursor.eat(VERBATIM) {
            text::read_hex(cursor.bare(), out)?;
            return cursor.expect(VERBATIM_END, "a verbatim value does not end");
        }
        match cursor.peek() {
            Some(b'"') => {
                let quoted = cursor.string()?;
                if let CqlType::Text | CqlType::Ascii = cql_type {
                    return text::read_escaped(quoted, out);
                }
                read_unescaped(cql_type, Form::Quoted, quoted, out)
            }
            None => Err("the line ends too early"),
            Some(_) if cql_type.is_composite() => self.nested(cql_type, cursor, out),
            Some(_) => read_scalar(cql_type, Form::Bare, cursor.bare(), out),
        }
    }

    /// Reads a map key and appends its bytes.
    pub(super) fn key(&mut self, cql_type: &CqlType, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Defect> {
        let mut quoted = cursor.string()?;
        if let Some(digits) = quoted.raw.strip_prefix(b"$0x") {
            return text::read_hex(digits, out);
        }
        if let CqlType::Text | CqlType::Ascii = cql_type {
            if let Some(rest) = quoted.raw.strip_prefix(b"$") {
                if !rest.starts_with(b"$") {
                    return Err("a map key starts with a single $");
                }
                quoted.raw = rest;
            }
            return text::read_escaped(quoted, out);
        }
        if !cql_type.is_composite() || quoted.raw.is_empty() {
            return read_unescaped(cql_type, Form::Key, quoted, out);
        }
        let mut json = self.spare.pop().unwrap_or_default();
        json.clear();
        let read = text::read_escaped(quoted, &mut json).and_then(|()| {
            let mut inner = Cursor::new(&json);
            self.value(cql_type, &mut inner, out)?;
            if inner.is_at_end() { Ok(()) } else { Err("something follows a value in a map key") }
        });
        self.spare.push(json);
        read
    }

    fn nested(&mut self, cql_type: &CqlType, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Defect> {
        if self.depth >= TYPE_NESTING_MAX {
            return Err("values nest too deep");
        }
        self.depth += 1;
        let read = self.composite(cql_type, cursor, out);
        self.depth -= 1;
        read
    }
}

/// How a scalar stands in the line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Without quotes.
    Bare,
    /// In quotes.
    Quoted,
    /// As a map key, where quotes say nothing.
    Key,
}

/// Zero bytes are a value like any other.
fn empty_is_normal(cql_type: &CqlType) -> bool {
    matches!(cql_type, CqlType::Ascii | CqlType::Blob | CqlType::Text)
}

/// Reads what stands in quotes, of another type than text: nothing there needs an escape.
fn read_unescaped(cql_type: &CqlType, form: Form, quoted: Quoted<'_>, out: &mut Vec<u8>) -> Result<(), Defect> {
    if quoted.escaped {
        return Err("an escape stands where none is needed");
    }
    if quoted.raw.is_empty() && !empty_is_normal(cql_type) {
        return Ok(());
    }
    read_scalar(cql_type, form, quoted.raw, out)
}

/// Writes a scalar that is not empty or for which empty is normal.
fn write_scalar(cql_type: &CqlType, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match cql_type {
        CqlType::TinyInt => number::write_int(i8::from_be_bytes(bytes.try_into().ok()?).into(), out),
        CqlType::SmallInt => number::write_int(i16::from_be_bytes(bytes.try_into().ok()?).into(), out),
        CqlType::Int => number::write_int(i32::from_be_bytes(bytes.try_into().ok()?).into(), out),
        CqlType::BigInt | CqlType::Counter => number::write_big(i64::from_be_bytes(bytes.try_into().ok()?), out),
        CqlType::Float => number::write_float(u32::from_be_bytes(bytes.try_into().ok()?), out)?,
        CqlType::Double => number::write_double(u64::from_be_bytes(bytes.try_into().ok()?), out)?,
        CqlType::Timestamp => time::write_timestamp(i64::from_be_bytes(bytes.try_into().ok()?), out),
        CqlType::Date => time::write_date(u32::from_be_bytes(bytes.try_into().ok()?), out),
        CqlType::Boolean => out.extend_from_slice(match bytes {
            [0] => b"false",
            [1] => b"true",
            _ => return None,
        }),
        CqlType::Ascii
        | CqlType::Blob
        | CqlType::Decimal
        | CqlType::Duration
        | CqlType::Inet
        | CqlType::Text
        | CqlType::Time
        | CqlType::TimeUuid
        | CqlType::Uuid
        | CqlType::VarInt => {
            out.push(b'"');
            write_quoted(cql_type, bytes, out)?;
            out.push(b'"');
        }
        CqlType::List(_)
        | CqlType::Set(_)
        | CqlType::Map(..)
        | CqlType::Tuple(_)
        | CqlType::Vector(..)
        | CqlType::Udt(_) => return None,
    }
    Some(())
}

/// Writes the contents of the string that a scalar of these types is.
fn write_quoted(cql_type: &CqlType, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match cql_type {
        CqlType::Ascii | CqlType::Text => {
            std::str::from_utf8(bytes).ok()?;
            text::write_escaped(bytes, out);
            Some(())
        }
        CqlType::Blob => {
            out.extend_from_slice(b"0x");
            text::write_hex(bytes, out);
            Some(())
        }
        CqlType::Uuid | CqlType::TimeUuid => text::write_uuid(bytes, out),
        CqlType::Inet => text::write_inet(bytes, out),
        CqlType::VarInt => number::write_varint(bytes, out),
        CqlType::Decimal => number::write_decimal(bytes, out),
        CqlType::Time => time::write_time(i64::from_be_bytes(bytes.try_into().ok()?), out),
        CqlType::Duration => time::write_duration(bytes, out),
        _ => None,
    }
}

/// Reads a scalar of any type but text.
fn read_scalar(cql_type: &CqlType, form: Form, token: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    const RANGE: Defect = "an integer in range is wanted";
    let bare = form != Form::Quoted;
    let quoted = form != Form::Bare;
    match cql_type {
        CqlType::TinyInt if bare => {
            let value = i8::try_from(number::read_int(token)?).map_err(|_| RANGE)?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        CqlType::SmallInt if bare => {
            let value = i16::try_from(number::read_int(token)?).map_err(|_| RANGE)?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        CqlType::Int if bare => {
            let value = i32::try_from(number::read_int(token)?).map_err(|_| RANGE)?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        CqlType::BigInt | CqlType::Counter => out.extend_from_slice(&number::read_int(token)?.to_be_bytes()),
        CqlType::Float => {
            let word = number::read_float_word(token).filter(|_| quoted);
            let value = if bare && word.is_none() { number::read_float(token)? } else { word.ok_or(WRONG_FORM)? };
            out.extend_from_slice(&value.to_be_bytes());
        }
        CqlType::Double => {
            let word = number::read_double_word(token).filter(|_| quoted);
            let value = if bare && word.is_none() { number::read_double(token)? } else { word.ok_or(WRONG_FORM)? };
            out.extend_from_slice(&value.to_be_bytes());
        }
        CqlType::Boolean if bare => out.push(match token {
            b"true" => 1,
            b"false" => 0,
            _ => return Err("true or false is wanted"),
        }),
        CqlType::Timestamp => {
            // A calendar time holds a space, a number never does.
            let calendar = quoted && token.contains(&b' ');
            let value = if calendar { time::read_timestamp(token)? } else { number::read_int(token)? };
            out.extend_from_slice(&value.to_be_bytes());
        }
        CqlType::Date => {
            // A number here has no sign, so a dash tells.
            let value = if form == Form::Quoted || (form == Form::Key && token.contains(&b'-')) {
                time::read_date(token)?
            } else {
                u32::try_from(number::read_int(token)?).map_err(|_| RANGE)?
            };
            out.extend_from_slice(&value.to_be_bytes());
        }
        CqlType::Blob if quoted => {
            text::read_hex(token.strip_prefix(b"0x").ok_or("a blob starts with 0x")?, out)?;
        }
        CqlType::Uuid | CqlType::TimeUuid if quoted => text::read_uuid(token, out)?,
        CqlType::Inet if quoted => text::read_inet(token, out)?,
        CqlType::VarInt if quoted => number::read_varint(token, out)?,
        CqlType::Decimal if quoted => number::read_decimal(token, out)?,
        CqlType::Time if quoted => out.extend_from_slice(&time::read_time(token)?.to_be_bytes()),
        CqlType::Duration if quoted => time::read_duration(token, out)?,
        _ => return Err(WRONG_FORM),
    }
    Ok(())
}

const WRONG_FORM: Defect = "the value is not of the form that its type has";
