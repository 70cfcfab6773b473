//! The worker's calls to the coordinator. Calls about a lease are repeated while the coordinator can't be reached and
//! the lease is held: every one of them may be repeated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ringvault_proto::{
    MESSAGE_BYTES_MAX,
    error::{ErrorKind, Failure, Verdict},
    v1::{self, fleet_client::FleetClient},
};
use ringvault_runtime::{
    entropy::Entropy,
    lease_keeper::Lease,
    net::Channel,
    retry::Backoff,
    telemetry::metrics::{self, Retried},
};
use tonic::Status;

use crate::watch::LeaseWatch;

/// Longest pause between two attempts to reach the coordinator: leases last some tens of seconds, and one that was started
/// anew is to hear soon of the work that goes on.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(3);

/// The coordinator, as a worker calls it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    client: FleetClient<Channel>,
    worker_id: Arc<str>,
    entropy: Entropy,
}

impl Link {
    pub(crate) fn new(channel: Channel, worker_id: &str, entropy: Entropy) -> Self {
        let client = FleetClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { client, worker_id: worker_id.into(), entropy }
    }

    pub(crate) fn client(&self) -> FleetClient<Channel> {
        self.client.clone()
    }

    pub(crate) fn worker_id(&self) -> String {
        self.worker_id.to_string()
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// One long poll for work.
    pub(crate) async fn lease(&self, request: v1::LeaseRequest) -> Result<v1::LeaseResponse, Failure> {
        let answer = self.client().lease(request).await.map_err(|status| Failure::of_status(&status))?;
        Ok(answer.into_inner())
    }

    /// Says that an assignment can't be finished here.
    pub(crate) async fn fail(&self, lease: &Lease, failure: Failure, watch: &LeaseWatch) {
        let request = v1::FailRequest {
            worker_id: self.worker_id(),
            lease: Some(lease_message(lease)),
            failure: Some(failure.into()),
        };
        let told = self
            .repeat(watch, || {
                let (mut client, request) = (self.client(), request.clone());
                async move { client.fail(request).await.map(drop) }
            })
            .await;
        if let Err(error) = told {
            tracing::debug!(%error, assignment = %lease.assignment, "the coordinator did not take the failure");
        }
    }

    /// Gives leases back; tried once, since the deadline does the same later.
    pub(crate) async fn give_back(&self, leases: &[Lease], leaving: bool) {
        let request = v1::ReturnRequest {
            worker_id: self.worker_id(),
            leases: leases.iter().map(lease_message).collect(),
            leaving,
        };
        if let Err(status) = self.client().r#return(request).await {
            tracing::debug!(error = status.message(), "the coordinator did not take the leases back");
        }
    }

    async fn complete(&self, request: &v1::CompleteRequest, watch: &LeaseWatch) -> Result<bool, Failure> {
        self.repeat(watch, || {
            let (mut client, request) = (self.client(), request.clone());
            async move { client.complete(request).await.map(|answer| answer.into_inner().ended) }
        })
        .await
    }

    /// Calls until an answer comes that another try would not change, or the lease is over. Behind its end nothing is sent.
    async fn repeat<T, F>(&self, watch: &LeaseWatch, call: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut attempt = 0;
        loop {
            if watch.is_over() {
                return Err(abandoned());
            }
            let outcome = tokio::select! {
                biased;
                () = watch.over().cancelled() => return Err(abandoned()),
                outcome = call() => outcome,
            };
            let failure = match outcome {
                Ok(answer) => return Ok(answer),
                Err(status) => Failure::of_status(&status),
            };
            if failure.kind.verdict() != Verdict::Retry {
                return Err(failure);
            }
            let pause = Backoff::peer().pause(attempt, &self.entropy).min(RECONNECT_MAX);
            metrics::retry(Retried::Call);
            tracing::debug!(error = %failure, ?pause, "the coordinator did not answer; trying again");
            attempt += 1;
            tokio::select! {
                () = watch.over().cancelled() => return Err(abandoned()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Reports finished pieces of one lease.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    link: Link,
    lease: Lease,
    watch: LeaseWatch,
    ended: Arc<AtomicBool>,
}

impl Reporter {
    pub(crate) fn new(link: Link, lease: Lease, watch: LeaseWatch) -> Self {
        Self { link, lease, watch, ended: Arc::default() }
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Records pieces; when this returns they are in the coordinator's journal. `fill` sets what is reported.
    ///
    /// # Errors
    /// `Fenced` where the lease is no longer ours; what else the coordinator refuses.
    pub(crate) async fn complete(&self, fill: impl FnOnce(&mut v1::CompleteRequest)) -> Result<(), Failure> {
        let mut request = v1::CompleteRequest {
            worker_id: self.link.worker_id(),
            lease: Some(lease_message(&self.lease)),
            ..v1::CompleteRequest::default()
        };
        fill(&mut request);
        let says_ended = request.ended;
        let ended = self.link.complete(&request, &self.watch).await?;
        if says_ended && !ended {
            let message = format!("the coordinator still misses pieces of assignment {}", self.lease.assignment);
            return Err(Failure::new(ErrorKind::Internal, message));
        }
        self.ended.fetch_or(ended, Ordering::Relaxed);
        Ok(())
    }

    /// Says that nothing is left, unless the coordinator has seen that by the pieces.
    ///
    /// # Errors
    /// As [`Reporter::complete`]; `Internal` where the coordinator misses pieces.
    pub(crate) async fn finish(&self) -> Result<(), Failure> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.complete(|request| request.ended = true).await
    }
}

/// The failure of work whose lease was lost or given back.
pub(crate) fn abandoned() -> Failure {
    Failure::new(ErrorKind::Fenced, "the lease was lost or given back")
}

/// A lease as a message.
pub(crate) fn lease_message(lease: &Lease) -> v1::LeaseId {
    v1::LeaseId { assignment_id: lease.assignment.to_string(), epoch: lease.epoch.0 }
}

/// A lease from a message.
pub(crate) fn lease_of(message: &v1::LeaseId) -> Result<Lease, Failure> {
    let assignment = message
        .assignment_id
        .parse()
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("the coordinator sent a broken lease: {error}")))?;
    Ok(Lease { assignment, epoch: ringvault_proto::ids::Epoch(message.epoch) })
}
