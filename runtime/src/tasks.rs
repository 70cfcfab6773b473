//! The only place that spawns. A task set ends as a whole: cancel it, then wait until every task has drained.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span};

/// Tasks that end together.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    cancelled: CancellationToken,
}

impl Tasks {
    /// An empty set that ends when `shutdown` is cancelled.
    #[must_use]
    pub fn under(shutdown: &CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), cancelled: shutdown.child_token() }
    }

    /// What tasks of the set watch to know that they should end.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Starts a task; it must end soon after [`Tasks::cancelled`] fires.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task.instrument(Span::current()))
    }

    /// Runs work of more than half a millisecond of CPU off the async threads.
    pub fn spawn_blocking<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let span = Span::current();
        self.tracker.spawn_blocking(move || span.in_scope(work))
    }

    /// Cancels the set and waits for its tasks, at most `grace`; tells whether all ended.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.cancelled.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }

    /// Waits until every task has ended by itself.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn draining_waits_for_tasks_and_tells_of_those_that_stay() {
        let shutdown = CancellationToken::new();
        let tasks = Tasks::under(&shutdown);
        let cancelled = tasks.cancelled().clone();
        tasks.spawn(async move { cancelled.cancelled().await });
        assert!(tasks.drain(Duration::from_secs(1)).await);

        let stuck = Tasks::under(&shutdown);
        stuck.spawn(std::future::pending::<()>());
        assert!(!stuck.drain(Duration::from_secs(1)).await);
    }
}
