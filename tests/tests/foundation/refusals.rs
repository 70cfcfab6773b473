//! Bad input: a clear error, the documented exit code, nothing half done, nothing lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::{Workbench, files_below};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;

use crate::round_trip::Remembered;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    let secured = || ClusterSpec::one(CassandraVersion::V4_1).with_auth().with_tls();
    vec![
        Test::new("an_unknown_keyspace_or_table_is_named", an_unknown_keyspace_or_table_is_named).on(newest()),
        Test::new("an_unreachable_host_is_named", an_unreachable_host_is_named).on(newest()),
        Test::new("a_wrong_data_centre_is_named", a_wrong_data_centre_is_named).on(newest()),
        Test::new("a_destination_that_cannot_be_written_is_named", unwritable_destination).on(newest()),
        Test::new("a_full_destination_fails_and_goes_on_later", a_full_destination).on(newest()),
        Test::new("a_destination_that_holds_something_else_is_left_alone", foreign_destination).on(newest()),
        Test::new("system_keyspaces_are_refused", system_keyspaces_are_refused).on(newest()),
        Test::new("an_existing_keyspace_is_kept_without_drop", an_existing_keyspace_is_kept).on(newest()),
        Test::new("a_target_table_with_other_columns_is_refused", other_columns_are_refused).on(newest()),
        Test::new("a_drop_needs_yes_in_a_script", a_drop_needs_yes_in_a_script).on(newest()),
        Test::new("a_limited_backup_is_partial_and_nobodys_parent", a_limited_backup_is_partial).on(newest()),
        Test::new("a_wrong_password_is_named_and_not_shown", a_wrong_password_is_named).on(secured()),
        Test::new("tls_works_and_wrong_certificates_are_named", tls_works).on(secured()),
    ]
}

/// Nothing was published, and no keyspace appeared.
fn ensure_no_backup(bench: &Workbench) -> Result<()> {
    let published = bench.files("backups")?;
    ensure!(!published.iter().any(|(name, _)| name.ends_with("manifest.json")), "a manifest stands: {published:?}");
    Ok(())
}

async fn an_unknown_keyspace_or_table_is_named(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("known", 1).await?;
    cluster.run(&["CREATE TABLE known.t (id int PRIMARY KEY)"]).await?;
    let bench = Workbench::new(cluster)?;
    bench.try_backup("no_such_keyspace", &[]).await?.refused(1, &["not_found"], &["no_such_keyspace"])?;
    bench.try_backup("known", &["--tables", "t,no_such_table"]).await?.refused(
        1,
        &["not_found"],
        &["no_such_table"],
    )?;
    // A name is taken as the database stores it: this one is another.
    bench.try_backup("Known", &[]).await?.refused(1, &["not_found"], &["Known"])?;
    ensure_no_backup(&bench)?;
    bench.try_restore("known", &[]).await?.refused(1, &["not_found"], &[])?;
    bench.backup("known", &[]).await?;
    bench.try_restore("no_such_keyspace", &[]).await?.refused(1, &["not_found"], &["no_such_keyspace"])?;
    bench.try_restore("known", &["--backup", "20200101T000000Z-aaaa"]).await?.refused(
        1,
        &["not_found"],
        &["20200101T000000Z-aaaa"],
    )?;
    bench.try_restore("known", &["--drop", "--yes", "--tables", "nope"]).await?.refused(
        1,
        &["not_found", "invalid"],
        &["nope"],
    )?;
    let there = Remembered::of(cluster, "known").await;
    ensure!(there.is_ok(), "the keyspace was dropped by a restore that could not be");
    cluster.drop_keyspace("known").await
}

async fn an_unreachable_host_is_named(t: TestContext) -> Result<()> {
    let mut bench = Workbench::new(t.cluster())?;
    bench.set_connection(&["--hosts", "127.0.0.77", "--port", "19042"]);
    let begun = std::time::Instant::now();
    bench.try_backup("ks", &[]).await?.refused(1, &["unavailable"], &["127.0.0.77"])?;
    bench.set_connection(&["--hosts", "no-such-host.invalid"]);
    bench.try_backup("ks", &[]).await?.refused(
        1,
        &["unavailable", "invalid", "not_found"],
        &["no-such-host.invalid"],
    )?;
    ensure!(begun.elapsed() < Duration::from_secs(60), "it took {:?} to say so", begun.elapsed());
    ensure_no_backup(&bench)
}

async fn a_wrong_data_centre_is_named(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("centred", 1).await?;
    cluster.run(&["CREATE TABLE centred.t (id int PRIMARY KEY)"]).await?;
    let bench = Workbench::new(cluster)?;
    let run = bench.try_backup("centred", &["--local-dc", "mars"]).await?;
    // It names the one asked for, and the one that there is.
    run.refused(1, &["invalid", "not_found"], &["mars", "dc1"])?;
    ensure_no_backup(&bench)?;
    cluster.drop_keyspace("centred").await
}

