//! Murmur3 tokens and token ranges `(start, end]`, as Cassandra counts them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Murmur3 token. No partition key ever hashes to [`Token::MIN`] (Cassandra's `Murmur3Partitioner` maps it to `MAX`),
/// so `(MIN, MAX]` holds every row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub i64);

impl Token {
    /// The lowest token; it belongs to no key.
    pub const MIN: Self = Self(i64::MIN);
    /// The highest token.
    pub const MAX: Self = Self(i64::MAX);
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The tokens in `(start, end]`; never wraps, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenRange {
    start: Token,
    end: Token,
}

impl TokenRange {
    /// Every token of the ring.
    pub const FULL: Self = Self { start: Token::MIN, end: Token::MAX };

    /// `(start, end]`, or nothing where it would be empty or wrap.
    #[must_use]
    pub fn new(start: Token, end: Token) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The exclusive lower bound.
    #[must_use]
    pub fn start(self) -> Token {
        self.start
    }

    /// The inclusive upper bound.
    #[must_use]
    pub fn end(self) -> Token {
        self.end
    }

    /// Whether the range holds `token`.
    #[must_use]
    pub fn contains(self, token: Token) -> bool {
        self.start < token && token <= self.end
    }

    /// The number of tokens, at most 2^64 - 1.
    #[must_use]
    pub fn width(self) -> u64 {
        self.end.0.wrapping_sub(self.start.0).cast_unsigned()
    }

    /// The part of the ring that the range covers, in 0..=1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // a steering figure
        let fraction = self.width() as f64 / u64::MAX as f64;
        fraction
    }

    /// The tokens in both ranges.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The range cut behind each of the sorted `cuts` that lies inside it; the pieces tile the range.
    #[must_use]
    pub fn split_at(self, cuts: &[Token]) -> Vec<Self> {
        let mut pieces = Vec::new();
        let mut start = self.start;
        for &cut in cuts {
            if cut > start && cut < self.end {
                pieces.push(Self { start, end: cut });
                start = cut;
            }
        }
        pieces.push(Self { start, end: self.end });
        pieces
    }
}

impl fmt::Display for TokenRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn split_pieces_tile_the_range(a: i64, b: i64, mut cuts: Vec<i64>) {
            let Some(range) = TokenRange::new(Token(a), Token(b)) else { return Ok(()) };
            cuts.sort_unstable();
            let cuts: Vec<Token> = cuts.into_iter().map(Token).collect();
            let pieces = range.split_at(&cuts);
            prop_assert_eq!(pieces[0].start(), range.start());
            prop_assert_eq!(pieces[pieces.len() - 1].end(), range.end());
            for pair in pieces.windows(2) {
                prop_assert_eq!(pair[0].end(), pair[1].start());
            }
        }
    }

    #[test]
    fn the_full_range_holds_every_token_but_the_lowest() {
        assert!(!TokenRange::FULL.contains(Token::MIN));
        assert!(TokenRange::FULL.contains(Token(i64::MIN + 1)));
        assert!(TokenRange::FULL.contains(Token::MAX));
        assert_eq!(TokenRange::FULL.width(), u64::MAX);
    }
}
