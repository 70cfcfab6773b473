//! One backup, another cluster: an older or a newer release, other options, another topology. A test of the first
//! release leaves the repository; a test of the second, whose cluster runs later, restores it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::{query_i64, query_raw};
use ringvault_tests::oracle::{Scope, TableSnapshot, compare_tables, read_table};
use ringvault_tests::product::{Workbench, files_below};
use ringvault_tests::python;
use ringvault_tests::runner::{Test, TestContext};

use super::proof::verify;
use super::stage::run;

/// How long a view may lag behind its table.
const VIEW_PATIENCE: Duration = Duration::from_secs(30);

/// Repositories left for a later cluster, with the tables as they were.
#[derive(Default)]
pub(crate) struct Handover {
    left: RefCell<BTreeMap<String, Rc<Left>>>,
}

/// One of them.
pub(crate) struct Left {
    pub(crate) bench: Workbench,
    pub(crate) tables: Vec<TableSnapshot>,
}

impl Handover {
    pub(crate) fn leave(&self, name: &str, bench: Workbench, tables: Vec<TableSnapshot>) {
        self.left.borrow_mut().insert(name.to_owned(), Rc::new(Left { bench, tables }));
    }

    pub(crate) fn take(&self, name: &str) -> Result<Rc<Left>> {
        self.left.borrow().get(name).cloned().with_context(|| {
            format!("no backup of {name}: the test of another release that leaves it did not run, or failed")
        })
    }
}

use CassandraVersion::{V3_11, V4_0, V4_1, V5_0};

type Step = fn(TestContext, Rc<Handover>) -> futures::future::LocalBoxFuture<'static, Result<()>>;

macro_rules! step {
    ($body:path) => {
        |t, handover| Box::pin(async move { $body(&t, &handover).await })
    };
}

/// What a release leaves and what it takes, in this order.
pub(crate) fn tests(version: CassandraVersion, handover: &Rc<Handover>) -> Vec<Test> {
    let mut steps: Vec<(&str, Step)> = Vec::new();
    match version {
        V3_11 => steps.extend([
            ("across_a_keyspace_of_3_11_is_left", step!(leave_old) as Step),
            ("across_options_and_data_centres_of_3_11_are_left", step!(leave_options)),
            ("across_a_compact_table_of_3_11_is_left", step!(leave_compact)),
        ]),
        V5_0 => steps.extend([
            ("across_3_11_to_5_0_gives_equal_rows_and_sums", step!(take_old) as Step),
            ("across_removed_options_are_left_out_with_a_warning_that_names_them", step!(take_options)),
            ("across_a_compact_table_is_restored_plain_or_refused_by_name", step!(take_compact)),
            ("across_a_keyspace_of_5_0_is_left", step!(leave_new)),
            ("across_a_table_with_a_vector_is_left", step!(leave_vector)),
        ]),
        V4_0 => steps.extend([
            ("across_5_0_to_4_0_gives_equal_rows_and_sums", step!(take_new) as Step),
            ("across_a_vector_is_refused_by_4_0_before_any_write", step!(refuse_vector)),
            ("across_an_expiry_after_2038_is_refused_before_any_write", step!(refuse_2038)),
        ]),
        V4_1 => steps.extend([
            ("across_5_0_to_4_1_gives_equal_rows_and_sums", step!(take_new) as Step),
            ("across_an_expiry_after_2038_is_refused_before_any_write", step!(refuse_2038)),
        ]),
    }
    let test = |(name, step): (&str, Step)| {
        let handover = Rc::clone(handover);
        let name = super::stage::named(name, version);
        Test::new(name, move |t| step(t, Rc::clone(&handover))).on(ClusterSpec::one(version))
    };
    steps.into_iter().map(test).collect()
}

