//! The calls of the `Admin` service, each retried while the coordinator is unreachable or overloaded.
//!
//! Every call may be repeated without harm: a submission carries an idempotency key, the others change nothing twice.

use std::{future::Future, time::Duration};

use ringvault_proto::{
    MESSAGE_BYTES_MAX,
    error::{ErrorKind, Failure, Verdict},
    v1::{self, admin_client::AdminClient},
};
use ringvault_runtime::{
    entropy::Entropy,
    net::{self, Tls},
    retry::Backoff,
};
use tonic::{Response, Status, transport::Channel};

use crate::{Result, watch::Watch};

/// Attempts of one call; with the pauses of [`Backoff::peer`] about three seconds of an unreachable coordinator.
const ATTEMPTS_MAX: u32 = 6;
/// Jobs a page of [`Client::list`].
const JOBS_PAGE: u32 = 200;
/// How long one call may take. Reading the sizes of a large cluster for a plan is the slowest.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a plan may take: workers read the cluster for it.
const PLAN_TIMEOUT: Duration = Duration::from_secs(600);

/// A coordinator, as a client sees it. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    admin: AdminClient<Channel>,
    address: String,
    entropy: Entropy,
}

/// An accepted job.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The job as it stands now.
    pub job: v1::Job,
    /// An earlier job of the same key goes on.
    pub resumed: bool,
}

impl Client {
    /// A client of the coordinator at `address`: `https://HOST:PORT` with certificates, `http://HOST:PORT` without. Connects
    /// when it is first used, and again whenever the connection broke.
    ///
    /// # Errors
    /// `Invalid` where `address` is no such address.
    pub fn connect(address: &str, tls: Option<&Tls>) -> Result<Self> {
        let channel = net::connect(address, tls).map_err(|e| Failure::new(ErrorKind::Invalid, e.to_string()))?;
        Ok(Self::over(channel, address))
    }

    /// A client over a channel that stands already, as the embedded mode has one. `name` is how messages call the
    /// coordinator.
    #[must_use]
    pub fn over(channel: Channel, name: &str) -> Self {
        let admin = AdminClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Self { admin, address: name.to_owned(), entropy: Entropy::from_os() }
    }

    /// The specification of a job that backs up.
    #[must_use]
    pub fn backup(spec: v1::BackupSpec) -> v1::JobSpec {
        v1::JobSpec { work: Some(v1::job_spec::Work::Backup(spec)), ..v1::JobSpec::default() }
    }

    /// The specification of a job that restores.
    #[must_use]
    pub fn restore(spec: v1::RestoreSpec) -> v1::JobSpec {
        v1::JobSpec { work: Some(v1::job_spec::Work::Restore(spec)), ..v1::JobSpec::default() }
    }

    /// The specification of a job that compares a backup with a cluster.
    #[must_use]
    pub fn verify(spec: v1::VerifySpec) -> v1::JobSpec {
        v1::JobSpec { work: Some(v1::job_spec::Work::Verify(spec)), ..v1::JobSpec::default() }
    }

    /// Submits a job under an idempotency key (at most 128 characters; empty: a new job each time, not retried). With
    /// `fresh`, an earlier job of that key does not go on.
    ///
    /// # Errors
    /// What the coordinator refused, or `Unavailable`.
    pub async fn submit(&self, spec: v1::JobSpec, idempotency_key: &str, fresh: bool) -> Result<Submitted> {
        let request = v1::SubmitRequest { idempotency_key: idempotency_key.to_owned(), spec: Some(spec), fresh };
        let attempts = if idempotency_key.is_empty() { 1 } else { ATTEMPTS_MAX };
        let answer = self
            .call("submit the job", attempts, CALL_TIMEOUT, || {
                let (mut admin, request) = (self.admin.clone(), request.clone());
                async move { admin.submit(request).await }
            })
            .await?;
        Ok(Submitted { job: present(answer.job)?, resumed: answer.resumed })
    }

