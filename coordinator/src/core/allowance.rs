//! How hard each worker may lean on the database for a job, pure.
//!
//! What a cluster bears is split among its jobs that hold leases by their weights, and what a job may take among its
//! workers by their leases. What each was last told is remembered: a share grows only into what nobody else was told,
//! and shrinks at once. So the shares never add up to more than the whole, whoever comes, goes or falls silent; they are
//! the whole again when all have reported twice. After a limit was lowered no share grows before the sum is below it.
//!
//! One exception: a worker that joins where nothing is free gets a floor, since none at all would mean "no limit".
//! What was told without a limit, or by a process before this one, is unknown and taken as the fair share.

use std::collections::BTreeMap;

/// Kinds of limits: rows a second, bytes a second as the database sends or takes them, thousandths of requests in flight to one node.
const KINDS: usize = 3;

/// What a worker gets though nothing is free. A quarter of a request keeps a worker at work whose predecessor died with
/// all of the share.
const FLOOR: Rates = Rates([1, 1, 250]);

/// One number of each kind; 0: no limit, or nothing told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates(pub(crate) [u64; KINDS]);

/// What the workers of a job were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    by_worker: BTreeMap<String, Rates>,
    sum: Rates,
}

/// A job that holds leases, as it takes part in its cluster's limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Party {
    /// Its own limit.
    pub(crate) limit: Rates,
    /// At least 1.
    pub(crate) weight: u64,
    /// What its workers were told in all.
    pub(crate) told: Rates,
}

/// A worker that is to be told its share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// The place of its job among the parties.
    pub(crate) party: usize,
    /// Leases of that job that it holds, at least 1.
    pub(crate) leases: u64,
    /// Leases of that job in all.
    pub(crate) leases_all: u64,
    /// What it was told before.
    pub(crate) before: Rates,
}

impl Told {
    /// What a worker was told last.
    pub(crate) fn of(&self, worker: &str) -> Rates {
        self.by_worker.get(worker).copied().unwrap_or_default()
    }

    /// What all of them were told.
    pub(crate) fn sum(&self) -> Rates {
        self.sum
    }

    /// A worker is told its share.
    pub(crate) fn tell(&mut self, worker: &str, share: Rates) {
        let before = self.by_worker.insert(worker.to_owned(), share).unwrap_or_default();
        self.sum = each(|kind| (self.sum.0[kind] - before.0[kind]).saturating_add(share.0[kind]));
    }

    /// A worker holds no lease any more: its share is free.
    pub(crate) fn forget(&mut self, worker: &str) {
        let before = self.by_worker.remove(worker).unwrap_or_default();
        self.sum = each(|kind| self.sum.0[kind] - before.0[kind]);
    }

