//! Every decision of the coordinator, pure: `apply(now, event) → (changes, effects)`.
//!
//! - [`event`]: events, effects, answers
//! - [`job`], [`table`], [`assignment`]: what is known of a job; [`load`]: from the journal; [`hold`], [`queue`]: lists and
//!   counts of its assignments
//! - [`terms`]: what a job was told; [`actions`]: what a job wants done in its repository
//! - [`submit`]: which job a submission means; [`backup`], [`restore`]: how each kind of job goes on
//! - [`recheck`]: tables that change while they are dumped; [`target`]: what of a backup goes where; [`scrap`]: the end
//!   of a rehearsal
//! - [`workers`]: who attends, who sees which repository; [`schedule`]: who gets what next; [`allowance`]: how hard each may
//!   lean on the database; [`leases`]: how leases end; [`pieces`]: what is finished
//! - [`control`]: pause, drain, limits; [`progress`], [`rate`]: jobs as people see them; [`figures`]: all of it in numbers
//!
//! Invariants: an assignment has at most one current lease; a stale epoch changes nothing; a finished piece is recorded
//! once and never asked for again; a job is DONE only when every piece of it is recorded. All that must survive is a
//! `Change`, committed before any effect is performed.
//!
//! Deliberately absent: clock, chance, I/O, async. Ids and nonces come in with events.

mod actions;
mod allowance;
pub(crate) mod assignment;
mod backup;
mod control;
pub(crate) mod event;
pub(crate) mod figures;
mod hold;
pub(crate) mod job;
mod leases;
mod load;
mod pieces;
mod progress;
mod queue;
mod rate;
mod recheck;
mod restore;
mod schedule;
mod scrap;
mod submit;
pub(crate) mod table;
mod target;
mod terms;
#[cfg(any(test, feature = "bench"))]
#[cfg_attr(not(test), allow(dead_code))] // benchmarks need a part of it
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use ringvault_proto::v1;

pub(crate) use self::workers::POLL_MS_MAX;
use self::{
    event::{Event, Now, Output},
    figures::Tally,
    job::{Context, Job},
    workers::{Poll, Worker},
};
use crate::{
    plan::ring::Homes,
    record::{Change, SuccessRecord},
    settings::Settings,
};

/// Ended jobs that are remembered.
const JOBS_ENDED_MAX: usize = 500;

/// How often old jobs are looked through, in ms.
const SWEEP_EVERY_MS: u64 = 600_000;

/// All that a coordinator knows.
#[derive(Debug)]
pub(crate) struct Core {
    settings: Settings,
    jobs: BTreeMap<String, Job>,
    /// Jobs that go on by themselves.
    active: BTreeSet<String>,
    workers: BTreeMap<String, Worker>,
    /// Workers that wait for work, in the order in which they came.
    polls: BTreeMap<u64, Poll>,
    /// Number of the last poll.
    polled: u64,
    /// What was seen of clusters since the process began, by profile.
    rings: BTreeMap<String, Homes>,
    /// Limits that were set by a call, by profile.
    limits: BTreeMap<String, v1::ClusterLimits>,
    /// The newest complete backup by cluster and keyspace.
    successes: BTreeMap<(String, String), SuccessRecord>,
    tally: Tally,
    /// How far the turns of jobs have come: see [`schedule`].
    pass: u64,
    /// Number of the last submitted job.
    sequence: u64,
    /// Number of the last run of any job.
    runs: u64,
    sweep_at: u64,
}

impl Core {
    /// Takes one event in. What comes of it is added to `out`.
    pub(crate) fn apply(&mut self, now: Now, event: Event, out: &mut Output) {
        match event {
            Event::Submit(reply, submission) => self.submit(now, reply, *submission, out),
            Event::Cancel(reply, job) => self.cancel(now, reply, &job, out),
            Event::Report(reply, report) => self.report(now, reply, report, out),
            Event::Lease(reply, request) => self.poll(now, reply, request, out),
            Event::Pause(reply, job) => self.pause(now, reply, &job, out),
            Event::Resume(reply, job) => self.resume(now, reply, &job, out),
            Event::Update(reply, update) => self.update(now, reply, &update, out),
            Event::Drain(reply, request) => self.drain(reply, &request, out),
            Event::SetLimits(reply, request) => self.set_limits(reply, request, out),
            Event::Undelivered(leases) => self.take_back(None, &leases, out),
            Event::Complete(reply, request) => self.complete(now, reply, *request, out),
            Event::Fail(reply, request) => self.fail(now, reply, request, out),
            Event::Return(reply, request) => self.give_back(reply, &request, out),
            Event::Acted { job, run, outcome } => {
                let (ctx, jobs) = self.split(now);
                if let Some(job) = jobs.get_mut(&job) {
                    job.acted(run, outcome, &ctx, out);
                }
            }
            Event::Tick => self.tick(now, out),
        }
        self.settle(out);
        let (work, room) = (std::mem::take(&mut out.work), std::mem::take(&mut out.room));
        if work {
            self.serve_polls(now, out);
        } else if room {
            self.fill_room(now, out);
        }
        self.settle(out);
        (out.work, out.room) = (false, false);
    }

