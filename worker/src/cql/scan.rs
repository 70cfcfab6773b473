//! Reading one table: its statements, prepared once, and what its readers share.
//!
//! The driver routes no token range, so each range is sent to a node that owns it; the driver's own pager is not used,
//! since it can end early without an error.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ringvault_archive::{digest::Identity, table::TableLayout};
use ringvault_proto::{
    token::{Token, TokenRange},
    v1,
};
use ringvault_runtime::{entropy::Entropy, tasks::Tasks};
use scylla::statement::{Consistency, prepared::PreparedStatement};
use tokio::sync::OnceCell;
use uuid::Uuid;

pub use super::reader::RangeReader;
use super::{
    cluster::{Cluster, KeyspaceRoute},
    consistency,
    errors::{Error, Result},
    lines::Position,
    pace::{Cost, Pace, Share},
    reader::Step,
    ring::Piece,
    select::{Selection, Statements, select},
};

/// Rows of a table's first page: nobody knows yet how large they are.
pub const FIRST_PAGE_ROWS: u32 = 100;

/// Bytes that later pages aim at, by the mean row: enough to hide a round trip, little enough for a node's heap.
pub const PAGE_BYTES: u64 = 1 << 20;

/// Rows a page, at most, where the request doesn't say.
pub const FETCH_SIZE: u32 = 5000;

/// Bytes of a row as long as no page has shown them, where bytes are limited.
const ROW_BYTES_GUESS: f64 = 1024.0;

/// A range is cut where replicas change only if a piece is estimated to hold so many bytes: enough that reading it from
/// an owner saves more than its round trip costs.
const PIECE_BYTES_MIN: f64 = 128.0 * 1024.0;

/// How a table is read.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Consistency level of every page.
    pub read_consistency: v1::Consistency,
    /// Rows a page, at most; 0: [`FETCH_SIZE`].
    pub fetch_size: u32,
    /// Leave writetimes and TTLs unread.
    pub values_only: bool,
    /// How long replicas that fail are waited for.
    pub patience: Duration,
    /// How hard the cluster is leaned on.
    pub pace: Arc<Pace>,
    /// Where pages are fetched ahead.
    pub tasks: Tasks,
    /// Jitter of pauses.
    pub entropy: Entropy,
}

/// One table, ready to be read. Cheap to clone; clones share what they learn of row sizes.
#[derive(Clone, Debug)]
pub struct TableScan(Arc<Shared>);

/// What readers of a table share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) route: KeyspaceRoute,
    pub(crate) layout: Arc<TableLayout>,
    pub(crate) selection: Selection,
    pub(crate) statements: Statements,
    pub(crate) options: ScanOptions,
    pub(crate) status: Status,
    range: PreparedStatement,
    rare: Rare,
    bytes_estimated: u64,
    mean_row: Mutex<MeanRow>,
}

/// Statements that only a resumed reader needs.
#[derive(Debug, Default)]
struct Rare {
    keys: OnceCell<PreparedStatement>,
    partition: OnceCell<PreparedStatement>,
    following: Vec<OnceCell<PreparedStatement>>,
}

/// How a scan fares; for progress.
#[derive(Debug, Default)]
pub(crate) struct Status {
    retries: AtomicU64,
    waiting: Mutex<String>,
}

impl Status {
    pub(crate) fn retried(&self, waiting_for: &str) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        waiting_for.clone_into(&mut lock(&self.waiting));
    }

    pub(crate) fn answered(&self) {
        lock(&self.waiting).clear();
    }
}

impl TableScan {
    /// Prepares the statements and finds which times can be read. `table` is what an inspection or a shard carries.
    ///
    /// # Errors
    /// `Invalid` where the server refuses the table or a column, `NotFound` for an unknown keyspace.
    pub async fn prepare(cluster: &Arc<Cluster>, table: &v1::InspectedTable, options: ScanOptions) -> Result<Self> {
        let layout = Arc::new(TableLayout::from_message(table)?);
        let route = cluster.route(&layout.keyspace).await?;
        let selection = select(cluster, &layout, options.values_only).await?;
        let clustering = table.columns.iter().filter(|column| column.kind() == v1::ColumnKind::Clustering);
        let reversed: Vec<bool> = clustering.map(|column| column.reversed).collect();
        let statements = Statements::new(&layout, &reversed, &selection.list, cluster.is_scylla());
        let what = format!("preparing to read {}.{}", layout.keyspace, layout.table);
        let range = cluster.prepare(&what, &statements.range()).await?;
        let rare = Rare { following: reversed.iter().map(|_| OnceCell::new()).collect(), ..Rare::default() };
        Ok(Self(Arc::new(Shared {
            cluster: Arc::clone(cluster),
            route,
            layout,
            selection,
            statements,
            options,
            status: Status::default(),
            range,
            rare,
            bytes_estimated: table.bytes_estimated,
            mean_row: Mutex::default(),
        })))
    }

