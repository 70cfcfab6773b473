//! Time. Everything that decides takes `now` as a value; everything that acts takes it from here.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A well of time.
pub trait Clock: Debug + Send + Sync {
    /// Time since an arbitrary, fixed moment; never goes back. Deadlines are counted in it.
    fn now(&self) -> Duration;

    /// Milliseconds since the Unix epoch, UTC; may jump. For people and manifests.
    fn unix_ms(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose fixed moment is now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands until it is moved; for simulations and tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
    epoch_ms: u64,
}

impl ManualClock {
    /// A clock whose `now` is zero and whose Unix time is `unix_ms`.
    #[must_use]
    pub fn at(unix_ms: u64) -> Self {
        Self { now_ms: AtomicU64::new(0), epoch_ms: unix_ms }
    }

    /// Lets `step` pass, in whole milliseconds.
    pub fn advance(&self, step: Duration) {
        let step = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.fetch_add(step, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    fn unix_ms(&self) -> u64 {
        self.epoch_ms + self.now_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(1_000);
        assert_eq!((clock.now(), clock.unix_ms()), (Duration::ZERO, 1_000));
        clock.advance(Duration::from_millis(7));
        assert_eq!((clock.now(), clock.unix_ms()), (Duration::from_millis(7), 1_007));
    }
}