/// What each release can hold.
const COMMON: &[&str] = &[
    "CREATE TYPE KS.inner (a int, b text)",
    "CREATE TYPE KS.outer (i frozen<inner>, l frozen<list<frozen<inner>>>)",
    "CREATE TABLE KS.plain (k int, c text, s text static, a int, b decimal, d duration, o frozen<outer>, f double, \
     PRIMARY KEY (k, c)) WITH CLUSTERING ORDER BY (c DESC) AND comment = 'it''s mine' AND gc_grace_seconds = 1234",
    "CREATE TABLE KS.collected (k int PRIMARY KEY, v int, m map<text, int>, st set<int>, l list<int>, u inner)",
    "CREATE TABLE KS.counted (k int PRIMARY KEY, n counter)",
    "CREATE TABLE KS.keyed (k int, c int, PRIMARY KEY (k, c))",
    "CREATE INDEX plain_a ON KS.plain (a)",
    "CREATE MATERIALIZED VIEW KS.by_v AS SELECT k, v FROM KS.collected WHERE v IS NOT NULL AND k IS NOT NULL \
     PRIMARY KEY (v, k)",
    "UPDATE KS.counted SET n = n + 9223372036854775807 WHERE k = 1",
    "UPDATE KS.counted SET n = n - 7 WHERE k = 2",
];

async fn fill(cluster: &TestCluster, keyspace: &str) -> Result<Vec<TableSnapshot>> {
    cluster.fresh_keyspace(keyspace, 1).await?;
    run(cluster, keyspace, COMMON).await?;
    let mut rows = Vec::new();
    for i in 0..150 {
        let (k, odd) = (i % 30, i % 7);
        rows.push(format!(
            "INSERT INTO KS.plain (k, c, s, a, b, d, o, f) VALUES ({k}, 'c {i}', 's', {odd}, {i}.50, 1mo{i}d, \
             {{i: {{a: {i}}}, l: [{{b: 'x'}}]}}, NaN) USING TIMESTAMP {}",
            1000 + i
        ));
        rows.push(format!(
            "INSERT INTO KS.collected (k, v, m, st, l, u) VALUES ({i}, {odd}, {{'a': {i}}}, {{{i}, 1}}, [{i}, {i}], \
             {{a: {i}, b: 'u'}}) USING TIMESTAMP {}",
            2000 + i
        ));
        rows.push(format!("INSERT INTO KS.keyed (k, c) VALUES ({k}, {i})"));
    }
    rows.push("UPDATE KS.plain USING TTL 864000 SET a = 77 WHERE k = 1 AND c = 'expires'".to_owned());
    rows.push("UPDATE KS.collected USING TIMESTAMP 9000 SET m = m + {'later': 1}, u.a = 5 WHERE k = 3".to_owned());
    run(cluster, keyspace, &rows).await?;
    read_all(cluster, keyspace).await
}

async fn read_all(cluster: &TestCluster, keyspace: &str) -> Result<Vec<TableSnapshot>> {
    let mut all = Vec::new();
    for table in ["plain", "collected", "counted", "keyed"] {
        all.push(read_table(cluster.session(), keyspace, table).await?);
    }
    Ok(all)
}

async fn leave(t: &TestContext, handover: &Handover, keyspace: &str) -> Result<()> {
    let cluster = t.cluster();
    let tables = fill(cluster, keyspace).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup(keyspace, &[]).await?;
    handover.leave(keyspace, bench, tables);
    cluster.drop_keyspace(keyspace).await
}

async fn leave_old(t: &TestContext, handover: &Handover) -> Result<()> {
    leave(t, handover, "fid_old").await
}

async fn leave_new(t: &TestContext, handover: &Handover) -> Result<()> {
    leave(t, handover, "fid_new").await
}

async fn take_old(t: &TestContext, handover: &Handover) -> Result<()> {
    take(t, handover, "fid_old", &[]).await
}

async fn take_new(t: &TestContext, handover: &Handover) -> Result<()> {
    take(t, handover, "fid_new", &[]).await
}

/// Restores, compares rows, times as far as the first release told them, and the sums of a backup made here.
pub(crate) async fn take(t: &TestContext, handover: &Handover, keyspace: &str, flags: &[&str]) -> Result<()> {
    let cluster = t.cluster();
    let left = handover.take(keyspace)?;
    cluster.drop_keyspace(keyspace).await?;
    let restore = left.bench.restore(keyspace, flags).await?;
    for (before, after) in left.tables.iter().zip(read_all(cluster, keyspace).await?) {
        // What the older of both tells of times: one of a cell, where the other tells them by element.
        let scope = if same_times(before, &after) { Scope::ValuesAndTimes } else { Scope::Values };
        compare_tables(before, &after, scope).ensure_equal()?;
    }
    let indexed = format!("SELECT k FROM {keyspace}.plain WHERE a = 77");
    ensure!(query_raw(cluster.session(), &indexed).await?.len() == 1, "the index does not answer");
    view_shows(cluster, keyspace, 150).await?;
    verify(&left.bench, cluster, &["--values-only"]).await?.expect(0)?;
    // The same rows give the same sums of values, whoever reads them.
    let fresh = Workbench::new(cluster)?;
    let again = fresh.backup(keyspace, &[]).await?;
    let first = sums(&left.bench, &restore.text("backup_id")?).await?;
    ensure!(first == sums(&fresh, &again.text("backup_id")?).await?, "the sums of values differ");
    t.note(format!(
        "{} tables, sums of values {:?}",
        first.len(),
        first.values().map(|sum| &sum[..8]).collect::<Vec<_>>()
    ));
    cluster.drop_keyspace(keyspace).await
}

