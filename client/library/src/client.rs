//! A coordinator as a client sees it, and how its calls are tried again.
//!
//! - `jobs`: submit, read, watch, pause, change, cancel, plan; `fleet`: workers and clusters
//!
//! A call is repeated while its failure says [`Verdict::Retry`] (the coordinator is unreachable or asks for less), six times at
//! most, with pauses that double from 0.1 s and are never shorter than what the coordinator asked for by
//! `google.rpc.RetryInfo`. Every call may be repeated without harm: a submission carries an idempotency key (one without is
//! sent once), the others change nothing twice. Dropping the future of a call gives it up; the coordinator may have done
//! it all the same.

mod fleet;
mod jobs;

use std::{future::Future, time::Duration};

use ringvault_proto::{
    MESSAGE_BYTES_MAX,
    error::{ErrorKind, Failure, Verdict},
    v1::{self, admin_client::AdminClient},
};
use ringvault_runtime::{
    entropy::Entropy,
    net::{self, Channel, Tls},
    retry::Backoff,
};
use tonic::{Response, Status};

pub use self::jobs::Submitted;
use crate::Result;

/// Attempts of one call; with the pauses of [`Backoff::peer`] about three seconds of an unreachable coordinator.
const ATTEMPTS_MAX: u32 = 6;
/// Longest pause that a coordinator may ask for: a person may be waiting.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A coordinator, as a client sees it. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    admin: AdminClient<Channel>,
    address: String,
    entropy: Entropy,
}

impl Client {
    /// A client of the coordinator at `address`: `https://HOST:PORT` with certificates, `http://HOST:PORT` without. Connects
    /// when it is first used, and again whenever the connection broke.
    ///
    /// # Errors
    /// `Invalid` where `address` is no such address.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ringvault_client::{Client, Tls, TlsFiles};
    ///
    /// let files = TlsFiles { ca: "ca.pem".into(), cert: "operator.pem".into(), key: "operator.key".into() };
    /// let client = Client::connect("https://backups.example.org:7077", Some(&Tls::load(files)?))?;
    /// # Ok(())
    /// # }
    /// ```
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

    pub(crate) async fn call<T, F, A>(&self, what: &str, attempts: u32, timeout: Duration, ask: F) -> Result<T>
    where
        F: Fn() -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let mut attempt = 0;
        loop {
            let answered = tokio::time::timeout(timeout, ask()).await;
            let (failure, wished) = match answered {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => (explain(&status, what, &self.address), Failure::retry_after(&status)),
                Err(_) => (slow(what, &self.address, timeout), None),
            };
            attempt += 1;
            if failure.kind.verdict() != Verdict::Retry || attempt >= attempts {
                return Err(failure);
            }
            let pause = Backoff::peer().pause(attempt - 1, &self.entropy);
            tokio::time::sleep(pause.max(wished.unwrap_or_default().min(RETRY_AFTER_MAX))).await;
        }
    }
}

/// The failure behind a status; one of the transport names the coordinator and the next step.
pub(crate) fn explain(status: &Status, what: &str, address: &str) -> Failure {
    let Some(cause) = net::cause_of(status) else { return Failure::of_status(status) };
    let message = format!(
        "could not {what}: no answer from the coordinator at {address}: {cause}; check that `ringvault coordinator` \
         runs there"
    );
    Failure::new(ErrorKind::Unavailable, message)
}

fn slow(what: &str, address: &str, timeout: Duration) -> Failure {
    let message =
        format!("could not {what}: the coordinator at {address} did not answer within {}s", timeout.as_secs());
    Failure::new(ErrorKind::Unavailable, message)
}

/// What an answer is about; an answer without it is a defect of the peer. `what`: `job`, `worker`, …
pub(crate) fn present<T>(what: &str, answered: Option<T>) -> Result<T> {
    answered.ok_or_else(|| Failure::new(ErrorKind::Internal, format!("the coordinator answered without a {what}")))
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
