//! One assignment: what it covers, who holds it, how its name looks on the wire.

use ringvault_proto::{error::Failure, v1};

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
    Leased(Lease),
    /// Nobody needs it any more.
    Done,
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
    /// As journaled; `hold` and `worker_id` are set when it is written.
    record: AssignmentRecord,
    /// Who has it.
    pub(crate) hold: Hold,
    /// Why the last holder gave up.
    pub(crate) last_failure: Option<Failure>,
    /// The epoch whose lease ended with all of its run recorded.
    pub(crate) ended_epoch: Option<u64>,
    /// The epoch whose holder failed.
    pub(crate) failed_epoch: Option<u64>,
}

impl Assignment {
    /// A new one, or one from the journal that nobody holds.
    pub(crate) fn new(record: AssignmentRecord) -> Self {
        let hold = match record.hold() {
            HoldKind::Done => Hold::Done,
            HoldKind::Queued | HoldKind::Leased => Hold::Queued { not_before_ms: 0 },
        };
        Self { record, hold, last_failure: None, ended_epoch: None, failed_epoch: None }
    }

    /// As it is journaled now.
    pub(crate) fn to_record(&self) -> AssignmentRecord {
        let (hold, worker_id) = match &self.hold {
            Hold::Queued { .. } => (HoldKind::Queued, String::new()),
            Hold::Leased(lease) => (HoldKind::Leased, lease.worker.clone()),
            Hold::Done => (HoldKind::Done, String::new()),
        };
        AssignmentRecord { hold: hold.into(), worker_id, ..self.record.clone() }
    }

    /// What it does.
    pub(crate) fn kind(&self) -> WorkKind {
        self.record.kind()
    }

    /// Ordinal of its table, where the work has one.
    pub(crate) fn table(&self) -> Option<u32> {
        self.record.table
    }

    /// All that it covers: segments, or chunks by position.
    pub(crate) fn covers(&self) -> Run {
        Run { first: self.record.first, count: self.record.count }
    }

    /// What its last lease covers.
    pub(crate) fn run(&self) -> Run {
        Run { first: self.record.run_first, count: self.record.run_count }
    }

    /// Rows at most, 0: all.
    pub(crate) fn limit_rows(&self) -> u64 {
        self.record.limit_rows
    }

    /// Failed attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.record.attempts
    }

    /// Lapsed leases.
    pub(crate) fn lapses(&self) -> u32 {
        self.record.lapses
    }

    /// The epoch of the last grant.
    pub(crate) fn epoch(&self) -> u64 {
        self.record.epoch
    }

    /// A worker's lease of it.
    pub(crate) fn id(&self) -> v1::LeaseId {
        v1::LeaseId {
            assignment_id: format!("{}.{}", self.record.job_id, self.record.ordinal),
            epoch: self.record.epoch,
        }
    }

    /// Grants it: a new epoch.
    pub(crate) fn grant(&mut self, run: Run, lease: Lease) {
        self.record.epoch += 1;
        (self.record.run_first, self.record.run_count) = (run.first, run.count);
        self.hold = Hold::Leased(lease);
    }

    /// Counts a failed attempt.
    pub(crate) fn count_attempt(&mut self, failure: Failure) {
        self.failed_epoch = Some(self.record.epoch);
        self.record.attempts += 1;
        self.last_failure = Some(failure);
    }

    /// Counts a lapsed lease.
    pub(crate) fn count_lapse(&mut self) {
        self.record.lapses += 1;
    }

    /// Forgets what went wrong: a submission revived the job.
    pub(crate) fn forgive(&mut self) {
        self.record.attempts = 0;
        self.record.lapses = 0;
        self.last_failure = None;
    }

    /// What a worker's claim to it means.
    pub(crate) fn standing(&self, worker: &str, epoch: u64) -> Standing {
        if epoch != self.record.epoch {
            return Standing::Stale;
        }
        match &self.hold {
            Hold::Leased(lease) if lease.worker == worker => Standing::Current,
            Hold::Done => Standing::Ended,
            Hold::Queued { .. } if self.ended_epoch == Some(epoch) => Standing::Ended,
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

    fn lease(worker: &str) -> Lease {
        Lease {
            worker: worker.into(),
            deadline_ms: 0,
            progress_ms: 0,
            progress: v1::LeaseProgress::default(),
            rows_recorded: 0,
            bytes_recorded: 0,
        }
    }

    #[test]
    fn every_grant_bumps_the_epoch_and_makes_the_last_one_stale() {
        let mut assignment = Assignment::new(AssignmentRecord { job_id: "j".into(), ..AssignmentRecord::default() });
        assignment.grant(Run { first: 0, count: 1 }, lease("a"));
        assert_eq!(assignment.standing("a", 1), Standing::Current);
        assert_eq!(assignment.standing("b", 1), Standing::Stale, "another worker's lease");
        assignment.grant(Run { first: 0, count: 1 }, lease("b"));
        assert_eq!(assignment.standing("a", 1), Standing::Stale);
        assert_eq!(assignment.standing("b", 2), Standing::Current);
    }

    #[test]
    fn an_assignment_id_names_job_and_ordinal() {
        let assignment =
            Assignment::new(AssignmentRecord { job_id: "j7".into(), ordinal: 12, ..AssignmentRecord::default() });
        assert_eq!(parse_id(&assignment.id().assignment_id), Some(("j7", 12)));
        assert_eq!(parse_id("j7"), None);
        assert_eq!(parse_id("j7.x"), None);
    }

    #[test]
    fn a_record_keeps_who_holds_it() {
        let mut assignment = Assignment::new(AssignmentRecord::default());
        assignment.grant(Run { first: 3, count: 2 }, lease("a"));
        let record = assignment.to_record();
        assert_eq!((record.hold(), record.worker_id.as_str(), record.epoch), (HoldKind::Leased, "a", 1));
        assert_eq!((record.run_first, record.run_count), (3, 2));
    }
}
