//! How a restore goes on: backup and its objects → target preflight → (chunks' bytes) → schema → rows → indexes and
//! views → comparison. Nothing is written or dropped before all that can be known beforehand is known.

use ringvault_proto::{
    error::ErrorKind,
    v1::{self, JobState, apply_schema::Stage, assignment::Work, verify_shard::Against},
};

use super::{
    actions::Waiting,
    assignment::Assignment,
    event::{Action, LoadedBackup, Output},
    job::{Context, Job},
    table::Table,
};
use crate::{
    name::TableKey,
    plan::{self, Run},
    record::{Phase, WorkKind},
};

/// Mismatches that are named.
const MISMATCHES_MAX: usize = 100;

const WHOLE: Run = Run { first: 0, count: 0 };

impl Job {
    /// One step; tells whether another may follow at once.
    pub(super) fn step_restore(&mut self, ctx: &Context<'_>, out: &mut Output) -> bool {
        if !self.is_open(false, ctx, out) {
            return false;
        }
        if self.run.backup.is_none() {
            let spec = self.restore_spec().into_owned();
            let backup_id = self.record.backup_id.clone();
            let action = Action::LoadBackup { backup_id, keyspaces: spec.keyspaces, tables: spec.tables };
            self.want(Waiting::Backup, ctx, out, action);
            return false;
        }
        let phase = self.record.phase();
        if phase != Phase::Fresh && self.undone > 0 {
            return false;
        }
        match phase {
            Phase::Fresh => self.begin(Phase::Preflight, Some(WorkKind::Preflight), ctx, out),
            Phase::Preflight => self.end_preflight(ctx, out),
            Phase::Check => {
                if !self.has_mismatches(true, ctx, out) {
                    self.begin(Phase::Before, Some(WorkKind::Before), ctx, out);
                }
            }
            Phase::Before => self.begin_writes(ctx, out),
            Phase::Write => self.end_writes(ctx, out),
            Phase::After => self.end_after(ctx, out),
            Phase::Compare => {
                if !self.has_mismatches(false, ctx, out) {
                    self.finish(JobState::Done, None, ctx, out);
                }
            }
            Phase::Inspect | Phase::Dump | Phase::Publish => {
                self.fail_with(ErrorKind::Internal, "a restore stands in a phase of a backup", ctx, out);
            }
        }
        true
    }

    fn begin(&mut self, phase: Phase, kind: Option<WorkKind>, ctx: &Context<'_>, out: &mut Output) {
        self.enter(phase, ctx, out);
        if let Some(kind) = kind {
            self.add(kind, None, WHOLE, 0, out);
        }
    }

    /// Takes the backup in that the repository holds.
    pub(super) fn take_backup(&mut self, mut backup: LoadedBackup, out: &mut Output) {
        let mut indexes = std::mem::take(&mut backup.tables);
        // The order gives tables their ordinals, so it must be the same after a restart: size, then name.
        indexes
            .sort_by_cached_key(|index| (std::cmp::Reverse(index.totals().encoded_bytes), TableKey::of(index.table())));
        for (number, index) in (0_u32..).zip(indexes) {
            self.tables.entry(number).or_default().set_index(index);
        }
        if backup.partial {
            self.warn(format!("backup {} is partial: it was made with --limit", backup.backup_id), out);
        }
        if self.record.rows_kept > 0 {
            self.record.rows_kept = self.tables.values().map(|table| table.counts.rows).sum();
            self.record.bytes_kept = self.tables.values().map(|table| table.counts.encoded_bytes).sum();
        }
        self.record.backup_id.clone_from(&backup.backup_id);
        self.run.backup = Some(backup);
        self.touch(out);
    }

