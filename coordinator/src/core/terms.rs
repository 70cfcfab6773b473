//! What a job was told, whatever its kind: where it works, and how hard.

use ringvault_proto::v1::{self, job_spec::Work};

use super::job::Job;

/// How long unavailable things are waited for where the spec does not say, in ms.
const PATIENCE_MS: u64 = 15 * 60 * 1000;

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
            Work::Backup(spec) => Terms {
                cluster: &spec.cluster,
                repository: &spec.repository,
                patience_ms: spec.patience_ms,
                tables_parallel: (spec.tables_parallel, 2),
                pace: spec.pace,
                rows_per_second_max: spec.rows_per_second_max,
                bytes_per_second_max: spec.bytes_per_second_max,
            },
            Work::Restore(spec) => Terms {
                cluster: &spec.cluster,
                repository: &spec.repository,
                patience_ms: spec.patience_ms,
                tables_parallel: (spec.tables_parallel, 4),
                pace: spec.pace,
                rows_per_second_max: spec.rows_per_second_max,
                bytes_per_second_max: spec.bytes_per_second_max,
            },
            Work::Verify(spec) => Terms {
                cluster: &spec.cluster,
                repository: &spec.repository,
                patience_ms: spec.patience_ms,
                tables_parallel: (spec.tables_parallel, 2),
                pace: spec.pace,
                rows_per_second_max: spec.rows_per_second_max,
                bytes_per_second_max: spec.bytes_per_second_max,
            },
        }
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
