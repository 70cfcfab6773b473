//! "Proof": a comparison sees what is lost, and only that.

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::{query_i64, query_raw};
use ringvault_tests::oracle::{Scope, TableSnapshot, compare_tables, read_table};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};

use super::stage::{named, run};

pub(crate) fn tests(version: CassandraVersion) -> Vec<Test> {
    let on = |test: Test| test.on(ClusterSpec::one(version));
    vec![
        on(Test::new(named("two_sums_find_lost_times_that_sums_of_values_miss", version), lost_times)),
        on(Test::new(named("rows_hidden_by_newer_tombstones_are_a_mismatch_with_the_remedy", version), hidden_rows)),
        on(Test::new(named("append_and_only_missing_are_compared_with_what_was_sent", version), other_rows)),
        on(Test::new(named("an_unaligned_token_range_is_compared_with_what_was_sent", version), unaligned_range)),
        on(Test::new(named("one_changed_missing_or_added_row_is_found_and_counted", version), each_difference)),
        on(Test::new(named("values_only_is_the_users_choice_and_declared", version), values_only)),
    ]
}

/// `verify REPOSITORY --against-cluster`, whatever comes of it.
pub(crate) async fn verify(bench: &Workbench, cluster: &TestCluster, more: &[&str]) -> Result<Run> {
    let (hosts, port, repository) = (cluster.hosts(), cluster.port().to_string(), bench.repository_argument());
    let words = ["verify", &repository, "--against-cluster", "--hosts", &hosts, "--port", &port];
    bench.run(&[&words[..], more].concat()).await
}

/// Makes `t` of 200 rows, written at 1000.
pub(crate) async fn two_hundred(cluster: &TestCluster, keyspace: &str) -> Result<TableSnapshot> {
    cluster.fresh_keyspace(keyspace, 1).await?;
    run(cluster, keyspace, &["CREATE TABLE KS.t (k int, c int, v text, m map<text, int>, PRIMARY KEY (k, c))"]).await?;
    fill(cluster, keyspace, 0..200).await?;
    read_table(cluster.session(), keyspace, "t").await
}

async fn fill(cluster: &TestCluster, keyspace: &str, rows: std::ops::Range<i32>) -> Result<()> {
    let insert = |i: i32| format!("INSERT INTO KS.t (k, c, v) VALUES ({}, {i}, 'v {i}') USING TIMESTAMP 1000", i % 50);
    run(cluster, keyspace, &rows.map(insert).collect::<Vec<_>>()).await
}

async fn same_as(cluster: &TestCluster, before: &TableSnapshot, scope: Scope) -> Result<()> {
    let now = read_table(cluster.session(), &before.keyspace, &before.table).await?;
    compare_tables(before, &now, scope).ensure_equal()
}

async fn lost_times(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    two_hundred(cluster, "fid_times").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_times", &[]).await?;
    verify(&bench, cluster, &[]).await?.expect(0)?;
    // The same values at another time.
    run(cluster, "fid_times", &["INSERT INTO KS.t (k, c, v) VALUES (7, 7, 'v 7') USING TIMESTAMP 1001"]).await?;
    verify(&bench, cluster, &["--values-only"]).await?.expect(0)?;
    let found = verify(&bench, cluster, &[]).await?.expect(3)?;
    ensure!(!found.stdout.contains("v 7"), "a cell's value is shown: {found}");
    cluster.drop_keyspace("fid_times").await
}

async fn hidden_rows(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_hidden").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_hidden", &[]).await?;
    run(cluster, "fid_hidden", &["DELETE FROM KS.t WHERE k = 7"]).await?;
    // Every write succeeds and shows nothing.
    let restore = bench.try_restore("fid_hidden", &["--if-exists", "append"]).await?.expect(3)?;
    let said = format!("{}{}", restore.stdout, restore.stderr);
    ensure!(said.contains("--timestamps now"), "the remedy is not named: {restore}");
    ensure!(query_i64(cluster.session(), "SELECT count(*) FROM fid_hidden.t WHERE k = 7").await? == 0, "not hidden");
    bench.restore("fid_hidden", &["--if-exists", "append", "--timestamps", "now"]).await?;
    same_as(cluster, &before, Scope::Values).await?;
    cluster.drop_keyspace("fid_hidden").await
}

