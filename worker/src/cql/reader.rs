//! Reads token ranges page by page, one page ahead, and keeps going where replicas fail.
//!
//! A reader works off steps. Each step is one statement with its own paging state; a failed page is asked for again with
//! the same state, from another replica, after a pause, and with fewer rows where that may help. Where replicas fail
//! even for few rows, as they do over very many tombstones, the rest of the range is halved behind the last row read.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use ringvault_archive::{row::LineKind, table::ColumnRole};
use ringvault_proto::{
    error::Verdict,
    token::{Token, TokenRange},
};
use ringvault_runtime::retry::Backoff;
use scylla::{
    client::session::Session,
    deserialize::row::ColumnIterator,
    response::{PagingState, query_result::QueryRowsResult},
    serialize::{
        SerializationError,
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
    statement::{bound::BoundStatement, prepared::PreparedStatement},
};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    cluster::NodesInOrder,
    errors::{Error, Reason, Result, Values},
    lines::Position,
    page::{Page, PageShape},
    ring::{Piece, serialized_key, token_of},
    scan::Shared,
};

/// Pages this small are not shrunk further before the range is halved.
const SMALL_PAGE_ROWS: u32 = 10;

/// Failures of replicas over a small page before the range is halved.
const FAILURES_BEFORE_SPLIT: u32 = 2;

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

#[derive(Debug)]
struct Fetched {
    outcome: Outcome,
    rows_max: u32,
}

