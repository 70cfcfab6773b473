//! The demo: a real Cassandra, a sample shop, a backup, a loss, a restore, and the proof. `deploy/demo/run` starts it.
#![allow(clippy::print_stdout)] // it talks to a person

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::oracle::{Scope, compare_keyspaces, read_keyspace, schema};
use ringvault_tests::product::{self, Run, Workbench};
use ringvault_tests::samples::shop;

const KEYSPACE: &str = "shop";
/// About 160,000 rows.
const SCALE: i32 = 100;

#[tokio::main]
async fn main() -> Result<()> {
    let begun = Instant::now();
    step(1, "start Cassandra 5.0 on 127.0.0.1 (the first time its jars are fetched)");
    product::binary().context("build ringvault")?;
    let cluster = TestCluster::start(ClusterSpec::one(CassandraVersion::V5_0)).await?;
    done(begun, "it answers on port 19042");
    let bench = Workbench::new(&cluster)?;

    let now = Instant::now();
    step(2, "fill the keyspace shop: types, collections, a wide partition, expiring rows, counters");
    let tables = shop::make(&cluster, KEYSPACE, 1, SCALE).await?;
    for (table, rows) in &tables {
        println!("     {table:<12} {rows:>8} rows");
    }
    let rows: u64 = tables.iter().map(|(_, rows)| rows).sum();
    done(now, &format!("{rows} rows"));

    let now = Instant::now();
    step(3, "remember every cell, by a reader that shares no code with Ringvault");
    let before = read_keyspace(cluster.session(), KEYSPACE).await?;
    let schema_before = schema::read(cluster.session(), KEYSPACE).await?;
    let cells: u64 = before.tables.values().map(|table| table.cells()).sum();
    done(now, &format!("{} rows, {cells} cells with their writetimes and expiries", before.rows()));

    let now = Instant::now();
    step(4, "ringvault backup");
    let backup = shown(&bench, bench.backup_words(KEYSPACE, &[])).await?;
    let stored = backup.figure("stored_bytes")?;
    let chunks = backup.figure("chunks_new")?;
    done(
        now,
        &format!(
            "backup {}: {} rows, {:.1} MB as {:.1} MB in {chunks} chunks, {} rows/s",
            backup.text("backup_id")?,
            backup.figure("rows")?,
            megabytes(backup.figure("encoded_bytes")?),
            megabytes(stored),
            backup.figure("rows_per_second")?
        ),
    );

    let now = Instant::now();
    step(5, "ringvault backup again: nothing has changed, so nothing is stored again");
    let again = shown(&bench, bench.backup_words(KEYSPACE, &[])).await?;
    done(now, &format!("{} chunks new, {} reused", again.figure("chunks_new")?, again.figure("chunks_reused")?));

    let now = Instant::now();
    step(6, "drop the keyspace");
    cluster.drop_keyspace(KEYSPACE).await?;
    ensure!(read_keyspace(cluster.session(), KEYSPACE).await.is_err(), "the keyspace is still there");
    done(now, "it is gone");

    let now = Instant::now();
    step(7, "ringvault restore");
    let restore = shown(&bench, bench.restore_words(KEYSPACE, &[])).await?;
    done(
        now,
        &format!("{} rows, {} rows/s, proved by sums", restore.figure("rows")?, restore.figure("rows_per_second")?),
    );

    let now = Instant::now();
    step(8, "compare every cell with what was remembered");
    let after = read_keyspace(cluster.session(), KEYSPACE).await?;
    let compared = compare_keyspaces(&before, &after, Scope::ValuesAndTimes);
    compared.ensure_equal()?;
    let schema_after = schema::read(cluster.session(), KEYSPACE).await?;
    let differences = schema::differences(&schema_before, &schema_after);
    ensure!(differences.is_empty(), "the schema differs: {differences:#?}");
    done(now, &format!("{compared}; the schema is the same"));

    println!(
        "\nThe restored keyspace is the same. {:.0} s in all; Cassandra stops now.",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Runs a command and shows it as a person would type it.
async fn shown(bench: &Workbench, words: Vec<String>) -> Result<Run> {
    println!("     $ ringvault {}", words.join(" "));
    bench.run(&product::as_strs(&words)).await?.expect(0)
}

fn step(number: u32, what: &str) {
    println!("\n[{number}/8] {what}");
}

fn done(since: Instant, what: &str) {
    println!("     {what} ({:.1} s)", since.elapsed().as_secs_f64());
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
