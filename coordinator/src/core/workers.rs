//! Who attends, what they can reach, and whether they see a job's repository.
//!
//! A worker attends as long as it reports within the TTL. Before its first lease of a job it must read back the nonce
//! that stands in the job's repository: two machines may both have a `/mnt/bk` and mean different disks.

use std::collections::BTreeSet;

use ringvault_proto::{
    error::{ErrorKind, Failure, Verdict},
    v1,
};

use super::{
    Core,
    assignment::{Standing, parse_id},
    event::{Answer, Now, Output, ReplyId},
    job::{Context, Job},
    ms,
};

/// How long an unanswered probe is believed to be under way, in ms.
const PROBE_PATIENCE_MS: u64 = 5000;

/// How long a failed proof stands before it is asked for again, in ms.
const PROOF_RETRY_MS: u64 = 5000;

/// Longest wait of a poll, in ms.
pub(crate) const POLL_MS_MAX: u64 = 30_000;

/// A worker that attends.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(super) hello: v1::WorkerHello,
    /// Of its newest report.
    pub(super) sequence: u64,
    /// As it reported last.
    pub(super) draining: bool,
    /// It was ordered to drain, or to work again, and has not reported that it does.
    pub(super) ordered: Option<bool>,
    pub(super) reported_ms: u64,
    pub(super) reported_unix_ms: u64,
    /// The number of its poll, where it waits.
    pub(super) poll: Option<u64>,
}

impl Worker {
    /// Whether it can do work of jobs of that cluster.
    pub(super) fn serves(&self, cluster: &str) -> bool {
        !self.drains() && self.hello.clusters.iter().any(|name| name == cluster)
    }

    /// Whether it takes no more work.
    fn drains(&self) -> bool {
        self.ordered.unwrap_or(self.draining)
    }

    /// It is to take no more work, or to work again; it is told in the answers to its reports until it says that it does.
    pub(super) fn order_drain(&mut self, drain: bool) {
        // an order that is under way still has to be overtaken
        self.ordered = (self.ordered.is_some() || self.draining != drain).then_some(drain);
    }
}

/// A worker that waits for work.
#[derive(Clone, Debug)]
pub(crate) struct Poll {
    pub(super) reply: ReplyId,
    pub(super) worker: String,
    pub(super) assignments_max: usize,
    pub(super) asked_ms: u64,
    pub(super) until_ms: u64,
}

/// What a worker said of a job's nonce.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Proof {
    /// It was asked, in monotonic ms.
    Asked { at_ms: u64 },
    /// It read the nonce.
    Given,
    /// It did not, in monotonic ms.
    Failed { at_ms: u64, failure: Failure },
}

impl Core {
    /// One report renews all leases of a worker.
    pub(super) fn report(&mut self, now: Now, reply: ReplyId, report: v1::AttendRequest, out: &mut Output) {
        let Some(hello) = report.hello else {
            let failure = Failure::new(ErrorKind::Invalid, "the first report of a stream carries no hello; add it");
            out.answer(reply, Answer::Refused(failure));
            return;
        };
        let worker_id = hello.worker_id.clone();
        let known = self.workers.get(&worker_id);
        let (ordered, poll) = known.map_or((None, None), |known| (known.ordered, known.poll));
        // A late report renews what it names, but what it says of the worker is no longer so.
        let newer = known.filter(|known| known.sequence > report.sequence);
        let sequence = newer.map_or(report.sequence, |newer| newer.sequence);
        let draining = newer.map_or(report.draining, |newer| newer.draining);
        let ordered = ordered.filter(|drain| *drain != draining);
        let worker =
            Worker { hello, sequence, draining, ordered, reported_ms: now.ms, reported_unix_ms: now.unix_ms, poll };
        self.workers.insert(worker_id.clone(), worker);
        let ttl_ms = ms(self.settings.lease_ttl);
        let (ctx, jobs) = self.split(now);
        let (mut renewed, mut lost) = (Vec::new(), Vec::new());
        for progress in report.leases {
            let Some(lease) = progress.lease.clone() else { continue };
            let job = parse_id(&lease.assignment_id).and_then(|(id, ordinal)| Some((jobs.get_mut(id)?, ordinal)));
            let current = job.is_some_and(|(job, ordinal)| job.renew(ordinal, &worker_id, progress, &ctx, out));
            if current { renewed.push(lease) } else { lost.push(lease) }
        }
        let of: BTreeSet<&str> =
            renewed.iter().filter_map(|lease| parse_id(&lease.assignment_id)).map(|(job, _)| job).collect();
        let allowances = of.into_iter().filter_map(|job| self.allow(job, &worker_id)).collect();
        let answer = v1::AttendResponse {
            acknowledged: report.sequence,
            lease_ttl_ms: ttl_ms,
            renewed,
            lost,
            drain: ordered == Some(true),
            undrain: ordered == Some(false),
            allowances,
        };
        out.answer(reply, Answer::Attended(answer));
    }

