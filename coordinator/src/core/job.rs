//! One job: its record, tables and assignments, how it goes on, and its end. [`super::hold`] keeps its lists and counts.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, job_spec::Work},
};

use super::{
    actions::Waiting,
    allowance::Told,
    assignment::{Assignment, Hold},
    event::{Action, LoadedBackup, Now, Output, ParentIndex},
    table::Table,
    workers::{Proof, Worker},
};
use crate::{
    name::TableKey,
    plan::{Run as Segments, ring::Homes},
    record::{JobRecord, Phase, WorkKind},
    settings::Settings,
};

/// Warnings that a job keeps.
const WARNINGS_MAX: usize = 100;

/// How often a sign of life is journaled, in ms.
const ACTIVE_EVERY_MS: u64 = 60_000;

/// What a decision about a job may look at besides the job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) settings: &'a Settings,
    pub(crate) workers: &'a BTreeMap<String, Worker>,
    /// What is known of clusters, by profile.
    pub(crate) rings: &'a BTreeMap<String, Homes>,
}

/// What a job knows only since it last began to go on; nothing of it is journaled.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Outcomes of other runs are ignored.
    pub(super) number: u64,
    /// The repository was opened.
    pub(super) opened: bool,
    /// What workers must read, and where; none in a dry run.
    pub(super) nonce: Option<(String, String)>,
    /// Parents by table.
    pub(super) parents: Option<BTreeMap<TableKey, ParentIndex>>,
    /// The backup that is restored, without its tables.
    pub(super) backup: Option<LoadedBackup>,
    /// The cluster with ring and tables, until the plan is made.
    pub(super) inspected: Option<v1::InspectResult>,
    /// The action that was asked for.
    pub(super) waiting: Option<Waiting>,
    /// No action before this, in monotonic ms.
    pub(super) pause_until_ms: u64,
    /// How often the present action failed.
    pub(super) failures: u32,
    /// Why it did.
    pub(super) trouble: Option<String>,
}

/// Its place among the jobs that want the same workers. Not journaled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// Grows with every grant, the slower the higher the priority.
    pub(super) pass: u64,
    /// It had something to grant when it was last looked at. Who had nothing saves nothing up.
    pub(super) ready: bool,
}

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) record: JobRecord,
    pub(crate) tables: BTreeMap<u32, Table>,
    pub(crate) assignments: BTreeMap<u32, Assignment>,
    /// Waiting assignments without a table.
    pub(super) loose: BTreeSet<u32>,
    /// Waiting assignments whose pause lasts, by its end in monotonic ms.
    pub(super) delayed: BTreeSet<(u64, u32)>,
    /// Leased assignments.
    pub(super) leased: BTreeSet<u32>,
    /// Leases by holder.
    pub(super) holders: BTreeMap<String, u32>,
    /// Leases of tables by home.
    pub(super) busy: BTreeMap<Option<u32>, u32>,
    /// Assignments that are not done.
    pub(super) undone: usize,
    /// Tables with assignments that are not done.
    pub(super) open: BTreeSet<u32>,
    /// Why the last holders of assignments that are not done gave up.
    pub(super) troubles: BTreeMap<u32, Failure>,
    /// What its holders were told.
    pub(super) told: Told,
    pub(super) turn: Turn,
    /// When it last came further, in monotonic ms.
    pub(super) progressed_ms: u64,
    pub(super) run: Run,
    /// What each worker said of the nonce.
    pub(super) proofs: BTreeMap<String, Proof>,
    /// Since when no worker can do its work, in monotonic ms.
    pub(super) starving_since_ms: Option<u64>,
}

impl Job {
    /// A job as its record says, without tables and assignments.
    pub(super) fn new(record: JobRecord, run_number: u64) -> Self {
        Self {
            id: record.job_id.clone(),
            record,
            tables: BTreeMap::new(),
            assignments: BTreeMap::new(),
            loose: BTreeSet::new(),
            delayed: BTreeSet::new(),
            leased: BTreeSet::new(),
            holders: BTreeMap::new(),
            busy: BTreeMap::new(),
            undone: 0,
            open: BTreeSet::new(),
            troubles: BTreeMap::new(),
            told: Told::default(),
            turn: Turn::default(),
            progressed_ms: 0,
            run: Run { number: run_number, ..Run::default() },
            proofs: BTreeMap::new(),
            starving_since_ms: None,
        }
    }

