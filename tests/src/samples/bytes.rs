//! CQL values as the bytes of native protocol v4 (section 6), written by hand.

use num_bigint::BigInt;

/// tinyint.
pub fn tinyint(value: i8) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}
/// smallint.
pub fn smallint(value: i16) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}
/// int.
pub fn int(value: i32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}
/// bigint, counter, timestamp (ms) and time (ns).
pub fn bigint(value: i64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}
/// boolean.
pub fn boolean(value: bool) -> Vec<u8> {
    vec![u8::from(value)]
}
/// text, varchar, ascii.
pub fn text(value: &str) -> Vec<u8> {
    value.as_bytes().to_vec()
}
/// float, by its bits.
pub fn float_bits(bits: u32) -> Vec<u8> {
    bits.to_be_bytes().to_vec()
}
/// float.
pub fn float(value: f32) -> Vec<u8> {
    float_bits(value.to_bits())
}
/// double, by its bits.
pub fn double_bits(bits: u64) -> Vec<u8> {
    bits.to_be_bytes().to_vec()
}
/// double.
pub fn double(value: f64) -> Vec<u8> {
    double_bits(value.to_bits())
}
/// date: days since 1970-01-01, shifted by 2^31.
pub fn date(shifted_days: u32) -> Vec<u8> {
    shifted_days.to_be_bytes().to_vec()
}
/// varint, minimal.
pub fn varint(value: &BigInt) -> Vec<u8> {
    value.to_signed_bytes_be()
}
/// decimal: scale and unscaled value.
pub fn decimal(scale: i32, unscaled: &BigInt) -> Vec<u8> {
    [int(scale), varint(unscaled)].concat()
}
/// duration.
pub fn duration(months: i32, days: i32, nanoseconds: i64) -> Vec<u8> {
    [signed_vint(i64::from(months)), signed_vint(i64::from(days)), signed_vint(nanoseconds)].concat()
}
/// list and set.
pub fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut out = int(i32::try_from(elements.len()).expect("samples are small"));
    for element in elements {
        push_value(&mut out, Some(element));
    }
    out
}
/// map.
pub fn map(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = int(i32::try_from(entries.len()).expect("samples are small"));
    for (key, value) in entries {
        push_value(&mut out, Some(key));
        push_value(&mut out, Some(value));
    }
    out
}
/// tuple and UDT; fewer fields than the type has are legal.
pub fn tuple(fields: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        push_value(&mut out, field.as_deref());
    }
    out
}
/// vector of elements without a fixed length.
pub fn vector_of_variable(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for element in elements {
        out.extend(unsigned_vint(element.len() as u64));
        out.extend(element);
    }
    out
}

fn push_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend((-1_i32).to_be_bytes()),
        Some(bytes) => {
            out.extend(int(i32::try_from(bytes.len()).expect("samples are small")));
            out.extend(bytes);
        }
    }
}

/// Zig-zag, then [`unsigned_vint`].
fn signed_vint(value: i64) -> Vec<u8> {
    unsigned_vint(((value << 1) ^ (value >> 63)).cast_unsigned())
}

/// The count of leading one bits of the first byte is the number of bytes that follow.
fn unsigned_vint(value: u64) -> Vec<u8> {
    let bits = 64 - value.leading_zeros().min(63);
    let further = ((bits - 1) / 7).min(8);
    let all = value.to_be_bytes();
    if further == 8 {
        return [&[0xff][..], &all].concat();
    }
    let mut out = all[7 - further as usize..].to_vec();
    out[0] |= !(0xff_u8.checked_shr(further).unwrap_or(0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vints_have_the_lengths_of_the_specification() {
        assert_eq!(unsigned_vint(0), [0]);
        assert_eq!(unsigned_vint(127), [127]);
        assert_eq!(unsigned_vint(128), [0x80, 0x80]);
        assert_eq!(unsigned_vint(16_383), [0xbf, 0xff]);
        assert_eq!(unsigned_vint(16_384), [0xc0, 0x40, 0x00]);
        assert_eq!(unsigned_vint(u64::MAX), [0xff; 9]);
        assert_eq!(signed_vint(-1), [1]);
    }
}
