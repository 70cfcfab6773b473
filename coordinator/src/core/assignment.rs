//! One assignment: what it covers, who holds it, how its name looks on the wire. There may be a million of them, so it
//! is kept small.

use std::num::NonZeroU64;

use ringvault_proto::v1;

use crate::{
    plan::Run,
    record::{AssignmentRecord, HoldKind, WorkKind},
};

/// A current lease.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lease {
    /// The holder.
    pub(crate) worker: String,
    /// When it lapses, in monotonic ms.
    pub(crate) deadline_ms: u64,
    /// When its counts last grew, in monotonic ms.
    pub(crate) progress_ms: u64,
    /// As last reported.
    pub(crate) progress: v1::LeaseProgress,
    /// What of that is recorded already.
    pub(crate) rows_recorded: u64,
    /// The same in encoded bytes.
    pub(crate) bytes_recorded: u64,
}

/// Who has an assignment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Hold {
    /// Nobody; it may be leased from then on, in monotonic ms.
    Queued {
        /// When its pause ends.
        not_before_ms: u64,
    },
    /// A worker.
    Leased(Box<Lease>),
    /// Nobody needs it any more.
    Done,
}

impl Hold {
    /// Nobody has it, and anybody may.
    pub(crate) const WAITING: Self = Self::Queued { not_before_ms: 0 };
}

/// What a lease id means now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the current lease.
    Current,
    /// All of it was recorded: this is a repetition.
    Ended,
    /// Another holds the assignment, or nobody.
    Stale,
}

/// An assignment of a job.
#[derive(Debug)]
pub(crate) struct Assignment {
    ordinal: u32,
    kind: WorkKind,
    table: Option<u32>,
    home: Option<u32>,
    covers: Run,
    limit_rows: u64,
    epoch: u64,
    run: Run,
    attempts: u32,
    lapses: u32,
    /// Who has it.
    pub(super) hold: Hold,
    /// The epoch whose lease ended with all of its run recorded.
    ended_epoch: Option<NonZeroU64>,
    /// The epoch whose holder failed.
    failed_epoch: Option<NonZeroU64>,
}

impl Assignment {
    /// A new one, or one from the journal that nobody holds.
    pub(crate) fn new(record: &AssignmentRecord) -> Self {
        let hold = match record.hold() {
            HoldKind::Done => Hold::Done,
            HoldKind::Queued | HoldKind::Leased => Hold::Queued { not_before_ms: 0 },
        };
        Self {
            ordinal: record.ordinal,
            kind: record.kind(),
            table: record.table,
            home: record.home,
            covers: Run { first: record.first, count: record.count },
            limit_rows: record.limit_rows,
            epoch: record.epoch,
            run: Run { first: record.run_first, count: record.run_count },
            attempts: record.attempts,
            lapses: record.lapses,
            hold,
            ended_epoch: None,
            failed_epoch: None,
        }
    }

    /// As it is journaled now.
    pub(crate) fn to_record(&self, job_id: &str) -> AssignmentRecord {
        let (hold, worker_id) = match &self.hold {
            Hold::Queued { .. } => (HoldKind::Queued, String::new()),
            Hold::Leased(lease) => (HoldKind::Leased, lease.worker.clone()),
            Hold::Done => (HoldKind::Done, String::new()),
        };
        AssignmentRecord {
            job_id: job_id.to_owned(),
            ordinal: self.ordinal,
            kind: self.kind.into(),
            table: self.table,
            first: self.covers.first,
            count: self.covers.count,
            limit_rows: self.limit_rows,
            epoch: self.epoch,
            attempts: self.attempts,
            lapses: self.lapses,
            hold: hold.into(),
            worker_id,
            run_first: self.run.first,
            run_count: self.run.count,
            home: self.home,
        }
    }

    /// What it does.
    pub(crate) fn kind(&self) -> WorkKind {
        self.kind
    }

    /// Ordinal of its table, where the work has one.
    pub(crate) fn table(&self) -> Option<u32> {
        self.table
    }

    /// The node that owns it first, among the homes of its job.
    pub(crate) fn home(&self) -> Option<u32> {
        self.home
    }

    /// All that it covers: segments, or chunks by position.
    pub(crate) fn covers(&self) -> Run {
        self.covers
    }

    /// What its last lease covers.
    pub(crate) fn run(&self) -> Run {
        self.run
    }

