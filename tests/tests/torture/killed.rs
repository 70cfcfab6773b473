//! Restores of lists and counters that are killed at any moment and go on: what can't be written twice is there once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{Rng as _, SeedableRng as _};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::Cell;
use ringvault_tests::oracle::{KeyspaceSnapshot, Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::{Run, Workbench, as_strs};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::bytes::{bigint, int, list, text};
use ringvault_tests::samples::{large, load};

use crate::generated::seeds_or;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("killed_restores_of_lists_go_on", |t| kill_and_go_on(t, Kind::Lists)).on(newest()),
        // A restore that comes behind a killed one waits twice this long for increments that may be under way.
        Test::new("killed_restores_of_counters_go_on", |t| kill_and_go_on(t, Kind::Counters))
            .on(newest().with_setting("counter_write_request_timeout", "2000ms")),
    ]
}

const ROWS: i32 = 8000;
const ROWS_A_PARTITION: i32 = 20;
/// Rows a second of the restores: slow enough that a kill meets them at work.
const RATE: &str = "4000";
/// A process that was killed is gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
enum Kind {
    Lists,
    Counters,
}

impl Kind {
    fn keyspace(self) -> &'static str {
        match self {
            Self::Lists => "killed_lists",
            Self::Counters => "killed_counters",
        }
    }

    async fn load(self, cluster: &TestCluster) -> Result<()> {
        large::keyspace(cluster, self.keyspace(), 1).await?;
        match self {
            Self::Lists => lists(cluster).await,
            Self::Counters => counters(cluster).await,
        }
    }
}

fn key(row: i32) -> [Cell; 2] {
    [int(row / ROWS_A_PARTITION).into(), int(row % ROWS_A_PARTITION).into()]
}

/// Lists written at once and element by element, as statics and regular columns, beside other columns.
async fn lists(cluster: &TestCluster) -> Result<()> {
    let create = "CREATE TABLE killed_lists.t (pk int, ck int, s list<int> static, l list<text>, e list<int>, v text, \
                  PRIMARY KEY (pk, ck))";
    cluster.run(&[create]).await?;
    let session = cluster.session();
    let row = |row: i32| -> Vec<Cell> {
        let elements: Vec<Vec<u8>> = (0..row % 5).map(|at| text(&format!("{row} {at}"))).collect();
        key(row).into_iter().chain([list(&elements).into(), text(&format!("row {row}")).into()]).collect()
    };
    load(session, "INSERT INTO killed_lists.t (pk, ck, l, v) VALUES (?, ?, ?, ?)", (0..ROWS).map(row)).await?;
    for turn in 0..2 {
        let more =
            |row: i32| -> Vec<Cell> { std::iter::once(list(&[int(turn), int(row)]).into()).chain(key(row)).collect() };
        let update = "UPDATE killed_lists.t SET e = e + ? WHERE pk = ? AND ck = ?";
        load(session, update, (0..ROWS).step_by(2).map(more)).await?;
    }
    let statics = |partition: i32| vec![list(&[int(partition), int(7)]).into(), int(partition).into()];
    load(session, "UPDATE killed_lists.t SET s = ? WHERE pk = ?", (0..ROWS / ROWS_A_PARTITION).map(statics)).await?;
    Ok(())
}

/// Counters, static ones too, some never counted.
async fn counters(cluster: &TestCluster) -> Result<()> {
    let create = "CREATE TABLE killed_counters.t (pk int, ck int, s counter static, a counter, b counter, \
                  PRIMARY KEY (pk, ck))";
    cluster.run(&[create]).await?;
    let session = cluster.session();
    for (column, step) in [("a", 1_usize), ("b", 3)] {
        let count = |row: i32| -> Vec<Cell> {
            std::iter::once(bigint(i64::from(row) * 7919 - 1_000_000).into()).chain(key(row)).collect()
        };
        let update = format!("UPDATE killed_counters.t SET {column} = {column} + ? WHERE pk = ? AND ck = ?");
        load(session, &update, (0..ROWS).step_by(step).map(count)).await?;
    }
    let statics = |partition: i32| vec![bigint(1 << 40).into(), int(partition).into()];
    let update = "UPDATE killed_counters.t SET s = s + ? WHERE pk = ?";
    load(session, update, (0..ROWS / ROWS_A_PARTITION).map(statics)).await?;
    Ok(())
}

async fn kill_and_go_on(t: TestContext, kind: Kind) -> Result<()> {
    let cluster = t.cluster();
    let keyspace = kind.keyspace();
    kind.load(cluster).await?;
    let before = read_keyspace(cluster.session(), keyspace).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup(keyspace, &["--pace", "full", "--chunk-size", "500"]).await?;
    cluster.drop_keyspace(keyspace).await?;
    let whole = bench.restore(keyspace, &["--rate", RATE]).await?.elapsed;
    let rounds = if t.long { 25 } else { 2 };
    let seeds = seeds_or(0..rounds);
    let (mut kills, mut resumed) = (0, 0);
    for seed in seeds {
        cluster.drop_keyspace(keyspace).await?;
        let told = round(cluster, &bench, &before, keyspace, seed, whole).await;
        let told = told.with_context(|| format!("RINGVAULT_TORTURE_SEED={seed}"))?;
        kills += told.0;
        resumed += u32::from(told.1);
    }
    ensure!(kills > 0, "no kill met a restore at work");
    t.note(format!("{kills} kills met a restore at work, {resumed} restores went on; a whole one takes {whole:.1?}"));
    cluster.drop_keyspace(keyspace).await
}

/// Kills a restore one to three times, runs it to its end, compares. How many kills met it, and whether it was resumed.
async fn round(
    cluster: &TestCluster,
    bench: &Workbench,
    before: &KeyspaceSnapshot,
    keyspace: &str,
    seed: u64,
    whole: Duration,
) -> Result<(u32, bool)> {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let words = bench.restore_words(keyspace, &["--rate", RATE]);
    let mut kills = 0;
    for _ in 0..random.random_range(1..4) {
        let running = bench.start(&as_strs(&words))?;
        tokio::time::sleep(whole.mul_f64(random.random_range(0.1..0.9))).await;
        running.signal("KILL").await.ok();
        let run = running.wait(GONE_WITHIN).await?;
        match run.code {
            None => kills += 1,
            // It was faster, as a resumed one may be; to run it again would be another restore.
            Some(0) => {
                let resumed = is_resumed(&run)?;
                compare(cluster, before, keyspace).await.with_context(|| format!("after {run}"))?;
                return Ok((kills, resumed));
            }
            Some(_) => anyhow::bail!("it failed before it was killed: {run}"),
        }
    }
    let last = bench.run(&as_strs(&words)).await?.expect(0)?;
    let resumed = is_resumed(&last)?;
    compare(cluster, before, keyspace).await.with_context(|| format!("after {last}"))?;
    Ok((kills, resumed))
}

fn is_resumed(run: &Run) -> Result<bool> {
    Ok(run.line("submitted")?["resumed"] == true)
}

async fn compare(cluster: &TestCluster, before: &KeyspaceSnapshot, keyspace: &str) -> Result<()> {
    let after = read_keyspace(cluster.session(), keyspace).await?;
    let compared = compare_keyspaces(before, &after, Scope::ValuesAndTimes);
    ensure!(compared.rows > 0, "nothing was compared");
    compared.ensure_equal()
}
