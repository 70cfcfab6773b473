//! Collections, tuples, vectors and user types ↔ JSON arrays and objects. The framing is that of the native protocol
//! (v4, section 6): `[count i32]` and `[length i32][bytes]`, length -1 for null; vectors have neither, or vint lengths.
//! Other framing (a negative count, bytes left over) makes the whole value verbatim.

use super::{
    cursor::{Cursor, Defect},
    text,
    value::{ValueReader, ValueWriter},
    vint,
};
use crate::cql_type::{CqlType, UdtType};

const NULL: &[u8] = b"null";

impl ValueWriter {
    /// Writes a composite that is not empty; nothing where its framing is not what would be read back.
    pub(super) fn composite(&mut self, cql_type: &CqlType, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match cql_type {
            CqlType::List(element) | CqlType::Set(element) => self.list(element, bytes, out),
            CqlType::Map(key, value) => self.map(key, value, bytes, out),
            CqlType::Tuple(items) => self.tuple(items, bytes, out),
            CqlType::Udt(udt) => self.udt(udt, bytes, out),
            CqlType::Vector(element, dimension) => self.vector(element, usize::from(*dimension), bytes, out),
            _ => None,
        }
    }

    fn list(&mut self, element: &CqlType, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let count = take_count(&mut bytes, 4)?;
        out.push(b'[');
        for index in 0..count {
            separate(index, out);
            self.nullable(element, take_element(&mut bytes)?, out);
        }
        out.push(b']');
        bytes.is_empty().then_some(())
    }

    fn map(&mut self, key: &CqlType, value: &CqlType, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let count = take_count(&mut bytes, 8)?;
        out.push(b'{');
        for index in 0..count {
            separate(index, out);
            self.key(key, take_element(&mut bytes)??, out);
            out.push(b':');
            self.nullable(value, take_element(&mut bytes)?, out);
        }
        out.push(b'}');
        bytes.is_empty().then_some(())
    }

    /// A tuple may end before its type does: then fields were added to the type after it was written.
    fn tuple(&mut self, items: &[CqlType], mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if bytes.is_empty() {
                break;
            }
            separate(index, out);
            self.nullable(item, take_element(&mut bytes)?, out);
        }
        out.push(b']');
        bytes.is_empty().then_some(())
    }

    fn udt(&mut self, udt: &UdtType, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        out.push(b'{');
        for (index, (name, field)) in udt.fields.iter().enumerate() {
            if bytes.is_empty() {
                break;
            }
            separate(index, out);
            text::write_name(name, out);
            self.nullable(field, take_element(&mut bytes)?, out);
        }
        out.push(b'}');
        bytes.is_empty().then_some(())
    }

    fn vector(&mut self, element: &CqlType, dimension: usize, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let fixed = element.vector_element_bytes();
        out.push(b'[');
        for index in 0..dimension {
            separate(index, out);
            let length = match fixed {
                Some(length) => length,
                None => usize::try_from(vint::read_unsigned(&mut bytes)?).ok()?,
            };
            let (value, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            self.value(element, value, out);
        }
        out.push(b']');
        bytes.is_empty().then_some(())
    }

    fn nullable(&mut self, cql_type: &CqlType, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        match bytes {
            Some(bytes) => self.value(cql_type, bytes, out),
            None => out.extend_from_slice(NULL),
        }
    }
}

impl ValueReader {
    /// Reads a composite that is neither empty nor verbatim.
    pub(super) fn composite(
        &mut self,
        cql_type: &CqlType,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Defect> {
        match cql_type {
            CqlType::List(element) | CqlType::Set(element) => {
                let start = open_length(out);
                let count = cursor.sequence(ARRAY, |cursor, _| self.nullable(element, cursor, out))?;
                put_length(start, count, out)
            }
            CqlType::Map(key, value) => {
                let start = open_length(out);
                let count = cursor.sequence(OBJECT, |cursor, _| {
                    let at = open_length(out);
                    self.key(key, cursor, out)?;
                    put_length(at, out.len() - at - 4, out)?;
                    cursor.expect(b":", "a colon is wanted")?;
                    self.nullable(value, cursor, out)
                })?;
                put_length(start, count, out)
            }
            CqlType::Tuple(items) => {
                let item = |cursor: &mut Cursor<'_>, index: usize| {
                    let item = items.get(index).ok_or("a tuple has more items than its type")?;
                    self.nullable(item, cursor, out)
                };
                cursor.sequence(ARRAY, item).map(drop)
            }
            CqlType::Udt(udt) => {
                let field = |cursor: &mut Cursor<'_>, index: usize| {
                    let Some((name, field)) = udt.fields.get(index) else {
                        return Err("a user type's value has more fields than its type");
                    };
                    self.field_name(name, cursor)?;
                    self.nullable(field, cursor, out)
                };
                cursor.sequence(OBJECT, field).map(drop)
            }
            CqlType::Vector(element, dimension) => {
                let fixed = element.vector_element_bytes();
                let count = cursor.sequence(ARRAY, |cursor, _| self.vector_element(element, fixed, cursor, out))?;
                if count == usize::from(*dimension) { Ok(()) } else { Err("a vector is not of its type's dimension") }
            }
            _ => Err("the value is not of the form that its type has"),
        }
    }

    /// Reads a value or null, with its length before it.
    fn nullable(&mut self, cql_type: &CqlType, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Defect> {
        let at = open_length(out);
        if cursor.eat(NULL) {
            out[at..].copy_from_slice(&(-1i32).to_be_bytes());
            return Ok(());
        }
        self.value(cql_type, cursor, out)?;
        put_length(at, out.len() - at - 4, out)
    }

    fn vector_element(
        &mut self,
        element: &CqlType,
        fixed: Option<usize>,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Defect> {
        let start = out.len();
        self.value(element, cursor, out)?;
        let length = out.len() - start;
        match fixed {
            Some(fixed) if fixed == length => Ok(()),
            Some(_) => Err("an element of a vector is not of its type's length"),
            None => {
                // The length has a length of its own: known only now, moved to the front.
                vint::write_unsigned(length as u64, out);
                let prefix = out.len() - start - length;
                out[start..].rotate_right(prefix);
                Ok(())
            }
        }
    }

    /// Fields stand in the order of the type, none left out but at the end.
    fn field_name(&mut self, name: &str, cursor: &mut Cursor<'_>) -> Result<(), Defect> {
        let mut wanted = self.spare.pop().unwrap_or_default();
        wanted.clear();
        text::write_name(name, &mut wanted);
        let read = cursor.expect(&wanted, "a user type's value has an unknown field, or one out of order");
        self.spare.push(wanted);
        read
    }
}

const ARRAY: (&[u8], &[u8]) = (b"[", b"]");
const OBJECT: (&[u8], &[u8]) = (b"{", b"}");

/// Takes an element count; no more than the rest can hold at so many bytes each.
fn take_count(bytes: &mut &[u8], element_bytes_min: usize) -> Option<usize> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    *bytes = rest;
    (count <= rest.len() / element_bytes_min).then_some(count)
}

/// Takes an element with its length; inside, nothing for null.
#[allow(clippy::option_option)] // malformed, null, there
fn take_element<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length == -1 {
        *bytes = rest;
        return Some(None);
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(value))
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// Leaves room for a count or a length; returns where.
fn open_length(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    at
}

fn put_length(at: usize, length: usize, out: &mut [u8]) -> Result<(), Defect> {
    let length = i32::try_from(length).map_err(|_| "a value is longer than CQL can carry")?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
