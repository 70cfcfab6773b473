//! Which job a submission means, and what a cancellation does.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, job_spec::Work},
};

use super::{
    Core,
    control::no_job,
    event::{Answer, Now, Output, ReplyId, Submission},
    job::Job,
    ms,
    scrap::redacted,
};
use crate::record::{Change, JobRecord, Phase};

/// A submission that comes again within this is a repetition of the same call, in ms.
const REPETITION_MS: u64 = 60_000;

/// What to do with the job that a key named before.
enum Earlier {
    /// It is the job that is meant.
    Return,
    /// It goes on.
    Revive,
    /// A new job takes its place.
    Replace,
}

impl Core {
    /// A client submits a job.
    pub(super) fn submit(&mut self, now: Now, reply: ReplyId, submission: Submission, out: &mut Output) {
        let answer = match self.accept(now, submission, out) {
            Ok((id, resumed)) => {
                let job = self.jobs.get(&id).map(Job::message);
                Answer::Submitted(Box::new(v1::SubmitResponse { job, resumed }))
            }
            Err(failure) => Answer::Refused(failure),
        };
        out.answer(reply, answer);
    }

    fn accept(&mut self, now: Now, submission: Submission, out: &mut Output) -> Result<(String, bool), Failure> {
        let window_ms = ms(self.settings.resume_window);
        let known = |job: &&mut Job| !submission.key.is_empty() && job.record.idempotency_key == submission.key;
        let earlier = self.jobs.values_mut().filter(known).max_by_key(|job| job.record.sequence);
        if let Some(id) = earlier.map(|job| job.id.clone()) {
            let repeated = now.unix_ms.saturating_sub(self.jobs[&id].record.resubmitted_unix_ms) < REPETITION_MS;
            match judge(&self.jobs[&id], now, &submission, repeated, window_ms) {
                Earlier::Return => {
                    check_same(&self.jobs[&id], &submission.spec)?;
                    let resumed = !repeated && self.jobs[&id].is_active();
                    return Ok((id, resumed));
                }
                Earlier::Revive => {
                    check_same(&self.jobs[&id], &submission.spec)?;
                    self.runs += 1;
                    let number = self.runs;
                    let (ctx, jobs) = self.split(now);
                    let job = jobs.get_mut(&id).expect("found above");
                    job.record.spec = Some(submission.spec);
                    job.record.fresh = submission.fresh;
                    job.record.trace_parent = submission.trace_parent;
                    job.revive(number, &ctx, out);
                    job.advance(&ctx, out);
                    out.work = true;
                    return Ok((id, true));
                }
                Earlier::Replace => self.supersede(now, &id, out),
            }
        }
        self.create(now, submission, out)
    }

    fn create(&mut self, now: Now, submission: Submission, out: &mut Output) -> Result<(String, bool), Failure> {
        if self.jobs.contains_key(&submission.job_id) {
            return Err(Failure::new(ErrorKind::Unavailable, "the new job's id is taken; submit again"));
        }
        self.sequence += 1;
        self.runs += 1;
        let is_backup = matches!(submission.spec.work, Some(Work::Backup(_)));
        let restored = match &submission.spec.work {
            Some(Work::Restore(spec)) => spec.backup_id.clone(),
            Some(Work::Verify(spec)) => spec.backup_id.clone(),
            Some(Work::Backup(_)) | None => String::new(),
        };
        let makes_backup = is_backup && !submission.spec.dry_run;
        let record = JobRecord {
            job_id: submission.job_id.clone(),
            sequence: self.sequence,
            idempotency_key: submission.key,
            fresh: submission.fresh,
            spec: Some(submission.spec),
            state: JobState::Preparing.into(),
            phase: Phase::Fresh.into(),
            submitted_unix_ms: now.unix_ms,
            resubmitted_unix_ms: now.unix_ms,
            active_unix_ms: now.unix_ms,
            backup_id: if makes_backup { submission.backup_id } else { restored },
            trace_parent: submission.trace_parent,
            ..JobRecord::default()
        };
        let mut job = Job::new(record, self.runs);
        job.progressed_ms = now.ms;
        job.touch(out);
        let (ctx, jobs) = self.split(now);
        job.advance(&ctx, out);
        out.work = true;
        jobs.insert(submission.job_id.clone(), job);
        Ok((submission.job_id, false))
    }

