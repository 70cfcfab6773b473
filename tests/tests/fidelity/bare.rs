//! On nodes as careful administrators run them: passwords and permissions, no views, no functions, no SASI, low
//! thresholds; on 5.0 with masks, and with times beyond 2038.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::{Cell, query_i64, query_raw};
use ringvault_tests::oracle::{Scope, compare_tables, read_table};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::bytes::{int, text};
use ringvault_tests::samples::{load, load_batched};

use super::across::Handover;
use super::stage::{Area, named, run};

pub(crate) fn spec(version: CassandraVersion) -> ClusterSpec {
    let newer = version >= CassandraVersion::V4_1;
    let mut spec = ClusterSpec::one(version).with_auth().with_batch_thresholds(1, 2);
    for (old, new) in [
        ("enable_materialized_views", "materialized_views_enabled"),
        ("enable_user_defined_functions", "user_defined_functions_enabled"),
        ("enable_sasi_indexes", "sasi_indexes_enabled"),
    ] {
        spec = spec.with_setting(if newer { new } else { old }, "false");
    }
    spec = spec.with_setting("tombstone_warn_threshold", "500").with_setting("tombstone_failure_threshold", "1000");
    if version == CassandraVersion::V5_0 {
        spec = spec
            .with_setting("dynamic_data_masking_enabled", "true")
            .with_setting("storage_compatibility_mode", "NONE");
    }
    spec
}

/// `schemas`: the area whose keyspace has views, functions and SASI, restored on a node before.
pub(crate) fn tests(version: CassandraVersion, schemas: &Rc<Area>, handover: &Rc<Handover>) -> Vec<Test> {
    let on = |test: Test| test.on(spec(version));
    let schemas = Rc::clone(schemas);
    let mut tests = vec![
        on(Test::new(named("what_the_server_has_switched_off_is_named_before_the_drop", version), move |t| {
            let schemas = Rc::clone(&schemas);
            async move { switched_off(t, &schemas).await }
        })),
        on(Test::new(named("roles_and_grants_come_with_the_option_and_only_then", version), roles)),
        on(Test::new(named("tombstone_heavy_ranges_are_read_by_smaller_pages_or_named", version), tombstones)),
        on(Test::new(named("batches_fit_thresholds_lower_than_the_usual", version), low_thresholds)),
        on(Test::new(named("the_readmes_minimal_grants_suffice", version), minimal_grants)),
    ];
    if version == CassandraVersion::V5_0 {
        tests.push(on(Test::new(named("masked_columns_are_refused_without_unmask", version), masks)));
        let handover = Rc::clone(handover);
        let name = named("an_expiry_after_2038_is_kept_where_the_server_keeps_it", version);
        tests.push(on(Test::new(name, move |t| {
            let handover = Rc::clone(&handover);
            async move { after_2038(t, &handover).await }
        })));
    }
    tests
}

/// A workbench that logs in.
fn bench_as(cluster: &TestCluster, user: &str) -> Result<Workbench> {
    let mut bench = Workbench::new(cluster)?;
    let password = if user == "cassandra" { "cassandra" } else { "secret of a test" };
    bench.set_environment([
        ("RINGVAULT_USERNAME".to_owned(), user.to_owned()),
        ("RINGVAULT_PASSWORD".to_owned(), password.to_owned()),
    ]);
    Ok(bench)
}

/// The same repository, as somebody else.
fn same_repository(bench: &Workbench, more: &Workbench) -> Result<()> {
    std::os::unix::fs::symlink(bench.repository(), more.repository()).context("share a repository")
}

async fn role(cluster: &TestCluster, name: &str, grants: &[&str]) -> Result<()> {
    let drop = format!("DROP ROLE IF EXISTS {name}");
    let create = format!("CREATE ROLE {name} WITH LOGIN = true AND PASSWORD = 'secret of a test'");
    cluster.run(&[&drop, &create]).await?;
    for grant in grants {
        cluster.run(&[&format!("GRANT {grant} TO {name}")]).await?;
    }
    Ok(())
}

