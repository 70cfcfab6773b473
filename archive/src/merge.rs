//! Two streams of rows compared, row by row, with bounded memory.
//!
//! Both sides come in token order. Within a token no order is relied on: rows wait for their counterpart until both sides
//! are past the token. The side that lags is asked next, so that little waits. Where much waits nevertheless (a huge
//! partition that one side lacks), rows first wait without their lines, then only as a count and a sum.
//!
//! - here: who waits for whom, and what that comes to; `stream`: one side and what of it waits; `compare`: whether two
//!   rows are the same
//!
//! Deliberately absent: where rows come from; they are any [`RowSource`].

mod compare;
mod stream;

use std::ops::ControlFlow;

use ringvault_proto::{error::Failure, token::Token};

pub use self::compare::{Comparison, Rule};
use self::stream::{Flood, Stream, Waiting};
use crate::{
    error::{Error, Result},
    repository::blocking,
    row::DecodedRow,
    rows::{KeyedRow, RowKey, RowSource},
};

/// Bytes of lines that wait on a side at most; further rows wait without theirs.
const LINES_BYTES_MAX: usize = 32 << 20;
/// Rows that wait on a side at most, about 80 bytes each; then rows of their token are only counted and added up.
const WAITING_MAX: usize = 1 << 19;

/// The two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is compared with: the earlier backup, or what a restore sent.
    Left,
    /// What is compared: the later backup, or the table.
    Right,
}

impl Side {
    /// The opposite one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// Only the left side holds it.
    Missing,
    /// Only the right side holds it.
    Extra,
    /// Both hold it, and other cells or times.
    Changed,
    /// Rows of this token differ, too many of them to name: so many the left side holds, so many the right.
    TooMany {
        /// Rows of the token on the left that were not compared one by one.
        left: u64,
        /// The same on the right.
        right: u64,
    },
}

/// One difference. Its lines are values of the database: not for logs.
#[derive(Clone)]
pub struct Difference {
    /// How it differs.
    pub kind: DifferenceKind,
    /// Of its partition.
    pub token: Token,
    /// Its primary key; nothing for too many rows.
    pub key: Option<RowKey>,
    /// The columns that differ, of a changed row; empty where its lines were too many to keep.
    pub columns: Vec<String>,
    /// The left side's line.
    pub left: Option<Vec<u8>>,
    /// The right side's line.
    pub right: Option<Vec<u8>>,
}

/// Without the lines.
impl std::fmt::Debug for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Difference")
            .field("kind", &self.kind)
            .field("token", &self.token)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// What a comparison came to, in rows and static lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// On the left.
    pub left: u64,
    /// On the right.
    pub right: u64,
    /// Only on the left.
    pub missing: u64,
    /// Only on the right.
    pub extra: u64,
    /// On both, and different; of rows too many to name at least one.
    pub differing: u64,
    /// Of those that are missing or differ: the right side holds less, or older cells.
    pub fallen_behind: u64,
}

impl Counts {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.differing == 0
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.left += other.left;
        self.right += other.right;
        self.missing += other.missing;
        self.extra += other.extra;
        self.differing += other.differing;
        self.fallen_behind += other.fallen_behind;
    }
}

/// Takes the rows of both sides and tells how they differ.
pub struct Merge {
    comparison: Comparison,
    streams: [Stream; 2],
    flood: Option<Flood>,
    counts: Counts,
    found: Vec<Difference>,
    lines_bytes_max: usize,
    waiting_max: usize,
}

impl Merge {
    /// Compares as `comparison` says.
    #[must_use]
    pub fn new(comparison: Comparison) -> Self {
        let streams = [Side::Left, Side::Right].map(|side| Stream::new(comparison.layout(side)));
        Self {
            comparison,
            streams,
            flood: None,
            counts: Counts::default(),
            found: Vec::new(),
            lines_bytes_max: LINES_BYTES_MAX,
            waiting_max: WAITING_MAX,
        }
    }

    /// With other bounds than the usual ones: bytes of lines, and rows, that wait on a side.
    #[must_use]
    pub fn bounded(mut self, lines_bytes_max: usize, waiting_max: usize) -> Self {
        (self.lines_bytes_max, self.waiting_max) = (lines_bytes_max, waiting_max);
        self
    }

