//! Jobs as people see them: what is recorded, plus what current leases report.

use std::collections::BTreeMap;

use ringvault_proto::v1::{self, JobState, TableState};
use ringvault_runtime::telemetry;

use super::{
    assignment::Hold,
    job::Job,
    scrap::redacted,
    table::{Live, Table},
    workers::Proof,
};
use crate::record::{Phase, WorkKind};

/// Approximations of a table that its progress names one by one at most: it is sent some times a second.
const APPROXIMATIONS_TOLD_MAX: usize = 32;

impl Job {
    /// The job with all that may be known of it; it holds no secret and no cell.
    pub(crate) fn message(&self) -> v1::Job {
        let known = self.is_ended() || self.record.phase() == Phase::Scrap;
        let ended = known && !self.record.tables_ended.is_empty();
        let tables = if ended { self.record.tables_ended.clone() } else { self.tables_progress() };
        v1::Job { tables, ..self.summary() }
    }

    /// The job without its tables.
    pub(super) fn summary(&self) -> v1::Job {
        let record = &self.record;
        v1::Job {
            job_id: self.id.clone(),
            state: record.state,
            spec: redacted(record.spec.as_ref()),
            stage: self.stage(),
            failure: record.failure.clone(),
            submitted_unix_ms: record.submitted_unix_ms,
            started_unix_ms: record.submitted_unix_ms,
            finished_unix_ms: record.finished_unix_ms,
            backup_id: record.backup_id.clone(),
            tables: Vec::new(),
            warnings: record.warnings.clone(),
            rows_kept: record.rows_kept,
            bytes_kept: record.bytes_kept,
            plan: record.plan.clone(),
            idempotency_key: record.idempotency_key.clone(),
            mismatches: record.mismatches.clone(),
            trace_id: telemetry::trace_id(&record.trace_parent),
            leases: u32::try_from(self.leased.len()).unwrap_or(u32::MAX),
            workers: u32::try_from(self.holders.len()).unwrap_or(u32::MAX),
        }
    }

    /// What the present phase leases of tables.
    fn phase_kind(&self) -> WorkKind {
        match self.record.phase() {
            Phase::Fresh | Phase::Inspect | Phase::Dump | Phase::Publish => WorkKind::Dump,
            Phase::Preflight | Phase::Before | Phase::Write | Phase::After => WorkKind::Restore,
            Phase::Check => WorkKind::Check,
            Phase::Compare | Phase::Scrap => WorkKind::Compare,
        }
    }

    pub(super) fn tables_progress(&self) -> Vec<v1::TableProgress> {
        self.tables.iter().map(|(number, table)| self.table_progress(*number, table)).collect()
    }

    /// Rows and bytes of a table as they are shown.
    fn shown_counts(&self, number: u32, table: &Table) -> [u64; 2] {
        let counts = &table.counts;
        if self.only_compares() {
            return [counts.rows_compared, counts.bytes_compared];
        }
        if (self.is_active() || self.is_paused()) && table.undone > 0 {
            let (rows, bytes) = self.live_counts(number);
            return [rows.max(counts.rows_shown), bytes.max(counts.bytes_shown)];
        }
        [counts.rows, counts.encoded_bytes]
    }

    /// Rows and bytes that the present phase has done of a table.
    pub(super) fn work_counts(&self, number: u32) -> [u64; 2] {
        let Some(table) = self.tables.get(&number) else { return [0, 0] };
        match self.phase_kind() {
            WorkKind::Check | WorkKind::Compare => [table.counts.rows_compared, table.counts.bytes_compared],
            _ => self.shown_counts(number, table),
        }
    }

    /// Looks at how fast its tables go on.
    pub(super) fn take_rates(&mut self, now_ms: u64) {
        for number in self.open.iter().copied().collect::<Vec<_>>() {
            let counts = self.work_counts(number);
            if let Some(table) = self.tables.get_mut(&number) {
                table.rate.take(now_ms, counts);
            }
        }
    }

    /// Whether the shards of the present phase are known.
    pub(super) fn has_begun_tables(&self) -> bool {
        match self.record.phase() {
            Phase::Fresh | Phase::Inspect | Phase::Preflight | Phase::Before => false,
            Phase::Dump
            | Phase::Publish
            | Phase::Check
            | Phase::Write
            | Phase::After
            | Phase::Compare
            | Phase::Scrap => true,
        }
    }

    fn table_state(&self, table: &Table) -> TableState {
        if table.is_finished(self.has_begun_tables()) {
            TableState::Done
        } else if self.record.state() == JobState::Failed || self.record.ending_state() == JobState::Failed {
            TableState::Failed
        } else if table.leased > 0 {
            TableState::Running
        } else {
            TableState::Waiting
        }
    }

