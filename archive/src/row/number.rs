//! Numbers: what JSON's numbers hold exactly in every reader is one, the rest is a string of digits.

use num_bigint::BigInt;

use super::cursor::Defect;

/// Beyond ±2^53 a reader that takes JSON's numbers for doubles rounds.
pub(super) const EXACT_MAX: i64 = 1 << 53;

/// Bytes of a varint that is written in digits, at most; a longer one is verbatim, since making digits takes time in
/// the square of the length and this keeps it below a millisecond.
pub(super) const VARINT_BYTES_MAX: usize = 1024;

/// Digits of a varint of [`VARINT_BYTES_MAX`] bytes, at most: 8191 bits, rounded up.
const VARINT_DIGITS_MAX: usize = 2466;

/// Significant digits that surely fit 64 bits.
const DIGITS_IN_I64: usize = 18;

/// Writes an integer.
pub(super) fn write_int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes an integer that may be large: a string beyond ±2^53.
pub(super) fn write_big(value: i64, out: &mut Vec<u8>) {
    if (-EXACT_MAX..=EXACT_MAX).contains(&value) {
        write_int(value, out);
    } else {
        out.push(b'"');
        write_int(value, out);
        out.push(b'"');
    }
}

/// Reads an integer in JSON's own spelling.
pub(super) fn read_int(text: &[u8]) -> Result<i64, Defect> {
    const DEFECT: Defect = "an integer in range is wanted";
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if !are_digits(digits) || digits.len() > 19 || (negative && digits == b"0") {
        return Err(DEFECT);
    }
    let magnitude = digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    let value = if negative { 0i64.checked_sub_unsigned(magnitude) } else { 0i64.checked_add_unsigned(magnitude) };
    value.ok_or(DEFECT)
}

/// `0`, or digits that don't start with 0.
fn are_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit) && (text.first().is_some_and(|first| *first != b'0') || text == b"0")
}

/// Writes a float; as many digits as tell it from its neighbours. Nothing for a NaN other than the usual one.
pub(super) fn write_float(bits: u32, out: &mut Vec<u8>) -> Option<()> {
    let value = f32::from_bits(bits);
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        return Some(());
    }
    write_not_finite(value.is_nan(), bits == FLOAT_NAN, value < 0.0, out)
}

/// As [`write_float`].
pub(super) fn write_double(bits: u64, out: &mut Vec<u8>) -> Option<()> {
    let value = f64::from_bits(bits);
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        return Some(());
    }
    write_not_finite(value.is_nan(), bits == DOUBLE_NAN, value < 0.0, out)
}

/// The NaN that Java and most others make.
const FLOAT_NAN: u32 = 0x7fc0_0000;
const DOUBLE_NAN: u64 = 0x7ff8_0000_0000_0000;

fn write_not_finite(nan: bool, usual: bool, negative: bool, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(match (nan, usual, negative) {
        (true, false, _) => return None,
        (true, true, _) => b"\"NaN\"",
        (false, _, true) => b"\"-Infinity\"",
        (false, _, false) => b"\"Infinity\"",
    });
    Some(())
}

const BAD_FLOAT: Defect = "a floating-point number in range is wanted";

/// Reads a finite float in JSON's spelling.
pub(super) fn read_float(text: &[u8]) -> Result<u32, Defect> {
    let value: f32 = json_number(text)?.parse().map_err(|_| BAD_FLOAT)?;
    if value.is_finite() { Ok(value.to_bits()) } else { Err(BAD_FLOAT) }
}

/// Reads a finite double in JSON's spelling.
pub(super) fn read_double(text: &[u8]) -> Result<u64, Defect> {
    let value: f64 = json_number(text)?.parse().map_err(|_| BAD_FLOAT)?;
    if value.is_finite() { Ok(value.to_bits()) } else { Err(BAD_FLOAT) }
}

/// Reads the word for a float that is not finite.
pub(super) fn read_float_word(word: &[u8]) -> Option<u32> {
    match word {
        b"NaN" => Some(FLOAT_NAN),
        b"Infinity" => Some(f32::INFINITY.to_bits()),
        b"-Infinity" => Some(f32::NEG_INFINITY.to_bits()),
        _ => None,
    }
}

/// Reads the word for a double that is not finite.
pub(super) fn read_double_word(word: &[u8]) -> Option<u64> {
    match word {
        b"NaN" => Some(DOUBLE_NAN),
        b"Infinity" => Some(f64::INFINITY.to_bits()),
        b"-Infinity" => Some(f64::NEG_INFINITY.to_bits()),
        _ => None,
    }
}

/// `text`, if it is a number of JSON's grammar: Rust would read more (`inf`, `+1`, `.5`).
fn json_number(text: &[u8]) -> Result<&str, Defect> {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        None => (mantissa, None),
    };
    let some_digits = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let exponent = exponent.map(|e| e.strip_prefix(b"-").or_else(|| e.strip_prefix(b"+")).unwrap_or(e));
    if !are_digits(whole) || !fraction.is_none_or(some_digits) || !exponent.is_none_or(some_digits) {
        return Err(BAD_FLOAT);
    }
    std::str::from_utf8(text).map_err(|_| BAD_FLOAT)
}

