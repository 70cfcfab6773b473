//! What metrics are called, and how OpenTelemetry holds them. One set of instruments, whoever reads them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider},
};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::metrics::Figures;
use crate::clock::{Clock, SystemClock};

pub(super) const ROWS: &str = "ringvault_rows_total";
pub(super) const BYTES: &str = "ringvault_bytes_total";
pub(super) const CHUNKS: &str = "ringvault_chunks_total";
pub(super) const PAGE_SECONDS: &str = "ringvault_page_seconds";
pub(super) const WORKER_RETRIES: &str = "ringvault_worker_retries_total";
pub(super) const THROTTLED_SECONDS: &str = "ringvault_throttled_seconds_total";
pub(super) const WORKER_SLOTS: &str = "ringvault_worker_slots";
pub(super) const SLOTS_BUSY: &str = "ringvault_slots_busy";
pub(super) const JOBS: &str = "ringvault_jobs";
pub(super) const LAST_SUCCESS: &str = "ringvault_last_success_age_seconds";
pub(super) const STUCK: &str = "ringvault_job_stuck";
pub(super) const LAG: &str = "ringvault_lag_bytes";
pub(super) const LEASES: &str = "ringvault_leases";
pub(super) const LAPSES: &str = "ringvault_lease_lapses_total";
pub(super) const RETRIES: &str = "ringvault_retries_total";
pub(super) const THROTTLED: &str = "ringvault_throttled";
pub(super) const WORKERS: &str = "ringvault_workers";
pub(super) const SLOTS: &str = "ringvault_slots";
pub(super) const MEMORY: &str = "ringvault_memory_bytes";

/// The names of all metrics, as every reader shows them; a histogram's have `_bucket`, `_sum` and `_count` behind them.
pub const NAMES: &[&str] = &[
    ROWS,
    BYTES,
    CHUNKS,
    PAGE_SECONDS,
    WORKER_RETRIES,
    THROTTLED_SECONDS,
    WORKER_SLOTS,
    SLOTS_BUSY,
    JOBS,
    LAST_SUCCESS,
    STUCK,
    LAG,
    LEASES,
    LAPSES,
    RETRIES,
    THROTTLED,
    WORKERS,
    SLOTS,
    MEMORY,
];

/// Seconds; a page takes milliseconds, and many seconds where a partition is large or a node is in trouble.
const PAGE_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

static CURRENT: OnceLock<Instruments> = OnceLock::new();

/// Counts from now on.
pub(super) fn start(provider: &SdkMeterProvider) {
    let _ = CURRENT.set(Instruments::new(&provider.meter("ringvault")));
}

/// What counts, where somebody asked for it.
pub(super) fn current() -> Option<&'static Instruments> {
    CURRENT.get()
}

/// Everything that is counted.
pub(super) struct Instruments {
    pub(super) rows: Counter<u64>,
    pub(super) bytes: Counter<u64>,
    pub(super) chunks: Counter<u64>,
    pub(super) page_seconds: Histogram<f64>,
    pub(super) worker_retries: Counter<u64>,
    pub(super) throttled_seconds: Counter<f64>,
    pub(super) worker_slots: Gauge<u64>,
    pub(super) slots_busy: Gauge<u64>,
    published: Published,
}

/// The figures that a coordinator told last; none in a process that is no coordinator.
type Published = Arc<Mutex<Option<Figures>>>;

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let published = Published::default();
        observe(meter, &published);
        let count = |name: &'static str, what: &'static str| meter.u64_counter(name).with_description(what).build();
        let gauge = |name: &'static str, what: &'static str| meter.u64_gauge(name).with_description(what).build();
        Self {
            rows: count(ROWS, "Rows that this worker finished"),
            bytes: count(BYTES, "Encoded bytes of the rows that this worker finished"),
            chunks: count(CHUNKS, "Chunks, by what became of them"),
            page_seconds: meter
                .f64_histogram(PAGE_SECONDS)
                .with_description("How long a page of rows took, in seconds")
                .with_boundaries(PAGE_BOUNDS.to_vec())
                .build(),
            worker_retries: count(WORKER_RETRIES, "What this worker tried again, by what it was"),
            throttled_seconds: meter
                .f64_counter(THROTTLED_SECONDS)
                .with_description("Time that slots of this worker stood still, in seconds, by why")
                .build(),
            worker_slots: gauge(WORKER_SLOTS, "Slots of this worker"),
            slots_busy: gauge(SLOTS_BUSY, "Slots of this worker that hold a lease"),
            published,
        }
    }

    pub(super) fn publish(&self, figures: Figures) {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
    }
}