    fn end_preflight(&mut self, ctx: &Context<'_>, out: &mut Output) {
        let spec = self.restore_spec();
        if self.is_dry_run() {
            let backup = self.run.backup.as_ref();
            let tables = self.tables.values().map(|table| v1::TablePlan {
                shards: u32::try_from(plan::restore::writes(table.chunks()).len()).unwrap_or(u32::MAX),
                ..table.plan.clone()
            });
            self.record.plan = Some(v1::Plan {
                cluster_name: backup.map(|backup| backup.cluster_name.clone()).unwrap_or_default(),
                server_version: backup.map(|backup| backup.server_version.clone()).unwrap_or_default(),
                tables: tables.collect(),
            });
            self.finish(JobState::Done, None, ctx, out);
        } else if spec.drop || spec.check_first {
            self.begin(Phase::Check, None, ctx, out);
            self.add_verifications(WorkKind::Check, out);
        } else {
            self.begin(Phase::Before, Some(WorkKind::Before), ctx, out);
        }
    }

    fn add_verifications(&mut self, kind: WorkKind, out: &mut Output) {
        let runs: Vec<(u32, Run)> = self
            .tables
            .iter()
            .flat_map(|(number, table)| {
                let runs = plan::restore::verifications(table.grid().segments(), table.chunks());
                // An empty segment has no object to be checked, but the target may wrongly hold rows there.
                let needed = |run: &Run| kind == WorkKind::Compare || !table.chunks_of(run.first, run.count).is_empty();
                runs.into_iter().filter(needed).map(|run| (*number, run)).collect::<Vec<_>>()
            })
            .collect();
        for (number, run) in runs {
            self.add(kind, Some(number), run, 0, out);
        }
    }

    fn begin_writes(&mut self, ctx: &Context<'_>, out: &mut Output) {
        self.begin(Phase::Write, None, ctx, out);
        let runs: Vec<(u32, Run)> = self
            .tables
            .iter()
            .flat_map(|(number, table)| plan::restore::writes(table.chunks()).into_iter().map(|run| (*number, run)))
            .collect();
        for (number, run) in runs {
            self.add(WorkKind::Restore, Some(number), run, 0, out);
        }
    }

    /// Every row of every chunk must be acknowledged before the restore goes on.
    fn end_writes(&mut self, ctx: &Context<'_>, out: &mut Output) {
        let short = self.tables.values().find_map(|table| {
            let sums = table.index.as_ref()?.totals().sums;
            let expected = sums.rows + sums.static_rows;
            let restored: u64 = table.restored.values().map(|done| done.rows).sum();
            (restored != expected).then(|| (table.full_name(), restored, expected))
        });
        match short {
            None => self.begin(Phase::After, Some(WorkKind::After), ctx, out),
            Some((name, restored, expected)) => {
                let message = format!(
                    "{name}: {restored} of {expected} rows were restored though all shards are done; this is a defect, \
                     please report it"
                );
                self.fail_with(ErrorKind::Internal, message, ctx, out);
            }
        }
    }

    fn end_after(&mut self, ctx: &Context<'_>, out: &mut Output) {
        if self.restore_spec().verify || self.record.compare_always {
            self.begin(Phase::Compare, None, ctx, out);
            self.add_verifications(WorkKind::Compare, out);
        } else {
            self.finish(JobState::Done, None, ctx, out);
        }
    }

    /// Fails the job where checked or compared segments differ, naming them.
    fn has_mismatches(&mut self, at_rest: bool, ctx: &Context<'_>, out: &mut Output) -> bool {
        let mut named = Vec::new();
        let (mut differing, mut all) = (0_u64, 0_u64);
        for table in self.tables.values() {
            let verified = if at_rest { &table.checked } else { &table.compared };
            all += u64::try_from(verified.len()).unwrap_or(u64::MAX);
            for verified in verified.values().filter(|verified| !verified.equal) {
                differing += 1;
                if named.len() < MISMATCHES_MAX {
                    named.push(format!("{} segment {}: {}", table.full_name(), verified.segment, verified.difference));
                }
            }
        }
        if differing == 0 {
            return false;
        }
        let first = named.first().cloned().unwrap_or_default();
        let message = if at_rest {
            format!(
                "{differing} of {all} segments of backup {} are damaged, nothing was written; first: {first}; restore \
                 another backup",
                self.record.backup_id
            )
        } else {
            format!("{differing} of {all} segments differ from the backup after the restore; first: {first}")
        };
        self.record.mismatches = named;
        self.fail_with(ErrorKind::Corrupt, message, ctx, out);
        true
    }