    /// Whether it goes on by itself.
    pub(crate) fn is_active(&self) -> bool {
        match self.record.state() {
            JobState::Preparing | JobState::Running | JobState::Publishing | JobState::Verifying => true,
            JobState::Unspecified
            | JobState::Done
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Interrupted
            | JobState::Paused => false,
        }
    }

    /// Whether somebody paused it.
    pub(super) fn is_paused(&self) -> bool {
        self.record.state() == JobState::Paused
    }

    /// Whether it is over, unless it is submitted again.
    pub(super) fn is_ended(&self) -> bool {
        !self.is_active() && !matches!(self.record.state(), JobState::Interrupted | JobState::Paused)
    }

    /// Whether tables, assignments or pieces of it are kept.
    pub(super) fn holds_work(&self) -> bool {
        !(self.tables.is_empty() && self.assignments.is_empty())
    }

    /// Its record changed.
    pub(super) fn touch(&self, out: &mut Output) {
        out.dirty.insert(self.id.clone());
    }

    /// It shows a sign of life.
    pub(super) fn live(&mut self, now: Now, out: &mut Output) {
        out.changed.insert(self.id.clone());
        if now.unix_ms.saturating_sub(self.record.active_unix_ms) >= ACTIVE_EVERY_MS {
            self.record.active_unix_ms = now.unix_ms;
            self.touch(out);
        }
    }

    /// Goes over to a phase.
    pub(super) fn enter(&mut self, phase: Phase, ctx: &Context<'_>, out: &mut Output) {
        self.record.phase = phase.into();
        self.record.state = state_in(phase).into();
        self.record.active_unix_ms = ctx.now.unix_ms;
        self.progressed_ms = ctx.now.ms;
        self.run.trouble = None;
        self.touch(out);
    }

    /// Tells people something, once.
    pub(super) fn warn(&mut self, warning: String, out: &mut Output) {
        if self.record.warnings.len() < WARNINGS_MAX && !self.record.warnings.contains(&warning) {
            self.record.warnings.push(warning);
            self.touch(out);
        }
    }

    /// Goes on as far as it can.
    pub(super) fn advance(&mut self, ctx: &Context<'_>, out: &mut Output) {
        while self.is_active() {
            let went_on = match self.work() {
                Work::Backup(_) => self.step_backup(ctx, out),
                Work::Restore(_) | Work::Verify(_) => self.step_restore(ctx, out),
            };
            if !went_on {
                return;
            }
        }
    }

    /// Opens the repository first; tells whether that is done. A dry run writes nothing, so it needs no proof.
    pub(super) fn is_open(&mut self, create: bool, ctx: &Context<'_>, out: &mut Output) -> bool {
        if !self.run.opened && !self.is_dry_run() {
            self.want(Waiting::Open, ctx, out, Action::Open { create });
        }
        self.run.opened || self.is_dry_run()
    }

    /// Fails it.
    pub(super) fn fail_with(
        &mut self,
        kind: ErrorKind,
        message: impl Into<String>,
        ctx: &Context<'_>,
        out: &mut Output,
    ) {
        self.finish(JobState::Failed, Some(Failure::new(kind, message)), ctx, out);
    }

    /// Ends it; a rehearsal drops its scratch keyspace first.
    pub(super) fn finish(&mut self, state: JobState, failure: Option<Failure>, ctx: &Context<'_>, out: &mut Output) {
        if self.leaves_scratch() {
            self.begin_scrap(state, failure, ctx, out);
        } else if self.record.phase() == Phase::Scrap {
            let failure = self.unscrapped(failure);
            let state = if failure.is_some() { JobState::Failed } else { state };
            self.end(state, failure, ctx, out);
        } else {
            self.end(state, failure, ctx, out);
        }
    }

