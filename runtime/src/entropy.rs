//! Chance. A seeded source gives the same sequence each time, so that a simulation can be replayed by its number.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngCore, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// A shared source of random numbers; clones draw from the same sequence.
#[derive(Clone, Debug)]
pub struct Entropy(Arc<Mutex<StdRng>>);

impl Entropy {
    /// Seeded by the operating system.
    #[must_use]
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// The sequence of this number.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// 64 random bits.
    #[must_use]
    pub fn u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// A number in 0.0..1.0.
    #[must_use]
    pub fn unit(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // 53 bits fit
        let unit = (self.u64() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }

    /// `length` characters of `[0-9a-z]`, as in the tail of a backup id.
    #[must_use]
    pub fn suffix(&self, length: usize) -> String {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let pick = |_| char::from(ALPHABET[usize::try_from(self.u64() % 36).expect("below 36")]);
        (0..length).map(pick).collect()
    }

    /// A random UUID (version 4).
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let bytes = (u128::from(self.u64()) << 64) | u128::from(self.u64());
        uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (a, b) = (Entropy::seeded(7), Entropy::seeded(7));
        assert_eq!((a.u64(), a.suffix(4), a.uuid()), (b.u64(), b.suffix(4), b.uuid()));
    }

    #[test]
    fn a_unit_stays_below_one() {
        let entropy = Entropy::seeded(1);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&entropy.unit())));
    }
}
