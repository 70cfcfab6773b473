//! One job, followed until it has ended. A broken connection is opened again after a pause; the first thing a new
//! connection says is how the job stands, so nothing that matters is missed.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use ringvault_proto::{
    error::{ErrorKind, Failure, Verdict},
    v1::{self, admin_client::AdminClient},
};
use ringvault_runtime::{entropy::Entropy, net::Channel, retry::Backoff};
use tonic::Streaming;

use crate::{
    Result,
    client::{explain, present},
    state::has_ended,
};

/// Connections in a row that brought nothing before a watch gives up: with the pauses of [`Backoff::peer`] about five
/// minutes, enough for a coordinator that is restarted or moved.
const ATTEMPTS_MAX: u32 = 26;

/// A stream of one job's states; ends after the last one. A failure is the last item.
///
/// Dropping it ends the watch and leaves the job alone.
pub struct Watch(BoxStream<'static, Result<v1::Job>>);

impl Watch {
    pub(crate) fn start(admin: AdminClient<Channel>, address: String, job_id: String, entropy: Entropy) -> Self {
        let follower = Follower { admin, address, job_id, entropy, open: None, attempt: 0, ended: false };
        Self(stream::unfold(follower, Follower::next).boxed())
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Stream for Watch {
    type Item = Result<v1::Job>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

struct Follower {
    admin: AdminClient<Channel>,
    address: String,
    job_id: String,
    entropy: Entropy,
    open: Option<Streaming<v1::WatchJobResponse>>,
    attempt: u32,
    ended: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<v1::Job>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            match self.receive().await {
                Ok(job) => {
                    self.attempt = 0;
                    self.ended = has_ended(job.state());
                    return Some((Ok(job), self));
                }
                Err(failure) if failure.kind.verdict() == Verdict::Retry && self.attempt < ATTEMPTS_MAX => {
                    tracing::debug!(job = self.job_id, %failure, "watching again after a pause");
                    self.open = None;
                    tokio::time::sleep(Backoff::peer().pause(self.attempt, &self.entropy)).await;
                    self.attempt += 1;
                }
                Err(failure) => {
                    self.ended = true;
                    return Some((Err(failure), self));
                }
            }
        }
    }

    async fn receive(&mut self) -> Result<v1::Job> {
        let told = |status: &tonic::Status, address: &str| explain(status, "watch the job", address);
        if self.open.is_none() {
            let request = v1::WatchJobRequest { job_id: self.job_id.clone() };
            let answer = self.admin.watch_job(request).await.map_err(|s| told(&s, &self.address))?;
            self.open = Some(answer.into_inner());
        }
        let open = self.open.as_mut().expect("opened just above");
        match open.message().await {
            Ok(Some(answer)) => present("job", answer.job),
            Ok(None) => {
                let message = "the coordinator ended the watch before the job had ended; it may be restarting";
                Err(Failure::new(ErrorKind::Unavailable, message))
            }
            Err(status) => Err(told(&status, &self.address)),
        }
    }
}