    /// The table's columns.
    #[must_use]
    pub fn layout(&self) -> &Arc<TableLayout> {
        &self.0.layout
    }

    /// What this server can't tell of the table's rows; for the fidelity report.
    #[must_use]
    pub fn approximations(&self) -> &[v1::Approximation] {
        &self.0.selection.approximations
    }

    /// One a column of the layout: whether this server tells its times exactly, those of each element too.
    #[must_use]
    pub fn comparable(&self) -> &[bool] {
        &self.0.selection.comparable
    }

    /// Pages that had to be asked for again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.0.status.retries.load(Ordering::Relaxed)
    }

    /// What the scan waits for just now, or empty.
    #[must_use]
    pub fn waiting(&self) -> String {
        lock(&self.0.status.waiting).clone()
    }

    /// Reads the rows of `range` in token order.
    #[must_use]
    pub fn range(&self, range: TokenRange) -> RangeReader {
        RangeReader::new(Arc::clone(&self.0), range, self.0.steps(range))
    }

    /// Reads the rows of `range` that follow a position inside it. Continue the lines by
    /// [`super::lines::RowSplitter::behind`] the same position.
    ///
    /// # Errors
    /// `Internal` for a position outside of the range.
    pub fn range_behind(&self, range: TokenRange, position: &Position) -> Result<RangeReader> {
        if !range.contains(position.token()) {
            return Err(Error::internal(format!(
                "{}.{} can't be read on within {range}: the position has token {}",
                self.0.layout.keyspace,
                self.0.layout.table,
                position.token()
            )));
        }
        Ok(RangeReader::new(Arc::clone(&self.0), range, self.0.steps_behind(range, position)))
    }
}

impl Shared {
    /// One step a piece, where pieces are worth it.
    pub(crate) fn steps(&self, range: TokenRange) -> Vec<Step> {
        let pieces = self.cluster.pieces(&self.route, &self.layout.table, range);
        #[allow(clippy::cast_precision_loss)] // a steering figure
        let bytes = self.bytes_estimated as f64 * range.fraction();
        #[allow(clippy::cast_precision_loss)]
        let worth_it = bytes / pieces.len() as f64 >= PIECE_BYTES_MIN;
        if worth_it || pieces.len() == 1 {
            pieces.into_iter().map(Step::Tokens).collect()
        } else {
            let replicas = by_share(&pieces, &self.layout.table);
            vec![Step::Tokens(Piece { range, replicas: replicas.into() })]
        }
    }

    /// The range as one piece, asked of the owners of its last token.
    pub(crate) fn piece(&self, range: TokenRange) -> Piece {
        let replicas = self.cluster.replicas(&self.route, &self.layout.table, range.end());
        Piece { range, replicas: replicas.into() }
    }

    /// The rest of the position's partition, other partitions of its token, the tokens behind it.
    pub(crate) fn steps_behind(&self, range: TokenRange, position: &Position) -> Vec<Step> {
        let token = position.token();
        let mut steps = match &position.clustering {
            None => vec![Step::Partition(position.partition.clone())],
            Some(_) => (0..self.statements.levels())
                .rev()
                .map(|level| Step::Following { position: position.clone(), level })
                .collect(),
        };
        if let Some(before) = token.0.checked_sub(1) {
            let at_token = TokenRange::new(Token(before), token).expect("one token");
            steps.push(Step::KeysBehind { piece: self.piece(at_token), key: position.partition.clone() });
        }
        if let Some(rest) = TokenRange::new(token, range.end()) {
            steps.extend(self.steps(rest));
        }
        steps
    }

    /// The prepared statement of a step.
    pub(crate) async fn statement(&self, step: &Step) -> Result<PreparedStatement> {
        let what = format!("preparing to read on in {}.{}", self.layout.keyspace, self.layout.table);
        let (cell, cql) = match step {
            Step::Tokens(_) => return Ok(self.range.clone()),
            Step::KeysBehind { .. } => (&self.rare.keys, self.statements.keys()),
            Step::Partition(_) => (&self.rare.partition, self.statements.partition()),
            Step::Following { level, .. } => (&self.rare.following[*level], self.statements.following(*level)),
        };
        cell.get_or_try_init(|| self.cluster.prepare(&what, &cql)).await.cloned()
    }

    pub(crate) fn consistency(&self) -> Consistency {
        consistency(self.options.read_consistency)
    }

    /// Rows to ask for, at least one, where the reader asks for `rows_max` at most and a page should take no more than `share`.
    pub(crate) fn page_rows(&self, rows_max: u32, share: Share) -> u32 {
        lock(&self.mean_row).page_rows(share).min(rows_max).max(1)
    }

    /// What a page of so many rows takes, as far as pages have shown.
    pub(crate) fn page_cost(&self, page_rows: u32) -> Cost {
        Cost { rows: page_rows.into(), bytes: lock(&self.mean_row).bytes_of(page_rows) }
    }

