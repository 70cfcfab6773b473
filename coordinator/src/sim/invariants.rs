//! What must hold after every step, whatever happened (DESIGN.md §10).

use std::collections::{BTreeMap, BTreeSet};

use ringvault_archive::index::TableIndex;
use ringvault_proto::v1::{self, JobState};

use super::{
    history::History,
    journal::ModelJournal,
    shares::Shares,
    work::{Model, model_chunks, of_version},
    worker::ModelWorker,
};
use crate::{
    core::{
        Core,
        event::{Answer, Effect, Event, Publication},
        ms,
    },
    record::{AssignmentRecord, Change, HoldKind, JobRecord, Piece, WorkKind},
    settings::Settings,
};

/// A lease by assignment and epoch.
type LeaseName = (String, u64);

/// What an event claims, kept to be judged when the event is gone.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// Who says so.
    worker: Option<String>,
    /// Under which lease.
    lease: Option<LeaseName>,
    /// Nobody holds that lease.
    stale: bool,
}

/// What the living core believes, and what was told.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// What is committed, and what the core holds beyond that.
    ahead: ModelJournal,
    /// When the core granted or renewed a lease last.
    renewed_ms: BTreeMap<LeaseName, u64>,
    /// Leases that ended since they were not renewed in time.
    lapsed: BTreeSet<LeaseName>,
    /// The newest epoch that a worker was told.
    told: BTreeMap<String, u64>,
    /// Workers that were ordered to take no more work.
    drained: BTreeSet<String>,
    shares: Shares,
    /// Backups whose jobs are DONE, to be found in the repository.
    promised: Vec<String>,
}

impl Judge {
    /// What an event claims, before it happens.
    pub(super) fn claim(&mut self, event: &Event, core: &Core) -> Claim {
        let (worker, lease) = match event {
            Event::Complete(_, request) => (&request.worker_id, request.lease.as_ref()),
            Event::Fail(_, request) => (&request.worker_id, request.lease.as_ref()),
            Event::Report(_, report) => {
                let id = report.hello.as_ref().map(|hello| hello.worker_id.clone()).unwrap_or_default();
                if self.drained.contains(&id) && !core.workers().iter().any(|known| known.worker_id == id) {
                    self.drained.remove(&id); // it was away for so long that it is another to the coordinator
                }
                return Claim { worker: Some(id), ..Claim::default() };
            }
            _ => return Claim::default(),
        };
        let Some(lease) = lease else { return Claim::default() };
        let record = self.ahead.assignment(&lease.assignment_id);
        let held = record.is_some_and(|record| {
            record.hold() == HoldKind::Leased && record.worker_id == *worker && record.epoch == lease.epoch
        });
        let lease = (lease.assignment_id.clone(), lease.epoch);
        Claim { worker: Some(worker.clone()), lease: Some(lease), stale: !held }
    }

    /// Judges what came of one event.
    pub(super) fn step(
        &mut self,
        now_ms: u64,
        claim: &Claim,
        (changes, effects): (&[Change], &[Effect]),
        workers: &[ModelWorker],
        settings: &Settings,
        history: &mut History,
    ) {
        assert!(!claim.stale || changes.is_empty(), "{claim:?} is stale and changed {changes:?}");
        let mut touched = BTreeSet::new();
        for change in changes {
            let ended = self.leases_ended_by(change);
            let shares_may_end = !ended.is_empty();
            for (name, worker) in ended {
                let renewed_ms = self.renewed_ms.remove(&name).expect("it was granted");
                let in_time = now_ms - renewed_ms < ms(settings.lease_ttl);
                if in_time || claim.lease.as_ref() == Some(&name) {
                    continue;
                }
                history.meet("lapsed");
                let lease = v1::LeaseId { assignment_id: name.0.clone(), epoch: name.1 };
                let holder = workers.iter().find(|known| known.id == worker).expect("a worker");
                assert!(!holder.may_work(now_ms, &lease), "{lease:?} lapsed while {worker} works under it");
                self.lapsed.insert(name);
            }
            self.judge_change(change, changes);
            touched.extend(job_of(change).cloned());
            self.ahead.commit(std::slice::from_ref(change));
            if shares_may_end {
                self.end_shares();
            }
        }
        touched.iter().for_each(|job| self.judge_job(job));
        for effect in effects {
            if let Effect::Answer(_, answer) = effect {
                self.judge_answer(now_ms, claim, answer);
            }
        }
    }

