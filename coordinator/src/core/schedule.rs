//! Who gets what next.
//!
//! Between jobs: the one with the fewest leases for its weight; where that is equal, the one that was granted the least
//! for its weight since both want more, so that nobody starves even with one slot; then the oldest. Within a job: what is
//! at home in the worker's data centre, then at the node with the fewest leases, then of the table with the fewest.

use prost::Message;
use ringvault_proto::v1;

use super::{
    Core,
    allowance::{Asker, Party, Rates, share},
    assignment::{Hold, Lease},
    event::{Now, Output},
    job::{Context, Job},
    ms,
    terms::WEIGHT_MAX,
    workers::Poll,
};

/// Assignments of one answer at most: a bound on its length.
const GRANTS_MAX: usize = 16;

/// No assignment is added to an answer that is as long as this: the longest has 3 MiB, and a message 4.
const GRANTED_BYTES_AIM: usize = 512 << 10;

impl Core {
    /// Grants work to a worker.
    pub(super) fn grant(&mut self, now: Now, poll: &Poll, out: &mut Output) -> Vec<v1::Assignment> {
        let Some(worker) = self.workers.get(&poll.worker) else { return Vec::new() };
        let slots = usize::try_from(worker.hello.slots).unwrap_or(usize::MAX);
        let data_center = worker.hello.data_center.clone();
        let mut granted: Vec<v1::Assignment> = Vec::new();
        let mut bytes = 0;
        while granted.len() < poll.assignments_max.min(slots).min(GRANTS_MAX) && bytes < GRANTED_BYTES_AIM {
            let Some(id) = self.next_job(&poll.worker) else { break };
            let (ctx, jobs) = self.split(now);
            let Some(job) = jobs.get_mut(&id) else { break };
            let start = job.turn.pass;
            job.turn.pass += WEIGHT_MAX / job.weight();
            let next = job.grant_next(&poll.worker, &data_center, &ctx, out);
            self.pass = self.pass.max(start);
            if let Some(mut assignment) = next {
                assignment.allowance = self.allow(&id, &poll.worker);
                bytes += assignment.encoded_len();
                granted.push(assignment);
            }
        }
        granted
    }

    /// Whether any job has something to grant to somebody.
    pub(super) fn has_room(&self) -> bool {
        self.active.iter().filter_map(|id| self.jobs.get(id)).any(|job| job.is_open_to_somebody() && !self.is_full(job))
    }

    /// The job whose turn it is, of those that this worker may work for.
    fn next_job(&mut self, worker_id: &str) -> Option<String> {
        let worker = self.workers.get(worker_id)?;
        let ready = |id: &String| {
            let job = self.jobs.get(id)?;
            Some((id.clone(), job.is_open_to_somebody() && !self.is_full(job)))
        };
        let mut best: Option<((u64, u64, u64), String)> = None;
        for (id, ready) in self.active.iter().filter_map(ready).collect::<Vec<_>>() {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if ready && !job.turn.ready {
                job.turn.pass = job.turn.pass.max(self.pass);
            }
            job.turn.ready = ready;
            if !ready || !worker.serves(job.cluster()) || !job.is_proven(worker_id) || !job.admits(worker_id) {
                continue;
            }
            let leases = u64::try_from(job.leased.len()).unwrap_or(u64::MAX).saturating_mul(WEIGHT_MAX / job.weight());
            let key = (leases, job.turn.pass, job.record.sequence);
            if best.as_ref().is_none_or(|(least, _)| key < *least) {
                best = Some((key, id));
            }
        }
        best.map(|(_, id)| id)
    }

    /// Whether the cluster of a job bears no more leases.
    fn is_full(&self, job: &Job) -> bool {
        let max = usize::try_from(self.limits(job.cluster()).ranges_max).unwrap_or(usize::MAX);
        max > 0 && self.leases_of(job.cluster()) >= max
    }

    /// Leases of all jobs of a cluster.
    pub(super) fn leases_of(&self, cluster: &str) -> usize {
        let active = self.active.iter().filter_map(|id| self.jobs.get(id));
        active.filter(|job| job.cluster() == cluster).map(|job| job.leased.len()).sum()
    }

    /// What all jobs together may ask of a cluster: as it was set, else as the settings say.
    pub(super) fn limits(&self, cluster: &str) -> v1::ClusterLimits {
        self.limits.get(cluster).or_else(|| self.settings.clusters.get(cluster)).copied().unwrap_or_default()
    }