    /// An earlier job of a key gives way: it ends, and what it kept to go on is dropped.
    fn supersede(&mut self, now: Now, id: &str, out: &mut Output) {
        let (ctx, jobs) = self.split(now);
        let Some(job) = jobs.get_mut(id) else { return };
        match job.record.state() {
            JobState::Done | JobState::Cancelled => {}
            JobState::Failed => job.drop_work(out),
            _ => job.finish(JobState::Cancelled, None, &ctx, out),
        }
    }

    /// A client cancels a job.
    pub(super) fn cancel(&mut self, now: Now, reply: ReplyId, id: &str, out: &mut Output) {
        let (ctx, jobs) = self.split(now);
        let Some(job) = jobs.get_mut(id) else {
            out.answer(reply, Answer::Refused(no_job(id)));
            return;
        };
        if !job.is_ended() {
            job.finish(JobState::Cancelled, None, &ctx, out);
        }
        let message = Box::new(job.message());
        out.answer(reply, Answer::Changed(message));
    }

    /// Marks a job as one whose process ended.
    pub(super) fn interrupt(job: &mut Job, changes: &mut Vec<Change>) {
        job.record.state = JobState::Interrupted.into();
        changes.push(Change::PutJob(Box::new(job.record.clone())));
    }
}

fn judge(job: &Job, now: Now, submission: &Submission, repeated: bool, window_ms: u64) -> Earlier {
    match job.record.state() {
        JobState::Failed | JobState::Interrupted => {
            let young = now.unix_ms.saturating_sub(job.record.active_unix_ms) <= window_ms;
            if young && !submission.fresh && can_go_on(job) { Earlier::Revive } else { Earlier::Replace }
        }
        // A repeated call for a fresh start must not start over again.
        _ if submission.fresh && !(job.record.fresh && repeated) => Earlier::Replace,
        // One that is done or was cancelled, too, however long ago: whoever gives a key again means that job.
        _ => Earlier::Return,
    }
}

/// Whether going on is other than starting over. A restore whose rows differed would only differ again.
fn can_go_on(job: &Job) -> bool {
    if !job.record.mismatches.is_empty() {
        return false;
    }
    match job.work() {
        Work::Backup(_) => job.tables.values().any(super::table::Table::has_pieces),
        // The partition key of an ended job is erased, and the scratch keyspace of an ended rehearsal is gone.
        Work::Restore(spec) if spec.partition_key.as_ref().is_some_and(|key| key.cells.is_empty()) => false,
        Work::Restore(_) if job.is_ended() && job.record.phase() == Phase::Scrap => false,
        Work::Restore(_) => job.record.phase() >= Phase::Before,
        Work::Verify(_) => job.holds_work(),
    }
}

/// A key names one job: what is backed up or restored, and in which form, must be the same.
fn check_same(job: &Job, spec: &v1::JobSpec) -> Result<(), Failure> {
    let known = job.record.spec.as_ref();
    let mut meant = essence(spec);
    if job.is_ended() {
        meant = redacted(Some(&meant)).unwrap_or_default();
    }
    if known.map(essence) == Some(meant) {
        return Ok(());
    }
    let message = format!(
        "job {} of the same idempotency key does something else; use another key, or submit with `fresh`",
        job.id
    );
    Err(Failure::new(ErrorKind::Conflict, message))
}

/// A spec without what only steers how fast and how carefully it is done.
fn essence(spec: &v1::JobSpec) -> v1::JobSpec {
    let work = match spec.work.clone() {
        Some(Work::Backup(backup)) => Some(Work::Backup(v1::BackupSpec {
            tables_parallel: 0,
            shards_per_table: 0,
            fetch_size: 0,
            pace: 0,
            rows_per_second_max: 0,
            bytes_per_second_max: 0,
            patience_ms: 0,
            idempotent: false,
            ..backup
        })),
        Some(Work::Restore(restore)) => Some(Work::Restore(v1::RestoreSpec {
            check_first: false,
            verify: false,
            batch_rows_max: 0,
            tables_parallel: 0,
            retries: 0,
            retry_delay_ms: 0,
            pace: 0,
            rows_per_second_max: 0,
            bytes_per_second_max: 0,
            patience_ms: 0,
            read_consistency: 0,
            ..restore
        })),
        Some(Work::Verify(verify)) => Some(Work::Verify(v1::VerifySpec {
            tables_parallel: 0,
            pace: 0,
            rows_per_second_max: 0,
            bytes_per_second_max: 0,
            patience_ms: 0,
            read_consistency: 0,
            ..verify
        })),
        None => None,
    };
    v1::JobSpec { work, dry_run: spec.dry_run, ..v1::JobSpec::default() }
}