/// Runs the rest of a command line with a small or read-only file system mounted where the repository lies. Needs no
/// rights where the kernel allows user namespaces.
fn behind_mount(options: &str, directory: &str) -> Vec<String> {
    let script = format!("mount -t tmpfs -o {options} tmpfs '{directory}' && exec \"$@\"");
    ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "mounted"].map(ToOwned::to_owned).to_vec()
}

async fn unwritable_destination(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("unwritten", 1).await?;
    cluster.run(&["CREATE TABLE unwritten.t (id int PRIMARY KEY)"]).await?;
    let mut bench = Workbench::new(cluster)?;
    // Below a file.
    std::fs::write(bench.repository(), "a file")?;
    bench.try_backup("unwritten", &[]).await?.refused(1, &["invalid", "conflict", "unavailable"], &["repository"])?;
    std::fs::remove_file(bench.repository())?;
    // On a file system that takes no writes.
    std::fs::create_dir(bench.repository())?;
    let wrapper = behind_mount("size=1m,ro", &bench.repository_argument());
    bench.set_wrapper(&ringvault_tests::product::as_strs(&wrapper));
    let run = bench.try_backup("unwritten", &[]).await?;
    run.refused(1, &["invalid", "conflict", "unavailable"], &["repository", "read-only"])?;
    cluster.drop_keyspace("unwritten").await
}

async fn a_full_destination(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "filling", 1).await?;
    large::many_partitions(cluster, "filling", 100_000).await?;
    let before = Remembered::of(cluster, "filling").await?;
    let mut bench = Workbench::new(cluster)?;
    std::fs::create_dir(bench.repository())?;
    let wrapper = behind_mount("size=2m", &bench.repository_argument());
    bench.set_wrapper(&ringvault_tests::product::as_strs(&wrapper));
    let run = bench.try_backup("filling", &["--compression", "none"]).await?;
    let message = run.refused(1, &["invalid", "conflict", "unavailable"], &["space"])?;
    t.note(message);
    // With room again, the same command succeeds. The mount went with the process, and what it held.
    bench.set_wrapper(&[]);
    let again = bench.backup("filling", &["--compression", "none"]).await?;
    ensure!(again.figure("rows")? == before.rows(), "other rows: {again}");
    let verified = bench.run(&["verify", &bench.repository_argument(), "--read-data"]).await?;
    verified.expect(0)?;
    cluster.drop_keyspace("filling").await
}

async fn foreign_destination(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("foreign", 1).await?;
    cluster.run(&["CREATE TABLE foreign.t (id int PRIMARY KEY)"]).await?;
    let bench = Workbench::new(cluster)?;
    std::fs::create_dir(bench.repository())?;
    std::fs::write(bench.repository().join("thesis.txt"), "years of work")?;
    let before = files_below(&bench.repository())?;
    bench.try_backup("foreign", &[]).await?.refused(1, &["conflict", "invalid"], &["repository"])?;
    ensure!(files_below(&bench.repository())? == before, "something was written beside foreign files");
    cluster.drop_keyspace("foreign").await
}

async fn system_keyspaces_are_refused(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let bench = Workbench::new(cluster)?;
    for keyspace in ["system", "system_schema", "system_auth", "system_distributed", "system_traces", "system_views"] {
        let run = bench.try_backup(keyspace, &[]).await?;
        run.refused(1, &["invalid", "conflict"], &[keyspace])?;
        let run = bench.try_restore(keyspace, &["--drop", "--yes"]).await?;
        run.refused(1, &["invalid", "conflict", "not_found"], &[])?;
    }
    ensure_no_backup(&bench)
}

async fn an_existing_keyspace_is_kept(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("kept", 1).await?;
    cluster
        .run(&["CREATE TABLE kept.t (id int PRIMARY KEY, v int)", "INSERT INTO kept.t (id, v) VALUES (1, 1)"])
        .await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("kept", &[]).await?;
    cluster.run(&["INSERT INTO kept.t (id, v) VALUES (2, 2)"]).await?;
    let changed = Remembered::of(cluster, "kept").await?;
    bench.try_restore("kept", &[]).await?.refused(1, &["conflict"], &["kept", "--drop"])?;
    changed.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    bench.restore("kept", &["--drop", "--yes"]).await?;
    let rows = ringvault_tests::cql::query_i64(cluster.session(), "SELECT count(*) FROM kept.t").await?;
    ensure!(rows == 1, "{rows} rows after --drop");
    cluster.drop_keyspace("kept").await
}

