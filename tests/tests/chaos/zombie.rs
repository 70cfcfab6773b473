//! A worker that is stopped in the middle of a shard, whose lease another gets and ends, and that comes back: what it
//! had under way is refused, and nothing of it changes a row. Counters above all: an increment that comes late would count
//! twice.
//!
//! What it tells the coordinator passes a proxy that holds it up before the worker is stopped. So a completion of a chunk
//! that is stored is under way while its lease goes to another, and arrives when it is stale, whatever the machine's pace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::TestCluster;
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::oracle::{Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::{Workbench, as_strs};
use ringvault_tests::proxy::Proxy;
use ringvault_tests::runner::TestContext;
use tokio::time::Instant;

use crate::plan::{LEASE_TTL, STOPPED_FOR};
use crate::tables;
use crate::work::{LOST, STORED, WRITTEN, count, lines, span_field};

/// Whatever is waited for comes by then, or never.
const PATIENCE: Duration = Duration::from_secs(60);
/// A job's end.
const JOB_MAX: Duration = Duration::from_secs(180);
/// Rows of each of six tables.
const ROWS: i32 = 2_000;
/// What the coordinator says of a stale completion.
const REFUSED: &str = "refused a completion of a lease that has ended";
/// Restores whose worker comes back from the dead, in the short form and in the long one.
const RESTORES: [u32; 2] = [2, 25];

/// The worker that dies and comes back, and the one that does its work meanwhile.
const ZOMBIE: (usize, &str) = (0, "w1");
const OTHER: &str = "w2";

pub(crate) async fn of_a_backup(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let before = read_keyspace(cluster.session(), "zombies").await?;
    let bench = Workbench::new(cluster)?;
    let (mut fleet, proxy) = fleet_of_one(cluster, &bench).await?;
    let words = ["backup", "zombies", "main", "--chunk-size", "100", "--parallel", "6", "--rate", "600"];
    let job = bench.start(&as_strs(&with_fleet(&fleet, &words)))?;
    wait(&fleet, "a chunk of the zombie's", |fleet| said(fleet, ZOMBIE.1, STORED) > 2).await?;
    let (refused, stored) = (said(&fleet, "coordinator", REFUSED), said(&fleet, ZOMBIE.1, STORED));
    // Stored, but nobody hears of it.
    proxy.hold_up();
    wait(&fleet, "one more", |fleet| said(fleet, ZOMBIE.1, STORED) > stored).await?;
    fleet.signal_worker(ZOMBIE.0, "STOP").await?;
    let stopped = Instant::now();
    let orphans: Vec<String> = lines(&fleet.log(ZOMBIE.1), STORED).iter().filter_map(assignment).collect();
    fleet.add_worker()?;
    let takes_over = |fleet: &Fleet<'_>| {
        let log = fleet.log(OTHER);
        lines(&log, STORED).iter().filter_map(assignment).any(|taken| orphans.contains(&taken))
    };
    wait(&fleet, "the other worker at the zombie's work", takes_over).await?;
    // Its completion arrives now, of an epoch that is over.
    proxy.let_go();
    wait(&fleet, "a refused completion", |fleet| said(fleet, "coordinator", REFUSED) > refused).await?;
    let run = job.wait(JOB_MAX).await?.expect(0)?;
    ensure!(run.figure("rows")? == before.rows(), "the backup holds other rows: {run}");
    tokio::time::sleep_until(stopped + STOPPED_FOR).await;
    fleet.signal_worker(ZOMBIE.0, "CONT").await?;
    wait(&fleet, "the zombie giving up", |fleet| said(fleet, ZOMBIE.1, LOST) > 0).await?;
    let copy = with_fleet(&fleet, &["restore", "zombies", "main", "--keyspace-as", "zombies_copy", "--pace", "full"]);
    bench.run(&as_strs(&copy)).await?.expect(0)?;
    let after = read_keyspace(cluster.session(), "zombies_copy").await?;
    compare_keyspaces(&before, &after, Scope::ValuesAndTimes).ensure_equal()?;
    bench.run(&["verify", &bench.repository_argument()]).await?.expect(0)?;
    let refusals = said(&fleet, "coordinator", REFUSED) - refused;
    t.note(format!("{refusals} completions refused as fenced, {} rows as before", before.rows()));
    fleet.stop().await?;
    cluster.drop_keyspace("zombies_copy").await?;
    cluster.drop_keyspace("zombies").await
}