    /// Rows at most, 0: all.
    pub(crate) fn limit_rows(&self) -> u64 {
        self.limit_rows
    }

    /// Failed attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Lapsed leases.
    pub(crate) fn lapses(&self) -> u32 {
        self.lapses
    }

    /// The epoch of the last grant.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A worker's lease of it.
    pub(crate) fn id(&self, job_id: &str) -> v1::LeaseId {
        v1::LeaseId { assignment_id: format!("{job_id}.{}", self.ordinal), epoch: self.epoch }
    }

    /// It is about to be granted: a new epoch.
    pub(crate) fn begin(&mut self, run: Run) {
        self.epoch += 1;
        self.run = run;
    }

    /// All that its lease covered is recorded.
    pub(crate) fn end_run(&mut self) {
        self.ended_epoch = NonZeroU64::new(self.epoch);
    }

    /// Whether the holder under that epoch failed, and nobody held it since.
    pub(crate) fn has_failed(&self, epoch: u64) -> bool {
        epoch == self.epoch && self.failed_epoch.is_some_and(|failed| failed.get() == epoch)
    }

    /// Counts a failed attempt.
    pub(crate) fn count_attempt(&mut self) {
        self.failed_epoch = NonZeroU64::new(self.epoch);
        self.attempts += 1;
    }

    /// Counts a lapsed lease.
    pub(crate) fn count_lapse(&mut self) {
        self.lapses += 1;
    }

    /// Forgets what went wrong: a submission revived the job.
    pub(crate) fn forgive(&mut self) {
        self.attempts = 0;
        self.lapses = 0;
    }

    /// What a worker's claim to it means.
    pub(crate) fn standing(&self, worker: &str, epoch: u64) -> Standing {
        if epoch != self.epoch {
            return Standing::Stale;
        }
        match &self.hold {
            Hold::Leased(lease) if lease.worker == worker => Standing::Current,
            Hold::Done => Standing::Ended,
            Hold::Queued { .. } if self.ended_epoch.is_some_and(|ended| ended.get() == epoch) => Standing::Ended,
            Hold::Queued { .. } | Hold::Leased(_) => Standing::Stale,
        }
    }
}

/// The job and the ordinal behind an assignment's id; nothing for an id that is none of ours.
pub(crate) fn parse_id(assignment_id: &str) -> Option<(&str, u32)> {
    let (job, ordinal) = assignment_id.rsplit_once('.')?;
    Some((job, ordinal.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(assignment: &mut Assignment, run: Run, worker: &str) {
        assignment.begin(run);
        assignment.hold = Hold::Leased(Box::new(Lease {
            worker: worker.into(),
            deadline_ms: 0,
            progress_ms: 0,
            progress: v1::LeaseProgress::default(),
            rows_recorded: 0,
            bytes_recorded: 0,
        }));
    }

    #[test]
    fn every_grant_bumps_the_epoch_and_makes_the_last_one_stale() {
        let mut assignment = Assignment::new(&AssignmentRecord::default());
        grant(&mut assignment, Run { first: 0, count: 1 }, "a");
        assert_eq!(assignment.standing("a", 1), Standing::Current);
        assert_eq!(assignment.standing("b", 1), Standing::Stale, "another worker's lease");
        grant(&mut assignment, Run { first: 0, count: 1 }, "b");
        assert_eq!(assignment.standing("a", 1), Standing::Stale);
        assert_eq!(assignment.standing("b", 2), Standing::Current);
    }

    #[test]
    fn an_assignment_id_names_job_and_ordinal() {
        let assignment = Assignment::new(&AssignmentRecord { ordinal: 12, ..AssignmentRecord::default() });
        assert_eq!(parse_id(&assignment.id("j7").assignment_id), Some(("j7", 12)));
        assert_eq!(parse_id("j7"), None);
        assert_eq!(parse_id("j7.x"), None);
    }

    #[test]
    fn a_record_keeps_who_holds_it() {
        let mut assignment = Assignment::new(&AssignmentRecord { home: Some(3), ..AssignmentRecord::default() });
        grant(&mut assignment, Run { first: 3, count: 2 }, "a");
        let record = assignment.to_record("j");
        assert_eq!((record.hold(), record.worker_id.as_str(), record.epoch), (HoldKind::Leased, "a", 1));
        assert_eq!((record.run_first, record.run_count, record.home), (3, 2, Some(3)));
    }
}
