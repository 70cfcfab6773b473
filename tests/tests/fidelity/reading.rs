//! "Reading" and "Writing": what a scan must not miss and a load must not do.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::{Cell, query_i64, query_raw};
use ringvault_tests::oracle::{Scope, compare_tables, read_table};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::bytes::{int, text};
use ringvault_tests::samples::{load, load_batched};

use super::ring::key_of_token;
use super::stage::{named, run};

pub(crate) fn tests(version: CassandraVersion) -> Vec<Test> {
    let on = |test: Test| test.on(ClusterSpec::one(version));
    vec![
        // First on its cluster: a node that has just started has no estimates.
        on(Test::new(named("empty_size_estimates_are_replaced_by_samples", version), estimates)),
        on(Test::new(named("both_ends_of_the_ring_and_of_every_segment_are_read", version), ends_of_the_ring)),
        on(Test::new(named("short_pages_over_deleted_stretches_lose_nothing", version), short_pages)),
        on(Test::new(named("rows_of_a_megabyte_are_read_a_few_at_a_time", version), megabytes)),
        on(Test::new(named("batches_stay_below_the_servers_thresholds", version), batches)),
    ]
}

/// `plan`, whatever comes of it.
pub(crate) async fn plan(bench: &Workbench, cluster: &TestCluster, keyspace: &str) -> Result<Run> {
    let (hosts, port, repository) = (cluster.hosts(), cluster.port().to_string(), bench.repository_argument());
    bench.run(&["plan", keyspace, &repository, "--hosts", &hosts, "--port", &port]).await
}

/// Backs up, drops, restores, compares all tables that are named.
async fn comes_back(cluster: &TestCluster, keyspace: &str, tables: &[&str], flags: &[&str]) -> Result<(Run, Run)> {
    let mut before = Vec::new();
    for table in tables {
        before.push(read_table(cluster.session(), keyspace, table).await?);
    }
    let bench = Workbench::new(cluster)?;
    let backup = bench.backup(keyspace, flags).await?;
    cluster.drop_keyspace(keyspace).await?;
    let restore = bench.restore(keyspace, &[]).await?;
    for table in &before {
        let after = read_table(cluster.session(), keyspace, &table.table).await?;
        compare_tables(table, &after, Scope::ValuesAndTimes).ensure_equal()?;
    }
    cluster.drop_keyspace(keyspace).await?;
    Ok((backup, restore))
}

async fn estimates(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_sizes", 1).await?;
    run(cluster, "fid_sizes", &["CREATE TABLE KS.t (k int PRIMARY KEY, v text)"]).await?;
    let value = text(&"x".repeat(500));
    let rows = (0..4000).map(|k| vec![int(k).into(), value.clone().into()]);
    load(cluster.session(), "INSERT INTO fid_sizes.t (k, v) VALUES (?, ?)", rows).await?;
    let query = "SELECT count(*) FROM system.size_estimates WHERE keyspace_name = 'fid_sizes'";
    ensure!(query_i64(cluster.session(), query).await? == 0, "the node has estimates already: run this test first");
    let bench = Workbench::new(cluster)?;
    let planned = plan(&bench, cluster, "fid_sizes").await?.expect(0)?.line("plan")?;
    let table = &planned["tables"][0];
    ensure!(table["estimated_by"] == "sampling", "{table}");
    let estimated = table["bytes_estimated"].as_u64().context("an estimate")?;
    // Two megabytes; a guess within a factor of four cuts the same segments or the next.
    ensure!((500_000..8_000_000).contains(&estimated), "{estimated} bytes were estimated for 2,000,000");
    t.note(format!("{estimated} bytes estimated"));
    let backup = bench.backup("fid_sizes", &[]).await?;
    ensure!(backup.figure("rows")? == 4000, "{backup}");
    cluster.drop_keyspace("fid_sizes").await
}