pub(crate) async fn of_a_restore(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let before = read_keyspace(cluster.session(), "zombies").await?;
    let bench = Workbench::new(cluster)?;
    let (mut fleet, proxy) = fleet_of_one(cluster, &bench).await?;
    let words = with_fleet(&fleet, &["backup", "zombies", "main", "--chunk-size", "100", "--pace", "full"]);
    bench.run(&as_strs(&words)).await?.expect(0)?;
    let (mut refusals, rounds) = (0, RESTORES[usize::from(t.long)]);
    for round in 1..=rounds {
        let copy = format!("zombies_copy{round}");
        let words = ["restore", "zombies", "main", "--keyspace-as", &copy, "--parallel", "6", "--rate", "1500"];
        let words = with_fleet(&fleet, &words);
        let written = said(&fleet, ZOMBIE.1, WRITTEN);
        let refused = said(&fleet, "coordinator", REFUSED);
        let lost = said(&fleet, ZOMBIE.1, LOST);
        let job = bench.start(&as_strs(&words))?;
        // Another moment each round.
        let rows = 30 + 20 * round as usize;
        wait(&fleet, "rows that the zombie wrote", |fleet| said(fleet, ZOMBIE.1, WRITTEN) > written + rows).await?;
        proxy.hold_up();
        // A chunk ends within this, and its completion is held up; the lease has not lapsed.
        tokio::time::sleep(LEASE_TTL / 4).await;
        fleet.signal_worker(ZOMBIE.0, "STOP").await?;
        let stopped = Instant::now();
        if round == 1 {
            fleet.add_worker()?;
        } else {
            fleet.start_worker(1)?;
        }
        let told = said(&fleet, OTHER, WRITTEN);
        wait(&fleet, "the other worker at work", |fleet| said(fleet, OTHER, WRITTEN) > told).await?;
        tokio::time::sleep_until(stopped + LEASE_TTL).await;
        proxy.let_go();
        // What it had under way goes on while the other is at the same rows, or behind it.
        tokio::time::sleep_until(stopped + STOPPED_FOR).await;
        fleet.signal_worker(ZOMBIE.0, "CONT").await?;
        let run = job.wait(JOB_MAX).await?.expect(0).with_context(|| format!("restore {round}"))?;
        ensure!(run.figure("rows")? == before.rows(), "the restore wrote other rows: {run}");
        wait(&fleet, "the zombie giving up", |fleet| said(fleet, ZOMBIE.1, LOST) > lost).await?;
        let after = read_keyspace(cluster.session(), &copy).await?;
        let same = compare_keyspaces(&before, &after, Scope::ValuesAndTimes).ensure_equal();
        same.with_context(|| format!("restore {round}"))?;
        refusals += said(&fleet, "coordinator", REFUSED) - refused;
        cluster.drop_keyspace(&copy).await?;
        fleet.kill_worker(1).await?;
    }
    t.note(format!("{rounds} restores, {refusals} completions refused as fenced, {} rows as before", before.rows()));
    ensure!(refusals > 0, "no late completion reached the coordinator");
    fleet.stop().await?;
    cluster.drop_keyspace("zombies").await
}

async fn make(cluster: &TestCluster) -> Result<()> {
    cluster.fresh_keyspace("zombies", 3).await?;
    for table in ["plain_a", "plain_b", "plain_c"] {
        tables::plain(cluster, "zombies", table, ROWS).await?;
    }
    for table in ["counts_a", "counts_b", "counts_c"] {
        tables::counters(cluster, "zombies", table, ROWS).await?;
    }
    Ok(())
}

/// A fleet of one worker, which calls its coordinator through a proxy; workers that are added call it directly.
async fn fleet_of_one<'b>(cluster: &TestCluster, bench: &'b Workbench) -> Result<(Fleet<'b>, Proxy)> {
    let mut spec = FleetSpec::new(bench, 0)?;
    let proxy = Proxy::start(spec.listen).await?;
    spec.coordinator_settings = format!("lease_ttl = \"{}s\"", LEASE_TTL.as_secs());
    spec.worker_args = ["--log-level", "trace"].map(ToOwned::to_owned).to_vec();
    let mut fleet = Fleet::start(cluster, bench, spec).await?;
    fleet.add_worker_calling(&format!("http://{}", proxy.address()))?;
    fleet.wait_for_workers(1).await?;
    Ok((fleet, proxy))
}

fn with_fleet(fleet: &Fleet<'_>, words: &[&str]) -> Vec<String> {
    let more = ["--cluster", "prod"].map(ToOwned::to_owned);
    words.iter().map(ToString::to_string).chain(fleet.client_words()).chain(more).collect()
}

fn said(fleet: &Fleet<'_>, name: &str, what: &str) -> usize {
    count(&fleet.log(name), what)
}

fn assignment(line: &serde_json::Value) -> Option<String> {
    span_field(line, "assignment")
}

async fn wait(fleet: &Fleet<'_>, what: &str, is_there: impl Fn(&Fleet<'_>) -> bool) -> Result<()> {
    let begun = Instant::now();
    while !is_there(fleet) {
        ensure!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
