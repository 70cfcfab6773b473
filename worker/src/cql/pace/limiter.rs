//! Rows and bytes a second, as debt: what was taken and is not paid off yet. Debt is in rows and bytes, not in time, so
//! another rate counts at once. Pure.

use std::time::Duration;

/// Time that may be made up for where one came late: without it, what timers and busy cores are late by would add up.
const CREDIT: f64 = 0.1;

/// The part of a second that one page may take: short enough for an even rate, long enough that a reader whose pages are
/// slow still comes to it.
const SHARE: f64 = 0.25;

/// Longest wait that is told at once; whoever waits asks again then.
const WAIT_MAX: f64 = 60.0;

/// Rows and bytes that a request takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Rows.
    pub rows: u64,
    /// Bytes, as the database sends or takes them.
    pub bytes: u64,
}

/// The most that one request should take, so that it does not exceed its part of a second; [`u64::MAX`]: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Rows, at least one.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What is owed of both.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limiter {
    rows: Debt,
    bytes: Debt,
}

impl Limiter {
    /// Sets the rates, 0 for none; tells whether they changed. What is owed stays owed.
    pub(super) fn set(&mut self, now: Duration, rows_per_second: u64, bytes_per_second: u64) -> bool {
        self.rows.set(now, rows_per_second) | self.bytes.set(now, bytes_per_second)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.rows.per_second > 0.0 || self.bytes.per_second > 0.0
    }

    /// How long until nothing is owed.
    pub(super) fn wait(&mut self, now: Duration) -> Duration {
        self.rows.wait(now).max(self.bytes.wait(now))
    }

    pub(super) fn take(&mut self, now: Duration, cost: Cost) {
        self.rows.take(now, amount(cost.rows));
        self.bytes.take(now, amount(cost.bytes));
    }

    /// What was taken came to another amount.
    pub(super) fn correct(&mut self, now: Duration, expected: Cost, actual: Cost) {
        self.rows.take(now, amount(actual.rows) - amount(expected.rows));
        self.bytes.take(now, amount(actual.bytes) - amount(expected.bytes));
    }

    pub(super) fn share(&self) -> Share {
        Share { rows: self.rows.share(), bytes: self.bytes.share() }
    }
}

#[allow(clippy::cast_precision_loss)] // a rate, not a sum
fn amount(count: u64) -> f64 {
    count as f64
}

/// What is owed at a moment; below zero what may be made up for.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    per_second: f64,
    owed: f64,
    at: Duration,
}

impl Debt {
    fn set(&mut self, now: Duration, per_second: u64) -> bool {
        let per_second = amount(per_second);
        if per_second.total_cmp(&self.per_second).is_eq() {
            return false;
        }
        self.pay(now);
        self.per_second = per_second;
        self.owed = if per_second == 0.0 { 0.0 } else { self.owed.max(-per_second * CREDIT) };
        true
    }

    fn pay(&mut self, now: Duration) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.owed = (self.owed - self.per_second * since).max(-self.per_second * CREDIT);
        self.at = self.at.max(now);
    }

    fn take(&mut self, now: Duration, amount: f64) {
        if self.per_second > 0.0 {
            self.pay(now);
            self.owed += amount;
        }
    }

    fn wait(&mut self, now: Duration) -> Duration {
        if self.per_second == 0.0 {
            return Duration::ZERO;
        }
        self.pay(now);
        Duration::from_secs_f64((self.owed / self.per_second).clamp(0.0, WAIT_MAX))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive, and rounded down on purpose
    fn share(&self) -> u64 {
        if self.per_second == 0.0 { u64::MAX } else { ((self.per_second * SHARE) as u64).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rows(rows: u64) -> Cost {
        Cost { rows, bytes: 1 << 30 }
    }

    fn limited(rows_per_second: u64) -> Limiter {
        let mut limiter = Limiter::default();
        limiter.set(Duration::ZERO, rows_per_second, 0);
        limiter
    }

    #[test]
    fn what_was_taken_is_paid_for_afterwards() {
        let mut limiter = limited(100);
        limiter.take(Duration::ZERO, rows(250));
        assert_eq!(limiter.wait(Duration::ZERO), Duration::from_millis(2500));
        limiter.take(SECOND, rows(50));
        assert_eq!(limiter.wait(SECOND), 2 * SECOND);
        limiter.take(10 * SECOND, rows(110)); // of what was not used a tenth of a second is saved up
        assert_eq!(limiter.wait(10 * SECOND), SECOND);
    }

    #[test]
    fn another_rate_counts_at_once_for_what_is_owed() {
        let mut limiter = limited(10);
        limiter.take(Duration::ZERO, rows(100));
        assert_eq!(limiter.wait(Duration::ZERO), 10 * SECOND);
        assert!(limiter.set(SECOND, 90, 0));
        assert_eq!(limiter.wait(SECOND), SECOND);
        assert!(!limiter.set(SECOND, 90, 0));
        limiter.set(SECOND, 0, 0);
        assert_eq!((limiter.wait(SECOND), limiter.is_limited()), (Duration::ZERO, false));
        limiter.take(SECOND, rows(u64::MAX));
        limiter.set(SECOND, 1, 0);
        assert_eq!(limiter.wait(SECOND), Duration::ZERO, "what was free stays free");
    }

    #[test]
    fn the_scarcer_of_rows_and_bytes_decides_and_a_page_takes_a_part_of_a_second() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.share(), Share { rows: u64::MAX, bytes: u64::MAX });
        limiter.set(Duration::ZERO, 100, 1000);
        assert_eq!(limiter.share(), Share { rows: 25, bytes: 250 });
        limiter.take(Duration::ZERO, Cost { rows: 100, bytes: 3000 });
        assert_eq!(limiter.wait(Duration::ZERO), 3 * SECOND);
        limiter.correct(Duration::ZERO, Cost { rows: 100, bytes: 3000 }, Cost { rows: 200, bytes: 10 });
        assert_eq!(limiter.wait(Duration::ZERO), 2 * SECOND);
        limiter.set(Duration::ZERO, 1, 0);
        assert_eq!(limiter.share().rows, 1);
    }
}
