//! What several tests of a fleet need: tables, a client, jobs looked at over time, and what was stored when.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use ringvault_client::{Client, JobState, state, v1};
use ringvault_tests::cassandra::TestCluster;
use ringvault_tests::cql::qualified;
use ringvault_tests::fleet::Fleet;
use ringvault_tests::product::{Run, Workbench, as_strs, files_below};
use ringvault_tests::samples;
use ringvault_tests::samples::bytes::{bigint, text};

/// What is waited for comes within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Many tables of few rows: [`few`].
pub(crate) const FEW: &str = "fleet_few";
/// Tables of [`FEW`].
pub(crate) const FEW_TABLES: u64 = 96;
/// Rows of each of them.
pub(crate) const FEW_ROWS: u64 = 100;

/// Some tables of many rows: [`many`].
pub(crate) const MANY: &str = "fleet_many";
/// Tables of [`MANY`].
pub(crate) const MANY_TABLES: u64 = 24;
/// Rows of each of them.
pub(crate) const MANY_ROWS: u64 = 2_500;

/// Makes the keyspace [`FEW`] unless an earlier test of this run did.
pub(crate) async fn few(cluster: &TestCluster) -> Result<()> {
    tables(cluster, FEW, FEW_TABLES, FEW_ROWS).await
}

/// Makes the keyspace [`MANY`] unless an earlier test of this run did.
pub(crate) async fn many(cluster: &TestCluster) -> Result<()> {
    tables(cluster, MANY, MANY_TABLES, MANY_ROWS).await
}

/// Tables `t00` … of equal rows of about 100 bytes, one partition each.
async fn tables(cluster: &TestCluster, keyspace: &str, tables: u64, rows: u64) -> Result<()> {
    let there = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let there = cluster.session().query_unpaged(there, (keyspace,)).await?.into_rows_result()?;
    if there.rows_num() > 0 {
        return Ok(());
    }
    samples::large::keyspace(cluster, keyspace, 1).await?;
    for number in 0..tables {
        let table = qualified(keyspace, &format!("t{number:02}"));
        cluster.run(&[&format!("CREATE TABLE {table} (id bigint PRIMARY KEY, label text, payload text)")]).await?;
        let insert = format!("INSERT INTO {table} (id, label, payload) VALUES (?, ?, ?)");
        let row = |id: u64| {
            let payload = format!("{id:064}");
            vec![bigint(id.cast_signed()).into(), text(&format!("label {id}")).into(), text(&payload).into()]
        };
        samples::load(cluster.session(), &insert, (0..rows).map(row)).await?;
    }
    Ok(())
}

/// A client of the fleet's coordinator.
pub(crate) fn client(fleet: &Fleet<'_>) -> Result<Client> {
    Ok(Client::connect(&fleet.url(), None)?)
}

/// What to back up of a keyspace into the repository `main`, in many small chunks that anybody can read.
pub(crate) fn backup(keyspace: &str) -> v1::BackupSpec {
    v1::BackupSpec {
        keyspaces: vec![keyspace.to_owned()],
        cluster: "prod".to_owned(),
        repository: "main".to_owned(),
        compression: v1::Compression::None.into(),
        chunk_rows_max: 100,
        tables_parallel: 8,
        pace: v1::Pace::Full.into(),
        ..v1::BackupSpec::default()
    }
}

/// Submits; the new job's id.
pub(crate) async fn submit(client: &Client, spec: v1::JobSpec) -> Result<String> {
    Ok(client.submit(spec, "", false).await?.job.job_id)
}

/// Runs a command of the fleet's clients, which must succeed.
pub(crate) async fn command(bench: &Workbench, fleet: &Fleet<'_>, words: &[&str]) -> Result<Run> {
    tried(bench, fleet, words).await?.expect(0)
}

/// Runs a command of the fleet's clients, whatever comes of it.
pub(crate) async fn tried(bench: &Workbench, fleet: &Fleet<'_>, words: &[&str]) -> Result<Run> {
    let mut words: Vec<String> = words.iter().map(ToString::to_string).collect();
    words.extend(fleet.client_words());
    bench.run(&as_strs(&words)).await
}

/// Rows of all tables of a job.
pub(crate) fn rows(job: &v1::Job) -> u64 {
    job.tables.iter().map(|table| table.rows).sum()
}

/// Shards of a job that were lost or failed so far.
pub(crate) fn failures(job: &v1::Job) -> u64 {
    job.tables.iter().map(|table| table.failures).sum()
}

/// Looks again and again until there is something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} still waiting for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The job as soon as it is as wanted; fails where it has ended otherwise.
pub(crate) async fn until_job(
    client: &Client,
    id: &str,
    what: &str,
    wanted: impl Fn(&v1::Job) -> bool,
) -> Result<v1::Job> {
    until(what, async || {
        let job = client.get(id).await?;
        if wanted(&job) {
            return Ok(Some(job));
        }
        if state::has_ended(job.state()) {
            bail!("waiting for {what}, but the job is {:?}: {:?}", job.state(), job.failure);
        }
        Ok(None)
    })
    .await
}

/// The job when it has been done.
pub(crate) async fn done(client: &Client, id: &str) -> Result<v1::Job> {
    until_job(client, id, "the end of the job", |job| job.state() == JobState::Done).await
}

/// The worker of this name that attends now.
pub(crate) async fn worker(client: &Client, name: &str) -> Result<v1::Worker> {
    let workers = client.workers().await?;
    // One that was killed is listed for a while beside the one that took its place.
    let newest = workers.iter().filter(|worker| worker.name == name).max_by_key(|worker| worker.last_report_unix_ms);
    newest.cloned().with_context(|| format!("no worker {name} among {workers:?}"))
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is before the year 500 million")
}

