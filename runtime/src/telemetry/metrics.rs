//! What is counted. A worker calls a function for each thing that happens; a coordinator publishes its [`Figures`] every few
//! seconds. Where nobody asked for metrics, all of them cost next to nothing.

use std::time::Duration;

use opentelemetry::KeyValue;

use super::instruments::current;

/// Where a worker's rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the database to the repository.
    Backup,
    /// From the repository to the database.
    Restore,
    /// Read to be compared.
    Verify,
}

impl Direction {
    fn label(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
        }
    }
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkOutcome {
    /// Stored anew.
    Stored,
    /// It stood in the repository already.
    Reused,
    /// Its rows were written and acknowledged.
    Restored,
    /// Compared.
    Verified,
    /// It could not be finished.
    Failed,
}

impl ChunkOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Reused => "reused",
            Self::Restored => "restored",
            Self::Verified => "verified",
            Self::Failed => "failed",
        }
    }
}

/// What was tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// A page of rows read from the database.
    Page,
    /// A write to the database.
    Write,
    /// A request to the object store.
    Object,
    /// A call to the coordinator.
    Call,
}

impl Retried {
    fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Write => "write",
            Self::Object => "object",
            Self::Call => "call",
        }
    }
}

/// Why a worker goes slower than it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleCause {
    /// The limit on rows or bytes of job or cluster.
    Rate,
    /// The database said that it is overloaded.
    Overloaded,
    /// Replicas are unavailable.
    Unavailable,
}

impl ThrottleCause {
    fn label(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Counts rows that a worker finished, with their encoded bytes.
pub fn rows(direction: Direction, rows: u64, encoded_bytes: u64) {
    let Some(instruments) = current() else { return };
    let labels = [KeyValue::new("direction", direction.label())];
    instruments.rows.add(rows, &labels);
    instruments.bytes.add(encoded_bytes, &labels);
}

/// Counts a chunk.
pub fn chunk(outcome: ChunkOutcome) {
    let Some(instruments) = current() else { return };
    instruments.chunks.add(1, &[KeyValue::new("outcome", outcome.label())]);
}

/// Records how long a page took, from the request to its last byte.
pub fn page(took: Duration) {
    let Some(instruments) = current() else { return };
    instruments.page_seconds.record(took.as_secs_f64(), &[]);
}

/// Counts something that was tried again.
pub fn retry(what: Retried) {
    let Some(instruments) = current() else { return };
    instruments.worker_retries.add(1, &[KeyValue::new("what", what.label())]);
}

/// Counts time that a slot stood still.
pub fn throttled(cause: ThrottleCause, waited: Duration) {
    let Some(instruments) = current() else { return };
    instruments.throttled_seconds.add(waited.as_secs_f64(), &[KeyValue::new("cause", cause.label())]);
}

/// Says how many slots a worker has, and how many of them hold a lease now.
pub fn slots(slots: u32, busy: u32) {
    let Some(instruments) = current() else { return };
    instruments.worker_slots.record(slots.into(), &[]);
    instruments.slots_busy.record(busy.into(), &[]);
}

/// What a coordinator knows, to be told as gauges and totals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Jobs by state, as `running`; every state that is worth a line, also with 0.
    pub jobs: Vec<(String, u64)>,
    /// The newest complete backup of each keyspace that jobs of the journal know.
    pub last_successes: Vec<LastSuccess>,
    /// Jobs that have not ended, and whether they are stuck: running without progress for long.
    pub stuck: Vec<(String, bool)>,
    /// Leases held now.
    pub leases: u64,
    /// Leases that lapsed since the process began.
    pub lease_lapses: u64,
    /// Attempts of shards that failed or lapsed and were queued again, since the process began.
    pub retries: u64,
    /// Leases whose holders say that they are throttled, by cause (`rate`, `overloaded`).
    pub throttled: Vec<(String, u64)>,
    /// Encoded bytes that jobs have still to do, by job; an estimate in backups.
    pub lag_bytes: Vec<(String, u64)>,
    /// Workers that attend.
    pub workers: u64,
    /// Their slots.
    pub slots: u64,
}

/// The newest complete backup of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSuccess {
    /// Profile of the cluster.
    pub cluster: String,
    /// As the database has it.
    pub keyspace: String,
    /// When it was complete. Its age is computed when somebody asks.
    pub finished_unix_ms: u64,
}

/// Tells these figures until the next ones come.
pub fn publish(figures: Figures) {
    if let Some(instruments) = current() {
        instruments.publish(figures);
    }
}
