//! How hard the database is leaned on: requests in flight a node, and rows and bytes a second.
//!
//! Polite: two pages in flight a node, halved when they take twice as long as in the first minute, restored slowly.
//! Full: as many as are asked for. Overload and timeouts narrow either. What decides takes the time and returns data;
//! waiting is at the edge.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ringvault_proto::v1;
use ringvault_runtime::clock::Clock;
use tokio::sync::Notify;
use uuid::Uuid;

/// Pages in flight a node when polite.
const POLITE_WIDTH: f64 = 2.0;

/// Pages in flight a node at full pace: more than slots can ask for.
const FULL_WIDTH: f64 = 1024.0;

/// Narrowest: one page in flight, then a pause of three times what it took.
const WIDTH_MIN: f64 = 0.25;

/// How long a node's usual latency is learned.
const LEARNING: Duration = Duration::from_secs(60);

/// Latencies kept while learning.
const LEARNED_MAX: usize = 4096;

/// How many times the usual latency is too much.
const SLOW_FACTOR: f64 = 2.0;

/// Least time between two narrowings: pages in flight tell of the same trouble.
const NARROW_EVERY: Duration = Duration::from_secs(5);

/// Time without trouble before the width grows by an eighth of its most.
const WIDEN_EVERY: Duration = Duration::from_secs(15);

/// Longest pause that a narrow width asks for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Pages of fewer bytes count as this many when latencies are compared.
const PAGE_BYTES_MIN: f64 = 65_536.0;

/// How hard one job leans on a cluster; shared by all its readers and writers.
#[derive(Debug)]
pub struct Pace {
    clock: Arc<dyn Clock>,
    width_max: f64,
    nodes: Mutex<HashMap<Uuid, NodePace>>,
    limiter: Mutex<Limiter>,
    changed: Notify,
}

impl Pace {
    /// A pace with at most so many rows and bytes a second; 0 is no limit.
    #[must_use]
    pub fn new(
        pace: v1::Pace,
        rows_per_second_max: u64,
        bytes_per_second_max: u64,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let width_max = match pace {
            v1::Pace::Unspecified | v1::Pace::Polite => POLITE_WIDTH,
            v1::Pace::Full => FULL_WIDTH,
        };
        Arc::new(Self {
            clock,
            width_max,
            nodes: Mutex::default(),
            limiter: Mutex::new(Limiter::new(rows_per_second_max, bytes_per_second_max)),
            changed: Notify::new(),
        })
    }