    /// A worker asks for work: it gets some, or waits.
    pub(super) fn poll(&mut self, now: Now, reply: ReplyId, request: v1::LeaseRequest, out: &mut Output) {
        let Some(worker) = self.workers.get_mut(&request.worker_id) else {
            let failure = Failure::new(
                ErrorKind::Unavailable,
                format!("worker {} is not known here; attend first, then ask again", request.worker_id),
            );
            out.answer(reply, Answer::Refused(failure));
            return;
        };
        worker.reported_ms = now.ms;
        let (ctx, jobs) = self.split(now);
        for proof in request.proofs {
            if let Some(job) = jobs.get_mut(&proof.job_id) {
                job.take_proof(&request.worker_id, proof, &ctx, out);
            }
        }
        self.drop_poll(&request.worker_id, out);
        self.polled += 1;
        let poll = Poll {
            reply,
            worker: request.worker_id,
            assignments_max: usize::try_from(request.assignments_max).unwrap_or(usize::MAX),
            asked_ms: now.ms,
            until_ms: now.ms + request.wait_ms.min(POLL_MS_MAX),
        };
        if let Some(worker) = self.workers.get_mut(&poll.worker) {
            worker.poll = Some(self.polled);
        }
        self.polls.insert(self.polled, poll);
        self.serve_poll(self.polled, now, out);
    }

    /// Answers the earlier poll of a worker that asked again: it has given that one up.
    fn drop_poll(&mut self, worker: &str, out: &mut Output) {
        let number = self.workers.get_mut(worker).and_then(|worker| worker.poll.take());
        if let Some(poll) = number.and_then(|number| self.polls.remove(&number)) {
            out.answer(poll.reply, Answer::Leased(v1::LeaseResponse::default()));
        }
    }

    /// Answers those polls for which there is work or a question, and those that waited long enough.
    pub(super) fn serve_polls(&mut self, now: Now, out: &mut Output) {
        for number in self.polls.keys().copied().collect::<Vec<_>>() {
            self.serve_poll(number, now, out);
        }
    }

    /// Answers polls as long as there is work.
    pub(super) fn fill_room(&mut self, now: Now, out: &mut Output) {
        let mut next = 0;
        while let Some(number) = self.polls.range(next..).next().map(|(number, _)| *number) {
            if !self.has_room() {
                return;
            }
            self.serve_poll(number, now, out);
            next = number + 1;
        }
    }

    fn serve_poll(&mut self, number: u64, now: Now, out: &mut Output) {
        let Some(poll) = self.polls.get(&number).cloned() else { return };
        let probes = self.probes(now, &poll.worker);
        let assignments = self.grant(now, &poll, out);
        if probes.is_empty() && assignments.is_empty() && now.ms < poll.until_ms {
            return;
        }
        self.polls.remove(&number);
        if let Some(worker) = self.workers.get_mut(&poll.worker) {
            worker.poll = None;
        }
        out.answer(
            poll.reply,
            Answer::Leased(v1::LeaseResponse { assignments, probes, waited_ms: now.ms - poll.asked_ms }),
        );
    }

