//! Transforms on restore, and the commands that look into a backup: each against what it promises, compared raw.

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::{query_i64, query_raw};
use ringvault_tests::oracle::{Scope, TableSnapshot, compare_tables, read_table, schema};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::bytes::{int, text};

use super::proof::{two_hundred, verify};
use super::stage::{named, run};

pub(crate) fn tests(version: CassandraVersion) -> Vec<Test> {
    let on = |name: &str, test: fn(TestContext) -> futures::future::LocalBoxFuture<'static, Result<()>>| {
        Test::new(named(name, version), test).on(ClusterSpec::one(version))
    };
    vec![
        on("transform_keyspace_as_with_another_replication", |t| Box::pin(keyspace_as(t))),
        on("transform_table_as_takes_its_indexes_along", |t| Box::pin(table_as(t))),
        on("transform_tables_by_globs_and_exclusions", |t| Box::pin(globs_of_tables(t))),
        on("transform_several_keyspaces_by_glob_are_one_backup", |t| Box::pin(globs_of_keyspaces(t))),
        on("transform_one_partition_by_its_key", |t| Box::pin(one_partition(t))),
        on("transform_schema_only_then_data_only_into_more_columns", |t| Box::pin(schema_then_data(t))),
        on("transform_if_exists_fails_or_truncates", |t| Box::pin(if_exists(t))),
        on("transform_timestamps_now_and_ttl_restart_or_drop", |t| Box::pin(times(t))),
        on("transform_cat_shows_rows_by_table_range_and_key", |t| Box::pin(cat(t))),
        on("transform_diff_names_changed_rows", |t| Box::pin(diff(t))),
        on("transform_a_rehearsal_compares_and_drops_its_scratch_keyspace", |t| Box::pin(rehearse(t))),
    ]
}

async fn same(cluster: &TestCluster, before: &TableSnapshot, keyspace: &str, table: &str, scope: Scope) -> Result<()> {
    let after = read_table(cluster.session(), keyspace, table).await?;
    compare_tables(before, &after, scope).ensure_equal().with_context(|| format!("{keyspace}.{table}"))
}

async fn tables_of(cluster: &TestCluster, keyspace: &str) -> Result<Vec<String>> {
    let query = format!("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'");
    let rows = query_raw(cluster.session(), &query).await?;
    Ok(rows.into_iter().filter_map(|row| String::from_utf8(row[0].clone()?).ok()).collect())
}

/// A command on the repository that also reaches the cluster.
async fn with_cluster(bench: &Workbench, cluster: &TestCluster, words: &[&str]) -> Result<Run> {
    let (hosts, port) = (cluster.hosts(), cluster.port().to_string());
    bench.run(&[words, &["--hosts", &hosts, "--port", &port]].concat()).await
}

