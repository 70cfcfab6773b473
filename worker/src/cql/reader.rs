//! Reads token ranges page by page, one page ahead, and keeps going where replicas fail.
//!
//! A reader works off steps. Each step is one statement with its own paging state; a failed page is asked for again with
//! the same state, from another replica, after a pause, and with fewer rows where that may help. Where replicas fail
//! even for few rows, as they do over very many tombstones, the rest of the range is halved behind the last row read.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ringvault_archive::{
    row::LineKind,
    table::ColumnRole,
    token::{serialized_key, token_of},
};
use ringvault_proto::token::{Token, TokenRange};
use scylla::response::PagingState;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::{
    errors::{Error, Result},
    fetch::{Fetch, Fetched, Outcome},
    lines::Position,
    page::Page,
    ring::Piece,
    scan::Shared,
};

/// One statement's worth of reading.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// All rows of a token range.
    Tokens(Piece),
    /// Rows of the position's partition that share its first `level` clustering cells and follow in the next.
    Following { position: Position, level: usize },
    /// Partition keys of the position's token, to find those that come after `key`.
    KeysBehind { piece: Piece, key: Vec<Vec<u8>> },
    /// All rows of a partition.
    Partition(Vec<Vec<u8>>),
}

/// Hands out pages of a range. Dropping it abandons the page under way.
#[derive(Debug)]
pub struct RangeReader {
    shared: Arc<Shared>,
    range: TokenRange,
    steps: VecDeque<Step>,
    state: PagingState,
    rows_max: u32,
    last_page: Option<Page>,
    last_answer: Duration,
    under_way: Option<AbortOnDropHandle<Result<Fetched>>>,
}

impl RangeReader {
    pub(crate) fn new(shared: Arc<Shared>, range: TokenRange, steps: Vec<Step>) -> Self {
        let (rows_max, last_answer) = (shared.fetch_size(), shared.cluster.clock().now());
        Self {
            shared,
            range,
            steps: steps.into(),
            state: PagingState::start(),
            rows_max,
            last_page: None,
            last_answer,
            under_way: None,
        }
    }

    /// The range that is read.
    #[must_use]
    pub fn range(&self) -> TokenRange {
        self.range
    }

    /// The next page with rows; nothing at the end of the range. The page after it is under way already. Cancel safe:
    /// a dropped call loses nothing.
    ///
    /// # Errors
    /// What the database said last, where nobody could answer for as long as the scan's patience lasts.
    pub async fn next_page(&mut self) -> Result<Option<Page>> {
        loop {
            if self.under_way.is_none() && !self.start() {
                return Ok(None);
            }
            let Some(under_way) = &mut self.under_way else { return Ok(None) };
            let joined = under_way.await;
            self.under_way = None;
            let fetched = joined.map_err(|e| lost(&e)).and_then(|fetched| fetched)?;
            self.rows_max = fetched.rows_max;
            match fetched.outcome {
                Outcome::Split => self.split()?, // no answer: patience goes on
                Outcome::Page(page, more) => {
                    self.last_answer = self.shared.cluster.clock().now();
                    if let Some(page) = self.take(page, more)? {
                        self.start();
                        return Ok(Some(page));
                    }
                }
            }
        }
    }

    /// Whether the page handed out last is known to be the range's last.
    #[must_use]
    pub fn on_last_page(&self) -> bool {
        self.under_way.is_none() && self.steps.is_empty()
    }

    /// Asks for the first page now, so that it is under way while something else is read.
    pub fn begin(&mut self) {
        if self.under_way.is_none() {
            self.start();
        }
    }

    /// Asks for the next page; false where nothing is left.
    fn start(&mut self) -> bool {
        let Some(step) = self.steps.front() else { return false };
        let fetch = Fetch {
            shared: Arc::clone(&self.shared),
            step: step.clone(),
            state: self.state.clone(),
            rows_max: self.rows_max,
            last_answer: self.last_answer,
        };
        self.under_way = Some(AbortOnDropHandle::new(self.shared.options.tasks.spawn(fetch.run())));
        true
    }

    /// Moves on behind a page; gives it back where it holds rows for the caller.
    fn take(&mut self, page: Page, more: Option<PagingState>) -> Result<Option<Page>> {
        let ended = more.is_none();
        self.state = more.unwrap_or_else(PagingState::start);
        if let Some(Step::KeysBehind { key, .. }) = self.steps.front() {
            let others = keys_behind(&page, key)?;
            if ended {
                self.steps.pop_front();
            }
            // in front of what follows the token; a further page of keys, which only a forged table has, comes first
            let at = usize::from(!ended);
            for (n, other) in others.into_iter().enumerate() {
                self.steps.insert(at + n, Step::Partition(other));
            }
            return Ok(None);
        }
        let empty = page.rows() == 0;
        if ended {
            self.steps.pop_front();
            self.last_page = None;
        } else if !empty {
            self.last_page = Some(page.clone());
        }
        Ok(Some(page).filter(|_| !empty))
    }

