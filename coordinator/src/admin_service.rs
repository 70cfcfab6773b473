//! The service for clients (being written).

use ringvault_proto::v1;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

/// Serves `ringvault.v1.Admin`.
#[derive(Debug)]
pub struct AdminService {}

fn later<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not yet"))
}

#[async_trait::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn submit(&self, _: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        later()
    }
    async fn get_job(&self, _: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        later()
    }
    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        later()
    }
    type WatchJobStream = Empty<Result<v1::WatchJobResponse, Status>>;
    async fn watch_job(&self, _: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        later()
    }
    async fn cancel_job(&self, _: Request<v1::CancelJobRequest>) -> Result<Response<v1::CancelJobResponse>, Status> {
        later()
    }
    async fn list_workers(
        &self,
        _: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        later()
    }
    async fn plan(&self, _: Request<v1::PlanRequest>) -> Result<Response<v1::PlanResponse>, Status> {
        later()
    }
}
