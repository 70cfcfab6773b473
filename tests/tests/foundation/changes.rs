//! Unchanged data is stored once; changed rows store only their segments; each backup restores to its own state.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::Workbench;
use ringvault_tests::python;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;
use serde_json::Value;

use crate::round_trip::Remembered;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("an_unchanged_keyspace_is_stored_once", an_unchanged_keyspace_is_stored_once).on(newest()),
        Test::new("changed_rows_store_only_their_segments", changed_rows_store_only_their_segments).on(newest()),
    ]
}

/// Every segment's sums, by table and segment, from the indexes of one backup.
async fn sums(bench: &Workbench, backup_id: &str) -> Result<BTreeMap<String, Vec<Value>>> {
    let directory = bench.repository().join("backups").join(backup_id).join("tables");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
        let path = entry?.path();
        let lines = python::json_lines(&path).await?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.insert(name, lines.into_iter().filter(|line| line.get("segment").is_some()).collect());
    }
    Ok(all)
}

async fn an_unchanged_keyspace_is_stored_once(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "steady", 1).await?;
    large::wide_partition(cluster, "steady", 30_000).await?;
    large::many_partitions(cluster, "steady", 150_000).await?;
    cluster.run(&["INSERT INTO steady.many (id, label) VALUES (-1, 'expires') USING TTL 86400"]).await?;
    let bench = Workbench::new(cluster)?;
    let first =
        bench.backup("steady", &["--shards", "3", "--parallel", "1", "--fetch-size", "100", "--pace", "full"]).await?;
    ensure!(bench.files("probes")?.is_empty(), "the job's nonce stays behind it");
    let stored = bench.files("data")?;
    for flags in [
        ["--shards", "8", "--parallel", "3", "--fetch-size", "1777"],
        ["--shards", "1", "--parallel", "2", "--fetch-size", "10"],
    ] {
        let again = bench.backup("steady", &[&flags[..], &["--pace", "full"]].concat()).await?;
        ensure!(again.figure("rows")? == first.figure("rows")?, "other rows: {again}");
        ensure!(again.figure("chunks_new")? == 0, "{} chunks are new: {again}", again.figure("chunks_new")?);
        ensure!(again.figure("stored_bytes")? == 0, "bytes were stored: {again}");
        ensure!(bench.files("data")? == stored, "the objects of data/ changed");
        let (a, b) = (sums(&bench, &first.text("backup_id")?).await?, sums(&bench, &again.text("backup_id")?).await?);
        ensure!(a == b && !a.is_empty(), "the sums of the segments differ");
    }
    t.note(format!("{} objects, {} rows, three runs", stored.len(), first.figure("rows")?));
    Ok(())
}

async fn changed_rows_store_only_their_segments(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "changing", 1).await?;
    large::many_partitions(cluster, "changing", 150_000).await?;
    let before = Remembered::of(cluster, "changing").await?;
    let bench = Workbench::new(cluster)?;
    let first = bench.backup("changing", &["--pace", "full"]).await?;
    let old: BTreeSet<(String, u64)> = bench.files("data")?.into_iter().collect();
    // Neighbours on the ring, in its last segment: one changes, one goes.
    let query = "SELECT id FROM changing.many WHERE token(id) > 9200000000000000000 LIMIT 2";
    let ids = cluster.session().query_unpaged(query, ()).await?.into_rows_result()?;
    let ids: Vec<i64> = ids.rows::<(i64,)>()?.map(|row| Ok(row?.0)).collect::<Result<_>>()?;
    let [changes, goes] = ids[..] else { anyhow::bail!("no two rows at the ring's end") };
    let update = format!("UPDATE changing.many SET label = 'changed' WHERE id = {changes}");
    cluster.run(&[&update, &format!("DELETE FROM changing.many WHERE id = {goes}")]).await?;
    let changed = Remembered::of(cluster, "changing").await?;
    let second = bench.backup("changing", &["--pace", "full"]).await?;
    let new: BTreeSet<(String, u64)> = bench.files("data")?.into_iter().collect();
    let added: Vec<&(String, u64)> = new.difference(&old).collect();
    ensure!(old.is_subset(&new), "objects of the first backup are gone");
    ensure!(old.len() > 2, "a table of {} chunks proves nothing", old.len());
    ensure!(added.len() == 1, "one segment changed and {} objects are new: {added:?}", added.len());
    ensure!(second.figure("chunks_new")? == added.len() as u64, "the summary counts otherwise: {second}");
    let reused = second.figure("chunks_reused")?;
    ensure!(reused + added.len() as u64 >= first.figure("chunks_new")?, "{reused} chunks were reused: {second}");
    t.note(format!("{} of {} objects stored again after two changed rows", added.len(), old.len()));
    for (run, state) in [(&first, &before), (&second, &changed), (&first, &before)] {
        let id = run.text("backup_id")?;
        bench.restore("changing", &["--backup", &id, "--drop", "--yes", "--pace", "full"]).await?;
        state.ensure_unchanged(cluster, Scope::ValuesAndTimes).await.with_context(|| format!("restored {id}"))?;
    }
    cluster.drop_keyspace("changing").await?;
    cluster.drop_keyspace("steady").await
}
