//! Tables of a cluster compared with a backup in the user's own process, down to keys and values: what no coordinator may
//! see.
//!
//! - here: the cluster, its tables, and [`LiveTable::diff`]; `rows`: rows of token ranges; `against`: segments compared,
//!   which the worker's own verifying shares
//!
//! Deliberately absent: output, and comparing two stored backups ([`ringvault_archive::rows::diff`]).

pub(crate) mod against;
pub(crate) mod rows;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use ringvault_archive::{
    digest::Sums,
    index::TableIndex,
    merge::Difference,
    repository::Repository,
    rows::{
        Now,
        diff::{DiffOptions, DiffReport, SegmentPair, sums_of},
    },
    table::TableLayout,
};
use ringvault_proto::{error::Failure, v1};
use ringvault_runtime::{clock::Clock, entropy::Entropy, tasks::Tasks};

use self::against::Against;
use crate::{
    cql::{
        Cluster,
        errors::Error,
        pace::Pace,
        profile::ClusterProfile,
        scan::{ScanOptions, TableScan},
    },
    execute::{
        Progress,
        reading::{PieceStore, Reading, read_segments},
        sinks::{SumSink, Summed},
    },
};

/// Segments whose sums are read in one go; those that differ are then looked at before others are read.
const RUN_SEGMENTS: u64 = 64;

/// How a live table is read.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Consistency level of every page; unspecified: `LOCAL_QUORUM`.
    pub read_consistency: v1::Consistency,
    /// How hard the cluster is leaned on.
    pub pace: v1::Pace,
    /// Rows a second at most; 0: no limit.
    pub rows_per_second_max: u64,
    /// Bytes a second at most; 0: no limit.
    pub bytes_per_second_max: u64,
    /// How long replicas that are down are waited for.
    pub patience: Duration,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            read_consistency: v1::Consistency::Unspecified,
            pace: v1::Pace::Unspecified,
            rows_per_second_max: 0,
            bytes_per_second_max: 0,
            patience: Duration::from_secs(15 * 60),
        }
    }
}

/// A cluster that this process reads by itself.
#[derive(Debug)]
pub struct LiveCluster {
    cluster: Arc<Cluster>,
    pace: Arc<Pace>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    tasks: Tasks,
    options: LiveOptions,
}

impl LiveCluster {
    /// Connects.
    ///
    /// # Errors
    /// What connecting meets, by its kind.
    pub async fn connect(
        profile: &ClusterProfile,
        options: LiveOptions,
        (clock, entropy, tasks): (Arc<dyn Clock>, Entropy, Tasks),
    ) -> Result<Self, Failure> {
        let cluster = Arc::new(Cluster::connect(profile).await?);
        let allowance = v1::Allowance {
            pace: options.pace.into(),
            rows_per_second_max: options.rows_per_second_max,
            bytes_per_second_max: options.bytes_per_second_max,
            ..v1::Allowance::default()
        };
        let pace = Pace::new(&allowance, clock.clone());
        Ok(Self { cluster, pace, clock, entropy, tasks, options })
    }

    /// The cluster's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.cluster.name()
    }

    /// A table, to be compared with one of a backup. `target`: its name, where that is not the backup's. `values_only`:
    /// without writetimes.
    ///
    /// # Errors
    /// `NotFound` without its keyspace, `Invalid` where it lacks a column of the backup's.
    pub async fn table(
        &self,
        index: &TableIndex,
        target: Option<&v1::TableName>,
        values_only: bool,
    ) -> Result<LiveTable, Failure> {
        let values_only = values_only || index.values_only();
        let table = renamed(index.table(), target);
        let options = ScanOptions {
            read_consistency: self.options.read_consistency,
            fetch_size: 0,
            values_only,
            patience: self.options.patience,
            pace: self.pace.clone(),
            tasks: self.tasks.clone(),
            entropy: self.entropy.clone(),
        };
        let scan = TableScan::prepare(&self.cluster, &table, options).await?;
        let now = database_clock(&self.cluster, &scan.layout().keyspace, &self.clock).await?;
        Ok(LiveTable { scan, now, tasks: self.tasks.clone(), values_only })
    }
}

/// A table of a cluster, ready to be compared.
#[derive(Clone)]
pub struct LiveTable {
    scan: TableScan,
    now: Now,
    tasks: Tasks,
    values_only: bool,
}

impl LiveTable {
    /// What its server can't tell of its rows: no difference there is shown.
    #[must_use]
    pub fn approximations(&self) -> &[v1::Approximation] {
        self.scan.approximations()
    }

