//! Large tables: complete, within bounded memory, and not far from what the raw driver reads.

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::raw_scan::{RawScan, scan};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;

use crate::round_trip::Remembered;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("a_huge_partition_fits_bounded_memory", |t| within_memory(t, Shape::Wide)).on(newest()),
        Test::new("very_many_partitions_fit_bounded_memory", |t| within_memory(t, Shape::Many)).on(newest()),
        Test::new("a_backup_beside_a_raw_scan_is_reported", a_backup_beside_a_raw_scan_is_reported).on(newest()),
    ]
}

/// Peak resident memory that a process may reach, whatever the table.
const MEMORY_MAX: u64 = 150_000_000;

#[derive(Clone, Copy)]
enum Shape {
    Wide,
    Many,
}

impl Shape {
    fn keyspace(self) -> &'static str {
        match self {
            Self::Wide => "huge",
            Self::Many => "numerous",
        }
    }

    async fn load(self, cluster: &TestCluster, rows: u64) -> Result<()> {
        large::keyspace(cluster, self.keyspace(), 1).await?;
        match self {
            Self::Wide => large::wide_partition(cluster, self.keyspace(), rows).await,
            Self::Many => large::many_partitions(cluster, self.keyspace(), rows).await,
        }
    }
}

fn rows(t: &TestContext) -> u64 {
    if t.long { 1_000_000 } else { 400_000 }
}

async fn within_memory(t: TestContext, shape: Shape) -> Result<()> {
    let cluster = t.cluster();
    let rows = rows(&t);
    shape.load(cluster, rows).await?;
    let keyspace = shape.keyspace();
    let before = Remembered::of(cluster, keyspace).await?;
    let bench = Workbench::new(cluster)?;
    let backup = bench.backup(keyspace, &["--pace", "full"]).await?;
    ensure!(backup.figure("rows")? == rows, "other rows: {backup}");
    t.note(told("backup", &backup)?);
    cluster.drop_keyspace(keyspace).await?;
    let restore = bench.restore(keyspace, &["--pace", "full"]).await?;
    t.note(told("restore", &restore)?);
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    for run in [&backup, &restore] {
        ensure!(
            run.memory_peak <= MEMORY_MAX,
            "{} MB resident at the peak of {}",
            run.memory_peak / 1_000_000,
            run.command
        );
    }
    Ok(())
}

fn told(what: &str, run: &Run) -> Result<String> {
    let (rows, seconds) = (run.figure("rows")?, run.elapsed.as_secs_f64());
    let memory = run.memory_peak as f64 / 1e6;
    Ok(format!(
        "{what}: {rows} rows in {seconds:.1} s, {:.0} rows/s, {memory:.0} MB at the peak",
        rows as f64 / seconds
    ))
}

/// Rows a second of a backup against rows a second of bare pages: told, not judged, since machines are noisy. Uses the
/// tables of the tests before, or loads its own.
async fn a_backup_beside_a_raw_scan_is_reported(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let rows = rows(&t);
    for (shape, table) in [(Shape::Many, "many"), (Shape::Wide, "wide")] {
        let keyspace = shape.keyspace();
        if Remembered::of(cluster, keyspace).await.is_err() {
            shape.load(cluster, rows).await?;
        }
        let mut best = (0.0_f64, 0.0_f64);
        for _ in 0..3 {
            let raw = scan(cluster.session(), keyspace, table, RawScan::default()).await?;
            ensure!(raw.rows == rows, "the raw scan sees {} rows", raw.rows);
            let bench = Workbench::new(cluster)?;
            let backup = bench.backup(keyspace, &["--pace", "full", "--values-only"]).await?;
            // From what the process took in all: starting, inspecting, planning and committing count too.
            let speed = rows as f64 / backup.elapsed.as_secs_f64();
            best = (best.0.max(raw.rows_per_second()), best.1.max(speed));
        }
        let ratio = best.1 / best.0;
        t.note(format!("{table}: raw {:.0} rows/s, backup {:.0} rows/s, ratio {ratio:.2}", best.0, best.1));
    }
    for shape in [Shape::Wide, Shape::Many] {
        cluster.drop_keyspace(shape.keyspace()).await?;
    }
    Ok(())
}