/// Waits for a view: the server writes it behind the writes of its table, and on other nodes.
async fn view_shows(cluster: &TestCluster, keyspace: &str, rows: i64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let viewed = query_i64(cluster.session(), &format!("SELECT count(*) FROM {keyspace}.by_v")).await?;
        if viewed == rows {
            return Ok(());
        }
        ensure!(begun.elapsed() < VIEW_PATIENCE, "after {VIEW_PATIENCE:?} the view shows {viewed} of {rows} rows");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn same_times(before: &TableSnapshot, after: &TableSnapshot) -> bool {
    before.columns.iter().zip(&after.columns).all(|(b, a)| b.times == a.times)
}

/// Each table's sum over values, as its index ends with it, by another language's reading.
async fn sums(bench: &Workbench, backup_id: &str) -> Result<BTreeMap<String, String>> {
    let directory = bench.repository().join("backups").join(backup_id).join("tables");
    let mut all = BTreeMap::new();
    for (name, _) in files_below(&directory)? {
        let lines = python::json_lines(&directory.join(&name)).await?;
        let end = lines.last().context("an index has lines")?;
        let sum = end["end"]["value_sum"].as_str().with_context(|| format!("{name} ends with {end}"))?;
        all.insert(name, sum.to_owned());
    }
    ensure!(!all.is_empty(), "no index of {backup_id}");
    Ok(all)
}

async fn leave_options(t: &TestContext, handover: &Handover) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_options", 1).await?;
    let statements = [
        "CREATE TABLE KS.t (k int PRIMARY KEY, v int) WITH read_repair_chance = 0.5 AND dclocal_read_repair_chance = 0.25 \
         AND speculative_retry = '95PERCENTILE' AND comment = 'kept'",
        "INSERT INTO KS.t (k, v) VALUES (1, 1)",
    ];
    run(cluster, "fid_options", &statements).await?;
    let table = read_table(cluster.session(), "fid_options", "t").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_options", &[]).await?;
    handover.leave("fid_options", bench, vec![table]);
    // 3.11 takes any name for a data centre, and newer releases don't.
    let away = "ALTER KEYSPACE fid_options WITH replication = \
                {'class': 'NetworkTopologyStrategy', 'dc1': 1, 'gone': 2}";
    cluster.run(&[away]).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_options", &[]).await?;
    handover.leave("fid_away", bench, Vec::new());
    cluster.drop_keyspace("fid_options").await
}

async fn take_options(t: &TestContext, handover: &Handover) -> Result<()> {
    let cluster = t.cluster();
    let left = handover.take("fid_options")?;
    let restore = left.bench.restore("fid_options", &[]).await?;
    let warnings = restore.line("summary")?["warnings"].to_string();
    for option in ["dclocal_read_repair_chance", "read_repair_chance"] {
        ensure!(warnings.contains(option), "no warning names {option}: {warnings}");
    }
    let after = read_table(cluster.session(), "fid_options", "t").await?;
    compare_tables(&left.tables[0], &after, Scope::ValuesAndTimes).ensure_equal()?;
    let comment =
        query_raw(cluster.session(), "SELECT comment FROM system_schema.tables WHERE keyspace_name = 'fid_options'");
    ensure!(comment.await?[0][0].as_deref() == Some(b"kept"), "the options that are known were left out too");
    cluster.drop_keyspace("fid_options").await?;
    // The same keyspace, replicated to a data centre that isn't there.
    let away = handover.take("fid_away")?;
    let refused = away.bench.try_restore("fid_options", &[]).await?;
    t.note(refused.refused(1, &["invalid", "conflict", "not_found"], &["gone"])?);
    ensure!(read_table(cluster.session(), "fid_options", "t").await.is_err(), "a refused restore made a keyspace");
    away.bench.restore("fid_options", &["--replication", "{'class': 'NetworkTopologyStrategy', 'dc1': '1'}"]).await?;
    let after = read_table(cluster.session(), "fid_options", "t").await?;
    compare_tables(&left.tables[0], &after, Scope::ValuesAndTimes).ensure_equal()?;
    cluster.drop_keyspace("fid_options").await
}