async fn other_columns_are_refused(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("shaped", 1).await?;
    cluster
        .run(&["CREATE TABLE shaped.t (id int PRIMARY KEY, v int)", "INSERT INTO shaped.t (id, v) VALUES (1, 1)"])
        .await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("shaped", &[]).await?;
    for table in ["CREATE TABLE shaped.t (id int PRIMARY KEY, v text)", "CREATE TABLE shaped.t (id int PRIMARY KEY)"] {
        cluster.fresh_keyspace("shaped", 1).await?;
        cluster.run(&[table]).await?;
        let run = bench.try_restore("shaped", &["--tables", "t"]).await?;
        run.refused(1, &["conflict", "invalid"], &["shaped"])?;
        let rows = ringvault_tests::cql::query_i64(cluster.session(), "SELECT count(*) FROM shaped.t").await?;
        ensure!(rows == 0, "rows were written into a table of another shape");
    }
    cluster.drop_keyspace("shaped").await
}

async fn a_drop_needs_yes_in_a_script(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("precious", 1).await?;
    cluster.run(&["CREATE TABLE precious.t (id int PRIMARY KEY)", "INSERT INTO precious.t (id) VALUES (1)"]).await?;
    let before = Remembered::of(cluster, "precious").await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("precious", &[]).await?;
    bench.try_restore("precious", &["--drop"]).await?.refused(2, &["usage"], &["--yes"])?;
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    cluster.drop_keyspace("precious").await
}

async fn a_limited_backup_is_partial(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "limited", 1).await?;
    large::many_partitions(cluster, "limited", 5_000).await?;
    let bench = Workbench::new(cluster)?;
    let backup = bench.backup("limited", &["--limit", "100"]).await?;
    let rows = backup.figure("rows")?;
    ensure!((1..=100).contains(&rows), "{rows} rows under --limit 100");
    let shown = bench.run(&["show", &bench.repository_argument()]).await?.expect(0)?;
    ensure!(shown.line("backup")?["partial"] == true, "{shown}");
    // A restore without a named backup takes the newest *complete* one: there is none.
    cluster.drop_keyspace("limited").await?;
    bench.try_restore("limited", &[]).await?.refused(1, &["not_found"], &["complete", "limit"])?;
    Ok(())
}

async fn a_wrong_password_is_named(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let mut bench = Workbench::new(cluster)?;
    let authority = cluster.certificates().map(|c| c.authority.display().to_string()).unwrap_or_default();
    let (hosts, port) = (cluster.hosts(), cluster.port().to_string());
    let connection = ["--hosts", &hosts, "--port", &port, "--ssl", "--ca-cert", &authority];
    bench.set_connection(&[&connection[..], &["--username", "cassandra", "--password", "canary-7x"]].concat());
    let run = bench.try_backup("system_traces_of_mine", &["--log-level", "debug"]).await?;
    ensure!(!run.stdout.contains("canary-7x") && !run.stderr.contains("canary-7x"), "the password is shown: {run}");
    run.refused(1, &["invalid", "unavailable"], &["cassandra"])?;
    bench.set_connection(&connection);
    let run = bench.try_backup("mine", &[]).await?;
    run.refused(1, &["invalid", "unavailable"], &["--username"])?;
    Ok(())
}

async fn tls_works(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("sealed", 1).await?;
    cluster.run(&["CREATE TABLE sealed.t (id int PRIMARY KEY)", "INSERT INTO sealed.t (id) VALUES (1)"]).await?;
    let before = Remembered::of(cluster, "sealed").await?;
    let authority = cluster.certificates().map(|c| c.authority.display().to_string()).unwrap_or_default();
    let (hosts, port) = (cluster.hosts(), cluster.port().to_string());
    let mut bench = Workbench::new(cluster)?;
    bench.set_environment([
        ("RINGVAULT_USERNAME".to_owned(), "cassandra".to_owned()),
        ("RINGVAULT_PASSWORD".to_owned(), "cassandra".to_owned()),
    ]);
    for trust in [&["--ca-cert", &authority][..], &["--ssl-no-verify"]] {
        bench.set_connection(&[&["--hosts", &hosts, "--port", &port, "--ssl"][..], trust].concat());
        let backup = bench.backup("sealed", &[]).await?;
        ensure!(backup.figure("rows")? == 1, "{backup}");
    }
    bench.restore("sealed", &["--drop", "--yes"]).await?;
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    bench.set_connection(&["--hosts", &hosts, "--port", &port, "--ssl"]);
    bench.try_backup("sealed", &[]).await?.refused(2, &["usage"], &["--ca-cert"])?;
    // An authority that did not sign the nodes' certificate.
    let other = ringvault_tests::cassandra::other_authority(bench.path())?.display().to_string();
    bench.set_connection(&["--hosts", &hosts, "--port", &port, "--ssl", "--ca-cert", &other]);
    bench.try_backup("sealed", &[]).await?.refused(1, &["invalid", "unavailable"], &["certificate"])?;
    bench.set_connection(&["--hosts", &hosts, "--port", &port]);
    bench.try_backup("sealed", &[]).await?.refused(1, &["invalid", "unavailable"], &[])?;
    cluster.drop_keyspace("sealed").await
}
