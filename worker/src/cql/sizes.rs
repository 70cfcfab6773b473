//! How large tables are, about: by the servers' own estimates where they cover the ring, else by samples of it. A table
//! that a sample reads to its end is known exactly. Sizes steer the grid and the order of work; nothing depends on them.
//!
//! Bytes are of row lines, not of SSTables: raw cells plus the column names that every line repeats.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture};
use ringvault_proto::{
    error::Verdict,
    token::{Token, TokenRange},
    v1,
};
use ringvault_runtime::{entropy::Entropy, retry::Backoff};
use scylla::{
    deserialize::row::ColumnIterator,
    response::{PagingState, query_result::QueryRowsResult},
    statement::{Consistency, Statement},
};
use uuid::Uuid;

use super::{
    Cluster,
    cluster::{KeyspaceRoute, NodesInOrder},
    errors::{Error, Reason, Result, Values},
    inspect::TABLES_AT_ONCE,
    quoted,
    rows::Question,
    topology,
};

/// Where estimates cover less of the ring they are no ground to extrapolate from.
const COVERED_MIN: f64 = 0.5;

/// Estimates of less than this are checked by samples: they don't count what is not flushed yet.
const TRUSTED_BYTES_MIN: u64 = 256 << 20;

/// Servers count partitions by samples of their indexes, one in so many: a range said to hold so many holds from one to
/// so many. It counts as one: a single huge partition must not look like 128 of them.
const KEYS_PER_INDEX_SAMPLE: i64 = 128;

/// Bytes of the first look at a table, which often reads it to its end: below the smallest segment, so nothing is lost
/// where it doesn't.
const FIRST_LOOK_BYTES: u64 = 2 << 20;

/// Points of the ring that are sampled.
const SAMPLES: u64 = 16;

/// Rows of a look's first page.
const PAGE_ROWS: u64 = 100;

/// Rows of its later pages, at most.
const PAGE_ROWS_MAX: u64 = 5000;

/// Ranges of fewer tokens than two to this are not halved when replicas fail over them.
const NARROWED_BITS_MIN: u32 = 44;

/// Attempts of a look while nobody answers.
const ATTEMPTS_MAX: u32 = 3;

type EstimateRow = (String, String, String, i64, i64);

/// Fills bytes and partitions of `tables`, all of one keyspace, and how they were found.
///
/// # Errors
/// What the database said; a node that is down is no error.
pub(crate) async fn estimate(
    cluster: &Cluster,
    route: &KeyspaceRoute,
    tables: &mut [v1::InspectedTable],
) -> Result<()> {
    let estimates = server_estimates(cluster, route).await?;
    let told = |table: &v1::InspectedTable| {
        let name = table.table.as_ref()?;
        estimates.get(&name.table).copied()
    };
    let looks: Vec<BoxFuture<'_, Result<(Size, &str)>>> = tables
        .iter()
        .map(|table| match told(table) {
            Some(size) if size.bytes >= TRUSTED_BYTES_MIN => {
                futures::future::ready(Ok((size, "size_estimates"))).boxed()
            }
            told => sample(cluster, route, table, told).map_ok(|size| (size, "sampling")).boxed(),
        })
        .collect();
    let sizes: Vec<(Size, &str)> = futures::stream::iter(looks).buffered(TABLES_AT_ONCE).try_collect().await?;
    for (table, (size, by)) in tables.iter_mut().zip(sizes) {
        table.bytes_estimated = size.bytes;
        table.partitions_estimated = size.partitions;
        table.estimated_by = by.to_owned();
    }
    Ok(())
}

/// About how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    bytes: u64,
    partitions: u64,
}

