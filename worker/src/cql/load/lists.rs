//! Sends non-frozen lists. At an equal timestamp the elements of an assignment are added to those of the one before, so every
//! attempt, every lease and every job writes at a timestamp of its own.

use std::sync::Mutex;

use super::{
    LoadCounts,
    bind::Write,
    read::{Beside, ListThere},
    send::{Sender, Trouble, cost_of, counts_of, drop_expired, lock, name_size},
    statements::Shape,
    window::Window,
};
use crate::cql::errors::Result;

/// Attempts of a list write that may each have been applied: they take one microsecond each of the 16 that an epoch has.
const LIST_ATTEMPTS_MAX: i64 = 15;
/// Microseconds that an epoch adds to the timestamp of a list.
const LIST_EPOCH_US: i64 = 16;

impl Sender {
    /// Sends a list. Each attempt that may have been applied is followed by one at a greater timestamp. Where others may stand
    /// there it is read first: an equal one stays, and another one is written over.
    pub(super) async fn send_list(&self, write: Write, window: &Mutex<Window>) -> Result<LoadCounts> {
        let mut part = vec![write];
        let mut counts = counts_of(&part);
        let mut trouble = Trouble::default();
        let mut applied_perhaps = 0;
        let epoch = i64::try_from(self.epoch).unwrap_or(i64::MAX).saturating_mul(LIST_EPOCH_US);
        let first_us = self.timestamp_of(&part[0]).saturating_add(epoch);
        self.pace.take(cost_of(&part)).await;
        loop {
            counts.cells_expired += drop_expired(&mut part, self.now_s());
            let Some(write) = part.first() else { return Ok(counts) };
            let limit = lock(window).limit();
            let own_us = first_us.saturating_add(applied_perhaps);
            let sent = match self.place_for(write, own_us).await {
                Ok(None) => return Ok(counts),
                Ok(Some(at_us)) => self.request(&part, Some(at_us)).await,
                Err(error) => {
                    self.pause(error, &mut trouble, window, limit).await?;
                    counts.retries += 1;
                    continue;
                }
            };
            let Err(error) = sent else {
                lock(window).succeeded();
                return Ok(counts);
            };
            if error.reason().leaves_writes_unknown() {
                applied_perhaps += 1;
                if applied_perhaps > LIST_ATTEMPTS_MAX {
                    return Err(error.advise("a list was tried as often as one lease may"));
                }
            }
            self.pause(name_size(error, &part), &mut trouble, window, limit).await?;
            counts.retries += 1;
        }
    }

    /// The timestamp at which a list is written; nothing where it stands there already.
    async fn place_for(&self, write: &Write, own_us: i64) -> Result<Option<i64>> {
        let Shape::List(list) = write.shape else { return Ok(Some(own_us)) };
        if self.reads.beside == Beside::Nothing {
            return Ok(Some(own_us));
        }
        let mut values = write.values.iter().map(|value| value.as_value().unwrap_or_default().to_vec());
        let cell = values.next().unwrap_or_default();
        let key: Vec<Vec<u8>> = values.collect();
        let there = self.read_list(list, write.token, &key).await?;
        Ok(place(&there, &cell, own_us, self.now_s().saturating_mul(1_000_000)))
    }
}

/// Where a list goes that is to be written at `own_us`: above what stands there, above now where nobody tells how new that is.
/// Nothing where the same stands there.
fn place(there: &ListThere, cell: &[u8], own_us: i64, now_us: i64) -> Option<i64> {
    match (&there.cell, there.newest_us) {
        (Some(found), _) if found == cell => None,
        (None, _) => Some(own_us),
        (Some(_), Some(newest_us)) => Some(own_us.max(newest_us.saturating_add(1))),
        (Some(_), None) => Some(own_us.max(now_us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_above_what_stands_there_and_an_equal_one_stays() {
        let there = |cell: Option<&[u8]>, newest_us| ListThere { cell: cell.map(<[u8]>::to_vec), newest_us };
        assert_eq!(place(&there(None, None), b"ab", 5, 100), Some(5));
        assert_eq!(place(&there(Some(b"ab"), Some(9)), b"ab", 5, 100), None);
        assert_eq!(place(&there(Some(b"a"), Some(9)), b"ab", 5, 100), Some(10));
        assert_eq!(place(&there(Some(b"a"), Some(3)), b"ab", 5, 100), Some(5));
        assert_eq!(place(&there(Some(b"a"), None), b"ab", 5, 100), Some(100));
        assert_eq!(place(&there(Some(b"a"), None), b"ab", 500, 100), Some(500));
    }
}
