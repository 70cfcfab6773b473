//! Who holds what: grants, lapses, failures, returns.

use prost::Message;
use ringvault_proto::{
    error::{ErrorKind, Failure, Verdict},
    v1::{self, JobState},
};

use super::{
    Core,
    actions::pause_ms,
    assignment::{Hold, Lease, Standing, parse_id},
    event::{Answer, Now, Output, ReplyId},
    job::{Context, Job},
    ms,
    workers::Poll,
};
use crate::record::WorkKind;

/// Assignments of one answer at most: a bound on its length.
const GRANTS_MAX: usize = 16;

/// No assignment is added to an answer that is as long as this: the longest has 3 MiB, and a message 4.
const GRANTED_BYTES_AIM: usize = 512 << 10;

impl Core {
    /// Grants work to a worker: of the job with the fewest leases first, of the oldest among those.
    pub(super) fn grant(&mut self, now: Now, poll: &Poll, out: &mut Output) -> Vec<v1::Assignment> {
        let Some(worker) = self.workers.get(&poll.worker).cloned() else { return Vec::new() };
        let slots = usize::try_from(worker.hello.slots).unwrap_or(usize::MAX);
        let mut granted: Vec<v1::Assignment> = Vec::new();
        let mut bytes = 0;
        while granted.len() < poll.assignments_max.min(slots).min(GRANTS_MAX) && bytes < GRANTED_BYTES_AIM {
            let (ctx, jobs) = self.split(now);
            let able = |job: &&mut Job| {
                job.is_active()
                    && worker.serves(job.cluster())
                    && job.is_proven(&poll.worker)
                    && job.next(&ctx).is_some()
            };
            let Some(job) = jobs.values_mut().filter(able).min_by_key(|job| (job.leased.len(), job.record.sequence))
            else {
                break;
            };
            let next = job.grant_next(&poll.worker, &ctx, out);
            bytes += next.as_ref().map_or(0, Message::encoded_len);
            granted.extend(next);
        }
        granted
    }

    /// Finds whose lease it is. Unknown ones are as stale as old ones.
    fn standing(&self, worker: &str, lease: Option<&v1::LeaseId>) -> (Standing, Option<(String, u32)>) {
        let found = lease.and_then(|lease| {
            let (id, ordinal) = parse_id(&lease.assignment_id)?;
            let job = self.jobs.get(id)?;
            let standing = match job.record.state() {
                // Every piece of it was recorded, so this can only be a repetition.
                JobState::Done => Standing::Ended,
                _ if !job.is_active() => Standing::Stale,
                _ => job.assignments.get(&ordinal)?.standing(worker, lease.epoch),
            };
            Some((standing, Some((id.to_owned(), ordinal))))
        });
        found.unwrap_or((Standing::Stale, None))
    }

    /// A worker finished pieces of an assignment.
    pub(super) fn complete(&mut self, now: Now, reply: ReplyId, request: v1::CompleteRequest, out: &mut Output) {
        let answer = match self.standing(&request.worker_id, request.lease.as_ref()) {
            (Standing::Ended, _) => Answer::Completed(v1::CompleteResponse { ended: true }),
            (Standing::Current, Some((id, ordinal))) => {
                let (ctx, jobs) = self.split(now);
                let job = jobs.get_mut(&id).expect("found above");
                match job.complete(ordinal, request, &ctx, out) {
                    Ok(ended) => Answer::Completed(v1::CompleteResponse { ended }),
                    Err(failure) => Answer::Refused(failure),
                }
            }
            (Standing::Stale | Standing::Current, _) => Answer::Refused(fenced(request.lease.as_ref())),
        };
        out.answer(reply, answer);
    }

    /// A worker can't finish an assignment.
    pub(super) fn fail(&mut self, now: Now, reply: ReplyId, request: v1::FailRequest, out: &mut Output) {
        let (standing, place) = self.standing(&request.worker_id, request.lease.as_ref());
        let answer = match (standing, place) {
            (Standing::Current, Some((id, ordinal))) => {
                let (ctx, jobs) = self.split(now);
                let failure = request.failure.map(Failure::from);
                let failure = failure.unwrap_or_else(|| Failure::new(ErrorKind::Internal, "the worker gave no reason"));
                let job = jobs.get_mut(&id).expect("found above");
                job.attempt_failed(ordinal, failure, &ctx, out);
                Answer::Noted
            }
            (Standing::Ended, _) => Answer::Noted,
            (_, Some((id, ordinal))) if self.is_repeated_failure(&id, ordinal, request.lease.as_ref()) => Answer::Noted,
            (Standing::Stale | Standing::Current, _) => Answer::Refused(fenced(request.lease.as_ref())),
        };
        out.answer(reply, answer);
    }