/// `system.size_estimates` of every node that answers. Each node tells its primary ranges only; those that overlap what
/// another told before are left out, and what nobody told is filled in by the mean of the rest.
async fn server_estimates(cluster: &Cluster, route: &KeyspaceRoute) -> Result<HashMap<String, Size>> {
    let cql = "SELECT table_name, range_start, range_end, partitions_count, mean_partition_size FROM system.size_estimates WHERE keyspace_name = ?";
    let mut told: HashMap<String, Covered> = HashMap::new();
    for host in cluster.connected(&route.local_dc) {
        let what = format!("reading system.size_estimates of node {host}");
        let question = Question::new(&what, cql).to(topology::only(host));
        let Ok(rows) = question.ask::<EstimateRow>(cluster.session(), (&route.keyspace,)).await else { continue };
        for (table, start, end, partitions, mean) in rows {
            told.entry(table).or_default().add(&start, &end, partitions, mean);
        }
    }
    // nodes of other data centres own primary ranges too, and count what they hold of them: not at all, or the same
    Ok(told.into_iter().filter_map(|(table, covered)| covered.size().map(|size| (table, size))).collect())
}

#[derive(Clone, Debug, Default)]
struct Covered {
    ranges: HashSet<(i64, i64)>,
    fraction: f64,
    bytes: f64,
    partitions: f64,
}

impl Covered {
    #[allow(clippy::cast_precision_loss)] // a steering figure
    fn add(&mut self, start: &str, end: &str, partitions: i64, mean: i64) {
        let (Ok(start), Ok(end)) = (start.parse::<i64>(), end.parse::<i64>()) else { return };
        if !self.ranges.insert((start, end)) {
            return;
        }
        // a range that wraps, or that ends at the lowest token, counts around the ring
        let width = end.wrapping_sub(start).cast_unsigned();
        self.fraction += if width == 0 { 1.0 } else { width as f64 / u64::MAX as f64 };
        let partitions = if partitions > KEYS_PER_INDEX_SAMPLE { partitions } else { partitions.clamp(0, 1) } as f64;
        self.partitions += partitions;
        self.bytes += partitions * mean.max(0) as f64;
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    fn size(&self) -> Option<Size> {
        let scale = |sum: f64| (sum / self.fraction.min(1.0)) as u64;
        (self.fraction >= COVERED_MIN && self.bytes > 0.0)
            .then(|| Size { bytes: scale(self.bytes), partitions: scale(self.partitions) })
    }
}

/// A long look at the start of the ring, then, where that isn't all, short ones at points spread evenly over it.
async fn sample(
    cluster: &Cluster,
    route: &KeyspaceRoute,
    table: &v1::InspectedTable,
    told: Option<Size>,
) -> Result<Size> {
    let sampler = Sampler::new(cluster, route, table);
    let first = sampler.look(TokenRange::FULL, FIRST_LOOK_BYTES).await?;
    if first.passed == TokenRange::FULL.width() {
        return Ok(Size { bytes: first.bytes, partitions: first.partitions });
    }
    let mut looks = Vec::new();
    for range in sample_ranges() {
        looks.push((range, sampler.look(range, 0).await?));
    }
    let size = extrapolated(&looks, &first);
    // replicas may hold in their SSTables what a short look can't see: partitions of many pages
    let told = told.unwrap_or_default();
    Ok(Size { bytes: size.bytes.max(told.bytes), partitions: size.partitions.max(told.partitions) })
}

/// The ring in as many equal ranges as there are samples; each is sampled from its start.
fn sample_ranges() -> Vec<TokenRange> {
    let step = u64::MAX / SAMPLES + 1;
    let cut = |n: u64| Token(i64::MIN.wrapping_add((n * step).cast_signed()));
    TokenRange::FULL.split_at(&(1..SAMPLES).map(cut).collect::<Vec<_>>())
}

/// What a look at the start of a range showed.
#[derive(Clone, Debug, Default)]
struct Look {
    rows: u64,
    bytes: u64,
    partitions: u64,
    /// Tokens that it went over.
    passed: u64,
}

impl Look {
    /// Rows of the next page: what `bytes_max` leaves, by the mean row.
    fn page_rows(&self, bytes_max: u64) -> i32 {
        let mean = self.bytes.checked_div(self.rows).unwrap_or(0).max(1);
        let rows = if self.rows == 0 { PAGE_ROWS } else { bytes_max.saturating_sub(self.bytes) / mean };
        i32::try_from(rows.clamp(1, PAGE_ROWS_MAX)).unwrap_or(i32::MAX)
    }
}

/// Scales each look from the tokens that it passed to the tokens of its range.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // steering figures
fn extrapolated(looks: &[(TokenRange, Look)], first: &Look) -> Size {
    let (mut bytes, mut partitions) = (0.0, 0.0);
    for (range, look) in looks {
        let scale = range.width() as f64 / look.passed.max(1) as f64;
        bytes += look.bytes as f64 * scale;
        partitions += look.partitions as f64 * scale;
    }
    // a short look ends within a large partition, so its size shows in the long one only
    let large = partitions * first.bytes as f64 / first.partitions.max(1) as f64;
    Size { bytes: (bytes.max(large) as u64).max(first.bytes), partitions: (partitions as u64).max(first.partitions) }
}

struct Sampler<'c> {
    cluster: &'c Cluster,
    route: &'c KeyspaceRoute,
    what: String,
    cql: String,
    table: String,
    keys: usize,
    columns: usize,
    names_bytes: u64,
}

