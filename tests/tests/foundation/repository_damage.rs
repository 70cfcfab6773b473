//! A damaged repository: found before the first write, and before a drop. What is there stays as it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;

use crate::round_trip::Remembered;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![Test::new("a_damaged_repository_is_found_before_the_first_write", damage_is_found).on(newest())]
}

const KEYSPACE: &str = "damaged";

/// One kind of damage: what it does to the repository, the kinds of error that may come of it, words of the message.
struct Damage {
    name: &'static str,
    part: Part,
    how: How,
    kinds: &'static [&'static str],
    words: &'static [&'static str],
    /// Found by lengths and sums of what is small; else only where a restore reads every chunk first.
    found_without_reading: bool,
}

#[derive(Clone, Copy)]
enum Part {
    Chunk,
    Index,
    Manifest,
    Format,
    Schema,
}

#[derive(Clone, Copy)]
enum How {
    Missing,
    Truncated,
    FlippedBit,
    NewerFormat,
}

const DAMAGES: &[Damage] = &[
    damage("a missing chunk", Part::Chunk, How::Missing, &["corrupt", "not_found"], &["data/"], true),
    damage("a truncated chunk", Part::Chunk, How::Truncated, &["corrupt"], &["data/"], true),
    damage("a flipped bit in a chunk", Part::Chunk, How::FlippedBit, &["corrupt"], &["data/"], false),
    damage("a missing index", Part::Index, How::Missing, &["corrupt", "not_found"], &["tables/"], true),
    damage("a truncated index", Part::Index, How::Truncated, &["corrupt"], &["tables/"], true),
    damage("a flipped bit in an index", Part::Index, How::FlippedBit, &["corrupt"], &["tables/"], true),
    damage("a truncated manifest", Part::Manifest, How::Truncated, &["corrupt"], &["manifest.json"], true),
    damage("a missing manifest", Part::Manifest, How::Missing, &["corrupt", "not_found"], &[], true),
    damage("a truncated schema", Part::Schema, How::Truncated, &["corrupt"], &["schema.json"], true),
    damage("a missing schema", Part::Schema, How::Missing, &["corrupt", "not_found"], &["schema.json"], true),
    damage("a newer format", Part::Format, How::NewerFormat, &["invalid", "conflict"], &["newer"], true),
];

const fn damage(
    name: &'static str,
    part: Part,
    how: How,
    kinds: &'static [&'static str],
    words: &'static [&'static str],
    found_without_reading: bool,
) -> Damage {
    Damage { name, part, how, kinds, words, found_without_reading }
}

async fn damage_is_found(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, KEYSPACE, 1).await?;
    large::many_partitions(cluster, KEYSPACE, 20_000).await?;
    cluster
        .run(&["CREATE TABLE damaged.other (id int PRIMARY KEY)", "INSERT INTO damaged.other (id) VALUES (1)"])
        .await?;
    let bench = Workbench::new(cluster)?;
    let id = bench.backup(KEYSPACE, &[]).await?.text("backup_id")?;
    let present = Remembered::of(cluster, KEYSPACE).await?;
    let mut wrong = Vec::new();
    for damage in DAMAGES {
        let path = find(&bench, &id, damage.part)?;
        let good = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        if let Err(error) = is_met(cluster, &bench, &id, damage, &path, &good, &present).await {
            wrong.push(format!("{}: {error:#}", damage.name));
        }
        heal(cluster, &bench, &id, &path, &good).await.with_context(|| format!("heal {}", damage.name))?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Whole again, it restores.
    bench.restore(KEYSPACE, &["--drop", "--yes"]).await?;
    present.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    t.note(format!("{} kinds of damage, each before the first write and before the drop", DAMAGES.len()));
    cluster.drop_keyspace(KEYSPACE).await
}

async fn is_met(
    cluster: &TestCluster,
    bench: &Workbench,
    id: &str,
    damage: &Damage,
    path: &Path,
    good: &[u8],
    present: &Remembered,
) -> Result<()> {
    apply(damage.how, path, good)?;
    let verified = bench.run(&["verify", &bench.repository_argument(), id, "--read-data"]).await?;
    ensure!(verified.code != Some(0), "verify finds nothing wrong: {verified}");
    // Before a drop: nothing is dropped.
    let run = bench.try_restore(KEYSPACE, &["--backup", id, "--drop", "--yes"]).await?;
    // What was found by comparing bytes with sums is a mismatch.
    let code = if damage.found_without_reading { 1 } else { 3 };
    run.refused(code, damage.kinds, damage.words).context("with --drop")?;
    present.ensure_unchanged(cluster, Scope::ValuesAndTimes).await.context("the keyspace behind a refused --drop")?;
    // Before the first write: no keyspace appears.
    if damage.found_without_reading {
        cluster.drop_keyspace(KEYSPACE).await?;
        let run = bench.try_restore(KEYSPACE, &["--backup", id]).await?;
        run.refused(1, damage.kinds, damage.words).context("into an empty cluster")?;
        ensure!(!exists(cluster).await?, "a keyspace was created before the damage was found");
    }
    Ok(())
}

/// The repository is whole again, and the keyspace there.
async fn heal(cluster: &TestCluster, bench: &Workbench, id: &str, path: &Path, good: &[u8]) -> Result<()> {
    std::fs::write(path, good)?;
    if !exists(cluster).await? {
        bench.restore(KEYSPACE, &["--backup", id]).await?;
    }
    Ok(())
}

async fn exists(cluster: &TestCluster) -> Result<bool> {
    let query = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = 'damaged'";
    Ok(!ringvault_tests::cql::query_raw(cluster.session(), query).await?.is_empty())
}

/// The part's file; of chunks the largest, of indexes that of the larger table.
fn find(bench: &Workbench, id: &str, part: Part) -> Result<PathBuf> {
    let root = bench.repository();
    let backup = format!("backups/{id}");
    let below = |part: &str| -> Result<PathBuf> {
        let files = bench.files(part)?;
        let largest = files.iter().filter(|(name, _)| name.contains("many")).max_by_key(|(_, length)| *length);
        let (name, _) = largest.with_context(|| format!("no file of the table many below {part}: {files:?}"))?;
        Ok(root.join(part).join(name))
    };
    match part {
        Part::Manifest => Ok(root.join(backup).join("manifest.json")),
        Part::Schema => Ok(root.join(backup).join("schema.json")),
        Part::Format => Ok(root.join("ringvault.json")),
        Part::Index => below(&format!("{backup}/tables")),
        Part::Chunk => below("data"),
    }
}

fn apply(how: How, path: &Path, good: &[u8]) -> Result<()> {
    match how {
        How::Missing => std::fs::remove_file(path)?,
        How::Truncated => std::fs::write(path, &good[..good.len() / 2])?,
        How::FlippedBit => {
            let mut bytes = good.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            std::fs::write(path, bytes)?;
        }
        How::NewerFormat => {
            let mut value: serde_json::Value = serde_json::from_slice(good)?;
            let object = value.as_object_mut().context("ringvault.json is an object")?;
            let version = object.iter().find(|(name, value)| name.contains("format") && value.is_u64());
            let name = version.map(|(name, _)| name.clone()).context("ringvault.json names a format version")?;
            object.insert(name, 999.into());
            std::fs::write(path, serde_json::to_vec(&value)?)?;
        }
    }
    Ok(())
}
