//! Identities of chunks and sums of segments.
//!
//! A row has two hashes: one over its values, one over its values and writetimes. A sum adds such hashes as unsigned
//! 256-bit little-endian integers mod 2^256, so it depends on the set of rows only, not on order, sharding or topology,
//! and two equal rows don't cancel out (as XOR would). A [`Tally`] adds many rows at once.

mod lanes;
mod tally;

use std::{fmt, ops::AddAssign};

use serde::{Deserialize, Serialize};

pub use self::tally::Tally;
use crate::error::{Error, Result};

/// BLAKE3 of bytes before compression: the identity of a chunk, an index, a schema document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity(pub [u8; 32]);

impl Identity {
    /// The identity of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// From the 32 bytes of a message.
    ///
    /// # Errors
    /// `Invalid` where there are not 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| Error::invalid(format!("an identity has 32 bytes, not {}; the peer is broken", bytes.len())))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Identity {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|e| Error::corrupt(format!("{text:?} is not an identity of 64 hex digits")).caused_by(e))?;
        Ok(Self(bytes))
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

/// The two hashes of one row line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowHash {
    /// Over the values.
    pub values: [u8; 32],
    /// Over the values and the writetimes.
    pub times: [u8; 32],
}

/// What the two hashes of one row line are made of. Each hash is BLAKE3 of its input, filled up with zero bytes to a multiple
/// of 64: blocks that are all whole can be hashed beside each other.
#[derive(Clone, Copy, Default)]
pub struct HashInput<'a> {
    /// The line up to its times, or to its closing brace.
    pub values: &'a [u8],
    /// Behind the hash of the values: columns and writetimes; empty where none is known.
    pub times: &'a [u8],
    /// Behind the hash of those: columns and writetimes of elements that differ; mostly empty.
    pub elements: &'a [u8],
}

impl<'a> HashInput<'a> {
    /// Of a line without times.
    #[must_use]
    pub fn without_times(line: &'a [u8]) -> Self {
        let values = line.strip_suffix(b"\n").unwrap_or(line);
        Self { values: values.strip_suffix(b"}").unwrap_or(values), ..Self::default() }
    }

    /// The hashes. A [`Tally`] is faster where many lines are only added up.
    #[must_use]
    pub fn hash(&self) -> RowHash {
        let values = of_whole_blocks(&[self.values]);
        if self.times.is_empty() && self.elements.is_empty() {
            return RowHash { values, times: values };
        }
        let times = of_whole_blocks(&[&values, self.times]);
        let times = if self.elements.is_empty() { times } else { of_whole_blocks(&[&times, self.elements]) };
        RowHash { values, times }
    }
}

/// Shows lengths only: the line holds cells.
impl fmt::Debug for HashInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashInput").field("values", &self.values.len()).finish_non_exhaustive()
    }
}

/// BLAKE3 of parts behind each other, filled up with zero bytes.
fn of_whole_blocks(parts: &[&[u8]]) -> [u8; 32] {
    const ZEROS: [u8; blake3::BLOCK_LEN] = [0; blake3::BLOCK_LEN];
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let length: usize = parts.iter().map(|part| part.len()).sum();
    hasher.update(&ZEROS[..length.next_multiple_of(blake3::BLOCK_LEN) - length]);
    *hasher.finalize().as_bytes()
}

/// An unsigned 256-bit sum, mod 2^256.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sum([u64; 4]);

impl Sum {
    /// 32 bytes, little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (word, out) in self.0.iter().zip(bytes.chunks_exact_mut(8)) {
            out.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From 32 bytes, little-endian.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, part) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(part.try_into().expect("chunks of eight"));
        }
        Self(words)
    }

    /// From the 32 bytes of a message.
    ///
    /// # Errors
    /// `Invalid` where there are not 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        Identity::from_slice(bytes).map(|identity| Self::from_bytes(&identity.0))
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        let mut carry = false;
        for (word, add) in self.0.iter_mut().zip(other.0) {
            let (partial, first) = word.overflowing_add(add);
            let (whole, second) = partial.overflowing_add(u64::from(carry));
            *word = whole;
            carry = first || second;
        }
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        hex::encode(sum.to_bytes())
    }
}

impl TryFrom<String> for Sum {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Identity::try_from(text).map(|identity| Self::from_bytes(&identity.0))
    }
}

/// What a set of row lines amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Row lines.
    pub rows: u64,
    /// Static lines.
    pub static_rows: u64,
    /// Over values.
    pub values: Sum,
    /// Over values and writetimes.
    pub times: Sum,
}

impl Sums {
    /// Counts one row line in.
    pub fn add_row(&mut self, hash: &RowHash) {
        self.rows += 1;
        self.add(hash);
    }

    /// Counts one static line in.
    pub fn add_static(&mut self, hash: &RowHash) {
        self.static_rows += 1;
        self.add(hash);
    }

    fn add(&mut self, hash: &RowHash) {
        self.values += Sum::from_bytes(&hash.values);
        self.times += Sum::from_bytes(&hash.times);
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.static_rows += other.static_rows;
        self.values += other.values;
        self.times += other.times;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_carries_through_all_words_and_wraps() {
        let mut sum = Sum::from_bytes(&[0xff; 32]);
        sum += Sum([1, 0, 0, 0]);
        assert_eq!(sum, Sum::default());
        let mut sum = Sum([u64::MAX, u64::MAX, 0, 0]);
        sum += Sum([1, 0, 0, 0]);
        assert_eq!(sum, Sum([0, 0, 1, 0]));
    }

    #[test]
    fn a_sum_survives_text_and_bytes() {
        let sum = Sum([1, 2, 3, u64::MAX]);
        assert_eq!(Sum::from_bytes(&sum.to_bytes()), sum);
        assert_eq!(Sum::try_from(String::from(sum)).expect("hex"), sum);
    }
}