#[derive(Debug)]
enum Outcome {
    Page(Page, Option<PagingState>),
    /// Replicas fail over it: halve it.
    Split,
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
            self.last_answer = self.shared.cluster.clock().now();
            match fetched.outcome {
                Outcome::Split => self.split()?,
                Outcome::Page(page, more) => {
                    if let Some(page) = self.take(page, more)? {
                        self.start();
                        return Ok(Some(page));
                    }
                }
            }
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

/// Raw cells as bound values.
struct RawValues(Vec<Vec<u8>>);

impl SerializeRow for RawValues {
    fn serialize(
        &self,
        ctx: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        if ctx.columns().len() != self.0.len() {
            return Err(SerializationError::new(std::io::Error::other("another number of values than markers")));
        }
        for value in &self.0 {
            writer.make_cell_writer().set_value(value).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The fetching of one page, with all its attempts.
struct Fetch {
    shared: Arc<Shared>,
    step: Step,
    state: PagingState,
    rows_max: u32,
    last_answer: Duration,
}

impl Fetch {
    async fn run(mut self) -> Result<Fetched> {
        let (backoff, what) = (Backoff::peer(), self.what());
        let mut attempt = 0_u32;
        let mut failures = 0_u32;
        loop {
            let (page_rows, error) = match self.attempt(attempt, &what).await {
                Ok(outcome) => {
                    self.shared.status.answered();
                    // after trouble, pages grow again step by step
                    let rows_max = self.rows_max.saturating_mul(2).min(self.shared.fetch_size());
                    return Ok(Fetched { outcome, rows_max });
                }
                Err(failed) => failed,
            };
            if error.kind().verdict() != Verdict::Retry {
                return Err(error);
            }
            if self.shared.cluster.clock().now().saturating_sub(self.last_answer) > self.shared.options.patience {
                let waited = self.shared.options.patience.as_secs();
                return Err(
                    error.advise(&format!("nobody could answer for {waited} s, which is what --patience allows"))
                );
            }
            tracing::debug!(range = %what, %error, attempt, "a page is asked for again");
            if error.reason().asks_for_smaller_pages() {
                self.rows_max = (page_rows / 4).max(1);
            }
            if error.reason() == Reason::ReplicasFailed && page_rows <= SMALL_PAGE_ROWS {
                failures += 1;
                if failures >= FAILURES_BEFORE_SPLIT && self.can_split() {
                    return Ok(Fetched { outcome: Outcome::Split, rows_max: self.rows_max });
                }
            }
            self.shared.status.retried(&error.to_string());
            tokio::time::sleep(backoff.pause(attempt, &self.shared.options.entropy)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// One attempt; a failure comes with the number of rows that were asked for.
    async fn attempt(&self, attempt: u32, what: &str) -> Result<Outcome, (u32, Error)> {
        let shared = &*self.shared;
        let page_rows = shared.page_rows(self.rows_max).max(1);
        let failed = |error| (page_rows, error);
        let statement = shared.statement(&self.step).await.map_err(failed)?;
        let nodes = self.nodes(attempt);
        let Some(host) = nodes.first().copied() else {
            let why = format!("{what} failed: no node of data centre {} is connected", shared.route.local_dc);
            return Err(failed(Error::unavailable(why)));
        };
        let bound = self.bind(statement, page_rows, nodes).map_err(failed)?;
        let permit = shared.options.pace.enter(host).await;
        let clock = shared.cluster.clock();
        let now_unix_s = shared.cluster.database_unix_ms(host).await.map_err(failed)?.div_euclid(1000);
        let sent = clock.now();
        let answer = ask(shared.cluster.session(), &bound, self.state.clone(), what).await;
        let (rows, more) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                if error.reason().asks_for_smaller_pages() {
                    permit.overloaded();
                }
                return Err(failed(error));
            }
        };
        let shape = match self.step {
            Step::KeysBehind { .. } => Arc::new(keys_shape(shared)),
            _ => Arc::clone(&shared.selection.shape),
        };
        let page = page_of(&rows, shape, now_unix_s, what).map_err(failed)?;
        permit.answered(clock.now().saturating_sub(sent), page.bytes());
        if !matches!(self.step, Step::KeysBehind { .. }) {
            shared.learn(page.rows(), page.bytes());
        }
        shared.options.pace.spend(page.rows() as u64, page.bytes() as u64);
        shared.cluster.count_read(page.host(), page.rows() as u64);
        Ok(Outcome::Page(page, more))
    }

    /// Who to ask, in order: the owners, then everybody near; another first after each failure.
    fn nodes(&self, attempt: u32) -> Vec<Uuid> {
        let connected = self.shared.cluster.connected(&self.shared.route.local_dc);
        let owners: Vec<Uuid> = match &self.step {
            Step::Tokens(piece) | Step::KeysBehind { piece, .. } => piece.replicas.to_vec(),
            Step::Partition(key) => self.owners(key),
            Step::Following { position, .. } => self.owners(&position.partition),
        };
        let mut nodes: Vec<Uuid> = owners.into_iter().filter(|host| connected.contains(host)).collect();
        let others: Vec<Uuid> = connected.into_iter().filter(|host| !nodes.contains(host)).collect();
        nodes.extend(others);
        if !nodes.is_empty() {
            let first = attempt as usize % nodes.len();
            nodes.rotate_left(first);
        }
        nodes
    }

    fn owners(&self, key: &[Vec<u8>]) -> Vec<Uuid> {
        self.shared.cluster.replicas(&self.shared.route, &self.shared.layout.table, token_of(key))
    }

    fn bind(&self, mut statement: PreparedStatement, page_rows: u32, nodes: Vec<Uuid>) -> Result<BoundStatement> {
        statement.set_page_size(i32::try_from(page_rows).unwrap_or(i32::MAX));
        statement.set_consistency(self.shared.consistency());
        statement.set_is_idempotent(true);
        statement.set_use_cached_result_metadata(true);
        statement.set_load_balancing_policy(Some(NodesInOrder::new(nodes, Arc::clone(&self.shared.route.local_dc))));
        statement
            .bind(&RawValues(self.values()))
            .map_err(|_| Error::internal(format!("{} failed: its bounds can't be bound", self.what())))
    }

    fn values(&self) -> Vec<Vec<u8>> {
        let bounds =
            |range: TokenRange| [range.start(), range.end()].map(|token| token.0.to_be_bytes().to_vec()).to_vec();
        match &self.step {
            Step::Tokens(piece) | Step::KeysBehind { piece, .. } => bounds(piece.range),
            Step::Partition(key) => key.clone(),
            Step::Following { position, level } => {
                let clustering = position.clustering.iter().flatten().take(level + 1);
                position.partition.iter().chain(clustering).cloned().collect()
            }
        }
    }

    fn can_split(&self) -> bool {
        matches!(&self.step, Step::Tokens(piece) if piece.range.width() > 1)
    }

    fn what(&self) -> String {
        let table = format!("{}.{}", self.shared.layout.keyspace, self.shared.layout.table);
        match &self.step {
            Step::Tokens(piece) | Step::KeysBehind { piece, .. } => format!("reading {table} {}", piece.range),
            Step::Partition(key) => format!("reading a partition of {table} at token {}", token_of(key)),
            Step::Following { position, .. } => {
                format!("reading on in a partition of {table} at token {}", position.token())
            }
        }
    }
}

fn keys_shape(shared: &Shared) -> PageShape {
    let mut shape = PageShape::of_values(&shared.layout);
    shape.columns = shared.layout.columns.iter().filter(|column| column.role == ColumnRole::PartitionKey).count();
    shape.selected = shape.columns;
    shape.times.truncate(shape.columns);
    shape.is_static.truncate(shape.columns);
    shape
}

async fn ask(
    session: &Session,
    bound: &BoundStatement,
    state: PagingState,
    what: &str,
) -> Result<(QueryRowsResult, Option<PagingState>)> {
    let (result, next) = session
        .execute_bound_single_page(bound, state)
        .await
        .map_err(|e| Error::of_execution(what, &e, Values::Cells))?;
    let rows = result.into_rows_result().map_err(|e| Error::of_answer(what, e))?;
    Ok((
        rows,
        match next.into_paging_control_flow() {
            ControlFlow::Continue(state) => Some(state),
            ControlFlow::Break(()) => None,
        },
    ))
}

/// The page's rows as one run of bytes, without walking them: the driver lends cells as parts of the whole frame body,
/// and the first cell of a row, a key, is never null.
fn page_of(rows: &QueryRowsResult, shape: Arc<PageShape>, now_unix_s: i64, what: &str) -> Result<Page> {
    let selected = rows.column_specs().len();
    if selected != shape.selected {
        let why = format!("{selected} columns came where {} were asked for", shape.selected);
        return Err(Error::of_answer(what, why));
    }
    let mut bytes = Bytes::new();
    if rows.rows_num() > 0 {
        let mut first = rows.rows::<ColumnIterator<'_, '_>>().map_err(|e| Error::of_answer(what, e))?;
        let row = first.next().transpose().map_err(|e| Error::of_answer(what, e))?;
        let cell = row.and_then(|mut cells| cells.next()).transpose().map_err(|e| Error::of_answer(what, e))?;
        let slice = cell.and_then(|cell| cell.slice);
        bytes = slice.map(|slice| slice.as_original_frame_bytes().clone()).unwrap_or_default();
    }
    if bytes.len() != rows.rows_bytes_size() {
        let why = format!("{} bytes of rows where {} were announced", bytes.len(), rows.rows_bytes_size());
        return Err(Error::of_answer(what, why));
    }
    let host = rows.request_coordinator().node().host_id;
    Ok(Page { bytes, rows: rows.rows_num(), now_unix_s, host, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

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
