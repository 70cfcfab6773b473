//! How leases end: completions, lapses, failures, returns.

use ringvault_proto::{
    error::{ErrorKind, Failure, Verdict},
    v1::{self, JobState},
};

use super::{
    Core,
    actions::pause_ms,
    assignment::{Assignment, Hold, Standing, parse_id},
    event::{Answer, Now, Output, ReplyId},
    job::{Context, Job},
    ms,
};
use crate::record::WorkKind;

impl Core {
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
        assignment.zip(lease).is_some_and(|(assignment, lease)| assignment.has_failed(lease.epoch))
    }

    /// A worker gives assignments back unharmed.
    pub(super) fn give_back(&mut self, reply: ReplyId, request: &v1::ReturnRequest, out: &mut Output) {
        self.take_back(Some(&request.worker_id), &request.leases, out);
        if request.leaving {
            self.dismiss(&request.worker_id, out);
            self.jobs.values_mut().for_each(|job| job.release_all_of(&request.worker_id, out));
        }
        out.answer(reply, Answer::Noted);
    }

    /// Puts current leases back into the queue; the worker is not asked for where the answer never reached it.
    pub(super) fn take_back(&mut self, worker: Option<&str>, leases: &[v1::LeaseId], out: &mut Output) {
        for lease in leases {
            let Some((id, ordinal)) = parse_id(&lease.assignment_id) else { continue };
            let Some(job) = self.jobs.get_mut(id).filter(|job| job.is_active()) else { continue };
            let current = job.assignments.get(&ordinal).is_some_and(|assignment| match &assignment.hold {
                Hold::Leased(held) => {
                    assignment.epoch() == lease.epoch && worker.is_none_or(|worker| worker == held.worker)
                }
                Hold::Queued { .. } | Hold::Done => false,
            });
            if current {
                job.set_hold(ordinal, Hold::WAITING, out);
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
    /// Takes lapsed leases away.
    pub(super) fn expire(&mut self, ctx: &Context<'_>, out: &mut Output) {
        let lapsed = |ordinal: &u32| {
            let assignment = self.assignments.get(ordinal)?;
            let Hold::Leased(lease) = &assignment.hold else { return None };
            // Work without rows shows no counts while it goes on, and what waits for a node has said so.
            let silent = assignment.kind().is_silent() || !lease.progress.waiting.is_empty();
            let stall_ms = ms(ctx.settings.no_progress_timeout);
            let stall_ms = if silent { stall_ms.saturating_add(self.patience_ms()) } else { stall_ms };
            let stalled = ctx.now.ms.saturating_sub(lease.progress_ms) > stall_ms;
            (ctx.now.ms >= lease.deadline_ms || stalled).then(|| (*ordinal, lease.worker.clone(), stalled))
        };
        for (ordinal, worker, stalled) in self.leased.iter().filter_map(lapsed).collect::<Vec<_>>() {
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
        out.tally.lapses += 1;
        self.note_failure(ordinal, out);
        self.set_hold(ordinal, Hold::WAITING, out);
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
            self.set_hold(ordinal, Hold::WAITING, out);
            return;
        }
        if self.doubt(ordinal, &failure, out) {
            return;
        }
        let Some(assignment) = self.assignments.get_mut(&ordinal) else { return };
        assignment.count_attempt();
        let attempts = assignment.attempts();
        let first_look = matches!(assignment.kind(), WorkKind::Inspect | WorkKind::Preflight);
        let attempts_max = if first_look { ctx.settings.first_look_attempts_max } else { ctx.settings.attempts_max };
        let pause = pause_ms(ctx.settings, attempts, &self.id, ordinal);
        self.troubles.insert(ordinal, failure.clone());
        self.note_failure(ordinal, out);
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

    /// An attempt of an assignment came to nothing.
    fn note_failure(&mut self, ordinal: u32, out: &mut Output) {
        out.tally.retries += 1;
        let table = self.assignments.get(&ordinal).and_then(Assignment::table);
        if let Some(table) = table.and_then(|table| self.tables.get_mut(&table)) {
            table.counts.failures += 1;
        }
    }

    fn release_all_of(&mut self, worker: &str, out: &mut Output) {
        if !self.holders.contains_key(worker) {
            return;
        }
        let held = |ordinal: &&u32| match self.assignments.get(ordinal).map(|assignment| &assignment.hold) {
            Some(Hold::Leased(lease)) => lease.worker == worker,
            Some(Hold::Queued { .. } | Hold::Done) | None => false,
        };
        for ordinal in self.leased.iter().filter(held).copied().collect::<Vec<_>>() {
            self.set_hold(ordinal, Hold::WAITING, out);
        }
    }
}
