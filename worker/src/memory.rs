//! What a limit on memory means: fewer slots, then smaller chunks. Memory in use is that of the process itself and, a slot,
//! the chunk that is made, those that are stored or wait to be, and the pages under way; tables, partitions and backups
//! don't count. Pure.

use ringvault_archive::chunk::CHUNK_BYTES_MAX;
use ringvault_proto::error::{ErrorKind, Failure};

use crate::cql::scan::PAGE_BYTES;

/// What the process takes beside its slots (an embedded coordinator too).
const PROCESS_BYTES: u64 = 30 << 20;
/// Pages of a slot: under way, waiting, being encoded, and the driver's buffer.
const PAGES: u64 = 4;
/// A slot's chunks: one as lines, and compressed to half of that one that waits and one that is stored.
const CHUNKS: u64 = 2;
/// Smallest chunk that is worth a request to an object store.
const CHUNK_BYTES_MIN: u64 = 1 << 20;
/// Least that a worker can be limited to.
pub const MEMORY_BYTES_MIN: u64 = PROCESS_BYTES + slot_bytes(CHUNK_BYTES_MIN);

const fn slot_bytes(chunk_bytes: u64) -> u64 {
    CHUNKS * chunk_bytes + PAGES * PAGE_BYTES
}

/// What fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) slots: u32,
    /// Encoded bytes at which a chunk ends.
    pub(crate) chunk_bytes_max: u64,
}

/// What of `slots` fits into `memory_bytes_max`; all of them where there is no limit.
///
/// # Errors
/// `Invalid` below [`MEMORY_BYTES_MIN`].
pub(crate) fn fit(slots: u32, memory_bytes_max: Option<u64>) -> Result<Fit, Failure> {
    let Some(most) = memory_bytes_max else { return Ok(Fit { slots, chunk_bytes_max: CHUNK_BYTES_MAX }) };
    if most < MEMORY_BYTES_MIN {
        let message = format!(
            "a memory limit of {} MiB is too low: give at least {} MiB",
            most >> 20,
            MEMORY_BYTES_MIN.div_ceil(1 << 20)
        );
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    let left = most - PROCESS_BYTES;
    let whole = u32::try_from(left / slot_bytes(CHUNK_BYTES_MAX)).unwrap_or(u32::MAX);
    let chunk_bytes_max = ((left - PAGES * PAGE_BYTES) / CHUNKS).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    Ok(Fit { slots: slots.min(whole.max(1)), chunk_bytes_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn slots_go_first_and_chunks_second() {
        let of = |mib: u64| fit(4, Some(mib * MIB)).map(|fit| (fit.slots, fit.chunk_bytes_max / MIB));
        assert_eq!(of(1000).expect("much"), (4, 8));
        assert_eq!(of(110).expect("enough"), (4, 8));
        assert_eq!(of(80).expect("less"), (2, 8));
        assert_eq!(of(64).expect("little"), (1, 8));
        assert_eq!(of(42).expect("very little"), (1, 4));
        assert_eq!(of(36).expect("least"), (1, 1));
        assert!(of(35).expect_err("too little").to_string().contains("at least 36 MiB"));
        assert_eq!(fit(7, None).expect("no limit"), Fit { slots: 7, chunk_bytes_max: CHUNK_BYTES_MAX });
    }
}
