//! Cassandra's variable-length integers (`VIntCoding`): as many leading ones in the first byte as bytes follow, the value
//! big-endian in the remaining bits; signed ones zigzag. Only the shortest form is taken for one, since only that can be
//! written again.

/// Takes an unsigned integer off the front.
pub(super) fn read_unsigned(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let following = first.leading_ones() as usize;
    let (tail, rest) = rest.split_at_checked(following)?;
    let high = if following < 8 { u64::from(first) & (0xff >> following) } else { 0 };
    let value = tail.iter().fold(high, |value, byte| value << 8 | u64::from(*byte));
    if length(value) != following + 1 {
        return None;
    }
    *bytes = rest;
    Some(value)
}

/// Appends an unsigned integer.
pub(super) fn write_unsigned(value: u64, out: &mut Vec<u8>) {
    let length = length(value);
    if length == 9 {
        out.push(0xff);
        out.extend_from_slice(&value.to_be_bytes());
        return;
    }
    let marker = !(0xffu8 >> (length - 1));
    let start = out.len();
    out.extend_from_slice(&value.to_be_bytes()[8 - length..]);
    out[start] |= marker;
}

/// Takes a signed integer off the front.
pub(super) fn read_signed(bytes: &mut &[u8]) -> Option<i64> {
    let zigzag = read_unsigned(bytes)?;
    Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
}

/// Appends a signed integer.
pub(super) fn write_signed(value: i64, out: &mut Vec<u8>) {
    write_unsigned((value << 1 ^ value >> 63).cast_unsigned(), out);
}

/// Bytes of an unsigned integer: seven bits each, or eight whole bytes behind the first.
fn length(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    if bits > 56 { 9 } else { bits.div_ceil(7) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_survive() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                write_unsigned(value, &mut bytes);
                write_signed(value.cast_signed(), &mut bytes);
                let mut rest = &bytes[..];
                assert_eq!(read_unsigned(&mut rest), Some(value));
                assert_eq!(read_signed(&mut rest), Some(value.cast_signed()));
                assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn the_examples_of_cassandra_hold() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x80]),
            (16_383, &[0xbf, 0xff]),
            (16_384, &[0xc0, 0x40, 0x00]),
            (u64::MAX, &[0xff; 9]),
        ] {
            let mut written = Vec::new();
            write_unsigned(value, &mut written);
            assert_eq!(written, bytes);
        }
    }

    #[test]
    fn longer_forms_and_cut_ones_are_none() {
        for mut bytes in [&[][..], &[0x80], &[0x80, 0x01], &[0xff, 0, 0, 0, 0, 0, 0, 0, 1], &[0xc0, 0x3f, 0xff]] {
            assert_eq!(read_unsigned(&mut bytes), None);
        }
    }
}