async fn leave_compact(t: &TestContext, handover: &Handover) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_compact", 1).await?;
    let statements = [
        "CREATE TABLE KS.t (k int, c int, v int, PRIMARY KEY (k, c)) WITH COMPACT STORAGE",
        "INSERT INTO KS.t (k, c, v) VALUES (1, 1, 1)",
    ];
    run(cluster, "fid_compact", &statements).await?;
    let table = read_table(cluster.session(), "fid_compact", "t").await?;
    let bench = Workbench::new(cluster)?;
    let backup = bench.try_backup("fid_compact", &[]).await?;
    if backup.code == Some(0) {
        handover.leave("fid_compact", bench, vec![table]);
    } else {
        t.note(backup.refused(1, &["invalid", "conflict"], &["compact", "fid_compact.t"])?);
    }
    cluster.drop_keyspace("fid_compact").await
}

async fn take_compact(t: &TestContext, handover: &Handover) -> Result<()> {
    let Ok(left) = handover.take("fid_compact") else {
        t.note("3.11 refused to back the compact table up: nothing to restore");
        return Ok(());
    };
    let restore = left.bench.try_restore("fid_compact", &[]).await?;
    if restore.code != Some(0) {
        t.note(restore.refused(1, &["invalid", "conflict"], &["compact"])?);
        return Ok(());
    }
    let warnings = restore.line("summary")?["warnings"].to_string();
    ensure!(warnings.to_lowercase().contains("compact"), "no warning names the compact table: {warnings}");
    let after = read_table(t.cluster().session(), "fid_compact", "t").await?;
    compare_tables(&left.tables[0], &after, Scope::ValuesAndTimes).ensure_equal()?;
    t.cluster().drop_keyspace("fid_compact").await
}

async fn leave_vector(t: &TestContext, handover: &Handover) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_vector", 1).await?;
    let statements = [
        "CREATE TABLE KS.fine (k int PRIMARY KEY, v int)",
        "CREATE TABLE KS.pictures (k int PRIMARY KEY, embedding vector<float, 3>)",
        "INSERT INTO KS.fine (k, v) VALUES (1, 1)",
        "INSERT INTO KS.pictures (k, embedding) VALUES (1, [1, 2, 3])",
    ];
    run(cluster, "fid_vector", &statements).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_vector", &[]).await?;
    handover.leave("fid_vector", bench, Vec::new());
    cluster.drop_keyspace("fid_vector").await
}

async fn keyspace_stands(cluster: &TestCluster, keyspace: &str) -> Result<bool> {
    let query = format!("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'");
    Ok(!query_raw(cluster.session(), &query).await?.is_empty())
}

async fn refuse_vector(t: &TestContext, handover: &Handover) -> Result<()> {
    let left = handover.take("fid_vector")?;
    let run = left.bench.try_restore("fid_vector", &[]).await?;
    t.note(run.refused(1, &["invalid", "conflict"], &["vector", "pictures"])?);
    ensure!(!keyspace_stands(t.cluster(), "fid_vector").await?, "a refused restore made the keyspace");
    // The other tables of the backup are free to come.
    left.bench.restore("fid_vector", &["--tables", "fine"]).await?;
    t.cluster().drop_keyspace("fid_vector").await
}

async fn refuse_2038(t: &TestContext, handover: &Handover) -> Result<()> {
    let left = handover.take("fid_2046")?;
    let run = left.bench.try_restore("fid_2046", &[]).await?;
    t.note(run.refused(1, &["invalid", "conflict"], &["2038"])?);
    ensure!(!keyspace_stands(t.cluster(), "fid_2046").await?, "a refused restore made the keyspace");
    // Without their ends the rows can come.
    left.bench.restore("fid_2046", &["--ttl", "drop"]).await?;
    t.cluster().drop_keyspace("fid_2046").await
}
