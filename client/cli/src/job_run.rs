//! A job from its submission to its end: here with a coordinator and a worker of this process, or by a fleet's
//! coordinator. The same submission, the same watching, the same words.

use std::pin::pin;

use futures::{Stream, StreamExt};
use ringvault_archive::repository::Repository;
use ringvault_client::{
    Client, ErrorKind, Failure, Submitted, state,
    v1::{self, Job, JobSpec, JobState, job_spec::Work},
};
use ringvault_runtime::{
    clock::{Clock, SystemClock},
    entropy::Entropy,
};

use crate::{
    again,
    arguments::jobs::Submission,
    commands::{Context, location, state_home},
    embedded::{Embedded, Journal},
    exit::{Exit, Told},
    interrupt::Interrupt,
    output::{
        Output,
        json::{self, Kind},
        progress::Reporter,
        summary, terminal,
        totals::Speed,
    },
    requests::{self, failed},
};

/// Jobs that are looked through for an earlier one that asked for the same.
const JOBS_SEARCHED_MAX: usize = 500;

/// What the user asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What to do.
    pub(crate) spec: JobSpec,
    /// The repository it is about, normalised.
    pub(crate) repository: String,
    /// How to hand it over.
    pub(crate) submission: Submission,
}

impl Asked {
    /// This work, about that repository, as the flags hand it over.
    pub(crate) fn new(repository: String, spec: JobSpec, submission: &Submission) -> Self {
        let spec = JobSpec {
            priority: submission.priority.map_or(v1::Priority::Unspecified, v1::Priority::from).into(),
            workers_max: submission.workers.unwrap_or_default(),
            ranges_max: submission.ranges.unwrap_or_default(),
            ..spec
        };
        Self { spec, repository, submission: submission.clone() }
    }
}

/// An ended job, and how fast it went in this process.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) job: Job,
    pub(crate) speed: Speed,
}

/// Has the job done and tells how it went.
pub(crate) async fn run(context: &Context, asked: &Asked) -> anyhow::Result<Exit> {
    if context.common.fleet.coordinator.is_some() {
        Box::pin(by_fleet(context, asked)).await
    } else {
        Box::pin(here(context, asked)).await
    }
}

async fn here(context: &Context, asked: &Asked) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen(
        &context.tasks,
        "interrupted: keeping what is stored, this takes a few seconds (again to stop at once)",
    )?;
    let repository = tokio::select! {
        repository = open(asked) => repository?,
        () = interrupt.asked() => return Ok(resumable(context.output)),
    };
    let state_dir = state_home()?.join(repository.id());
    let mut embedded = Embedded::start(&context.common, Journal::Directory(state_dir))?;
    let client = embedded.client();
    let ended = tokio::select! {
        ended = submit_and_follow(context, asked, &client) => Some(ended),
        failure = embedded.failed() => Some(Err(failed(failure))),
        () = interrupt.asked() => None,
    };
    embedded.stop().await;
    match ended {
        Some(ended) => conclude(context, &ended?),
        None => Ok(resumable(context.output)),
    }
}

/// The repository must be there before the journal, which is named by its id.
async fn open(asked: &Asked) -> anyhow::Result<Repository> {
    let location = location(&asked.repository)?;
    match &asked.spec.work {
        Some(Work::Backup(_)) => Repository::open_or_create(&location).await.map_err(failed),
        _ => Repository::open(&location).await.map_err(failed),
    }
}

async fn submit_and_follow(context: &Context, asked: &Asked, client: &Client) -> anyhow::Result<Ended> {
    let submitted = submit(client, asked).await?;
    tell_submitted(context, &submitted);
    follow(context.output, client.watch(&submitted.job.job_id)).await
}

async fn by_fleet(context: &Context, asked: &Asked) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen(&context.tasks, "no longer watching; the job goes on (see the commands above)")?;
    let client = context.client()?;
    let submitted = tokio::select! {
        submitted = submit(&client, asked) => submitted?,
        () = interrupt.asked() => return Ok(Exit::Interrupted),
    };
    tell_submitted(context, &submitted);
    if asked.submission.detach {
        return Ok(Exit::Done);
    }
    tokio::select! {
        ended = follow(context.output, client.watch(&submitted.job.job_id)) => conclude(context, &ended?),
        () = interrupt.asked() => Ok(Exit::Interrupted),
    }
}

async fn submit(client: &Client, asked: &Asked) -> anyhow::Result<Submitted> {
    let key = match &asked.submission.idempotency_key {
        Some(given) => given.clone(),
        None => {
            let earlier = client.list(JOBS_SEARCHED_MAX).await.map_err(failed)?;
            key(&requests::key(&asked.spec), &earlier, &Entropy::from_os())
        }
    };
    client.submit(asked.spec.clone(), &key, asked.submission.fresh).await.map_err(failed)
}

/// The idempotency key of a submission: that of the newest job that asked for the same, where it is at work or can go
/// on (with `--fresh` the coordinator starts that one over); else a new one, since a command that is given again after its
/// job was done means a new job.
fn key(asked_for: &str, earlier: &[Job], entropy: &Entropy) -> String {
    let same = earlier.iter().find(|job| job.idempotency_key.starts_with(asked_for));
    match same {
        Some(job) if !state::has_ended(job.state()) || state::can_go_on(job) => job.idempotency_key.clone(),
        _ => format!("{asked_for}-{}", entropy.suffix(12)),
    }
}