async fn switched_off(t: TestContext, schemas: &Area) -> Result<()> {
    let cluster = t.cluster();
    let stage = schemas.stage_made().context(
        "the backup of a keyspace with views and functions is made by the test \
         the_whole_schema_comes_back_as_the_server_describes_it of this release: run both",
    )?;
    let keyspace = &stage.keyspace;
    cluster.fresh_keyspace(keyspace, 1).await?;
    run(cluster, keyspace, &["CREATE TABLE KS.precious (k int PRIMARY KEY)", "INSERT INTO KS.precious (k) VALUES (1)"])
        .await?;
    let bench = bench_as(cluster, "cassandra")?;
    same_repository(&stage.bench, &bench)?;
    let restore = bench.try_restore(keyspace, &["--drop", "--yes"]).await?;
    let message = restore.refused(1, &["conflict", "invalid"], &[])?;
    let lower = message.to_lowercase();
    ensure!(lower.contains("function") || lower.contains("view"), "it does not say what is off: {message}");
    let rows = query_i64(cluster.session(), &format!("SELECT count(*) FROM {}", stage.qualified("precious"))).await?;
    ensure!(rows == 1, "the keyspace was dropped for a restore that can't be");
    t.note(message);
    cluster.drop_keyspace(keyspace).await
}

async fn roles(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let bench = bench_as(cluster, "cassandra")?;
    cluster.fresh_keyspace("fid_roles", 1).await?;
    run(cluster, "fid_roles", &["CREATE TABLE KS.t (k int PRIMARY KEY)", "INSERT INTO KS.t (k) VALUES (1)"]).await?;
    role(cluster, "fid_reader", &["SELECT ON KEYSPACE fid_roles"]).await?;
    role(cluster, "fid_writer", &["MODIFY ON TABLE fid_roles.t"]).await?;
    cluster.run(&["GRANT fid_reader TO fid_writer"]).await?;
    let granted = async || -> Result<Vec<String>> {
        let query = "SELECT role, resource, permissions FROM system_auth.role_permissions";
        let rows = query_raw(cluster.session(), query).await?;
        let text = |cell: &Option<Vec<u8>>| String::from_utf8_lossy(cell.as_deref().unwrap_or_default()).into_owned();
        let mut all: Vec<String> = rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect();
        all.retain(|line| line.starts_with("fid_"));
        all.sort();
        Ok(all)
    };
    let before = granted().await?;
    bench.backup("fid_roles", &[]).await?;
    bench.backup("fid_roles", &["--with-roles"]).await?;
    let stored: Vec<String> = stored_text(&bench)?;
    ensure!(!stored.iter().any(|text| text.contains("secret of a test")), "a password stands in the repository");
    for name in ["fid_writer", "fid_reader"] {
        cluster.run(&[&format!("DROP ROLE {name}")]).await?;
    }
    bench.restore("fid_roles", &["--drop", "--yes"]).await?;
    ensure!(granted().await?.is_empty(), "grants came without being asked for");
    bench.restore("fid_roles", &["--drop", "--yes", "--with-roles"]).await?;
    let after = granted().await?;
    ensure!(after == before, "grants were {before:?} and are {after:?}");
    let members =
        query_raw(cluster.session(), "SELECT member_of FROM system_auth.roles WHERE role = 'fid_writer'").await?;
    ensure!(members.first().is_some_and(|row| row[0].is_some()), "a role is no longer member of the other");
    cluster.run(&["DROP ROLE fid_writer", "DROP ROLE fid_reader"]).await?;
    cluster.drop_keyspace("fid_roles").await
}

/// All of the repository that is plain text.
fn stored_text(bench: &Workbench) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (name, _) in bench.files("backups")? {
        if name.ends_with(".json") || name.ends_with(".cql") {
            all.push(std::fs::read_to_string(bench.repository().join("backups").join(name))?);
        }
    }
    Ok(all)
}

