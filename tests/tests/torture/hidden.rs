//! Rows restored below deletions that are newer than they: told, with what to do, never taken for a success.

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::oracle::{Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};

pub(crate) fn tests() -> Vec<Test> {
    let on = |version: CassandraVersion| {
        let name = format!("rows_hidden_by_newer_deletions_are_told_on_{}", version.label());
        Test::new(name, hidden_rows_are_told).on(ClusterSpec::one(version))
    };
    vec![on(CassandraVersion::V5_0)]
}

const KEYSPACE: &str = "hidden";

async fn hidden_rows_are_told(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace(KEYSPACE, 1).await?;
    cluster
        .run(&[
            "CREATE TABLE hidden.t (pk int, ck int, s text static, v text, m map<text, int>, PRIMARY KEY (pk, ck))",
            "CREATE TABLE hidden.untouched (id int PRIMARY KEY, v text)",
            "INSERT INTO hidden.untouched (id, v) VALUES (1, 'there all the time')",
        ])
        .await?;
    for row in 0..200 {
        let (pk, ck) = (row / 10, row % 10);
        let insert = format!(
            "INSERT INTO hidden.t (pk, ck, s, v, m) VALUES ({pk}, {ck}, 'partition {pk}', 'row {row}', {{'a': {row}}})"
        );
        cluster.run(&[&insert]).await?;
    }
    let before = read_keyspace(cluster.session(), KEYSPACE).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup(KEYSPACE, &[]).await?;
    let deletions = [
        "a partition",
        "DELETE FROM hidden.t WHERE pk = 3",
        "a row",
        "DELETE FROM hidden.t WHERE pk = 4 AND ck = 2",
        "a range",
        "DELETE FROM hidden.t WHERE pk = 5 AND ck > 3",
        "a cell",
        "DELETE v FROM hidden.t WHERE pk = 6 AND ck = 1",
        "an element",
        "DELETE m['a'] FROM hidden.t WHERE pk = 7 AND ck = 1",
        "a static cell",
        "DELETE s FROM hidden.t WHERE pk = 8",
    ];
    for pair in deletions.chunks(2) {
        let [what, deletion] = pair else { continue };
        cluster.run(&[deletion]).await?;
        let run = bench.try_restore(KEYSPACE, &["--if-exists", "append"]).await?;
        let words = ["hidden.t", "--timestamps now"];
        run.refused(3, &["corrupt", "conflict", "mismatch"], &words).with_context(|| format!("{what} was deleted"))?;
        bench.restore(KEYSPACE, &["--if-exists", "append", "--timestamps", "now"]).await?;
        let after = read_keyspace(cluster.session(), KEYSPACE).await?;
        compare_keyspaces(&before, &after, Scope::Values)
            .ensure_equal()
            .with_context(|| format!("{what}, restored"))?;
        // Below, the deletions of the next turn hide what has the time of this restore.
        t.note(format!("{what}: told as a mismatch, then written anew"));
    }
    // All of it deleted by hand, restored as data into the tables that stand.
    let all: Vec<String> = (0..20).map(|pk| format!("DELETE FROM hidden.t WHERE pk = {pk}")).collect();
    for deletion in &all {
        cluster.run(&[deletion]).await?;
    }
    let run = bench.try_restore(KEYSPACE, &["--data-only", "--if-exists", "append"]).await?;
    let message = run.refused(3, &["corrupt", "conflict", "mismatch"], &["--timestamps now"])?;
    ensure!(!message.contains("untouched"), "a table that is as it was is named: {message}");
    bench.restore(KEYSPACE, &["--data-only", "--if-exists", "append", "--timestamps", "now"]).await?;
    let after = read_keyspace(cluster.session(), KEYSPACE).await?;
    compare_keyspaces(&before, &after, Scope::Values).ensure_equal()?;
    // Another keyspace knows no deletions: original times do.
    bench.restore(KEYSPACE, &["--keyspace-as", "hidden_again"]).await?;
    let after = read_keyspace(cluster.session(), "hidden_again").await?;
    compare_keyspaces(&before, &after, Scope::ValuesAndTimes).ensure_equal()?;
    cluster.drop_keyspace("hidden_again").await?;
    cluster.drop_keyspace(KEYSPACE).await
}
