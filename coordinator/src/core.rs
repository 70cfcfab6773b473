//! Every decision of the coordinator, pure: `apply(now, event) → (changes, effects)`.
//!
//! - [`event`]: events, effects, answers
//! - [`job`], [`table`], [`assignment`]: what is known of a job; [`load`]: from the journal
//! - [`terms`]: what a job was told; [`actions`]: what a job wants done in its repository
//! - [`submit`]: which job a submission means; [`backup`], [`restore`]: how each kind of job goes on
//! - [`recheck`]: tables that change while they are dumped; [`target`]: what of a backup goes where; [`scrap`]: the end
//!   of a rehearsal
//! - [`workers`]: who attends, who sees which repository; [`leases`]: who holds what; [`pieces`]: what is finished
//! - [`progress`]: jobs as people see them
//!
//! Invariants: an assignment has at most one current lease; a stale epoch changes nothing; a finished piece is recorded
//! once and never asked for again; a job is DONE only when every piece of it is recorded. All that must survive is a
//! `Change`, committed before any effect is performed.
//!
//! Deliberately absent: clock, chance, I/O, async. Ids and nonces come in with events.

mod actions;
pub(crate) mod assignment;
mod backup;
pub(crate) mod event;
pub(crate) mod job;
mod leases;
mod load;
mod pieces;
mod progress;
mod recheck;
mod restore;
mod scrap;
mod submit;
pub(crate) mod table;
mod target;
mod terms;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::BTreeMap;

use ringvault_proto::v1;

pub(crate) use self::workers::POLL_MS_MAX;
use self::{
    event::{Event, Now, Output},
    job::{Context, Job},
    workers::{Poll, Worker},
};
use crate::{record::Change, settings::Settings};

/// Ended jobs that are remembered.
const JOBS_ENDED_MAX: usize = 500;

/// How often old jobs are looked through, in ms.
const SWEEP_EVERY_MS: u64 = 600_000;

/// All that a coordinator knows.
#[derive(Debug)]
pub(crate) struct Core {
    settings: Settings,
    jobs: BTreeMap<String, Job>,
    workers: BTreeMap<String, Worker>,
    polls: Vec<Poll>,
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
            Event::Undelivered(leases) => self.take_back(now, None, &leases, out),
            Event::Complete(reply, request) => self.complete(now, reply, *request, out),
            Event::Fail(reply, request) => self.fail(now, reply, request, out),
            Event::Return(reply, request) => self.give_back(now, reply, &request, out),
            Event::Acted { job, run, outcome } => {
                let (ctx, jobs) = self.split(now);
                if let Some(job) = jobs.get_mut(&job) {
                    job.acted(run, outcome, &ctx, out);
                }
            }
            Event::Tick => self.tick(now, out),
        }
        if std::mem::take(&mut out.work) {
            self.serve_polls(now, out);
        }
        for id in std::mem::take(&mut out.dirty) {
            if let Some(job) = self.jobs.get(&id) {
                out.changes.push(Change::PutJob(Box::new(job.record.clone())));
                out.changed.insert(id);
            }
        }
    }

    /// Everything but the jobs, to be read while one of them changes.
    fn split(&mut self, now: Now) -> (Context<'_>, &mut BTreeMap<String, Job>) {
        (Context { now, settings: &self.settings, workers: &self.workers }, &mut self.jobs)
    }

    fn tick(&mut self, now: Now, out: &mut Output) {
        self.forget_absent_workers(now);
        let (ctx, jobs) = self.split(now);
        for job in jobs.values_mut().filter(|job| job.is_active()) {
            job.expire(&ctx, out);
            job.judge_workers(&ctx, out);
            job.advance(&ctx, out);
        }
        self.serve_polls(now, out);
        if now.ms >= self.sweep_at {
            self.sweep_at = now.ms + SWEEP_EVERY_MS;
            self.sweep(now, out);
        }
    }

    /// Drops what nobody can go on with, and the oldest ended jobs.
    fn sweep(&mut self, now: Now, out: &mut Output) {
        let window = ms(self.settings.resume_window);
        for job in self.jobs.values_mut().filter(|job| !job.is_active() && job.holds_work()) {
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
        let page = older.into_iter().take(page_size).map(|job| v1::Job { tables: Vec::new(), ..job.message() });
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
