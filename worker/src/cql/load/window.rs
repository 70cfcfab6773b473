//! How many writes are under way at once: grows by one for each full round of answers, halves when the database asks for
//! less (additive increase, multiplicative decrease). Pure.

/// Writes under way when nothing is known of the database yet.
const START: usize = 16;
/// Writes under way at most: a few dozen saturate a node; more only queue there. What the job may ask of a node is kept
/// beside it.
const MOST: usize = 64;

/// The bound on writes under way.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    most: usize,
    /// Answers still to come until the limit may change again: one round, so that many failures of one moment count once.
    round: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { limit: START, most: MOST, round: START }
    }

    /// Writes that may be under way.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A write was acknowledged at once.
    pub(super) fn succeeded(&mut self) {
        self.round = self.round.saturating_sub(1);
        if self.round == 0 {
            self.limit = (self.limit + 1).min(self.most);
            self.round = self.limit;
        }
    }

    /// A write timed out, or the database said that it is overloaded. Tells whether the limit was lowered.
    pub(super) fn overloaded(&mut self, limit_when_sent: usize) -> bool {
        // A write of before the last cut says nothing new.
        if limit_when_sent > self.limit {
            return false;
        }
        self.limit = (self.limit / 2).max(1);
        self.round = self.limit;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_by_one_a_round_up_to_its_bound() {
        let mut window = Window::new();
        for _ in 0..START {
            window.succeeded();
        }
        assert_eq!(window.limit(), START + 1);
        for _ in 0..100_000 {
            window.succeeded();
        }
        assert_eq!(window.limit(), MOST);
    }

    #[test]
    fn many_failures_of_one_moment_halve_the_window_once() {
        let mut window = Window::new();
        let cuts = (0..START).filter(|_| window.overloaded(START)).count();
        assert_eq!((cuts, window.limit()), (1, START / 2));
        assert!(window.overloaded(START / 2));
        for _ in 0..20 {
            let limit = window.limit();
            window.overloaded(limit);
        }
        assert_eq!(window.limit(), 1);
    }
}
