//! Peak memory of backup and restore, at once and ten times the data, with many partitions and with one huge one.

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{Bench, ensure_rows, remove, say};
use crate::bench::measure::{Ran, Setting, measure};
use crate::bench::record::{Figures, Log, Memory, Shape, Work};
use crate::bench::settle;
use crate::bench::subjects::{Place, TARGET};
use crate::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use crate::samples::large;

/// About 110 bytes each; ten times that is a third of a gigabyte.
const ROWS: u64 = 300_000;
/// What must be enough for a small machine.
const LIMIT: &str = "64M";

pub(super) async fn run(bench: &Bench<'_>, log: &mut Log) -> Result<()> {
    let limits = limits(bench).await?;
    let cluster = TestCluster::start(ClusterSpec::one(CassandraVersion::V5_0)).await?;
    let place = bench.place(&cluster);
    for shape in [Shape::Many, Shape::One] {
        for factor in [1, 10] {
            let rows = bench.options.rows.unwrap_or(ROWS) * factor;
            let keyspace = make(&cluster, shape, factor, rows).await?;
            for _ in 0..bench.options.runs {
                for limit in &limits {
                    for (work, ran) in both(&cluster, &place, &keyspace, *limit, rows).await? {
                        let mib = ran.taken.memory_bytes >> 20;
                        say(&format!("{keyspace}, limit {limit:?}: {work:?} peaks at {mib} MiB"));
                        let (limit, taken) = (limit.map(ToOwned::to_owned), ran.taken);
                        log.add(Figures::Memory(Memory { work, limit, shape, factor, rows, taken }))?;
                    }
                }
            }
            cluster.drop_keyspace(&keyspace).await?;
            settle::quiet(&cluster).await?;
        }
    }
    Ok(())
}

/// Without a limit, and with one if this `ringvault` knows the flag.
async fn limits(bench: &Bench<'_>) -> Result<Vec<Option<&'static str>>> {
    let help = Command::new(&bench.ringvault).args(["backup", "--help"]).output().await.context("ask for help")?;
    let knows = String::from_utf8_lossy(&help.stdout).contains("--memory-limit");
    if !knows {
        say("this ringvault knows no --memory-limit: measured without it");
    }
    Ok([None, Some(LIMIT)].into_iter().filter(|limit| limit.is_none() || knows).collect())
}

async fn make(cluster: &TestCluster, shape: Shape, factor: u64, rows: u64) -> Result<String> {
    let begun = std::time::Instant::now();
    let name = match shape {
        Shape::Many => format!("bench_many_{factor}"),
        Shape::One => format!("bench_one_{factor}"),
    };
    large::keyspace(cluster, &name, 1).await?;
    match shape {
        Shape::Many => large::many_partitions(cluster, &name, rows).await?,
        Shape::One => large::wide_partition(cluster, &name, rows).await?,
    }
    settle::flush(cluster, &name).await?;
    say(&format!("{rows} rows of {name} made in {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(name)
}

/// A backup and its restore, each with all that they do by default, as fast as they can.
async fn both(
    cluster: &TestCluster,
    place: &Place,
    keyspace: &str,
    limit: Option<&str>,
    rows: u64,
) -> Result<[(Work, Ran); 2]> {
    let limited: Vec<&str> = limit.map(|limit| vec!["--memory-limit", limit]).unwrap_or_default();
    remove(place.repository(keyspace, "memory").as_ref())?;
    let words = place.backup(keyspace, "memory", &[&["--pace", "full"], &limited[..]].concat());
    let backup = measure(Setting::Shared, &words, &place.directory).await?;
    ensure_rows(&backup, rows, "the backup")?;
    cluster.drop_keyspace(TARGET).await?;
    let words = place.restore(keyspace, "memory", &limited);
    let restore = measure(Setting::Shared, &words, &place.directory).await?;
    ensure_rows(&restore, rows, "the restore")?;
    cluster.drop_keyspace(TARGET).await?;
    settle::quiet(cluster).await?;
    Ok([(Work::Backup, backup), (Work::Restore, restore)])
}
