//! What people ask of jobs, workers and clusters that are at work: pause, resume, other limits, drain.

use std::collections::BTreeSet;

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState},
};

use super::{
    Core,
    event::{Answer, Now, Output, ReplyId},
    job::{Context, Job, state_in},
};
use crate::record::{Change, ClusterRecord};

impl Core {
    /// A client pauses a job.
    pub(super) fn pause(&mut self, now: Now, reply: ReplyId, id: &str, out: &mut Output) {
        self.change_job(now, reply, id, out, |job, ctx, out| {
            if job.is_active() {
                job.pause(ctx, out);
            }
            Ok(())
        });
    }

    /// A client lets a paused job go on.
    pub(super) fn resume(&mut self, now: Now, reply: ReplyId, id: &str, out: &mut Output) {
        self.change_job(now, reply, id, out, |job, ctx, out| {
            if job.is_paused() {
                job.resume(ctx, out);
            }
            Ok(())
        });
    }

    /// A client changes priority and limits of a job.
    pub(super) fn update(&mut self, now: Now, reply: ReplyId, update: &v1::UpdateJobRequest, out: &mut Output) {
        self.change_job(now, reply, &update.job_id, out, |job, _, out| {
            job.update(update);
            job.touch(out);
            out.changed.insert(job.id.clone());
            out.work = true;
            Ok(())
        });
    }

    /// Changes a job that goes on or is paused, and answers with what it is then.
    fn change_job(
        &mut self,
        now: Now,
        reply: ReplyId,
        id: &str,
        out: &mut Output,
        change: impl FnOnce(&mut Job, &Context<'_>, &mut Output) -> Result<(), Failure>,
    ) {
        let (ctx, jobs) = self.split(now);
        let changed = match jobs.get_mut(id) {
            None => Err(no_job(id)),
            Some(job) if job.is_active() || job.is_paused() => {
                change(job, &ctx, out).map(|()| Answer::Changed(Box::new(job.message())))
            }
            Some(job) => Err(at_rest(job)),
        };
        out.answer(reply, changed.unwrap_or_else(Answer::Refused));
    }

    /// Somebody lets a worker take no more work, or work again.
    pub(super) fn drain(&mut self, reply: ReplyId, request: &v1::DrainWorkerRequest, out: &mut Output) {
        let answer = match self.find_worker(&request.worker) {
            Ok(id) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.order_drain(!request.undo);
                    out.work = true;
                }
                let worker = self.workers.get(&id).map(|worker| self.describe_worker(&id, worker));
                Answer::Drained(Box::new(worker.unwrap_or_default()))
            }
            Err(failure) => Answer::Refused(failure),
        };
        out.answer(reply, answer);
    }

    /// The worker of that id, or the only one of that name.
    fn find_worker(&self, meant: &str) -> Result<String, Failure> {
        if self.workers.contains_key(meant) {
            return Ok(meant.to_owned());
        }
        let named = self.workers.iter().filter(|(_, worker)| worker.hello.name == meant && !meant.is_empty());
        let ids: Vec<&str> = named.map(|(id, _)| id.as_str()).collect();
        match ids[..] {
            [id] => Ok(id.to_owned()),
            [] => {
                let known: BTreeSet<&str> = self.workers.values().map(|worker| worker.hello.name.as_str()).collect();
                let known = listed(&known.into_iter().collect::<Vec<_>>(), "none attends");
                Err(Failure::new(ErrorKind::NotFound, format!("no worker {meant:?} attends; there are: {known}")))
            }
            _ => {
                let message =
                    format!("{} workers attend as {meant:?}; name one by its id: {}", ids.len(), listed(&ids, ""));
                Err(Failure::new(ErrorKind::Conflict, message))
            }
        }
    }

    /// Somebody sets the limits of a cluster.
    pub(super) fn set_limits(&mut self, reply: ReplyId, request: v1::SetClusterLimitsRequest, out: &mut Output) {
        let known = self.cluster_names();
        if !known.contains(request.cluster.as_str()) {
            let known = listed(&known.into_iter().collect::<Vec<_>>(), "none is known");
            let message = format!(
                "no worker reaches a cluster {:?}, and it has no limits; known clusters: {known}",
                request.cluster
            );
            out.answer(reply, Answer::Refused(Failure::new(ErrorKind::NotFound, message)));
            return;
        }
        let limits = request.limits.unwrap_or_default();
        self.limits.insert(request.cluster.clone(), limits);
        let cluster = self.describe_cluster(&request.cluster);
        out.changes.push(Change::PutCluster(ClusterRecord { cluster: request.cluster, limits: Some(limits) }));
        out.work = true;
        out.answer(reply, Answer::Limited(Box::new(cluster)));
    }

    /// Clusters that workers reach, that have limits, or that jobs work on.
    fn cluster_names(&self) -> BTreeSet<&str> {
        let reached = self.workers.values().flat_map(|worker| &worker.hello.clusters);
        let limited = self.limits.keys().chain(self.settings.clusters.keys());
        let worked_on = self.active.iter().filter_map(|id| self.jobs.get(id)).map(Job::cluster);
        reached.chain(limited).map(String::as_str).chain(worked_on).collect()
    }

    /// All known clusters, by name.
    pub(crate) fn clusters(&self) -> Vec<v1::Cluster> {
        self.cluster_names().into_iter().map(|name| self.describe_cluster(name)).collect()
    }

    fn describe_cluster(&self, name: &str) -> v1::Cluster {
        let reaching = self.workers.values().filter(|worker| worker.hello.clusters.iter().any(|known| known == name));
        let reaching: Vec<_> = reaching.collect();
        let slots = reaching.iter().filter(|worker| worker.serves(name)).map(|worker| worker.hello.slots);
        v1::Cluster {
            name: name.to_owned(),
            limits: Some(self.limits(name)),
            workers: u32::try_from(reaching.len()).unwrap_or(u32::MAX),
            slots: slots.fold(0, u32::saturating_add),
            leases: u32::try_from(self.leases_of(name)).unwrap_or(u32::MAX),
        }
    }
}

impl Job {
    /// Takes its leases away and grants none. Actions in its repository that are under way come to their end.
    fn pause(&mut self, ctx: &Context<'_>, out: &mut Output) {
        self.release_all(out);
        self.record.state = JobState::Paused.into();
        self.record.active_unix_ms = ctx.now.unix_ms;
        self.starving_since_ms = None;
        self.touch(out);
    }

    /// Goes on in the phase in which it was paused.
    fn resume(&mut self, ctx: &Context<'_>, out: &mut Output) {
        self.record.state = state_in(self.record.phase()).into();
        self.record.active_unix_ms = ctx.now.unix_ms;
        self.progressed_ms = ctx.now.ms;
        self.touch(out);
        out.work = true;
        self.advance(ctx, out);
    }
}

/// There is no such job.
pub(super) fn no_job(id: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no job {id}; `ringvault job list` names them"))
}

/// A job that does not go on can't be changed.
fn at_rest(job: &Job) -> Failure {
    let (state, remedy) = match job.record.state() {
        JobState::Interrupted => ("interrupted", "submit the same again to go on"),
        JobState::Done => ("done", "submit a new one"),
        JobState::Cancelled => ("cancelled", "submit a new one"),
        _ => ("failed", "submit the same again to go on"),
    };
    Failure::new(ErrorKind::Conflict, format!("job {} is {state}; {remedy}", job.id))
}

/// Names for an error message, not too many of them.
fn listed(names: &[&str], none: &str) -> String {
    const NAMED_MAX: usize = 20;
    if names.is_empty() {
        return none.to_owned();
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    let named = names[..names.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