    /// What a worker is to read before it gets work.
    fn probes(&mut self, now: Now, worker_id: &str) -> Vec<v1::Probe> {
        let Some(worker) = self.workers.get(worker_id) else { return Vec::new() };
        let mut probes = Vec::new();
        for id in &self.active {
            let Some(job) = self.jobs.get_mut(id).filter(|job| worker.serves(job.cluster())) else { continue };
            let Some((_, object)) = &job.run.nonce else { continue };
            let due = match job.proofs.get(worker_id) {
                None => true,
                Some(Proof::Asked { at_ms }) => now.ms >= at_ms + PROBE_PATIENCE_MS,
                Some(Proof::Failed { at_ms, .. }) => now.ms >= at_ms + PROOF_RETRY_MS,
                Some(Proof::Given) => false,
            };
            if !due {
                continue;
            }
            let (job_id, repository) = (job.id.clone(), job.repository().to_owned());
            probes.push(v1::Probe { job_id, repository, object: object.clone() });
            // A failed proof stands until the next answer, so that judging doesn't take it for an open question.
            if !matches!(job.proofs.get(worker_id), Some(Proof::Failed { .. })) {
                job.proofs.insert(worker_id.to_owned(), Proof::Asked { at_ms: now.ms });
            } else if let Some(Proof::Failed { at_ms, .. }) = job.proofs.get_mut(worker_id) {
                *at_ms = now.ms;
            }
        }
        probes
    }

    /// Workers that did not report within the TTL do not attend; their leases lapse by themselves.
    pub(super) fn forget_absent_workers(&mut self, now: Now) {
        let ttl_ms = ms(self.settings.lease_ttl);
        let attends = |worker: &Worker| now.ms.saturating_sub(worker.reported_ms) <= ttl_ms || worker.poll.is_some();
        self.workers.retain(|_, worker| attends(worker));
    }

    /// A worker ends.
    pub(super) fn dismiss(&mut self, worker_id: &str, out: &mut Output) {
        self.drop_poll(worker_id, out);
        self.workers.remove(worker_id);
    }

    /// The workers that attend, by name.
    pub(crate) fn workers(&self) -> Vec<v1::Worker> {
        let mut workers: Vec<v1::Worker> =
            self.workers.iter().map(|(id, worker)| self.describe_worker(id, worker)).collect();
        workers.sort_by(|a, b| (&a.name, &a.worker_id).cmp(&(&b.name, &b.worker_id)));
        workers
    }

    pub(super) fn describe_worker(&self, id: &str, worker: &Worker) -> v1::Worker {
        let active = || self.active.iter().filter_map(|job| self.jobs.get(job));
        let busy: u32 = active().filter_map(|job| job.holders.get(id)).sum();
        let notes = active().filter_map(|job| match job.proofs.get(id) {
            Some(Proof::Failed { failure, .. }) => Some(failure.message.clone()),
            Some(Proof::Given | Proof::Asked { .. }) | None => None,
        });
        v1::Worker {
            worker_id: id.to_owned(),
            name: worker.hello.name.clone(),
            data_center: worker.hello.data_center.clone(),
            slots: worker.hello.slots,
            slots_busy: busy,
            clusters: worker.hello.clusters.clone(),
            last_report_unix_ms: worker.reported_unix_ms,
            draining: worker.drains(),
            version: worker.hello.version.clone(),
            notes: notes.collect(),
        }
    }
}

impl Job {
    /// Renews a lease, if it still is that worker's.
    fn renew(
        &mut self,
        ordinal: u32,
        worker: &str,
        progress: v1::LeaseProgress,
        ctx: &Context<'_>,
        out: &mut Output,
    ) -> bool {
        let Some(epoch) = progress.lease.as_ref().map(|lease| lease.epoch) else { return false };
        let active = self.is_active();
        let Some(assignment) = self.assignments.get(&ordinal) else { return false };
        if !active || assignment.standing(worker, epoch) != Standing::Current {
            return false;
        }
        let silent = assignment.kind().is_silent();
        let went_on = self.with_lease(ordinal, |lease| {
            lease.deadline_ms = ctx.now.ms + ms(ctx.settings.lease_ttl);
            let seen = |progress: &v1::LeaseProgress| (progress.rows, progress.encoded_bytes);
            // What shows no counts, as the building of an index, tells how far it is in words.
            let told = silent && progress.waiting != lease.progress.waiting;
            let went_on = told || seen(&progress) != seen(&lease.progress);
            if went_on {
                lease.progress_ms = ctx.now.ms;
            }
            lease.progress = progress;
            went_on
        });
        if went_on == Some(true) {
            self.progressed_ms = ctx.now.ms;
        }
        self.note_shown(ordinal);
        self.live(ctx.now, out);
        true
    }

