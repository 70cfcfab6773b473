//! Neighbouring writes into unlogged batches, under the server's thresholds. Pure.
//!
//! A batch of one partition is one mutation at the server: it has no size threshold and may be bigger. A batch of several
//! holds neighbours of one stretch of the ring, so that one replica set takes it.

use super::bind::Write;

/// Largest batch of one partition, in bytes: one mutation, far below half a commit log segment (Cassandra's bound).
const PARTITION_BYTES_MAX: usize = 64 << 10;
/// Most statements in a batch of one partition.
const PARTITION_WRITES_MAX: usize = 100;

/// What a batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of a batch that spans partitions.
    pub(super) bytes_max: usize,
    /// Partitions a batch.
    pub(super) partitions_max: usize,
    /// Rows a batch, as the user asked; nothing: by the other limits alone.
    pub(super) rows_max: Option<usize>,
}

/// Writes that go to the server in one request.
#[derive(Debug, Default)]
pub(super) struct Pack {
    pub(super) writes: Vec<Write>,
    pub(super) bytes: usize,
    partitions: usize,
}

/// Collects writes until a batch is full.
#[derive(Debug)]
pub(super) struct Packer {
    limits: Limits,
    /// Tokens at which the replica set may change, sorted.
    ring: Vec<i64>,
    open: Pack,
}

impl Packer {
    /// `ring`: the tokens of all nodes, sorted.
    pub(super) fn new(limits: Limits, ring: Vec<i64>) -> Self {
        Self { limits, ring, open: Pack::default() }
    }

    /// Adds a write; gives the batch that it did not fit into any more.
    pub(super) fn add(&mut self, write: Write) -> Option<Pack> {
        let full = if self.fits(&write) { None } else { self.take() };
        let is_new = self.open.writes.last().is_none_or(|last| last.partition != write.partition);
        self.open.partitions += usize::from(is_new);
        self.open.bytes += write.bytes;
        self.open.writes.push(write);
        full
    }

    /// What is left over.
    pub(super) fn take(&mut self) -> Option<Pack> {
        (!self.open.writes.is_empty()).then(|| std::mem::take(&mut self.open))
    }

    fn fits(&self, write: &Write) -> bool {
        let Some(last) = self.open.writes.last() else { return true };
        let bytes = self.open.bytes + write.bytes;
        let count = self.open.writes.len() + 1;
        if self.limits.rows_max.is_some_and(|most| count > most) {
            return false;
        }
        if last.partition == write.partition && self.open.partitions == 1 {
            return bytes <= PARTITION_BYTES_MAX && count <= PARTITION_WRITES_MAX;
        }
        let partitions = self.open.partitions + usize::from(last.partition != write.partition);
        bytes <= self.limits.bytes_max
            && partitions <= self.limits.partitions_max
            && self.stretch(last.token) == self.stretch(write.token)
    }

    /// The stretch of the ring that owns the token.
    fn stretch(&self, token: i64) -> usize {
        let stretch = self.ring.partition_point(|&end| end < token);
        // the stretch behind the last token is the one before the first
        if stretch == self.ring.len() { 0 } else { stretch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes_max: 5000, partitions_max: 10, rows_max: None };

    fn packs(limits: Limits, ring: &[i64], writes: impl IntoIterator<Item = (u64, i64, usize)>) -> Vec<(usize, usize)> {
        let mut packer = Packer::new(limits, ring.to_vec());
        let mut packs = Vec::new();
        for (partition, token, bytes) in writes {
            packs.extend(packer.add(Write::of_size(partition, token, bytes)));
        }
        packs.extend(packer.take());
        packs.iter().map(|pack| (pack.writes.len(), pack.bytes)).collect()
    }

    #[test]
    fn a_batch_stays_under_the_servers_bytes_and_partitions() {
        let big = packs(LIMITS, &[], (0..10).map(|n| (n, 0, 1200)));
        assert_eq!(big, [(4, 4800), (4, 4800), (2, 2400)]);
        let small = packs(LIMITS, &[], (0..25).map(|n| (n, 0, 10)));
        assert_eq!(small, [(10, 100), (10, 100), (5, 50)]);
    }

    #[test]
    fn a_row_above_the_threshold_goes_alone() {
        assert_eq!(packs(LIMITS, &[], [(1, 0, 10), (2, 0, 9000), (3, 0, 10)]), [(1, 10), (1, 9000), (1, 10)]);
    }

    #[test]
    fn one_partition_may_fill_a_bigger_batch() {
        let rows = packs(LIMITS, &[], (0..250).map(|_| (1, 0, 100)));
        assert_eq!(rows, [(100, 10_000), (100, 10_000), (50, 5000)]);
        let wide = packs(LIMITS, &[], (0..4).map(|_| (1, 0, 30_000)));
        assert_eq!(wide, [(2, 60_000), (2, 60_000)]);
    }

    #[test]
    fn a_partition_that_shares_a_batch_keeps_the_small_limit() {
        let mixed =
            packs(LIMITS, &[], [(1, 0, 2000), (2, 0, 2000), (2, 0, 2000), (2, 0, 2000), (2, 0, 2000), (3, 0, 10)]);
        assert_eq!(mixed, [(2, 4000), (3, 6000), (1, 10)]);
    }

    #[test]
    fn a_batch_ends_where_another_node_owns_the_ring() {
        let cut = packs(LIMITS, &[100, 200], [(1, 90, 1), (2, 100, 1), (3, 101, 1), (4, 200, 1), (5, 201, 1)]);
        assert_eq!(cut, [(2, 2), (2, 2), (1, 1)]);
        assert_eq!(packs(LIMITS, &[100, 200], [(1, 90, 1), (2, 300, 1)]), [(2, 2)]);
    }

    #[test]
    fn the_users_row_count_is_never_exceeded() {
        let limits = Limits { rows_max: Some(3), ..LIMITS };
        assert_eq!(packs(limits, &[], (0..7).map(|_| (1, 0, 10))), [(3, 30), (3, 30), (1, 10)]);
    }
}
