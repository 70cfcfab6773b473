//! Writes rows back. Rows are bound on a blocking thread ([`Feed`]), cross a queue that is bounded by bytes, and are sent by
//! an async one ([`Sending`]) with a bounded number of requests under way. A chunk counts as restored when `Sending::run`
//! returns its counts: every write of it was acknowledged then.
//!
//! Invariants: no row is skipped silently; every failure ends in an error that names table and token range. Writes carry
//! explicit timestamps and may be repeated, but for two kinds: non-frozen lists count their attempts in their timestamp, and
//! counters are read before anything is added. So a chunk is loaded at most once under one epoch. Where other rows may stand
//! in the table, nothing is written that would delete: collections are added to, lists are read first.
//!
//! Deliberately absent: where rows come from, what the rules make of them, checking their sums, what to restore next.

mod batches;
mod bind;
mod columns;
mod counter;
mod counter_send;
mod feed;
mod group;
mod limits;
mod lists;
mod missing;
mod pack;
mod read;
mod send;
mod statements;
mod window;

use std::{
    ops::AddAssign,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringvault_archive::table::TableLayout;
use ringvault_proto::v1;
use ringvault_runtime::{clock::Clock, entropy::Entropy};

pub use self::feed::{Feed, FeedError, Sending};
use self::{
    batches::Batches,
    counter_send::CounterStatements,
    feed::{Room, Work},
    pack::Limits,
    read::{Beside, Reads},
    send::Sender,
    statements::{Carried, Statements},
    window::Window,
};
use super::{
    Cluster,
    errors::{Error, Result},
    pace::Pace,
    rows::Question,
    topology,
};

/// Bytes of writes that are queued or under way at most, a loader.
pub const LOAD_BYTES_MAX: usize = 4 << 20;
/// Bytes and works that cross the queue together: so many that waking the other side costs little, so few that writes under
/// way don't wait for them.
const PARCEL_BYTES: usize = 64 << 10;
const PARCEL_WORKS_MAX: usize = 16;
/// Parcels that wait in the queue at most.
const QUEUE_PARCELS_MAX: usize = 16;
/// Attempts of a failing write where the job names none.
const RETRIES: u32 = 5;
/// First pause where the job names none.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// How rows are written.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Of every write.
    pub consistency: v1::Consistency,
    /// Rows a batch at most; 0: automatic, under the server's thresholds.
    pub batch_rows_max: u32,
    /// Attempts of a failing write; 0: 5.
    pub retries: u32,
    /// First pause before another attempt, doubled each time; zero: 2 s.
    pub retry_delay: Duration,
    /// How long replicas that are down are waited for.
    pub patience: Duration,
    /// Of what is read before it is written: counters, lists and rows where others may stand.
    pub read_consistency: v1::Consistency,
    /// The backup holds no times; the server sets them.
    pub values_only: bool,
    /// Where rows go, what may stand there, whether the server sets their times. Rows come as these rules make them
    /// ([`ringvault_archive::sent`]): a cell without a writetime has none here either.
    pub rules: v1::RowRules,
    /// Epoch of the lease.
    pub epoch: u64,
    /// How hard the cluster is leaned on. Bytes are counted as the server takes them.
    pub pace: Arc<Pace>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Rows that are complete, those too of which nothing was left to write.
    pub rows: u64,
    /// Static lines that are complete.
    pub static_rows: u64,
    /// Cells that were not written since their time had come.
    pub cells_expired: u64,
    /// Of the rows and static lines: left alone, since something else stands there.
    pub rows_skipped: u64,
    /// Attempts beyond the first.
    pub retries: u64,
}

impl AddAssign for LoadCounts {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.static_rows += other.static_rows;
        self.cells_expired += other.cells_expired;
        self.rows_skipped += other.rows_skipped;
        self.retries += other.retries;
    }
}

/// Loads rows into one table. Made once a shard; chunks of it are fed one after another or side by side.
#[derive(Debug)]
pub struct Loader {
    layout: TableLayout,
    limits: Limits,
    ring: Vec<i64>,
    sender: Sender,
    window: Mutex<Window>,
}

