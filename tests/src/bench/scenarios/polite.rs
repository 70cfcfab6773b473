//! A steady foreground load alone, and beside a backup at each pace and beside DSBulk, on the same node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, fill, remove, say};
use crate::bench::data::{BenchTable, Size};
use crate::bench::foreground::{Foreground, Latencies, percentile};
use crate::bench::measure::{Setting, measure, pin_self};
use crate::bench::record::{Beside, Figures, Log, Polite};
use crate::bench::subjects::{Place, Subject};
use crate::cassandra::{CassandraVersion, ClusterSpec, TestCluster};

const TABLE: BenchTable = BenchTable::Ycsb;
/// What the foreground reads and writes.
const FOREGROUND: &str = "bench_foreground";
/// So many rows fit the server's caches: the load is one of requests and not of disks.
const FOREGROUND_ROWS: u64 = 50_000;
/// A backup at full pace lasts longer than 10 s.
const ROWS: u64 = 2_000_000;

pub(super) async fn run(bench: &Bench<'_>, log: &mut Log) -> Result<()> {
    let options = bench.options;
    let rows = options.rows.unwrap_or(ROWS);
    let cluster = TestCluster::start(ClusterSpec::one(CassandraVersion::V5_0)).await?;
    let place = bench.place(&cluster);
    let front_rows = rows.min(FOREGROUND_ROWS);
    fill(&cluster, TABLE, FOREGROUND, 1, front_rows).await?;
    fill(&cluster, TABLE, TABLE.keyspace(Size::Whole), 1, rows).await?;
    let load = Foreground::new(cluster.session(), FOREGROUND, front_rows, options.rate).await?;
    for setting in options.settings_or(&[Setting::Shared]) {
        setting.pin_servers().await?;
        pin_self(setting).await?;
        // the first requests meet a server that has compiled nothing yet
        beside(&load, Duration::from_secs(options.seconds.min(10))).await?;
        for turn in 1..=options.runs {
            for who in [Beside::Nothing, Beside::Polite, Beside::Full, Beside::Dsbulk] {
                let (latencies, wall_s) = match words(&place, who)? {
                    None => (beside(&load, Duration::from_secs(options.seconds)).await?, None),
                    Some(words) => {
                        let (latencies, wall_s) = beside_process(&load, setting, &words, &place).await?;
                        (latencies, Some(wall_s))
                    }
                };
                let figures = figures(setting, who, options.rate, &latencies, wall_s.map(|s| rows as f64 / s));
                say(&format!("{} run {turn}: {figures:?}", setting.name()));
                log.add(Figures::Polite(figures))?;
            }
        }
    }
    pin_self(Setting::Shared).await
}

/// The foreground alone for so long.
async fn beside(load: &Foreground, how_long: Duration) -> Result<Latencies> {
    let end = Arc::new(AtomicBool::new(false));
    let running = tokio::spawn(load.clone().run(Arc::clone(&end)));
    tokio::time::sleep(how_long).await;
    end.store(true, Ordering::Relaxed);
    running.await.context("the foreground panicked")?
}

/// The foreground for as long as a process runs, and the seconds of that.
async fn beside_process(
    load: &Foreground,
    setting: Setting,
    words: &[String],
    place: &Place,
) -> Result<(Latencies, f64)> {
    let end = Arc::new(AtomicBool::new(false));
    let running = tokio::spawn(load.clone().run(Arc::clone(&end)));
    let ran = measure(setting, words, &place.directory).await;
    end.store(true, Ordering::Relaxed);
    let latencies = running.await.context("the foreground panicked")??;
    Ok((latencies, ran?.taken.wall_s))
}

/// Everybody writes values only, as DSBulk does.
fn words(place: &Place, who: Beside) -> Result<Option<Vec<String>>> {
    let keyspace = TABLE.keyspace(Size::Whole);
    let fresh = |subject| place.makes(subject, keyspace).map_or(Ok(()), |older| remove(&older));
    let backup = |pace: &str| {
        fresh(Subject::BackupValues)?;
        Ok(Some(place.backup(keyspace, "values", &["--values-only", "--pace", pace])))
    };
    match who {
        Beside::Nothing => Ok(None),
        Beside::Polite => backup("polite"),
        Beside::Full => backup("full"),
        Beside::Dsbulk => {
            fresh(Subject::DsbulkUnload)?;
            place.words(Subject::DsbulkUnload, TABLE, keyspace, 0).map(Some)
        }
    }
}

fn figures(setting: Setting, beside: Beside, per_second: u64, of: &Latencies, rows_per_second: Option<f64>) -> Polite {
    Polite {
        setting,
        beside,
        per_second,
        answered: (of.reads.len() + of.writes.len()) as u64,
        failed: of.failed,
        read_p50_ms: percentile(&of.reads, 0.5),
        read_p99_ms: percentile(&of.reads, 0.99),
        write_p50_ms: percentile(&of.writes, 0.5),
        write_p99_ms: percentile(&of.writes, 0.99),
        rows_per_second,
    }
}
