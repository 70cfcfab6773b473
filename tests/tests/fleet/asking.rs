//! What clients of a fleet rely on: one job a key, failures that say what and why, watches that survive.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt as _;
use ringvault_client::{Client, ErrorKind, JobState, v1};
use ringvault_proto::v1::admin_client::AdminClient;
use ringvault_proto::v1::fleet_client::FleetClient;
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use tonic_types::StatusExt as _;

use crate::support::{
    FEW, FEW_ROWS, FEW_TABLES, MANY, MANY_ROWS, MANY_TABLES, backup, client, done, failures, few, many, rows, submit,
    tried, until, until_job,
};

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("one_key_is_one_job_however_often_it_is_submitted", one_key_is_one_job).on(newest()),
        Test::new("failures_carry_details_that_a_program_can_read", failures_carry_details).on(newest()),
        Test::new("a_watch_survives_a_restart_of_the_coordinator", watch_survives).on(newest()),
        Test::new("a_table_that_is_dropped_meanwhile_fails_its_job_by_name", dropped_meanwhile).on(newest()),
        Test::new("a_shard_that_cannot_be_stored_fails_its_job_by_name_after_some_attempts", cannot_be_stored)
            .on(newest()),
    ]
}

async fn one_key_is_one_job(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    few(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 1)?).await?;
    let client = client(&fleet)?;
    let spec = || Client::backup(v1::BackupSpec { rows_per_second_max: 3_000, ..backup(FEW) });
    let asked = (0..16).map(|_| client.submit(spec(), "nightly-1", false));
    let answers = futures::future::try_join_all(asked).await?;
    let id = &answers[0].job.job_id;
    ensure!(answers.iter().all(|answer| answer.job.job_id == *id), "several jobs: {answers:?}");
    ensure!(answers.iter().all(|answer| answer.job.idempotency_key == "nightly-1"), "another key: {answers:?}");
    ensure!(client.list(100).await?.len() == 1, "several jobs are listed");
    // Something else under this key is refused, and it says so.
    let failure = client.submit(Client::backup(backup("other")), "nightly-1", false).await.expect_err("another spec");
    ensure!(failure.kind == ErrorKind::Conflict, "{failure:?}");
    ensure!(failure.message.contains(id) && failure.message.contains("idempotency key"), "{failure:?}");
    // Also after it has ended, and by the command.
    let job = done(&client, id).await?;
    ensure!(rows(&job) == FEW_TABLES * FEW_ROWS, "{} rows", rows(&job));
    let again = client.submit(spec(), "nightly-1", false).await?;
    ensure!(again.job.job_id == *id && again.job.state() == JobState::Done, "{again:?}");
    let words = ["backup", FEW, "main", "--cluster", "prod", "--pace", "full", "--detach"];
    let of_key = |key| [&words[..], &["--idempotency-key", key]].concat();
    let first = tried(&bench, &fleet, &of_key("nightly-2")).await?.expect(0)?.line("submitted")?;
    let second = tried(&bench, &fleet, &of_key("nightly-2")).await?.expect(0)?.line("submitted")?;
    ensure!(first["job_id"] == second["job_id"] && first["job_id"] != id.as_str(), "{first} and {second}");
    let other = [&["backup", MANY][..], &of_key("nightly-2")[2..]].concat();
    tried(&bench, &fleet, &other).await?.refused(1, &["conflict"], &["idempotency key"])?;
    ensure!(client.list(100).await?.len() == 2, "more jobs than keys");
    fleet.stop().await
}

async fn failures_carry_details(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let bench = Workbench::new(cluster)?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 1)?).await?;
    // As anybody's client sees it, without ours.
    let channel = tonic::transport::Endpoint::from_shared(fleet.url())?.connect().await?;
    let mut admin = AdminClient::new(channel.clone());
    let refused = admin.get_job(v1::GetJobRequest { job_id: "none".to_owned() }).await.expect_err("no such job");
    ensure!(refused.code() == tonic::Code::NotFound, "{refused:?}");
    let info = refused.get_details_error_info().context("an ErrorInfo")?;
    ensure!(info.reason == "ERROR_KIND_NOT_FOUND" && info.domain == "ringvault", "{info:?}");
    ensure!(refused.get_details_retry_info().is_none(), "asking again would not help: {refused:?}");
    let spec = v1::BackupSpec { keyspaces: Vec::new(), ..backup(FEW) };
    let submission = v1::SubmitRequest { spec: Some(Client::backup(spec)), ..v1::SubmitRequest::default() };
    let refused = admin.submit(submission).await.expect_err("a backup of nothing");
    let info = refused.get_details_error_info().context("an ErrorInfo")?;
    ensure!(refused.code() == tonic::Code::InvalidArgument && info.reason == "ERROR_KIND_INVALID", "{refused:?}");
    ensure!(refused.message().contains("keyspace"), "{refused:?}");
    // What may be tried again says after how long.
    let mut workers = FleetClient::new(channel);
    let stranger = v1::LeaseRequest { worker_id: "nobody".to_owned(), assignments_max: 1, ..Default::default() };
    let refused = workers.lease(stranger).await.expect_err("nobody attends under this name");
    let info = refused.get_details_error_info().context("an ErrorInfo")?;
    ensure!(refused.code() == tonic::Code::Unavailable && info.reason == "ERROR_KIND_UNAVAILABLE", "{refused:?}");
    let retry = refused.get_details_retry_info().context("a RetryInfo")?;
    ensure!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()), "{retry:?}");
    // A stale epoch is told as such.
    let lease = v1::LeaseId { assignment_id: "nothing.1".to_owned(), epoch: 1 };
    let stale = v1::CompleteRequest {
        worker_id: "nobody".to_owned(),
        lease: Some(lease),
        ended: true,
        ..v1::CompleteRequest::default()
    };
    let refused = workers.complete(stale).await.expect_err("nobody's lease");
    let info = refused.get_details_error_info().context("an ErrorInfo")?;
    ensure!(refused.code() == tonic::Code::Aborted && info.reason == "ERROR_KIND_FENCED", "{refused:?}");
    fleet.stop().await
}