    /// Journals jobs whose record changed, and keeps what else came of an event.
    fn settle(&mut self, out: &mut Output) {
        for id in std::mem::take(&mut out.dirty) {
            let Some(job) = self.jobs.get(&id) else { continue };
            out.changes.push(Change::PutJob(Box::new(job.record.clone())));
            if job.is_active() {
                self.active.insert(id.clone());
            } else {
                self.active.remove(&id);
            }
            out.changed.insert(id);
        }
        self.take_counts(out);
    }

    /// Everything but the jobs, to be read while one of them changes.
    fn split(&mut self, now: Now) -> (Context<'_>, &mut BTreeMap<String, Job>) {
        let ctx = Context { now, settings: &self.settings, workers: &self.workers, rings: &self.rings };
        (ctx, &mut self.jobs)
    }

    fn tick(&mut self, now: Now, out: &mut Output) {
        self.forget_absent_workers(now);
        let (ctx, jobs) = self.split(now);
        for job in jobs.values_mut().filter(|job| job.is_active()) {
            job.wake(now.ms);
            job.expire(&ctx, out);
            job.take_rates(now.ms);
            job.judge_workers(&ctx, out);
            job.advance(&ctx, out);
        }
        out.work = true;
        if now.ms >= self.sweep_at {
            self.sweep_at = now.ms + SWEEP_EVERY_MS;
            self.sweep(now, out);
        }
    }

    /// Drops what nobody can go on with, and the oldest ended jobs.
    fn sweep(&mut self, now: Now, out: &mut Output) {
        let window = ms(self.settings.resume_window);
        let rests = |job: &&mut Job| !job.is_active() && !job.is_paused() && job.holds_work();
        for job in self.jobs.values_mut().filter(rests) {
            if now.unix_ms.saturating_sub(job.record.active_unix_ms) > window {
                job.drop_work(out);
                job.erase_key();
                job.touch(out);
            }
        }
        let mut ended: Vec<(u64, String)> =
            self.jobs.values().filter(|job| job.is_ended()).map(|job| (job.record.sequence, job.id.clone())).collect();
        ended.sort_unstable();
        let surplus = ended.len().saturating_sub(JOBS_ENDED_MAX);
        for (_, id) in ended.drain(..surplus) {
            self.jobs.remove(&id);
            out.changes.push(Change::DeleteJob(id));
        }
    }

    /// A job with its progress.
    pub(crate) fn job(&self, id: &str) -> Option<v1::Job> {
        self.jobs.get(id).map(Job::message)
    }

    /// Up to `page_size` jobs behind the job `after` (empty: from the newest), newest first, and whether more follow.
    /// Nothing where `after` names no job.
    pub(crate) fn jobs(&self, after: &str, page_size: usize) -> Option<(Vec<v1::Job>, bool)> {
        let before = match after {
            "" => u64::MAX,
            id => self.jobs.get(id)?.record.sequence,
        };
        let mut older: Vec<&Job> = self.jobs.values().filter(|job| job.record.sequence < before).collect();
        older.sort_unstable_by_key(|job| std::cmp::Reverse(job.record.sequence));
        let more = older.len() > page_size;
        let page = older.into_iter().take(page_size).map(Job::summary);
        Some((page.collect(), more))
    }

    /// Whether a job does not go on by itself.
    pub(crate) fn is_over(&self, id: &str) -> bool {
        self.jobs.get(id).is_none_or(|job| !job.is_active())
    }
}

/// A duration in whole milliseconds.
pub(crate) fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
