//! Calls about jobs.

use std::time::Duration;

use ringvault_proto::v1;
use tracing::Instrument;

use super::{ATTEMPTS_MAX, CALL_TIMEOUT, Client, present};
use crate::{Result, watch::Watch};

/// Jobs a page of [`Client::list`].
const JOBS_PAGE: u32 = 200;
/// How long a plan may take: workers read the cluster for it.
const PLAN_TIMEOUT: Duration = Duration::from_secs(600);

/// An accepted job.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The job as it stands now.
    pub job: v1::Job,
    /// An earlier job of the same key goes on.
    pub resumed: bool,
}

impl Client {
    /// Submits a job under an idempotency key (at most 128 characters). While a job of that key runs or is done, the same
    /// key gives that job and starts none; one that failed or was interrupted within 24 hours goes on, unless `fresh`.
    /// With an empty key it is a new job each time, and the call is not repeated.
    ///
    /// The call runs in a span `submit`, whose trace the coordinator and its workers go on with.
    ///
    /// # Errors
    /// What the coordinator refused (`Invalid`, `NotFound`, `Conflict`), or `Unavailable`, `Overloaded` after all attempts.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// use ringvault_client::{Client, v1};
    ///
    /// let mut spec = Client::backup(v1::BackupSpec {
    ///     keyspaces: vec!["shop".into()],
    ///     cluster: "prod".into(),
    ///     repository: "s3://backups/prod".into(),
    ///     ..Default::default()
    /// });
    /// spec.set_priority(v1::Priority::High);
    /// spec.workers_max = 2;
    /// let submitted = client.submit(spec, "nightly-2026-11-22", false).await?;
    /// println!("{} {}", submitted.job.job_id, if submitted.resumed { "goes on" } else { "begins" });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit(&self, spec: v1::JobSpec, idempotency_key: &str, fresh: bool) -> Result<Submitted> {
        let request = v1::SubmitRequest { idempotency_key: idempotency_key.to_owned(), spec: Some(spec), fresh };
        let attempts = if idempotency_key.is_empty() { 1 } else { ATTEMPTS_MAX };
        let answer = self
            .call("submit the job", attempts, CALL_TIMEOUT, || {
                let (mut admin, request) = (self.admin.clone(), request.clone());
                async move { admin.submit(request).await }
            })
            .instrument(tracing::info_span!("submit"))
            .await?;
        Ok(Submitted { job: present("job", answer.job)?, resumed: answer.resumed })
    }

    /// One job with its progress.
    ///
    /// # Errors
    /// `NotFound` where the coordinator knows no such job.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// let job = client.get("20261122T145053Z-7k3f").await?;
    /// for table in &job.tables {
    ///     println!("{:?}: {} of {} shards, {} rows", table.state(), table.shards_done, table.shards, table.rows);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self, job_id: &str) -> Result<v1::Job> {
        let answer = self
            .call("read the job", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, job_id) = (self.admin.clone(), job_id.to_owned());
                async move { admin.get_job(v1::GetJobRequest { job_id }).await }
            })
            .await?;
        present("job", answer.job)
    }

    /// The newest `jobs_max` jobs, newest first, without their tables.
    ///
    /// # Errors
    /// `Unavailable` where the coordinator can't be reached.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// let at_work = |job: &ringvault_client::v1::Job| !ringvault_client::state::has_ended(job.state());
    /// let jobs: Vec<_> = client.list(50).await?.into_iter().filter(at_work).collect();
    /// # Ok(())
    /// # }
    /// ```
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

    /// Follows one job until it has ended, across broken connections, restarts of the coordinator and pauses of the job.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// use futures::StreamExt;
    ///
    /// let mut watch = client.watch("20261122T145053Z-7k3f");
    /// while let Some(job) = watch.next().await {
    ///     let job = job?; // a failure is the last item
    ///     println!("{:?}: {}", job.state(), job.stage);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn watch(&self, job_id: &str) -> Watch {
        Watch::start(self.admin.clone(), self.address.clone(), job_id.to_owned(), self.entropy.clone())
    }

    /// Stops a job; what it stored stays. An ended job stays as it is.
    ///
    /// # Errors
    /// `NotFound` where the coordinator knows no such job.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// let job = client.cancel("20261122T145053Z-7k3f").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel(&self, job_id: &str) -> Result<v1::Job> {
        let answer = self
            .call("cancel the job", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, job_id) = (self.admin.clone(), job_id.to_owned());
                async move { admin.cancel_job(v1::CancelJobRequest { job_id }).await }
            })
            .await?;
        present("job", answer.job)
    }

    /// Takes a job's work away from its workers until it is resumed, also across restarts; what it stored stays. A paused
    /// job stays paused.
    ///
    /// # Errors
    /// `NotFound` where the coordinator knows no such job, `Conflict` where it has ended.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// client.pause("20261122T145053Z-7k3f").await?;
    /// // …when the cluster has breath again:
    /// client.resume("20261122T145053Z-7k3f").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pause(&self, job_id: &str) -> Result<v1::Job> {
        let answer = self
            .call("pause the job", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, job_id) = (self.admin.clone(), job_id.to_owned());
                async move { admin.pause_job(v1::PauseJobRequest { job_id }).await }
            })
            .await?;
        present("job", answer.job)
    }

    /// Lets a paused job go on where it was. One that goes on already stays as it is.
    ///
    /// # Errors
    /// `NotFound` where the coordinator knows no such job, `Conflict` where it has ended.
    pub async fn resume(&self, job_id: &str) -> Result<v1::Job> {
        let answer = self
            .call("resume the job", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, job_id) = (self.admin.clone(), job_id.to_owned());
                async move { admin.resume_job(v1::ResumeJobRequest { job_id }).await }
            })
            .await?;
        present("job", answer.job)
    }

    /// Changes priority and limits of a job that has not ended. What is set is changed and counts at once, the rest stays;
    /// a limit of 0 means none.
    ///
    /// # Errors
    /// `NotFound` where the coordinator knows no such job, `Conflict` where it has ended.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// use ringvault_client::v1::{Priority, UpdateJobRequest};
    ///
    /// let change = UpdateJobRequest {
    ///     job_id: "20261122T145053Z-7k3f".into(),
    ///     priority: Some(Priority::Low.into()),
    ///     rows_per_second_max: Some(20_000),
    ///     ..Default::default()
    /// };
    /// client.update(change).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update(&self, change: v1::UpdateJobRequest) -> Result<v1::Job> {
        let answer = self
            .call("change the job", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, change) = (self.admin.clone(), change.clone());
                async move { admin.update_job(change).await }
            })
            .await?;
        present("job", answer.job)
    }

    /// What a backup would do. Reads the cluster, writes nothing.
    ///
    /// # Errors
    /// What the coordinator or the worker that read the cluster refused. Not repeated.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client, spec: ringvault_client::v1::BackupSpec)
    /// # -> ringvault_client::Result<()> {
    /// let plan = client.plan(spec).await?;
    /// println!("{} bytes, about", plan.tables.iter().map(|table| table.bytes_estimated).sum::<u64>());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn plan(&self, spec: v1::BackupSpec) -> Result<v1::Plan> {
        let answer = self
            .call("plan the backup", 1, PLAN_TIMEOUT, || {
                let (mut admin, spec) = (self.admin.clone(), spec.clone());
                async move { admin.plan(v1::PlanRequest { spec: Some(spec) }).await }
            })
            .await?;
        present("plan", answer.plan)
    }
}
