//! Exponential backoff with jitter. Whether to retry at all is decided by `ErrorKind::verdict`, never here.

use std::time::Duration;

use crate::entropy::Entropy;

/// How pauses between attempts grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

/// A first pause of zero, or one above the longest.
#[derive(Debug, thiserror::Error)]
#[error("backoff needs 0 < first pause <= longest pause")]
pub struct BadBackoff;

impl Backoff {
    /// Pauses of `first`, doubled each time up to `longest`.
    ///
    /// # Errors
    /// Where `first` is zero or above `longest`.
    pub fn new(first: Duration, longest: Duration) -> Result<Self, BadBackoff> {
        if first.is_zero() || first > longest { Err(BadBackoff) } else { Ok(Self { first, longest }) }
    }

    /// 100 ms, doubled up to 15 s: for calls to a peer of ours.
    #[must_use]
    pub const fn peer() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(15) }
    }

    /// The pause behind the `attempt`th failure (0-based), without jitter.
    #[must_use]
    pub fn bare(self, attempt: u32) -> Duration {
        self.first.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.longest)
    }

    /// The pause behind the `attempt`th failure (0-based): between half of the bare pause and all of it.
    #[must_use]
    pub fn pause(self, attempt: u32, entropy: &Entropy) -> Duration {
        self.bare(attempt).mul_f64(0.5 + entropy.unit() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_stays_within_half() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5)).expect("sane");
        let bare: Vec<u64> = (0..4).map(|n| backoff.bare(n).as_secs()).collect();
        assert_eq!(bare, [1, 2, 4, 5]);
        assert_eq!(backoff.bare(u32::MAX), Duration::from_secs(5));
        let entropy = Entropy::seeded(3);
        for _ in 0..100 {
            let pause = backoff.pause(1, &entropy);
            assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(2));
        }
    }
}
