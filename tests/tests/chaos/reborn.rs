//! A coordinator that is killed in the middle of a job and started again on the same state directory: its workers come
//! back by themselves and go on with the leases they hold, so nothing is done twice, and whoever watches sees the end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::oracle::read_keyspace;
use ringvault_tests::product::{Workbench, as_strs};
use ringvault_tests::runner::TestContext;
use tokio::time::Instant;

use crate::tables;
use crate::work::{Mark, STORED, count};

/// How often it is killed.
const KILLS: usize = 3;
/// Whatever is waited for comes by then, or never.
const PATIENCE: Duration = Duration::from_secs(60);
const JOB_MAX: Duration = Duration::from_secs(180);

pub(crate) async fn goes_on(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("reborn", 3).await?;
    for table in ["a", "b", "c", "d"] {
        tables::plain(cluster, "reborn", table, 2_500).await?;
    }
    let rows = read_keyspace(cluster.session(), "reborn").await?.rows();
    let bench = Workbench::new(cluster)?;
    let mut spec = FleetSpec::new(&bench, 2)?;
    // Long enough that no lease lapses while the coordinator starts, however busy the machine is.
    spec.coordinator_settings = "lease_ttl = \"60s\"".to_owned();
    spec.worker_args = ["--log-level", "trace"].map(ToOwned::to_owned).to_vec();
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let mark = Mark::now(&fleet);
    let words =
        ["backup", "reborn", "main", "--cluster", "prod", "--chunk-size", "200", "--parallel", "4", "--rate", "800"];
    let words: Vec<String> = words.iter().map(ToString::to_string).chain(fleet.client_words()).collect();
    let job = bench.start(&as_strs(&words))?;
    let mut stored = 0;
    for kill in 1..=KILLS {
        wait_for_chunks(&fleet, stored).await.with_context(|| format!("before kill {kill}"))?;
        fleet.kill_coordinator().await?;
        fleet.start_coordinator()?;
        stored = chunks(&fleet);
    }
    let run = job.wait(JOB_MAX).await?.expect(0)?;
    ensure!(run.figure("rows")? == rows, "the backup holds other rows: {run}");
    ensure!(run.figure("failures")? == 0, "a lease lapsed or failed: {run}");
    let work = mark.work_since()?;
    ensure!(work.encoded == rows, "{} rows were read of {rows}: some were read twice", work.encoded);
    let id = run.line("submitted")?["job_id"].as_str().context("a job id")?.to_owned();
    let show: Vec<String> =
        ["job", "show", &id].map(ToOwned::to_owned).into_iter().chain(fleet.client_words()).collect();
    bench.run(&as_strs(&show)).await?.expect(0)?;
    t.note(format!("{KILLS} kills, 0 leases lost, {rows} rows read once, one client watched it all"));
    fleet.stop().await?;
    cluster.drop_keyspace("reborn").await
}

fn chunks(fleet: &Fleet<'_>) -> usize {
    ["w1", "w2"].iter().map(|name| count(&fleet.log(name), STORED)).sum()
}

/// Waits until work goes on behind so many chunks.
async fn wait_for_chunks(fleet: &Fleet<'_>, behind: usize) -> Result<()> {
    let begun = Instant::now();
    while chunks(fleet) < behind + 4 {
        ensure!(begun.elapsed() < PATIENCE, "no chunk was stored for {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