async fn keyspace_as(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_from", 1).await?;
    // Everything that names its keyspace: types, functions, aggregates, indexes, views.
    let statements = [
        "CREATE TYPE KS.one (a int)",
        "CREATE TYPE KS.two (o frozen<one>)",
        "CREATE FUNCTION KS.plus (a int, b int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return a + b;'",
        "CREATE AGGREGATE KS.total (int) SFUNC plus STYPE int INITCOND 0",
        "CREATE TABLE KS.t (k int, c int, v int, o frozen<two>, fid_from text, PRIMARY KEY (k, c)) \
         WITH comment = 'fid_from.t is its name'",
        "CREATE INDEX t_v ON KS.t (v)",
        "CREATE MATERIALIZED VIEW KS.by_v AS SELECT k, c, v FROM KS.t WHERE v IS NOT NULL AND k IS NOT NULL \
         AND c IS NOT NULL PRIMARY KEY (v, k, c)",
        "INSERT INTO KS.t (k, c, v, o, fid_from) VALUES (1, 1, 5, {o: {a: 1}}, 'fid_from.t') USING TIMESTAMP 1000",
        "INSERT INTO KS.t (k, c, v) VALUES (1, 2, 6) USING TTL 86400",
    ];
    run(cluster, "fid_from", &statements).await?;
    let before = read_table(cluster.session(), "fid_from", "t").await?;
    let was = schema::read(cluster.session(), "fid_from").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_from", &[]).await?;
    let simple = "{'class': 'SimpleStrategy', 'replication_factor': '1'}";
    cluster.drop_keyspace("fid_to").await?;
    bench.restore("fid_from", &["--keyspace-as", "fid_to", "--replication", simple]).await?;
    same(cluster, &before, "fid_to", "t", Scope::ValuesAndTimes).await?;
    same(cluster, &before, "fid_from", "t", Scope::ValuesAndTimes).await?;
    let is = schema::read(cluster.session(), "fid_to").await?;
    let found: Vec<String> = schema::differences(&was, &is);
    ensure!(found.len() == 1 && found[0].contains("replication"), "the schema differs: {found:?}");
    // Names in the new keyspace mean the new keyspace: the old one may go.
    cluster.drop_keyspace("fid_from").await?;
    let session = cluster.session();
    ensure!(query_i64(session, "SELECT count(*) FROM fid_to.by_v").await? == 2, "the view is not its table's");
    let sum = query_raw(session, "SELECT fid_to.total(v) FROM fid_to.t").await?;
    ensure!(sum[0][0] == Some(int(11)), "{sum:?}");
    verify(&bench, cluster, &["--keyspace-as", "fid_to"]).await?.expect(0)?;
    cluster.drop_keyspace("fid_to").await
}

async fn table_as(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_tables").await?;
    run(cluster, "fid_tables", &["CREATE INDEX t_v ON KS.t (v)"]).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_tables", &[]).await?;
    cluster.run(&["DROP INDEX fid_tables.t_v"]).await?;
    bench.restore("fid_tables", &["--tables", "t", "--table-as", "t=Copy"]).await?;
    same(cluster, &before, "fid_tables", "Copy", Scope::ValuesAndTimes).await?;
    same(cluster, &before, "fid_tables", "t", Scope::ValuesAndTimes).await?;
    let found = query_raw(cluster.session(), "SELECT k FROM fid_tables.\"Copy\" WHERE v = 'v 7'").await?;
    ensure!(found.len() == 1, "the index of the copy finds {} rows", found.len());
    verify(&bench, cluster, &["--table-as", "t=Copy"]).await?.expect(0)?;
    cluster.drop_keyspace("fid_tables").await
}

async fn globs_of_tables(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_globs", 1).await?;
    for table in ["orders_a", "orders_b", "orders_tmp", "others"] {
        let rows =
            [format!("CREATE TABLE KS.{table} (k int PRIMARY KEY)"), format!("INSERT INTO KS.{table} (k) VALUES (1)")];
        run(cluster, "fid_globs", &rows).await?;
    }
    let bench = Workbench::new(cluster)?;
    let backup = bench.backup("fid_globs", &["--tables", "orders_*,!*_tmp"]).await?;
    ensure!(backup.figure("tables_count")? == 2, "{backup}");
    bench.try_backup("fid_globs", &["--tables", "none_*"]).await?.refused(
        1,
        &["not_found"],
        &["none_*", "orders_a"],
    )?;
    bench.backup("fid_globs", &[]).await?;
    cluster.drop_keyspace("fid_globs").await?;
    bench.restore("fid_globs", &["--tables", "o*,!orders_b"]).await?;
    let mut tables = tables_of(cluster, "fid_globs").await?;
    tables.sort();
    ensure!(tables == ["orders_a", "orders_tmp", "others"], "{tables:?}");
    cluster.drop_keyspace("fid_globs").await
}

