//! The planner, pure: `(ring, sizes, options, parents) → grids and shards`. Estimates steer, correctness never depends
//! on them: whatever is planned, the shards of a table tile its grid and the grid tiles the ring.
//!
//! - [`grid`]: how fine a table's grid is
//! - [`ring`]: which node owns a segment first, and an order that keeps all of them busy
//! - [`restore`]: chunks of an index in shards; [`select`]: which segments are meant
//!
//! Deliberately absent: jobs, leases, messages to workers.

pub(crate) mod grid;
pub(crate) mod restore;
pub(crate) mod ring;
pub(crate) mod select;

use std::collections::BTreeMap;

use ringvault_proto::{grid::Grid, v1};

use self::{grid::Parent, ring::Ring};
use crate::name::TableKey;

/// Tables below this are one shard, in encoded bytes: they have one segment or two, and a lease costs two commits.
pub(crate) const SHARDED_TABLE_BYTES_MIN: u64 = 8 << 20;

/// Segments a shard holds at most, so that work spreads and a lost lease costs little.
pub(crate) const SHARD_SEGMENTS_MAX: u64 = 64;

/// Shards of one table at most: a bound on leases and journal rows, far above what helps.
pub(crate) const TABLE_SHARDS_MAX: u64 = 100_000;

/// A run of segments: the shard `first..first + count` of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first segment.
    pub(crate) first: u64,
    /// How many; at least one.
    pub(crate) count: u64,
}

/// What the user asked for and what attends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Shards of each table, 0: by size.
    pub(crate) shards_per_table: u32,
    /// Slots of the workers that serve the cluster.
    pub(crate) slots: u32,
}

/// A table with its grid and its shards.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedTable {
    /// As inspected.
    pub(crate) table: v1::InspectedTable,
    /// What people see of the plan.
    pub(crate) plan: v1::TablePlan,
    /// Its shards, in the order in which they should be leased.
    pub(crate) shards: Vec<Run>,
}

/// Plans a backup; the largest tables come first.
pub(crate) fn backup(
    inspected: &v1::InspectResult,
    tables: &[v1::InspectedTable],
    options: Options,
    parents: &BTreeMap<TableKey, Parent>,
) -> Vec<PlannedTable> {
    let ring = Ring::new(&inspected.ring);
    let nodes = u64::try_from(inspected.nodes.len()).unwrap_or(u64::MAX);
    let mut planned: Vec<PlannedTable> = tables
        .iter()
        .map(|table| plan_table(table, &ring, nodes, options, parents.get(&TableKey::of(table))))
        .collect();
    planned.sort_by(|a, b| {
        b.plan
            .bytes_estimated
            .cmp(&a.plan.bytes_estimated)
            .then_with(|| TableKey::of(&a.table).cmp(&TableKey::of(&b.table)))
    });
    planned
}

fn plan_table(
    table: &v1::InspectedTable,
    ring: &Ring,
    nodes: u64,
    options: Options,
    parent: Option<&Parent>,
) -> PlannedTable {
    let (bytes, estimated_by) = match (table.bytes_estimated, parent) {
        (0, Some(parent)) if parent.encoded_bytes > 0 => (parent.encoded_bytes, "parent backup"),
        (bytes, _) => (bytes, table.estimated_by.as_str()),
    };
    let grid = grid::choose(bytes, parent);
    let shards = ring.spread(&runs(grid, shard_count(grid, bytes, nodes, options)), grid);
    let plan = v1::TablePlan {
        table: table.table.clone(),
        bytes_estimated: bytes,
        partitions_estimated: table.partitions_estimated,
        estimated_by: estimated_by.to_owned(),
        grid_exponent: grid.exponent(),
        shards: u32::try_from(shards.len()).unwrap_or(u32::MAX),
        parent_backup_id: parent.map(|parent| parent.backup_id.clone()).unwrap_or_default(),
        approximations: table.approximations.clone(),
    };
    PlannedTable { table: table.clone(), plan, shards }
}