    fn table_progress(&self, number: u32, table: &Table) -> v1::TableProgress {
        let counts = &table.counts;
        let shards = table.shards.get(&self.phase_kind()).copied().unwrap_or_default();
        let [rows, encoded_bytes] = self.shown_counts(number, table);
        let goes_on = self.is_active() && table.undone > 0;
        let [rows_per_second, encoded_bytes_per_second] = if goes_on { table.rate.per_second() } else { [0, 0] };
        let restored = table.index.is_some().then_some(&table.totals);
        let checking = self.record.phase() == Phase::Check;
        let verified = if checking { &table.checked } else { &table.compared };
        let segments = match self.phase_kind() {
            WorkKind::Check | WorkKind::Compare => shards.segments,
            _ => table.grid().segments(),
        };
        let facts = restored.map_or(counts.facts, |totals| totals.facts);
        let whole = table.undone == 0 && table.closed > 0;
        v1::TableProgress {
            table: table.inspected.table.clone(),
            shards: shards.all,
            shards_done: shards.done,
            rows,
            encoded_bytes,
            stored_bytes: counts.stored_bytes,
            chunks_new: counts.chunks_new,
            chunks_reused: counts.chunks_reused,
            bytes_estimated: if whole { encoded_bytes } else { table.plan.bytes_estimated },
            rows_expected: restored.map_or(0, |totals| totals.sums.rows),
            retries: counts.retries + table.live.retries,
            cells_expired: counts.cells_expired,
            segments_verified: u64::try_from(verified.len()).unwrap_or(u64::MAX),
            segments,
            rows_skipped: counts.rows_skipped,
            key_only_rows: facts.key_only_rows,
            estimated_cells: facts.estimated_cells,
            approximations: told(&table.inspected.approximations),
            target: restored
                .is_some()
                .then(|| self.target_of(table))
                .filter(|to| *to != table.key())
                .map(|to| (&to).into()),
            state: self.table_state(table).into(),
            failures: counts.failures,
            rows_per_second,
            encoded_bytes_per_second,
        }
    }

    /// Rows and bytes of a table: recorded ones, and what its leases report beyond them.
    pub(super) fn live_counts(&self, number: u32) -> (u64, u64) {
        let Some(table) = self.tables.get(&number) else { return (0, 0) };
        let Live { rows, bytes, .. } = table.live;
        (table.counts.rows.saturating_add(rows), table.counts.encoded_bytes.saturating_add(bytes))
    }

    /// One line for a person: what happens now, and what it waits for.
    fn stage(&self) -> String {
        match self.record.state() {
            JobState::Done => return "done".to_owned(),
            JobState::Failed => return "failed".to_owned(),
            JobState::Cancelled => return "cancelled".to_owned(),
            JobState::Interrupted => return "interrupted; the same command goes on".to_owned(),
            JobState::Unspecified => return String::new(),
            JobState::Paused => return format!("paused while {}; resume it to go on", self.doing()),
            JobState::Preparing | JobState::Running | JobState::Publishing | JobState::Verifying => {}
        }
        if let Some(trouble) = &self.run.trouble {
            return format!("will try again: {trouble}");
        }
        if !self.run.opened && !self.is_dry_run() {
            return format!("opening {}", self.repository());
        }
        if self.starving_since_ms.is_some() {
            return self.starving();
        }
        match self.waiting() {
            Some(waiting) => format!("{}; waiting: {waiting}", self.doing()),
            None => self.doing(),
        }
    }

    fn starving(&self) -> String {
        let failed = self.proofs.values().find_map(|proof| match proof {
            Proof::Failed { failure, .. } => Some(failure.message.clone()),
            Proof::Given | Proof::Asked { .. } => None,
        });
        failed.unwrap_or_else(|| format!("waiting for a worker that knows cluster {}", self.cluster()))
    }

    fn waiting(&self) -> Option<&str> {
        let assignments = self.leased.iter().filter_map(|ordinal| self.assignments.get(ordinal));
        assignments
            .filter_map(|assignment| match &assignment.hold {
                Hold::Leased(lease) => Some(&lease.progress),
                Hold::Queued { .. } | Hold::Done => None,
            })
            .flat_map(|progress| [progress.waiting.as_str(), progress.throttle.as_str()])
            .find(|text| !text.is_empty())
            .or_else(|| self.troubles.values().next().map(|failure| failure.message.as_str()))
    }

    fn doing(&self) -> String {
        let done = self.tables.values().filter(|table| table.undone == 0).count();
        let all = self.tables.len();
        let of = |what: &str| format!("{what}, {done} of {all} tables done");
        match self.record.phase() {
            Phase::Fresh => format!("reading backup in {}", self.repository()),
            Phase::Inspect if self.run.inspected.is_some() => "looking for the last backup".to_owned(),
            Phase::Inspect => format!("reading tables and sizes of cluster {}", self.cluster()),
            Phase::Dump if self.run.parents.is_none() => "looking for the last backup".to_owned(),
            Phase::Dump => of("dumping"),
            Phase::Publish => "writing indexes and manifest".to_owned(),
            Phase::Preflight => "checking the target".to_owned(),
            Phase::Check => of("checking every chunk"),
            Phase::Before => "creating keyspace, types and tables".to_owned(),
            Phase::Write => of("restoring"),
            Phase::After => "creating indexes and views".to_owned(),
            Phase::Compare if self.only_compares() => of("comparing"),
            Phase::Compare => of("comparing the restored rows"),
            Phase::Scrap => "dropping the scratch keyspace".to_owned(),
        }
    }
}

/// Approximations as progress shows them: where there are very many, those of one kind together. Index and manifest name
/// each.
fn told(approximations: &[v1::Approximation]) -> Vec<v1::Approximation> {
    if approximations.len() <= APPROXIMATIONS_TOLD_MAX {
        return approximations.to_vec();
    }
    let mut kinds: BTreeMap<i32, (usize, &v1::Approximation)> = BTreeMap::new();
    for approximation in approximations {
        kinds.entry(approximation.what).or_insert((0, approximation)).0 += 1;
    }
    let together = |(count, first): (usize, &v1::Approximation)| match count {
        1 => first.clone(),
        _ => v1::Approximation {
            column: String::new(),
            note: format!("{count} columns, the first is {}: {}", first.column, first.note),
            ..first.clone()
        },
    };
    kinds.into_values().map(together).collect()
}