    pub(crate) fn fetch_size(&self) -> u32 {
        if self.options.fetch_size == 0 { FETCH_SIZE } else { self.options.fetch_size }
    }

    pub(crate) fn learn(&self, rows: usize, bytes: usize) {
        lock(&self.mean_row).learn(rows, bytes);
    }
}

/// The owners of pieces that are read as one, in the order in which they are asked: by a draw that favours whoever owns
/// more of it, and that falls otherwise for another table or range, so that small tables spread over all nodes.
fn by_share(pieces: &[Piece], table: &str) -> Vec<Uuid> {
    let start = pieces.first().map_or(0, |piece| piece.range.start().0);
    let mut shares: BTreeMap<Uuid, f64> = BTreeMap::new();
    for piece in pieces {
        for host in piece.replicas.iter() {
            *shares.entry(*host).or_default() += piece.range.fraction();
        }
    }
    let mut drawn: Vec<(f64, Uuid)> =
        shares.into_iter().map(|(host, share)| (draw(host, table, start) / share, host)).collect();
    drawn.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    drawn.into_iter().map(|(_, host)| host).collect()
}

/// Exponentially distributed over hosts, tables and ranges, and the same each time.
fn draw(host: Uuid, table: &str, start: i64) -> f64 {
    let mut seed = host.as_bytes().to_vec();
    seed.extend_from_slice(&start.to_le_bytes());
    seed.extend_from_slice(table.as_bytes());
    let hash = Identity::of(&seed).0;
    let bits = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    -((f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 2.0)).ln()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a row, on average, as pages show; the recent ones count most.
#[derive(Clone, Copy, Debug, Default)]
struct MeanRow(Option<f64>);

impl MeanRow {
    #[allow(clippy::cast_precision_loss)] // a steering figure
    fn learn(&mut self, rows: usize, bytes: usize) {
        if rows == 0 {
            return;
        }
        let mean = (bytes as f64 / rows as f64).max(1.0);
        // larger rows are believed at once: a page too large hurts, one too small only costs a round trip
        self.0 = Some(self.0.map_or(mean, |known| if mean > known { mean } else { known * 0.5 + mean * 0.5 }));
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
    fn page_rows(self, share: Share) -> u32 {
        let bytes = share.bytes.min(PAGE_BYTES) as f64;
        let rows = match self.0 {
            Some(mean) => bytes / mean,
            None => f64::from(FIRST_PAGE_ROWS).min(bytes / ROW_BYTES_GUESS),
        };
        rows.min(share.rows as f64).clamp(1.0, f64::from(u32::MAX)) as u32
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a steering figure, never negative
    fn bytes_of(self, rows: u32) -> u64 {
        (self.0.unwrap_or_default() * f64::from(rows)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_are_asked_of_different_owners_and_of_large_owners_more_often() {
        let (large, small) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let cut = Token(i64::MAX / 2);
        let range = |start, end| TokenRange::new(start, end).expect("not empty");
        let pieces = [
            Piece { range: range(Token::MIN, cut), replicas: vec![large].into() },
            Piece { range: range(cut, Token::MAX), replicas: vec![small].into() },
        ];
        let first = |n: u32| by_share(&pieces, &format!("table{n}"))[0];
        let asked_large = (0..1000).filter(|n| first(*n) == large).count();
        assert!((650..850).contains(&asked_large), "{asked_large} of 1000 where 750 are its share");
        assert_eq!(first(7), first(7));
    }

    #[test]
    fn the_first_page_is_small_and_later_ones_aim_at_a_megabyte() {
        let free = Share { rows: u64::MAX, bytes: u64::MAX };
        let mut mean = MeanRow::default();
        assert_eq!(mean.page_rows(free), FIRST_PAGE_ROWS);
        mean.learn(0, 0);
        assert_eq!(mean.page_rows(free), FIRST_PAGE_ROWS);
        mean.learn(100, 100 * 1024);
        assert_eq!(mean.page_rows(free), 1024);
        mean.learn(1, 1 << 20);
        assert_eq!(mean.page_rows(free), 1, "a row as large as a page is believed at once");
        mean.learn(1, 1);
        assert!(mean.page_rows(free) < 4);
    }

    #[test]
    fn where_the_rate_is_low_pages_are_small_from_the_first_on() {
        let mut mean = MeanRow::default();
        let (few_rows, few_bytes) = (Share { rows: 7, bytes: u64::MAX }, Share { rows: u64::MAX, bytes: 10 << 10 });
        assert_eq!((mean.page_rows(few_rows), mean.page_rows(few_bytes)), (7, 10));
        mean.learn(100, 100 * 512);
        assert_eq!((mean.page_rows(few_rows), mean.page_rows(few_bytes)), (7, 20));
        assert_eq!((mean.page_rows(Share { rows: 1, bytes: 1 }), mean.bytes_of(3)), (1, 3 * 512));
    }
}
