//! Keys whose bytes compare as Cassandra compares the values: what rows are sorted by, and the elements of sets and maps.
//!
//! Every key ends by itself (none is the start of another), so keys can follow each other, and a key with all its bits
//! turned over sorts the other way round. Each rule names the class of `org.apache.cassandra.db.marshal` that it follows.

use num_bigint::{BigInt, Sign};

use crate::{cql_type::CqlType, row::parts};

/// Appends the key of a raw cell. A cell that is not of its type's form sorts by its bytes.
pub(super) fn append(cql_type: &CqlType, cell: &[u8], out: &mut Vec<u8>) {
    match cql_type {
        CqlType::Ascii | CqlType::Blob | CqlType::Text | CqlType::Inet | CqlType::Duration => escaped(cell, out),
        _ if cell.is_empty() => out.push(EMPTY),
        _ => {
            let start = out.len();
            out.push(THERE);
            if by_type(cql_type, cell, out).is_none() {
                out.truncate(start);
                out.push(MALFORMED);
                escaped(cell, out);
            }
        }
    }
}

/// As [`append`], for a clustering column; `reversed` turns the order round.
pub(super) fn append_clustering(cql_type: &CqlType, cell: &[u8], reversed: bool, out: &mut Vec<u8>) {
    let start = out.len();
    append(cql_type, cell, out);
    if reversed {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// Appends bytes that compare unsigned, a shorter one before what it begins (`BytesType`).
pub(super) fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// A value of no bytes, or a null, comes before all others.
const EMPTY: u8 = 0;
const THERE: u8 = 1;
const MALFORMED: u8 = 2;

/// Ends a collection; before each element stands [`MORE`], so that a shorter one comes first.
const END: u8 = 0;
const MORE: u8 = 1;

fn by_type(cql_type: &CqlType, cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match cql_type {
        // ByteType, ShortType, Int32Type, LongType, TimestampType
        CqlType::TinyInt => signed::<1>(cell, out),
        CqlType::SmallInt => signed::<2>(cell, out),
        CqlType::Int => signed::<4>(cell, out),
        CqlType::BigInt | CqlType::Counter | CqlType::Timestamp => signed::<8>(cell, out),
        // BooleanType, SimpleDateType, TimeType compare bytes
        CqlType::Boolean => fixed::<1>(cell, out),
        CqlType::Date => fixed::<4>(cell, out),
        CqlType::Time => fixed::<8>(cell, out),
        CqlType::Float => {
            let bits = u32::from_be_bytes(cell.try_into().ok()?);
            let bits = if f32::from_bits(bits).is_nan() { 0x7fc0_0000 } else { bits };
            let rank = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
            out.extend_from_slice(&rank.to_be_bytes());
            Some(())
        }
        CqlType::Double => {
            let bits = u64::from_be_bytes(cell.try_into().ok()?);
            let bits = if f64::from_bits(bits).is_nan() { 0x7ff8_0000_0000_0000 } else { bits };
            let rank = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            out.extend_from_slice(&rank.to_be_bytes());
            Some(())
        }
        CqlType::VarInt => {
            varint(&BigInt::from_signed_bytes_be(cell), out);
            Some(())
        }
        CqlType::Decimal => decimal(cell, out),
        CqlType::Uuid => uuid(cell, out),
        CqlType::TimeUuid => timeuuid(cell, out),
        CqlType::List(element) | CqlType::Set(element) => {
            let mut rest = cell;
            for _ in 0..take_count(&mut rest)? {
                out.push(MORE);
                append(element, take_element(&mut rest)?.unwrap_or_default(), out);
            }
            out.push(END);
            Some(())
        }
        CqlType::Map(key, value) => {
            let mut rest = cell;
            for _ in 0..take_count(&mut rest)? {
                out.push(MORE);
                append(key, take_element(&mut rest)?.unwrap_or_default(), out);
                append(value, take_element(&mut rest)?.unwrap_or_default(), out);
            }
            out.push(END);
            Some(())
        }
        CqlType::Tuple(types) => fields(types.iter(), cell, out),
        CqlType::Udt(udt) => fields(udt.fields.iter().map(|(_, cql_type)| cql_type), cell, out),
        CqlType::Vector(element, dimension) => vector(element, usize::from(*dimension), cell, out),
        CqlType::Ascii | CqlType::Blob | CqlType::Text | CqlType::Inet | CqlType::Duration => None,
    }
}

fn fixed<const N: usize>(cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(<&[u8; N]>::try_from(cell).ok()?);
    Some(())
}

fn signed<const N: usize>(cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let at = out.len();
    fixed::<N>(cell, out)?;
    out[at] ^= 0x80;
    Some(())
}

/// `IntegerType`: the sign, the length, the digits; for negative ones length and digits turned over.
fn varint(value: &BigInt, out: &mut Vec<u8>) {
    let (sign, bytes) = value.to_bytes_be();
    let negative = sign == Sign::Minus;
    out.push(u8::from(!negative));
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let turn = if negative { 0xff } else { 0 };
    out.extend(length.iter().chain(&bytes).map(|byte| byte ^ turn));
}

/// `DecimalType`: by number, so that 1.0 and 1.00 are equal. The sign, the exponent of `0.d₁d₂… × 10^e`, the digits.
fn decimal(cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (scale, unscaled) = cell.split_first_chunk::<4>()?;
    if unscaled.is_empty() {
        return None;
    }
    let value = BigInt::from_signed_bytes_be(unscaled);
    let sign = value.sign();
    out.push(match sign {
        Sign::Minus => 0,
        Sign::NoSign => 1,
        Sign::Plus => 2,
    });
    if sign == Sign::NoSign {
        return Some(());
    }
    let digits = value.magnitude().to_string();
    let exponent = i64::try_from(digits.len()).ok()? - i64::from(i32::from_be_bytes(*scale));
    let turn = if sign == Sign::Minus { 0xff } else { 0 };
    let exponent = (exponent.cast_unsigned() ^ 1 << 63).to_be_bytes();
    let digits = digits.trim_end_matches('0').bytes().chain([0]);
    out.extend(exponent.into_iter().chain(digits).map(|byte| byte ^ turn));
    Some(())
}

/// `UUIDType`: by version; version 1 by time; then by bytes.
fn uuid(cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (high, low) = halves(cell)?;
    let version = high >> 12 & 0xf;
    out.push(u8::try_from(version).ok()?);
    let high = if version == 1 { by_time(high) } else { high };
    out.extend_from_slice(&high.to_be_bytes());
    out.extend_from_slice(&low.to_be_bytes());
    Some(())
}

/// `TimeUUIDType`: by time, then by bytes taken as signed.
fn timeuuid(cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (high, low) = halves(cell)?;
    out.extend_from_slice(&(by_time(high) ^ 1 << 63).to_be_bytes());
    out.extend_from_slice(&(low ^ 0x8080_8080_8080_8080).to_be_bytes());
    Some(())
}

fn halves(cell: &[u8]) -> Option<(u64, u64)> {
    let whole = u128::from_be_bytes(cell.try_into().ok()?);
    Some((u64::try_from(whole >> 64).ok()?, u64::try_from(whole & u128::from(u64::MAX)).ok()?))
}

/// The first half of a uuid with its time fields in the order of their weight (`TimeUUIDType.reorderTimestampBytes`).
fn by_time(high: u64) -> u64 {
    high << 48 | (high << 16 & 0xffff_0000_0000) | high >> 32
}

/// `TupleType`: part by part, null and absent before all others.
fn fields<'t>(types: impl Iterator<Item = &'t CqlType>, cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = cell;
    for cql_type in types {
        let part = if rest.is_empty() { None } else { take_element(&mut rest)? };
        match part {
            Some(part) => {
                out.push(MORE);
                append(cql_type, part, out);
            }
            None => out.push(END),
        }
    }
    rest.is_empty().then_some(())
}

/// `VectorType`: element by element.
fn vector(element: &CqlType, dimension: usize, cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = cell;
    for _ in 0..dimension {
        let length = match element.vector_element_bytes() {
            Some(length) => length,
            None => usize::try_from(parts::read_vint(&mut rest)?).ok()?,
        };
        let (part, behind) = rest.split_at_checked(length)?;
        append(element, part, out);
        rest = behind;
    }
    rest.is_empty().then_some(())
}

fn take_count(bytes: &mut &[u8]) -> Option<usize> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    (count <= rest.len() / 4).then_some(count)
}

/// Takes an element with its length; inside, nothing for null.
#[allow(clippy::option_option)] // malformed, null, there
fn take_element<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length < 0 {
        *bytes = rest;
        return Some(None);
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(value))
}

#[cfg(test)]
mod tests;
