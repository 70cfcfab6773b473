//! The service for clients: judges what they send, asks the core, says what it said.

use std::pin::Pin;

use futures::{Stream, stream};
use jiff::{Timestamp, tz::TimeZone};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    ids::JobId,
    v1,
};
use ringvault_runtime::{
    net::{Peer, Role},
    telemetry,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span, field};

use crate::{
    core::event::{Answer, Event, ReplyId, Submission},
    owner::{Mailbox, ended, has_ended},
    spec,
};

/// Longest idempotency key, in characters.
const KEY_CHARS_MAX: usize = 128;

/// Jobs of a page where the request does not say.
const PAGE_SIZE: usize = 50;

/// Jobs of a page at most.
const PAGE_SIZE_MAX: usize = 500;

/// Serves `ringvault.v1.Admin`.
#[derive(Debug)]
pub struct AdminService {
    mailbox: Mailbox,
}

impl AdminService {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }

    async fn submit_spec(
        &self,
        key: String,
        spec: Option<v1::JobSpec>,
        fresh: bool,
    ) -> Result<v1::SubmitResponse, Failure> {
        let spec = spec::check(spec, &self.mailbox.settings)?;
        let submission = Submission {
            key,
            spec,
            fresh,
            job_id: format!("j{}", self.mailbox.entropy.suffix(9)),
            backup_id: backup_id(self.mailbox.clock.unix_ms(), &self.mailbox.entropy.suffix(4)),
            trace_parent: telemetry::trace_parent(),
        };
        match self.mailbox.ask(|reply| Event::Submit(reply, Box::new(submission))).await? {
            Answer::Submitted(response) => {
                let job = response.job.as_ref().map_or("", |job| job.job_id.as_str());
                Span::current().record("job", job);
                Ok(*response)
            }
            _ => Err(defect()),
        }
    }

    /// A job as it is once something of it was changed.
    async fn change(&self, event: impl FnOnce(ReplyId) -> Event) -> Result<v1::Job, Failure> {
        match self.mailbox.ask(event).await? {
            Answer::Changed(job) => Ok(*job),
            _ => Err(defect()),
        }
    }

    /// The receiver of a job's states.
    async fn follow(&self, job_id: String) -> Result<watch::Receiver<v1::Job>, Failure> {
        let followed = self.mailbox.watch(job_id.clone()).await?;
        followed.ok_or_else(|| unknown(&job_id))
    }
}

