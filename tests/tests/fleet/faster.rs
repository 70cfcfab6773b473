//! Two workers finish a table sooner than one.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_client::{Client, v1};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::s3::S3Server;
use ringvault_tests::samples::large;

use crate::support::{backup, client, done, float, rows, submit};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("two_workers_finish_a_table_in_clearly_less_time_than_one", two_workers_are_faster_than_one)
            .on(ClusterSpec::one(CassandraVersion::V5_0)),
    ]
}

/// A store answers each chunk so late: what a far object store does, and far more than encoding a chunk takes.
const PUT_TIME: Duration = Duration::from_millis(300);
/// Rows of the table, of 2 kB each: some segments of 4 MiB and more.
const ROWS: u64 = 6_000;
/// Rows a chunk.
const CHUNK_ROWS: u64 = 250;

async fn two_workers_are_faster_than_one(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "bottle", 1).await?;
    large::long_rows(cluster, "bottle", ROWS, 2_000).await?;
    let store = S3Server::start().await?;
    store.slow_puts("/data/", PUT_TIME);
    let bench = Workbench::new(cluster)?;
    let spec = FleetSpec { slots: 1, env: store.environment(), ..FleetSpec::new(&bench, 1)? };
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let client = client(&fleet)?;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..2 {
        times[0].push(backup_time(&client, &store.url(&format!("one{round}"))).await?);
        let second = if round == 0 { fleet.add_worker()? } else { 1 };
        fleet.start_worker(second)?;
        fleet.wait_for_workers(2).await?;
        times[1].push(backup_time(&client, &store.url(&format!("two{round}"))).await?);
        fleet.stop_worker(second).await?;
    }
    let [one, two] = times.map(|times| times.iter().sum::<Duration>());
    let ratio = two.as_secs_f64() / one.as_secs_f64();
    t.note(format!("one worker {one:?}, two workers {two:?} for two backups each: {ratio:.2} of the time"));
    ensure!(ratio < 0.75, "two workers took {ratio:.2} of the time of one: {two:?} and {one:?}");
    fleet.stop().await?;
    cluster.drop_keyspace("bottle").await
}

/// How long a backup of the table takes.
async fn backup_time(client: &Client, repository: &str) -> Result<Duration> {
    let spec = v1::BackupSpec {
        repository: repository.to_owned(),
        chunk_rows_max: CHUNK_ROWS,
        compression: v1::Compression::Zstd.into(),
        ..backup("bottle")
    };
    let id = submit(client, Client::backup(spec)).await?;
    let job = done(client, &id).await?;
    ensure!(rows(&job) == ROWS, "{} rows are not {ROWS}", rows(&job));
    let chunks = job.tables.iter().map(|table| table.chunks_new).sum::<u64>();
    ensure!(float(chunks) >= float(ROWS / CHUNK_ROWS), "only {chunks} chunks: the store is no bottleneck");
    Ok(Duration::from_millis(job.finished_unix_ms - job.started_unix_ms))
}
