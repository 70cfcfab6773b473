//! The service for workers: judges what they send, asks the core, says what it said.

mod judge;

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};
use ringvault_runtime::net::{Peer, Role};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use crate::{
    core::event::{Answer, Event},
    owner::Mailbox,
};

/// Serves `ringvault.v1.Fleet`.
#[derive(Debug)]
pub struct FleetService {
    mailbox: Mailbox,
}

/// One worker's stream of reports.
struct Attendance {
    reports: Streaming<v1::AttendRequest>,
    mailbox: Mailbox,
    /// From the first report on.
    hello: Option<v1::WorkerHello>,
}

impl FleetService {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }
}

#[async_trait::async_trait]
impl v1::fleet_server::Fleet for FleetService {
    type AttendStream = Pin<Box<dyn Stream<Item = Result<v1::AttendResponse, Status>> + Send>>;

    async fn attend(
        &self,
        request: Request<Streaming<v1::AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let reports = Peer::permit(request, Role::Worker)?;
        let attendance = Attendance { reports, mailbox: self.mailbox.clone(), hello: None };
        let answers = stream::unfold(Some(attendance), |attendance| async move {
            let mut attendance = attendance?;
            match attendance.next().await? {
                Ok(answer) => Some((Ok(answer), Some(attendance))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease(&self, request: Request<v1::LeaseRequest>) -> Result<Response<v1::LeaseResponse>, Status> {
        let request = Peer::permit(request, Role::Worker)?;
        judge::lease(&request)?;
        let span = tracing::debug_span!("lease", worker = request.worker_id);
        match self.mailbox.ask(|reply| Event::Lease(reply, request)).instrument(span).await? {
            Answer::Leased(response) => Ok(Response::new(response)),
            _ => Err(defect().into()),
        }
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Result<Response<v1::CompleteResponse>, Status> {
        let request = Peer::permit(request, Role::Worker)?;
        judge::complete(&request)?;
        let assignment = request.lease.as_ref().map_or("", |lease| lease.assignment_id.as_str());
        let span = tracing::debug_span!("complete", worker = request.worker_id, assignment, ended = request.ended);
        let worker = request.worker_id.clone();
        let answer = self.mailbox.ask(|reply| Event::Complete(reply, Box::new(request))).instrument(span).await;
        if let Err(failure) = &answer
            && failure.kind == ErrorKind::Fenced
        {
            tracing::info!(worker, error = %failure, "refused a completion of a lease that has ended");
        }
        match answer? {
            Answer::Completed(response) => Ok(Response::new(response)),
            _ => Err(defect().into()),
        }
    }

    async fn fail(&self, request: Request<v1::FailRequest>) -> Result<Response<v1::FailResponse>, Status> {
        let request = Peer::permit(request, Role::Worker)?;
        judge::fail(&request)?;
        match self.mailbox.ask(|reply| Event::Fail(reply, request)).await? {
            Answer::Noted => Ok(Response::new(v1::FailResponse {})),
            _ => Err(defect().into()),
        }
    }

    async fn r#return(&self, request: Request<v1::ReturnRequest>) -> Result<Response<v1::ReturnResponse>, Status> {
        let request = Peer::permit(request, Role::Worker)?;
        judge::give_back(&request)?;
        match self.mailbox.ask(|reply| Event::Return(reply, request)).await? {
            Answer::Noted => Ok(Response::new(v1::ReturnResponse {})),
            _ => Err(defect().into()),
        }
    }
}

impl Attendance {
    /// The answer to the next report; nothing once the worker has ended its stream.
    async fn next(&mut self) -> Option<Result<v1::AttendResponse, Status>> {
        let report = match self.reports.next().await? {
            Ok(report) => report,
            Err(status) => return Some(Err(status)),
        };
        Some(self.answer(report).await.map_err(Status::from))
    }

    async fn answer(&mut self, mut report: v1::AttendRequest) -> Result<v1::AttendResponse, Failure> {
        judge::report(&report, self.hello.as_ref())?;
        if let Some(hello) = report.hello.take() {
            self.hello = Some(hello);
        }
        report.hello.clone_from(&self.hello);
        match self.mailbox.ask(|reply| Event::Report(reply, report)).await? {
            Answer::Attended(response) => Ok(response),
            _ => Err(defect()),
        }
    }
}

fn defect() -> Failure {
    Failure::new(ErrorKind::Internal, "the core gave the answer to another question; please report this")
}
