//! A paused job stands still, whoever is restarted meanwhile, and goes on without a loss; it can be cancelled, too.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_client::{Client, ErrorKind, JobState, v1};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::oracle::{Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};

use crate::support::{History, Looks, MANY, backup, client, command, done, many, rows, submit, tried, until_job};

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("a_paused_job_stands_still_over_a_restart_and_goes_on_without_a_loss", paused_and_resumed)
            .on(newest()),
        Test::new("a_paused_job_can_be_cancelled_and_an_ended_one_not_paused", paused_and_cancelled).on(newest()),
    ]
}

/// How long a paused job is looked at.
const STILL: Duration = Duration::from_secs(4);

async fn paused_and_resumed(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    many(cluster).await?;
    let before = read_keyspace(cluster.session(), MANY).await?;
    let bench = Workbench::new(cluster)?;
    let mut fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 2)?).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: 8_000, ..backup(MANY) };
    let id = submit(&client, Client::backup(spec)).await?;
    until_job(&client, &id, "some rows", |job| rows(job) > 4_000).await?;
    let watch = bench.start(&["job", "watch", &id, "--coordinator", &fleet.url()])?;
    pause(&bench, &fleet, &client, &id).await?;
    let stored = History::of_repository(&bench.repository())?.rows();
    stands_still(&client, &id).await?;
    fleet.kill_coordinator().await?;
    fleet.start_coordinator()?;
    fleet.wait_for_workers(2).await?;
    let job = client.get(&id).await?;
    ensure!(job.state() == JobState::Paused, "after a restart the job is {:?}", job.state());
    stands_still(&client, &id).await?;
    let still = History::of_repository(&bench.repository())?.rows();
    ensure!(still == stored, "{stored} rows were stored when the job was paused, and {still} later");
    // Twice is as good as once.
    command(&bench, &fleet, &["job", "pause", &id]).await?;
    command(&bench, &fleet, &["job", "resume", &id]).await?;
    command(&bench, &fleet, &["job", "resume", &id]).await?;
    let job = done(&client, &id).await?;
    ensure!(rows(&job) == before.rows(), "{} of {} rows", rows(&job), before.rows());
    let watched = watch.wait(Duration::from_secs(60)).await?.expect(0)?;
    let states: Vec<String> = watched.lines("progress").iter().map(|line| line["state"].to_string()).collect();
    ensure!(states.iter().any(|state| state.contains("paused")), "the watch never said paused: {states:?}");
    // A restore is paused and resumed alike, and its rows are compared.
    let spec = v1::RestoreSpec {
        keyspaces: vec![MANY.to_owned()],
        cluster: "prod".to_owned(),
        repository: "main".to_owned(),
        keyspace_as: "fleet_resumed".to_owned(),
        rows_per_second_max: 8_000,
        pace: v1::Pace::Full.into(),
        ..v1::RestoreSpec::default()
    };
    let id = submit(&client, Client::restore(spec)).await?;
    until_job(&client, &id, "some rows", |job| rows(job) > 4_000).await?;
    pause(&bench, &fleet, &client, &id).await?;
    stands_still(&client, &id).await?;
    command(&bench, &fleet, &["job", "resume", &id]).await?;
    let job = done(&client, &id).await?;
    ensure!(rows(&job) == before.rows(), "{} of {} rows", rows(&job), before.rows());
    let after = read_keyspace(cluster.session(), "fleet_resumed").await?;
    let compared = compare_keyspaces(&before, &after, Scope::ValuesAndTimes);
    compared.ensure_equal()?;
    t.note(compared.to_string());
    fleet.stop().await?;
    cluster.drop_keyspace("fleet_resumed").await
}

/// Pauses a job and waits until nobody holds a lease of it.
async fn pause(bench: &Workbench, fleet: &Fleet<'_>, client: &Client, id: &str) -> Result<()> {
    let told = command(bench, fleet, &["job", "pause", id]).await?.line("job")?;
    ensure!(told["state"] == "paused", "{told}");
    until_job(client, id, "no lease", |job| job.state() == JobState::Paused && job.leases == 0).await?;
    // A worker hears it at its next report, a second later at most; what it stored before is there by then.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}

async fn stands_still(client: &Client, id: &str) -> Result<()> {
    let looks = Looks::at(client, &[id], STILL).await?;
    let (first, last) = (&looks.looks[0].jobs[0], &looks.looks[looks.looks.len() - 1].jobs[0]);
    ensure!(last.state() == JobState::Paused && last.leases == 0, "{:?} with {} leases", last.state(), last.leases);
    ensure!(rows(first) == rows(last), "a paused job went from {} to {} rows", rows(first), rows(last));
    Ok(())
}

async fn paused_and_cancelled(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    many(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 1)?).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: 2_000, ..backup(MANY) };
    let id = submit(&client, Client::backup(spec)).await?;
    until_job(&client, &id, "some rows", |job| rows(job) > 500).await?;
    pause(&bench, &fleet, &client, &id).await?;
    let told = command(&bench, &fleet, &["job", "cancel", &id]).await?.line("job")?;
    ensure!(told["state"] == "cancelled", "{told}");
    for action in ["pause", "resume"] {
        let refused = tried(&bench, &fleet, &["job", action, &id]).await?;
        refused.refused(1, &["conflict"], &[&id, "cancelled"])?;
    }
    let failure = client.pause("20200101T000000Z-none").await.expect_err("no such job");
    ensure!(failure.kind == ErrorKind::NotFound, "{failure:?}");
    // What it leased is free for others, and what it stored is not stored again.
    let job = done(&client, &submit(&client, Client::backup(backup(MANY))).await?).await?;
    let reused: u64 = job.tables.iter().map(|table| table.chunks_reused).sum();
    t.note(format!("the next backup reused {reused} chunks of the cancelled one"));
    fleet.stop().await
}