    /// Compares a stored table with this one: the backup is the left side. The table is read once as a whole, for its sums;
    /// of the backup only the segments are read that differ. Every difference between rows is told as it is found, until
    /// `told` breaks off. Cells that have ended since the backup are none.
    ///
    /// # Errors
    /// `Conflict` where the rows can't be compared; `Corrupt` where a chunk is not what was written; what reading fails
    /// with.
    pub async fn diff(
        &self,
        repository: &Arc<Repository>,
        index: &TableIndex,
        options: &DiffOptions,
        mut told: impl FnMut(Difference) -> ControlFlow<()> + Send,
    ) -> Result<DiffReport, Failure> {
        let layout = Arc::new(TableLayout::from_message(index.table())?);
        let untold = &index.table().approximations;
        let against = Against::new(
            repository,
            &layout,
            &self.scan,
            (&self.tasks, self.now.clone()),
            &v1::RowRules::default(),
            (self.values_only || options.values_only, untold),
        )?
        .choosing(options.choice.clone());
        let grid = index.grid();
        let mut report = DiffReport::default();
        let mut first = 0;
        while first < grid.segments() {
            let count = RUN_SEGMENTS.min(grid.segments() - first);
            let touched = |segment: &u64| grid.range(*segment).is_some_and(|range| options.choice.touches(range));
            let chosen: Vec<u64> = (first..first + count).filter(touched).collect();
            first += count;
            report.segments += chosen.len() as u64;
            let fast = |segment: u64| grid.range(segment).is_some_and(|range| against.sums_say_enough(range));
            for run in chosen.chunk_by(|segment, next| segment + 1 == *next && fast(*segment) == fast(*next)) {
                let broken_off = self.diff_run(&against, index, options, run, &mut report, &mut told).await?;
                if broken_off {
                    return Ok(report);
                }
            }
        }
        Ok(report)
    }

    /// Compares neighbouring segments, of which sums say enough or of none; whether `told` broke off.
    async fn diff_run(
        &self,
        against: &Against,
        index: &TableIndex,
        options: &DiffOptions,
        run: &[u64],
        report: &mut DiffReport,
        told: &mut (impl FnMut(Difference) -> ControlFlow<()> + Send),
    ) -> Result<bool, Failure> {
        let grid = index.grid();
        let fast = |segment: &u64| grid.range(*segment).is_some_and(|range| against.sums_say_enough(range));
        let found = if run.iter().all(fast) { Some(self.sums(index, run).await?) } else { None };
        for (place, &segment) in run.iter().enumerate() {
            let (Some(range), chunks) = (grid.range(segment), index.segment_chunks(segment)) else { continue };
            let left = sums_of(chunks)?;
            let right = found.as_ref().and_then(|found| found.get(place)).copied();
            if right.is_some_and(|right| against.same(&left, &right)) {
                continue;
            }
            let mut broken_off = false;
            let mut tell = |difference| {
                let flow = if options.rows { told(difference) } else { ControlFlow::Continue(()) };
                broken_off = flow.is_break();
                flow
            };
            let (counts, read) = against.rows(range, chunks, &mut tell).await?;
            report.read += read;
            report.rows += counts;
            if !counts.is_equal() {
                let right = right.unwrap_or(Sums { rows: counts.right, ..Sums::default() });
                report.differing.push(SegmentPair { segment, range, left, right });
            }
            if broken_off {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The sums of neighbouring segments of the table.
    async fn sums(&self, index: &TableIndex, run: &[u64]) -> Result<Vec<Sums>, Failure> {
        let reading = Reading {
            scan: self.scan.clone(),
            grid: index.grid(),
            first: run.first().copied().unwrap_or_default(),
            count: run.len() as u64,
            behind: None,
            limit_rows: 0,
        };
        let collected = Collected::default();
        let progress = Arc::new(Progress::default());
        read_segments((&self.tasks, &progress), reading, SumSink::default(), &collected).await?;
        Ok(collected.0.into_inner())
    }
}

impl std::fmt::Debug for LiveTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveTable").field("scan", &self.scan).finish_non_exhaustive()
    }
}

/// The sums of segments, in order.
#[derive(Default)]
struct Collected(tokio::sync::Mutex<Vec<Sums>>);

impl PieceStore<Summed> for Collected {
    async fn store(&self, summed: Vec<(tracing::Span, Summed)>) -> Result<(), Failure> {
        self.0.lock().await.extend(summed.into_iter().map(|(_, piece)| piece.sums));
        Ok(())
    }
}

/// A table of a backup under the name of the one that stands for it.
pub(crate) fn renamed(table: &v1::InspectedTable, target: Option<&v1::TableName>) -> v1::InspectedTable {
    let table = table.clone();
    match target {
        Some(target) => v1::InspectedTable { table: Some(target.clone()), ..table },
        None => table,
    }
}

/// The clock of the database, for what has ended.
///
/// # Errors
/// What asking a node for its time meets.
pub(crate) async fn database_clock(cluster: &Cluster, keyspace: &str, clock: &Arc<dyn Clock>) -> Result<Now, Failure> {
    let route = cluster.route(keyspace).await?;
    let host = cluster.connected(&route.local_dc).first().copied();
    let host =
        host.ok_or_else(|| Failure::from(Error::unavailable(format!("no node of {} is connected", route.local_dc))))?;
    let ahead_ms = cluster.clock_ahead_ms(host).await?;
    let clock = clock.clone();
    Ok(Arc::new(move || i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX).saturating_add(ahead_ms) / 1000))
}