async fn other_rows(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_others").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_others", &[]).await?;
    for mode in ["only-missing", "append"] {
        // Half of the rows stand there; one has an older cell, one a newer one, one is no part of the backup, one is half
        // of what it was.
        two_hundred(cluster, "fid_others").await?;
        cluster.run(&["TRUNCATE fid_others.t"]).await?;
        fill(cluster, "fid_others", 0..100).await?;
        let newer = "UPDATE KS.t USING TIMESTAMP 2000 SET m = m + {'newer': 1} WHERE k = 1 AND c = 1";
        let strange = "INSERT INTO KS.t (k, c, v) VALUES (1000, 1, 'strange') USING TIMESTAMP 1000";
        run(cluster, "fid_others", &[newer, strange]).await?;
        let restore = bench.restore("fid_others", &["--if-exists", mode]).await?;
        let skipped = restore.figure("rows_skipped")?;
        let rows = query_i64(cluster.session(), "SELECT count(*) FROM fid_others.t").await?;
        ensure!(rows == 201, "{rows} rows after {mode}");
        let kept = query_raw(cluster.session(), "SELECT v, m FROM fid_others.t WHERE k = 1 AND c = 1").await?;
        ensure!(kept[0].iter().all(Option::is_some), "{mode} took away what stood there: {kept:?}");
        ensure!((skipped > 0) == (mode == "only-missing"), "{skipped} rows were skipped by {mode}: {restore}");
    }
    run(cluster, "fid_others", &["DELETE FROM KS.t WHERE k = 1000", "DELETE m FROM KS.t WHERE k = 1 AND c = 1"])
        .await?;
    same_as(cluster, &before, Scope::ValuesAndTimes).await?;
    cluster.drop_keyspace("fid_others").await
}

async fn unaligned_range(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_range").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_range", &[]).await?;
    let (start, end) = (-3_333_333_333_333_333_333_i64, 4_444_444_444_444_444_443_i64);
    let range = format!("{start}:{end}");
    let inside = format!("SELECT count(*) FROM fid_range.t WHERE token(k) > {start} AND token(k) <= {end}");
    let rows = query_i64(cluster.session(), &inside).await?;
    cluster.drop_keyspace("fid_range").await?;
    bench.restore("fid_range", &["--token-range", &range]).await?;
    let all = query_i64(cluster.session(), "SELECT count(*) FROM fid_range.t").await?;
    ensure!(rows == all && rows > 0 && rows < 200, "{all} rows were restored, {rows} lie in the range");
    ensure!(query_i64(cluster.session(), &inside).await? == rows, "rows of outside were restored");
    // Compared whole, the rest is missing; compared by the range, nothing is.
    verify(&bench, cluster, &["--token-range", &range]).await?.expect(0)?;
    verify(&bench, cluster, &[]).await?.expect(3)?;
    // The rest beside it, over the ring's end.
    bench.restore("fid_range", &["--token-range", &format!("{end}:{start}"), "--if-exists", "append"]).await?;
    same_as(cluster, &before, Scope::ValuesAndTimes).await?;
    cluster.drop_keyspace("fid_range").await
}

async fn each_difference(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    two_hundred(cluster, "fid_differs").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_differs", &[]).await?;
    let changes = [
        ("a changed value", "UPDATE KS.t USING TIMESTAMP 1000 SET v = 'x' WHERE k = 3 AND c = 3"),
        ("a changed time", "UPDATE KS.t USING TIMESTAMP 1001 SET v = 'v 3' WHERE k = 3 AND c = 3"),
        ("an element more", "UPDATE KS.t USING TIMESTAMP 1000 SET m = m + {'x': 1} WHERE k = 3 AND c = 3"),
        ("a row less", "DELETE FROM KS.t WHERE k = 3 AND c = 3"),
        ("a row more", "INSERT INTO KS.t (k, c, v) VALUES (3, 1000, '') USING TIMESTAMP 1000"),
        ("a row of only a key more", "INSERT INTO KS.t (k, c) VALUES (3, 1000)"),
    ];
    verify(&bench, cluster, &[]).await?.expect(0)?;
    for (what, change) in changes {
        cluster.run(&["TRUNCATE fid_differs.t"]).await?;
        fill(cluster, "fid_differs", 0..200).await?;
        run(cluster, "fid_differs", &[change]).await?;
        let found = verify(&bench, cluster, &[]).await?;
        ensure!(found.code == Some(3), "{what} is not found: {found}");
    }
    cluster.drop_keyspace("fid_differs").await
}

async fn values_only(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_plain").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_plain", &["--values-only"]).await?;
    let shown = bench.run(&["show", &bench.repository_argument()]).await?.expect(0)?.line("backup")?;
    let declared = shown["tables"][0]["approximations"].to_string();
    ensure!(declared.contains("all_times"), "show does not say that times were left out: {shown}");
    // Before a backup, `plan` says what of it will be approximate.
    let planned = super::reading::plan(&bench, cluster, "fid_plain").await?.expect(0)?.line("plan")?;
    let declared = planned["tables"][0]["approximations"].to_string();
    let elements = cluster.version() == CassandraVersion::V5_0;
    ensure!(declared.contains("row_markers") && declared.contains("column_times") != elements, "{planned}");
    cluster.drop_keyspace("fid_plain").await?;
    bench.restore("fid_plain", &[]).await?;
    same_as(cluster, &before, Scope::Values).await?;
    ensure!(same_as(cluster, &before, Scope::ValuesAndTimes).await.is_err(), "times came back from nowhere");
    cluster.drop_keyspace("fid_plain").await
}
