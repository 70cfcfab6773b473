//! What a kill costs: at most the chunk in flight of each slot of the worker that was killed, for backups and restores.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringvault_tests::fleet::{Fleet, FleetSpec, worker_name};
use ringvault_tests::oracle::{Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::{Run, Workbench, as_strs};
use ringvault_tests::runner::TestContext;
use tokio::time::Instant;

use crate::plan::LEASE_TTL;
use crate::tables;
use crate::work::{Mark, STORED, WRITTEN, Work, count};

/// Kills of a job.
const KILLS: u64 = 4;
const WORKERS: usize = 2;
const SLOTS: u32 = 2;
const CHUNK_ROWS: u64 = 200;
/// Whatever is waited for comes by then, or never.
const PATIENCE: Duration = Duration::from_secs(90);
const JOB_MAX: Duration = Duration::from_secs(240);

pub(crate) async fn of_kills(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("cost", 3).await?;
    for table in ["a", "b", "c"] {
        tables::plain(cluster, "cost", table, 2_500).await?;
    }
    tables::counters(cluster, "cost", "d", 2_500).await?;
    let before = read_keyspace(cluster.session(), "cost").await?;
    let rows = before.rows();
    let bench = Workbench::new(cluster)?;
    let mut spec = FleetSpec::new(&bench, WORKERS)?;
    spec.slots = SLOTS;
    spec.coordinator_settings = format!("lease_ttl = \"{}s\"", LEASE_TTL.as_secs());
    spec.worker_args = ["--log-level", "trace"].map(ToOwned::to_owned).to_vec();
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    // Pages smaller than chunks, as they are where nobody asks for small ones.
    let words = ["backup", "cost", "main", "--chunk-size", &CHUNK_ROWS.to_string(), "--fetch-size", "50"];
    let (run, work) = job(&bench, &mut fleet, &words, STORED).await.context("backup")?;
    ensure!(run.figure("rows")? == rows, "the backup holds other rows: {run}");
    let backed_up = check(work.encoded, rows, &work).context("backup")?;
    let words = ["restore", "cost", "main", "--keyspace-as", "cost_copy", "--no-verify"];
    let (run, work) = job(&bench, &mut fleet, &words, WRITTEN).await.context("restore")?;
    ensure!(run.figure("rows")? == rows, "the restore wrote other rows: {run}");
    let restored = check(work.written, rows, &work).context("restore")?;
    let after = read_keyspace(cluster.session(), "cost_copy").await?;
    compare_keyspaces(&before, &after, Scope::ValuesAndTimes).ensure_equal()?;
    let most = KILLS * u64::from(SLOTS) * CHUNK_ROWS;
    t.note(format!("{KILLS} kills each: {backed_up} rows backed up again, {restored} restored again, {most} allowed"));
    fleet.stop().await?;
    cluster.drop_keyspace("cost_copy").await?;
    cluster.drop_keyspace("cost").await
}

/// Rows that were done again.
fn check(done: u64, rows: u64, work: &Work) -> Result<u64> {
    let again = done.checked_sub(rows).with_context(|| format!("only {done} of {rows} rows"))?;
    // A machine that is too slow to renew leases loses more; that is not what this test is about.
    let slots = KILLS * u64::from(SLOTS) + work.leases_lost;
    ensure!(again <= slots * CHUNK_ROWS, "{again} rows were done again: more than {slots} times {CHUNK_ROWS}");
    Ok(again)
}

/// A job whose workers are killed in turn, each time some more work was done.
async fn job(bench: &Workbench, fleet: &mut Fleet<'_>, words: &[&str], done: &str) -> Result<(Run, Work)> {
    let mark = Mark::now(fleet);
    let more = ["--cluster", "prod", "--parallel", "4", "--rate", "700"];
    let words: Vec<String> = words.iter().chain(&more).map(ToString::to_string).chain(fleet.client_words()).collect();
    let job = bench.start(&as_strs(&words))?;
    for kill in 0..KILLS {
        let index = usize::try_from(kill)? % WORKERS;
        let before = said(fleet, index, done);
        let begun = Instant::now();
        while said(fleet, index, done) < before + 3 {
            ensure!(begun.elapsed() < PATIENCE, "kill {kill}: {} does nothing", worker_name(index));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fleet.kill_worker(index).await?;
        fleet.start_worker(index)?;
    }
    let run = job.wait(JOB_MAX).await?.expect(0)?;
    Ok((run, mark.work_since()?))
}

fn said(fleet: &Fleet<'_>, index: usize, what: &str) -> usize {
    count(&fleet.log(&worker_name(index)), what)
}