    /// Waits until a request to `host` may go out. Cancel safe.
    pub async fn enter(self: &Arc<Self>, host: Uuid) -> Permit {
        loop {
            let pause = lock(&self.limiter).wait(self.clock.now());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
                continue;
            }
            let changed = self.changed.notified();
            let decision = self.node(host, |node, now| node.enter(now));
            match decision {
                Entry::Now => return Permit { pace: Arc::clone(self), host },
                Entry::In(pause) => tokio::time::sleep(pause).await,
                Entry::WhenOneLeaves => changed.await,
            }
        }
    }

    /// Counts what was read or written, so that the next request waits for its share of the second.
    pub fn spend(&self, rows: u64, bytes: u64) {
        lock(&self.limiter).spend(self.clock.now(), rows, bytes);
    }

    /// Why it goes slower than it could: `overloaded`, `latency`, `rate`, or nothing.
    #[must_use]
    pub fn throttle(&self) -> &'static str {
        let narrow = lock(&self.nodes).values().filter(|node| node.width < node.width_max).map(|node| node.cause).max();
        match narrow {
            Some(Cause::Overload) => "overloaded",
            Some(Cause::Latency) => "latency",
            None if !lock(&self.limiter).wait(self.clock.now()).is_zero() => "rate",
            None => "",
        }
    }

    fn node<T>(&self, host: Uuid, decide: impl FnOnce(&mut NodePace, Duration) -> T) -> T {
        let now = self.clock.now();
        let mut nodes = lock(&self.nodes);
        decide(nodes.entry(host).or_insert_with(|| NodePace::new(self.width_max, now)), now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request in flight; dropping it lets another go.
#[derive(Debug)]
pub struct Permit {
    pace: Arc<Pace>,
    host: Uuid,
}

impl Permit {
    /// The request was answered: so many bytes after so long.
    pub fn answered(self, latency: Duration, bytes: usize) {
        self.pace.node(self.host, |node, now| node.answered(now, latency, bytes));
    }

    /// The node asked for less, or did not answer in time.
    pub fn overloaded(self) {
        self.pace.node(self.host, |node, now| node.narrow(now, Cause::Overload));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pace.node(self.host, |node, _| node.in_flight = node.in_flight.saturating_sub(1));
        self.pace.changed.notify_waiters();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Latency,
    Overload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Now,
    In(Duration),
    WhenOneLeaves,
}

/// One node's width.
#[derive(Debug)]
struct NodePace {
    width_max: f64,
    width: f64,
    cause: Cause,
    in_flight: u32,
    started: Duration,
    changed: Duration,
    pause_until: Duration,
    learned: Vec<f64>,
    usual: Option<f64>,
    recent: f64,
}

impl NodePace {
    fn new(width_max: f64, now: Duration) -> Self {
        Self {
            width_max,
            width: width_max,
            cause: Cause::Latency,
            in_flight: 0,
            started: now,
            changed: now,
            pause_until: Duration::ZERO,
            learned: Vec::new(),
            usual: None,
            recent: 0.0,
        }
    }

    fn enter(&mut self, now: Duration) -> Entry {
        if now < self.pause_until {
            return Entry::In(self.pause_until - now);
        }
        if f64::from(self.in_flight) >= self.width.ceil().max(1.0) {
            return Entry::WhenOneLeaves;
        }
        self.in_flight += 1;
        Entry::Now
    }

    fn answered(&mut self, now: Duration, latency: Duration, bytes: usize) {
        // a page of a table's first hundred rows is no measure for one of a megabyte
        #[allow(clippy::cast_precision_loss)] // a steering figure
        let scaled = latency.as_secs_f64() / (bytes as f64).max(PAGE_BYTES_MIN);
        self.recent = if self.recent == 0.0 { scaled } else { self.recent * 0.8 + scaled * 0.2 };
        match self.usual {
            None => self.learn(now, scaled),
            Some(usual) if self.width_max <= POLITE_WIDTH && self.recent > SLOW_FACTOR * usual => {
                self.narrow(now, Cause::Latency);
            }
            Some(_) => self.widen(now),
        }
        if self.width < 1.0 {
            self.pause_until = now + latency.mul_f64(1.0 / self.width - 1.0).min(PAUSE_MAX);
        }
    }

    fn learn(&mut self, now: Duration, scaled: f64) {
        if self.learned.len() < LEARNED_MAX {
            self.learned.push(scaled);
        }
        if now >= self.started + LEARNING {
            self.learned.sort_by(f64::total_cmp);
            self.usual = Some(self.learned[self.learned.len() / 2]);
            self.learned = Vec::new();
        }
        self.widen(now);
    }

    fn narrow(&mut self, now: Duration, cause: Cause) {
        let at_most = self.width.min(f64::from(self.in_flight.max(1)));
        if self.width < self.width_max && now < self.changed + NARROW_EVERY {
            return;
        }
        self.width = (at_most / 2.0).max(WIDTH_MIN);
        self.cause = cause;
        self.changed = now;
    }

    fn widen(&mut self, now: Duration) {
        if self.width < self.width_max && now >= self.changed + WIDEN_EVERY {
            let step = (self.width_max.min(16.0) / 8.0).max(self.width / 8.0);
            self.width = (self.width + step).min(self.width_max);
            self.changed = now;
        }
    }
}

/// Rows and bytes a second. Each spending moves the moment when the next may begin, so a page may exceed a second's
/// share and is paid for afterwards.
#[derive(Clone, Copy, Debug, Default)]
struct Limiter {
    rows_per_second: u64,
    bytes_per_second: u64,
    ready: Duration,
}

impl Limiter {
    fn new(rows_per_second: u64, bytes_per_second: u64) -> Self {
        Self { rows_per_second, bytes_per_second, ready: Duration::ZERO }
    }

    fn spend(&mut self, now: Duration, rows: u64, bytes: u64) {
        let cost = share(rows, self.rows_per_second).max(share(bytes, self.bytes_per_second));
        self.ready = self.ready.max(now) + cost;
    }

    fn wait(&self, now: Duration) -> Duration {
        self.ready.saturating_sub(now)
    }
}

fn share(amount: u64, per_second: u64) -> Duration {
    if per_second == 0 {
        return Duration::ZERO;
    }
    let nanos = u128::from(amount) * 1_000_000_000 / u128::from(per_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use ringvault_runtime::clock::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_kept_over_pages_larger_than_a_second() {
        let mut limiter = Limiter::new(100, 0);
        limiter.spend(Duration::ZERO, 250, 1 << 30);
        assert_eq!(limiter.wait(Duration::ZERO), Duration::from_millis(2500));
        limiter.spend(SECOND, 50, 0);
        assert_eq!(limiter.wait(SECOND), 2 * SECOND);
        limiter.spend(10 * SECOND, 100, 0); // what was not used is not saved up
        assert_eq!(limiter.wait(10 * SECOND), SECOND);
        let mut free = Limiter::new(0, 0);
        free.spend(SECOND, u64::MAX, u64::MAX);
        assert_eq!(free.wait(SECOND), Duration::ZERO);
    }

    #[test]
    fn a_node_that_slows_down_gets_half_and_recovers_slowly() {
        let mut node = NodePace::new(POLITE_WIDTH, Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut answer = |node: &mut NodePace, seconds: u64, latency_ms: u64| {
            for _ in 0..seconds {
                now += SECOND;
                node.answered(now, Duration::from_millis(latency_ms), 1 << 20);
            }
            now
        };
        answer(&mut node, 61, 10);
        assert_eq!((node.width, node.usual.is_some()), (2.0, true));
        answer(&mut node, 4, 100);
        assert_eq!(node.width, 0.5, "one was in flight at most");
        let later = answer(&mut node, 1, 10);
        assert!(matches!(node.enter(later), Entry::In(_)));
        answer(&mut node, 300, 10);
        assert_eq!(node.width, 2.0);
    }

    #[test]
    fn overload_narrows_full_pace_too() {
        let mut node = NodePace::new(FULL_WIDTH, Duration::ZERO);
        for _ in 0..8 {
            assert_eq!(node.enter(SECOND), Entry::Now);
        }
        node.narrow(SECOND, Cause::Overload);
        assert_eq!(node.width, 4.0);
        node.narrow(SECOND, Cause::Overload); // of the same moment
        assert_eq!(node.width, 4.0);
        assert_eq!(node.enter(SECOND), Entry::WhenOneLeaves);
    }

    #[tokio::test]
    async fn a_third_page_waits_until_one_has_come() {
        let clock = Arc::new(ManualClock::at(0));
        let pace = Pace::new(v1::Pace::Polite, 0, 0, clock);
        let host = Uuid::nil();
        let first = pace.enter(host).await;
        let _second = pace.enter(host).await;
        let mut third = Box::pin(pace.enter(host));
        assert!(futures::poll!(&mut third).is_pending());
        let _other_node = pace.enter(Uuid::from_u128(1)).await;
        first.answered(Duration::from_millis(3), 100);
        let _third = third.await;
        assert_eq!(pace.throttle(), "");
    }

    #[test]
    fn what_slows_a_job_down_is_told() {
        let clock = Arc::new(ManualClock::at(0));
        let pace = Pace::new(v1::Pace::Full, 10, 0, clock.clone());
        pace.spend(100, 0);
        assert_eq!(pace.throttle(), "rate");
        clock.advance(20 * SECOND);
        assert_eq!(pace.throttle(), "");
        pace.node(Uuid::nil(), |node, now| node.narrow(now, Cause::Overload));
        assert_eq!(pace.throttle(), "overloaded");
    }
}
