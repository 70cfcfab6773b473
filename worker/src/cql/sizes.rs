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
    token::{Token, TokenRange},
    v1,
};
use scylla::{
    deserialize::row::ColumnIterator,
    response::PagingState,
    statement::{Consistency, Statement},
};
use uuid::Uuid;

use super::{
    Cluster,
    cluster::{KeyspaceRoute, NodesInOrder},
    errors::{Error, Result, Values},
    inspect::TABLES_AT_ONCE,
    quoted,
    rows::Question,
    topology,
};

/// Where estimates cover less of the ring they are no ground to extrapolate from.
const COVERED_MIN: f64 = 0.5;

/// Estimates of less than this are checked by samples: they don't count what is not flushed yet.
const TRUSTED_BYTES_MIN: u64 = 256 << 20;

/// Rows of the first look at a table, which often reads it to its end.
const FIRST_LOOK_ROWS: i32 = 500;

/// Points of the ring that are sampled.
const SAMPLES: u64 = 16;

/// Rows a sample.
const SAMPLE_ROWS: i32 = 100;

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
        estimates.get(&name.table).copied().filter(|size| size.bytes >= TRUSTED_BYTES_MIN)
    };
    let looks: Vec<BoxFuture<'_, Result<(Size, &str)>>> = tables
        .iter()
        .map(|table| match told(table) {
            Some(size) => futures::future::ready(Ok((size, "size_estimates"))).boxed(),
            None => sample(cluster, route, table).map_ok(|size| (size, "sampling")).boxed(),
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
        self.partitions += partitions.max(0) as f64;
        self.bytes += partitions.max(0) as f64 * mean.max(0) as f64;
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    fn size(&self) -> Option<Size> {
        let scale = |sum: f64| (sum / self.fraction.min(1.0)) as u64;
        (self.fraction >= COVERED_MIN && self.bytes > 0.0)
            .then(|| Size { bytes: scale(self.bytes), partitions: scale(self.partitions) })
    }
}

/// One look at the start of the ring, then, where that isn't all, at points spread evenly over it.
async fn sample(cluster: &Cluster, route: &KeyspaceRoute, table: &v1::InspectedTable) -> Result<Size> {
    let sampler = Sampler::new(cluster, route, table);
    let first = sampler.look(TokenRange::FULL, FIRST_LOOK_ROWS).await?;
    if first.ended {
        return Ok(Size { bytes: first.bytes, partitions: first.partitions });
    }
    let mut looks = Vec::new();
    for range in sample_ranges() {
        looks.push((range, sampler.look(range, SAMPLE_ROWS).await?));
    }
    Ok(extrapolated(&looks, &first))
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
    last_token: Option<i64>,
    ended: bool,
}

/// Scales each look from the tokens that it passed to the tokens of its range.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // steering figures
fn extrapolated(looks: &[(TokenRange, Look)], first: &Look) -> Size {
    let (mut bytes, mut partitions) = (0.0, 0.0);
    for (range, look) in looks {
        let passed = match look.last_token {
            Some(token) if !look.ended => token.wrapping_sub(range.start().0).cast_unsigned().max(1),
            _ => range.width(),
        };
        let scale = range.width() as f64 / passed as f64;
        bytes += look.bytes as f64 * scale;
        partitions += look.partitions as f64 * scale;
    }
    Size { bytes: (bytes as u64).max(first.bytes), partitions: (partitions as u64).max(first.partitions) }
}

struct Sampler<'c> {
    cluster: &'c Cluster,
    route: &'c KeyspaceRoute,
    what: String,
    cql: String,
    table: String,
    keys: usize,
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
        Self { cluster, route, what, cql, table: name.table, keys, names_bytes }
    }

    async fn look(&self, range: TokenRange, rows: i32) -> Result<Look> {
        let mut statement = Statement::new(&self.cql).with_page_size(rows);
        statement.set_consistency(Consistency::LocalOne);
        statement.set_is_idempotent(true);
        let nodes: Vec<Uuid> = self.cluster.replicas(self.route, &self.table, Token(range.start().0.saturating_add(1)));
        statement.set_load_balancing_policy(Some(NodesInOrder::new(nodes, self.route.local_dc.clone())));
        let bounds = (range.start().0, range.end().0);
        let session = self.cluster.session();
        let mut state = PagingState::start();
        let mut look = Look::default();
        // a page may come without rows and not be the last: Scylla cuts pages by bytes and by tombstones
        while look.rows == 0 && !look.ended {
            let (result, next) = session
                .query_single_page(statement.clone(), bounds, state)
                .await
                .map_err(|e| Error::of_execution(&self.what, &e, Values::None))?;
            let page = result.into_rows_result().map_err(|e| Error::of_answer(&self.what, e))?;
            let answer = |e: &dyn std::fmt::Display| Error::of_answer(&self.what, e);
            let mut keys = HashSet::new();
            for row in page.rows::<ColumnIterator<'_, '_>>().map_err(|e| answer(&e))? {
                let cells = row.map_err(|e| answer(&e))?;
                let mut key = Vec::new();
                for cell in cells {
                    let cell = cell.map_err(|e| answer(&e))?;
                    let bytes = cell.slice.map(|slice| slice.as_slice()).unwrap_or_default();
                    if cell.index < self.keys {
                        key.push(bytes.to_vec());
                    }
                    if let Ok(token) = bytes.try_into() {
                        look.last_token = Some(i64::from_be_bytes(token)); // the last column: the token
                    }
                    look.bytes += bytes.len() as u64;
                }
                look.bytes = look.bytes.saturating_sub(8) + self.names_bytes;
                keys.insert(key);
                look.rows += 1;
            }
            look.partitions += keys.len() as u64;
            match next.into_paging_control_flow() {
                ControlFlow::Continue(more) => state = more,
                ControlFlow::Break(()) => {
                    look.ended = true;
                    break;
                }
            }
        }
        Ok(look)
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
        let look = |range: TokenRange| Look {
            rows: 100,
            bytes: 1000,
            partitions: 100,
            last_token: Some(range.start().0 + i64::try_from(range.width() / 50).expect("small")),
            ended: false,
        };
        let looks: Vec<_> = sample_ranges().into_iter().map(|range| (range, look(range))).collect();
        let size = extrapolated(&looks, &Look::default());
        assert!(size.bytes.abs_diff(16 * 50 * 1000) < 1000, "{size:?}");
        assert!(size.partitions.abs_diff(16 * 50 * 100) < 100, "{size:?}");
    }

    #[test]
    fn estimates_that_cover_little_are_not_believed_and_gaps_are_filled() {
        let mut covered = Covered::default();
        covered.add("-9223372036854775808", "-4611686018427387904", 10, 100);
        assert_eq!(covered.size(), None, "a quarter");
        covered.add("-4611686018427387904", "0", 10, 100);
        covered.add("-4611686018427387904", "0", 10, 100); // another node's copy
        assert_eq!(covered.size(), Some(Size { bytes: 4000, partitions: 40 }));
        covered.add("0", "-9223372036854775808", 10, 100);
        assert_eq!(covered.size(), Some(Size { bytes: 3000, partitions: 30 }));
    }
}
