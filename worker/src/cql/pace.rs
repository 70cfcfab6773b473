//! How hard the database is leaned on: requests in flight a node, and rows and bytes a second. One a job and worker, shared
//! by all its readers and writers; what the coordinator allows may change at any time and counts at once.
//!
//! Polite: two pages in flight a node, halved when they take twice as long as in the first minute, restored slowly.
//! Full: as many as are asked for. Overload and timeouts narrow either. What decides takes the time and returns data
//! ([`limiter`], [`node`]); waiting is here.

mod limiter;
mod node;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ringvault_proto::v1;
use ringvault_runtime::{
    clock::Clock,
    telemetry::metrics::{self, ThrottleCause},
};
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::limiter::{Cost, Share};
use self::{
    limiter::Limiter,
    node::{Bounds, Cause, Entry, NodePace, Request},
};

/// Pages in flight a node when polite.
const POLITE_WIDTH: f64 = 2.0;

/// Pages in flight a node at full pace: more than slots can ask for.
const FULL_WIDTH: f64 = 1024.0;

/// Weight of the newest page in what pages are expected to hold of the rows that are asked for.
const FILL_WEIGHT: f64 = 0.1;

/// How hard one job leans on a cluster; shared by all its readers and writers.
#[derive(Debug)]
pub struct Pace {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Who waits for the rate waits in line, so that none starves and one timer serves all.
    line: tokio::sync::Mutex<()>,
    /// The allowance changed, or less was taken than expected.
    eased: Notify,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    nodes: HashMap<Uuid, Node>,
    limiter: Limiter,
    /// The part of the rows asked for that pages hold, on average.
    fill: f64,
}

#[derive(Debug)]
struct Node {
    pace: NodePace,
    left: Arc<Notify>,
}

impl Pace {
    /// A pace within this allowance.
    #[must_use]
    pub fn new(allowance: &v1::Allowance, clock: Arc<dyn Clock>) -> Arc<Self> {
        let mut limiter = Limiter::default();
        limiter.set(clock.now(), allowance.rows_per_second_max, allowance.bytes_per_second_max);
        let state = State { bounds: bounds(allowance), nodes: HashMap::new(), limiter, fill: 1.0 };
        Arc::new(Self { clock, state: Mutex::new(state), line: tokio::sync::Mutex::default(), eased: Notify::new() })
    }

    /// Another allowance: counts at once, for those who wait already too.
    pub fn allow(&self, allowance: &v1::Allowance) {
        let now = self.clock.now();
        let mut state = self.lock();
        let mut changed = state.limiter.set(now, allowance.rows_per_second_max, allowance.bytes_per_second_max);
        let bounds = bounds(allowance);
        if bounds != state.bounds {
            changed = true;
            state.bounds = bounds;
            for node in state.nodes.values_mut() {
                node.pace.set(bounds);
                node.left.notify_waiters();
            }
        }
        drop(state);
        if changed {
            self.eased.notify_waiters();
        }
    }

    /// Waits until a page may be asked of `host`. `expect` says what it will take at most, given the part of a second that it
    /// should take; it is asked when the turn comes. Cancel safe.
    pub async fn page(self: &Arc<Self>, host: Uuid, mut expect: impl FnMut(Share) -> Cost) -> Permit {
        let mut permit = self.enter(host, Request::Page).await;
        permit.expected = self
            .in_line(|limiter, now, fill| {
                let asked = expect(limiter.share());
                let expected = Cost { rows: scaled(asked.rows, fill), bytes: scaled(asked.bytes, fill) };
                limiter.take(now, expected);
                permit.asked_rows = asked.rows;
                expected
            })
            .await;
        permit
    }

    /// Waits until a batch may be sent to `host`; what it takes is said by [`Pace::take`]. Cancel safe.
    pub async fn batch(self: &Arc<Self>, host: Uuid) -> Permit {
        self.enter(host, Request::Batch).await
    }

    /// Waits until so many rows and bytes may be written. Cancel safe: a dropped call takes nothing.
    pub async fn take(&self, cost: Cost) {
        self.in_line(|limiter, now, _| limiter.take(now, cost)).await;
    }