    /// What was counted so far; complete once both sides have ended.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Rows that wait for their counterpart.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.streams.iter().map(|stream| stream.waiting.len()).sum()
    }

    /// The side whose rows are wanted next; nothing where both have ended.
    #[must_use]
    pub fn next_side(&self) -> Option<Side> {
        let [left, right] = &self.streams;
        match (left.ended, right.ended) {
            (true, true) => None,
            (true, false) => Some(Side::Right),
            (false, true) => Some(Side::Left),
            (false, false) => {
                let lags = (left.at, left.waiting.len()) <= (right.at, right.waiting.len());
                Some(if lags { Side::Left } else { Side::Right })
            }
        }
    }

    /// Takes the next row of a side.
    ///
    /// # Errors
    /// `Internal` where it is not in token order; `Corrupt` for a line that can't be read.
    pub fn push(&mut self, side: Side, row: KeyedRow) -> Result<()> {
        let own = &mut self.streams[side as usize];
        if own.ended || own.at.is_some_and(|at| at > row.token) {
            return Err(Error::internal(format!("rows to compare are out of token order at {}", row.token)));
        }
        let moved_on = own.at != Some(row.token);
        own.at = Some(row.token);
        own.as_of_s = row.as_of_s.or(own.as_of_s);
        match side {
            Side::Left => self.counts.left += 1,
            Side::Right => self.counts.right += 1,
        }
        if moved_on {
            self.settle(side.other())?;
        }
        let digest = self.comparison.digest(side, &row.row);
        if let Some(flood) = self.flood.as_mut().filter(|flood| flood.token == row.token.0) {
            flood.add(side, digest);
            return Ok(());
        }
        let place = (row.token, row.key);
        if let Some(counterpart) = self.streams[side.other() as usize].take(&place) {
            return self.pair(place, side, row, digest, counterpart);
        }
        let waiting = Waiting { digest, line: Some(row.line.into()), as_of_s: row.as_of_s, ended: row.ended };
        if self.streams[side.other() as usize].is_past(row.token) {
            return self.alone(side, place, waiting);
        }
        self.wait(side, place, waiting)
    }

    /// Says that a side has no more rows.
    ///
    /// # Errors
    /// As [`Merge::push`].
    pub fn end(&mut self, side: Side) -> Result<()> {
        self.streams[side as usize].ended = true;
        self.settle(side.other())
    }

    /// The differences found since they were taken last.
    pub fn take_differences(&mut self) -> Vec<Difference> {
        std::mem::take(&mut self.found)
    }

    fn wait(&mut self, side: Side, place: (Token, RowKey), mut waiting: Waiting) -> Result<()> {
        let own = &mut self.streams[side as usize];
        let bytes = waiting.line.as_ref().map_or(0, |line| line.len());
        if own.bytes + bytes > self.lines_bytes_max {
            waiting.line = None;
        } else {
            own.bytes += bytes;
        }
        if let Some(twice) = own.waiting.insert(place, waiting) {
            // a line twice counts twice, as in the sums
            own.bytes -= twice.line.as_ref().map_or(0, |line| line.len());
            self.alone(side, place, twice)?;
        }
        if self.streams[side as usize].waiting.len() > self.waiting_max {
            self.drown(place.0);
        }
        Ok(())
    }

    /// From here on rows of this token are only counted and added up.
    fn drown(&mut self, token: Token) {
        let mut flood = Flood { token: token.0, ..Flood::default() };
        for side in [Side::Left, Side::Right] {
            for waiting in self.streams[side as usize].take_token(token) {
                flood.add(side, waiting.digest);
            }
        }
        self.flood = Some(flood);
    }

    /// Decides about rows of `side` whose counterpart can't come any more.
    fn settle(&mut self, side: Side) -> Result<()> {
        self.settle_flood();
        loop {
            let Some((&place, _)) = self.streams[side as usize].waiting.first_key_value() else { return Ok(()) };
            if !self.streams[side.other() as usize].is_past(place.0) {
                return Ok(());
            }
            if let Some(waiting) = self.streams[side as usize].take(&place) {
                self.alone(side, place, waiting)?;
            }
        }
    }

    fn settle_flood(&mut self) {
        let is_over = |flood: &Flood| self.streams.iter().all(|stream| stream.is_past(Token(flood.token)));
        if !self.flood.as_ref().is_some_and(is_over) {
            return;
        }
        let Some(Flood { token, rows: [left, right], sums: [of_left, of_right] }) = self.flood.take() else { return };
        if left == right && of_left == of_right {
            return;
        }
        if !self.comparison.allows_extra() {
            self.counts.extra += right.saturating_sub(left);
        }
        self.counts.missing += left.saturating_sub(right);
        self.counts.fallen_behind += left.saturating_sub(right);
        if left == right || self.comparison.allows_extra() {
            self.counts.differing += 1; // nobody can tell more of them
        }
        self.tell(DifferenceKind::TooMany { left, right }, (Token(token), None), Vec::new(), None, None);
    }

    /// A row that the other side does not hold.
    fn alone(&mut self, side: Side, place: (Token, RowKey), waiting: Waiting) -> Result<()> {
        if waiting.ended || (side == Side::Right && self.comparison.allows_extra()) {
            return Ok(());
        }
        if let (Some(line), Some(as_of_s)) = (&waiting.line, self.streams[side.other() as usize].as_of_s) {
            let mut row = DecodedRow::default();
            self.streams[side as usize].decoder.decode(line, &mut row)?;
            if self.comparison.may_have_ended(side, &row, as_of_s) {
                return Ok(());
            }
        }
        let line = waiting.line.map(Vec::from);
        let place = (place.0, Some(place.1));
        match side {
            Side::Left => {
                self.counts.missing += 1;
                self.counts.fallen_behind += 1;
                self.tell(DifferenceKind::Missing, place, Vec::new(), line, None);
            }
            Side::Right => {
                self.counts.extra += 1;
                self.tell(DifferenceKind::Extra, place, Vec::new(), None, line);
            }
        }
        Ok(())
    }

    /// A row that both sides hold.
    fn pair(
        &mut self,
        place: (Token, RowKey),
        side: Side,
        row: KeyedRow,
        digest: u128,
        counterpart: Waiting,
    ) -> Result<()> {
        if digest == counterpart.digest {
            return Ok(());
        }
        let place = (place.0, Some(place.1));
        let Some(line) = counterpart.line else {
            self.counts.differing += 1;
            let (left, right) = by_side(side, Some(row.line), None);
            self.tell(DifferenceKind::Changed, place, Vec::new(), left, right);
            return Ok(());
        };
        let mut other = DecodedRow::default();
        self.streams[side.other() as usize].decoder.decode(&line, &mut other)?;
        let (left, right) = match side {
            Side::Left => ((&row.row, row.as_of_s), (&other, counterpart.as_of_s)),
            Side::Right => ((&other, counterpart.as_of_s), (&row.row, row.as_of_s)),
        };
        let verdict = self.comparison.compare(left, right);
        if verdict.columns.is_empty() {
            return Ok(());
        }
        self.counts.differing += 1;
        self.counts.fallen_behind += u64::from(verdict.fallen_behind);
        let (left, right) = by_side(side, Some(row.line), Some(line.into()));
        self.tell(DifferenceKind::Changed, place, verdict.columns, left, right);
        Ok(())
    }

    fn tell(
        &mut self,
        kind: DifferenceKind,
        (token, key): (Token, Option<RowKey>),
        columns: Vec<String>,
        left: Option<Vec<u8>>,
        right: Option<Vec<u8>>,
    ) {
        self.found.push(Difference { kind, token, key, columns, left, right });
    }
}

fn by_side<T>(side: Side, own: T, other: T) -> (T, T) {
    match side {
        Side::Left => (own, other),
        Side::Right => (other, own),
    }
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").field("counts", &self.counts).field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// Reads both sides to their ends, or until `told` breaks off, and tells every difference as it is found.
///
/// # Errors
/// What either side fails with.
pub async fn merge(
    mut merge: Merge,
    left: &mut impl RowSource,
    right: &mut impl RowSource,
    mut told: impl FnMut(Difference) -> ControlFlow<()> + Send,
) -> Result<Counts, Failure> {
    while let Some(side) = merge.next_side() {
        let batch = match side {
            Side::Left => left.next_batch().await?,
            Side::Right => right.next_batch().await?,
        };
        let (merged, found) = blocking(move || {
            match batch {
                Some(batch) => batch.into_iter().try_for_each(|row| merge.push(side, row))?,
                None => merge.end(side)?,
            }
            let found = merge.take_differences();
            Ok((merge, found))
        })
        .await?;
        merge = merged;
        if found.into_iter().any(|difference| told(difference).is_break()) {
            break;
        }
    }
    Ok(merge.counts())
}

#[cfg(test)]
mod tests;