async fn globs_of_keyspaces(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let mut before = Vec::new();
    // The same table in each.
    for keyspace in ["fid_shop", "fid_user_a", "fid_user_b", "fid_none"] {
        before.push(two_hundred(cluster, keyspace).await?);
        let own = [format!("INSERT INTO KS.t (k, c, v) VALUES (-1, 0, '{keyspace}')")];
        run(cluster, keyspace, &own).await?;
    }
    let bench = Workbench::new(cluster)?;
    let backup = bench.backup("fid_shop,fid_user_*", &[]).await?;
    ensure!(backup.figure("rows")? == 603, "{backup}");
    let listed = bench.run(&["list", &bench.repository_argument()]).await?.expect(0)?;
    let keyspaces = listed.line("backup")?["keyspaces"].to_string();
    ensure!(!keyspaces.contains("fid_none") && keyspaces.contains("fid_user_b"), "{keyspaces}");
    for keyspace in ["fid_shop", "fid_user_a", "fid_user_b", "fid_none"] {
        cluster.drop_keyspace(keyspace).await?;
    }
    bench.restore("fid_user_*", &[]).await?;
    ensure!(tables_of(cluster, "fid_shop").await?.is_empty(), "a keyspace that was not asked for came");
    bench.restore("fid_shop", &[]).await?;
    for keyspace in ["fid_shop", "fid_user_a", "fid_user_b"] {
        let query = format!("SELECT v FROM {keyspace}.t WHERE k = -1");
        let own = query_raw(cluster.session(), &query).await?;
        ensure!(own == [vec![Some(text(keyspace))]], "rows of another keyspace in {keyspace}: {own:?}");
        let rows = query_i64(cluster.session(), &format!("SELECT count(*) FROM {keyspace}.t")).await?;
        ensure!(rows == 201, "{rows} rows in {keyspace}");
    }
    verify(&bench, cluster, &[]).await?.expect(0)?;
    bench.try_restore("fid_*", &["--keyspace-as", "x"]).await?.refused(1, &["invalid"], &["keyspace-as"]).or_else(
        // The command line may know it already.
        |error| if error.to_string().contains("Some(2)") { Ok(String::new()) } else { Err(error) },
    )?;
    for keyspace in ["fid_shop", "fid_user_a", "fid_user_b"] {
        cluster.drop_keyspace(keyspace).await?;
    }
    Ok(())
}

async fn one_partition(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_key", 1).await?;
    let create = "CREATE TABLE KS.t (a text, b int, c int, s text static, v int, PRIMARY KEY ((a, b), c))";
    run(cluster, "fid_key", &[create]).await?;
    let rows: Vec<String> = (0..100)
        .map(|i| format!("INSERT INTO KS.t (a, b, c, s, v) VALUES ('secret {}', {}, {i}, 's', {i})", i % 5, i % 4))
        .collect();
    run(cluster, "fid_key", &rows).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_key", &[]).await?;
    let query = "SELECT c, s, v, writetime(v) FROM fid_key.t WHERE a = 'secret 3' AND b = 2";
    let wanted = query_raw(cluster.session(), query).await?;
    cluster.drop_keyspace("fid_key").await?;
    let key = r#"["secret 3", 2]"#;
    let restore = bench.restore("fid_key", &["--tables", "t", "--partition-key", key]).await?;
    ensure!(!restore.stdout.contains("secret 3"), "the key is shown: {restore}");
    let came = query_raw(cluster.session(), query).await?;
    ensure!(came == wanted && !came.is_empty(), "the partition was {wanted:?} and is {came:?}");
    let rows = query_i64(cluster.session(), "SELECT count(*) FROM fid_key.t").await?;
    ensure!(rows == wanted.len() as i64, "{rows} rows, {} were asked for", wanted.len());
    let wrong = bench.try_restore("fid_key", &["--tables", "t", "--partition-key", "[1]", "--drop", "--yes"]).await?;
    ensure!(matches!(wrong.code, Some(1 | 2)), "a key of another shape was taken: {wrong}");
    cluster.drop_keyspace("fid_key").await
}

