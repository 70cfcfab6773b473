//! Which segments of a table are meant: all, those that token ranges or a partition key touch, or a sample.

use ringvault_proto::{
    grid::Grid,
    token::Token,
    v1::{self, TokenSpan},
};

use super::Run;

/// Segments that rows of these token ranges, or of this token, may stand in: disjoint runs in ring order. Nothing named:
/// all of them.
pub(crate) fn segments(grid: Grid, spans: &[TokenSpan], token: Option<Token>) -> Vec<Run> {
    if let Some(token) = token {
        return vec![Run { first: grid.segment_of(token), count: 1 }];
    }
    if spans.is_empty() {
        return vec![Run { first: 0, count: grid.segments() }];
    }
    let mut bounds: Vec<(u64, u64)> = spans.iter().flat_map(|span| pieces(*span)).map(|p| touched(grid, p)).collect();
    bounds.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for (first, last) in bounds {
        match runs.last_mut().filter(|run| first <= run.first + run.count) {
            Some(run) => run.count = run.count.max(last - run.first + 1),
            None => runs.push(Run { first, count: last - first + 1 }),
        }
    }
    runs
}

/// The pieces `(start, end]` of a span that may wrap around the ring's end.
fn pieces(span: TokenSpan) -> impl Iterator<Item = (i64, i64)> {
    let TokenSpan { start, end } = span;
    let pieces = match start.cmp(&end) {
        std::cmp::Ordering::Less => [(start, end), (0, 0)],
        std::cmp::Ordering::Equal => [(i64::MIN, i64::MAX), (0, 0)],
        std::cmp::Ordering::Greater => [(start, i64::MAX), (i64::MIN, end)],
    };
    pieces.into_iter().filter(|(start, end)| start < end)
}

fn touched(grid: Grid, (start, end): (i64, i64)) -> (u64, u64) {
    (grid.segment_of(Token(start + 1)), grid.segment_of(Token(end)))
}

/// So many of a million of the segments that hold rows, drawn by `seed`; one at least, where there is one. `chunks` are
/// in ring order.
pub(crate) fn sample(runs: &[Run], chunks: &[v1::Chunk], per_million: u32, seed: &str) -> Vec<Run> {
    let mut filled: Vec<u64> = chunks.iter().map(|chunk| chunk.segment).collect();
    filled.dedup();
    filled.retain(|segment| contains(runs, *segment));
    let drawn = |segment: &u64| draw(seed, *segment);
    let mut chosen: Vec<u64> =
        filled.iter().copied().filter(|segment| drawn(segment) % 1_000_000 < u64::from(per_million)).collect();
    if chosen.is_empty() {
        chosen.extend(filled.iter().copied().min_by_key(drawn));
    }
    let mut sampled: Vec<Run> = Vec::new();
    for segment in chosen {
        match sampled.last_mut().filter(|run| run.first + run.count == segment) {
            Some(run) => run.count += 1,
            None => sampled.push(Run { first: segment, count: 1 }),
        }
    }
    sampled
}

/// Whether a segment is in one of the runs, which are in ring order.
pub(crate) fn contains(runs: &[Run], segment: u64) -> bool {
    let behind = runs.partition_point(|run| run.first <= segment);
    behind.checked_sub(1).is_some_and(|at| segment - runs[at].first < runs[at].count)
}

/// A number that looks like chance and is always the same. FNV-1a, its bits mixed as SplitMix64 does.
fn draw(seed: &str, segment: u64) -> u64 {
    let bytes = seed.bytes().chain(segment.to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grid(exponent: u32) -> Grid {
        Grid::try_from(exponent).expect("small")
    }

    fn span(start: i64, end: i64) -> TokenSpan {
        TokenSpan { start, end }
    }

    fn holds(span: TokenSpan, token: i64) -> bool {
        let TokenSpan { start, end } = span;
        match start.cmp(&end) {
            std::cmp::Ordering::Less => start < token && token <= end,
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => start < token || token <= end,
        }
    }

    #[test]
    fn nothing_named_is_every_segment() {
        assert_eq!(segments(grid(3), &[], None), [Run { first: 0, count: 8 }]);
        assert_eq!(segments(grid(3), &[span(5, 5)], None), [Run { first: 0, count: 8 }]);
        assert_eq!(segments(grid(3), &[], Some(Token(i64::MAX))), [Run { first: 7, count: 1 }]);
    }

    #[test]
    fn neighbouring_and_overlapping_ranges_are_one_run() {
        let quarter = i64::MAX / 4;
        let spans = [span(quarter, 2 * quarter), span(-quarter, quarter), span(i64::MAX - 1, i64::MIN + 1)];
        let runs = segments(grid(4), &spans, None);
        assert_eq!(runs.len(), 3, "{runs:?}");
        assert_eq!((runs[0], runs[2]), (Run { first: 0, count: 1 }, Run { first: 15, count: 1 }));
    }

    #[test]
    fn a_sample_is_the_same_each_time_and_never_empty_where_rows_are() {
        let chunks: Vec<v1::Chunk> = (0..1024).map(|segment| v1::Chunk { segment, ..v1::Chunk::default() }).collect();
        let all = [Run { first: 0, count: 1024 }];
        let count = |per_million, seed: &str| -> u64 {
            sample(&all, &chunks, per_million, seed).iter().map(|run| run.count).sum()
        };
        assert_eq!(count(1, "j1"), 1);
        assert_eq!(count(1_000_000, "j1"), 1024);
        assert!((60..150).contains(&count(100_000, "j1")), "{}", count(100_000, "j1"));
        assert_eq!(sample(&all, &chunks, 5000, "j1"), sample(&all, &chunks, 5000, "j1"));
        assert_ne!(sample(&all, &chunks, 5000, "j1"), sample(&all, &chunks, 5000, "j2"));
        assert!(sample(&all, &[], 5000, "j1").is_empty());
    }

    proptest! {
        #[test]
        fn a_chosen_token_stands_in_a_chosen_segment(
            exponent in 0_u32..12,
            spans in proptest::collection::vec((any::<i64>(), any::<i64>()), 1..6),
            tokens in proptest::collection::vec(i64::MIN + 1..=i64::MAX, 1..50),
        ) {
            let spans: Vec<TokenSpan> = spans.into_iter().map(|(start, end)| span(start, end)).collect();
            let runs = segments(grid(exponent), &spans, None);
            for pair in runs.windows(2) {
                prop_assert!(pair[0].first + pair[0].count < pair[1].first);
            }
            prop_assert!(runs.iter().all(|run| run.first + run.count <= 1 << exponent && run.count > 0));
            for token in tokens {
                let chosen = spans.iter().any(|span| holds(*span, token));
                let segment = grid(exponent).segment_of(Token(token));
                prop_assert!(!chosen || contains(&runs, segment));
            }
        }
    }
}
