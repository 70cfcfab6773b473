//! Three nodes with vnodes: every row once, whatever the replication factor, read from the nodes that own it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::{every_type, large};
use scylla::client::session::Session;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;

use crate::round_trip::{Remembered, back_and_forth};

pub(crate) fn tests() -> Vec<Test> {
    let three = || ClusterSpec::three(CassandraVersion::V5_0);
    vec![
        Test::new("three_nodes_with_two_replicas_lose_no_row", |t| no_row_is_lost(t, 2)).on(three()),
        Test::new("three_nodes_with_three_replicas_lose_no_row", |t| no_row_is_lost(t, 3)).on(three()),
        Test::new("reads_are_spread_over_the_owners", reads_are_spread_over_the_owners).on(three()),
        Test::new("a_consistency_that_cannot_be_reached_is_named", consistency_cannot_be_reached).on(three()),
    ]
}

async fn no_row_is_lost(t: TestContext, replication_factor: u32) -> Result<()> {
    let cluster = t.cluster();
    every_type::make(cluster, "spread", replication_factor).await?;
    large::many_partitions(cluster, "spread", 30_000).await?;
    let before = Remembered::of(cluster, "spread").await?;
    let bench = Workbench::new(cluster)?;
    let (backup, restore) = back_and_forth(cluster, &bench, "spread", &["--shards", "5"], &[]).await?;
    for run in [&backup, &restore] {
        ensure!(run.figure("rows")? == before.rows(), "{} of {} rows: {run}", run.figure("rows")?, before.rows());
    }
    t.note(before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?);
    cluster.drop_keyspace("spread").await
}

const FAT_ROWS: u64 = 40_000;

/// Scans of the table that each node coordinated, and that it ran on its own data.
async fn scans(session: &Arc<Session>, keyspace: &str, table: &str) -> Result<Vec<(i64, i64)>> {
    let state = session.get_cluster_state();
    let mut nodes = state.get_nodes_info().to_vec();
    nodes.sort_by_key(|node| node.address.to_string());
    let mut all = Vec::new();
    for node in nodes {
        let mut counts = Vec::new();
        for view in ["coordinator_scan_latency", "local_scan_latency"] {
            let query = format!("SELECT count FROM system_views.{view} WHERE keyspace_name = ? AND table_name = ?");
            let mut query = Statement::new(query);
            let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(node.host_id), None);
            query.set_load_balancing_policy(Some(only));
            query.set_consistency(Consistency::One);
            let rows = session.query_unpaged(query, (keyspace, table)).await?.into_rows_result()?;
            counts.push(rows.maybe_first_row::<(i64,)>()?.map_or(0, |(count,)| count));
        }
        all.push((counts[0], counts[1]));
    }
    Ok(all)
}

async fn reads_are_spread_over_the_owners(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "owned", 2).await?;
    // Ranges are read apart where they hold a page or more, so there must be much in each.
    large::long_rows(cluster, "owned", FAT_ROWS, 3000).await?;
    let bench = Workbench::new(cluster)?;
    let before = scans(cluster.session(), "owned", "long").await?;
    let backup = bench.backup("owned", &["--read-consistency", "ONE"]).await?;
    ensure!(backup.figure("rows")? == FAT_ROWS, "other rows: {backup}");
    let after = scans(cluster.session(), "owned", "long").await?;
    let grown: Vec<(i64, i64)> = before.iter().zip(&after).map(|(b, a)| (a.0 - b.0, a.1 - b.1)).collect();
    t.note(format!("scans (coordinated, on own data) by node: {grown:?}"));
    let coordinated: i64 = grown.iter().map(|(coordinated, _)| coordinated).sum();
    for (coordinated_here, _) in &grown {
        let share = *coordinated_here as f64 / coordinated as f64;
        ensure!(share > 0.1, "a node coordinated only {share:.2} of the scans: {grown:?}");
    }
    // At ONE, a coordinator that owns a range reads it itself and asks nobody.
    for (coordinated_here, own) in &grown {
        let foreign = (own - coordinated_here).unsigned_abs() as f64 / *coordinated_here as f64;
        ensure!(foreign < 0.2, "nodes coordinated scans of ranges that others own: {grown:?}");
    }
    cluster.drop_keyspace("owned").await
}

/// Last, since it takes a node down.
async fn consistency_cannot_be_reached(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("absent", 3).await?;
    cluster.run(&["CREATE TABLE absent.t (id int PRIMARY KEY)", "INSERT INTO absent.t (id) VALUES (1)"]).await?;
    let bench = Workbench::new(cluster)?;
    cluster.kill_node(2);
    let run = bench.try_backup("absent", &["--read-consistency", "ALL", "--patience", "5s"]).await?;
    run.refused(1, &["unavailable"], &["ALL"])?;
    let listed = bench.run(&["list", &bench.repository_argument()]).await?;
    ensure!(listed.lines("backup").is_empty(), "a backup is listed: {listed}");
    // Two of three are a quorum.
    let backup = bench.backup("absent", &[]).await?;
    ensure!(backup.figure("rows")? == 1, "{backup}");
    cluster.restart_node(2).await
}
