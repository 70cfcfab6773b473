//! The ring grid: a table's token ring in 2^g equal, aligned segments (README, "Architecture").
//!
//! Segment `i` of exponent `g` covers `(MIN + i × 2^(64-g), MIN + (i+1) × 2^(64-g)]`; the last one ends at `MAX`. What a
//! segment holds depends on its rows only: never on workers, topology or page size.

use serde::{Deserialize, Serialize};

use crate::token::{Token, TokenRange};

/// The exponent g of a grid of 2^g segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Grid(u8);

/// The largest exponent: 2^24 segments of 4 MiB are 64 TiB, and an index of 16 million lines is the most one wants.
pub const GRID_EXPONENT_MAX: u32 = 24;

/// A grid exponent beyond [`GRID_EXPONENT_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("grid exponent {0} is beyond {GRID_EXPONENT_MAX}")]
pub struct ExponentTooLarge(pub u32);

impl TryFrom<u32> for Grid {
    type Error = ExponentTooLarge;

    fn try_from(exponent: u32) -> Result<Self, ExponentTooLarge> {
        match u8::try_from(exponent) {
            Ok(small) if exponent <= GRID_EXPONENT_MAX => Ok(Self(small)),
            _ => Err(ExponentTooLarge(exponent)),
        }
    }
}

impl From<Grid> for u32 {
    fn from(grid: Grid) -> Self {
        grid.exponent()
    }
}

impl Grid {
    /// One segment: the whole ring.
    pub const WHOLE: Self = Self(0);

    /// The exponent g.
    #[must_use]
    pub fn exponent(self) -> u32 {
        u32::from(self.0)
    }

    /// The number of segments, 2^g.
    #[must_use]
    pub fn segments(self) -> u64 {
        1 << self.0
    }

    /// The smallest grid of at least `segments` segments, at most [`GRID_EXPONENT_MAX`].
    #[must_use]
    pub fn of_at_least(segments: u64) -> Self {
        let exponent = segments.max(1).next_power_of_two().trailing_zeros().min(GRID_EXPONENT_MAX);
        Self(u8::try_from(exponent).expect("at most 24"))
    }

    /// The tokens of segment `index`, or nothing where the grid has no such segment.
    #[must_use]
    pub fn range(self, index: u64) -> Option<TokenRange> {
        if index >= self.segments() {
            return None;
        }
        TokenRange::new(
            self.bound(index),
            if index + 1 == self.segments() { Token::MAX } else { self.bound(index + 1) },
        )
    }

    /// The tokens of `count` segments from `first`.
    #[must_use]
    pub fn run(self, first: u64, count: u64) -> Option<TokenRange> {
        let last = first.checked_add(count)?.checked_sub(1)?;
        TokenRange::new(self.range(first)?.start(), self.range(last)?.end())
    }

    /// The segment that holds `token`.
    #[must_use]
    pub fn segment_of(self, token: Token) -> u64 {
        let offset = token.0.wrapping_sub(i64::MIN).cast_unsigned().saturating_sub(1);
        if self.0 == 0 { 0 } else { offset >> (64 - self.0) }
    }

    /// The exclusive lower bound of segment `index`.
    fn bound(self, index: u64) -> Token {
        let offset = if self.0 == 0 { 0 } else { index << (64 - self.0) };
        Token(i64::MIN.wrapping_add(offset.cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn segments_tile_the_ring_at_every_exponent() {
        for exponent in 0..=12 {
            let grid = Grid::try_from(exponent).expect("small");
            let mut expected = Token::MIN;
            for index in 0..grid.segments() {
                let range = grid.range(index).expect("inside");
                assert_eq!(range.start(), expected);
                expected = range.end();
            }
            assert_eq!(expected, Token::MAX);
            assert_eq!(grid.range(grid.segments()), None);
        }
    }

    proptest! {
        #[test]
        fn a_token_lies_in_its_segment(token in (i64::MIN + 1)..=i64::MAX, exponent in 0u32..=24) {
            let grid = Grid::try_from(exponent).expect("in bounds");
            let range = grid.range(grid.segment_of(Token(token))).expect("inside");
            prop_assert!(range.contains(Token(token)));
        }
    }

    #[test]
    fn the_smallest_grid_of_enough_segments() {
        assert_eq!(Grid::of_at_least(0), Grid::WHOLE);
        assert_eq!(Grid::of_at_least(5).segments(), 8);
        assert_eq!(Grid::of_at_least(u64::MAX >> 1).exponent(), GRID_EXPONENT_MAX);
    }
}
