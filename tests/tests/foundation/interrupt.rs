//! Ctrl-C and crashes at any moment: the process ends soon, nothing is in the way, the same command goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::{Workbench, as_strs};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;

use crate::round_trip::Remembered;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("an_interrupted_backup_goes_on", an_interrupted_backup_goes_on).on(newest()),
        Test::new("a_backup_survives_signals_at_any_moment", a_backup_survives_signals_at_any_moment).on(newest()),
        Test::new("an_interrupted_restore_goes_on", an_interrupted_restore_goes_on).on(newest()),
    ]
}

/// A process that was asked to stop must be gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const ROWS: u64 = 150_000;

async fn an_interrupted_backup_goes_on(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "halted", 1).await?;
    large::many_partitions(cluster, "halted", ROWS).await?;
    let before = Remembered::of(cluster, "halted").await?;
    let bench = Workbench::new(cluster)?;
    let words = bench.backup_words("halted", &["--rate", "30000", "--shards", "4", "--chunk-size", "5000"]);
    let running = bench.start(&as_strs(&words))?;
    while bench.files("data")?.len() < 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.signal("INT").await?;
    let stopped = running.wait(GONE_WITHIN).await?.expect(4)?;
    let line = stopped.line("interrupted")?;
    ensure!(line["resume_command"].as_str().is_some_and(|command| command.contains("backup halted")), "{stopped}");
    ensure!(stray(&bench)?.is_empty(), "left behind: {:?}", stray(&bench)?);
    ensure!(bench.run(&["list", &bench.repository_argument()]).await?.lines("backup").is_empty(), "a backup is listed");
    let kept = bench.files("data")?.len() as u64;
    let again = bench.run(&as_strs(&words)).await?.expect(0)?;
    let submitted = again.line("submitted")?;
    ensure!(submitted["resumed"] == true, "it started over: {again}");
    let rows_kept = again.figure("rows_kept")?;
    ensure!(rows_kept > 0, "nothing was kept: {again}");
    ensure!(again.figure("rows")? == ROWS, "other rows: {again}");
    t.note(format!("{rows_kept} rows in {kept} chunks were kept"));
    cluster.drop_keyspace("halted").await?;
    bench.restore("halted", &["--pace", "full"]).await?;
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    // With --fresh it starts over, and still stores nothing twice.
    let fresh = bench.run(&as_strs(&bench.backup_words("halted", &["--fresh"]))).await?.expect(0)?;
    ensure!(fresh.line("submitted")?["resumed"] == false, "{fresh}");
    Ok(())
}

/// Temporary files and unfinished objects that a later run could trip over.
fn stray(bench: &Workbench) -> Result<BTreeSet<String>> {
    let names = bench.files("")?.into_iter().map(|(name, _)| name);
    Ok(names.filter(|name| name.contains('#') || name.contains(".tmp") || name.contains("partial")).collect())
}

/// Uses the keyspace of the test before.
async fn a_backup_survives_signals_at_any_moment(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = Remembered::of(cluster, "halted").await.context("the keyspace of an_interrupted_backup_goes_on")?;
    let bench = Workbench::new(cluster)?;
    let words = bench.backup_words("halted", &["--rate", "60000", "--shards", "4", "--chunk-size", "3000"]);
    let moments = if t.long { 24 } else { 8 };
    let mut finished = 0;
    for moment in 0..moments {
        let stray_before = stray(&bench)?;
        let running = bench.start(&as_strs(&words))?;
        // Spread over what a run takes, denser at its start.
        tokio::time::sleep(Duration::from_millis(30 + 70 * moment * moment / 4)).await;
        let signal = ["INT", "KILL", "TERM"][usize::try_from(moment % 3)?];
        running.signal(signal).await.ok();
        let run = running.wait(GONE_WITHIN).await?;
        match (signal, run.code) {
            (_, Some(0)) => finished += 1,
            ("INT" | "TERM", Some(4)) => {
                // What a SIGKILL left may lie there still; a process that was asked to stop leaves nothing.
                let left: Vec<String> = stray(&bench)?.difference(&stray_before).cloned().collect();
                ensure!(left.is_empty(), "{signal} at moment {moment} left behind {left:?}");
            }
            ("KILL", None) => {}
            _ => anyhow::bail!("{signal} at moment {moment} ended with {:?}: {run}", run.code),
        }
    }
    let last = bench.run(&as_strs(&words)).await?.expect(0)?;
    ensure!(last.figure("rows")? == before.rows(), "other rows: {last}");
    let verified = bench.run(&["verify", &bench.repository_argument(), "--read-data"]).await?;
    verified.expect(0)?;
    bench.restore("halted", &["--drop", "--yes", "--pace", "full"]).await?;
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    t.note(format!(
        "{moments} signals, {finished} came too late; {} rows kept by the last run",
        last.figure("rows_kept")?
    ));
    Ok(())
}

/// Uses the keyspace of the tests before.
async fn an_interrupted_restore_goes_on(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = Remembered::of(cluster, "halted").await.context("the keyspace of an_interrupted_backup_goes_on")?;
    let bench = Workbench::new(cluster)?;
    bench.backup("halted", &["--pace", "full", "--chunk-size", "5000"]).await?;
    cluster.drop_keyspace("halted").await?;
    let words = bench.restore_words("halted", &["--rate", "30000"]);
    let running = bench.start(&as_strs(&words))?;
    let count = "SELECT count(*) FROM halted.many LIMIT 20000";
    loop {
        let rows = ringvault_tests::cql::query_i64(cluster.session(), count).await.unwrap_or(0);
        if rows >= 20_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.signal("INT").await?;
    let stopped = running.wait(GONE_WITHIN).await?.expect(4)?;
    ensure!(stopped.line("interrupted").is_ok(), "{stopped}");
    let again = bench.run(&as_strs(&words)).await?.expect(0)?;
    ensure!(again.line("submitted")?["resumed"] == true, "it started over: {again}");
    ensure!(again.figure("rows")? == before.rows(), "other rows: {again}");
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    t.note(format!("{} rows were kept", again.figure("rows_kept")?));
    cluster.drop_keyspace("halted").await
}
