//! Several jobs at once: shares by priority, bounds of leases and workers.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_client::{Client, Priority, v1};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};

use crate::support::{
    FEW, FEW_ROWS, FEW_TABLES, Looks, backup, client, command, done, few, rows, submit, until, until_job,
};

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("two_jobs_share_the_leases_by_their_priorities_and_none_starves", shares_by_priority).on(newest()),
        Test::new("bounds_of_leases_and_workers_hold_at_every_moment", bounds_hold).on(newest()),
    ]
}

/// Slots of each of two workers.
const SLOTS: u32 = 5;
/// Each share is looked at so long.
const PHASE: Duration = Duration::from_secs(6);

/// Backs up [`FEW`] so slowly that a table takes a second or two.
fn slow(repository: &str, rate: u64) -> v1::BackupSpec {
    v1::BackupSpec { repository: repository.to_owned(), tables_parallel: 64, rows_per_second_max: rate, ..backup(FEW) }
}

fn leases(job: &v1::Job) -> u64 {
    job.leases.into()
}

async fn shares_by_priority(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    few(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec { slots: SLOTS, ..FleetSpec::new(&bench, 2)? }).await?;
    let client = client(&fleet)?;
    let other = bench.path().join("other").display().to_string();
    // The one that comes first has everything, until the more urgent one comes.
    let early = v1::JobSpec { priority: Priority::Normal.into(), ..Client::backup(slow(&other, 120)) };
    let early = submit(&client, early).await?;
    until_job(&client, &early, "all slots for the only job", |job| job.leases == 2 * SLOTS).await?;
    let urgent = v1::JobSpec { priority: Priority::High.into(), ..Client::backup(slow("main", 300)) };
    let urgent = submit(&client, urgent).await?;
    until_job(&client, &urgent, "leases for the urgent job", |job| job.leases >= SLOTS).await?;
    let jobs = [urgent.as_str(), early.as_str()];
    let mut shares = Vec::new();
    for (priority, word) in [(Priority::Normal, "normal"), (Priority::Low, "low")] {
        let change =
            v1::UpdateJobRequest { job_id: early.clone(), priority: Some(priority.into()), ..Default::default() };
        client.update(change).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let looks = Looks::at(&client, &jobs, PHASE).await?;
        let (most, least) = (looks.mean(0, leases), looks.mean(1, leases));
        let growing = looks.rows_per_second_of(1);
        t.note(format!(
            "high and {word}: {most:.1} and {least:.1} leases on average, {:.0} and {growing:.0} rows a second",
            looks.rows_per_second_of(0)
        ));
        let together = looks.max(|look| look.leases);
        ensure!(together <= u64::from(2 * SLOTS), "{together} leases in {} slots", 2 * SLOTS);
        shares.push(most / least.max(0.1));
        let begin = looks.looks.first().map_or(0, |look| rows(&look.jobs[1]));
        until("rows of the less urgent job", async || Ok((rows(&client.get(&early).await?) > begin).then_some(())))
            .await?;
    }
    // Of ten slots: eight and two, then nine and one.
    ensure!((2.5..6.5).contains(&shares[0]), "high to normal: {:.1} instead of 4", shares[0]);
    ensure!(shares[1] > 6.5, "high to low: {:.1} instead of 9 or more", shares[1]);
    for id in jobs {
        let change = v1::UpdateJobRequest { job_id: id.to_owned(), rows_per_second_max: Some(0), ..Default::default() };
        client.update(change).await?;
        let job = done(&client, id).await?;
        ensure!(rows(&job) == FEW_TABLES * FEW_ROWS, "{} rows", rows(&job));
    }
    fleet.stop().await
}

async fn bounds_hold(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    few(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec { slots: SLOTS, ..FleetSpec::new(&bench, 2)? }).await?;
    let client = client(&fleet)?;
    let other = bench.path().join("other").display().to_string();
    let bound = v1::JobSpec { ranges_max: 3, workers_max: 1, ..Client::backup(slow("main", 60)) };
    let bound = submit(&client, bound).await?;
    let free = submit(&client, Client::backup(slow(&other, 150))).await?;
    let jobs = [bound.as_str(), free.as_str()];
    until_job(&client, &bound, "as many leases as are allowed", |job| job.leases == 3).await?;
    until_job(&client, &free, "the other slots", |job| job.leases >= SLOTS).await?;
    let looks = Looks::at(&client, &jobs, PHASE / 2).await?;
    let most = |figure: fn(&v1::Job) -> u32, job: usize| looks.max(move |look| figure(&look.jobs[job]).into());
    ensure!(most(|job| job.leases, 0) == 3, "{} leases of a job that may have 3", most(|job| job.leases, 0));
    ensure!(most(|job| job.workers, 0) == 1, "{} workers of a job that may have 1", most(|job| job.workers, 0));
    ensure!(most(|job| job.workers, 1) == 2, "the other job has {} workers", most(|job| job.workers, 1));
    // A job's bounds change while it runs.
    command(&bench, &fleet, &["job", "limit", &bound, "--workers", "none", "--ranges", "5"]).await?;
    until_job(&client, &bound, "more leases at both workers", |job| job.leases >= 4 && job.workers == 2).await?;
    let looks = Looks::at(&client, &jobs, PHASE / 2).await?;
    let most = looks.max(|look| leases(&look.jobs[0]));
    ensure!(most <= 5, "{most} leases of a job that may have 5");
    // The cluster's bound counts for both together.
    command(&bench, &fleet, &["cluster", "limit", "prod", "--ranges", "4"]).await?;
    until("at most 4 leases in all", async || {
        let clusters = client.clusters().await?;
        Ok(clusters.iter().any(|cluster| cluster.leases <= 4).then_some(()))
    })
    .await?;
    let looks = Looks::at(&client, &jobs, PHASE / 2).await?;
    let together = looks.max(|look| look.leases);
    ensure!(together <= 4, "{together} leases on a cluster that bears 4");
    // A share of so few leases may stand still for a while, but not for long.
    let begin = looks.looks.first().map(|look| [rows(&look.jobs[0]), rows(&look.jobs[1])]).unwrap_or_default();
    let ends = until("rows of both jobs", async || {
        let now = [rows(&client.get(&bound).await?), rows(&client.get(&free).await?)];
        Ok(begin.iter().zip(&now).all(|(begin, now)| now > begin).then_some(now))
    })
    .await?;
    t.note(format!("at most {together} leases of two jobs on a cluster that bears 4, rows from {begin:?} to {ends:?}"));
    for id in jobs {
        client.cancel(id).await?;
    }
    fleet.stop().await
}
