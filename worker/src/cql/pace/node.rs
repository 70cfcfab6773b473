//! One node's width: how many requests may be under way to it. Pure.

use std::time::Duration;

/// Narrowest that trouble makes it: one page in flight, then a pause of three times what it took.
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

/// How long after writes met an overload it is told.
const OVERLOAD_TOLD: Duration = Duration::from_secs(10);

/// What is asked of a node. The width counts pages; batches hold some kilobytes, so that eight of them stand for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Page,
    Batch,
}

/// Batches that stand for one page.
const BATCHES_A_PAGE: u32 = 8;

impl Request {
    /// In batches.
    fn weight(self) -> u32 {
        match self {
            Self::Page => BATCHES_A_PAGE,
            Self::Batch => 1,
        }
    }

    /// A width, which is in pages, in requests of this kind.
    fn width(self, pages: f64) -> f64 {
        match self {
            Self::Page => pages,
            Self::Batch => pages * f64::from(BATCHES_A_PAGE),
        }
    }
}

/// Why a node gets less than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Latency,
    Overload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Now,
    In(Duration),
    WhenOneLeaves,
}

/// How wide a node may be asked, and whether its latency is heeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    /// Pages under way; below 1: one, then a pause.
    pub(super) width_max: f64,
    pub(super) polite: bool,
}

/// One node.
#[derive(Debug)]
pub(super) struct NodePace {
    bounds: Bounds,
    width: f64,
    cause: Cause,
    /// In batches.
    in_flight: u32,
    started: Duration,
    changed: Duration,
    pause_until: Duration,
    overloaded_until: Duration,
    learned: Vec<f64>,
    usual: Option<f64>,
    recent: f64,
}

impl NodePace {
    pub(super) fn new(bounds: Bounds, now: Duration) -> Self {
        Self {
            bounds,
            width: bounds.width_max,
            cause: Cause::Latency,
            in_flight: 0,
            started: now,
            changed: now,
            pause_until: Duration::ZERO,
            overloaded_until: Duration::ZERO,
            learned: Vec::new(),
            usual: None,
            recent: 0.0,
        }
    }

    /// Other bounds; what trouble has narrowed stays narrow. A pause that a narrower width asked for ends.
    pub(super) fn set(&mut self, bounds: Bounds) {
        let before = self.width;
        self.width = if self.is_narrow() { self.width.min(bounds.width_max) } else { bounds.width_max };
        self.bounds = bounds;
        if self.width > before {
            self.pause_until = Duration::ZERO;
        }
    }

    pub(super) fn enter(&mut self, now: Duration, request: Request) -> Entry {
        if now < self.pause_until {
            return Entry::In(self.pause_until - now);
        }
        if !self.has_room(request) {
            return Entry::WhenOneLeaves;
        }
        self.in_flight += request.weight();
        Entry::Now
    }

    /// Whether another may go, pauses aside.
    pub(super) fn has_room(&self, request: Request) -> bool {
        let most = request.width(self.width).floor().max(1.0) * f64::from(request.weight());
        f64::from(self.in_flight + request.weight()) <= most
    }

    pub(super) fn leave(&mut self, request: Request) {
        self.in_flight = self.in_flight.saturating_sub(request.weight());
    }

    /// A page came: so many bytes after so long.
    pub(super) fn answered(&mut self, now: Duration, latency: Duration, bytes: u64) {
        // a page of a table's first hundred rows is no measure for one of a megabyte
        #[allow(clippy::cast_precision_loss)] // a steering figure
        let scaled = latency.as_secs_f64() / (bytes as f64).max(PAGE_BYTES_MIN);
        self.recent = if self.recent == 0.0 { scaled } else { self.recent * 0.8 + scaled * 0.2 };
        match self.usual {
            None => self.learn(now, scaled),
            Some(usual) if self.bounds.polite && self.recent > SLOW_FACTOR * usual => {
                self.narrow(now, Cause::Latency);
            }
            Some(_) => self.widen(now),
        }
        self.pause(now, latency, Request::Page);
    }

    /// A batch was acknowledged. How long writes take says nothing of pages, so nothing is learned from it.
    pub(super) fn acknowledged(&mut self, now: Duration, latency: Duration) {
        self.widen(now);
        self.pause(now, latency, Request::Batch);
    }

    /// Writes are slowed down by who sends them; here it is told only.
    pub(super) fn write_overloaded(&mut self, now: Duration) {
        self.overloaded_until = now + OVERLOAD_TOLD;
    }

