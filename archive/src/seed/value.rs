//! A value as cassandra-backup-tool wrote it → the raw cell that the server would send. By the column's type alone, never
//! by the looks of a value; what its encoding lost or made ambiguous is refused, or counted in [`Losses`].
//!
//! Composites stand in `composite`; scalars here are turned into the words of a row line and read by its reader.

use std::borrow::Cow;

use super::json::{Defect, Json};
use crate::{cql_type::CqlType, row::parts};

/// What values of a column may have lost without a trace that could be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Tuples and user types whose last parts are null: that these parts were absent can't be told.
    pub(super) null_tails: u64,
}

impl Losses {
    pub(super) fn add(&mut self, other: Self) {
        self.null_tails += other.null_tails;
    }
}

const WRONG_FORM: Defect = "the value is not of the form that cassandra-backup-tool gives this type";

/// Appends the raw bytes of a value that is not null.
pub(super) fn read(cql_type: &CqlType, json: &Json<'_>, losses: &mut Losses, out: &mut Vec<u8>) -> Result<(), Defect> {
    match (cql_type, json) {
        (CqlType::Ascii | CqlType::Text, Json::Text(text)) => out.extend_from_slice(text.as_bytes()),
        (CqlType::Blob, Json::Object(members)) => return blob(members, out),
        (CqlType::Boolean, Json::Bool(value)) => out.push(u8::from(*value)),
        (CqlType::Float, Json::Number(text)) => return float(text, out),
        (CqlType::Double, Json::Number(text)) => return parts::read_scalar(cql_type, text, out),
        (CqlType::TinyInt | CqlType::SmallInt | CqlType::Int, Json::Number(text)) => {
            return parts::read_scalar(cql_type, text, out);
        }
        (CqlType::BigInt | CqlType::Counter | CqlType::VarInt, Json::Number(text)) => {
            return parts::read_scalar(cql_type, text, out);
        }
        (CqlType::BigInt | CqlType::Counter | CqlType::VarInt, Json::Text(text)) => {
            return parts::read_scalar(cql_type, text, out);
        }
        (CqlType::Timestamp, Json::Text(text)) => return timestamp(text, out),
        (CqlType::Date, Json::Text(text)) => return date(text, out),
        (CqlType::Time, Json::Text(text)) => return time(text, out),
        (CqlType::Duration, Json::Text(text)) => return duration(text, out),
        (CqlType::Uuid | CqlType::TimeUuid, Json::Text(text)) => {
            return parts::read_scalar(cql_type, &text.to_ascii_lowercase(), out);
        }
        (CqlType::Decimal | CqlType::Inet, Json::Text(text)) => return parts::read_scalar(cql_type, text, out),
        (cql_type, json) if cql_type.is_composite() => return super::composite::read(cql_type, json, losses, out),
        _ => return Err(WRONG_FORM),
    }
    Ok(())
}

/// Appends the raw bytes of a map key, which is always a string: Python's word for it.
pub(super) fn read_key(cql_type: &CqlType, key: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    match cql_type {
        CqlType::Boolean => match key {
            "true" | "True" => out.push(1),
            "false" | "False" => out.push(0),
            _ => return Err(WRONG_FORM),
        },
        CqlType::Float => {
            let word = match key {
                "nan" => "NaN",
                "inf" => "Infinity",
                "-inf" => "-Infinity",
                number => number,
            };
            return float(word, out);
        }
        CqlType::Double | CqlType::TinyInt | CqlType::SmallInt | CqlType::Int => {
            let word = match key {
                "nan" => "NaN",
                "inf" => "Infinity",
                "-inf" => "-Infinity",
                number => number,
            };
            return parts::read_scalar(cql_type, word, out);
        }
        CqlType::Blob => return python_bytes(key, out),
        _ if cql_type.is_composite() => {
            return Err("a map's key is a collection, tuple or user type that was made a string, which is ambiguous");
        }
        _ => return read(cql_type, &Json::Text(Cow::Borrowed(key)), &mut Losses::default(), out),
    }
    Ok(())
}

/// `{"__blob__": true, "b64": "…"}`
fn blob(members: &[(Cow<'_, str>, Json<'_>)], out: &mut Vec<u8>) -> Result<(), Defect> {
    let member = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    match (members.len(), member("__blob__"), member("b64")) {
        (2, Some(Json::Bool(true)), Some(Json::Text(text))) => base64(text.as_bytes(), out),
        _ => Err(WRONG_FORM),
    }
}

/// Reads base64 (RFC 4648, section 4), padded, without white space, spare bits zero: what Python writes.
fn base64(text: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    const DEFECT: Defect = "a blob is not base64";
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(DEFECT);
    }
    for (at, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 < groups.len()) {
            return Err(DEFECT);
        }
        let mut word = 0_u32;
        for byte in &group[..4 - padding] {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return Err(DEFECT),
            };
            word = word << 6 | u32::from(value);
        }
        word <<= 6 * padding;
        let bytes = word.to_be_bytes();
        if bytes[4 - padding..].iter().any(|byte| *byte != 0) {
            return Err(DEFECT);
        }
        out.extend_from_slice(&bytes[1..4 - padding]);
    }
    Ok(())
}