    /// Nobody holds a lease any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a worker may take now.
pub(crate) fn share(cluster: Rates, parties: &[Party], asker: Asker) -> Rates {
    let Some(party) = parties.get(asker.party) else { return Rates::default() };
    each(|kind| {
        let Some(whole) = whole(kind, cluster, parties, asker.party) else { return 0 };
        let fair = part(whole, asker.leases, asker.leases_all).max(1);
        let before = asker.before.0[kind];
        let free = |limit: u64, told: u64| {
            if limit == 0 { u64::MAX } else { limit.saturating_sub(told.saturating_sub(before)) }
        };
        let told_all = parties.iter().fold(0_u64, |told, party| told.saturating_add(party.told.0[kind]));
        let free = free(party.limit.0[kind], party.told.0[kind]).min(free(cluster.0[kind], told_all));
        fair.min(before.max(free).max(FLOOR.0[kind]))
    })
}

/// What a job may take of a kind; nothing where nobody limits it. What a job with a limit of its own leaves goes to the
/// others.
fn whole(kind: usize, cluster: Rates, parties: &[Party], party: usize) -> Option<u64> {
    let own = |party: &Party| party.limit.0[kind];
    let (cluster, mine) = (cluster.0[kind], parties.get(party)?);
    if cluster == 0 {
        return (own(mine) > 0).then(|| own(mine));
    }
    let (mut left, mut open): (u64, Vec<&Party>) = (cluster, parties.iter().collect());
    loop {
        let weights = open.iter().fold(0_u64, |weights, party| weights.saturating_add(party.weight));
        let is_modest = |party: &Party| own(party) > 0 && own(party) <= part(left, party.weight, weights);
        if is_modest(mine) {
            return Some(own(mine));
        }
        let (modest, others): (Vec<&Party>, Vec<&Party>) = open.iter().partition(|party| is_modest(party));
        if modest.is_empty() {
            return Some(part(left, mine.weight, weights).max(1));
        }
        left = modest.iter().fold(left, |left, party| left.saturating_sub(own(party)));
        open = others;
    }
}

/// `whole · some / all`, rounded down.
fn part(whole: u64, some: u64, all: u64) -> u64 {
    let part = u128::from(whole) * u128::from(some) / u128::from(all.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

fn each(of: impl Fn(usize) -> u64) -> Rates {
    Rates(std::array::from_fn(of))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Jobs of one cluster with their workers and leases.
    #[derive(Debug, Default)]
    struct Model {
        cluster: Rates,
        jobs: Vec<ModelJob>,
    }

    #[derive(Debug, Default)]
    struct ModelJob {
        limit: Rates,
        weight: u64,
        leases: BTreeMap<String, u64>,
        told: Told,
    }

    impl Model {
        fn tell(&mut self, job: usize, worker: &str) {
            let Some(leases) = self.jobs[job].leases.get(worker).copied() else { return };
            let held: Vec<usize> = (0..self.jobs.len()).filter(|job| !self.jobs[*job].leases.is_empty()).collect();
            let party = |job: &usize| {
                let job = &self.jobs[*job];
                Party { limit: job.limit, weight: job.weight, told: job.told.sum() }
            };
            let parties: Vec<Party> = held.iter().map(party).collect();
            let asker = Asker {
                party: held.iter().position(|held| *held == job).expect("it holds one"),
                leases,
                leases_all: self.jobs[job].leases.values().sum(),
                before: self.jobs[job].told.of(worker),
            };
            let told = share(self.cluster, &parties, asker);
            self.jobs[job].told.tell(worker, told);
        }

        fn grant(&mut self, job: usize, worker: &str) {
            *self.jobs[job].leases.entry(worker.to_owned()).or_default() += 1;
            self.tell(job, worker);
        }

        fn lapse(&mut self, job: usize, worker: &str) {
            self.jobs[job].leases.remove(worker);
            self.jobs[job].told.forget(worker);
        }

        fn report_all(&mut self) {
            for job in 0..self.jobs.len() {
                let workers: Vec<String> = self.jobs[job].leases.keys().cloned().collect();
                workers.iter().for_each(|worker| self.tell(job, worker));
            }
        }

        /// What is told above the floor, of a job or of all.
        fn above(&self, kind: usize, job: Option<usize>) -> u64 {
            let jobs = self.jobs.iter().enumerate().filter(|(number, _)| job.is_none_or(|job| job == *number));
            let told = jobs.flat_map(|(_, job)| job.told.by_worker.values());
            told.map(|told| told.0[kind].saturating_sub(FLOOR.0[kind])).sum()
        }

        /// Every limit with what is told under it.
        fn sums(&self) -> Vec<(u64, u64)> {
            let of = |kind: usize| {
                let jobs =
                    (0..self.jobs.len()).map(move |job| (self.jobs[job].limit.0[kind], self.above(kind, Some(job))));
                jobs.chain([(self.cluster.0[kind], self.above(kind, None))])
            };
            (0..KINDS).flat_map(of).collect()
        }
    }

    fn job(rows: u64, weight: u64) -> ModelJob {
        ModelJob { limit: Rates([rows, 0, 2000]), weight, ..ModelJob::default() }
    }

    #[test]
    fn one_worker_is_told_the_whole_and_a_second_one_its_half_once_the_first_has_reported() {
        let mut model = Model { jobs: vec![job(1000, 4)], ..Model::default() };
        model.grant(0, "a");
        assert_eq!(model.jobs[0].told.of("a"), Rates([1000, 0, 2000]));
        model.grant(0, "b");
        assert_eq!(model.jobs[0].told.of("b"), Rates([1, 0, 250]), "nothing is free, and 0 would be no limit");
        model.tell(0, "a");
        model.tell(0, "b");
        assert_eq!(model.jobs[0].told.of("a"), Rates([500, 0, 1000]));
        assert_eq!(model.jobs[0].told.of("b"), Rates([500, 0, 1000]));
        model.lapse(0, "a");
        model.tell(0, "b");
        assert_eq!(model.jobs[0].told.of("b"), Rates([1000, 0, 2000]));
    }

    #[test]
    fn jobs_of_a_cluster_share_its_limit_by_weight_and_take_what_others_leave() {
        let jobs = vec![job(0, 16), job(0, 4), job(10, 4)];
        let mut model = Model { cluster: Rates([1010, 0, 0]), jobs };
        (0..3).for_each(|job| model.grant(job, "a"));
        model.report_all();
        model.report_all();
        let told: Vec<u64> = model.jobs.iter().map(|job| job.told.of("a").0[0]).collect();
        assert_eq!(told, [800, 200, 10]);
    }

    #[test]
    fn nobody_is_limited_where_nothing_is() {
        let mut model = Model { jobs: vec![ModelJob { weight: 4, ..ModelJob::default() }], ..Model::default() };
        model.grant(0, "a");
        assert_eq!(model.jobs[0].told.of("a"), Rates::default());
        model.cluster = Rates([100, 0, 0]);
        model.report_all();
        assert_eq!(model.jobs[0].told.of("a"), Rates([100, 0, 0]), "a limit counts at the next report");
        model.cluster = Rates::default();
        model.report_all();
        assert_eq!(model.jobs[0].told.of("a"), Rates::default());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Grant(usize, u8),
        Report(usize, u8),
        Lapse(usize, u8),
        JobLimit(usize, [u64; KINDS]),
        ClusterLimit([u64; KINDS]),
    }

    fn limit() -> impl Strategy<Value = [u64; KINDS]> {
        let one = || prop_oneof![Just(0_u64), 10_000..1_000_000_u64];
        (one(), one(), one()).prop_map(|(rows, bytes, requests)| [rows, bytes, requests])
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = || (0_usize..3, 0_u8..6);
        prop_oneof![
            3 => place().prop_map(|(job, worker)| Step::Grant(job, worker)),
            4 => place().prop_map(|(job, worker)| Step::Report(job, worker)),
            2 => place().prop_map(|(job, worker)| Step::Lapse(job, worker)),
            1 => (0_usize..3, limit()).prop_map(|(job, limit)| Step::JobLimit(job, limit)),
            1 => limit().prop_map(Step::ClusterLimit),
        ]
    }

    proptest! {
        #[test]
        fn the_shares_never_add_up_to_more_than_the_whole_and_are_the_whole_after_two_reports(
            steps in proptest::collection::vec(step(), 1..80)
        ) {
            let mut model = Model { jobs: vec![job(0, 1), job(0, 4), job(0, 16)], ..Model::default() };
            for step in steps {
                let before = model.sums();
                match step {
                    Step::Grant(job, worker) => model.grant(job, &worker.to_string()),
                    Step::Report(job, worker) => model.tell(job, &worker.to_string()),
                    Step::Lapse(job, worker) => model.lapse(job, &worker.to_string()),
                    Step::JobLimit(job, limit) => model.jobs[job].limit = Rates(limit),
                    Step::ClusterLimit(limit) => model.cluster = Rates(limit),
                }
                for ((limit, told), (_, told_before)) in model.sums().into_iter().zip(before) {
                    prop_assert!(limit == 0 || told <= limit.max(told_before), "{told} of {limit} are told: {model:?}");
                }
            }
            model.report_all();
            model.report_all();
            for kind in 0..KINDS {
                let told = |job: &ModelJob| job.told.sum().0[kind];
                let held: Vec<&ModelJob> = model.jobs.iter().filter(|job| !job.leases.is_empty()).collect();
                let cluster = model.cluster.0[kind];
                let own = held.iter().map(|job| job.limit.0[kind]);
                let asked = own.clone().map(|own| if own == 0 { u64::MAX } else { own }).fold(0, u64::saturating_add);
                let whole = if cluster == 0 { u64::MAX } else { cluster }.min(asked);
                let all: u64 = held.iter().map(|job| told(job)).sum();
                if !held.is_empty() && whole < u64::MAX {
                    let unlimited = cluster == 0 && own.into_iter().any(|own| own == 0);
                    prop_assert!(unlimited || (all <= whole && all + 18 >= whole), "{all} of {whole} in {model:?}");
                }
            }
        }
    }
}