    /// Who holds no lease of a job any more has no share of it, also where it gets another lease by the same event.
    fn end_shares(&mut self) {
        let held = |job: &str, worker: &str| {
            let mut of_job = self.ahead.assignments.get(job).into_iter().flat_map(BTreeMap::values);
            of_job.any(|record| record.hold() == HoldKind::Leased && record.worker_id == worker)
        };
        self.shares.retain(held);
    }

    /// Leases that a change ends, and their holders.
    fn leases_ended_by(&self, change: &Change) -> Vec<(LeaseName, String)> {
        let of_job = |job: &String| self.ahead.assignments.get(job).into_iter().flat_map(BTreeMap::values);
        let gone: Vec<&AssignmentRecord> = match change {
            Change::PutAssignment(new) => of_job(&new.job_id)
                .filter(|old| old.ordinal == new.ordinal && (new.hold() != HoldKind::Leased || new.epoch != old.epoch))
                .collect(),
            Change::DeleteAssignment { job_id, ordinal } => {
                of_job(job_id).filter(|old| old.ordinal == *ordinal).collect()
            }
            Change::DeleteTable { job_id, table } => of_job(job_id).filter(|old| old.table == Some(*table)).collect(),
            Change::DeleteWork(job_id) | Change::DeleteJob(job_id) => of_job(job_id).collect(),
            Change::PutJob(_) | Change::PutTable(_) | Change::PutPiece { .. } => Vec::new(),
            Change::PutCluster(_) | Change::PutSuccess(_) => Vec::new(),
        };
        let leased = gone.into_iter().filter(|old| old.hold() == HoldKind::Leased);
        leased.map(|old| (name_of(old), old.worker_id.clone())).collect()
    }

    fn judge_change(&mut self, change: &Change, all: &[Change]) {
        match change {
            Change::PutAssignment(new) if new.hold() == HoldKind::Leased => {
                let (id, epoch) = name_of(new);
                let old = self.ahead.assignment(&id).expect("it was queued before");
                assert_ne!(old.hold(), HoldKind::Leased, "{id} is leased twice");
                assert!(epoch > old.epoch, "{id} was granted under epoch {epoch} after {}", old.epoch);
            }
            Change::PutPiece { job_id, table, piece: Piece::Stored(chunk) } => {
                let known = self.ahead.pieces_of(job_id, *table);
                let place = (1, chunk.segment, 0)..(1, chunk.segment, u32::MAX);
                let parts = known.map_or(0, |known| known.range(place).count());
                assert_eq!(usize::try_from(chunk.part), Ok(parts), "parts of a segment have no gaps");
                let closed = known.is_some_and(|known| known.contains_key(&(2, chunk.segment, 0)));
                assert!(!closed, "segment {} of {job_id} was closed before", chunk.segment);
            }
            Change::DeleteWork(job_id) => {
                let done = |change: &&Change| match change {
                    Change::PutJob(job) => job.job_id == *job_id && job.state() == JobState::Done,
                    _ => false,
                };
                if all.iter().any(|change| done(&change)) {
                    self.judge_done(job_id);
                }
            }
            _ => {}
        }
    }

    /// A job is DONE: every piece of it is recorded.
    fn judge_done(&mut self, job_id: &str) {
        let job = &self.ahead.jobs[job_id];
        let (pieces, tables) = (self.ahead.pieces.get(job_id), self.ahead.tables.get(job_id));
        let recorded = |table: u32, kind: u8| {
            let of_table = pieces.and_then(|pieces| pieces.get(&table));
            of_table.map_or(0, |known| known.keys().filter(|place| place.0 == kind).count())
        };
        let assignments = self.ahead.assignments.get(job_id);
        for record in assignments.into_iter().flat_map(BTreeMap::values) {
            assert_eq!(record.hold(), HoldKind::Done, "{job_id} is done without {record:?}");
        }
        let is_backup =
            matches!(job.spec.as_ref().and_then(|spec| spec.work.as_ref()), Some(v1::job_spec::Work::Backup(_)));
        for (number, table) in tables.into_iter().flatten() {
            let segments = 1_usize << table.plan.as_ref().map_or(0, |plan| plan.grid_exponent);
            assert!(!is_backup || recorded(*number, 2) == segments, "{job_id} is done without all of table {number}");
            let of_table =
                assignments.into_iter().flat_map(BTreeMap::values).filter(|record| record.table == Some(*number));
            let chunks: u64 =
                of_table.filter(|record| record.kind() == WorkKind::Restore).map(|record| record.count).sum();
            assert_eq!(usize::try_from(chunks), Ok(recorded(*number, 3)), "{job_id} is done without all chunks");
        }
        if is_backup {
            self.promised.push(job.backup_id.clone());
        }
    }

