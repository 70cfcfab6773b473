//! How fast counts grow: a mean over about the last half minute, in which what is recent weighs more. Pure.

/// How long what happened counts, in ms: after this it weighs a third.
const SPAN_MS: f64 = 30_000.0;

/// Counts that come sooner behind each other are taken together, in ms.
const STEP_MS: u64 = 1000;

/// The speed of two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// When the counts were taken last, in monotonic ms; 0: never.
    at_ms: u64,
    counts: [u64; 2],
    /// Weighted sums of what was seen a second, and the sum of the weights.
    means: [f64; 2],
    weight: f64,
}

impl Rate {
    /// Counts as they are now. Lower ones than before begin anew.
    pub(crate) fn take(&mut self, now_ms: u64, counts: [u64; 2]) {
        let fell = counts.iter().zip(&self.counts).any(|(now, before)| now < before);
        if self.at_ms == 0 || fell {
            *self = Self { at_ms: now_ms.max(1), counts, ..Self::default() };
            return;
        }
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        if passed_ms < STEP_MS {
            return;
        }
        let passed = float(passed_ms);
        let new = 1.0 - (-passed / SPAN_MS).exp();
        for ((mean, now), before) in self.means.iter_mut().zip(counts).zip(self.counts) {
            *mean += new * (float(now - before) / passed * 1000.0 - *mean);
        }
        self.weight += new * (1.0 - self.weight);
        (self.at_ms, self.counts) = (now_ms, counts);
    }

    /// What each count grows by a second; 0 before anything is known.
    pub(crate) fn per_second(&self) -> [u64; 2] {
        self.means.map(|mean| if self.weight > 0.0 { whole(mean / self.weight) } else { 0 })
    }
}

#[allow(clippy::cast_precision_loss)] // a speed that is shown to people
fn float(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a speed is not negative, and `as` saturates
fn whole(speed: f64) -> u64 {
    speed.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_speed_is_told_from_the_first_second_on() {
        let mut rate = Rate::default();
        for second in 0..100_u64 {
            rate.take(5000 + second * 1000, [second * 700, second * 1_000_000]);
            if second > 0 {
                assert_eq!(rate.per_second(), [700, 1_000_000]);
            }
        }
    }

    #[test]
    fn a_speed_sinks_within_a_minute_or_two_once_nothing_comes() {
        let mut rate = Rate::default();
        for second in 0..300_u64 {
            rate.take(1000 + second * 1000, [second.min(100) * 1000, 0]);
        }
        assert!(rate.per_second()[0] < 10, "{rate:?}");
    }

    #[test]
    fn many_looks_within_a_second_change_nothing_and_falling_counts_begin_anew() {
        let mut rate = Rate::default();
        for tick in 0..=50_u64 {
            rate.take(1000 + tick * 100, [tick * 10, 0]);
        }
        assert_eq!(rate.per_second(), [100, 0]);
        rate.take(9000, [5, 0]);
        assert_eq!(rate.per_second(), [0, 0]);
    }
}