/// Resident bytes of this process; nothing where the system does not tell.
fn memory_bytes() -> Option<u64> {
    const KIB: u64 = 1024;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(KIB)
}

/// One value of an instrument, with what it is of.
type Observation = (u64, Vec<KeyValue>);

/// Figures are read whenever somebody asks; what is not in them any more is not told any more.
fn observe(meter: &Meter, published: &Published) {
    let memory = meter.u64_observable_gauge(MEMORY).with_description("Resident memory of this process, in bytes");
    let _ = memory
        .with_callback(|observer| {
            if let Some(bytes) = memory_bytes() {
                observer.observe(bytes, &[]);
            }
        })
        .build();
    gauge(meter, published, JOBS, "Jobs of the journal, by state", |figures| labelled("state", &figures.jobs));
    gauge(meter, published, LAST_SUCCESS, "Age of the newest complete backup of a keyspace, in seconds", |figures| {
        let now = SystemClock::new().unix_ms();
        let age = |finished: u64| now.saturating_sub(finished) / 1_000;
        let of = |last: &super::metrics::LastSuccess| {
            let labels = [("cluster", &last.cluster), ("keyspace", &last.keyspace)];
            (age(last.finished_unix_ms), labels.map(|(key, value)| KeyValue::new(key, value.clone())).to_vec())
        };
        figures.last_successes.iter().map(of).collect()
    });
    gauge(meter, published, STUCK, "1 where a job made no progress for long, else 0", |figures| {
        let of = |(job, stuck): &(String, bool)| (u64::from(*stuck), vec![KeyValue::new("job", job.clone())]);
        figures.stuck.iter().map(of).collect()
    });
    gauge(meter, published, LAG, "Encoded bytes that a job has still to do; an estimate in backups", |figures| {
        labelled("job", &figures.lag_bytes)
    });
    gauge(meter, published, THROTTLED, "Leases whose holders are slowed down, by why", |figures| {
        labelled("cause", &figures.throttled)
    });
    gauge(meter, published, LEASES, "Leases held now", |figures| vec![(figures.leases, Vec::new())]);
    gauge(meter, published, WORKERS, "Workers that attend", |figures| vec![(figures.workers, Vec::new())]);
    gauge(meter, published, SLOTS, "Slots of all workers that attend", |figures| vec![(figures.slots, Vec::new())]);
    total(meter, published, LAPSES, "Leases that lapsed since this process began", |figures| figures.lease_lapses);
    total(meter, published, RETRIES, "Attempts of shards that failed and were queued again", |figures| figures.retries);
}

fn labelled(key: &'static str, values: &[(String, u64)]) -> Vec<Observation> {
    values.iter().map(|(label, value)| (*value, vec![KeyValue::new(key, label.clone())])).collect()
}

fn gauge(
    meter: &Meter,
    published: &Published,
    name: &'static str,
    what: &'static str,
    read: impl Fn(&Figures) -> Vec<Observation> + Send + Sync + 'static,
) {
    let published = Arc::clone(published);
    let _ = meter
        .u64_observable_gauge(name)
        .with_description(what)
        .with_callback(move |observer| {
            let figures = published.lock().unwrap_or_else(PoisonError::into_inner);
            for (value, labels) in figures.as_ref().map(&read).unwrap_or_default() {
                observer.observe(value, &labels);
            }
        })
        .build();
}

fn total(
    meter: &Meter,
    published: &Published,
    name: &'static str,
    what: &'static str,
    read: impl Fn(&Figures) -> u64 + Send + Sync + 'static,
) {
    let published = Arc::clone(published);
    let _ = meter
        .u64_observable_counter(name)
        .with_description(what)
        .with_callback(move |observer| {
            let figures = published.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(figures) = figures.as_ref() {
                observer.observe(read(figures), &[]);
            }
        })
        .build();
}
