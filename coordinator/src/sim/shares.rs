//! The shares of limits that workers were told last: they never add up to more than the whole.
//!
//! A worker that joins where nothing is free is told the floor, which does not count; behind a lowered limit no sum grows.

use std::collections::BTreeMap;

use ringvault_proto::v1::{self, job_spec::Work};

use super::journal::ModelJournal;
use crate::record::JobRecord;

/// Rows and encoded bytes a second.
type Rates = [u64; 2];

/// What a worker is told though nothing is free.
const FLOOR: u64 = 1;

/// What was told, by job and worker.
#[derive(Debug, Default)]
pub(super) struct Shares(BTreeMap<(String, String), Rates>);

impl Shares {
    /// Who holds no lease of a job any more has no share of it.
    pub(super) fn retain(&mut self, holds: impl Fn(&str, &str) -> bool) {
        self.0.retain(|(job, worker), _| holds(job, worker));
    }

    /// A worker is told its share of a job's and its cluster's limits.
    pub(super) fn tell(&mut self, worker: &str, allowance: &v1::Allowance, ahead: &ModelJournal) {
        let told = [allowance.rows_per_second_max, allowance.bytes_per_second_max];
        let job = allowance.job_id.clone();
        let limits = ahead.jobs.get(&job).map(limits_of).unwrap_or_default();
        let cluster = ahead.clusters.get("prod").and_then(|record| record.limits);
        let cluster = cluster.map_or([0; 2], |limits| [limits.rows_per_second_max, limits.bytes_per_second_max]);
        let before = [0, 1].map(|kind| (self.sum(kind, Some(&job)), self.sum(kind, None)));
        self.0.insert((job.clone(), worker.to_owned()), told);
        for kind in [0, 1] {
            let limited = limits[kind] > 0 || cluster[kind] > 0;
            assert_eq!(told[kind] > 0, limited, "{worker} is told {allowance:?} under {limits:?} and {cluster:?}");
            let sums = [
                (limits[kind], self.sum(kind, Some(&job)), before[kind].0),
                (cluster[kind], self.sum(kind, None), before[kind].1),
            ];
            for (limit, now, before) in sums {
                assert!(
                    limit == 0 || now <= limit.max(before),
                    "{now} of {limit} are told, before {before}: {:?}",
                    self.0
                );
            }
        }
    }

    /// What is told above the floor.
    fn sum(&self, kind: usize, job: Option<&str>) -> u64 {
        let of = self.0.iter().filter(|((known, _), _)| job.is_none_or(|job| job == known));
        of.map(|(_, told)| told[kind].saturating_sub(FLOOR)).sum()
    }
}

fn limits_of(job: &JobRecord) -> Rates {
    match job.spec.as_ref().and_then(|spec| spec.work.as_ref()) {
        Some(Work::Backup(spec)) => [spec.rows_per_second_max, spec.bytes_per_second_max],
        Some(Work::Restore(spec)) => [spec.rows_per_second_max, spec.bytes_per_second_max],
        Some(Work::Verify(spec)) => [spec.rows_per_second_max, spec.bytes_per_second_max],
        None => [0; 2],
    }
}
