//! Keys for tokens: Murmur3 (x64, 128 bits, seed 0, first half), backwards, for keys of 16 bytes.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;
const LENGTH: u64 = 16;

/// A blob of 16 bytes whose token is this one; the least token is taken for the greatest by the server.
pub(crate) fn key_of_token(token: i64) -> Vec<u8> {
    // The second half of the hash is free; so there are 2^64 keys a token.
    let second = mix_back(0x1234_5678_9abc_def0);
    let first = mix_back(token.cast_unsigned().wrapping_sub(0x1234_5678_9abc_def0));
    let second = second.wrapping_sub(first);
    let first = first.wrapping_sub(second) ^ LENGTH;
    let second = second ^ LENGTH;
    let k2 = second.wrapping_sub(0x3849_5ab5).wrapping_mul(inverse(5)).wrapping_sub(first).rotate_right(31);
    let k1 = first.wrapping_sub(0x52dc_e729).wrapping_mul(inverse(5)).rotate_right(27);
    let k1 = k1.wrapping_mul(inverse(C2)).rotate_right(31).wrapping_mul(inverse(C1));
    let k2 = k2.wrapping_mul(inverse(C1)).rotate_right(33).wrapping_mul(inverse(C2));
    [k1.to_le_bytes(), k2.to_le_bytes()].concat()
}

/// The inverse of the final mix.
fn mix_back(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(inverse(0xc4ce_b9fe_1a85_ec53));
    k ^= k >> 33;
    k = k.wrapping_mul(inverse(0xff51_afd7_ed55_8ccd));
    k ^ (k >> 33)
}

/// Of an odd number, mod 2^64, by Newton's steps.
fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    for _ in 0..6 {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
    }
    x
}
