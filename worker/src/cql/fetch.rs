//! The fetching of one page, with all its attempts: from which node, how many rows, and when to give up.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use ringvault_archive::{table::ColumnRole, token::token_of};
use ringvault_proto::{error::Verdict, token::TokenRange};
use ringvault_runtime::{
    retry::Backoff,
    telemetry::metrics::{self, Retried},
};
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
use uuid::Uuid;

use super::{
    cluster::NodesInOrder,
    errors::{Error, Reason, Result, Values},
    pace::{Cost, Share},
    page::{Page, PageShape},
    reader::Step,
    scan::Shared,
};

/// Pages this small are not shrunk further before the range is halved.
const SMALL_PAGE_ROWS: u32 = 10;

/// Failures of replicas over a small page before the range is halved.
const FAILURES_BEFORE_SPLIT: u32 = 2;

/// No limit on what a page takes.
const FREE: Share = Share { rows: u64::MAX, bytes: u64::MAX };

/// A page, and how many rows the next may have.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) outcome: Outcome,
    pub(crate) rows_max: u32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Rows, and where to go on.
    Page(Page, Option<PagingState>),
    /// Replicas fail over it: halve it.
    Split,
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
pub(crate) struct Fetch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) step: Step,
    pub(crate) state: PagingState,
    pub(crate) rows_max: u32,
    /// When the reader was answered last; patience counts from then.
    pub(crate) last_answer: Duration,
}

impl Fetch {
    /// Asks until it is answered, or until another attempt is of no use.
    pub(crate) async fn run(mut self) -> Result<Fetched> {
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
                let advice = format!("nobody could answer for {waited} s, which is what --patience allows");
                // rows that replicas fail over are the same for whoever asks next
                let over_rows = error.reason() == Reason::ReplicasFailed;
                let error = error.advise(&advice);
                return Err(if over_rows { error.finally() } else { error });
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
            metrics::retry(Retried::Page);
            tokio::time::sleep(backoff.pause(attempt, &self.shared.options.entropy)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// One attempt; a failure comes with the number of rows that were asked for.
    async fn attempt(&self, attempt: u32, what: &str) -> Result<Outcome, (u32, Error)> {
        let shared = &*self.shared;
        let failed = |error| (shared.page_rows(self.rows_max, FREE), error);
        let statement = shared.statement(&self.step).await.map_err(failed)?;
        let nodes = self.nodes(attempt);
        let Some(host) = nodes.first().copied() else {
            let why = format!("{what} failed: no node of data centre {} is connected", shared.route.local_dc);
            return Err(failed(Error::unavailable(why)));
        };
        let mut page_rows = 0;
        let expect = |share| {
            page_rows = shared.page_rows(self.rows_max, share);
            shared.page_cost(page_rows)
        };
        let permit = shared.options.pace.page(host, expect).await;
        let failed = |error| (page_rows, error);
        let bound = self.bind(statement, page_rows, nodes).map_err(failed)?;
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
        permit
            .answered(clock.now().saturating_sub(sent), Cost { rows: page.rows() as u64, bytes: page.bytes() as u64 });
        if !matches!(self.step, Step::KeysBehind { .. }) {
            shared.learn(page.rows(), page.bytes());
        }
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
        statement.set_load_balancing_policy(Some(NodesInOrder::policy(nodes, Arc::clone(&self.shared.route.local_dc))));
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
