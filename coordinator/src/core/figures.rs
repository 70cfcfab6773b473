//! What a coordinator knows, in numbers, for those who watch over it.

use std::collections::BTreeMap;

use ringvault_proto::v1::{self, JobState, job_spec::Work};
use ringvault_runtime::telemetry::metrics::{Figures, LastSuccess};

use super::{
    Core,
    assignment::Hold,
    event::{Now, Output},
    job::Job,
    ms,
};
use crate::record::{Change, SuccessRecord};

/// States that are told, each also with 0.
const STATES: [(JobState, &str); 9] = [
    (JobState::Preparing, "preparing"),
    (JobState::Running, "running"),
    (JobState::Publishing, "publishing"),
    (JobState::Verifying, "verifying"),
    (JobState::Paused, "paused"),
    (JobState::Interrupted, "interrupted"),
    (JobState::Done, "done"),
    (JobState::Failed, "failed"),
    (JobState::Cancelled, "cancelled"),
];

/// Why workers say that they are throttled; whatever else they say is one cause more.
const CAUSES: [&str; 3] = ["rate", "overloaded", "other"];

/// What happened so often since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Leases that lapsed.
    pub(crate) lapses: u64,
    /// Attempts that failed or lapsed.
    pub(crate) retries: u64,
}

impl Core {
    /// What there is now.
    pub(crate) fn figures(&self, now: Now) -> Figures {
        let count = |state: JobState| self.jobs.values().filter(|job| job.record.state() == state).count();
        let open: Vec<&Job> = self.jobs.values().filter(|job| job.is_active() || job.is_paused()).collect();
        let stall_ms = ms(self.settings.no_progress_timeout);
        let is_stuck = |job: &Job| job.is_active() && now.ms.saturating_sub(job.progressed_ms) > stall_ms;
        let mut throttled: BTreeMap<&str, u64> = CAUSES.iter().map(|cause| (*cause, 0)).collect();
        for cause in open.iter().flat_map(|job| job.throttles()) {
            *throttled.entry(CAUSES.into_iter().find(|known| *known == cause).unwrap_or("other")).or_default() += 1;
        }
        let success = |record: &SuccessRecord| LastSuccess {
            cluster: record.cluster.clone(),
            keyspace: record.keyspace.clone(),
            finished_unix_ms: record.finished_unix_ms,
        };
        Figures {
            jobs: STATES.iter().map(|(state, name)| ((*name).to_owned(), number(count(*state)))).collect(),
            last_successes: self.successes.values().map(success).collect(),
            stuck: open.iter().map(|job| (job.id.clone(), is_stuck(job))).collect(),
            leases: number(open.iter().map(|job| job.leased.len()).sum()),
            lease_lapses: self.tally.lapses,
            retries: self.tally.retries,
            throttled: throttled.into_iter().map(|(cause, leases)| (cause.to_owned(), leases)).collect(),
            lag_bytes: open.iter().map(|job| (job.id.clone(), job.lag_bytes())).collect(),
            workers: number(self.workers.len()),
            slots: self.workers.values().map(|worker| u64::from(worker.hello.slots)).sum(),
        }
    }

    /// Keeps what an event counted.
    pub(super) fn take_counts(&mut self, out: &mut Output) {
        let Tally { lapses, retries } = std::mem::take(&mut out.tally);
        self.tally.lapses += lapses;
        self.tally.retries += retries;
        for record in std::mem::take(&mut out.successes) {
            out.changes.push(Change::PutSuccess(record.clone()));
            self.successes.insert((record.cluster.clone(), record.keyspace.clone()), record);
        }
        self.rings.extend(std::mem::take(&mut out.rings));
    }
}

impl Job {
    /// Why its holders say that they are throttled.
    fn throttles(&self) -> impl Iterator<Item = &str> {
        let leases = self.leased.iter().filter_map(|ordinal| match &self.assignments.get(ordinal)?.hold {
            Hold::Leased(lease) => Some(lease.progress.throttle.as_str()),
            Hold::Queued { .. } | Hold::Done => None,
        });
        leases.filter(|cause| !cause.is_empty())
    }

    /// Encoded bytes of its tables that its present work has still before it.
    fn lag_bytes(&self) -> u64 {
        let left = self.tables.iter().map(|(number, table)| {
            let [_, done] = self.work_counts(*number);
            if table.is_finished(self.has_begun_tables()) { 0 } else { table.plan.bytes_estimated.saturating_sub(done) }
        });
        left.fold(0, u64::saturating_add)
    }

    /// A backup is complete: each of its keyspaces was backed up. One with a limit of rows is not worth that.
    pub(super) fn note_success(&self, out: &mut Output) {
        let Work::Backup(spec) = self.work() else { return };
        if self.is_dry_run() || spec.limit_rows > 0 {
            return;
        }
        let keyspaces = self.record.cluster.iter().flat_map(|cluster: &v1::InspectResult| &cluster.keyspaces);
        out.successes.extend(keyspaces.map(|keyspace| SuccessRecord {
            cluster: self.cluster().to_owned(),
            keyspace: keyspace.clone(),
            finished_unix_ms: self.record.finished_unix_ms,
        }));
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
