//! A coordinator and two workers, each a process: the same job as the embedded mode.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::{Running, Workbench};
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

/// How long a process may take to be there, or to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

struct Fleet {
    url: String,
    coordinator: Running,
    workers: Vec<Running>,
}

impl Fleet {
    /// Starts a coordinator and two workers; `repositories` are the profiles of coordinator, first and second worker.
    async fn start(cluster: &TestCluster, bench: &Workbench, repositories: [&Path; 3]) -> Result<Self> {
        let listen = free_address()?;
        let url = format!("http://{listen}");
        let profile = |path: &Path| format!("[repositories]\nmain = {:?}\n", path.display().to_string());
        let settings = write(bench, "coordinator.toml", &profile(repositories[0]))?;
        let state = bench.path().join("coordinator-state").display().to_string();
        let coordinator =
            bench.start(&["coordinator", "--listen", &listen, "--state-dir", &state, "--config", &settings])?;
        let mut workers = Vec::new();
        for (number, repository) in repositories[1..].iter().enumerate() {
            let mut text = format!("coordinator = {url:?}\n{}", profile(repository));
            write!(text, "[clusters.prod]\nhosts = [{:?}]\nport = {}\n", cluster.hosts(), cluster.port())?;
            let name = format!("w{}", number + 1);
            let settings = write(bench, &format!("{name}.toml"), &text)?;
            workers.push(bench.start(&["worker", "--config", &settings, "--name", &name, "--slots", "2"])?);
        }
        let mut fleet = Self { url, coordinator, workers };
        fleet.wait_for_workers(bench, 2).await?;
        Ok(fleet)
    }

    async fn wait_for_workers(&mut self, bench: &Workbench, wanted: usize) -> Result<()> {
        let begun = std::time::Instant::now();
        loop {
            let list = bench.run(&["worker", "list", "--coordinator", &self.url]).await?;
            if list.code == Some(0) && list.lines("worker").len() == wanted {
                return Ok(());
            }
            ensure!(!self.coordinator.ended()?, "the coordinator has ended: {list}");
            ensure!(begun.elapsed() < PATIENCE, "no {wanted} workers after {PATIENCE:?}: {list}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks all to stop and waits until they have.
    async fn stop(self) -> Result<()> {
        for process in self.workers.into_iter().chain([self.coordinator]) {
            process.signal("TERM").await.ok();
            let run = process.wait(PATIENCE).await?;
            ensure!(run.code == Some(0) || run.code == Some(4), "stopped with {:?}: {run}", run.code);
        }
        Ok(())
    }
}

fn write(bench: &Workbench, name: &str, text: &str) -> Result<String> {
    let path: PathBuf = bench.path().join(name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path.display().to_string())
}

fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
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
    let fleet = Fleet::start(cluster, &bench, [&repository; 3]).await?;
    let to = ["--coordinator", &fleet.url, "--cluster", "prod"];
    let backup = bench.run(&[&["backup", "fleet", "main"][..], &to].concat()).await?.expect(0)?;
    ensure!(backup.figure("rows")? == before.rows(), "other rows: {backup}");
    ensure!(bench.files("data")? == embedded.files("data")?, "a fleet stores other objects than the embedded mode");
    let job = backup.text("job_id")?;
    let listed = bench.run(&["job", "list", "--coordinator", &fleet.url]).await?.expect(0)?;
    ensure!(listed.lines("job").iter().any(|line| line["job_id"] == job.as_str()), "the job is not listed: {listed}");
    for command in ["show", "watch"] {
        bench.run(&["job", command, &job, "--coordinator", &fleet.url]).await?.expect(0)?;
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
    let fleet = Fleet::start(cluster, &bench, [&here, &here, &elsewhere]).await?;
    let to = ["--coordinator", &fleet.url, "--cluster", "prod"];
    let backup = bench.run(&[&["backup", "unseen", "main"][..], &to].concat()).await?.expect(0)?;
    ensure!(backup.figure("rows")? == 1, "{backup}");
    ensure!(!elsewhere.join("data").exists(), "the blind worker wrote into another directory");
    let said = format!("{:?}", backup.line("summary")?["warnings"]);
    let listed = bench.run(&["worker", "list", "--coordinator", &fleet.url]).await?.expect(0)?;
    let notes = listed.stdout.clone() + &said;
    ensure!(notes.contains("w2") && notes.contains("does not see"), "nobody says that w2 does not see it: {listed}");
    fleet.stop().await?;
    // Both: the job fails and says so.
    let bench = Workbench::new(cluster)?;
    let (here, elsewhere) = (bench.repository(), bench.path().join("elsewhere"));
    let fleet = Fleet::start(cluster, &bench, [&here, &elsewhere, &elsewhere]).await?;
    let to = ["--coordinator", &fleet.url, "--cluster", "prod", "--patience", "5s"];
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
    let mut fleet = Fleet::start(cluster, &bench, [&repository; 3]).await?;
    let url = fleet.url.clone();
    let to = ["--coordinator", &url, "--cluster", "prod", "--shards", "6", "--rate", "20000"];
    let backup = bench.start(&[&["backup", "killed", "main"][..], &to].concat())?;
    while bench.files("data")?.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fleet.workers[0].signal("KILL").await?;
    let killed = fleet.workers.remove(0);
    killed.wait(PATIENCE).await?;
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
