//! A client against a coordinator that breaks its connections.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures::{StreamExt, stream, stream::BoxStream};
use ringvault_client::{
    Client, ErrorKind, Failure,
    v1::{
        self, Job, JobState,
        admin_server::{Admin, AdminServer},
    },
};
use ringvault_runtime::net;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

/// A coordinator whose first answers fail.
#[derive(Clone, Default)]
struct Flaky {
    watches: Arc<AtomicU32>,
    submissions: Arc<AtomicU32>,
}

fn job(state: JobState, stage: &str) -> Job {
    Job { job_id: "j-1".to_owned(), state: state.into(), stage: stage.to_owned(), ..Job::default() }
}

#[tonic::async_trait]
impl Admin for Flaky {
    type WatchJobStream = BoxStream<'static, Result<v1::WatchJobResponse, Status>>;

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        if request.get_ref().job_id != "j-1" {
            return Err(Failure::new(ErrorKind::NotFound, "no job j-2; see `ringvault job list`").into());
        }
        let said = |job| Ok(v1::WatchJobResponse { job: Some(job) });
        let items = match self.watches.fetch_add(1, Ordering::SeqCst) {
            0 => return Err(Status::unavailable("starting")),
            1 => vec![said(job(JobState::Running, "first")), Err(Status::unavailable("connection lost"))],
            2 => vec![said(job(JobState::Running, "second"))],
            _ => vec![said(job(JobState::Done, "third"))],
        };
        Ok(Response::new(stream::iter(items).boxed()))
    }

    async fn submit(&self, _: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        match self.submissions.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Failure::new(ErrorKind::Overloaded, "too many jobs").into()),
            _ => Ok(Response::new(v1::SubmitResponse { job: Some(job(JobState::Preparing, "")), resumed: false })),
        }
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let page: u32 = request.get_ref().page_token.parse().unwrap_or(0);
        let next_page_token = if page < 2 { (page + 1).to_string() } else { String::new() };
        let jobs = vec![job(JobState::Done, &format!("page {page}"))];
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
    }

    async fn get_job(&self, _: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        Ok(Response::new(v1::GetJobResponse { job: None }))
    }

    async fn cancel_job(&self, _: Request<v1::CancelJobRequest>) -> Result<Response<v1::CancelJobResponse>, Status> {
        Ok(Response::new(v1::CancelJobResponse { job: Some(job(JobState::Cancelled, "")) }))
    }

    async fn pause_job(&self, _: Request<v1::PauseJobRequest>) -> Result<Response<v1::PauseJobResponse>, Status> {
        Ok(Response::new(v1::PauseJobResponse { job: Some(job(JobState::Paused, "")) }))
    }

    async fn resume_job(&self, _: Request<v1::ResumeJobRequest>) -> Result<Response<v1::ResumeJobResponse>, Status> {
        Ok(Response::new(v1::ResumeJobResponse { job: Some(job(JobState::Running, "")) }))
    }

    async fn update_job(
        &self,
        request: Request<v1::UpdateJobRequest>,
    ) -> Result<Response<v1::UpdateJobResponse>, Status> {
        let request = request.into_inner();
        let set = format!("{:?} {:?} {:?}", request.workers_max, request.ranges_max, request.rows_per_second_max);
        Ok(Response::new(v1::UpdateJobResponse { job: Some(job(JobState::Running, &set)) }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let v1::DrainWorkerRequest { worker, undo } = request.into_inner();
        let worker = v1::Worker { name: worker, draining: !undo, ..v1::Worker::default() };
        Ok(Response::new(v1::DrainWorkerResponse { worker: Some(worker) }))
    }

    async fn list_clusters(
        &self,
        _: Request<v1::ListClustersRequest>,
    ) -> Result<Response<v1::ListClustersResponse>, Status> {
        let cluster = v1::Cluster { name: "prod".to_owned(), ..v1::Cluster::default() };
        Ok(Response::new(v1::ListClustersResponse { clusters: vec![cluster] }))
    }

    async fn set_cluster_limits(
        &self,
        request: Request<v1::SetClusterLimitsRequest>,
    ) -> Result<Response<v1::SetClusterLimitsResponse>, Status> {
        let v1::SetClusterLimitsRequest { cluster, limits } = request.into_inner();
        let cluster = v1::Cluster { name: cluster, limits, ..v1::Cluster::default() };
        Ok(Response::new(v1::SetClusterLimitsResponse { cluster: Some(cluster) }))
    }

    async fn list_workers(
        &self,
        _: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        Ok(Response::new(v1::ListWorkersResponse::default()))
    }

    async fn plan(&self, _: Request<v1::PlanRequest>) -> Result<Response<v1::PlanResponse>, Status> {
        Err(Failure::new(ErrorKind::NotFound, "no keyspace shop").into())
    }
}

fn client() -> Client {
    let (transport, listener) = net::in_memory();
    let routes = Routes::new(AdminServer::new(Flaky::default()));
    tokio::spawn(net::serve(listener, routes, v1::DESCRIPTOR_SET, CancellationToken::new()));
    Client::over(transport.channel(), "the test")
}

#[tokio::test]
async fn a_watch_survives_broken_connections_and_ends_with_the_job() {
    let stages: Vec<String> =
        client().watch("j-1").map(|job| job.expect("the watch goes on").stage).collect::<Vec<_>>().await;
    assert_eq!(stages, ["first", "second", "third"]);
}

#[tokio::test]
async fn a_watch_of_a_job_that_nobody_knows_ends_at_once() {
    let seen: Vec<_> = client().watch("j-2").collect().await;
    let [Err(failure)] = seen.as_slice() else { panic!("one failure, not {seen:?}") };
    assert_eq!(failure.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_submission_is_repeated_under_its_key_and_only_then() {
    let submitted = client().submit(v1::JobSpec::default(), "key", false).await.expect("the second attempt");
    assert_eq!(submitted.job.job_id, "j-1");
    let failure = client().submit(v1::JobSpec::default(), "", false).await.expect_err("no key, no repetition");
    assert_eq!(failure.kind, ErrorKind::Overloaded);
}

#[tokio::test]
async fn pages_of_jobs_are_read_until_there_are_enough() {
    let client = client();
    assert_eq!(client.list(100).await.expect("three pages").len(), 3);
    assert_eq!(client.list(2).await.expect("two pages").len(), 2);
}

#[tokio::test]
async fn a_refusal_is_told_and_not_repeated() {
    let failure = client().plan(v1::BackupSpec::default()).await.expect_err("refused");
    assert_eq!(failure, Failure::new(ErrorKind::NotFound, "no keyspace shop"));
    let failure = client().get("j-1").await.expect_err("an answer without a job");
    assert_eq!(failure.kind, ErrorKind::Internal);
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_changed() {
    let client = client();
    assert_eq!(client.pause("j-1").await.expect("paused").state(), JobState::Paused);
    assert_eq!(client.resume("j-1").await.expect("resumed").state(), JobState::Running);
    let change = v1::UpdateJobRequest { job_id: "j-1".into(), workers_max: Some(0), ..Default::default() };
    // What is not set does not travel: a limit of 0 and no word about a limit are two things.
    assert_eq!(client.update(change).await.expect("changed").stage, "Some(0) None None");
}

#[tokio::test]
async fn workers_and_clusters_are_told_what_to_do() {
    let client = client();
    assert!(client.drain_worker("w", false).await.expect("drains").draining);
    assert!(!client.drain_worker("w", true).await.expect("works again").draining);
    assert_eq!(client.clusters().await.expect("one")[0].name, "prod");
    let limits = v1::ClusterLimits { ranges_max: 7, ..Default::default() };
    assert_eq!(client.set_cluster_limits("prod", limits).await.expect("set").limits, Some(limits));
}
