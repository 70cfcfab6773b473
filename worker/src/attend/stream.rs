//! The Attend stream: opened lazily, opened again with backoff whenever it breaks.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use ringvault_proto::{error::Failure, v1};
use ringvault_runtime::{entropy::Entropy, net, retry::Backoff};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::link::{Link, RECONNECT_MAX};

/// Reports that may wait to be sent.
const REPORTS_QUEUED_MAX: usize = 4;

/// Why the coordinator can't be reached, in words with the next step, or what it said.
fn broken_link(status: &tonic::Status) -> Failure {
    let failure = Failure::of_status(status);
    match net::cause_of(status) {
        Some(cause) => Failure::new(failure.kind, cause),
        None => failure,
    }
}

/// The stream, or when the next one is opened.
pub(super) struct AttendStream {
    open: Option<Open>,
    /// The coordinator has answered on this stream.
    attended: bool,
    /// Streams that broke in a row without an answer.
    broken: u32,
    reopen_at: Duration,
}

struct Open {
    reports: mpsc::Sender<v1::AttendRequest>,
    answers: BoxStream<'static, Result<v1::AttendResponse, Failure>>,
}

impl AttendStream {
    pub(super) fn new() -> Self {
        Self { open: None, attended: false, broken: 0, reopen_at: Duration::ZERO }
    }

    /// Opens the stream where there is none and one is due; tells whether it did. A failure shows as a broken stream.
    pub(super) fn open(&mut self, now: Duration, link: &Link) -> bool {
        if self.open.is_some() || now < self.reopen_at {
            return false;
        }
        let (reports, outgoing) = mpsc::channel(REPORTS_QUEUED_MAX);
        let mut client = link.client();
        let opening =
            async move { client.attend(ReceiverStream::new(outgoing)).await.map_err(|status| broken_link(&status)) };
        let answers = futures::stream::once(opening)
            .flat_map(|opened| match opened {
                Ok(answer) => answer.into_inner().map(|item| item.map_err(|status| broken_link(&status))).boxed(),
                Err(failure) => futures::stream::once(async { Err(failure) }).boxed(),
            })
            .boxed();
        self.open = Some(Open { reports, answers });
        self.attended = false;
        true
    }

    /// Sends a report; false where there is no stream or too many wait.
    pub(super) fn send(&self, report: v1::AttendRequest) -> bool {
        self.open.as_ref().is_some_and(|open| open.reports.try_send(report).is_ok())
    }

    /// The next answer; nothing at the end of the stream. Waits for ever where there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<v1::AttendResponse, Failure>> {
        match self.open.as_mut() {
            Some(open) => open.answers.next().await,
            None => std::future::pending().await,
        }
    }

    /// An answer came; tells whether it is the first on this stream.
    pub(super) fn answered(&mut self) -> bool {
        self.broken = 0;
        !std::mem::replace(&mut self.attended, true)
    }

    /// The stream broke: the next is opened after a pause, which is told.
    pub(super) fn broke(&mut self, now: Duration, entropy: &Entropy) -> Duration {
        let pause = Backoff::peer().pause(self.broken, entropy).min(RECONNECT_MAX);
        self.broken = self.broken.saturating_add(1);
        self.close();
        self.reopen_at = now + pause;
        pause
    }

    pub(super) fn close(&mut self) {
        self.open = None;
        self.attended = false;
    }

    /// Whether the coordinator knows that this worker attends.
    pub(super) fn is_attended(&self) -> bool {
        self.attended
    }

    /// Streams that broke in a row without an answer.
    pub(super) fn broken(&self) -> u32 {
        self.broken
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.open.is_none().then_some(self.reopen_at)
    }
}