async fn tombstones(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let bench = bench_as(cluster, "cassandra")?;
    cluster.fresh_keyspace("fid_graves", 1).await?;
    run(cluster, "fid_graves", &["CREATE TABLE KS.t (k int, c int, v int, PRIMARY KEY (k, c))"]).await?;
    let session = cluster.session();
    let rows = (0..4000).map(|c| [int(0), int(c), int(c)].map(Cell::Raw).to_vec());
    load_batched(session, "INSERT INTO fid_graves.t (k, c, v) VALUES (?, ?, ?)", 20, rows).await?;
    let dead = (0..4000).filter(|c| c % 4 > 0).map(|c| [int(0), int(c)].map(Cell::Raw).to_vec());
    load(session, "DELETE FROM fid_graves.t WHERE k = ? AND c = ?", dead).await?;
    ensure!(query_raw(session, "SELECT * FROM fid_graves.t").await.is_err(), "the server reads past 3000 tombstones");
    let backup = bench.backup("fid_graves", &[]).await?;
    ensure!(backup.figure("rows")? == 1000, "{backup}");
    // 3000 in one stretch: no page is small enough.
    let dead = (4000..7000).map(|c| [int(0), int(c)].map(Cell::Raw).to_vec());
    load(session, "DELETE FROM fid_graves.t WHERE k = ? AND c = ?", dead).await?;
    run(cluster, "fid_graves", &["INSERT INTO KS.t (k, c, v) VALUES (0, 9000, 1)"]).await?;
    let begun = std::time::Instant::now();
    let run = bench.try_backup("fid_graves", &["--patience", "2s"]).await?;
    let message =
        run.refused(1, &["unavailable", "overloaded", "invalid", "conflict"], &["fid_graves", "tombstone"])?;
    t.note(format!("{message} (after {} s)", begun.elapsed().as_secs()));
    cluster.drop_keyspace("fid_graves").await
}

async fn low_thresholds(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let bench = bench_as(cluster, "cassandra")?;
    cluster.fresh_keyspace("fid_low", 1).await?;
    run(cluster, "fid_low", &["CREATE TABLE KS.t (k int PRIMARY KEY, v text)"]).await?;
    let rows = (0..3000).map(|k| [int(k), text(&"v".repeat(400))].map(Cell::Raw).to_vec());
    load(cluster.session(), "INSERT INTO fid_low.t (k, v) VALUES (?, ?)", rows).await?;
    let before = read_table(cluster.session(), "fid_low", "t").await?;
    bench.backup("fid_low", &[]).await?;
    bench.restore("fid_low", &["--drop", "--yes"]).await?;
    let after = read_table(cluster.session(), "fid_low", "t").await?;
    compare_tables(&before, &after, Scope::ValuesAndTimes).ensure_equal()?;
    cluster.drop_keyspace("fid_low").await
}

/// The README's list, word by word: what it grants suffices, on every release.
async fn minimal_grants(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_granted", 1).await?;
    let rows = ["CREATE TABLE KS.t (k int PRIMARY KEY, v int)", "INSERT INTO KS.t (k, v) VALUES (1, 1)"];
    run(cluster, "fid_granted", &rows).await?;
    let before = read_table(cluster.session(), "fid_granted", "t").await?;
    role(cluster, "fid_backup", &["SELECT ON KEYSPACE fid_granted"]).await?;
    role(cluster, "fid_restore", &["CREATE ON ALL KEYSPACES"]).await?;
    let bench = bench_as(cluster, "fid_backup")?;
    bench.backup("fid_granted", &[]).await?;
    bench.try_restore("fid_granted", &["--drop", "--yes"]).await?.expect(1)?;
    let there = query_i64(cluster.session(), "SELECT count(*) FROM fid_granted.t").await?;
    ensure!(there == 1, "a role that may only read has changed rows");
    cluster.drop_keyspace("fid_granted").await?;
    let restorer = bench_as(cluster, "fid_restore")?;
    same_repository(&bench, &restorer)?;
    restorer.restore("fid_granted", &[]).await?;
    let after = read_table(cluster.session(), "fid_granted", "t").await?;
    compare_tables(&before, &after, Scope::ValuesAndTimes).ensure_equal()?;
    cluster.run(&["DROP ROLE fid_backup", "DROP ROLE fid_restore"]).await?;
    cluster.drop_keyspace("fid_granted").await
}

