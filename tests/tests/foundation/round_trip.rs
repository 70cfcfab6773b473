//! Every CQL type, every schema object, with writetimes and expiries, on every release: backup, drop, restore, compare.

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::oracle::{KeyspaceSnapshot, Scope, compare_keyspaces, read_keyspace, schema};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::{every_type, zoo};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for version in CassandraVersion::ALL {
        let name = |what: &str| format!("{what}_on_{}", version.label());
        let one = || ClusterSpec::one(version);
        tests.push(Test::new(name("every_type_comes_back"), every_type_comes_back).on(one()));
        tests.push(
            Test::new(name("elements_come_back_at_their_own_times"), elements_come_back_at_their_own_times).on(one()),
        );
        tests.push(Test::new(name("values_only_leaves_times_out"), values_only_leaves_times_out).on(one()));
        tests.push(Test::new(name("schema_objects_come_back"), schema_objects_come_back).on(one()));
    }
    tests
}

/// A keyspace as it was before a backup, to compare with what a restore makes of it.
pub(crate) struct Remembered {
    keyspace: String,
    rows: KeyspaceSnapshot,
    schema: schema::Schema,
}

impl Remembered {
    pub(crate) async fn of(cluster: &TestCluster, keyspace: &str) -> Result<Self> {
        let rows = read_keyspace(cluster.session(), keyspace).await?;
        Ok(Self { keyspace: keyspace.to_owned(), rows, schema: schema::read(cluster.session(), keyspace).await? })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.rows()
    }

    /// Rows and schema are now as they were; gives the comparison for a note.
    pub(crate) async fn ensure_unchanged(&self, cluster: &TestCluster, scope: Scope) -> Result<String> {
        let after = read_keyspace(cluster.session(), &self.keyspace).await.context("read the restored keyspace")?;
        let compared = compare_keyspaces(&self.rows, &after, scope);
        compared.ensure_equal()?;
        let now = schema::read(cluster.session(), &self.keyspace).await?;
        let differences = schema::differences(&self.schema, &now);
        ensure!(differences.is_empty(), "the schema of {} differs:\n{}", self.keyspace, differences.join("\n"));
        Ok(compared.to_string())
    }
}

/// Backs up, drops the keyspace by hand, restores.
pub(crate) async fn back_and_forth(
    cluster: &TestCluster,
    bench: &Workbench,
    keyspace: &str,
    backup_flags: &[&str],
    restore_flags: &[&str],
) -> Result<(Run, Run)> {
    let backup = bench.backup(keyspace, backup_flags).await?;
    cluster.drop_keyspace(keyspace).await?;
    let restore = bench.restore(keyspace, restore_flags).await?;
    Ok((backup, restore))
}

async fn every_type_comes_back(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    every_type::make(cluster, "Every", 1).await?;
    let before = Remembered::of(cluster, "Every").await?;
    let bench = Workbench::new(cluster)?;
    let (backup, restore) = back_and_forth(cluster, &bench, "Every", &[], &[]).await?;
    for run in [&backup, &restore] {
        ensure!(run.figure("rows")? == before.rows(), "{} of {} rows in {run}", run.figure("rows")?, before.rows());
    }
    ensure!(restore.figure("segments_verified")? > 0, "nothing was read back: {restore}");
    t.note(before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?);
    // A second restore over the first, with --drop, and a verification of every byte.
    bench.restore("Every", &["--drop", "--yes"]).await?;
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    let repository = bench.repository_argument();
    let verified = bench.run(&["verify", &repository, "--read-data"]).await?.expect(0)?;
    ensure!(verified.line("verified")?["findings"] == 0, "{verified}");
    Ok(())
}

/// Where the server tells times of elements, each comes back at its own; before 5.0 CQL tells nothing of them, and the
/// values are compared.
async fn elements_come_back_at_their_own_times(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("elements", 1).await?;
    cluster
        .run(&[
            "CREATE TYPE elements.place (street text, number int)",
            "CREATE TABLE elements.t (pk int PRIMARY KEY, m map<text, text>, s set<int>, u place)",
            "UPDATE elements.t USING TIMESTAMP 1000 SET m = m + {'a': '1'}, s = s + {1} WHERE pk = 1",
            "UPDATE elements.t USING TIMESTAMP 2000 AND TTL 86400 SET m['b'] = '2', s = s + {2} WHERE pk = 1",
            "UPDATE elements.t USING TIMESTAMP 1000 SET u.street = 's' WHERE pk = 1",
            "UPDATE elements.t USING TIMESTAMP 2000 AND TTL 86400 SET u.number = 2 WHERE pk = 1",
        ])
        .await?;
    let before = Remembered::of(cluster, "elements").await?;
    let bench = Workbench::new(cluster)?;
    back_and_forth(cluster, &bench, "elements", &[], &[]).await?;
    t.note(before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?);
    Ok(())
}

async fn values_only_leaves_times_out(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("plain", 1).await?;
    cluster
        .run(&[
            "CREATE TABLE plain.t (pk int, ck int, v text, PRIMARY KEY (pk, ck))",
            "INSERT INTO plain.t (pk, ck, v) VALUES (1, 1, 'old') USING TIMESTAMP 1000",
            "INSERT INTO plain.t (pk, ck, v) VALUES (1, 2, 'expires') USING TTL 86400",
        ])
        .await?;
    let before = Remembered::of(cluster, "plain").await?;
    let bench = Workbench::new(cluster)?;
    back_and_forth(cluster, &bench, "plain", &["--values-only"], &[]).await?;
    before.ensure_unchanged(cluster, Scope::Values).await?;
    let again = read_keyspace(cluster.session(), "plain").await?;
    let timed = compare_keyspaces(&before.rows, &again, Scope::ValuesAndTimes);
    ensure!(timed.differences == 2, "both cells should have new times: {timed}");
    Ok(())
}

async fn schema_objects_come_back(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    zoo::make(cluster, "zoo").await?;
    let before = Remembered::of(cluster, "zoo").await?;
    let bench = Workbench::new(cluster)?;
    back_and_forth(cluster, &bench, "zoo", &[], &[]).await?;
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    cluster.drop_keyspace("zoo").await
}
