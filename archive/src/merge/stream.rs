//! One side of a comparison: how far it is, and which of its rows wait for their counterpart.

use std::collections::BTreeMap;

use ringvault_proto::token::Token;

use super::Side;
use crate::{row::RowDecoder, rows::RowKey, table::TableLayout};

/// A row without its counterpart yet.
pub(super) struct Waiting {
    pub(super) digest: u128,
    /// Nothing where too many lines wait.
    pub(super) line: Option<Box<[u8]>>,
    pub(super) as_of_s: Option<i64>,
    pub(super) ended: bool,
}

/// One side.
pub(super) struct Stream {
    pub(super) decoder: RowDecoder,
    /// The token of its last row.
    pub(super) at: Option<Token>,
    pub(super) ended: bool,
    pub(super) waiting: BTreeMap<(Token, RowKey), Waiting>,
    pub(super) bytes: usize,
    pub(super) as_of_s: Option<i64>,
}

impl Stream {
    pub(super) fn new(layout: &TableLayout) -> Self {
        Self {
            decoder: RowDecoder::new(layout),
            at: None,
            ended: false,
            waiting: BTreeMap::new(),
            bytes: 0,
            as_of_s: None,
        }
    }

    /// Takes out all that waits of a token.
    pub(super) fn take_token(&mut self, token: Token) -> Vec<Waiting> {
        let mut rest = self.waiting.split_off(&(token, RowKey::LEAST));
        if let Some(next) = token.0.checked_add(1) {
            let mut behind = rest.split_off(&(Token(next), RowKey::LEAST));
            self.waiting.append(&mut behind);
        }
        let taken: Vec<Waiting> = rest.into_values().collect();
        self.bytes -= taken.iter().filter_map(|waiting| waiting.line.as_ref()).map(|line| line.len()).sum::<usize>();
        taken
    }

    /// Whether no row of this token can come any more.
    pub(super) fn is_past(&self, token: Token) -> bool {
        self.ended || self.at.is_some_and(|at| at > token)
    }

    pub(super) fn take(&mut self, place: &(Token, RowKey)) -> Option<Waiting> {
        let found = self.waiting.remove(place)?;
        self.bytes -= found.line.as_ref().map_or(0, |line| line.len());
        Some(found)
    }
}

/// Rows of one token that are only counted and added up.
#[derive(Default)]
pub(super) struct Flood {
    pub(super) token: i64,
    pub(super) rows: [u64; 2],
    pub(super) sums: [u128; 2],
}

impl Flood {
    pub(super) fn add(&mut self, side: Side, digest: u128) {
        self.rows[side as usize] += 1;
        self.sums[side as usize] = self.sums[side as usize].wrapping_add(digest);
    }
}
