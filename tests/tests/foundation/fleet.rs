//! A coordinator and two workers, each a process: the same job as the embedded mode.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::{every_type, large};

use crate::round_trip::Remembered;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("a_fleet_does_what_the_embedded_mode_does", a_fleet_does_what_the_embedded_mode_does).on(newest()),
        Test::new("a_directory_that_a_worker_does_not_see_is_refused", a_directory_that_a_worker_does_not_see)
            .on(newest()),
        Test::new("a_killed_worker_loses_no_row", a_killed_worker_loses_no_row).on(newest()),
        Test::new("connection_flags_and_a_coordinator_exclude_each_other", flags_exclude_each_other).on(newest()),
    ]
}

/// A coordinator and two workers; `repositories` are the profiles of coordinator, first and second worker.
async fn two_workers<'b>(cluster: &TestCluster, bench: &'b Workbench, repositories: [&Path; 3]) -> Result<Fleet<'b>> {
    let [own, workers @ ..] = repositories.map(Path::to_path_buf);
    let spec = FleetSpec { repository: own, worker_repositories: workers.to_vec(), ..FleetSpec::new(bench, 2)? };
    Fleet::start(cluster, bench, spec).await
}

async fn a_fleet_does_what_the_embedded_mode_does(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    every_type::make(cluster, "fleet", 1).await?;
    large::many_partitions(cluster, "fleet", 40_000).await?;
    let before = Remembered::of(cluster, "fleet").await?;
    let embedded = Workbench::new(cluster)?;
    embedded.backup("fleet", &[]).await?;
    let bench = Workbench::new(cluster)?;
    let repository = bench.repository();
    let fleet = two_workers(cluster, &bench, [&repository; 3]).await?;
    let url = fleet.url();
    let to = ["--coordinator", &url, "--cluster", "prod"];
    let backup = bench.run(&[&["backup", "fleet", "main"][..], &to].concat()).await?.expect(0)?;
    ensure!(backup.figure("rows")? == before.rows(), "other rows: {backup}");
    ensure!(bench.files("data")? == embedded.files("data")?, "a fleet stores other objects than the embedded mode");
    let job = backup.text("job_id")?;
    let listed = bench.run(&["job", "list", "--coordinator", &fleet.url()]).await?.expect(0)?;
    ensure!(listed.lines("job").iter().any(|line| line["job_id"] == job.as_str()), "the job is not listed: {listed}");
    for command in ["show", "watch"] {
        bench.run(&["job", command, &job, "--coordinator", &fleet.url()]).await?.expect(0)?;
    }
    cluster.drop_keyspace("fleet").await?;
    // By its path as well as by its profile.
    let path = bench.repository_argument();
    let restore = bench.run(&[&["restore", "fleet", &path][..], &to].concat()).await?.expect(0)?;
    ensure!(restore.figure("rows")? == before.rows(), "other rows: {restore}");
    t.note(before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?);
    fleet.stop().await?;
    cluster.drop_keyspace("fleet").await
}

async fn a_directory_that_a_worker_does_not_see(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("unseen", 1).await?;
    cluster.run(&["CREATE TABLE unseen.t (id int PRIMARY KEY)", "INSERT INTO unseen.t (id) VALUES (1)"]).await?;
    let bench = Workbench::new(cluster)?;
    let (here, elsewhere) = (bench.repository(), bench.path().join("elsewhere"));
    // One of two: the other one does the work, and the listing says why the one gets nothing.
    let fleet = two_workers(cluster, &bench, [&here, &here, &elsewhere]).await?;
    let url = fleet.url();
    let to = ["--coordinator", &url, "--cluster", "prod"];
    let backup = bench.run(&[&["backup", "unseen", "main"][..], &to].concat()).await?.expect(0)?;
    ensure!(backup.figure("rows")? == 1, "{backup}");
    ensure!(!elsewhere.join("data").exists(), "the blind worker wrote into another directory");
    let said = format!("{:?}", backup.line("summary")?["warnings"]);
    let listed = bench.run(&["worker", "list", "--coordinator", &fleet.url()]).await?.expect(0)?;
    let notes = listed.stdout.clone() + &said;
    ensure!(notes.contains("w2") && notes.contains("does not see"), "nobody says that w2 does not see it: {listed}");
    fleet.stop().await?;
    // Both: the job fails and says so.
    let bench = Workbench::new(cluster)?;
    let (here, elsewhere) = (bench.repository(), bench.path().join("elsewhere"));
    let fleet = two_workers(cluster, &bench, [&here, &elsewhere, &elsewhere]).await?;
    let url = fleet.url();
    let to = ["--coordinator", &url, "--cluster", "prod", "--patience", "5s"];
    let backup = bench.run(&[&["backup", "unseen", "main"][..], &to].concat()).await?;
    backup.refused(1, &["invalid", "conflict", "unavailable"], &["does not see"])?;
    fleet.stop().await?;
    cluster.drop_keyspace("unseen").await
}

async fn a_killed_worker_loses_no_row(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "killed", 1).await?;
    large::many_partitions(cluster, "killed", 150_000).await?;
    let before = Remembered::of(cluster, "killed").await?;
    let bench = Workbench::new(cluster)?;
    let repository = bench.repository();
    let mut fleet = two_workers(cluster, &bench, [&repository; 3]).await?;
    let url = fleet.url();
    let to = ["--coordinator", &url, "--cluster", "prod", "--shards", "6", "--rate", "20000"];
    let backup = bench.start(&[&["backup", "killed", "main"][..], &to].concat())?;
    while bench.files("data")?.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fleet.kill_worker(0).await?;
    let backup = backup.wait(Duration::from_secs(300)).await?.expect(0)?;
    ensure!(backup.figure("rows")? == before.rows(), "other rows: {backup}");
    cluster.drop_keyspace("killed").await?;
    bench.restore("killed", &["--pace", "full"]).await?;
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    fleet.stop().await?;
    cluster.drop_keyspace("killed").await
}

async fn flags_exclude_each_other(t: TestContext) -> Result<()> {
    let bench = Workbench::new(t.cluster())?;
    let url = ["--coordinator", "http://127.0.0.1:1"];
    let run = bench.run(&[&["backup", "ks", "repo", "--hosts", "h", "--cluster", "prod"][..], &url].concat()).await?;
    run.refused(2, &["usage"], &["--hosts", "--coordinator"])?;
    let run = bench.run(&[&["backup", "ks", "repo"][..], &url].concat()).await?;
    run.refused(2, &["usage"], &["--cluster"])?;
    let run = bench.run(&[&["backup", "ks", "/repo", "--cluster", "prod"][..], &url].concat()).await?;
    run.refused(1, &["unavailable"], &["127.0.0.1:1"])?;
    Ok(())
}