    /// Ends it for good. Its leases are nobody's from now on, and reports of their holders are told so.
    pub(super) fn end(&mut self, state: JobState, failure: Option<Failure>, ctx: &Context<'_>, out: &mut Output) {
        self.record.state = state.into();
        self.record.failure = failure.map(Into::into);
        self.record.finished_unix_ms = ctx.now.unix_ms;
        self.record.active_unix_ms = ctx.now.unix_ms;
        self.release_all(out);
        if self.record.phase() != Phase::Scrap {
            self.record.tables_ended = self.tables_progress();
        }
        if state == JobState::Done {
            self.note_success(out);
        }
        self.erase_key();
        if self.run.nonce.take().is_some() {
            self.act(Action::DeleteProbe, out);
        }
        self.proofs.clear();
        self.starving_since_ms = None;
        self.run = Run { number: self.run.number, ..Run::default() };
        self.touch(out);
        if matches!(state, JobState::Done | JobState::Cancelled) {
            self.drop_work(out);
        }
    }

    /// Begins to go on again, as a submission asked for.
    pub(super) fn revive(&mut self, run_number: u64, ctx: &Context<'_>, out: &mut Output) {
        self.run = Run { number: run_number, ..Run::default() };
        self.record.resubmitted_unix_ms = ctx.now.unix_ms;
        self.record.failure = None;
        self.record.finished_unix_ms = 0;
        self.record.warnings.clear();
        if self.record.phase() != Phase::Scrap {
            self.record.tables_ended.clear();
        }
        self.record.rows_kept = self.tables.values().map(|table| kept(table).0).sum();
        self.record.bytes_kept = self.tables.values().map(|table| kept(table).1).sum();
        for table in self.tables.values_mut() {
            (table.counts.rows_shown, table.counts.bytes_shown) = (0, 0);
        }
        self.troubles.clear();
        for ordinal in self.assignments.keys().copied().collect::<Vec<_>>() {
            let Some(assignment) = self.assignments.get_mut(&ordinal) else { continue };
            assignment.forgive();
            if matches!(assignment.hold, Hold::Queued { .. }) {
                self.set_hold(ordinal, Hold::WAITING, out);
            }
        }
        let phase = self.record.phase();
        self.enter(phase, ctx, out);
        match self.work() {
            Work::Backup(_) => self.revive_backup(ctx, out),
            Work::Restore(_) | Work::Verify(_) => self.revive_restore(out),
        }
    }

    /// An assignment in words.
    pub(super) fn describe(&self, ordinal: u32) -> String {
        let Some(assignment) = self.assignments.get(&ordinal) else { return "an unknown assignment".to_owned() };
        let table = assignment.table().and_then(|table| self.tables.get(&table)).map(Table::full_name);
        let table = table.unwrap_or_default();
        let Segments { first, count } = assignment.covers();
        let last = first + count.saturating_sub(1);
        match assignment.kind() {
            WorkKind::Inspect => "reading the cluster's tables and sizes".to_owned(),
            WorkKind::Capture => "capturing the schema".to_owned(),
            WorkKind::Preflight => "checking the target before the restore".to_owned(),
            WorkKind::Before => "creating the schema".to_owned(),
            WorkKind::After => "creating indexes and views".to_owned(),
            WorkKind::Dump => format!("dumping {table}, segments {first} to {last}"),
            WorkKind::Check => format!("checking the chunks of {table}, segments {first} to {last}"),
            WorkKind::Restore => format!("restoring {table}, chunks {first} to {last}"),
            WorkKind::Recheck => "reading the tables' definitions again".to_owned(),
            WorkKind::Scrap => "dropping the scratch keyspace of the rehearsal".to_owned(),
            WorkKind::Compare => format!("comparing {table}, segments {first} to {last}"),
        }
    }
}

/// Rows and bytes of the recorded pieces of a table.
fn kept(table: &Table) -> (u64, u64) {
    if table.index.is_some() || table.restored.is_empty() {
        return (table.counts.rows, table.counts.encoded_bytes);
    }
    (table.restored.values().map(|done| done.rows).sum(), 0)
}

/// What people see of a phase.
pub(super) fn state_in(phase: Phase) -> JobState {
    match phase {
        Phase::Fresh | Phase::Inspect | Phase::Preflight => JobState::Preparing,
        Phase::Dump | Phase::Check | Phase::Before | Phase::Write => JobState::Running,
        Phase::Publish | Phase::After | Phase::Scrap => JobState::Publishing,
        Phase::Compare => JobState::Verifying,
    }
}
