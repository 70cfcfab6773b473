//! The Python examples against a real fleet over mutual TLS: they submit, watch, cancel, are refused, and explore.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ringvault_tests::authority::Authority;
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::{Workbench, as_strs};
use ringvault_tests::python::{Examples, Said};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Rows of the table.
const ROWS: u64 = 20_000;
/// Rows a second of the backup that is to be cancelled: it would take minutes.
const SLOWLY: &str = "100";
/// A program that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("a_python_program_submits_watches_and_cancels_over_mutual_tls", submits_watches_and_cancels)
            .on(newest()),
        Test::new("a_python_program_explores_a_coordinator_by_reflection", explores_by_reflection).on(newest()),
    ]
}

/// The flags by which a program reaches the coordinator, as the holder of this certificate.
fn flags(fleet: &Fleet<'_>, authority: &Authority, name: &str) -> Vec<String> {
    let file = |name: String| authority.directory().join(name).display().to_string();
    let address = fleet.url().replace("https://", "");
    let (cert, key) = (file(format!("{name}.pem")), file(format!("{name}.key")));
    ["--coordinator", &address, "--ca", &file("ca.pem".into()), "--cert", &cert, "--key", &key]
        .map(ToOwned::to_owned)
        .to_vec()
}

async fn submits_watches_and_cancels(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let examples = Examples::prepare().await?;
    large::keyspace(cluster, "snakes", 1).await?;
    large::many_partitions(cluster, "snakes", ROWS).await?;
    let bench = Workbench::new(cluster)?;
    let authority = Authority::of_fleet(&bench.path().join("certificates"))?;
    let spec = FleetSpec::new(&bench, 2)?.with_tls(authority.fleet_tls());
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let operator = flags(&fleet, &authority, "operator");
    let submit = ["submit", "snakes", "main", "--cluster", "prod", "--idempotency-key"];

    let nightly = [&as_strs(&operator)[..], &submit, &["nightly"]].concat();
    let done = examples.run("backup.py", &nightly).await?.expect(0)?;
    ensure!(done.out.contains("DONE 100 %"), "the end is not shown: {done}");
    ensure!(done.out.contains(&format!("of {ROWS} rows")), "other rows: {done}");
    let job = job_of(&done.out)?;
    // The same key again: the same job, and no second backup.
    let again = examples.run("backup.py", &nightly).await?.expect(0)?;
    ensure!(job_of(&again.out)? == job, "another job: {again}");
    ensure!(bench.files("backups")?.iter().filter(|(name, _)| name.ends_with("manifest.json")).count() == 1);

    // One that takes long is watched by somebody else while the coordinator is killed, and then cancelled.
    let slowly = [&as_strs(&operator)[..], &submit, &["slow", "--detach", "--rows-per-second", SLOWLY]].concat();
    let slow = job_of(&examples.run("backup.py", &slowly).await?.expect(0)?.out)?;
    let viewer = flags(&fleet, &authority, "viewer");
    let watch = [&as_strs(&viewer)[..], &["watch", &slow]].concat();
    let mut watching = examples.start("backup.py", &watch)?;
    let mut lines = BufReader::new(watching.stdout.take().context("its output is piped")?).lines();
    wait_for(&mut lines, "RUNNING").await?;
    fleet.kill_coordinator().await?;
    fleet.start_coordinator()?;
    let cancel = [&as_strs(&operator)[..], &["cancel", &slow]].concat();
    let cancelled = examples.run("backup.py", &cancel).await?.expect(3)?;
    ensure!(cancelled.out.contains("cancelled"), "{cancelled}");
    wait_for(&mut lines, "cancelled").await?;
    let watched = Said::of(watching).await?.expect(3)?;
    ensure!(watched.err.contains("trying again"), "the killed coordinator was not noticed: {watched}");

    // A viewer may not submit, and an unknown job is named: each with its kind, from the details of the status.
    let refused = examples.run("backup.py", &[&as_strs(&viewer)[..], &submit, &["mine"]].concat()).await?.expect(1)?;
    for word in ["ERROR_KIND_INVALID", "\"viewer\" has viewer", "needs operator", "(OU)"] {
        ensure!(refused.err.contains(word), "the refusal lacks {word}: {refused}");
    }
    let unknown = examples.run("backup.py", &[&as_strs(&viewer)[..], &["watch", "jnowhere"]].concat()).await?;
    let unknown = unknown.expect(1)?;
    ensure!(unknown.err.contains("ERROR_KIND_NOT_FOUND") && unknown.err.contains("jnowhere"), "{unknown}");
    fleet.stop().await?;
    cluster.drop_keyspace("snakes").await
}