    fn is_repeated_failure(&self, job: &str, ordinal: u32, lease: Option<&v1::LeaseId>) -> bool {
        let assignment = self.jobs.get(job).and_then(|job| job.assignments.get(&ordinal));
        assignment.is_some_and(|assignment| {
            assignment
                .failed_epoch
                .is_some_and(|epoch| lease.is_some_and(|lease| lease.epoch == epoch) && assignment.epoch() == epoch)
        })
    }

    /// A worker gives assignments back unharmed.
    pub(super) fn give_back(&mut self, now: Now, reply: ReplyId, request: &v1::ReturnRequest, out: &mut Output) {
        self.take_back(now, Some(&request.worker_id), &request.leases, out);
        if request.leaving {
            self.dismiss(&request.worker_id, out);
            let (_, jobs) = self.split(now);
            jobs.values_mut().for_each(|job| job.release_all_of(&request.worker_id, out));
        }
        out.answer(reply, Answer::Noted);
    }

    /// Puts current leases back into the queue; the worker is not asked for where the answer never reached it.
    pub(super) fn take_back(&mut self, now: Now, worker: Option<&str>, leases: &[v1::LeaseId], out: &mut Output) {
        let (_, jobs) = self.split(now);
        for lease in leases {
            let Some((id, ordinal)) = parse_id(&lease.assignment_id) else { continue };
            let Some(job) = jobs.get_mut(id).filter(|job| job.is_active()) else { continue };
            let current = job.assignments.get(&ordinal).is_some_and(|assignment| match &assignment.hold {
                Hold::Leased(held) => {
                    assignment.epoch() == lease.epoch && worker.is_none_or(|worker| worker == held.worker)
                }
                Hold::Queued { .. } | Hold::Done => false,
            });
            if current {
                job.set_hold(ordinal, Hold::Queued { not_before_ms: 0 }, out);
            }
        }
    }
}

fn fenced(lease: Option<&v1::LeaseId>) -> Failure {
    let (id, epoch) = lease.map_or(("", 0), |lease| (lease.assignment_id.as_str(), lease.epoch));
    Failure::new(
        ErrorKind::Fenced,
        format!(
            "assignment {id} is no longer held under epoch {epoch}: another does it, or its job has ended; abandon it"
        ),
    )
}

impl Job {
    /// The assignment to be leased next.
    pub(super) fn next(&self, ctx: &Context<'_>) -> Option<u32> {
        if !self.is_ready() {
            return None;
        }
        let ready = |ordinal: &&u32| match self.assignments.get(ordinal).map(|assignment| &assignment.hold) {
            Some(Hold::Queued { not_before_ms }) => *not_before_ms <= ctx.now.ms,
            Some(Hold::Leased(_) | Hold::Done) | None => false,
        };
        if let Some(ordinal) = self.loose.iter().find(ready) {
            return Some(*ordinal);
        }
        if !self.are_tables_ready() {
            return None;
        }
        let open =
            self.tables.values().filter(|table| table.undone > 0 && table.doubt.is_none()).take(self.tables_parallel());
        let leased = |table: &&super::table::Table| {
            table.undone - u32::try_from(table.queued.len()).unwrap_or(table.undone).min(table.undone)
        };
        let mut open: Vec<_> = open.filter(|table| !table.queued.is_empty()).collect();
        open.sort_by_key(leased);
        open.into_iter().find_map(|table| table.queued.iter().find(ready).copied())
    }

    /// Leases the next assignment; nothing where it turned out that nothing of it is left.
    fn grant_next(&mut self, worker: &str, ctx: &Context<'_>, out: &mut Output) -> Option<v1::Assignment> {
        let ordinal = self.next(ctx)?;
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
        let assignment = self.assignments.get_mut(&ordinal)?;
        assignment.grant(run, lease.clone());
        self.set_hold(ordinal, Hold::Leased(lease), out);
        self.live(ctx.now, out);
        Some(self.assignment_message(ordinal, ctx))
    }

    fn assignment_message(&self, ordinal: u32, ctx: &Context<'_>) -> v1::Assignment {
        let assignment = &self.assignments[&ordinal];
        let sharing = u64::from(self.slots(ctx)).min(u64::try_from(self.undone).unwrap_or(u64::MAX)).max(1);
        let share = |whole: u64| if whole == 0 { 0 } else { (whole / sharing).max(1) };
        let terms = self.terms();
        v1::Assignment {
            lease: Some(assignment.id()),
            job_id: self.id.clone(),
            attempt: assignment.attempts(),
            lease_ttl_ms: ms(ctx.settings.lease_ttl),
            cluster: self.cluster().to_owned(),
            repository: self.repository().to_owned(),
            allowance: Some(v1::Allowance {
                job_id: self.id.clone(),
                pace: terms.pace,
                rows_per_second_max: share(terms.rows_per_second_max),
                bytes_per_second_max: share(terms.bytes_per_second_max),
                requests_per_node_max: 0.0,
            }),
            trace_parent: String::new(),
            patience_ms: self.patience_ms(),
            work: Some(match self.backup_spec() {
                Some(spec) => self.backup_work(assignment, spec),
                None => self.restore_work(assignment),
            }),
        }
    }

