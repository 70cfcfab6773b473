//! Backups and restores in turn while everything that was planned happens to those who do them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ringvault_tests::cassandra::TestCluster;
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::oracle::{KeyspaceSnapshot, Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::{Run, Running, Workbench, as_strs};
use ringvault_tests::proxy::Proxy;
use ringvault_tests::runner::{TestContext, say};

use crate::plan::{LEASE_TTL, plan};
use crate::strike::{Chaos, Tally};
use crate::tables;
use crate::work::{Mark, Work};

/// The seed of a run that names none.
const SEED: u64 = 20_261_122;
/// Kills and stops of processes, in the short form and in the long one.
const HITS: [usize; 2] = [9, 200];
/// Workers of the fleet, and assignments that each does at once.
const WORKERS: usize = 4;
const SLOTS: u32 = 2;
/// Rows of a chunk at most.
const CHUNK_ROWS: u64 = 500;
/// Chunks of a slot that are read and not recorded, at most, where the coordinator is out of reach: two that are being
/// stored, one that waits, one behind it. What a kill costs is measured in [`crate::cost`].
const CHUNKS_UNDER_WAY: u64 = 4;
/// Rows a second of a job: slow enough that what happens meets it at work.
const RATE: &str = "2500";
/// Events that may hit a backup, and a restore: a deck in all. A job that is hit for ever never ends.
const EVENTS: [usize; 2] = [6, 9];
/// A job that takes longer hangs.
const JOB_MAX: Duration = Duration::from_secs(600);
/// Rows of a small table; all are about twelve times as many.
const ROWS: i32 = 1_600;

pub(crate) async fn no_row_is_lost_or_doubled(t: TestContext) -> Result<()> {
    let named = std::env::var("RINGVAULT_CHAOS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = named.unwrap_or(SEED);
    let storm = storm(&t, seed, HITS[usize::from(t.long)]).await;
    storm.with_context(|| format!("RINGVAULT_CHAOS_SEED={seed}"))
}

/// What happened, and what was done twice because of it.
#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    backups: Tally,
    restores: Tally,
    leases_lost_of_backups: u64,
    leases_lost_of_restores: u64,
    backed_up_again: u64,
    restored_again: u64,
    verified_again: u64,
}

impl Balance {
    /// Rows that may be backed up again, and restored again.
    fn allowed(&self) -> [u64; 2] {
        let of = |tally: &Tally, leases_lost: u64| {
            let slots = tally.killed_workers * u64::from(SLOTS) + leases_lost;
            slots * CHUNKS_UNDER_WAY * CHUNK_ROWS
        };
        [of(&self.backups, self.leases_lost_of_backups), of(&self.restores, self.leases_lost_of_restores)]
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [backed_up, restored] = self.allowed();
        write!(
            f,
            "rows done again: {} backed up (at most {backed_up}), {} restored (at most {restored}), {} verified; leases \
             lost: {} and {}",
            self.backed_up_again,
            self.restored_again,
            self.verified_again,
            self.leases_lost_of_backups,
            self.leases_lost_of_restores,
        )
    }
}

async fn storm(t: &TestContext, seed: u64, hits: usize) -> Result<()> {
    let cluster = t.cluster();
    tables::make(cluster, "chaos", ROWS).await?;
    let before = read_keyspace(cluster.session(), "chaos").await?;
    let bench = Workbench::new(cluster)?;
    let mut spec = FleetSpec::new(&bench, WORKERS)?;
    let proxy = Proxy::start(spec.listen).await?;
    let url = format!("http://{}", proxy.address());
    spec.workers_call.clone_from(&url);
    spec.slots = SLOTS;
    spec.coordinator_settings = format!("lease_ttl = \"{}s\"", LEASE_TTL.as_secs());
    spec.worker_args = ["--log-level", "trace"].map(ToOwned::to_owned).to_vec();
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let steps = plan(seed, hits, WORKERS, cluster.spec().nodes);
    let mut storm = Storm { cluster, bench: &bench, fleet: &mut fleet, chaos: Chaos::new(steps, proxy), url };
    let (mut balance, mut rounds) = (Balance::default(), 0);
    while storm.chaos.left() > 0 {
        rounds += 1;
        storm.round(&before, rounds, &mut balance).await.with_context(|| format!("round {rounds}"))?;
        if t.long {
            say(&format!("seed {seed}, round {rounds}: {}; {balance}", storm.chaos.tally()));
        }
    }
    let tally = storm.chaos.tally();
    t.note(format!(
        "seed {seed}: {rounds} backups and restores of {} rows each: {tally}; 0 differences",
        before.rows()
    ));
    t.note(balance.to_string());
    tally.ensure_every_kind()?;
    ensure!(tally.hits() >= hits as u64, "only {tally}");
    for (what, hit) in [("backups", balance.backups), ("restores", balance.restores)] {
        ensure!(hit.hits() > 0, "nothing hit the {what}: {hit}");
    }
    let [backed_up, restored] = balance.allowed();
    ensure!(
        balance.backed_up_again <= backed_up && balance.restored_again <= restored,
        "too much was done again: {balance}"
    );
    fleet.stop().await?;
    cluster.drop_keyspace("chaos").await
}

struct Storm<'a, 'b> {
    cluster: &'a Arc<TestCluster>,
    bench: &'a Workbench,
    fleet: &'a mut Fleet<'b>,
    chaos: Chaos,
    url: String,
}

impl Storm<'_, '_> {
    /// A backup and a restore of it under another name, compared by hand.
    async fn round(&mut self, before: &KeyspaceSnapshot, round: u32, balance: &mut Balance) -> Result<()> {
        let rows = before.rows();
        let words = ["backup", "chaos", "main", "--fresh", "--parallel", "8"];
        let chunk_rows = CHUNK_ROWS.to_string();
        // Pages are smaller than chunks, as they are where nobody asks for small ones.
        let words = [&words[..], &["--chunk-size", &chunk_rows, "--fetch-size", "100"]].concat();
        let (run, tally, work) = self.job(&words, EVENTS[0]).await.context("backup")?;
        ensure!(run.figure("rows")? == rows, "the backup holds other rows: {run}");
        ensure!(work.encoded >= rows, "{} rows of {rows} were read", work.encoded);
        balance.backed_up_again += work.encoded - rows;
        balance.leases_lost_of_backups += work.leases_lost;
        balance.backups = balance.backups + tally;
        let copy = format!("chaos_copy{round}");
        let words = ["restore", "chaos", "main", "--keyspace-as", &copy, "--parallel", "8"];
        let (run, tally, work) = self.job(&words, EVENTS[1]).await.context("restore")?;
        ensure!(run.figure("rows")? == rows, "the restore wrote other rows: {run}");
        ensure!(work.written >= rows && work.encoded >= rows, "{work:?} of {rows} rows");
        balance.restored_again += work.written - rows;
        balance.verified_again += work.encoded - rows;
        balance.leases_lost_of_restores += work.leases_lost;
        balance.restores = balance.restores + tally;
        let after = read_keyspace(self.cluster.session(), &copy).await?;
        compare_keyspaces(before, &after, Scope::ValuesAndTimes).ensure_equal()?;
        self.cluster.drop_keyspace(&copy).await
    }

    /// Submits a job and lets at most so many events happen until it has ended; then all is calm again.
    async fn job(&mut self, words: &[&str], events: usize) -> Result<(Run, Tally, Work)> {
        let (tally, mark, left) = (self.chaos.tally(), Mark::now(self.fleet), self.chaos.left());
        let run = self.under_chaos(words, left.saturating_sub(events)).await;
        let run = run.with_context(|| format!("{} after {}", words.join(" "), self.chaos.tally() - tally))?;
        self.chaos.calm(self.fleet).await?;
        Ok((run, self.chaos.tally() - tally, mark.work_since()?))
    }

    /// The client may meet a coordinator that is down when it submits; the same command again is the same job. What watches
    /// a job must survive everything.
    async fn under_chaos(&mut self, words: &[&str], leave: usize) -> Result<Run> {
        let more =
            ["--coordinator", &self.url, "--cluster", "prod", "--patience", "5m", "--rate", RATE, "--pace", "full"];
        let mut arguments: Vec<String> = words.iter().chain(&more).map(ToString::to_string).collect();
        let deadline = tokio::time::Instant::now() + JOB_MAX;
        let mut client = self.bench.start(&as_strs(&arguments))?;
        loop {
            if self.chaos.left() > leave {
                tokio::select! {
                    () = ended(&mut client) => {}
                    () = self.chaos.pause() => {
                        self.chaos.strike(self.cluster, self.fleet).await?;
                        continue;
                    }
                }
            } else {
                // What was stopped must not stay so for the rest of the job.
                self.chaos.calm(self.fleet).await?;
            }
            let run = client.wait(deadline.saturating_duration_since(tokio::time::Instant::now())).await?;
            let submitted = run.line("submitted").is_ok();
            match run.code {
                Some(0) => return Ok(run),
                Some(_) if !submitted && is_unreachable(&run) => {
                    // Only the first call may start over.
                    arguments.retain(|word| word != "--fresh");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    client = self.bench.start(&as_strs(&arguments))?;
                }
                _ => bail!("the job ended otherwise: {run}"),
            }
        }
    }
}

fn is_unreachable(run: &Run) -> bool {
    run.line("error").is_ok_and(|error| error["kind"] == "unavailable")
}

async fn ended(client: &mut Running) {
    while !client.ended().unwrap_or(true) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
