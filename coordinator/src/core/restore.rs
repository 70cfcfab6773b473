//! How a restore goes on: backup and its objects → target preflight → (chunks' bytes) → schema → rows → indexes and
//! views → comparison. Nothing is written or dropped before all that can be known beforehand is known. A rehearsal ends
//! by dropping what it made; a comparison of a backup with a cluster consists of the last step.

use std::fmt;

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, Timestamps},
};

use super::{
    actions::Waiting,
    event::{Action, LoadedBackup, Output},
    job::{Context, Job},
};
use crate::{
    name::TableKey,
    plan::{self, Run, select},
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
            Phase::Fresh if self.only_compares() => self.begin_comparison(ctx, out),
            Phase::Fresh => self.begin(Phase::Preflight, Some(WorkKind::Preflight), ctx, out),
            Phase::Preflight => self.end_preflight(ctx, out),
            Phase::Check => {
                if !self.has_mismatches(true, ctx, out) {
                    self.begin(Phase::Before, Some(WorkKind::Before), ctx, out);
                }
            }
            Phase::Before if self.restore_spec().schema_only => {
                self.begin(Phase::After, Some(WorkKind::After), ctx, out);
            }
            Phase::Before => self.begin_writes(ctx, out),
            Phase::Write => self.end_writes(ctx, out),
            Phase::After => self.end_after(ctx, out),
            Phase::Compare => {
                if !self.has_mismatches(false, ctx, out) {
                    self.finish(JobState::Done, None, ctx, out);
                }
            }
            Phase::Scrap => self.end_scrap(ctx, out),
            Phase::Inspect | Phase::Dump | Phase::Publish => {
                self.fail_with(ErrorKind::Internal, "a restore stands in a phase of a backup", ctx, out);
            }
        }
        true
    }

    fn begin(&mut self, phase: Phase, kind: Option<WorkKind>, ctx: &Context<'_>, out: &mut Output) {
        self.enter(phase, ctx, out);
        if let Some(kind) = kind {
            self.add(kind, WHOLE, out);
        }
    }

    /// Takes the backup in that the repository holds.
    ///
    /// # Errors
    /// `Invalid` or `NotFound` where what is asked for does not fit what the backup holds.
    pub(super) fn take_backup(&mut self, mut backup: LoadedBackup, out: &mut Output) -> Result<(), Failure> {
        self.judge_backup(&backup)?;
        let mut indexes = Vec::with_capacity(backup.tables.len());
        for index in std::mem::take(&mut backup.tables) {
            let selected = self.selected(&index)?;
            indexes.push((index.only(|segment| select::contains(&selected, segment)), selected));
        }
        // The order gives tables their ordinals, so it must be the same after a restart: size, then name.
        indexes.sort_by_cached_key(|(index, _)| {
            (std::cmp::Reverse(index.totals().encoded_bytes), TableKey::of(index.table()))
        });
        for (number, (index, selected)) in (0_u32..).zip(indexes) {
            self.tables.entry(number).or_default().set_index(index, selected);
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
        Ok(())
    }

    fn end_preflight(&mut self, ctx: &Context<'_>, out: &mut Output) {
        let (drop, check_first) = (self.restore_spec().drop, self.restore_spec().check_first);
        if self.is_dry_run() {
            self.tell_plan(ctx, out);
        } else if (drop || check_first) && !self.restore_spec().schema_only {
            self.begin(Phase::Check, None, ctx, out);
            self.add_verifications(WorkKind::Check, ctx, out);
        } else {
            self.begin(Phase::Before, Some(WorkKind::Before), ctx, out);
        }
    }

    fn tell_plan(&mut self, ctx: &Context<'_>, out: &mut Output) {
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
    }

    /// A comparison needs nothing but the tables.
    fn begin_comparison(&mut self, ctx: &Context<'_>, out: &mut Output) {
        if self.is_dry_run() {
            self.tell_plan(ctx, out);
            return;
        }
        self.begin(Phase::Compare, None, ctx, out);
        self.add_verifications(WorkKind::Compare, ctx, out);
    }

    fn add_verifications(&mut self, kind: WorkKind, ctx: &Context<'_>, out: &mut Output) {
        let runs: Vec<(u32, Run)> = self
            .tables
            .iter()
            .flat_map(|(number, table)| {
                let runs = plan::restore::verifications(&table.selected, table.chunks());
                // An empty segment has no object to be checked, but the target may wrongly hold rows there.
                let needed = |run: &Run| kind == WorkKind::Compare || !table.chunks_of(run.first, run.count).is_empty();
                runs.into_iter().filter(needed).map(|run| (*number, run)).collect::<Vec<_>>()
            })
            .collect();
        self.add_shards(kind, runs, ctx, out);
    }

    fn add_shards(&mut self, kind: WorkKind, runs: Vec<(u32, Run)>, ctx: &Context<'_>, out: &mut Output) {
        // The bytes of chunks lie in the repository, at no node.
        let homes = if kind == WorkKind::Check { None } else { self.homes(ctx, out) };
        for (number, run) in runs {
            let home = homes.as_ref().and_then(|(homes, numbers)| {
                let table = self.tables.get(&number)?;
                let run = match (kind, usize::try_from(run.first)) {
                    (WorkKind::Restore, Ok(first)) => Run { first: table.chunks().get(first)?.segment, count: 1 },
                    _ => run,
                };
                Some(numbers[homes.of(table.grid(), run)?])
            });
            self.add_shard(kind, number, run, 0, home, out);
        }
    }

    fn begin_writes(&mut self, ctx: &Context<'_>, out: &mut Output) {
        self.begin(Phase::Write, None, ctx, out);
        let runs: Vec<(u32, Run)> = self
            .tables
            .iter()
            .flat_map(|(number, table)| plan::restore::writes(table.chunks()).into_iter().map(|run| (*number, run)))
            .collect();
        self.add_shards(WorkKind::Restore, runs, ctx, out);
    }

    /// Every row of every chunk must be acknowledged before the restore goes on.
    fn end_writes(&mut self, ctx: &Context<'_>, out: &mut Output) {
        let short = self.tables.values().find_map(|table| {
            let sums = table.totals.sums;
            let expected = sums.rows + sums.static_rows;
            let restored: u64 = table.restored.values().map(|done| done.rows).sum();
            (restored != expected).then(|| (table.full_name(), restored, expected))
        });
        match short {
            // Tables that stood there keep the indexes and views that they have.
            None if self.restore_spec().data_only => self.end_after(ctx, out),
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
        let spec = self.restore_spec();
        if (spec.verify || self.record.compare_always) && !spec.schema_only {
            self.begin_comparison(ctx, out);
        } else {
            self.finish(JobState::Done, None, ctx, out);
        }
    }

    /// Fails the job where checked or compared segments differ, naming them.
    fn has_mismatches(&mut self, at_rest: bool, ctx: &Context<'_>, out: &mut Output) -> bool {
        let mut named = Vec::new();
        let mut found = Found::default();
        for table in self.tables.values() {
            let verified = if at_rest { &table.checked } else { &table.compared };
            found.segments += u64::try_from(verified.len()).unwrap_or(u64::MAX);
            for verified in verified.values().filter(|verified| !verified.equal) {
                found.add(verified);
                if named.len() < MISMATCHES_MAX {
                    named.push(format!("{} segment {}: {}", table.full_name(), verified.segment, verified.difference));
                }
            }
        }
        if found.differing_segments == 0 {
            return false;
        }
        let first = named.first().cloned().unwrap_or_default();
        let Found { differing_segments, segments, .. } = found;
        let id = &self.record.backup_id;
        let message = if at_rest {
            format!(
                "{differing_segments} of {segments} segments of backup {id} are damaged, nothing was written; first: \
                 {first}; restore another backup"
            )
        } else if self.only_compares() {
            format!("{differing_segments} of {segments} segments differ from backup {id}{found}; first: {first}")
        } else {
            let remedy = found.remedy(self.restore_spec().timestamps());
            format!(
                "{differing_segments} of {segments} segments differ from the backup after the restore{found}; first: \
                 {first}{remedy}"
            )
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
}

/// What checked or compared segments amount to.
#[derive(Default)]
struct Found {
    segments: u64,
    differing_segments: u64,
    missing: u64,
    extra: u64,
    differing: u64,
}

impl Found {
    fn add(&mut self, verified: &v1::SegmentVerified) {
        self.differing_segments += 1;
        self.missing = self.missing.saturating_add(verified.missing);
        self.extra = self.extra.saturating_add(verified.extra);
        self.differing = self.differing.saturating_add(verified.differing);
    }

    /// Every row was acknowledged before it was missed, so something in the target outdoes it.
    fn remedy(&self, timestamps: Timestamps) -> &'static str {
        match (self.missing + self.differing > 0, timestamps) {
            (false, _) => "",
            (true, Timestamps::Now) => {
                "; all of them were acknowledged: somebody else writes to or deletes from the target; stop that, then \
                 restore again"
            }
            (true, Timestamps::Original | Timestamps::Unspecified) if self.missing == 0 => {
                "; all of them were acknowledged: deletions or writes in the target that are newer than the backup hide \
                 cells of them (restore with --timestamps now, which is above these, or into another keyspace with \
                 --keyspace-as), or the server keeps a value in another form than it was given"
            }
            (true, Timestamps::Original | Timestamps::Unspecified) => {
                "; all of them were acknowledged: deletions or writes in the target that are newer than the backup hide \
                 them; restore with --timestamps now, which is above these, or into another keyspace with --keyspace-as"
            }
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts =
            [(self.missing, "missing"), (self.differing, "otherwise"), (self.extra, "more than in the backup")];
        let mut separator = " (rows: ";
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        f.write_str(if separator == ", " { ")" } else { "" })
    }
}