impl Loader {
    /// Prepares the statements and reads the server's thresholds and clock. `layout`: the backup's columns, under the name of
    /// the table that is written.
    ///
    /// # Errors
    /// `Invalid` where the table does not have the backup's columns, `NotFound` without its keyspace, `Conflict` for counters
    /// that are to be appended, `Unavailable` where nobody answers.
    pub async fn prepare(
        cluster: &Arc<Cluster>,
        layout: &TableLayout,
        options: &LoadOptions,
        clock: &Arc<dyn Clock>,
        entropy: &Entropy,
    ) -> Result<Arc<Self>> {
        let route = cluster.route(&layout.keyspace).await?;
        let consistency = super::consistency(options.consistency);
        let host = cluster.connected(&route.local_dc).first().copied();
        let host = host.ok_or_else(|| Error::unavailable(format!("no node of {} is connected", route.local_dc)))?;
        let ahead_ms = cluster.clock_ahead_ms(host).await?;
        let now_us = (i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX) + ahead_ms).saturating_mul(1000);
        let settings = thresholds(cluster, host).await;
        let beside = beside(layout, &options.rules)?;
        let carried = Carried::of(&options.rules, options.values_only);
        let (statements, counters) = if layout.counter {
            (None, Some(CounterStatements::prepare(cluster, layout, consistency).await?))
        } else {
            (Some(Statements::prepare(cluster, layout, carried, consistency).await?), None)
        };
        let reads = Reads::prepare(cluster, layout, beside, super::consistency(options.read_consistency)).await?;
        let landing_time = limits::landing_time(&settings);
        if layout.counter && options.epoch > 1 {
            // what an earlier holder of the shard had under way must land before a counter is read
            tokio::time::sleep(landing_time).await;
        }
        let sender = Sender {
            cluster: cluster.clone(),
            route,
            table: layout.table.clone(),
            statements,
            counters,
            reads,
            carried,
            started_us: i64::try_from(options.rules.backup_started_unix_ms).unwrap_or(i64::MAX).saturating_mul(1000),
            now_us,
            landing_time,
            epoch: options.epoch,
            retries: if options.retries == 0 { RETRIES } else { options.retries },
            backoff: send::backoff(if options.retry_delay.is_zero() { RETRY_DELAY } else { options.retry_delay }),
            patience: options.patience,
            clock: clock.clone(),
            ahead_ms,
            entropy: entropy.clone(),
            pace: options.pace.clone(),
            turn: std::sync::atomic::AtomicUsize::new(0),
            batches: Batches::new(consistency),
        };
        Ok(Arc::new(Self {
            layout: layout.clone(),
            limits: limits::limits(&settings, options.batch_rows_max),
            ring: cluster.ring().tokens().iter().map(|(token, _)| token.0).collect(),
            sender,
            window: Mutex::new(Window::new()),
        }))
    }
}

/// What may stand in the table beside the backup's rows.
fn beside(layout: &TableLayout, rules: &v1::RowRules) -> Result<Beside> {
    match rules.if_exists() {
        v1::IfExists::Unspecified | v1::IfExists::Fail | v1::IfExists::Truncate => Ok(Beside::Nothing),
        v1::IfExists::OnlyMissing => Ok(Beside::Untouchable),
        v1::IfExists::Append if !layout.counter => Ok(Beside::Others),
        v1::IfExists::Append => Err(Error::conflict(format!(
            "{}.{} counts: a backup can't be appended to counters, since nobody knows what of them stands in it; restore it \
             elsewhere, or with --if-exists truncate or only-missing",
            layout.keyspace, layout.table
        ))),
    }
}

/// The settings of the server that bound batches; those that can't be read are left out.
async fn thresholds(cluster: &Cluster, host: uuid::Uuid) -> Vec<(String, String)> {
    let cql = if cluster.is_scylla() {
        "SELECT name, value FROM system.config"
    } else if cluster.versions().0 >= super::ring::Version::new(4, 0, 0) {
        "SELECT name, value FROM system_views.settings"
    } else {
        return Vec::new();
    };
    let question = Question::new("reading the server's batch thresholds", cql).to(topology::only(host));
    match question.ask::<(String, Option<String>)>(cluster.session(), ()).await {
        Ok(rows) => {
            let wanted = |name: &str| limits::SETTINGS.contains(&name);
            rows.into_iter().filter_map(|(name, value)| wanted(&name).then_some((name, value?))).collect()
        }
        Err(error) => {
            tracing::debug!(%error, "the server's settings can't be read; its defaults are assumed");
            Vec::new()
        }
    }
}

impl Loader {
    /// Brings in what one work asks for; `_room` is given back afterwards.
    async fn carry_out(&self, work: Work, _room: Option<Room>) -> Result<LoadCounts> {
        match work {
            Work::Pack(pack) => self.sender.send(pack.writes, &self.window).await,
            Work::List(write) => self.sender.send_list(*write, &self.window).await,
            Work::Missing(line) => self.sender.send_missing(*line, &self.layout, &self.window).await,
            Work::Counter(row) => self.sender.send_counter(row, &self.window).await,
            Work::End(counts) => Ok(counts),
        }
    }

    fn window_limit(&self) -> usize {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).limit()
    }

    fn broken_feed(&self) -> Error {
        Error::internal(format!(
            "the rows of a chunk of {}.{} ended before their end was announced; the reading of the chunk failed",
            self.layout.keyspace, self.layout.table
        ))
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
