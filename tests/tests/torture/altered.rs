//! Schemas that change while a backup reads: a table is dumped again or the backup fails by its name, and what was stored
//! restores rightly. What changes beside it disturbs nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::Cell;
use ringvault_tests::oracle::{KeyspaceSnapshot, Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::{Run, Workbench, as_strs};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::bytes::{bigint, int, text, tuple};
use ringvault_tests::samples::{large, load};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for version in [CassandraVersion::V5_0, CassandraVersion::V3_11] {
        let one = || ClusterSpec::one(version);
        let name = |what: &str| format!("{what}_on_{}", version.label());
        let test = |what: &str, change: Change| Test::new(name(what), move |t| during_a_backup(t, change)).on(one());
        let mut of_version = vec![
            test("a_column_added_during_a_backup_is_met", Change::AddColumn),
            test("a_field_added_during_a_backup_is_met", Change::AddField),
            test("a_table_created_during_a_backup_disturbs_nothing", Change::Unrelated),
        ];
        if version == CassandraVersion::V3_11 {
            of_version = of_version.into_iter().map(Test::long_only).collect();
        }
        tests.extend(of_version);
    }
    tests
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    AddColumn,
    AddField,
    Unrelated,
}

impl Change {
    fn statements(self) -> &'static [&'static str] {
        match self {
            Self::AddColumn => &["ALTER TABLE altered.typed ADD extra int"],
            Self::AddField => &["ALTER TYPE altered.place ADD country text"],
            Self::Unrelated => &[
                "CREATE TABLE altered_beside.other (id int PRIMARY KEY)",
                "CREATE TABLE altered.other (id int PRIMARY KEY)",
                "CREATE TYPE altered.unused (a int)",
            ],
        }
    }
}

const ROWS: i64 = 40_000;
/// A backup takes some seconds, and each table is read for a part of them.
const RATE: &str = "15000";
/// Chunks that are there when the schema changes.
const CHUNKS_BEFORE: usize = 3;
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

async fn make(cluster: &TestCluster) -> Result<()> {
    cluster.fresh_keyspace("altered_beside", 1).await?;
    large::keyspace(cluster, "altered", 1).await?;
    cluster
        .run(&[
            "CREATE TYPE altered.place (street text, number int)",
            "CREATE TABLE altered.typed (id bigint PRIMARY KEY, frozen_place frozen<place>, place place, v text)",
            "CREATE TABLE altered.plain (id bigint PRIMARY KEY, v text)",
        ])
        .await?;
    let place = |id: i64| tuple(&[Some(text(&format!("street {id}"))), i32::try_from(id).ok().map(int)]);
    let typed = |id: i64| -> Vec<Cell> {
        [bigint(id), place(id), place(id + 1), text(&format!("row {id}"))].map(Cell::Raw).to_vec()
    };
    let insert = "INSERT INTO altered.typed (id, frozen_place, place, v) VALUES (?, ?, ?, ?)";
    load(cluster.session(), insert, (0..ROWS).map(typed)).await?;
    let plain = |id: i64| -> Vec<Cell> { [bigint(id), text("plain")].map(Cell::Raw).to_vec() };
    load(cluster.session(), "INSERT INTO altered.plain (id, v) VALUES (?, ?)", (0..1000).map(plain)).await?;
    Ok(())
}

async fn during_a_backup(t: TestContext, change: Change) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let before = read_keyspace(cluster.session(), "altered").await?;
    let bench = Workbench::new(cluster)?;
    let words = bench.backup_words("altered", &["--rate", RATE, "--chunk-size", "1000", "--parallel", "1"]);
    let running = bench.start(&as_strs(&words))?;
    let begun = Instant::now();
    while bench.files("data/altered/typed")?.len() < CHUNKS_BEFORE {
        ensure!(begun.elapsed() < BEGUN_WITHIN, "no chunk of altered.typed appears");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.run(change.statements()).await?;
    let changed_after = bench.files("data/altered/typed")?.len();
    let run = running.wait(Duration::from_secs(300)).await?;
    let told = match run.code {
        Some(0) => "it went on".to_owned(),
        Some(1) if change != Change::Unrelated => {
            let message = run.clone().refused(1, &["conflict", "unavailable"], &["altered.typed"])?;
            bench.run(&as_strs(&words)).await?.expect(0).context("the same command, again")?;
            message
        }
        _ => anyhow::bail!("exit code {:?}: {run}", run.code),
    };
    t.note(format!("changed after {changed_after} chunks: {told}"));
    if change == Change::Unrelated {
        ensure!(run.figure("rows")? == before.rows(), "other rows: {run}");
        ensure!(warnings(&run) == 0, "an unrelated change is warned about: {run}");
    }
    let now = read_keyspace(cluster.session(), "altered").await?;
    bench.restore("altered", &["--drop", "--yes", "--pace", "full"]).await?;
    let after = read_keyspace(cluster.session(), "altered").await?;
    ensure_restored(change, &now, &after)?;
    bench.run(&["verify", &bench.repository_argument(), "--read-data"]).await?.expect(0)?;
    cluster.drop_keyspace("altered_beside").await?;
    cluster.drop_keyspace("altered").await
}

/// What was dumped is the tables as they are now: none was stored with columns that it had only before. A table that
/// appeared meanwhile may be in the backup or not.
fn ensure_restored(change: Change, now: &KeyspaceSnapshot, after: &KeyspaceSnapshot) -> Result<()> {
    let mut now = now.clone();
    if change == Change::Unrelated && !after.tables.contains_key("other") {
        now.tables.remove("other");
    }
    let compared = compare_keyspaces(&now, after, Scope::ValuesAndTimes);
    ensure!(compared.rows >= ROWS.unsigned_abs(), "too little was compared: {compared}");
    compared.ensure_equal()
}

fn warnings(run: &Run) -> usize {
    run.lines("warning").len()
}