    /// One job with its progress.
    ///
    /// # Errors
    /// `NotFound` where the coordinator knows no such job.
    pub async fn get(&self, job_id: &str) -> Result<v1::Job> {
        let answer = self
            .call("read the job", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, job_id) = (self.admin.clone(), job_id.to_owned());
                async move { admin.get_job(v1::GetJobRequest { job_id }).await }
            })
            .await?;
        present(answer.job)
    }

    /// The newest `jobs_max` jobs, newest first, without their tables.
    ///
    /// # Errors
    /// `Unavailable` where the coordinator can't be reached.
    pub async fn list(&self, jobs_max: usize) -> Result<Vec<v1::Job>> {
        let mut jobs = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self
                .call("list jobs", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                    let request = v1::ListJobsRequest { page_size: JOBS_PAGE, page_token: page_token.clone() };
                    let mut admin = self.admin.clone();
                    async move { admin.list_jobs(request).await }
                })
                .await?;
            let ended = page.next_page_token.is_empty() || page.jobs.is_empty();
            jobs.extend(page.jobs);
            if ended || jobs.len() >= jobs_max {
                jobs.truncate(jobs_max);
                return Ok(jobs);
            }
            page_token = page.next_page_token;
        }
    }

    /// Follows one job until it has ended, across broken connections.
    #[must_use]
    pub fn watch(&self, job_id: &str) -> Watch {
        Watch::start(self.admin.clone(), self.address.clone(), job_id.to_owned(), self.entropy.clone())
    }

    /// Stops a job; what it stored stays. An ended job stays as it is.
    ///
    /// # Errors
    /// `NotFound` where the coordinator knows no such job.
    pub async fn cancel(&self, job_id: &str) -> Result<v1::Job> {
        let answer = self
            .call("cancel the job", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, job_id) = (self.admin.clone(), job_id.to_owned());
                async move { admin.cancel_job(v1::CancelJobRequest { job_id }).await }
            })
            .await?;
        present(answer.job)
    }

    /// The workers that attend now.
    ///
    /// # Errors
    /// `Unavailable` where the coordinator can't be reached.
    pub async fn workers(&self) -> Result<Vec<v1::Worker>> {
        let answer = self
            .call("list workers", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let mut admin = self.admin.clone();
                async move { admin.list_workers(v1::ListWorkersRequest {}).await }
            })
            .await?;
        Ok(answer.workers)
    }

    /// What a backup would do. Reads the cluster, writes nothing.
    ///
    /// # Errors
    /// What the coordinator or the worker that read the cluster refused.
    pub async fn plan(&self, spec: v1::BackupSpec) -> Result<v1::Plan> {
        let answer = self
            .call("plan the backup", 1, PLAN_TIMEOUT, || {
                let (mut admin, spec) = (self.admin.clone(), spec.clone());
                async move { admin.plan(v1::PlanRequest { spec: Some(spec) }).await }
            })
            .await?;
        answer.plan.ok_or_else(|| Failure::new(ErrorKind::Internal, "the coordinator answered without a plan"))
    }

    async fn call<T, F, A>(&self, what: &str, attempts: u32, timeout: Duration, ask: F) -> Result<T>
    where
        F: Fn() -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let mut attempt = 0;
        loop {
            let answered = tokio::time::timeout(timeout, ask()).await;
            let failure = match answered {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => explain(&status, what, &self.address),
                Err(_) => slow(what, &self.address, timeout),
            };
            attempt += 1;
            if failure.kind.verdict() != Verdict::Retry || attempt >= attempts {
                return Err(failure);
            }
            tokio::time::sleep(Backoff::peer().pause(attempt - 1, &self.entropy)).await;
        }
    }
}

/// The failure behind a status; one of the transport names the coordinator and the next step.
pub(crate) fn explain(status: &Status, what: &str, address: &str) -> Failure {
    use std::error::Error as _;
    let failure = Failure::of_status(status);
    let Some(mut cause) = status.source() else { return failure };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let cause = cause.to_string();
    // What a server without the right certificates sees of one that wants some, and the other way round.
    let hint = if cause.contains("connection closed") || cause.contains("corrupt message") {
        ", and with which certificates (https:// or http://): its log says whom it refused and why"
    } else {
        ""
    };
    let message = format!(
        "could not {what}: no answer from the coordinator at {address}: {cause}; check that `ringvault coordinator` \
         runs there{hint}"
    );
    Failure::new(ErrorKind::Unavailable, message)
}

fn slow(what: &str, address: &str, timeout: Duration) -> Failure {
    let message =
        format!("could not {what}: the coordinator at {address} did not answer within {}s", timeout.as_secs());
    Failure::new(ErrorKind::Unavailable, message)
}

/// The job of an answer; an answer without one is a defect of the peer.
pub(crate) fn present(job: Option<v1::Job>) -> Result<v1::Job> {
    job.ok_or_else(|| Failure::new(ErrorKind::Internal, "the coordinator answered without a job"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_with_its_form() {
        let failure = Client::connect("prod:7077", None).expect_err("no scheme");
        assert_eq!(failure.kind, ErrorKind::Invalid);
        assert!(failure.message.contains("http://HOST:PORT"), "{failure}");
    }

    #[test]
    fn what_the_coordinator_said_is_kept_word_by_word() {
        let told = Failure::new(ErrorKind::Conflict, "keyspace shop exists; give --drop");
        assert_eq!(explain(&told.to_status(), "submit", "http://c:1"), told);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_coordinator_is_named() {
        let client = Client::connect("http://127.0.0.1:1", None).expect("an address");
        let failure = client.workers().await.expect_err("nobody listens on port 1");
        assert_eq!(failure.kind, ErrorKind::Unavailable);
        assert!(failure.message.contains("http://127.0.0.1:1"), "{failure}");
        assert!(failure.message.contains("ringvault coordinator"), "{failure}");
    }
}