/// Jobs as they stood at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Since the first look, in seconds.
    pub(crate) at: f64,
    /// As they were asked for.
    pub(crate) jobs: Vec<v1::Job>,
    /// Of all jobs on all clusters, at one moment.
    pub(crate) leases: u64,
}

/// Jobs looked at five times a second, and when that was.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    pub(crate) from_unix_ms: u64,
    pub(crate) to_unix_ms: u64,
    pub(crate) looks: Vec<Look>,
}

impl Looks {
    /// Looks at jobs for so long.
    pub(crate) async fn at(client: &Client, jobs: &[&str], time: Duration) -> Result<Self> {
        let (begun, from_unix_ms) = (Instant::now(), unix_ms());
        let mut looks = Vec::new();
        while begun.elapsed() < time {
            let at = begun.elapsed().as_secs_f64();
            let asked = jobs.iter().map(|id| client.get(id));
            let jobs = futures::future::try_join_all(asked).await?;
            let leases = client.clusters().await?.iter().map(|cluster| u64::from(cluster.leases)).sum();
            looks.push(Look { at, jobs, leases });
            tokio::time::sleep(2 * LOOK_EVERY).await;
        }
        Ok(Self { from_unix_ms, to_unix_ms: unix_ms(), looks })
    }

    /// How fast a figure of one look grew a second: the slope of the line that fits best.
    pub(crate) fn growth(&self, figure: impl Fn(&Look) -> u64) -> f64 {
        let count = float(self.looks.len() as u64);
        let points: Vec<(f64, f64)> = self.looks.iter().map(|look| (look.at, float(figure(look)))).collect();
        let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
        let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        if below > 0.0 { above / below } else { 0.0 }
    }

    /// Rows a second of all jobs together, as the coordinator counts.
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.growth(|look| look.jobs.iter().map(rows).sum())
    }

    /// Rows a second of one job.
    pub(crate) fn rows_per_second_of(&self, job: usize) -> f64 {
        self.growth(|look| rows(&look.jobs[job]))
    }

    /// The mean of a figure of one job.
    pub(crate) fn mean(&self, job: usize, figure: impl Fn(&v1::Job) -> u64) -> f64 {
        self.looks.iter().map(|look| float(figure(&look.jobs[job]))).sum::<f64>() / float(self.looks.len() as u64)
    }

    /// The largest of a figure over all looks.
    pub(crate) fn max(&self, figure: impl Fn(&Look) -> u64) -> u64 {
        self.looks.iter().map(figure).max().unwrap_or(0)
    }

    /// Whether the workers said, in half of the looks at least, that it is the rate that holds them back.
    pub(crate) fn held_back_by_rate(&self) -> bool {
        let held = |look: &&Look| look.jobs.iter().any(|job| job.stage.contains("rate"));
        2 * self.looks.iter().filter(held).count() >= self.looks.len()
    }
}

/// Things that happened: when, in Unix milliseconds, and how many rows each.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(BTreeMap<u64, u64>);

impl History {
    /// What a repository holds, by the times of its objects and the lines in them: each object was stored at once.
    pub(crate) fn of_repository(repository: &Path) -> Result<Self> {
        let data = repository.join("data");
        let mut history = Self::default();
        for (name, _) in files_below(&data)?.iter().filter(|(name, _)| name.ends_with(".jsonl")) {
            let path = data.join(name);
            let stored = path.metadata()?.modified()?.duration_since(SystemTime::UNIX_EPOCH)?;
            let lines = std::fs::read(&path)?.iter().filter(|byte| **byte == b'\n').count();
            history.add(u64::try_from(stored.as_millis())?, lines as u64);
        }
        Ok(history)
    }

    /// What tables of a keyspace hold, by the times at which their rows were written.
    pub(crate) async fn of_writes(cluster: &TestCluster, keyspace: &str, tables: u64) -> Result<Self> {
        let mut history = Self::default();
        for number in 0..tables {
            let table = qualified(keyspace, &format!("t{number:02}"));
            let select = format!("SELECT writetime(label) FROM {table}");
            let written = cluster.session().query_unpaged(select, ()).await?.into_rows_result()?;
            for row in written.rows::<(i64,)>()? {
                history.add(u64::try_from(row?.0)? / 1000, 1);
            }
        }
        Ok(history)
    }

    fn add(&mut self, unix_ms: u64, rows: u64) {
        *self.0.entry(unix_ms).or_default() += rows;
    }

    /// All rows.
    pub(crate) fn rows(&self) -> u64 {
        self.0.values().sum()
    }

    /// Rows from one moment up to another.
    pub(crate) fn between(&self, from_unix_ms: u64, to_unix_ms: u64) -> u64 {
        self.0.range(from_unix_ms..to_unix_ms).map(|(_, rows)| rows).sum()
    }

    /// Rows a second while somebody looked.
    pub(crate) fn rows_per_second(&self, looks: &Looks) -> f64 {
        let (from, to) = (looks.from_unix_ms, looks.to_unix_ms);
        float(self.between(from, to)) * 1000.0 / float(to - from)
    }

    /// The most rows of any span of this length.
    pub(crate) fn most_within(&self, span: Duration) -> u64 {
        let span = u64::try_from(span.as_millis()).expect("a short span");
        self.0.keys().map(|from| self.between(*from, from + span)).max().unwrap_or(0)
    }
}

/// A count as a figure to calculate with.
#[allow(clippy::cast_precision_loss)] // counts of tests are small
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