    /// A backup whose job is DONE is in the repository.
    pub(super) fn ends(&mut self, manifests: &BTreeMap<String, Publication>) {
        for backup_id in self.promised.drain(..) {
            assert!(manifests.contains_key(&backup_id), "{backup_id} is done and has no manifest");
        }
    }

    fn judge_job(&self, job_id: &str) {
        let Some(job) = self.ahead.jobs.get(job_id) else { return };
        let rests = !matches!(
            job.state(),
            JobState::Preparing | JobState::Running | JobState::Publishing | JobState::Verifying
        );
        let mut leased = BTreeSet::new();
        for record in self.ahead.assignments.get(job_id).into_iter().flat_map(BTreeMap::values) {
            assert!(!rests || record.hold() != HoldKind::Leased, "{:?} job holds {record:?}", job.state());
            self.judge_assignment(job, record, &mut leased);
        }
    }

    fn judge_assignment(&self, job: &JobRecord, record: &AssignmentRecord, leased: &mut BTreeSet<(u32, u64)>) {
        let Some(table) = record.table else { return };
        let kind = match record.kind() {
            WorkKind::Dump => 2,
            WorkKind::Check => 4,
            WorkKind::Compare => 5,
            _ => return,
        };
        if record.hold() == HoldKind::Leased && kind == 2 {
            for segment in record.run_first..record.run_first + record.run_count {
                assert!(leased.insert((table, segment)), "segment {segment} of {} is leased twice", job.job_id);
            }
        }
        if record.hold() == HoldKind::Done {
            let known = self.ahead.pieces_of(&job.job_id, table);
            for segment in record.first..record.first + record.count {
                let there = known.is_some_and(|known| known.contains_key(&(kind, segment, 0)));
                assert!(there, "{record:?} is done without segment {segment}");
            }
        }
    }

    fn judge_answer(&mut self, now_ms: u64, claim: &Claim, answer: &Answer) {
        match answer {
            Answer::Attended(response) => {
                let worker = claim.worker.as_ref().expect("a report");
                for lease in &response.renewed {
                    let record = self.ahead.assignment(&lease.assignment_id).expect("it is known");
                    let name = (lease.assignment_id.clone(), lease.epoch);
                    assert!(
                        record.hold() == HoldKind::Leased && record.worker_id == *worker && name_of(record) == name
                    );
                    self.renewed_ms.insert(name, now_ms);
                }
                for allowance in &response.allowances {
                    self.shares.tell(worker, allowance, &self.ahead);
                }
            }
            Answer::Leased(response) => {
                for assignment in &response.assignments {
                    let lease = assignment.lease.as_ref().expect("a lease");
                    let record = self.ahead.assignment(&lease.assignment_id).expect("it is known");
                    assert_eq!((record.hold(), record.epoch), (HoldKind::Leased, lease.epoch));
                    assert!(
                        !self.drained.contains(&record.worker_id),
                        "{} is drained and gets {lease:?}",
                        record.worker_id
                    );
                    let worker = record.worker_id.clone();
                    self.renewed_ms.insert((lease.assignment_id.clone(), lease.epoch), now_ms);
                    if let Some(allowance) = &assignment.allowance {
                        self.shares.tell(&worker, allowance, &self.ahead);
                    }
                }
            }
            Answer::Drained(worker) if worker.draining => drop(self.drained.insert(worker.worker_id.clone())),
            Answer::Drained(worker) => drop(self.drained.remove(&worker.worker_id)),
            _ => {}
        }
    }

    /// A grant leaves the coordinator: its epoch must be above every one before.
    pub(super) fn told(&mut self, lease: &v1::LeaseId) {
        let before = self.told.insert(lease.assignment_id.clone(), lease.epoch);
        assert!(before < Some(lease.epoch), "{lease:?} was told after epoch {before:?}");
    }

