//! What a job was told, whatever its kind: where it works, and how hard.

use ringvault_proto::v1::{self, job_spec::Work};

use super::{allowance::Rates, job::Job};

/// How long unavailable things are waited for where the spec does not say, in ms.
const PATIENCE_MS: u64 = 15 * 60 * 1000;

/// Requests in flight to one node of a polite job, in thousandths.
const POLITE_REQUESTS_MILLI: u64 = 2000;

/// The weight of the highest priority.
pub(super) const WEIGHT_MAX: u64 = 16;

/// What a spec of any kind says; they have these fields in common.
macro_rules! terms_of {
    ($spec:expr, $tables_parallel:expr) => {
        Terms {
            cluster: &$spec.cluster,
            repository: &$spec.repository,
            patience_ms: $spec.patience_ms,
            tables_parallel: ($spec.tables_parallel, $tables_parallel),
            pace: $spec.pace,
            rows_per_second_max: $spec.rows_per_second_max,
            bytes_per_second_max: $spec.bytes_per_second_max,
        }
    };
}

/// Sets what an update says of a spec of any kind.
macro_rules! update_rates {
    ($spec:expr, $update:expr) => {{
        $spec.pace = $update.pace.unwrap_or($spec.pace);
        $spec.rows_per_second_max = $update.rows_per_second_max.unwrap_or($spec.rows_per_second_max);
        $spec.bytes_per_second_max = $update.bytes_per_second_max.unwrap_or($spec.bytes_per_second_max);
    }};
}

/// What every kind of job is told.
pub(super) struct Terms<'a> {
    cluster: &'a str,
    repository: &'a str,
    patience_ms: u64,
    tables_parallel: (u32, u32),
    pub(super) pace: i32,
    pub(super) rows_per_second_max: u64,
    pub(super) bytes_per_second_max: u64,
}

impl Job {
    pub(super) fn work(&self) -> &Work {
        let spec = self.record.spec.as_ref().expect("checked where the job was submitted or loaded");
        spec.work.as_ref().expect("checked where the job was submitted or loaded")
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.record.spec.as_ref().is_some_and(|spec| spec.dry_run)
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        match self.work() {
            Work::Backup(spec) => terms_of!(spec, 2),
            Work::Restore(spec) => terms_of!(spec, 4),
            Work::Verify(spec) => terms_of!(spec, 2),
        }
    }

    /// Changes what the update sets; it was judged at the edge.
    pub(super) fn update(&mut self, update: &v1::UpdateJobRequest) {
        let Some(spec) = self.record.spec.as_mut() else { return };
        let set = |value: &mut u32, new: Option<u32>| *value = new.unwrap_or(*value);
        spec.priority = update.priority.unwrap_or(spec.priority);
        set(&mut spec.workers_max, update.workers_max);
        set(&mut spec.ranges_max, update.ranges_max);
        match spec.work.as_mut() {
            Some(Work::Backup(spec)) => update_rates!(spec, update),
            Some(Work::Restore(spec)) => update_rates!(spec, update),
            Some(Work::Verify(spec)) => update_rates!(spec, update),
            None => {}
        }
    }

    /// What it may take of the database; 0: no limit.
    pub(super) fn rates(&self) -> Rates {
        let terms = self.terms();
        let requests = match v1::Pace::try_from(terms.pace).unwrap_or_default() {
            v1::Pace::Full => 0,
            v1::Pace::Polite | v1::Pace::Unspecified => POLITE_REQUESTS_MILLI,
        };
        Rates([terms.rows_per_second_max, terms.bytes_per_second_max, requests])
    }

    /// Its share where several want the same workers.
    pub(super) fn weight(&self) -> u64 {
        match self.record.spec.as_ref().map(v1::JobSpec::priority).unwrap_or_default() {
            v1::Priority::Low => 1,
            v1::Priority::Normal | v1::Priority::Unspecified => 4,
            v1::Priority::High => WEIGHT_MAX,
        }
    }

    /// Whether its limits let a worker have one more lease of it.
    pub(super) fn admits(&self, worker: &str) -> bool {
        let (workers_max, ranges_max) =
            self.record.spec.as_ref().map_or((0, 0), |spec| (spec.workers_max, spec.ranges_max));
        let below = |held: usize, max: u32| max == 0 || u32::try_from(held).is_ok_and(|held| held < max);
        below(self.leased.len(), ranges_max)
            && (self.holders.contains_key(worker) || below(self.holders.len(), workers_max))
    }

    /// The profile of its cluster.
    pub(super) fn cluster(&self) -> &str {
        self.terms().cluster
    }

    /// Profile, directory or URL of its repository.
    pub(super) fn repository(&self) -> &str {
        self.terms().repository
    }

    pub(super) fn patience_ms(&self) -> u64 {
        match self.terms().patience_ms {
            0 => PATIENCE_MS,
            patience => patience,
        }
    }

    pub(super) fn tables_parallel(&self) -> usize {
        let (asked, default) = self.terms().tables_parallel;
        usize::try_from(if asked == 0 { default } else { asked }).unwrap_or(usize::MAX)
    }

    pub(super) fn backup_spec(&self) -> Option<&v1::BackupSpec> {
        match self.work() {
            Work::Backup(spec) => Some(spec),
            Work::Restore(_) | Work::Verify(_) => None,
        }
    }
}
