//! "Values": what can't be kept is refused by name before any work.

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::cql::query_raw;
use ringvault_tests::oracle::schema;
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};

use super::stage::{named, run};

pub(crate) fn tests(version: CassandraVersion) -> Vec<Test> {
    let mut tests = vec![
        Test::new(named("an_unknown_custom_type_is_refused_by_name", version), custom_types)
            .on(ClusterSpec::one(version)),
    ];
    if version == CassandraVersion::V3_11 {
        let name = named("a_compact_table_comes_back_as_it_was_or_is_refused_by_name", version);
        tests.push(Test::new(name, compact).on(ClusterSpec::one(version)));
    }
    tests
}

/// Each on a node of its own.
pub(crate) fn other_partitioner(version: CassandraVersion) -> Test {
    let spec = ClusterSpec::one(version).with_setting("partitioner", "org.apache.cassandra.dht.RandomPartitioner");
    Test::new(named("a_cluster_of_another_partitioner_is_refused", version), random_partitioner).on(spec)
}

async fn random_partitioner(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_random", 1).await?;
    let rows = ["CREATE TABLE KS.t (k int PRIMARY KEY)", "INSERT INTO KS.t (k) VALUES (1)"];
    run(cluster, "fid_random", &rows).await?;
    let bench = Workbench::new(cluster)?;
    let refused = bench.try_backup("fid_random", &[]).await?;
    t.note(refused.refused(1, &["invalid", "conflict"], &["RandomPartitioner"])?);
    ensure!(bench.files("data")?.is_empty() && bench.files("backups")?.is_empty(), "something was stored");
    Ok(())
}

async fn custom_types(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_custom", 1).await?;
    let types =
        ["DynamicCompositeType(a=>BytesType,i=>IntegerType)", "CompositeType(UTF8Type,Int32Type)", "LexicalUUIDType"];
    let mut made = Vec::new();
    for (number, name) in types.iter().enumerate() {
        let create = format!(
            "CREATE TABLE KS.odd{number} (k int PRIMARY KEY, v 'org.apache.cassandra.db.marshal.{}')",
            name.replace("=>", "=>org.apache.cassandra.db.marshal.")
        );
        match run(cluster, "fid_custom", &[create]).await {
            Ok(()) => made.push((number, name)),
            Err(error) => t.note(format!("{name} can't be made here: {error:#}")),
        }
    }
    ensure!(made.iter().any(|(number, _)| *number == 0), "DynamicCompositeType could not be made");
    let bench = Workbench::new(cluster)?;
    for (number, name) in made {
        let table = format!("odd{number}");
        let short = name.split('(').next().unwrap_or_default();
        let refused = bench.try_backup("fid_custom", &["--tables", &table]).await?;
        if refused.code == Some(0) && number > 0 {
            t.note(format!("{short} is kept as bytes"));
            continue;
        }
        t.note(refused.refused(1, &["invalid", "conflict"], &[&table, short])?);
    }
    cluster.drop_keyspace("fid_custom").await
}

async fn compact(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_thrift", 1).await?;
    let statements = [
        "CREATE TABLE KS.dense (k int, c int, v int, PRIMARY KEY (k, c)) WITH COMPACT STORAGE",
        "CREATE TABLE KS.sparse (k int PRIMARY KEY, a int, b text) WITH COMPACT STORAGE",
        "CREATE TABLE KS.keys (k int, c int, PRIMARY KEY (k, c)) WITH COMPACT STORAGE",
        "INSERT INTO KS.dense (k, c, v) VALUES (1, 1, 1) USING TIMESTAMP 1000",
        "INSERT INTO KS.sparse (k, a) VALUES (1, 1) USING TTL 86400",
        "INSERT INTO KS.keys (k, c) VALUES (1, 1)",
    ];
    run(cluster, "fid_thrift", &statements).await?;
    // As SELECT shows them: their hidden columns stand in system_schema, and can't be selected.
    let queries =
        ["*, writetime(v) FROM KS.dense", "k, a, b, writetime(a) FROM KS.sparse", "* FROM KS.keys", "a FROM KS.sparse"];
    let read = async || -> Result<Vec<_>> {
        let mut all = Vec::new();
        for query in
            queries.map(|query| format!("SELECT {}", query.replace("KS.", "fid_thrift.").replace("*,", "k, c, v,")))
        {
            all.push(query_raw(cluster.session(), &query).await?);
        }
        Ok(all)
    };
    let before = read().await?;
    let was = schema::read(cluster.session(), "fid_thrift").await?;
    let bench = Workbench::new(cluster)?;
    let backup = bench.try_backup("fid_thrift", &[]).await?;
    if backup.code != Some(0) {
        t.note(backup.refused(1, &["invalid", "conflict"], &["fid_thrift", "compact"])?);
        return cluster.drop_keyspace("fid_thrift").await;
    }
    bench.restore("fid_thrift", &["--drop", "--yes"]).await?;
    let after = read().await?;
    ensure!(before == after, "rows were {before:?} and are {after:?}");
    let found = schema::differences(&was, &schema::read(cluster.session(), "fid_thrift").await?);
    ensure!(found.is_empty(), "a compact table became another: {found:?}");
    cluster.drop_keyspace("fid_thrift").await
}
