//! What a running fleet tells about itself: one trace from the client's submission to the worker's chunk, metrics for
//! Prometheus and OTLP, logs as JSON; and that telling disturbs nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::collector::{Collector, Span};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::{Run, Workbench, as_strs};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long a process may take to send what it has to tell.
const PATIENCE: Duration = Duration::from_secs(30);
/// Rows of the table that is backed up; of so many bytes that it has a segment for each slot and more.
const ROWS: u64 = 4_000;
/// Bytes of each row.
const ROW_BYTES: usize = 8 << 10;
/// Stands in a cell of it, and nowhere in what is told.
const CANARY: &str = "canary-in-a-cell-7f3a";

pub(crate) fn tests() -> Vec<Test> {
    let node = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("a_backup_is_one_trace_from_the_client_to_the_chunk", one_trace).on(node()),
        Test::new("an_embedded_backup_tells_its_whole_trace", embedded_trace).on(node()),
        Test::new("what_operators_alert_on_is_served_to_prometheus", prometheus).on(node()),
        Test::new("a_collector_that_is_down_disturbs_nothing", collector_is_down).on(node()),
    ]
}

/// A keyspace with [`ROWS`] rows and one more that holds the canary.
async fn made(cluster: &TestCluster, keyspace: &str) -> Result<()> {
    large::keyspace(cluster, keyspace, 1).await?;
    large::long_rows(cluster, keyspace, ROWS, ROW_BYTES).await?;
    let table = format!("CREATE TABLE {keyspace}.canary (id text PRIMARY KEY, told text)");
    let row = format!("INSERT INTO {keyspace}.canary (id, told) VALUES ('{CANARY}', '{CANARY}')");
    cluster.run(&[&table, &row]).await
}

/// A coordinator and two workers of one slot that tell all they can.
async fn telling_fleet<'b>(cluster: &TestCluster, bench: &'b Workbench, endpoint: &str) -> Result<Fleet<'b>> {
    let telling =
        format!("[telemetry]\notlp_endpoint = {endpoint:?}\nmetrics_listen = \"127.0.0.1:0\"\nlog_format = \"json\"\n");
    let spec = FleetSpec {
        slots: 1,
        coordinator_settings: telling.clone(),
        worker_settings: telling,
        ..FleetSpec::new(bench, 2)?
    };
    Fleet::start(cluster, bench, spec).await
}

/// A backup by a fleet, slow enough that each worker has its part of it.
fn backup_words(fleet: &Fleet<'_>, keyspace: &str, more: &[&str]) -> Vec<String> {
    let words = ["backup", keyspace, "main", "--cluster", "prod", "--shards", "8", "--rate", "1000"];
    let words = words.iter().chain(more).map(|word| (*word).to_owned());
    words.chain(fleet.client_words()).collect()
}

async fn one_trace(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    made(cluster, "traced").await?;
    let (bench, collector) = (Workbench::new(cluster)?, Collector::start().await?);
    let fleet = telling_fleet(cluster, &bench, collector.endpoint()).await?;
    let words = backup_words(&fleet, "traced", &["--otlp-endpoint", collector.endpoint()]);
    let backup = bench.run(&as_strs(&words)).await?.expect(0)?;
    let (job, trace_id) = submitted(&backup)?;
    let told = collector.wait(PATIENCE, |spans| Trace::of(spans, &trace_id)?.whole(&job)).await?;
    t.note(told);
    let trace = Trace::of(&collector.spans(), &trace_id)?;
    let workers: BTreeSet<&str> = trace.named("shard").map(|span| span.instance.as_str()).collect();
    ensure!(workers == BTreeSet::from(["w1", "w2"]), "shards of workers {workers:?} and not of both");
    let mut calls = trace.0.iter().filter(|span| span.name.starts_with("ringvault.v1."));
    ensure!(calls.all(|call| call.service == "ringvault-coordinator"), "only a coordinator serves");

    // a restore is a trace of its own
    let endpoint = collector.endpoint();
    let restore = ["restore", "traced", "main", "--cluster", "prod", "--drop", "--yes", "--otlp-endpoint", endpoint];
    let restore: Vec<String> = restore.map(ToOwned::to_owned).into_iter().chain(fleet.client_words()).collect();
    let (job, again) = submitted(&bench.run(&as_strs(&restore)).await?.expect(0)?)?;
    ensure!(again != trace_id, "both jobs have the trace {again}");
    collector.wait(PATIENCE, |spans| Trace::of(spans, &again)?.whole(&job)).await?;

    // structured logs carry the spans' fields
    for name in ["coordinator", "w1", "w2"] {
        let log = fleet.log(name);
        let broken = log.lines().find(|line| line.starts_with('{') && serde_json::from_str::<Value>(line).is_err());
        ensure!(broken.is_none(), "{name} wrote {broken:?}");
        ensure!(log.lines().any(|line| line.starts_with('{')), "{name} wrote no JSON: {log}");
        ensure!(!log.contains(CANARY), "{name} logged a cell");
    }
    fleet.stop().await?;
    let metrics = collector.metrics("ringvault-worker");
    for name in ["ringvault_rows_total", "ringvault_page_seconds", "ringvault_chunks_total"] {
        ensure!(metrics.contains(name), "no {name} by OTLP: {metrics:?}");
    }
    let metrics = collector.metrics("ringvault-coordinator");
    ensure!(metrics.contains("ringvault_last_success_age_seconds"), "no age by OTLP: {metrics:?}");
    ensure!(!collector.text().contains(CANARY), "a cell was told to the collector");
    cluster.drop_keyspace("traced").await
}