    /// Replaces the failing step by what is left of it, its tokens halved.
    fn split(&mut self) -> Result<()> {
        let Some(Step::Tokens(piece)) = self.steps.front().cloned() else {
            return Err(Error::internal("only a token range can be halved"));
        };
        let position = match self.last_page.take() {
            Some(page) => last_position(&self.shared, &page)?,
            None => None,
        };
        self.steps.pop_front();
        self.state = PagingState::start();
        let mut steps = Vec::new();
        let mut rest = Some(piece.range);
        if let Some(position) = position {
            let open = self.shared.steps_behind(piece.range, &position);
            steps.extend(open.into_iter().filter(|step| !matches!(step, Step::Tokens(_))));
            rest = TokenRange::new(position.token(), piece.range.end());
        }
        for half in rest.map(halves).unwrap_or_default() {
            steps.push(Step::Tokens(Piece { range: half, replicas: Arc::clone(&piece.replicas) }));
        }
        for step in steps.into_iter().rev() {
            self.steps.push_front(step);
        }
        Ok(())
    }
}

fn lost(error: &JoinError) -> Error {
    if error.is_cancelled() {
        Error::unavailable("reading was stopped")
    } else {
        Error::internal(format!("reading a page broke off: {error}"))
    }
}

fn halves(range: TokenRange) -> Vec<TokenRange> {
    let half = i64::try_from(range.width() / 2).unwrap_or(i64::MAX);
    range.split_at(&[Token(range.start().0.wrapping_add(half))])
}

/// The position behind the last row of a page.
fn last_position(shared: &Shared, page: &Page) -> Result<Option<Position>> {
    let mut rows = page.iter();
    let mut position = None;
    let mut left = page.rows();
    while let Some(row) = rows.next_row()? {
        left -= 1;
        if left == 0 {
            let first = shared.layout.columns.iter().position(|column| column.role == ColumnRole::Clustering);
            let statics_only = first.is_some_and(|index| row.cells[index].is_none());
            let kind = if statics_only { LineKind::Static } else { LineKind::Row };
            position = Position::behind(&shared.layout, kind, |index| row.cells[index]);
        }
    }
    Ok(position)
}

/// Of the partition keys on a page, those of the same token that come after `key`, in the order of the table.
fn keys_behind(page: &Page, key: &[Vec<u8>]) -> Result<Vec<Vec<Vec<u8>>>> {
    let (token, own) = (token_of(key), serialized_key(key));
    let mut others = Vec::new();
    let mut rows = page.iter();
    while let Some(row) = rows.next_row()? {
        let other: Vec<Vec<u8>> = row.cells.iter().map(|cell| cell.unwrap_or_default().to_vec()).collect();
        if token_of(&other) == token && serialized_key(&other) > own {
            others.push(other);
        }
    }
    others.sort_by_key(|other| serialized_key(other));
    Ok(others)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{super::page::PageShape, *};

    #[test]
    fn halves_tile_a_range() {
        for range in [TokenRange::FULL, TokenRange::new(Token(-1), Token(1)).expect("two tokens")] {
            let [left, right] = &halves(range)[..] else { panic!("two halves of {range}") };
            assert_eq!((left.start(), left.end(), right.end()), (range.start(), right.start(), range.end()));
            assert!(left.width().abs_diff(right.width()) <= 1);
        }
    }

    #[test]
    fn partitions_of_the_same_token_are_found_by_their_key_bytes() {
        let key = |byte: u8| vec![vec![byte]];
        let page = |keys: &[u8]| {
            let bytes: Vec<u8> = keys.iter().flat_map(|byte| [0, 0, 0, 1, *byte]).collect();
            let shape = PageShape {
                columns: 1,
                selected: 1,
                times: vec![super::super::page::TimeSource::None],
                is_static: vec![false],
            };
            Page { bytes: bytes.into(), rows: keys.len(), now_unix_s: 0, host: Uuid::nil(), shape: Arc::new(shape) }
        };
        assert!(keys_behind(&page(b"a"), &key(b'a')).expect("well formed").is_empty());
        // other tokens: not of this place in the ring
        assert!(keys_behind(&page(b"abc"), &key(b'a')).expect("well formed").is_empty());
    }
}