    /// A submission revives it: somebody may have touched the target since, so it is compared at the end in any case.
    pub(super) fn revive_restore(&mut self, out: &mut Output) {
        if self.record.phase() >= Phase::Write && !self.restore_spec().verify {
            self.record.compare_always = true;
            self.warn(
                "the restore was interrupted, so its rows are compared though no comparison was asked for".into(),
                out,
            );
        }
    }

    /// What a lease of a restore tells its worker.
    pub(super) fn restore_work(&self, assignment: &Assignment, spec: &v1::RestoreSpec) -> Work {
        let table = assignment.table().and_then(|number| self.tables.get(&number));
        match (assignment.kind(), table) {
            (WorkKind::Restore, Some(table)) => Work::Restore(self.restore_shard(assignment, table, spec)),
            (WorkKind::Check, Some(table)) => {
                Work::Verify(self.verify_shard(assignment, table, spec, Against::Repository))
            }
            (WorkKind::Compare, Some(table)) => {
                Work::Verify(self.verify_shard(assignment, table, spec, Against::Cluster))
            }
            (WorkKind::Before, _) => Work::Apply(self.apply_schema(spec, Stage::Before)),
            (WorkKind::After, _) => Work::Apply(self.apply_schema(spec, Stage::After)),
            _ => Work::Apply(self.apply_schema(spec, Stage::Preflight)),
        }
    }

    fn apply_schema(&self, spec: &v1::RestoreSpec, stage: Stage) -> v1::ApplySchema {
        v1::ApplySchema {
            stage: stage.into(),
            keyspaces: self.run.backup.as_ref().map(|backup| backup.keyspaces.clone()).unwrap_or_default(),
            whole: spec.tables.is_empty(),
            backup_id: self.record.backup_id.clone(),
            drop: spec.drop,
            write_consistency: spec.write_consistency,
            expected: self.tables.values().map(|table| table.inspected.clone()).collect(),
            ..v1::ApplySchema::default()
        }
    }

    fn restore_shard(&self, assignment: &Assignment, table: &Table, spec: &v1::RestoreSpec) -> v1::RestoreShard {
        let run = assignment.run();
        let place = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        let leased = table.chunks().iter().skip(place(run.first)).take(place(run.count));
        let chunks = leased.filter(|chunk| !table.restored.contains_key(&(chunk.segment, chunk.part)));
        v1::RestoreShard {
            table: Some(table.inspected.clone()),
            grid_exponent: table.plan.grid_exponent,
            chunks: chunks.cloned().collect(),
            write_consistency: spec.write_consistency,
            batch_rows_max: spec.batch_rows_max,
            retries: if spec.retries == 0 { 5 } else { spec.retries },
            retry_delay_ms: if spec.retry_delay_ms == 0 { 2000 } else { spec.retry_delay_ms },
            values_only: table.index.as_ref().is_some_and(|index| index.values_only()),
            rules: Some(v1::RowRules {
                backup_started_unix_ms: self.run.backup.as_ref().map_or(0, |b| b.started_unix_ms),
                ..v1::RowRules::default()
            }),
            ..Default::default()
        }
    }

    fn verify_shard(
        &self,
        assignment: &Assignment,
        table: &Table,
        spec: &v1::RestoreSpec,
        against: Against,
    ) -> v1::VerifyShard {
        let run = assignment.run();
        v1::VerifyShard {
            against: against.into(),
            table: Some(table.inspected.clone()),
            grid_exponent: table.plan.grid_exponent,
            segment_first: run.first,
            segments: run.count,
            chunks: table.chunks_of(run.first, run.count).to_vec(),
            read_consistency: spec.read_consistency,
            fetch_size: 0,
            values_only: table.index.as_ref().is_some_and(|index| index.values_only()),
            rules: Some(v1::RowRules {
                backup_started_unix_ms: self.run.backup.as_ref().map_or(0, |b| b.started_unix_ms),
                ..v1::RowRules::default()
            }),
            ..Default::default()
        }
    }
}