async fn embedded_trace(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    made(cluster, "alone").await?;
    let (bench, collector) = (Workbench::new(cluster)?, Collector::start().await?);
    let backup = bench.backup("alone", &["--otlp-endpoint", collector.endpoint()]).await?;
    let (job, trace_id) = submitted(&backup)?;
    // the command has ended, so all that it had to tell has come
    let trace = Trace::of(&collector.spans(), &trace_id)?;
    trace.whole(&job)?;
    ensure!(trace.0.iter().all(|span| span.service == "ringvault-client"), "one process, one service");
    ensure!(!collector.text().contains(CANARY), "a cell was told to the collector");
    cluster.drop_keyspace("alone").await
}

async fn prometheus(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    made(cluster, "scraped").await?;
    let (bench, collector) = (Workbench::new(cluster)?, Collector::start().await?);
    let fleet = telling_fleet(cluster, &bench, collector.endpoint()).await?;
    let coordinator = served(&fleet, "coordinator")?;
    let workers = [served(&fleet, "w1")?, served(&fleet, "w2")?];
    ensure!(ask(coordinator, "/health").await?.0 == 200, "no health");
    ensure!(ask(coordinator, "/secrets").await?.0 == 404, "a page that is none");

    let backup = bench.start(&as_strs(&backup_words(&fleet, "scraped", &[])))?;
    until("a running job", coordinator, |told| {
        let one = |name, labels| told.value(name, labels) == Some(1.0);
        one("ringvault_jobs", "state=\"running\"")
            && told.value("ringvault_workers", "") == Some(2.0)
            && told.value("ringvault_slots", "") == Some(2.0)
            && told.value("ringvault_leases", "").is_some_and(|leases| leases >= 1.0)
            && told.value("ringvault_lag_bytes", "job=").is_some()
            && told.value("ringvault_job_stuck", "job=") == Some(0.0)
    })
    .await?;
    until("a busy slot", workers[0], |told| {
        told.value("ringvault_slots_busy", "") == Some(1.0) && told.value("ringvault_worker_slots", "") == Some(1.0)
    })
    .await?;
    let backup = backup.wait(Duration::from_secs(300)).await?.expect(0)?;
    let rows = backup.figure("rows")?;
    ensure!(rows == ROWS + 1, "other rows: {backup}");

    let mut counted = 0.0;
    for worker in workers {
        let told = Told::of(worker).await?;
        counted += told.value("ringvault_rows_total", "direction=\"backup\"").context("no rows of a worker")?;
        for (name, labels) in [
            ("ringvault_bytes_total", "direction=\"backup\""),
            ("ringvault_chunks_total", "outcome=\"stored\""),
            ("ringvault_page_seconds_count", ""),
            ("ringvault_throttled_seconds_total", "cause=\"rate\""),
        ] {
            ensure!(told.value(name, labels).is_some_and(|value| value > 0.0), "no {name} {labels}: {told:?}");
        }
    }
    #[allow(clippy::cast_precision_loss)] // some ten thousand
    let rows = rows as f64;
    ensure!((counted - rows).abs() < 0.5, "the workers count {counted} rows, the table has {rows}");
    until("the last success", coordinator, |told| {
        let age = told.value("ringvault_last_success_age_seconds", "keyspace=\"scraped\"");
        age.is_some_and(|age| age < 300.0)
            && told.value("ringvault_jobs", "state=\"done\"") == Some(1.0)
            && told.value("ringvault_jobs", "state=\"running\"") == Some(0.0)
            && told.value("ringvault_leases", "") == Some(0.0)
            && told.value("ringvault_lease_lapses_total", "") == Some(0.0)
            && told.value("ringvault_job_stuck", "job=").is_none()
    })
    .await?;
    for address in [coordinator, workers[0], workers[1]] {
        let (_, text) = ask(address, "/metrics").await?;
        ensure!(!text.contains(CANARY), "a cell in the metrics");
    }
    fleet.stop().await?;
    cluster.drop_keyspace("scraped").await
}