async fn explores_by_reflection(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let examples = Examples::prepare().await?;
    cluster.fresh_keyspace("seen", 1).await?;
    cluster.run(&["CREATE TABLE seen.t (id int PRIMARY KEY)", "INSERT INTO seen.t (id) VALUES (1)"]).await?;
    let bench = Workbench::new(cluster)?;
    let authority = Authority::of_fleet(&bench.path().join("certificates"))?;
    let spec = FleetSpec::new(&bench, 1)?.with_tls(authority.fleet_tls());
    let fleet = Fleet::start(cluster, &bench, spec).await?;
    let mut words = vec!["backup".to_owned(), "seen".into(), "main".into(), "--cluster".into(), "prod".into()];
    words.extend(fleet.client_words());
    let job = bench.run(&as_strs(&words)).await?.expect(0)?.text("job_id")?;
    let viewer = flags(&fleet, &authority, "viewer");
    let explore = async |more: &[&str]| examples.run("explore.py", &[&as_strs(&viewer)[..], more].concat()).await;

    let served = explore(&[]).await?.expect(0)?;
    for name in ["ringvault.v1.Admin", "ringvault.v1.Fleet", "grpc.health.v1.Health"] {
        ensure!(served.out.lines().any(|line| line == name), "{name} is not told: {served}");
    }
    ensure!(served.out.contains("WatchJob(ringvault.v1.WatchJobRequest) -> stream"), "{served}");
    let shown = explore(&["ringvault.v1.Admin/GetJob", &format!("{{\"jobId\": \"{job}\"}}")]).await?.expect(0)?;
    let shown: serde_json::Value = serde_json::from_str(&shown.out)?;
    ensure!(shown["job"]["state"] == "JOB_STATE_DONE", "{shown}");
    ensure!(shown["job"]["tables"][0]["rows"] == "1", "{shown}");
    let workers = explore(&["ringvault.v1.Admin/ListWorkers"]).await?.expect(0)?;
    let workers: serde_json::Value = serde_json::from_str(&workers.out)?;
    ensure!(workers["workers"][0]["name"] == "w1", "{workers}");
    let refused = explore(&["ringvault.v1.Admin/CancelJob", &format!("{{\"jobId\": \"{job}\"}}")]).await?.expect(1)?;
    ensure!(refused.err.contains("needs operator"), "{refused}");
    fleet.stop().await?;
    cluster.drop_keyspace("seen").await
}

/// The job that a submission named.
fn job_of(said: &str) -> Result<String> {
    let line = said.lines().find_map(|line| line.strip_prefix("job ")).context("no job is named")?;
    Ok(line.split(',').next().unwrap_or_default().to_owned())
}

/// Reads lines until one holds this.
async fn wait_for(lines: &mut tokio::io::Lines<impl tokio::io::AsyncBufRead + Unpin>, word: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let line = tokio::time::timeout(left, lines.next_line()).await;
        let line = line.with_context(|| format!("nobody said {word:?} within {PATIENCE:?}"))??;
        let line = line.with_context(|| format!("it ended without {word:?}"))?;
        if line.contains(word) {
            return Ok(());
        }
    }
}