impl<'c> Sampler<'c> {
    fn new(cluster: &'c Cluster, route: &'c KeyspaceRoute, table: &v1::InspectedTable) -> Self {
        let name = table.table.clone().unwrap_or_default();
        let quoted_names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
        let keys = table.columns.iter().filter(|column| column.kind() == v1::ColumnKind::PartitionKey).count();
        let token = format!("token({})", quoted_names[..keys].join(", "));
        let names_bytes = table.columns.iter().map(|column| column.name.len() as u64 + 4).sum();
        let from = format!("{}.{}", quoted(&name.keyspace), quoted(&name.table));
        let cql = format!("SELECT {}, {token} FROM {from} WHERE {token} > ? AND {token} <= ?", quoted_names.join(", "));
        let what = format!("estimating the size of {}.{}", name.keyspace, name.table);
        Self { cluster, route, what, cql, table: name.table, keys, columns: table.columns.len(), names_bytes }
    }

    /// Looks at the first page of `range`, and at more pages up to about `bytes_max`; at those of its first half, and so on, where replicas fail over it, as they do
    /// over very many tombstones.
    async fn look(&self, range: TokenRange, bytes_max: u64) -> Result<Look> {
        let (backoff, entropy) = (Backoff::peer(), Entropy::from_os());
        let mut seen = range;
        let mut failed = 0;
        loop {
            match self.look_once(seen, bytes_max).await {
                Err(error) if error.reason() == Reason::ReplicasFailed && seen.width() > 1 << NARROWED_BITS_MIN => {
                    let half = i64::try_from(seen.width() / 2).unwrap_or(i64::MAX);
                    seen = seen.split_at(&[Token(seen.start().0.wrapping_add(half))])[0];
                }
                // nothing but tombstones as far as one can see: the scan will tell
                Err(error) if error.reason() == Reason::ReplicasFailed => {
                    return Ok(Look { passed: range.width(), ..Look::default() });
                }
                Err(error) if error.kind().verdict() == Verdict::Retry && failed < ATTEMPTS_MAX => {
                    tokio::time::sleep(backoff.pause(failed, &entropy)).await;
                    failed += 1;
                }
                look => return look,
            }
        }
    }

