//! Workers that leave: drained, asked to stop, or stuck.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringvault_client::{Client, JobState, v1};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::s3::S3Server;

use crate::support::{
    Looks, MANY, MANY_ROWS, MANY_TABLES, backup, client, command, done, failures, many, rows, submit, tried, until,
    until_job, worker,
};

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("a_drained_worker_finishes_what_it_holds_and_takes_no_more", drained).on(newest()),
        Test::new("a_worker_that_is_asked_to_stop_gives_its_leases_back_at_once", asked_to_stop).on(newest()),
        Test::new("work_that_makes_no_progress_is_done_by_another_worker", stuck).on(newest()),
    ]
}

async fn drained(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    many(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let mut fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 2)?).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: 1_500, ..backup(MANY) };
    let id = submit(&client, Client::backup(spec)).await?;
    until_job(&client, &id, "work for both", |job| job.workers == 2 && rows(job) > 0).await?;
    let told = command(&bench, &fleet, &["worker", "drain", "w1"]).await?.line("worker")?;
    ensure!(told["name"] == "w1" && told["draining"] == true, "{told}");
    let finished = until("an idle w1", async || Ok((worker(&client, "w1").await?.slots_busy == 0).then_some(()))).await;
    finished?;
    let job = client.get(&id).await?;
    ensure!(job.state() == JobState::Running, "nothing is left to be done without w1: {:?}", job.state());
    ensure!(failures(&job) == 0, "drained work counts as failed: {job:?}");
    let looks = Looks::at(&client, &[&id], Duration::from_secs(2)).await?;
    ensure!(looks.max(|look| look.jobs[0].workers.into()) == 1, "w1 takes work though it is drained");
    ensure!(looks.rows_per_second() > 0.0, "w2 does not go on");
    // A coordinator that is started anew knows it from the worker.
    fleet.kill_coordinator().await?;
    fleet.start_coordinator()?;
    fleet.wait_for_workers(2).await?;
    let listed = command(&bench, &fleet, &["worker", "list"]).await?;
    let draining = |line: &serde_json::Value| line["name"] == "w1" && line["draining"] == true;
    ensure!(listed.lines("worker").iter().any(draining), "the restarted coordinator does not know: {listed}");
    ensure!(worker(&client, "w1").await?.slots_busy == 0, "w1 takes work after a restart of the coordinator");
    command(&bench, &fleet, &["worker", "drain", "w1", "--undo"]).await?;
    until_job(&client, &id, "work for w1 again", |job| job.workers == 2).await?;
    ensure!(!worker(&client, "w1").await?.draining, "w1 still counts as drained");
    let unknown = tried(&bench, &fleet, &["worker", "drain", "w9"]).await?;
    unknown.refused(1, &["not_found"], &["w9"])?;
    client.cancel(&id).await?;
    fleet.stop().await
}

/// Far longer than the test, so that nobody gets a lost lease by waiting for it.
const LONG_TTL: Duration = Duration::from_secs(120);

async fn asked_to_stop(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    many(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let settings = format!("lease_ttl = \"{0}s\"\nno_progress_timeout = \"{0}s\"", LONG_TTL.as_secs());
    let spec = FleetSpec { coordinator_settings: settings, ..FleetSpec::new(&bench, 2)? };
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: 4_000, ..backup(MANY) };
    let id = submit(&client, Client::backup(spec)).await?;
    until_job(&client, &id, "work for both", |job| job.workers == 2 && job.leases == 4 && rows(job) > 0).await?;
    let asked = Instant::now();
    let stopped = fleet.stop_worker(0).await?;
    ensure!(stopped.code == Some(0), "the worker ended with {stopped}");
    let gone = until_job(&client, &id, "no lease at w1", |job| job.workers == 1).await?;
    let listed = client.workers().await?;
    ensure!(listed.len() == 1, "a worker that ended is listed: {listed:?}");
    ensure!(failures(&gone) == 0, "a returned lease counts as lost: {gone:?}");
    let job = done(&client, &id).await?;
    ensure!(rows(&job) == MANY_TABLES * MANY_ROWS, "{} rows", rows(&job));
    ensure!(failures(&job) == 0, "{} shards were lost", failures(&job));
    ensure!(asked.elapsed() < LONG_TTL, "the others waited for the TTL");
    t.note(format!("done {:?} after the stop, TTL {LONG_TTL:?}, no shard lost", asked.elapsed()));
    fleet.stop().await
}

/// Longer than the job takes without it.
const HANG: Duration = Duration::from_secs(300);

async fn stuck(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    many(cluster).await?;
    let store = S3Server::start().await?;
    let bench = Workbench::new(cluster)?;
    let spec = FleetSpec {
        slots: 1,
        coordinator_settings: "lease_ttl = \"3s\"\nno_progress_timeout = \"6s\"".to_owned(),
        env: store.environment(),
        ..FleetSpec::new(&bench, 2)?
    };
    let fleet = Fleet::start(cluster, &bench, spec).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { repository: store.url("stuck"), chunk_rows_max: 1_000, ..backup(MANY) };
    // The store never answers one worker's first chunk; its reports go on.
    store.hold_puts("/data/", HANG, 1);
    let begun = Instant::now();
    let id = submit(&client, Client::backup(spec)).await?;
    let job = done(&client, &id).await?;
    ensure!(store.puts_to_hold() == 0, "nothing was held");
    ensure!(rows(&job) == MANY_TABLES * MANY_ROWS, "{} rows", rows(&job));
    ensure!(begun.elapsed() < HANG, "the job waited for the store");
    ensure!(failures(&job) == 1, "{} shards were lost instead of the one that was stuck", failures(&job));
    t.note(format!("done after {:?} though a store of a chunk takes {HANG:?}", begun.elapsed()));
    let workers = client.workers().await?;
    ensure!(workers.len() == 2, "the stuck worker is gone: {workers:?}");
    // It is as good as new: the next job leases from both.
    let spec = v1::BackupSpec { repository: store.url("next"), rows_per_second_max: 4_000, ..backup(MANY) };
    let id = submit(&client, Client::backup(spec)).await?;
    until_job(&client, &id, "work for both", |job| job.workers == 2).await?;
    client.cancel(&id).await?;
    fleet.stop().await
}