async fn masks(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_masked", 1).await?;
    let statements = [
        "CREATE TABLE KS.t (k int PRIMARY KEY, card text MASKED WITH mask_inner(1, 1), plain int)",
        "CREATE TABLE KS.open (k int PRIMARY KEY, v int)",
        "INSERT INTO KS.t (k, card, plain) VALUES (1, 'never shown', 1)",
        "INSERT INTO KS.open (k, v) VALUES (1, 1)",
    ];
    run(cluster, "fid_masked", &statements).await?;
    role(cluster, "fid_masked_reader", &["SELECT ON KEYSPACE fid_masked"]).await?;
    let reader = bench_as(cluster, "fid_masked_reader")?;
    let refuse = async |run: Run| -> Result<String> { run.refused(1, &["invalid", "conflict"], &["card", "unmask"]) };
    t.note(refuse(reader.try_backup("fid_masked", &[]).await?).await?);
    ensure!(
        !reader.files("backups")?.iter().any(|(name, _)| name.ends_with("manifest.json")),
        "a backup was published"
    );
    // Tables without masks are free.
    reader.backup("fid_masked", &["--tables", "open"]).await?;
    cluster.run(&["GRANT UNMASK ON KEYSPACE fid_masked TO fid_masked_reader"]).await?;
    // A node remembers permissions for some seconds, and masks meanwhile: never may that be stored.
    let at_once = reader.try_backup("fid_masked", &[]).await?;
    if at_once.code != Some(0) {
        t.note(at_once.refused(1, &["unavailable", "invalid", "conflict"], &["mask"])?);
        let login = Some(("fid_masked_reader", "secret of a test"));
        let session = ringvault_tests::cassandra::connect(&[cluster.hosts()], login, None).await?;
        while query_raw(&session, "SELECT card FROM fid_masked.t").await? != [vec![Some(text("never shown"))]] {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        reader.backup("fid_masked", &[]).await?;
    }
    let before = read_table(cluster.session(), "fid_masked", "t").await?;
    let schema = ringvault_tests::oracle::schema::read(cluster.session(), "fid_masked").await?;
    let masks =
        query_raw(cluster.session(), "SELECT * FROM system_schema.column_masks WHERE keyspace_name = 'fid_masked'");
    let masks = masks.await?;
    ensure!(masks.len() == 1, "{masks:?}");
    let admin = bench_as(cluster, "cassandra")?;
    same_repository(&reader, &admin)?;
    admin.restore("fid_masked", &["--drop", "--yes"]).await?;
    let after = read_table(cluster.session(), "fid_masked", "t").await?;
    compare_tables(&before, &after, Scope::ValuesAndTimes).ensure_equal()?;
    let again = ringvault_tests::oracle::schema::read(cluster.session(), "fid_masked").await?;
    let found = ringvault_tests::oracle::schema::differences(&schema, &again);
    ensure!(found.is_empty(), "the schema differs: {found:?}");
    let now =
        query_raw(cluster.session(), "SELECT * FROM system_schema.column_masks WHERE keyspace_name = 'fid_masked'");
    ensure!(now.await? == masks, "the mask is another one or gone");
    cluster.run(&["DROP ROLE fid_masked_reader"]).await?;
    cluster.drop_keyspace("fid_masked").await
}

/// 2^31 s since 1970 is in January 2038; 20 years, the longest TTL, pass it.
async fn after_2038(t: TestContext, handover: &Handover) -> Result<()> {
    let cluster = t.cluster();
    let bench = bench_as(cluster, "cassandra")?;
    cluster.fresh_keyspace("fid_2046", 1).await?;
    let rows = [
        "CREATE TABLE KS.t (k int PRIMARY KEY, v int)",
        "INSERT INTO KS.t (k, v) VALUES (1, 1) USING TTL 630720000",
        "INSERT INTO KS.t (k, v) VALUES (2, 2)",
    ];
    run(cluster, "fid_2046", &rows).await?;
    let before = read_table(cluster.session(), "fid_2046", "t").await?;
    let expiry = before.rows.values().filter_map(|cells| cells[0].as_ref()).filter_map(|cell| cell.expiries[0]).max();
    ensure!(expiry > Some(1 << 31), "this server has cut the expiry: {expiry:?}");
    bench.backup("fid_2046", &[]).await?;
    bench.restore("fid_2046", &["--drop", "--yes"]).await?;
    let after = read_table(cluster.session(), "fid_2046", "t").await?;
    compare_tables(&before, &after, Scope::ValuesAndTimes).ensure_equal()?;
    handover.leave("fid_2046", bench, Vec::new());
    cluster.drop_keyspace("fid_2046").await
}