async fn watch_survives(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    many(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let mut fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 2)?).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: 5_000, ..backup(MANY) };
    let id = submit(&client, Client::backup(spec)).await?;
    let mut watch = client.watch(&id);
    let by_command = bench.start(&["job", "watch", &id, "--coordinator", &fleet.url()])?;
    let (mut seen, mut most, mut restarts) = (0, 0, 0);
    let mut last = None;
    while let Some(job) = tokio::time::timeout(Duration::from_secs(120), watch.next()).await? {
        let job = job.context("the watch broke")?;
        seen += 1;
        most = most.max(rows(&job));
        // Twice, while it is well under way.
        if restarts < 2 && rows(&job) > 12_000 * (restarts + 1) {
            fleet.kill_coordinator().await?;
            tokio::time::sleep(Duration::from_millis(700)).await;
            fleet.start_coordinator()?;
            restarts += 1;
        }
        last = Some(job);
    }
    let last = last.context("the watch said nothing")?;
    ensure!(last.state() == JobState::Done && last.job_id == id, "the watch ended with {last:?}");
    ensure!(restarts == 2, "the job was over after {restarts} restarts");
    ensure!(rows(&last) == MANY_TABLES * MANY_ROWS && most == rows(&last), "{} rows, at most {most}", rows(&last));
    ensure!(failures(&last) == 0, "{} leases were lost with the coordinator", failures(&last));
    let watched = by_command.wait(Duration::from_secs(60)).await?.expect(0)?;
    ensure!(watched.figure("rows")? == rows(&last), "{watched}");
    t.note(format!("{seen} states over two restarts of the coordinator; no lease was lost"));
    fleet.stop().await
}

async fn dropped_meanwhile(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("vanishes", 1).await?;
    ringvault_tests::samples::large::many_partitions(cluster, "vanishes", 6_000).await?;
    let bench = Workbench::new(cluster)?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 2)?).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: 1_000, ..backup("vanishes") };
    let id = submit(&client, Client::backup(spec)).await?;
    until_job(&client, &id, "some rows", |job| rows(job) > 300).await?;
    cluster.run(&["DROP TABLE vanishes.many"]).await?;
    let job = until("the end", async || {
        let job = client.get(&id).await?;
        Ok((job.state() == JobState::Failed || job.state() == JobState::Done).then_some(job))
    })
    .await?;
    ensure!(job.state() == JobState::Failed, "a backup without its table is {:?}", job.state());
    let failure = job.failure.context("why it failed")?;
    ensure!(failure.message.contains("vanishes.many"), "the table is not named: {}", failure.message);
    t.note(failure.message);
    let watched = tried(&bench, &fleet, &["job", "watch", &id]).await?;
    watched.refused(1, &["not_found", "conflict", "invalid"], &["vanishes.many"])?;
    fleet.stop().await?;
    cluster.drop_keyspace("vanishes").await
}

async fn cannot_be_stored(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("unstorable", 1).await?;
    ringvault_tests::samples::large::many_partitions(cluster, "unstorable", 4_000).await?;
    let bench = Workbench::new(cluster)?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 2)?).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: 1_000, ..backup("unstorable") };
    let id = submit(&client, Client::backup(spec)).await?;
    until_job(&client, &id, "some rows", |job| rows(job) > 300).await?;
    // A file where the directory of the table's chunks stood: nothing more can be stored there, whoever tries.
    let chunks = bench.repository().join("data/unstorable/many");
    until("the directory gone", async || {
        let _ = std::fs::remove_dir_all(&chunks);
        Ok(std::fs::write(&chunks, b"in the way").is_ok().then_some(()))
    })
    .await?;
    let job = until("the end", async || {
        let job = client.get(&id).await?;
        Ok((job.state() == JobState::Failed || job.state() == JobState::Done).then_some(job))
    })
    .await?;
    ensure!(job.state() == JobState::Failed, "a backup without a repository is {:?}", job.state());
    let failure = job.failure.clone().context("why it failed")?;
    ensure!(failure.message.contains("unstorable.many"), "the table is not named: {}", failure.message);
    ensure!((1..=5).contains(&failures(&job)), "{} attempts failed", failures(&job));
    t.note(format!("after {} failed attempts: {}", failures(&job), failure.message));
    fleet.stop().await?;
    cluster.drop_keyspace("unstorable").await
}
