//! The end of a lease as its work sees it: work that was stopped beyond its deadline, with its whole process perhaps, does
//! nothing more when it wakes, even before the attend loop has had its turn.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use ringvault_proto::error::Failure;
use ringvault_runtime::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::link::abandoned;

/// Watches one lease. Clones watch the same.
#[derive(Clone, Debug)]
pub(crate) struct LeaseWatch {
    clock: Arc<dyn Clock>,
    /// When the work must have stopped, in ms of the clock.
    stop_at_ms: Arc<AtomicU64>,
    over: CancellationToken,
}

impl LeaseWatch {
    pub(crate) fn new(clock: Arc<dyn Clock>, stop_at: Duration, over: CancellationToken) -> Self {
        Self { clock, stop_at_ms: Arc::new(AtomicU64::new(ms(stop_at))), over }
    }

    /// The lease was renewed until then.
    pub(crate) fn extend(&self, stop_at: Duration) {
        self.stop_at_ms.store(ms(stop_at), Ordering::Release);
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }

    /// Whether the work must stop: the lease was lost or given back, or its time is over.
    pub(crate) fn is_over(&self) -> bool {
        if !self.over.is_cancelled() && ms(self.clock.now()) >= self.stop_at_ms.load(Ordering::Acquire) {
            self.over.cancel();
        }
        self.over.is_cancelled()
    }

    /// Fires when the lease is over.
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Drives `work` while the lease lasts: before each step the deadline is looked at.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let guarded = Guarded { watch: self, work: std::pin::pin!(work) };
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(abandoned()),
            outcome = guarded => outcome,
        }
    }
}

/// Work that takes no step behind the deadline.
struct Guarded<'w, F> {
    watch: &'w LeaseWatch,
    work: Pin<&'w mut F>,
}

impl<T, F: Future<Output = Result<T, Failure>>> Future for Guarded<'_, F> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.watch.is_over() {
            return Poll::Ready(Err(abandoned()));
        }
        self.work.as_mut().poll(cx)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use ringvault_runtime::clock::ManualClock;

    use super::*;

    #[tokio::test]
    async fn work_that_wakes_behind_its_deadline_takes_no_further_step() {
        let clock = Arc::new(ManualClock::at(0));
        let watch = LeaseWatch::new(clock.clone(), Duration::from_secs(20), CancellationToken::new());
        let steps = AtomicU32::new(0);
        let work = async {
            loop {
                steps.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            #[allow(unreachable_code)]
            Ok::<(), Failure>(())
        };
        let mut guarded = Box::pin(watch.guard(work));
        assert!(futures::poll!(&mut guarded).is_pending());
        clock.advance(Duration::from_secs(19));
        assert!(futures::poll!(&mut guarded).is_pending());
        watch.extend(Duration::from_secs(30));
        clock.advance(Duration::from_secs(10));
        assert!(futures::poll!(&mut guarded).is_pending());
        assert_eq!(steps.load(Ordering::Relaxed), 3);
        clock.advance(Duration::from_secs(1));
        let outcome = guarded.await;
        assert_eq!((outcome, steps.load(Ordering::Relaxed)), (Err(abandoned()), 3));
        assert!(watch.is_over() && watch.over().is_cancelled());
    }
}