    fn pause(&mut self, now: Duration, latency: Duration, request: Request) {
        let width = request.width(self.width);
        if width < 1.0 {
            self.pause_until = now + latency.mul_f64((1.0 / width - 1.0).min(1e6)).min(PAUSE_MAX);
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

    pub(super) fn narrow(&mut self, now: Duration, cause: Cause) {
        let under_way = f64::from(self.in_flight) / f64::from(BATCHES_A_PAGE);
        let at_most = self.width.min(under_way.max(1.0));
        if self.is_narrow() && now < self.changed + NARROW_EVERY {
            return;
        }
        self.width = (at_most / 2.0).max(WIDTH_MIN.min(self.bounds.width_max / 8.0));
        self.cause = cause;
        self.changed = now;
    }

    fn widen(&mut self, now: Duration) {
        let most = self.bounds.width_max;
        if self.is_narrow() && now >= self.changed + WIDEN_EVERY {
            let step = (most.min(16.0) / 8.0).max(self.width / 8.0);
            self.width = (self.width + step).min(most);
            self.changed = now;
        }
    }

    fn is_narrow(&self) -> bool {
        self.width < self.bounds.width_max
    }

    /// Why it gets less than it may, if it does.
    pub(super) fn trouble(&self, now: Duration) -> Option<Cause> {
        if now < self.overloaded_until { Some(Cause::Overload) } else { self.is_narrow().then_some(self.cause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const POLITE: Bounds = Bounds { width_max: 2.0, polite: true };
    const FULL: Bounds = Bounds { width_max: 1024.0, polite: false };

    fn with_width(width_max: f64) -> NodePace {
        NodePace::new(Bounds { width_max, polite: false }, Duration::ZERO)
    }

    fn enter_all(node: &mut NodePace, request: Request) -> usize {
        (0..1000).take_while(|_| node.enter(SECOND, request) == Entry::Now).count()
    }

    #[test]
    fn a_node_that_slows_down_gets_half_and_recovers_slowly() {
        let mut node = NodePace::new(POLITE, Duration::ZERO);
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
        assert!(matches!(node.enter(later, Request::Page), Entry::In(_)));
        answer(&mut node, 300, 10);
        assert_eq!(node.width, 2.0);
    }

    #[test]
    fn overload_narrows_full_pace_too() {
        let mut node = NodePace::new(FULL, Duration::ZERO);
        for _ in 0..8 {
            assert_eq!(node.enter(SECOND, Request::Page), Entry::Now);
        }
        node.narrow(SECOND, Cause::Overload);
        assert_eq!(node.width, 4.0);
        node.narrow(SECOND, Cause::Overload); // of the same moment
        assert_eq!((node.width, node.trouble(SECOND)), (4.0, Some(Cause::Overload)));
        assert_eq!(node.enter(SECOND, Request::Page), Entry::WhenOneLeaves);
    }

    #[test]
    fn a_width_is_never_exceeded_and_eight_batches_stand_for_a_page() {
        for (width, pages, batches) in [(2.0, 2, 16), (1.9, 1, 15), (1.0, 1, 8), (0.5, 1, 4), (0.01, 1, 1)] {
            assert_eq!(enter_all(&mut with_width(width), Request::Page), pages, "pages at {width}");
            assert_eq!(enter_all(&mut with_width(width), Request::Batch), batches, "batches at {width}");
        }
    }

    #[test]
    fn below_one_a_pause_follows_that_keeps_the_share_of_time() {
        let mut node = with_width(0.25);
        assert_eq!(node.enter(SECOND, Request::Page), Entry::Now);
        node.leave(Request::Page);
        node.answered(SECOND, Duration::from_millis(100), 1 << 20);
        assert_eq!(node.enter(SECOND, Request::Page), Entry::In(Duration::from_millis(300)));
        assert_eq!(node.enter(SECOND + Duration::from_millis(300), Request::Page), Entry::Now);
    }

    #[test]
    fn another_width_counts_at_once_and_trouble_outlives_it() {
        let mut node = with_width(0.25);
        node.answered(SECOND, Duration::from_secs(1), 1 << 20);
        node.set(Bounds { width_max: 3.0, polite: false });
        assert_eq!(enter_all(&mut node, Request::Page), 3);
        node.narrow(SECOND, Cause::Overload);
        node.set(Bounds { width_max: 4.0, polite: false });
        assert_eq!(node.width, 1.5);
        node.set(Bounds { width_max: 1.0, polite: false });
        assert_eq!((node.width, node.is_narrow()), (1.0, false));
    }
}