async fn collector_is_down(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    made(cluster, "untold").await?;
    let bench = Workbench::new(cluster)?;
    let nobody = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let fleet = telling_fleet(cluster, &bench, &nobody).await?;
    let words = backup_words(&fleet, "untold", &["--otlp-endpoint", &nobody]);
    let backup = bench.run(&as_strs(&words)).await?.expect(0)?;
    ensure!(backup.figure("rows")? == ROWS + 1, "other rows: {backup}");
    let told = |text: &str| text.matches("can't be sent").count();
    ensure!(told(&backup.stderr) <= 1, "the client warns more than once: {backup}");
    for name in ["coordinator", "w1", "w2"] {
        let begun = Instant::now();
        while told(&fleet.log(name)) == 0 && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ensure!(told(&fleet.log(name)) == 1, "{name} warns {} times", told(&fleet.log(name)));
    }
    fleet.stop().await?;
    cluster.drop_keyspace("untold").await
}

/// Job and trace that a command was told when it submitted.
fn submitted(run: &Run) -> Result<(String, String)> {
    let line = run.line("submitted")?;
    let text = |name: &str| line[name].as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let job = text("job_id").with_context(|| format!("no job_id in {line}"))?;
    Ok((job, text("trace_id").with_context(|| format!("no trace_id in {line}"))?))
}

/// The spans of one trace.
#[derive(Debug)]
struct Trace(Vec<Span>);

impl Trace {
    fn of(spans: &[Span], trace_id: &str) -> Result<Self> {
        let spans: Vec<Span> = spans.iter().filter(|span| span.trace_id == trace_id).cloned().collect();
        ensure!(!spans.is_empty(), "no span of the trace {trace_id} came");
        Ok(Self(spans))
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Span> {
        self.0.iter().filter(move |span| span.name == name)
    }

    /// A span and all above it, upwards: `service:name`.
    fn above(&self, span: &Span) -> Result<Vec<String>> {
        let label = |span: &Span| format!("{}:{}", span.service.trim_start_matches("ringvault-"), span.name);
        let (mut chain, mut at) = (vec![label(span)], span);
        while !at.parent_id.is_empty() {
            let parent = self.0.iter().find(|span| span.span_id == at.parent_id);
            at = parent.with_context(|| format!("the parent of {at:?} has not come"))?;
            chain.push(label(at));
            ensure!(chain.len() < 20, "a circle: {chain:?}");
        }
        Ok(chain)
    }

    /// Every span has its parents up to the one submission of the client, and the chunks of the job have segment, shard and
    /// the coordinator's submission between. Gives the chain of a chunk.
    fn whole(&self, job: &str) -> Result<String> {
        let roots: Vec<&Span> = self.0.iter().filter(|span| span.parent_id.is_empty()).collect();
        let [root] = roots[..] else { bail!("{} first spans: {roots:?}", roots.len()) };
        ensure!(root.name == "submit" && root.service == "ringvault-client", "it begins with {root:?}");
        for span in &self.0 {
            self.above(span)?;
        }
        let shards: Vec<&Span> = self.named("shard").collect();
        let of_job = |span: &&Span| span.attributes.get("job").is_some_and(|named| named == job);
        ensure!(!shards.is_empty() && shards.iter().all(of_job), "shards of another job: {shards:?}");
        let wanted = ["chunk", "segment", "shard", "submit", "ringvault.v1.Admin/Submit", "submit"];
        let mut told = String::new();
        for chunk in self.named("chunk") {
            let chain = self.above(chunk)?;
            let names: Vec<&str> =
                chain.iter().filter_map(|label| label.split_once(':')).map(|(_, name)| name).collect();
            ensure!(names == wanted, "a chunk below {chain:?}");
            told = chain.join(" < ");
        }
        ensure!(!told.is_empty(), "no chunk has come");
        Ok(format!("{} spans: {told}", self.0.len()))
    }
}

/// Where a process of a fleet serves its metrics, as its log says.
fn served(fleet: &Fleet<'_>, name: &str) -> Result<SocketAddr> {
    let log = fleet.log(name);
    let (_, behind) = log.split_once("metrics are served at http://").with_context(|| format!("{name} says {log}"))?;
    let (address, _) = behind.split_once("/metrics").context("the address of a page")?;
    Ok(address.parse()?)
}

/// Status and text of a page.
async fn ask(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, text) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a head without a status")?;
    Ok((status, text.to_owned()))
}

/// What a process tells a Prometheus server.
#[derive(Debug)]
struct Told(Vec<(String, f64)>);

impl Told {
    async fn of(address: SocketAddr) -> Result<Self> {
        let (status, text) = ask(address, "/metrics").await?;
        ensure!(status == 200, "{status}: {text}");
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Ok(Self(samples.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect()))
    }

    /// Of the first series of this name whose labels hold these words.
    fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let of = |series: &str| series.split('{').next() == Some(name) && series.contains(labels);
        self.0.iter().find(|(series, _)| of(series)).map(|(_, value)| *value)
    }
}

/// Scrapes until a process tells what is waited for.
async fn until(what: &str, address: SocketAddr, whole: impl Fn(&Told) -> bool) -> Result<()> {
    let begun = Instant::now();
    loop {
        let told = Told::of(address).await?;
        if whole(&told) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "no word of {what} within {PATIENCE:?}: {told:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