    /// Takes lapsed leases away.
    pub(super) fn expire(&mut self, ctx: &Context<'_>, out: &mut Output) {
        for ordinal in self.leased.clone() {
            let Some(assignment) = self.assignments.get_mut(&ordinal) else { continue };
            let Hold::Leased(lease) = &assignment.hold else { continue };
            // Work without rows shows no counts while it goes on, and what waits for a node has said so.
            let silent = assignment.kind().is_silent() || !lease.progress.waiting.is_empty();
            let stall_ms = ms(ctx.settings.no_progress_timeout);
            let (worker, deadline_ms, progress_ms) = (lease.worker.clone(), lease.deadline_ms, lease.progress_ms);
            let stall_ms = if silent { stall_ms.saturating_add(self.patience_ms()) } else { stall_ms };
            let stalled = ctx.now.ms.saturating_sub(progress_ms) > stall_ms;
            if ctx.now.ms < deadline_ms && !stalled {
                continue;
            }
            let name = ctx.workers.get(&worker).map_or(worker, |worker| worker.hello.name.clone());
            self.lapse(ordinal, &name, stalled, ctx, out);
            if !self.is_active() {
                return;
            }
        }
    }

    fn lapse(&mut self, ordinal: u32, worker: &str, stalled: bool, ctx: &Context<'_>, out: &mut Output) {
        let Some(assignment) = self.assignments.get_mut(&ordinal) else { return };
        assignment.count_lapse();
        let lapses = assignment.lapses();
        self.set_hold(ordinal, Hold::Queued { not_before_ms: 0 }, out);
        let why = if stalled { "made no progress" } else { "stopped reporting" };
        if lapses >= ctx.settings.lapses_max {
            let message = format!(
                "{}: {lapses} workers in turn lost it; the last one, {worker}, {why}; look at the workers' logs",
                self.describe(ordinal)
            );
            self.fail_with(ErrorKind::Unavailable, message, ctx, out);
        }
    }

    /// A holder gave up.
    fn attempt_failed(&mut self, ordinal: u32, failure: Failure, ctx: &Context<'_>, out: &mut Output) {
        let what = self.describe(ordinal);
        let verdict = failure.kind.verdict();
        if verdict == Verdict::Abandon {
            self.set_hold(ordinal, Hold::Queued { not_before_ms: 0 }, out);
            return;
        }
        if self.doubt(ordinal, &failure, out) {
            return;
        }
        let Some(assignment) = self.assignments.get_mut(&ordinal) else { return };
        assignment.count_attempt(failure.clone());
        let attempts = assignment.attempts();
        let first_look = matches!(assignment.kind(), WorkKind::Inspect | WorkKind::Preflight);
        let attempts_max = if first_look { ctx.settings.first_look_attempts_max } else { ctx.settings.attempts_max };
        let pause = pause_ms(ctx.settings, attempts, &self.id, ordinal);
        self.set_hold(ordinal, Hold::Queued { not_before_ms: ctx.now.ms + pause }, out);
        let named = match self.assignments[&ordinal].table().and_then(|table| self.tables.get(&table)) {
            Some(table) if !failure.message.contains(&table.full_name()) => format!("{what}: {}", failure.message),
            Some(_) | None => failure.message,
        };
        let rechecked = self.assignments[&ordinal].kind() == WorkKind::Recheck;
        let named = match failure.kind {
            ErrorKind::NotFound if rechecked => format!("it was dropped while it was backed up: {named}"),
            _ => named,
        };
        match verdict {
            Verdict::Stop => self.fail_with(failure.kind, named, ctx, out),
            Verdict::Retry if attempts >= attempts_max => {
                let message = format!("{what}: gave up after {attempts} attempts; the last one: {named}");
                self.fail_with(failure.kind, message, ctx, out);
            }
            Verdict::Retry | Verdict::Abandon => self.live(ctx.now, out),
        }
    }

    fn release_all_of(&mut self, worker: &str, out: &mut Output) {
        for ordinal in self.leased.clone() {
            let held = match self.assignments.get(&ordinal).map(|assignment| &assignment.hold) {
                Some(Hold::Leased(lease)) => lease.worker == worker,
                Some(Hold::Queued { .. } | Hold::Done) | None => false,
            };
            if held {
                self.set_hold(ordinal, Hold::Queued { not_before_ms: 0 }, out);
            }
        }
    }
}
