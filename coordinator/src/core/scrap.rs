//! The end of a rehearsal: however it went, its scratch keyspace is dropped, and only then the job ends as it had to.

use ringvault_proto::{
    error::Failure,
    v1::{self, JobState, job_spec::Work},
};

use super::{
    assignment::Hold,
    event::Output,
    job::{Context, Job},
};
use crate::{
    plan::Run,
    record::{Phase, WorkKind},
};

/// How the names of scratch keyspaces begin; nothing else is ever dropped by a rehearsal.
const PREFIX: &str = "rv_rehearsal_";

/// The keyspace of one rehearsal. Job ids have lower-case letters and digits; anything else would need quotes.
pub(super) fn scratch_keyspace(job_id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let id: String = job_id.chars().map(plain).take(48 - PREFIX.len()).collect();
    format!("{PREFIX}{id}")
}

impl Job {
    pub(super) fn is_rehearsal(&self) -> bool {
        matches!(self.work(), Work::Restore(spec) if spec.rehearsal)
    }

    /// Whether its scratch keyspace may stand there.
    pub(super) fn leaves_scratch(&self) -> bool {
        let made = matches!(self.record.phase(), Phase::Before | Phase::Write | Phase::After | Phase::Compare);
        self.is_rehearsal() && made
    }

    /// Drops the scratch keyspace; the job ends behind it.
    pub(super) fn begin_scrap(
        &mut self,
        state: JobState,
        failure: Option<Failure>,
        ctx: &Context<'_>,
        out: &mut Output,
    ) {
        // First: what its leases retried counts, too.
        self.release_all(out);
        self.record.tables_ended = self.tables_progress();
        self.record.ending_state = state.into();
        self.record.ending_failure = failure.map(Into::into);
        let undone = |assignment: &&u32| self.assignments[*assignment].hold != Hold::Done;
        for ordinal in self.assignments.keys().filter(undone).copied().collect::<Vec<_>>() {
            self.abandon(ordinal, out);
        }
        self.starving_since_ms = None;
        self.enter(Phase::Scrap, ctx, out);
        self.add(WorkKind::Scrap, Run { first: 0, count: 0 }, out);
    }

    /// The scratch keyspace is gone.
    pub(super) fn end_scrap(&mut self, ctx: &Context<'_>, out: &mut Output) {
        let state = JobState::try_from(self.record.ending_state).unwrap_or(JobState::Failed);
        let failure = self.record.ending_failure.take().map(Failure::from);
        self.end(state, failure, ctx, out);
    }

    /// What a job that could not drop its scratch keyspace failed of, and what is to be done about it.
    pub(super) fn unscrapped(&mut self, failure: Option<Failure>) -> Option<Failure> {
        let left = format!("keyspace {} of the rehearsal may still stand there: drop it", scratch_keyspace(&self.id));
        let before = self.record.ending_failure.take().map(Failure::from);
        let (kind, message) = match (before, failure) {
            (Some(before), Some(now)) => (before.kind, format!("{}; then {}; {left}", before.message, now.message)),
            (Some(one), None) | (None, Some(one)) => (one.kind, format!("{}; {left}", one.message)),
            (None, None) => {
                self.record.warnings.push(left);
                return None;
            }
        };
        Some(Failure::new(kind, message))
    }

    /// A partition key is a value of the database: no journal keeps it longer than it is needed.
    pub(super) fn erase_key(&mut self) {
        if let Some(key) = partition_key(self.record.spec.as_mut()) {
            key.cells.clear();
        }
    }
}

/// The spec as people may see it.
pub(super) fn redacted(spec: Option<&v1::JobSpec>) -> Option<v1::JobSpec> {
    let mut spec = spec.cloned();
    if let Some(key) = partition_key(spec.as_mut()) {
        key.cells.clear();
    }
    spec
}

fn partition_key(spec: Option<&mut v1::JobSpec>) -> Option<&mut v1::PartitionKey> {
    match spec?.work.as_mut()? {
        Work::Restore(spec) => spec.partition_key.as_mut(),
        Work::Backup(_) | Work::Verify(_) => None,
    }
}
