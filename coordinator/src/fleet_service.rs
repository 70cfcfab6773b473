//! The service for workers (being written).

use ringvault_proto::v1;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

/// Serves `ringvault.v1.Fleet`.
#[derive(Debug)]
pub struct FleetService {}

fn later<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not yet"))
}

#[async_trait::async_trait]
impl v1::fleet_server::Fleet for FleetService {
    type AttendStream = Empty<Result<v1::AttendResponse, Status>>;
    async fn attend(&self, _: Request<Streaming<v1::AttendRequest>>) -> Result<Response<Self::AttendStream>, Status> {
        later()
    }
    async fn lease(&self, _: Request<v1::LeaseRequest>) -> Result<Response<v1::LeaseResponse>, Status> {
        later()
    }
    async fn complete(&self, _: Request<v1::CompleteRequest>) -> Result<Response<v1::CompleteResponse>, Status> {
        later()
    }
    async fn fail(&self, _: Request<v1::FailRequest>) -> Result<Response<v1::FailResponse>, Status> {
        later()
    }
    async fn r#return(&self, _: Request<v1::ReturnRequest>) -> Result<Response<v1::ReturnResponse>, Status> {
        later()
    }
}