async fn schema_then_data(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_apart").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_apart", &[]).await?;
    cluster.drop_keyspace("fid_apart").await?;
    bench.restore("fid_apart", &["--schema-only"]).await?;
    ensure!(query_i64(cluster.session(), "SELECT count(*) FROM fid_apart.t").await? == 0, "rows came with the schema");
    run(cluster, "fid_apart", &["ALTER TABLE KS.t ADD added text"]).await?;
    bench.restore("fid_apart", &["--data-only"]).await?;
    let rows = query_raw(cluster.session(), "SELECT k FROM fid_apart.t").await?.len();
    ensure!(rows == before.rows.len(), "{rows} rows");
    run(cluster, "fid_apart", &["ALTER TABLE KS.t DROP added"]).await?;
    same(cluster, &before, "fid_apart", "t", Scope::ValuesAndTimes).await?;
    // A table that holds a row is left alone, and so is one without a column of the backup.
    bench.try_restore("fid_apart", &["--data-only"]).await?.refused(1, &["conflict"], &["fid_apart"])?;
    cluster.run(&["TRUNCATE fid_apart.t"]).await?;
    run(cluster, "fid_apart", &["ALTER TABLE KS.t DROP m"]).await?;
    bench.try_restore("fid_apart", &["--data-only"]).await?.refused(1, &["conflict", "invalid"], &["m"])?;
    cluster.drop_keyspace("fid_apart").await?;
    bench.try_restore("fid_apart", &["--data-only"]).await?.refused(1, &["not_found", "conflict"], &["fid_apart"])?;
    Ok(())
}

async fn if_exists(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_stands").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_stands", &[]).await?;
    run(cluster, "fid_stands", &["INSERT INTO KS.t (k, c, v) VALUES (5000, 1, 'strange')"]).await?;
    for flags in [&[][..], &["--if-exists", "fail"]] {
        bench.try_restore("fid_stands", flags).await?.refused(1, &["conflict"], &["fid_stands"])?;
    }
    ensure!(query_i64(cluster.session(), "SELECT count(*) FROM fid_stands.t").await? == 201, "a refusal wrote");
    bench.try_restore("fid_stands", &["--if-exists", "truncate"]).await?.refused(2, &["usage"], &["--yes"])?;
    bench.restore("fid_stands", &["--if-exists", "truncate", "--yes"]).await?;
    same(cluster, &before, "fid_stands", "t", Scope::ValuesAndTimes).await?;
    cluster.drop_keyspace("fid_stands").await
}

async fn times(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_ttl", 1).await?;
    let statements = [
        "CREATE TABLE KS.t (k int PRIMARY KEY, v int, m map<text, int>) WITH default_time_to_live = 500000",
        "INSERT INTO KS.t (k, v) VALUES (1, 1) USING TTL 8000",
        "INSERT INTO KS.t (k, v) VALUES (2, 2) USING TTL 0",
        "UPDATE KS.t USING TTL 9000 SET m = m + {'a': 1} WHERE k = 2",
    ];
    run(cluster, "fid_ttl", &statements).await?;
    let before = read_table(cluster.session(), "fid_ttl", "t").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_ttl", &[]).await?;
    let at_backup = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros() as i64;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let ttl = async |k: i32| -> Result<Option<i32>> {
        let rows = query_raw(cluster.session(), &format!("SELECT ttl(v) FROM fid_ttl.t WHERE k = {k}")).await?;
        let cell = rows.first().context("the row is there")?[0].clone();
        Ok(cell.and_then(|bytes| bytes.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))))
    };
    bench.restore("fid_ttl", &["--drop", "--yes", "--ttl", "drop"]).await?;
    same(cluster, &before, "fid_ttl", "t", Scope::Values).await?;
    ensure!(ttl(1).await?.is_none() && ttl(2).await?.is_none(), "a TTL is left, or the table's default came");
    bench.restore("fid_ttl", &["--drop", "--yes", "--ttl", "restart"]).await?;
    same(cluster, &before, "fid_ttl", "t", Scope::Values).await?;
    let restarted = ttl(1).await?;
    ensure!(restarted.is_some_and(|ttl| (7990..=8001).contains(&ttl)), "restarted at {restarted:?}");
    ensure!(ttl(2).await?.is_none(), "a cell for ever expires");
    let restore = bench.restore("fid_ttl", &["--drop", "--yes", "--timestamps", "now"]).await?;
    same(cluster, &before, "fid_ttl", "t", Scope::Values).await?;
    for k in [1, 2] {
        let written =
            query_i64(cluster.session(), &format!("SELECT writetime(v) FROM fid_ttl.t WHERE k = {k}")).await?;
        ensure!(written > at_backup, "row {k} has its old time {written}: {restore}");
    }
    let kept = ttl(1).await?;
    ensure!(kept.is_some_and(|ttl| ttl <= 7998), "its end moved with --timestamps now: {kept:?}");
    cluster.drop_keyspace("fid_ttl").await
}

