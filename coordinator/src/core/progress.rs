//! Jobs as people see them: what is recorded, plus what current leases report.

use std::collections::BTreeMap;

use ringvault_proto::v1::{self, JobState};

use super::{assignment::Hold, job::Job, scrap::redacted, table::Table, workers::Proof};
use crate::record::{Phase, WorkKind};

/// Approximations of a table that its progress names one by one at most: it is sent some times a second.
const APPROXIMATIONS_TOLD_MAX: usize = 32;

/// What the assignments of a table's present phase amount to.
#[derive(Clone, Copy, Default)]
struct Shards {
    all: u64,
    done: u64,
    segments: u64,
    retries: u64,
}

impl Job {
    /// The job with all that may be known of it; it holds no secret and no cell.
    pub(crate) fn message(&self) -> v1::Job {
        let record = &self.record;
        let known = self.is_ended() || record.phase() == Phase::Scrap;
        let ended = known && !record.tables_ended.is_empty();
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
            tables: if ended { record.tables_ended.clone() } else { self.tables_progress() },
            warnings: record.warnings.clone(),
            rows_kept: record.rows_kept,
            bytes_kept: record.bytes_kept,
            plan: record.plan.clone(),
            idempotency_key: record.idempotency_key.clone(),
            mismatches: record.mismatches.clone(),
            ..v1::Job::default()
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
        let kind = self.phase_kind();
        let mut shards: BTreeMap<u32, Shards> = BTreeMap::new();
        for assignment in self.assignments.values().filter(|assignment| assignment.kind() == kind) {
            let Some(number) = assignment.table() else { continue };
            let of = shards.entry(number).or_default();
            of.all += 1;
            of.segments += assignment.covers().count;
            match &assignment.hold {
                Hold::Done => of.done += 1,
                Hold::Leased(lease) => of.retries += lease.progress.retries,
                Hold::Queued { .. } => {}
            }
        }
        let none = Shards::default();
        let progress =
            |(number, table): (&u32, &Table)| self.table_progress(*number, table, *shards.get(number).unwrap_or(&none));
        self.tables.iter().map(progress).collect()
    }

    fn table_progress(&self, number: u32, table: &Table, shards: Shards) -> v1::TableProgress {
        let counts = &table.counts;
        let (mut rows, mut encoded_bytes) = match self.only_compares() {
            true => (counts.rows_compared, counts.bytes_compared),
            false => (counts.rows, counts.encoded_bytes),
        };
        if !self.only_compares() && self.is_active() && table.undone > 0 {
            let live = self.live_counts(number);
            rows = live.0.max(counts.rows_shown);
            encoded_bytes = live.1.max(counts.bytes_shown);
        }
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
            retries: counts.retries + shards.retries,
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
            ..v1::TableProgress::default()
        }
    }

    /// Rows and bytes of a table: recorded ones, and what its leases report beyond them.
    pub(super) fn live_counts(&self, number: u32) -> (u64, u64) {
        let Some(table) = self.tables.get(&number) else { return (0, 0) };
        let (mut rows, mut bytes) = (table.counts.rows, table.counts.encoded_bytes);
        for assignment in self.leased.iter().filter_map(|ordinal| self.assignments.get(ordinal)) {
            let counted = matches!(assignment.kind(), WorkKind::Dump | WorkKind::Restore);
            let Hold::Leased(lease) = &assignment.hold else { continue };
            if counted && assignment.table() == Some(number) {
                rows = rows.saturating_add(lease.progress.rows.saturating_sub(lease.rows_recorded));
                bytes = bytes.saturating_add(lease.progress.encoded_bytes.saturating_sub(lease.bytes_recorded));
            }
        }
        (rows, bytes)
    }

    /// One line for a person: what happens now, and what it waits for.
    fn stage(&self) -> String {
        match self.record.state() {
            JobState::Done => return "done".to_owned(),
            JobState::Failed => return "failed".to_owned(),
            JobState::Cancelled => return "cancelled".to_owned(),
            JobState::Interrupted => return "interrupted; the same command goes on".to_owned(),
            JobState::Unspecified => return String::new(),
            JobState::Paused => return "paused; resume it to go on".to_owned(),
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
            .or_else(|| {
                let failures = self.assignments.values().filter(|assignment| assignment.hold != Hold::Done);
                failures.filter_map(|assignment| assignment.last_failure.as_ref()).map(|f| f.message.as_str()).next()
            })
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
