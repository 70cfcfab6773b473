//! Whole keyspaces, there and back.

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::oracle::{Scope, compare_keyspaces, read_keyspace, schema};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::shop;

use crate::seed_tool::{self, Written};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for version in [CassandraVersion::V5_0, CassandraVersion::V3_11] {
        let name = |what: &str| format!("{what}_on_{}", version.label());
        let one = || ClusterSpec::one(version);
        tests.push(Test::new(name("an_imported_directory_comes_back"), an_imported_directory_comes_back).on(one()));
        tests.push(Test::new(name("a_directory_is_restored_as_it_is"), a_directory_is_restored_as_it_is).on(one()));
    }
    tests
}

/// Every scalar, names that Python can't have, a function whose body holds `;`, statics, sorted keys.
const HARD: &[&str] = &[
    "CREATE TYPE shop.inner (a int, \"B c\" text)",
    "CREATE FUNCTION shop.semicolons (x int) CALLED ON NULL INPUT RETURNS int LANGUAGE java \
     AS $$ String s = \"; 'x'; \"; return x; $$",
    "CREATE TABLE shop.every (pk int PRIMARY KEY, a ascii, bi bigint, bl blob, bo boolean, \"class\" text, da date, \
     de decimal, dt double, du duration, f float, ip inet, \"Mixed case\" text, si smallint, ti time, ts timestamp, \
     tu timeuuid, ty tinyint, uu uuid, vi varint) WITH comment = 'a; it''s'",
    "CREATE TABLE shop.nested (pk frozen<tuple<int, text>>, c1 text, c2 decimal, c3 uuid, st map<int, text> static, \
     l list<frozen<set<int>>>, m map<timestamp, frozen<inner>>, u inner, fl frozen<list<blob>>, t tuple<int, int>, \
     PRIMARY KEY (pk, c1, c2, c3)) WITH CLUSTERING ORDER BY (c1 DESC, c2 ASC, c3 DESC)",
    "INSERT INTO shop.every (pk, a, bi, bl, bo, \"class\", da, de, dt, du, f, ip, \"Mixed case\", si, ti, ts, tu, ty, uu, vi) \
     VALUES (1, 'a', -9223372036854775808, 0x00ff, true, 'keyword', '1960-02-29', -1.10, 1e-300, -1mo2d3ns, 0.1, '::1', \
     'x\"\\y', -32768, '23:59:59.999999999', '1969-12-31T23:59:59.999Z', 50554d6e-29bb-11e5-b345-feff819cdc9f, -128, \
     9ab1f1d0-c7a5-41f0-8de9-0242ac120002, -123456789012345678901234567890)",
    "INSERT INTO shop.every (pk, a, bl, bo, da, de, dt, f, ip, ts, vi) VALUES (2, '', 0x, false, '9999-12-31', 1E+3, NaN, \
     -Infinity, '10.0.0.1', '9999-12-31T23:59:59.999Z', 0)",
    "INSERT INTO shop.every (pk) VALUES (3)",
    "INSERT INTO shop.nested (pk, c1, c2, c3, l, m, u, fl, t) VALUES ((1, 'x'), 'a', 1.5, \
     9ab1f1d0-c7a5-41f0-8de9-0242ac120002, [{2, 1}, {}], {'1970-01-01T00:00:00.001Z': {a: 1, \"B c\": null}}, {a: 2}, \
     [0x, 0x00], (1, null))",
    "INSERT INTO shop.nested (pk, c1, c2, c3, st) VALUES ((1, 'x'), 'b', -7, 50554d6e-29bb-11e5-b345-feff819cdc9f, \
     {10: 'ten', 9: 'nine'})",
    "INSERT INTO shop.nested (pk, c1, c2, c3, fl) VALUES ((1, 'x'), 'b', 1E+2, 50554d6e-29bb-11e5-b345-feff819cdc9f, [])",
    "INSERT INTO shop.nested (pk, st) VALUES ((2, null), {1: 'statics only'})",
];

async fn make(cluster: &TestCluster) -> Result<()> {
    shop::make(cluster, "shop", 1, 1).await?;
    cluster.run(HARD).await
}

async fn an_imported_directory_comes_back(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let before = read_keyspace(cluster.session(), "shop").await?;
    let schema_before = schema::read(cluster.session(), "shop").await?;
    let bench = Workbench::new(cluster)?;
    let directory = bench.path().join("seed");
    // As that tool's newest code writes: each row twice.
    let how = Written { shards: 3, part_rows: 200, zipped: true, times: 2 };
    seed_tool::write(cluster, "shop", &directory, &how).await?;
    cluster.drop_keyspace("shop").await?;
    let (seed, repository) = (directory.display().to_string(), bench.repository_argument());
    let imported = bench.run(&["import", &seed, &repository]).await?.expect(0)?;
    let line = imported.line("imported")?;
    ensure!(line["rows"] == before.rows(), "{} of {} rows: {imported}", line["rows"], before.rows());
    let warnings = line["warnings"].to_string();
    for part in ["no writetimes and no TTLs", "more than once with equal values", "counters were kept as numbers"] {
        ensure!(warnings.contains(part), "nothing says {part:?}: {imported}");
    }
    bench.run(&["verify", &repository, "--read-data"]).await?.expect(0)?;
    let restored = bench.restore("shop", &[]).await?;
    ensure!(restored.figure("segments_verified")? > 0, "nothing was read back: {restored}");
    let after = read_keyspace(cluster.session(), "shop").await?;
    let compared = compare_keyspaces(&before, &after, Scope::Values);
    t.note(compared.to_string());
    compared.ensure_equal()?;
    let schema_after = schema::read(cluster.session(), "shop").await?;
    let differences = schema::differences(&schema_before, &schema_after);
    ensure!(differences.is_empty(), "the schema differs:\n{}", differences.join("\n"));
    // The same directory again is another backup of the same chunks.
    let again = bench.run(&["import", &seed, &repository]).await?.expect(0)?;
    ensure!(again.line("imported")?["stored_bytes_new"] == 0, "chunks were stored again: {again}");
    cluster.drop_keyspace("shop").await
}

async fn a_directory_is_restored_as_it_is(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let before = read_keyspace(cluster.session(), "shop").await?;
    let bench = Workbench::new(cluster)?;
    let directory = bench.path().join("seed");
    let how = Written { shards: 1, part_rows: 0, zipped: false, times: 1 };
    seed_tool::write(cluster, "shop", &directory, &how).await?;
    let seed = directory.display().to_string();
    let (hosts, port) = (cluster.hosts(), cluster.port().to_string());
    let connection = ["--hosts", &hosts, "--port", &port];
    let words = ["restore", "shop", &seed, "--drop", "--yes"];
    bench.run(&[&words[..], &connection].concat()).await?.expect(0)?;
    let after = read_keyspace(cluster.session(), "shop").await?;
    let compared = compare_keyspaces(&before, &after, Scope::Values);
    t.note(compared.to_string());
    compared.ensure_equal()?;
    cluster.drop_keyspace("shop").await
}