    /// Tells a worker its share of what a job may take; nothing where it holds no lease of it.
    pub(super) fn allow(&mut self, id: &str, worker: &str) -> Option<v1::Allowance> {
        let job = self.jobs.get(id)?;
        let leases = *job.holders.get(worker)?;
        let limits = self.limits(job.cluster());
        let cluster = Rates([
            limits.rows_per_second_max,
            limits.bytes_per_second_max,
            u64::from(limits.requests_per_node_max) * 1000,
        ]);
        let mut parties = vec![job.party()];
        let others = self.active.iter().filter(|other| *other != id).filter_map(|other| self.jobs.get(other));
        parties.extend(others.filter(|other| other.is_leased() && other.cluster() == job.cluster()).map(Job::party));
        let leases_all = u64::try_from(job.leased.len()).unwrap_or(u64::MAX);
        let asker = Asker { party: 0, leases: leases.into(), leases_all, before: job.told.of(worker) };
        let told = share(cluster, &parties, asker);
        let job = self.jobs.get_mut(id)?;
        job.told.tell(worker, told);
        let Rates([rows, bytes, requests]) = told;
        Some(v1::Allowance {
            job_id: id.to_owned(),
            pace: job.terms().pace,
            rows_per_second_max: rows,
            bytes_per_second_max: bytes,
            requests_per_node_max: f64::from(u32::try_from(requests).unwrap_or(u32::MAX)) / 1000.0,
        })
    }
}

impl Job {
    fn party(&self) -> Party {
        Party { limit: self.rates(), weight: self.weight(), told: self.told.sum() }
    }

    fn is_leased(&self) -> bool {
        !self.leased.is_empty()
    }

    /// Whether it has something to grant, and its own limit of leases is not reached.
    fn is_open_to_somebody(&self) -> bool {
        let ranges_max = self.record.spec.as_ref().map_or(0, |spec| spec.ranges_max);
        let below = ranges_max == 0 || u32::try_from(self.leased.len()).is_ok_and(|held| held < ranges_max);
        below && self.is_active() && self.is_ready() && self.offers().next().is_some()
    }

    /// What may be leased now, with its data centre and how busy its home and its table are: all without a table, then the
    /// first one of each home of each open table.
    fn offers(&self) -> impl Iterator<Item = Offer> + '_ {
        let loose = self.loose.iter().map(|ordinal| Offer { ordinal: *ordinal, ..Offer::default() });
        let are_ready = self.are_tables_ready();
        let open = self.open.iter().filter_map(|number| self.tables.get(number));
        let open = open.filter(move |table| are_ready && table.doubt.is_none()).take(self.tables_parallel());
        let shards = open.flat_map(|table| table.queued.fronts().map(|(home, ordinal)| (table.leased, home, ordinal)));
        loose.chain(shards.map(|(table_busy, home, ordinal)| Offer {
            home: home.and_then(|home| usize::try_from(home).ok()),
            home_busy: self.busy.get(&home).copied().unwrap_or(0),
            table_busy,
            ordinal,
        }))
    }

    /// The assignment that a worker of that data centre is to lease next.
    fn next(&self, data_center: &str) -> Option<u32> {
        if let Some(ordinal) = self.loose.first() {
            return Some(*ordinal);
        }
        let is_far = |offer: &Offer| {
            let home = offer.home.and_then(|home| self.record.homes.get(home));
            home.is_some_and(|home| !data_center.is_empty() && home.data_center != data_center)
        };
        let key = |offer: &Offer| (is_far(offer), offer.home_busy, offer.table_busy, offer.ordinal);
        self.offers().min_by_key(key).map(|offer| offer.ordinal)
    }

    /// Leases the next assignment; nothing where it turned out that nothing of it is left.
    fn grant_next(
        &mut self,
        worker: &str,
        data_center: &str,
        ctx: &Context<'_>,
        out: &mut Output,
    ) -> Option<v1::Assignment> {
        let ordinal = self.next(data_center)?;
        let Some(run) = self.next_run(ordinal, out) else {
            self.set_hold(ordinal, Hold::Done, out);
            self.advance(ctx, out);
            return None;
        };
        let lease = Lease {
            worker: worker.to_owned(),
            deadline_ms: ctx.now.ms + ms(ctx.settings.lease_ttl),
            progress_ms: ctx.now.ms,
            progress: v1::LeaseProgress::default(),
            rows_recorded: 0,
            bytes_recorded: 0,
        };
        self.assignments.get_mut(&ordinal)?.begin(run);
        self.set_hold(ordinal, Hold::Leased(Box::new(lease)), out);
        self.live(ctx.now, out);
        Some(self.assignment_message(ordinal, ctx))
    }

    /// An assignment as its holder is told, but for the allowance.
    fn assignment_message(&self, ordinal: u32, ctx: &Context<'_>) -> v1::Assignment {
        let assignment = &self.assignments[&ordinal];
        v1::Assignment {
            lease: Some(assignment.id(&self.id)),
            job_id: self.id.clone(),
            attempt: assignment.attempts(),
            lease_ttl_ms: ms(ctx.settings.lease_ttl),
            cluster: self.cluster().to_owned(),
            repository: self.repository().to_owned(),
            allowance: None,
            patience_ms: self.patience_ms(),
            trace_parent: self.record.trace_parent.clone(),
            work: Some(match self.backup_spec() {
                Some(spec) => self.backup_work(assignment, spec),
                None => self.restore_work(assignment),
            }),
        }
    }
}

/// An assignment that may be leased.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    /// Among the homes of its job.
    home: Option<usize>,
    home_busy: u32,
    table_busy: u32,
    ordinal: u32,
}