#[async_trait::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let request = Peer::permit(request, Role::Operator)?;
        if request.idempotency_key.chars().count() > KEY_CHARS_MAX {
            let message = format!("the idempotency key is longer than {KEY_CHARS_MAX} characters; shorten it");
            return Err(Failure::new(ErrorKind::Invalid, message).into());
        }
        let submitted = self.submit_spec(request.idempotency_key, request.spec, request.fresh);
        Ok(Response::new(submitted.instrument(tracing::info_span!("submit", job = field::Empty)).await?))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let id = job_id(Peer::permit(request, Role::Viewer)?.job_id)?;
        let looked_up = id.clone();
        let job = self.mailbox.query(move |core| core.job(&looked_up)).await?;
        let job = job.ok_or_else(|| unknown(&id))?;
        Ok(Response::new(v1::GetJobResponse { job: Some(job) }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let v1::ListJobsRequest { page_size, page_token } = Peer::permit(request, Role::Viewer)?;
        let size = match usize::try_from(page_size).unwrap_or(usize::MAX) {
            0 => PAGE_SIZE,
            size if size <= PAGE_SIZE_MAX => size,
            size => {
                let message = format!("page_size is {size}; it must be at most {PAGE_SIZE_MAX}");
                return Err(Failure::new(ErrorKind::Invalid, message).into());
            }
        };
        let (jobs, more) = self.mailbox.query(move |core| core.jobs(&page_token, size)).await?.ok_or_else(|| {
            Failure::new(ErrorKind::Invalid, "the page token names no job any more; start from the first page")
        })?;
        let last = jobs.last().filter(|_| more).map(|job| job.job_id.clone());
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token: last.unwrap_or_default() }))
    }

    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let followed = self.follow(job_id(Peer::permit(request, Role::Viewer)?.job_id)?).await?;
        Ok(Response::new(Box::pin(states(followed))))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let id = job_id(Peer::permit(request, Role::Operator)?.job_id)?;
        let job = self.change(|reply| Event::Cancel(reply, id)).await?;
        Ok(Response::new(v1::CancelJobResponse { job: Some(job) }))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        Peer::permit(request, Role::Viewer)?;
        let workers = self.mailbox.query(|core| core.workers()).await?;
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn pause_job(&self, request: Request<v1::PauseJobRequest>) -> Result<Response<v1::PauseJobResponse>, Status> {
        let id = job_id(Peer::permit(request, Role::Operator)?.job_id)?;
        let job = self.change(|reply| Event::Pause(reply, id)).await?;
        Ok(Response::new(v1::PauseJobResponse { job: Some(job) }))
    }

    async fn resume_job(
        &self,
        request: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        let id = job_id(Peer::permit(request, Role::Operator)?.job_id)?;
        let job = self.change(|reply| Event::Resume(reply, id)).await?;
        Ok(Response::new(v1::ResumeJobResponse { job: Some(job) }))
    }

    async fn update_job(
        &self,
        request: Request<v1::UpdateJobRequest>,
    ) -> Result<Response<v1::UpdateJobResponse>, Status> {
        let mut request = Peer::permit(request, Role::Operator)?;
        request.job_id = job_id(request.job_id)?;
        spec::check_update(&request)?;
        let job = self.change(|reply| Event::Update(reply, Box::new(request))).await?;
        Ok(Response::new(v1::UpdateJobResponse { job: Some(job) }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let request = Peer::permit(request, Role::Admin)?;
        if request.worker.is_empty() {
            let message = "no worker is named; give its name or its id, `ringvault worker list` shows them";
            return Err(Failure::new(ErrorKind::Invalid, message).into());
        }
        match self.mailbox.ask(|reply| Event::Drain(reply, request)).await? {
            Answer::Drained(worker) => Ok(Response::new(v1::DrainWorkerResponse { worker: Some(*worker) })),
            _ => Err(defect().into()),
        }
    }

    async fn list_clusters(
        &self,
        request: Request<v1::ListClustersRequest>,
    ) -> Result<Response<v1::ListClustersResponse>, Status> {
        Peer::permit(request, Role::Viewer)?;
        let clusters = self.mailbox.query(|core| core.clusters()).await?;
        Ok(Response::new(v1::ListClustersResponse { clusters }))
    }

    async fn set_cluster_limits(
        &self,
        request: Request<v1::SetClusterLimitsRequest>,
    ) -> Result<Response<v1::SetClusterLimitsResponse>, Status> {
        let request = Peer::permit(request, Role::Admin)?;
        spec::check_limits(&request)?;
        match self.mailbox.ask(|reply| Event::SetLimits(reply, request)).await? {
            Answer::Limited(cluster) => Ok(Response::new(v1::SetClusterLimitsResponse { cluster: Some(*cluster) })),
            _ => Err(defect().into()),
        }
    }

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Result<Response<v1::PlanResponse>, Status> {
        let spec = Peer::permit(request, Role::Operator)?.spec.map(|spec| v1::JobSpec {
            work: Some(v1::job_spec::Work::Backup(spec)),
            dry_run: true,
            ..v1::JobSpec::default()
        });
        let job = self.submit_spec(String::new(), spec, false).await?.job.ok_or_else(defect)?;
        let mut followed = self.follow(job.job_id).await?;
        let job = followed.wait_for(has_ended).await.map_err(|_| ended())?.clone();
        match (job.plan, job.failure) {
            (Some(plan), _) => Ok(Response::new(v1::PlanResponse { plan: Some(plan) })),
            (None, Some(failure)) => Err(Failure::from(failure).into()),
            (None, None) => Err(Failure::new(ErrorKind::Conflict, "the plan was cancelled; ask again").into()),
        }
    }
}

/// The states of a job from the present one to the last.
fn states(followed: watch::Receiver<v1::Job>) -> impl Stream<Item = Result<v1::WatchJobResponse, Status>> + Send {
    stream::unfold(Some((followed, false)), |state| async move {
        let (mut followed, shown) = state?;
        if shown && followed.changed().await.is_err() {
            return Some((Err(Status::from(ended())), None));
        }
        let job = followed.borrow_and_update().clone();
        let rest = (!has_ended(&job)).then_some((followed, true));
        Some((Ok(v1::WatchJobResponse { job: Some(job) }), rest))
    })
}

/// The id of a backup that is submitted now: UTC and sortable.
fn backup_id(unix_ms: u64, suffix: &str) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    format!("{}-{suffix}", time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ"))
}

fn job_id(text: String) -> Result<String, Failure> {
    let id = JobId::try_from(text).map_err(|e| Failure::new(ErrorKind::Invalid, e.to_string()))?;
    Ok(id.into())
}

fn unknown(job: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no job {job}; `ringvault job list` names them"))
}

fn defect() -> Failure {
    Failure::new(ErrorKind::Internal, "the core gave the answer to another question; please report this")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_id_is_utc_and_sortable() {
        assert_eq!(backup_id(1_795_359_053_999, "7k3f"), "20261122T145053Z-7k3f");
        assert!(backup_id(1_795_359_053_999, "7k3f").parse::<ringvault_proto::ids::BackupId>().is_ok());
    }
}