/// Keys made for their tokens: the least and the greatest, and both sides of the bounds of aligned parts.
async fn ends_of_the_ring(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_ends", 1).await?;
    run(cluster, "fid_ends", &["CREATE TABLE KS.t (k blob PRIMARY KEY, v int)"]).await?;
    let mut tokens = vec![i64::MIN, i64::MIN + 1, i64::MIN + 2, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for part in 1..16_u64 {
        let bound = i64::MIN.wrapping_add_unsigned(part << 60);
        tokens.extend([bound - 1, bound, bound + 1]);
    }
    let wanted: BTreeSet<i64> = tokens.into_iter().collect();
    let rows = wanted.iter().map(|token| vec![Cell::Raw(key_of_token(*token)), Cell::Raw(int(1))]);
    load(cluster.session(), "INSERT INTO fid_ends.t (k, v) VALUES (?, ?)", rows).await?;
    let mut told = BTreeSet::new();
    for row in query_raw(cluster.session(), "SELECT token(k) FROM fid_ends.t").await? {
        let bytes = row[0].as_deref().and_then(|bytes| bytes.first_chunk()).context("a token")?;
        told.insert(i64::from_be_bytes(*bytes));
    }
    // The server takes the least token for the greatest: no key has it.
    let least = BTreeSet::from([i64::MIN]);
    ensure!(told == &wanted - &least, "the keys were made wrongly: {told:?}");
    let (backup, _) = comes_back(cluster, "fid_ends", &["t"], &[]).await?;
    ensure!(backup.figure("rows")? == wanted.len() as u64, "{} keys: {backup}", wanted.len());
    Ok(())
}

async fn short_pages(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_pages", 1).await?;
    let create = "CREATE TABLE KS.t (k int, c int, s int static, v int, PRIMARY KEY (k, c))";
    run(cluster, "fid_pages", &[create]).await?;
    let rows = (0..3000).map(|c| [int(0), int(c), int(c)].map(Cell::Raw).to_vec());
    load_batched(cluster.session(), "INSERT INTO fid_pages.t (k, c, v) VALUES (?, ?, ?)", 50, rows).await?;
    // A stretch deleted as a range, one row by row, the end of a partition, whole partitions, statics between.
    let mut deletes = vec![
        "DELETE FROM KS.t WHERE k = 0 AND c >= 100 AND c < 1100".to_owned(),
        "DELETE FROM KS.t WHERE k = 0 AND c >= 2990".to_owned(),
    ];
    deletes.extend((1200..1500).map(|c| format!("DELETE FROM KS.t WHERE k = 0 AND c = {c}")));
    deletes.extend((1..120).map(|k| format!("INSERT INTO KS.t (k, c, s, v) VALUES ({k}, 0, {k}, 0)")));
    deletes.extend((1..120).filter(|k| k % 3 > 0).map(|k| format!("DELETE FROM KS.t WHERE k = {k}")));
    deletes.extend((1..120).filter(|k| k % 9 == 0).map(|k| format!("DELETE FROM KS.t WHERE k = {k} AND c = 0")));
    run(cluster, "fid_pages", &deletes).await?;
    let (backup, _) = comes_back(cluster, "fid_pages", &["t"], &["--fetch-size", "3"]).await?;
    t.note(format!("{} rows in pages of 3", backup.figure("rows")?));
    Ok(())
}

const MEGABYTES: i32 = 48;

async fn megabytes(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_fat", 1).await?;
    let create = "CREATE TABLE KS.t (k int, c int, v blob, PRIMARY KEY (k, c)) WITH compression = {'enabled': false}";
    run(cluster, "fid_fat", &[create]).await?;
    let body = |c: i32| -> Vec<u8> {
        (0..1_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ c as u8).collect()
    };
    for c in 0..MEGABYTES {
        let row = vec![int(c % 2).into(), int(c).into(), body(c).into()];
        load(cluster.session(), "INSERT INTO fid_fat.t (k, c, v) VALUES (?, ?, ?)", std::iter::once(row)).await?;
    }
    let (backup, restore) = comes_back(cluster, "fid_fat", &["t"], &[]).await?;
    for run in [backup, restore] {
        t.note(format!("{}: {} MB at most", run.command.split(' ').nth(1).unwrap_or_default(), run.memory_peak >> 20));
        // A page of 5,000 such rows would be 5 GB.
        ensure!(run.memory_peak < 512 << 20, "{} bytes of memory: {run}", run.memory_peak);
    }
    Ok(())
}

async fn batches(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_batches", 1).await?;
    let tables = [
        "CREATE TABLE KS.small (k int PRIMARY KEY, v int)",
        "CREATE TABLE KS.middle (k int, c int, v text, PRIMARY KEY (k, c))",
        "CREATE TABLE KS.large (k int PRIMARY KEY, v blob)",
    ];
    run(cluster, "fid_batches", &tables).await?;
    let session = cluster.session();
    let rows = (0..3000).map(|k| [int(k), int(k)].map(Cell::Raw).to_vec());
    load(session, "INSERT INTO fid_batches.small (k, v) VALUES (?, ?)", rows).await?;
    let rows = (0..3000).map(|k| [int(k % 40), int(k), text(&"m".repeat(700))].map(Cell::Raw).to_vec());
    load(session, "INSERT INTO fid_batches.middle (k, c, v) VALUES (?, ?, ?)", rows).await?;
    let rows = (0..60).map(|k| [int(k), vec![7; 60_000]].map(Cell::Raw).to_vec());
    load(session, "INSERT INTO fid_batches.large (k, v) VALUES (?, ?)", rows).await?;
    comes_back(cluster, "fid_batches", &["small", "middle", "large"], &[]).await?;
    let complaints = cluster.complaints(500);
    let loud: Vec<&str> = complaints.lines().filter(|line| line.to_lowercase().contains("batch")).collect();
    ensure!(loud.is_empty(), "the server complains about batches:\n{}", loud.join("\n"));
    Ok(())
}