    /// Whether a worker may have work of the job.
    pub(super) fn is_proven(&self, worker: &str) -> bool {
        self.is_dry_run() || self.proofs.get(worker) == Some(&Proof::Given)
    }

    /// A worker says what it read.
    fn take_proof(&mut self, worker_id: &str, proof: v1::Proof, ctx: &Context<'_>, out: &mut Output) {
        let Some((nonce, _)) = self.run.nonce.as_ref().filter(|_| self.proofs.get(worker_id) != Some(&Proof::Given))
        else {
            return;
        };
        let name = ctx.workers.get(worker_id).map_or(worker_id, |worker| worker.hello.name.as_str());
        let name = if name.is_empty() { worker_id } else { name };
        if proof.failure.is_none() && proof.nonce == *nonce {
            self.proofs.insert(worker_id.to_owned(), Proof::Given);
            return;
        }
        let repository = self.repository();
        let failure = match proof.failure.map(Failure::from).filter(|failure| failure.kind != ErrorKind::NotFound) {
            Some(failure) => {
                Failure::new(failure.kind, format!("worker {name} can't read {repository}: {}", failure.message))
            }
            None => Failure::new(
                ErrorKind::Conflict,
                format!("worker {name} does not see {repository}: not a shared mount?"),
            ),
        };
        self.warn(failure.message.clone(), out);
        self.proofs.insert(worker_id.to_owned(), Proof::Failed { at_ms: ctx.now.ms, failure });
        self.judge_workers(ctx, out);
    }

    /// Fails the job where no worker can do its work: at once where each of them said why for good, else after a while.
    pub(super) fn judge_workers(&mut self, ctx: &Context<'_>, out: &mut Output) {
        if self.undone == 0 || !self.leased.is_empty() {
            self.starving_since_ms = None;
            return;
        }
        let mut failures = Vec::new();
        let mut serving = 0;
        for (id, _) in ctx.workers.iter().filter(|(_, worker)| worker.serves(self.cluster())) {
            serving += 1;
            if let Some(Proof::Failed { failure, .. }) = self.proofs.get(id) {
                failures.push(failure.clone());
            }
        }
        if serving > failures.len() {
            self.starving_since_ms = None;
            return;
        }
        let since = *self.starving_since_ms.get_or_insert(ctx.now.ms);
        let over = ctx.now.ms.saturating_sub(since) >= self.patience_ms();
        let reasons: Vec<&str> = failures.iter().map(|failure| failure.message.as_str()).collect();
        let for_good = !failures.is_empty() && failures.iter().all(|failure| failure.kind.verdict() == Verdict::Stop);
        if for_good || (over && !failures.is_empty()) {
            let kind = failures[0].kind;
            self.fail_with(kind, reasons.join("; "), ctx, out);
        } else if over {
            let message = format!(
                "no worker that knows cluster {} attended for {} s; start one that has this profile, then submit again",
                self.cluster(),
                self.patience_ms() / 1000
            );
            self.fail_with(ErrorKind::Unavailable, message, ctx, out);
        } else {
            out.changed.insert(self.id.clone());
        }
    }

    /// Slots of the workers that can do its work; at least one.
    pub(super) fn slots(&self, ctx: &Context<'_>) -> u32 {
        let serving = ctx.workers.values().filter(|worker| worker.serves(self.cluster()));
        serving.fold(0_u32, |slots, worker| slots.saturating_add(worker.hello.slots)).max(1)
    }
}
