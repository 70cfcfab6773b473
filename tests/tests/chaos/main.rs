//! Live: a fleet of processes against a real three-node cluster while processes are killed and stopped, connections are
//! cut and a database node dies. Whatever happens, no row is lost or doubled.
//!
//! Everything random comes from one seed (`RINGVAULT_CHAOS_SEED`, printed), so the order of events can be run again; when
//! exactly each one hits depends on the machine.
//!
//! Not part of `./test` yet: it has to prove itself first. `cargo test --workspace --test chaos` runs it.
#![allow(missing_docs)]

mod events;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::oracle::{KeyspaceSnapshot, Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::proxy::Proxy;
use ringvault_tests::runner::{self, Test, TestContext};
use ringvault_tests::samples::large;

use self::events::{Chaos, LEASE_TTL};

/// The seed of a run that names none.
const SEED: u64 = 20_261_122;
/// Kills and stops of processes, in the short form and in the long one.
const HITS: [u32; 2] = [8, 200];
/// Workers of the fleet.
const WORKERS: usize = 4;
/// A job that takes longer hangs.
const JOB_MAX: Duration = Duration::from_secs(600);
/// Rows of the large table.
const ROWS: u64 = 60_000;

fn main() -> ExitCode {
    let test = Test::new("whatever_is_killed_no_row_is_lost_or_doubled", no_row_is_lost_or_doubled);
    runner::run(vec![test.on(ClusterSpec::three(CassandraVersion::V5_0))])
}

async fn no_row_is_lost_or_doubled(t: TestContext) -> Result<()> {
    let seed = std::env::var("RINGVAULT_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let hits_wanted = HITS[usize::from(t.long)];
    let cluster = t.cluster();
    make(cluster).await?;
    let before = read_keyspace(cluster.session(), "chaos").await?;
    let bench = Workbench::new(cluster)?;
    let mut spec = FleetSpec::new(&bench, WORKERS)?;
    let proxy = Proxy::start(spec.listen).await?;
    spec.workers_call = format!("http://{}", proxy.address());
    spec.coordinator_settings = format!("lease_ttl = \"{}s\"", LEASE_TTL.as_secs());
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let mut chaos = Chaos::new(StdRng::seed_from_u64(seed), proxy);
    let mut rounds = 0;
    while chaos.hits() < hits_wanted {
        rounds += 1;
        let slow = ["--rate", "12000", "--pace", "full"];
        let backup = under_chaos(cluster, &bench, &mut fleet, &mut chaos, &backup_words(&slow)).await;
        let backup = backup.with_context(|| format!("seed {seed}, backup of round {rounds}"))?;
        ensure!(backup.figure("rows")? == before.rows(), "seed {seed}: the backup holds other rows: {backup}");
        let copy = format!("chaos_copy{rounds}");
        let restore = under_chaos(cluster, &bench, &mut fleet, &mut chaos, &restore_words(&copy, &slow)).await;
        restore.with_context(|| format!("seed {seed}, restore of round {rounds}"))?;
        chaos.calm(cluster, &mut fleet).await?;
        compare(cluster, &before, &copy).await.with_context(|| format!("seed {seed}, round {rounds}"))?;
        cluster.drop_keyspace(&copy).await?;
    }
    t.note(format!(
        "seed {seed}: {rounds} backups and restores of {} rows under {chaos}: 0 differences",
        before.rows()
    ));
    fleet.stop().await?;
    cluster.drop_keyspace("chaos").await
}

/// Tables whose rows could be lost or doubled: many partitions, lists, counters, collections of mixed times.
async fn make(cluster: &TestCluster) -> Result<()> {
    large::keyspace(cluster, "chaos", 3).await?;
    large::many_partitions(cluster, "chaos", ROWS).await?;
    cluster
        .run(&[
            "CREATE TABLE chaos.lists (pk int, ck int, l list<int>, m map<int, text>, PRIMARY KEY (pk, ck))",
            "CREATE TABLE chaos.counts (pk int, ck int, c counter, PRIMARY KEY (pk, ck))",
        ])
        .await?;
    for pk in 0..40 {
        for ck in 0..25 {
            let list = format!("UPDATE chaos.lists SET l = [{pk}, {ck}, {pk}] WHERE pk = {pk} AND ck = {ck}");
            let map = format!("UPDATE chaos.lists SET m[{ck}] = 'x', m[{pk}] = 'y' WHERE pk = {pk} AND ck = {ck}");
            let count = format!("UPDATE chaos.counts SET c = c + {} WHERE pk = {pk} AND ck = {ck}", pk * 100 + ck + 1);
            cluster.run(&[&list, &map, &count]).await?;
        }
    }
    Ok(())
}

fn backup_words(more: &[&str]) -> Vec<String> {
    words(&["backup", "chaos", "main", "--fresh", "--chunk-size", "4000"], more)
}

fn restore_words(copy: &str, more: &[&str]) -> Vec<String> {
    words(&["restore", "chaos", "main", "--keyspace-as", copy], more)
}

fn words(command: &[&str], more: &[&str]) -> Vec<String> {
    command.iter().chain(more).map(ToString::to_string).collect()
}

/// Submits a job and lets chaos loose until it has ended. The client may lose its coordinator: the same command goes on.
async fn under_chaos(
    cluster: &TestCluster,
    bench: &Workbench,
    fleet: &mut Fleet<'_>,
    chaos: &mut Chaos,
    command: &[String],
) -> Result<Run> {
    let url = fleet.url();
    let to = ["--coordinator", &url, "--cluster", "prod", "--patience", "5m"];
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(to).collect();
    let deadline = tokio::time::Instant::now() + JOB_MAX;
    let mut client = bench.start(&arguments)?;
    // only the first call may start over
    let again: Vec<&str> = arguments.iter().copied().filter(|word| *word != "--fresh").collect();
    loop {
        tokio::select! {
            () = ended(&mut client) => {}
            () = chaos.pause() => {
                chaos.strike(cluster, fleet).await?;
                continue;
            }
        }
        let run = client.wait(JOB_MAX).await?;
        match run.code {
            Some(0) => return Ok(run),
            Some(_) if is_unreachable(&run) && tokio::time::Instant::now() < deadline => {
                fleet.start_coordinator()?;
                tokio::time::sleep(Duration::from_millis(500)).await;
                client = bench.start(&again)?;
            }
            _ => bail!("the job ended otherwise under {chaos}: {run}"),
        }
    }
}

fn is_unreachable(run: &Run) -> bool {
    run.line("error").is_ok_and(|error| error["kind"] == "unavailable") || run.code == Some(4)
}

async fn ended(client: &mut ringvault_tests::product::Running) {
    while !client.ended().unwrap_or(true) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn compare(cluster: &TestCluster, before: &KeyspaceSnapshot, copy: &str) -> Result<()> {
    let after = read_keyspace(cluster.session(), copy).await?;
    compare_keyspaces(before, &after, Scope::ValuesAndTimes).ensure_equal()
}
