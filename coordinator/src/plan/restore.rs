//! Chunks of an index in shards: runs of about 64 MiB, in segment order, leased from all over the ring.

use ringvault_proto::v1;

use super::Run;

/// Encoded bytes of a shard: some seconds of writing, so that a lost lease costs little.
const SHARD_BYTES_AIM: u64 = 64 << 20;

/// Chunks of a shard at most: some 300 KiB of message.
const SHARD_CHUNKS_MAX: u64 = 1000;

/// Segments of a verifying shard at most.
const SHARD_SEGMENTS_MAX: u64 = 256;

/// Runs of chunks (by their position in the index) to be written, in the order in which they should be leased.
pub(crate) fn writes(chunks: &[v1::Chunk]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut bytes = SHARD_BYTES_AIM;
    for (index, chunk) in (0_u64..).zip(chunks) {
        match runs.last_mut().filter(|run| bytes < SHARD_BYTES_AIM && run.count < SHARD_CHUNKS_MAX) {
            Some(run) => run.count += 1,
            None => {
                bytes = 0;
                runs.push(Run { first: index, count: 1 });
            }
        }
        bytes = bytes.saturating_add(chunk.encoded_bytes);
    }
    scatter(runs)
}

/// Runs of segments to be verified; they tile the selected runs. Both these and `chunks`, which all stand in selected
/// segments, are in segment order.
pub(crate) fn verifications(selected: &[Run], chunks: &[v1::Chunk]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut bytes, mut objects) = (SHARD_BYTES_AIM, 0);
    let mut rest = chunks;
    for segment in selected.iter().flat_map(|run| run.first..run.first + run.count) {
        let count = rest.partition_point(|chunk| chunk.segment <= segment);
        let (own, behind) = rest.split_at(count);
        rest = behind;
        let fits = |run: &&mut Run| {
            bytes < SHARD_BYTES_AIM
                && objects + own.len() <= 1000
                && run.count < SHARD_SEGMENTS_MAX
                && run.first + run.count == segment
        };
        match runs.last_mut().filter(fits) {
            Some(run) => run.count += 1,
            None => {
                (bytes, objects) = (0, 0);
                runs.push(Run { first: segment, count: 1 });
            }
        }
        bytes = own.iter().fold(bytes, |bytes, chunk| bytes.saturating_add(chunk.encoded_bytes));
        objects += own.len();
    }
    scatter(runs)
}

/// The runs in bit-reversed order, so that those leased at the same time lie far apart on the ring.
fn scatter(runs: Vec<Run>) -> Vec<Run> {
    let mut keyed: Vec<(u64, Run)> = (0_u64..).zip(runs).map(|(index, run)| (index.reverse_bits(), run)).collect();
    keyed.sort_unstable_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, run)| run).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(sizes: &[(u64, u64)]) -> Vec<v1::Chunk> {
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable();
        sizes
            .into_iter()
            .map(|(segment, encoded_bytes)| v1::Chunk { segment, encoded_bytes, ..v1::Chunk::default() })
            .collect()
    }

    fn tiles(mut runs: Vec<Run>, end: u64) -> bool {
        runs.sort_by_key(|run| run.first);
        runs.iter().try_fold(0, |next, run| (run.first == next && run.count > 0).then_some(next + run.count))
            == Some(end)
    }

    #[test]
    fn a_shard_holds_about_64_mib() {
        let runs = writes(&chunks(&[(0, 16 << 20); 10]));
        let mut counts: Vec<u64> = runs.iter().map(|run| run.count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [2, 4, 4]);
    }

    #[test]
    fn many_small_chunks_do_not_make_a_long_message() {
        assert!(writes(&chunks(&[(0, 1); 5000])).iter().all(|run| run.count <= SHARD_CHUNKS_MAX));
    }

    proptest! {
        #[test]
        fn every_chunk_and_every_segment_stands_in_one_shard(
            sizes in proptest::collection::vec((0_u64..64, 0_u64..(40 << 20)), 0..200)
        ) {
            let chunks = chunks(&sizes);
            prop_assert!(tiles(writes(&chunks), chunks.len() as u64) || chunks.is_empty());
            let all = [Run { first: 0, count: 64 }];
            prop_assert!(tiles(verifications(&all, &chunks), 64));
            let some = [Run { first: 3, count: 2 }, Run { first: 9, count: 40 }];
            let inside: Vec<v1::Chunk> =
                chunks.into_iter().filter(|chunk| super::super::select::contains(&some, chunk.segment)).collect();
            let mut left: Vec<u64> = some.iter().flat_map(|run| run.first..run.first + run.count).collect();
            for run in verifications(&some, &inside) {
                for segment in run.first..run.first + run.count {
                    let at = left.iter().position(|known| *known == segment);
                    prop_assert!(at.is_some(), "segment {} is not chosen, or comes twice", segment);
                    left.swap_remove(at.expect("checked before"));
                }
            }
            prop_assert!(left.is_empty());
        }
    }
}