/// Reads Python's `repr` of bytes: `b'a\x00\n'`.
fn python_bytes(text: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    const DEFECT: Defect = "a blob in a map's key is not what Python makes of bytes";
    let body = text.strip_prefix('b').ok_or(DEFECT)?;
    let quote = if body.starts_with('"') { '"' } else { '\'' };
    let body = body.strip_prefix(quote).and_then(|body| body.strip_suffix(quote)).ok_or(DEFECT)?;
    let mut bytes = body.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => match bytes.next().ok_or(DEFECT)? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                byte @ (b'\\' | b'\'' | b'"') => byte,
                b'x' => {
                    let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(DEFECT);
                    u8::try_from(digit()? * 16 + digit()?).map_err(|_| DEFECT)?
                }
                _ => return Err(DEFECT),
            },
            byte if char::from(byte) == quote || !(0x20..0x7f).contains(&byte) => return Err(DEFECT),
            byte => byte,
        };
        out.push(byte);
    }
    Ok(())
}

/// Python writes the 64-bit digits of a 32-bit number; others than those were never a CQL float.
fn float(text: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    let start = out.len();
    parts::read_scalar(&CqlType::Float, text, out)?;
    let single = f32::from_be_bytes(out[start..].try_into().map_err(|_| WRONG_FORM)?);
    let double = text.parse::<f64>();
    if single.is_finite() && double.is_ok_and(|double| double != f64::from(single)) {
        out.truncate(start);
        return Err("a float holds more digits than its 32 bits");
    }
    Ok(())
}

/// How far from a whole millisecond Python's arithmetic puts one, at most, in microseconds (2^-15 s, half a unit in the
/// last place of the seconds until the year 9999).
const PYTHON_ERROR_US: u32 = 16;

/// `2024-02-29T12:34:56.789000`, naive (UTC, as the driver gives it) or with an offset; `T` or a space between.
fn timestamp(text: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    const DEFECT: Defect = "a timestamp is not in ISO form";
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 16 || !matches!(bytes[10], b'T' | b' ') {
        return Err(DEFECT);
    }
    let (date, rest) = (&text[..10], &text[11..]);
    let zone = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, offset) = (&rest[..zone], offset_ms(&rest[zone..]).ok_or(DEFECT)?);
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, part)| (clock, Some(part)));
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    let start = out.len();
    parts::read_scalar(&CqlType::Timestamp, &format!("{date} {clock}{seconds}.000Z"), out).map_err(|_| DEFECT)?;
    let whole = i64::from_be_bytes(out[start..].try_into().map_err(|_| DEFECT)?);
    out.truncate(start);
    let micros = match fraction {
        None => 0,
        Some(digits) if (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{digits:0<6}").parse::<u32>().map_err(|_| DEFECT)?
        }
        Some(_) => return Err(DEFECT),
    };
    let beside = micros % 1000;
    if beside.min(1000 - beside) > PYTHON_ERROR_US {
        return Err("a timestamp is finer than the milliseconds of its type");
    }
    let ms = whole + i64::from((micros + 500) / 1000) - offset;
    out.extend_from_slice(&ms.to_be_bytes());
    Ok(())
}

/// Milliseconds that a zone is ahead of UTC: nothing, `Z`, `+02:00`, `-0530`.
fn offset_ms(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let digits = zone[1..].replace(':', "");
    if digits.len() != 4 || zone.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    let ms = (hours * 60 + minutes) * 60_000;
    (hours < 24 && minutes < 60).then_some(if zone.starts_with('-') { -ms } else { ms })
}

/// `2024-02-29`, also with a midnight behind it. Days that Python's calendar lacks stand as a number, of which it can't be
/// told from which day it counts.
fn date(text: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    let day = match text.split_once(['T', ' ']) {
        Some((day, "00:00:00" | "00:00:00.000000")) => day,
        Some(_) => return Err("a date holds a time of day"),
        None => text,
    };
    if !day.trim_start_matches('-').contains('-') {
        return Err("a date lies outside the years 1 to 9999 and was written as a number, which is ambiguous");
    }
    parts::read_scalar(&CqlType::Date, day, out)
}

/// `12:34:56`, perhaps with a fraction of up to nine digits.
fn time(text: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    if text.ends_with('.') || fraction.len() > 9 {
        return Err("a time of day is not hh:mm:ss with a fraction");
    }
    parts::read_scalar(&CqlType::Time, &format!("{clock}.{fraction:0<9}"), out)
}

/// `1mo2d3ns`: the one form that keeps months, days and nanoseconds apart.
fn duration(text: &str, out: &mut Vec<u8>) -> Result<(), Defect> {
    parts::read_scalar(&CqlType::Duration, text, out)
        .map_err(|_| "a duration is not in the form 1mo2d3ns, so its months, days and nanoseconds can't be told apart")
}

#[cfg(test)]
mod tests;