    async fn look_once(&self, range: TokenRange, bytes_max: u64) -> Result<Look> {
        let mut statement = Statement::new(&self.cql);
        statement.set_consistency(Consistency::LocalOne);
        statement.set_is_idempotent(true);
        let nodes: Vec<Uuid> = self.cluster.replicas(self.route, &self.table, Token(range.start().0.saturating_add(1)));
        statement.set_load_balancing_policy(Some(NodesInOrder::policy(nodes, self.route.local_dc.clone())));
        let bounds = (range.start().0, range.end().0);
        let session = self.cluster.session();
        let (mut state, mut look, mut last_key) = (PagingState::start(), Look::default(), Vec::new());
        loop {
            statement.set_page_size(look.page_rows(bytes_max));
            let (result, next) = session
                .query_single_page(statement.clone(), bounds, state)
                .await
                .map_err(|e| Error::of_execution(&self.what, &e, Values::None))?;
            let page = result.into_rows_result().map_err(|e| Error::of_answer(&self.what, e))?;
            let last_token = self.see(&page, &mut look, &mut last_key)?;
            match next.into_paging_control_flow() {
                // a page may come without rows and not be the last: Scylla cuts pages by bytes and by tombstones
                ControlFlow::Continue(more) if look.rows == 0 || look.bytes < bytes_max => state = more,
                ControlFlow::Continue(_) => {
                    look.passed = last_token.wrapping_sub(range.start().0).cast_unsigned();
                    return Ok(look);
                }
                ControlFlow::Break(()) => {
                    look.passed = range.width();
                    return Ok(look);
                }
            }
        }
    }

    /// Counts a page in; gives the token of its last row.
    fn see(&self, page: &QueryRowsResult, look: &mut Look, last_key: &mut Vec<Vec<u8>>) -> Result<i64> {
        let answer = |e: &dyn std::fmt::Display| Error::of_answer(&self.what, e);
        let mut last_token = i64::MIN;
        for row in page.rows::<ColumnIterator<'_, '_>>().map_err(|e| answer(&e))? {
            let mut key = Vec::new();
            for cell in row.map_err(|e| answer(&e))? {
                let cell = cell.map_err(|e| answer(&e))?;
                let bytes = cell.slice.map(|slice| slice.as_slice()).unwrap_or_default();
                if cell.index == self.columns {
                    last_token = bytes.try_into().map(i64::from_be_bytes).map_err(|e| answer(&e))?;
                } else {
                    look.bytes += bytes.len() as u64;
                }
                if cell.index < self.keys {
                    key.push(bytes.to_vec());
                }
            }
            look.partitions += u64::from(key != *last_key);
            look.bytes += self.names_bytes;
            look.rows += 1;
            *last_key = key;
        }
        Ok(last_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_tile_the_ring() {
        let ranges = sample_ranges();
        assert_eq!(ranges.len() as u64, SAMPLES);
        assert_eq!((ranges[0].start(), ranges[15].end()), (Token::MIN, Token::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].end() == pair[1].start()));
    }

    #[test]
    fn a_sample_counts_for_the_tokens_that_it_did_not_reach() {
        let look = |range: TokenRange| Look { rows: 100, bytes: 1000, partitions: 100, passed: range.width() / 50 };
        let looks: Vec<_> = sample_ranges().into_iter().map(|range| (range, look(range))).collect();
        let size = extrapolated(&looks, &Look::default());
        assert!(size.bytes.abs_diff(16 * 50 * 1000) < 1000, "{size:?}");
        assert!(size.partitions.abs_diff(16 * 50 * 100) < 100, "{size:?}");
    }

    #[test]
    fn estimates_that_cover_little_are_not_believed_and_gaps_are_filled() {
        let mut covered = Covered::default();
        covered.add("-9223372036854775808", "-4611686018427387904", 256, 100);
        assert_eq!(covered.size(), None, "a quarter");
        covered.add("-4611686018427387904", "0", 256, 100);
        covered.add("-4611686018427387904", "0", 256, 100); // another node's copy
        assert_eq!(covered.size(), Some(Size { bytes: 102_400, partitions: 1024 }));
        covered.add("0", "-9223372036854775808", 256, 100);
        assert_eq!(covered.size(), Some(Size { bytes: 76_800, partitions: 768 }));
    }

    #[test]
    fn a_single_huge_partition_does_not_look_like_many() {
        let mut covered = Covered::default();
        covered.add("-9223372036854775808", "0", 128, 14_530_764);
        covered.add("0", "-9223372036854775808", 0, 0);
        assert_eq!(covered.size(), Some(Size { bytes: 14_530_764, partitions: 1 }));
    }
}