    /// Why it goes slower than it could: `overloaded`, `latency`, `rate`, or nothing.
    #[must_use]
    pub fn throttle(&self) -> &'static str {
        let now = self.clock.now();
        let mut state = self.lock();
        match state.nodes.values().filter_map(|node| node.pace.trouble(now)).max() {
            Some(Cause::Overload) => "overloaded",
            Some(Cause::Latency) => "latency",
            None if !state.limiter.wait(now).is_zero() => "rate",
            None => "",
        }
    }

    async fn enter(self: &Arc<Self>, host: Uuid, request: Request) -> Permit {
        let began = self.clock.now();
        let (mut waited, mut troubled) = (false, false);
        loop {
            let eased = self.eased.notified();
            let (decision, left) = self.node(host, |node, now| {
                troubled |= node.pace.trouble(now).is_some();
                (node.pace.enter(now, request), node.left.clone())
            });
            match decision {
                Entry::Now => break,
                Entry::In(pause) => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = eased => {}
                },
                Entry::WhenOneLeaves => tokio::select! {
                    () = left.notified() => {}
                    () = eased => {}
                },
            }
            waited = true;
        }
        if waited && troubled {
            metrics::throttled(ThrottleCause::Overloaded, self.clock.now().saturating_sub(began));
        }
        if waited {
            self.pass_on(host, request);
        }
        Permit { pace: Arc::clone(self), host, request, asked_rows: 0, expected: Cost::default(), settled: false }
    }

    /// Whoever leaves wakes one; where there is room for another, that one wakes the next.
    fn pass_on(&self, host: Uuid, request: Request) {
        self.node(host, |node, _| {
            if node.pace.has_room(request) {
                node.left.notify_one();
            }
        });
    }

    /// Waits until nothing is owed, in line, and takes.
    async fn in_line<T>(&self, mut take: impl FnMut(&mut Limiter, Duration, f64) -> T) -> T {
        {
            let mut state = self.lock();
            let fill = state.fill;
            if !state.limiter.is_limited() {
                return take(&mut state.limiter, self.clock.now(), fill);
            }
        }
        let began = self.clock.now();
        let _turn = self.line.lock().await;
        loop {
            let eased = self.eased.notified();
            let now = self.clock.now();
            let pause = {
                let mut state = self.lock();
                let (pause, fill) = (state.limiter.wait(now), state.fill);
                if pause.is_zero() {
                    let waited = now.saturating_sub(began);
                    if !waited.is_zero() {
                        metrics::throttled(ThrottleCause::Rate, waited);
                    }
                    return take(&mut state.limiter, now, fill);
                }
                pause
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = eased => {}
            }
        }
    }

    fn node<T>(&self, host: Uuid, decide: impl FnOnce(&mut Node, Duration) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.lock();
        let bounds = state.bounds;
        let fresh = || Node { pace: NodePace::new(bounds, now), left: Arc::default() };
        decide(state.nodes.entry(host).or_insert_with(fresh), now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounds(allowance: &v1::Allowance) -> Bounds {
    let polite = match allowance.pace() {
        v1::Pace::Unspecified | v1::Pace::Polite => true,
        v1::Pace::Full => false,
    };
    let width_max = match allowance.requests_per_node_max {
        told if told.is_finite() && told > 0.0 => told.min(FULL_WIDTH),
        _ if polite => POLITE_WIDTH,
        _ => FULL_WIDTH,
    };
    Bounds { width_max, polite }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a steering figure
fn scaled(amount: u64, part: f64) -> u64 {
    (amount as f64 * part).ceil() as u64
}

/// A request in flight; dropping it lets another go.
#[derive(Debug)]
pub struct Permit {
    pace: Arc<Pace>,
    host: Uuid,
    request: Request,
    asked_rows: u64,
    expected: Cost,
    settled: bool,
}

impl Permit {
    /// The page came after so long, and holds so much.
    pub fn answered(mut self, latency: Duration, actual: Cost) {
        metrics::page(latency);
        self.settle(actual);
        self.pace.node(self.host, |node, now| node.pace.answered(now, latency, actual.bytes));
    }

    /// The batch was acknowledged after so long.
    pub fn acknowledged(self, latency: Duration) {
        self.pace.node(self.host, |node, now| node.pace.acknowledged(now, latency));
    }

    /// The node asked for less, or did not answer in time.
    pub fn overloaded(self) {
        self.pace.node(self.host, |node, now| match self.request {
            Request::Page => node.pace.narrow(now, Cause::Overload),
            Request::Batch => node.pace.write_overloaded(now),
        });
    }

    /// Owes what was really taken.
    #[allow(clippy::cast_precision_loss)] // a steering figure
    fn settle(&mut self, actual: Cost) {
        if std::mem::replace(&mut self.settled, true) || self.request == Request::Batch {
            return;
        }
        let now = self.pace.clock.now();
        let mut state = self.pace.lock();
        state.limiter.correct(now, self.expected, actual);
        if self.asked_rows > 0 && actual != Cost::default() {
            let filled = (actual.rows as f64 / self.asked_rows as f64).min(1.0);
            state.fill += (filled - state.fill) * FILL_WEIGHT;
        }
        drop(state);
        if actual.rows < self.expected.rows || actual.bytes < self.expected.bytes {
            self.pace.eased.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.settle(Cost::default()); // nothing came
        let request = self.request;
        self.pace.node(self.host, |node, _| {
            node.pace.leave(request);
            node.left.notify_one();
        });
    }
}

#[cfg(test)]
mod tests;