fn shard_count(grid: Grid, bytes: u64, nodes: u64, options: Options) -> u64 {
    let segments = grid.segments();
    let wanted = match u64::from(options.shards_per_table) {
        0 if bytes < SHARDED_TABLE_BYTES_MIN => 1,
        0 => (2 * nodes.max(u64::from(options.slots))).max(segments.div_ceil(SHARD_SEGMENTS_MAX)),
        asked => asked,
    };
    wanted.clamp(1, segments.min(TABLE_SHARDS_MAX))
}

/// The grid in `count` runs whose lengths differ by one at most.
fn runs(grid: Grid, count: u64) -> Vec<Run> {
    let (length, longer) = (grid.segments() / count, grid.segments() % count);
    let mut first = 0;
    (0..count)
        .map(|index| {
            let run = Run { first, count: length + u64::from(index < longer) };
            first += run.count;
            run
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(name: &str, bytes: u64) -> v1::InspectedTable {
        v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "shop".into(), table: name.into() }),
            bytes_estimated: bytes,
            estimated_by: "size_estimates".into(),
            ..v1::InspectedTable::default()
        }
    }

    fn three_nodes() -> v1::InspectResult {
        let ring = (0..48_i64)
            .map(|i| v1::RingToken { token: (i - 24) * (1 << 58) + 7, node: u32::try_from(i * 7 % 3).expect("small") });
        v1::InspectResult {
            nodes: vec![v1::InspectedNode::default(); 3],
            ring: ring.collect(),
            ..v1::InspectResult::default()
        }
    }

    fn plan(bytes: u64, options: Options) -> PlannedTable {
        backup(&three_nodes(), &[table("t", bytes)], options, &BTreeMap::new()).remove(0)
    }

    #[test]
    fn a_small_table_is_one_shard_of_one_segment() {
        let planned = plan(1 << 20, Options::default());
        assert_eq!((planned.plan.grid_exponent, planned.shards), (0, vec![Run { first: 0, count: 1 }]));
    }

    #[test]
    fn a_large_table_has_shards_for_every_slot_and_none_is_too_long() {
        let planned = plan(64 << 30, Options { slots: 20, shards_per_table: 0 });
        assert!(planned.shards.len() >= 40, "{}", planned.shards.len());
        assert!(planned.shards.iter().all(|run| run.count <= SHARD_SEGMENTS_MAX));
    }

    #[test]
    fn asked_shards_change_the_shards_and_never_the_grid() {
        let (few, many) = (plan(1 << 30, Options { shards_per_table: 3, slots: 0 }), plan(1 << 30, Options::default()));
        assert_eq!(few.plan.grid_exponent, many.plan.grid_exponent);
        assert_eq!(few.shards.len(), 3);
        assert_eq!(plan(1, Options { shards_per_table: 8, slots: 0 }).shards.len(), 1, "one segment is not cut");
    }

    #[test]
    fn the_largest_tables_come_first() {
        let planned = backup(
            &three_nodes(),
            &[table("a", 1), table("b", 9), table("c", 9)],
            Options::default(),
            &BTreeMap::new(),
        );
        let names: Vec<String> = planned.iter().map(|planned| TableKey::of(&planned.table).table).collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    #[test]
    fn a_parent_gives_the_size_where_the_estimate_is_missing() {
        let parent = Parent { backup_id: "p".into(), grid: Grid::WHOLE, encoded_bytes: 5, segments_filled: 1 };
        let planned = backup(
            &three_nodes(),
            &[table("t", 0)],
            Options::default(),
            &BTreeMap::from([(TableKey::of(&table("t", 0)), parent)]),
        );
        assert_eq!(planned[0].plan.estimated_by, "parent backup");
        assert_eq!((planned[0].plan.bytes_estimated, planned[0].plan.parent_backup_id.as_str()), (5, "p"));
    }

    proptest! {
        #[test]
        fn the_shards_of_every_plan_tile_the_grid(bytes in 0_u64..(1 << 42), shards in 0_u32..300, slots in 0_u32..64) {
            let planned = plan(bytes, Options { shards_per_table: shards, slots });
            let mut runs = planned.shards;
            runs.sort_by_key(|run| run.first);
            let mut next = 0;
            for run in runs {
                prop_assert_eq!(run.first, next);
                prop_assert!(run.count > 0);
                next += run.count;
            }
            prop_assert_eq!(next, 1_u64 << planned.plan.grid_exponent);
        }
    }
}