fn tell_submitted(context: &Context, submitted: &Submitted) {
    let job = &submitted.job;
    let fleet = &context.common.fleet;
    let coordinator = fleet.coordinator.as_deref();
    if context.output.json {
        let line = json::Submitted {
            job_id: &job.job_id,
            resumed: submitted.resumed,
            started_unix_ms: job.started_unix_ms,
            rows_kept: job.rows_kept,
            bytes_kept: job.bytes_kept,
            trace_id: &job.trace_id,
            watch_command: coordinator.map(|_| again::job(fleet, "watch", &job.job_id)),
            cancel_command: coordinator.map(|_| again::job(fleet, "cancel", &job.job_id)),
        };
        json::print(Kind::Submitted, &line);
        return;
    }
    if submitted.resumed {
        terminal::tell(summary::resuming(job, SystemClock::new().unix_ms()));
    }
    if coordinator.is_some() {
        terminal::say(format!("job {}", job.job_id));
        terminal::say(format!("  watch:  {}", again::job(fleet, "watch", &job.job_id)));
        terminal::say(format!("  cancel: {}", again::job(fleet, "cancel", &job.job_id)));
    }
}

/// Shows a job until it has ended.
pub(crate) async fn follow(output: Output, watch: impl Stream<Item = Result<Job, Failure>>) -> anyhow::Result<Ended> {
    let mut reporter = Reporter::new(output);
    let mut watch = pin!(watch);
    let mut last = None;
    while let Some(job) = watch.next().await {
        match job {
            Ok(job) => {
                reporter.show(&job);
                last = Some(job);
            }
            Err(failure) => {
                reporter.clear();
                return Err(failed(failure));
            }
        }
    }
    let Some(job) = last else {
        return Err(failed(Failure::new(ErrorKind::Internal, "the coordinator said nothing about the job")));
    };
    let speed = reporter.finish(&job);
    Ok(Ended { job, speed })
}

/// Tells how a job ended and gives the exit code of it.
pub(crate) fn conclude(context: &Context, ended: &Ended) -> anyhow::Result<Exit> {
    let Ended { job, speed } = ended;
    let exit = exit_of(job);
    let restore_command = restore_command(context, job);
    let record = summary::record(job, speed, exit, restore_command.as_deref());
    context.output.answer(Kind::Summary, &record, || summary::text(job, speed, restore_command.as_deref()));
    match job.state() {
        JobState::Failed => {
            let failure = job.failure.clone().map(Failure::from);
            let failure =
                failure.unwrap_or_else(|| Failure::new(ErrorKind::Internal, "the job failed without a reason"));
            let mut told = Told::of(&failed(failure));
            told.exit = exit; // a restore that differs is more than a failure
            context.output.error(&told);
            Ok(exit)
        }
        JobState::Cancelled => {
            let message = "the job was cancelled; what it stored stays and is used by a later backup";
            Err(failed(Failure::new(ErrorKind::Conflict, message)))
        }
        _ => Ok(exit),
    }
}

fn exit_of(job: &Job) -> Exit {
    match job.state() {
        JobState::Done => Exit::Done,
        JobState::Failed if !job.mismatches.is_empty() => Exit::Mismatch,
        JobState::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    }
}

fn restore_command(context: &Context, job: &Job) -> Option<String> {
    match job.spec.as_ref().and_then(|spec| spec.work.as_ref()) {
        // `job watch` has no cluster flag, so it takes the names from the job itself.
        Some(Work::Backup(spec)) if job.state() == JobState::Done => {
            let mut common = context.common.clone();
            if common.fleet.coordinator.is_some() {
                common.fleet.cluster = Some(spec.cluster.clone());
            }
            Some(again::restore(&common, &spec.keyspaces.join(","), &spec.repository, &job.backup_id))
        }
        _ => None,
    }
}

/// Tells which command goes on.
fn resumable(output: Output) -> Exit {
    let command = again::same_command(std::env::args());
    if output.json {
        json::print(Kind::Interrupted, &Interrupted { exit_code: Exit::Interrupted as u8, resume_command: &command });
    } else {
        terminal::tell("interrupted; within 24 hours the same command goes on from what is stored:");
        terminal::tell(format!("  {command}"));
    }
    Exit::Interrupted
}

#[derive(serde::Serialize)]
struct Interrupted<'a> {
    exit_code: u8,
    resume_command: &'a str,
}

#[cfg(test)]
pub(crate) fn samples() -> Vec<(Kind, String)> {
    let line = Interrupted { exit_code: 4, resume_command: "ringvault backup" };
    vec![(Kind::Interrupted, json::text(Kind::Interrupted, &line))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(key: &str, state: JobState) -> Job {
        Job { idempotency_key: key.to_owned(), state: state.into(), ..Job::default() }
    }

    #[test]
    fn the_same_command_goes_on_only_where_its_last_job_did_not_end_well() {
        let entropy = Entropy::seeded(1);
        let earlier = |state| [job("other-1", JobState::Running), job("abc-2", state), job("abc-1", JobState::Failed)];
        let chosen = |state| key("abc", &earlier(state), &entropy);
        assert_eq!(chosen(JobState::Interrupted), "abc-2");
        assert_eq!(chosen(JobState::Failed), "abc-2");
        assert_eq!(chosen(JobState::Running), "abc-2");
        for state in [JobState::Done, JobState::Cancelled] {
            let new = chosen(state);
            assert!(new.starts_with("abc-") && new.len() == 16, "{new}");
        }
    }

    #[test]
    fn a_restore_that_differs_exits_3_and_any_other_failure_1() {
        let mut failed = job("k", JobState::Failed);
        assert_eq!(exit_of(&failed), Exit::Failed);
        failed.mismatches = vec!["shop.orders segment 7".into()];
        assert_eq!(exit_of(&failed), Exit::Mismatch);
        assert_eq!(exit_of(&job("k", JobState::Interrupted)), Exit::Interrupted);
        assert_eq!(exit_of(&job("k", JobState::Cancelled)), Exit::Failed);
    }
}