    /// A worker works under a lease.
    pub(super) fn works(&self, lease: &v1::LeaseId) {
        let name = (lease.assignment_id.clone(), lease.epoch);
        assert!(!self.lapsed.contains(&name), "work goes on under {lease:?}, which has lapsed");
    }

    /// A process of the coordinator took up what is committed.
    pub(super) fn restart(
        &mut self,
        now_ms: u64,
        kept: ModelJournal,
        core: &Core,
        changes: &[Change],
        settings: &Settings,
    ) {
        for (id, job) in kept.jobs.iter().filter(|(_, job)| job.state() == JobState::Paused) {
            let state = core.job(id).map(|job| job.state());
            assert_eq!(state, Some(JobState::Paused), "{} does not stay paused", job.job_id);
        }
        self.ahead = kept;
        if !settings.leases_survive_restart {
            let records = self.ahead.assignments.values_mut().flat_map(BTreeMap::values_mut);
            records
                .filter(|record| record.hold() == HoldKind::Leased)
                .for_each(|record| record.hold = HoldKind::Queued.into());
        }
        self.ahead.commit(changes);
        self.renewed_ms = self.ahead.leased().map(|record| (name_of(record), now_ms)).collect();
        self.lapsed.retain(|name| !self.renewed_ms.contains_key(name));
        self.drained.clear();
        self.shares = Shares::default();
        self.promised.clear();
    }
}

fn name_of(record: &AssignmentRecord) -> LeaseName {
    (format!("{}.{}", record.job_id, record.ordinal), record.epoch)
}

fn job_of(change: &Change) -> Option<&String> {
    match change {
        Change::PutJob(job) => Some(&job.job_id),
        Change::PutTable(table) => Some(&table.job_id),
        Change::PutAssignment(record) => Some(&record.job_id),
        Change::PutPiece { job_id, .. } | Change::DeleteTable { job_id, .. } => Some(job_id),
        Change::DeleteAssignment { job_id, .. } => Some(job_id),
        Change::DeleteWork(job_id) | Change::DeleteJob(job_id) => Some(job_id),
        Change::PutCluster(_) | Change::PutSuccess(_) => None,
    }
}

/// A lease that is told is committed. One of a dump asks for no recorded piece: its first segment goes on behind what is
/// stored, the others are untouched.
pub(super) fn judge_grant(assignment: &v1::Assignment, kept: &ModelJournal) {
    let lease = assignment.lease.as_ref().expect("a lease");
    let id = &lease.assignment_id;
    // A job that has ended meanwhile, in the same batch, keeps nothing.
    let Some(record) = kept.assignment(id).filter(|record| record.epoch == lease.epoch) else { return };
    let Some(v1::assignment::Work::Dump(shard)) = &assignment.work else { return };
    let pieces = record.table.and_then(|table| kept.pieces_of(&record.job_id, table));
    let mut parts = 0;
    for piece in pieces.into_iter().flat_map(BTreeMap::values) {
        let (_, segment, _) = piece.place();
        if segment >= shard.segment_first && segment - shard.segment_first < shard.segments {
            assert!(segment == shard.segment_first, "{id} asks for segment {segment} again");
            assert!(matches!(piece, Piece::Stored(_)), "{id} asks for a closed segment");
            parts += 1;
        }
    }
    assert_eq!(shard.resume_parts.len(), parts);
}

/// A publication holds exactly what the tables hold: every segment, every chunk once.
pub(super) fn judge_publication(publication: &Publication) {
    assert_eq!(publication.captured.schema_identity.len(), 32);
    for (table, grid, chunks) in &publication.tables {
        let name = &table.table.as_ref().expect("a name").table;
        let version: u8 = table.fingerprint.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a version");
        let place = Model::TABLES.iter().position(|(known, _)| known == name).expect("a model table");
        assert_eq!(publication.captured.schema_identity[place], version, "rows and DDL of {name} agree");
        let chunks_of = |segment| model_chunks(name, segment).into_iter().map(|chunk| of_version(chunk, version));
        let expected: Vec<v1::Chunk> = (0..grid.segments()).flat_map(chunks_of).collect();
        assert_eq!(chunks, &expected, "table {name}");
        TableIndex::new(table.clone(), *grid, false, chunks.clone()).expect("it tiles the ring");
    }
}