/// Writes the digits of a varint without quotes; nothing where it is empty, longer than need be or too long.
pub(super) fn write_varint(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if !is_minimal(bytes) || bytes.len() > VARINT_BYTES_MAX {
        return None;
    }
    match small_varint(bytes) {
        Some(value) => write_int(value, out),
        None => out.extend_from_slice(BigInt::from_signed_bytes_be(bytes).to_string().as_bytes()),
    }
    Some(())
}

/// Reads a varint.
pub(super) fn read_varint(text: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !are_digits(digits) || text == b"-0" {
        return Err("the digits of an integer are wanted");
    }
    read_unscaled(text, digits.len(), out)
}

/// Reads digits behind an optional minus sign as the shortest two's complement.
fn read_unscaled(text: &[u8], digits: usize, out: &mut Vec<u8>) -> Result<(), Defect> {
    if digits <= DIGITS_IN_I64 {
        write_minimal(read_int(text)?, out);
        return Ok(());
    }
    if digits > VARINT_DIGITS_MAX {
        return Err("a number has more digits than are ever written");
    }
    let value = BigInt::parse_bytes(text, 10).ok_or("the digits of an integer are wanted")?;
    out.extend_from_slice(&value.to_signed_bytes_be());
    Ok(())
}

/// A two's complement number that no shorter one equals.
fn is_minimal(bytes: &[u8]) -> bool {
    match bytes {
        [] => false,
        [0x00, second, ..] => *second >= 0x80,
        [0xff, second, ..] => *second < 0x80,
        _ => true,
    }
}

/// The value, if it fits 64 bits.
fn small_varint(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    if bytes.len() > 8 {
        return None;
    }
    let mut word = [if first < 0x80 { 0x00 } else { 0xff }; 8];
    word[8 - bytes.len()..].copy_from_slice(bytes);
    Some(i64::from_be_bytes(word))
}

fn write_minimal(value: i64, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    // Bits that only repeat the sign, but for one.
    let spare = (value ^ (value >> 63)).leading_zeros().saturating_sub(1);
    out.extend_from_slice(&bytes[(spare / 8).min(7) as usize..]);
}

/// Writes a decimal (a 32-bit scale, a varint) without quotes, as Java's `BigDecimal.toString` does, which tells all
/// pairs of scale and number apart; nothing where the varint is not one that [`write_varint`] writes.
pub(super) fn write_decimal(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (scale, unscaled) = bytes.split_first_chunk::<4>()?;
    let scale = i64::from(i32::from_be_bytes(*scale));
    let start = out.len();
    write_varint(unscaled, out)?;
    if scale == 0 {
        return Some(());
    }
    let first = start + usize::from(out[start] == b'-');
    let digits = i64::try_from(out.len() - first).ok()?;
    let exponent = digits - 1 - scale;
    if scale < 0 || exponent < -6 {
        if digits > 1 {
            out.insert(first + 1, b'.');
        }
        out.extend_from_slice(if exponent < 0 { b"E" } else { b"E+" });
        write_int(exponent, out);
    } else if digits > scale {
        out.insert(first + usize::try_from(digits - scale).ok()?, b'.');
    } else {
        let zeros = usize::try_from(scale - digits).ok()?;
        out.splice(first..first, b"0.00000000"[..zeros + 2].iter().copied());
    }
    Some(())
}

/// Reads a decimal.
pub(super) fn read_decimal(text: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    const DEFECT: Defect = "a decimal number is wanted";
    let (mantissa, exponent) = match text.iter().position(|byte| *byte == b'E') {
        Some(at) => {
            let exponent = &text[at + 1..];
            (&text[..at], read_int(exponent.strip_prefix(b"+").unwrap_or(exponent))?)
        }
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = point.map_or((mantissa, &b""[..]), |at| (&mantissa[..at], &mantissa[at + 1..]));
    if !are_digits(whole) || !fraction.iter().all(u8::is_ascii_digit) || (point.is_some() && fraction.is_empty()) {
        return Err(DEFECT);
    }
    let scale = i64::try_from(fraction.len()).ok().and_then(|digits| digits.checked_sub(exponent));
    let scale = scale.and_then(|scale| i32::try_from(scale).ok()).ok_or(DEFECT)?;
    out.extend_from_slice(&scale.to_be_bytes());
    if whole.len() + fraction.len() <= DIGITS_IN_I64 {
        let unscaled = whole.iter().chain(fraction).fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        write_minimal(if negative { -unscaled } else { unscaled }, out);
        return Ok(());
    }
    let mut digits = Vec::with_capacity(text.len());
    digits.extend(negative.then_some(b'-'));
    digits.extend(whole.iter().chain(fraction).skip_while(|digit| **digit == b'0'));
    let count = digits.len() - usize::from(negative);
    if count == 0 {
        digits.clear();
        digits.push(b'0');
    }
    read_unscaled(&digits, count.max(1), out)
}
