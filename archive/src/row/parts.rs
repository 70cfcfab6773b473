//! Pieces of the row line's reading that other readers of values share: the text forms of scalars, and vints.

use super::{
    cursor::{Cursor, Defect},
    value::ValueReader,
    vint,
};
use crate::cql_type::CqlType;

/// Reads a scalar of any type but text from the form that it has in a row line, quotes or none. Text is refused.
pub(crate) fn read_scalar(cql_type: &CqlType, text: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'$'));
    if !plain || text.is_empty() || cql_type.is_composite() || matches!(cql_type, CqlType::Ascii | CqlType::Text) {
        return Err("the value is not of the form that its type has");
    }
    let quoted = format!("\"{text}\"");
    ValueReader::default().key(cql_type, &mut Cursor::new(quoted.as_bytes()), out)
}

/// Appends an unsigned vint, as vectors of types without a fixed length frame their elements.
pub(crate) fn write_vint(value: u64, out: &mut Vec<u8>) {
    vint::write_unsigned(value, out);
}

/// Takes an unsigned vint off the front; nothing where there is none in its shortest form.
pub(crate) fn read_vint(bytes: &mut &[u8]) -> Option<u64> {
    vint::read_unsigned(bytes)
}