async fn cat(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    two_hundred(cluster, "fid_cat").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_cat", &[]).await?;
    let repository = bench.repository_argument();
    let lines = async |more: &[&str]| -> Result<Vec<serde_json::Value>> {
        let words = [&["cat", &repository, "--tables", "fid_cat.t"][..], more].concat();
        let shown = bench.run(&words).await?.expect(0)?;
        let rows = shown.lines("row").into_iter().map(|line| line["row"].clone());
        // A row line is an object of its own.
        rows.map(|row| row.as_str().map_or(Ok(row.clone()), |text| Ok(serde_json::from_str(text)?))).collect()
    };
    let all = lines(&[]).await?;
    let rows = |lines: &[serde_json::Value]| lines.iter().filter(|line| line.get("c").is_some()).count();
    ensure!(rows(&all) == 200, "{} rows of 200", rows(&all));
    let seven = lines(&["--partition-key", "[7]"]).await?;
    ensure!(rows(&seven) == 4 && seven.iter().all(|line| line["k"] == 7 || line.get("k").is_none()), "{seven:?}");
    let half = lines(&["--token-range", "-9223372036854775808:0"]).await?;
    let other = lines(&["--token-range", "0:9223372036854775807"]).await?;
    ensure!(rows(&half) + rows(&other) == 200 && rows(&half) > 0, "{} and {}", rows(&half), rows(&other));
    cluster.drop_keyspace("fid_cat").await
}

async fn diff(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    two_hundred(cluster, "fid_diff").await?;
    let bench = Workbench::new(cluster)?;
    let first = bench.backup("fid_diff", &[]).await?.text("backup_id")?;
    let changes = [
        "UPDATE KS.t SET v = 'changed' WHERE k = 7 AND c = 7",
        "DELETE FROM KS.t WHERE k = 8 AND c = 8",
        "INSERT INTO KS.t (k, c, v) VALUES (9, 9999, 'new')",
    ];
    run(cluster, "fid_diff", &changes).await?;
    let second = bench.backup("fid_diff", &[]).await?.text("backup_id")?;
    let repository = bench.repository_argument();
    bench.run(&["diff", &repository, &first, &first]).await?.expect(0)?;
    let found = bench.run(&["diff", &repository, &first, &second, "--rows"]).await?.expect(3)?;
    let named = found.lines("row_diff");
    ensure!(named.len() == 3, "{} rows are named: {found}", named.len());
    let text = found.stdout.clone();
    ensure!(text.contains("changed") && text.contains("9999"), "old and new values are not shown: {text}");
    let live = with_cluster(&bench, cluster, &["diff", &repository, &second, "--against-cluster"]).await?;
    live.expect(0)?;
    let live = with_cluster(&bench, cluster, &["diff", &repository, &first, "--against-cluster", "--rows"]).await?;
    let live = live.expect(3)?;
    ensure!(live.lines("row_diff").len() == 3, "{live}");
    cluster.drop_keyspace("fid_diff").await
}

async fn rehearse(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_proved").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_proved", &[]).await?;
    let repository = bench.repository_argument();
    let scratch = async || -> Result<usize> {
        let rows = query_raw(cluster.session(), "SELECT keyspace_name FROM system_schema.keyspaces").await?;
        let names = rows.iter().filter_map(|row| String::from_utf8(row[0].clone()?).ok());
        Ok(names.filter(|name| name.starts_with("rv_")).count())
    };
    for sample in ["100%", "20%"] {
        let words = ["rehearse", &repository, "--keyspace", "fid_proved", "--sample", sample];
        let rehearsed = with_cluster(&bench, cluster, &words).await?.expect(0)?;
        ensure!(scratch().await? == 0, "a scratch keyspace is left: {rehearsed}");
    }
    same(cluster, &before, "fid_proved", "t", Scope::ValuesAndTimes).await?;
    cluster.drop_keyspace("fid_proved").await
}
