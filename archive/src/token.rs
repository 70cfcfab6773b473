//! Tokens of partition keys: Cassandra's Murmur3Partitioner over raw key cells, so that every room finds the same row
//! in the same range without asking a server.
//!
//! Deliberately absent: other partitioners, whose keyspaces no job accepts, and ranges, which are the protocol's words.

use ringvault_proto::token::Token;

/// The token of a partition key from the raw cells of its columns.
#[must_use]
pub fn token_of(partition_key: &[impl AsRef<[u8]>]) -> Token {
    match partition_key {
        [one] => token_of_serialized(one.as_ref()),
        _ => token_of_serialized(&serialized_key(partition_key)),
    }
}

/// The token of a key as [`serialized_key`] gives it.
#[must_use]
pub fn token_of_serialized(key: &[u8]) -> Token {
    match hash(key) {
        i64::MIN => Token(i64::MAX), // the lowest token is no row's
        token => Token(token),
    }
}

/// A partition key as the server stores and, at equal tokens, orders it: the one cell, or each cell with its length
/// (2 bytes) before it and a zero behind it.
#[must_use]
pub fn serialized_key(partition_key: &[impl AsRef<[u8]>]) -> Vec<u8> {
    if let [one] = partition_key {
        return one.as_ref().to_vec();
    }
    let mut key = Vec::new();
    for cell in partition_key {
        let cell = cell.as_ref();
        let length = u16::try_from(cell.len()).unwrap_or(u16::MAX); // longer ones are no keys
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(cell);
        key.push(0);
    }
    key
}

const C1: i64 = 0x87c3_7b91_1142_53d5_u64.cast_signed();
const C2: i64 = 0x4cf5_ad43_2745_937f;

/// The first half of MurmurHash3 x64 128 with seed 0, as Cassandra computes it: the bytes behind the last whole block
/// of 16 are taken as signed.
fn hash(data: &[u8]) -> i64 {
    let (blocks, tail) = data.as_chunks::<16>();
    let (mut h1, mut h2) = (0i64, 0i64);
    for block in blocks {
        let (low, high) = block.split_at(8);
        let word = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("half a block is 8 bytes"));
        h1 ^= mixed_1(word(low));
        h1 = rotate(h1, 27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mixed_2(word(high));
        h2 = rotate(h2, 31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let signed = |at: usize| tail.get(at).map_or(0, |byte| i64::from(byte.cast_signed()) << (8 * (at % 8)));
    if tail.len() > 8 {
        h2 ^= mixed_2((8..tail.len()).fold(0, |word, at| word ^ signed(at)));
    }
    if !tail.is_empty() {
        h1 ^= mixed_1((0..tail.len().min(8)).fold(0, |word, at| word ^ signed(at)));
    }
    let length = i64::try_from(data.len()).expect("no slice is longer");
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finished(h1).wrapping_add(finished(h2))
}

fn mixed_1(word: i64) -> i64 {
    rotate(word.wrapping_mul(C1), 31).wrapping_mul(C2)
}

fn mixed_2(word: i64) -> i64 {
    rotate(word.wrapping_mul(C2), 33).wrapping_mul(C1)
}

fn rotate(word: i64, bits: u32) -> i64 {
    word.rotate_left(bits)
}

fn finished(word: i64) -> i64 {
    let shifted = |word: i64| word ^ (word.cast_unsigned() >> 33).cast_signed();
    let word = shifted(word).wrapping_mul(0xff51_afd7_ed55_8ccd_u64.cast_signed());
    let word = shifted(word).wrapping_mul(0xc4ce_b9fe_1a85_ec53_u64.cast_signed());
    shifted(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_cassandras() {
        // SELECT token(k) of 'a' (text) and of the composite key (1, 'x'), as Cassandra 5.0 answers
        assert_eq!(token_of(&[b"a"]), Token(-8_839_064_797_231_613_815));
        assert_eq!(serialized_key(&[&[0, 0, 0, 1][..], b"x"]), [0, 4, 0, 0, 0, 1, 0, 0, 1, b'x', 0]);
    }

    #[test]
    fn a_composite_key_is_hashed_with_its_lengths() {
        let cells = [vec![0u8, 0, 0, 1], b"x".to_vec()];
        assert_eq!(token_of(&cells), token_of_serialized(&serialized_key(&cells)));
        assert_ne!(token_of(&cells), token_of(&[cells.concat()]));
    }
}
