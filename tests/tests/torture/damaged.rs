//! Random damage to a real repository: whatever it is, verify finds it or it is none, and no restore gives other rows.
//! Every byte in turn is changed where no cluster is needed, in the tests of the archive.

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::oracle::{KeyspaceSnapshot, Scope, compare_keyspaces, read_keyspace};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::torture;

use crate::generated::seeds_or;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![Test::new("no_damaged_repository_restores_other_rows", no_damage_restores_other_rows).on(newest())]
}

const KEYSPACE: &str = "harmed";

async fn no_damage_restores_other_rows(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    torture::make(cluster, KEYSPACE, 7).await?;
    let before = read_keyspace(cluster.session(), KEYSPACE).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup(KEYSPACE, &["--chunk-size", "20"]).await?;
    let rounds = if t.long { 100 } else { 5 };
    let seeds = seeds_or(0..rounds);
    let mut found = 0;
    let all = seeds.len();
    for seed in seeds {
        let told = harm(cluster, &bench, &before, seed).await;
        match told.with_context(|| format!("RINGVAULT_TORTURE_SEED={seed}"))? {
            None => found += 1,
            Some(harmless) => t.note(format!("restored as it was, and not found: {harmless}")),
        }
    }
    t.note(format!("{found} of {all} damages were found"));
    bench.restore(KEYSPACE, &["--drop", "--yes"]).await.context("the repository as it was")?;
    cluster.drop_keyspace(KEYSPACE).await
}

/// The DDL for people, and nonces of jobs.
fn is_no_part_of_a_backup(name: &str) -> bool {
    name.ends_with("schema.cql") || name.starts_with("probes/")
}

/// Damages one object, verifies, restores, heals. What was not found, and did no harm.
async fn harm(
    cluster: &TestCluster,
    bench: &Workbench,
    before: &KeyspaceSnapshot,
    seed: u64,
) -> Result<Option<String>> {
    let mut random = StdRng::seed_from_u64(seed);
    let files: Vec<(String, u64)> =
        bench.files("")?.into_iter().filter(|(name, length)| *length > 0 && !is_no_part_of_a_backup(name)).collect();
    let (name, _) = &files[random.random_range(0..files.len())];
    let path = bench.repository().join(name);
    let whole = std::fs::read(&path).with_context(|| format!("read {name}"))?;
    let what = damage(&mut random, &path, &whole, bench, &files)?;
    let told = meet(cluster, bench, before).await.with_context(|| format!("{name}, {what}"));
    std::fs::write(&path, &whole).with_context(|| format!("heal {name}"))?;
    Ok((!told?).then(|| format!("{name}, {what}")))
}

fn damage(
    random: &mut StdRng,
    path: &std::path::Path,
    whole: &[u8],
    bench: &Workbench,
    files: &[(String, u64)],
) -> Result<String> {
    let at = random.random_range(0..whole.len());
    let mut bytes = whole.to_vec();
    let what = match random.random_range(0..6) {
        0 => {
            std::fs::remove_file(path)?;
            return Ok("deleted".to_owned());
        }
        1 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        2 => {
            let (other, _) = &files[random.random_range(0..files.len())];
            bytes = std::fs::read(bench.repository().join(other))?;
            format!("replaced by {other}")
        }
        _ => {
            let pattern: u8 = random.random_range(1..=255);
            bytes[at] ^= pattern;
            format!("byte {at} xor {pattern:#x}")
        }
    };
    std::fs::write(path, &bytes)?;
    Ok(what)
}

async fn meet(cluster: &TestCluster, bench: &Workbench, before: &KeyspaceSnapshot) -> Result<bool> {
    let verified = bench.run(&["verify", &bench.repository_argument(), "--read-data"]).await?;
    let found = verified.code != Some(0);
    let restored = bench.try_restore(KEYSPACE, &["--drop", "--yes"]).await?;
    ensure!(!restored.to_string().contains("panicked"), "a panic: {restored}");
    ensure!(!found || restored.code != Some(0), "verify finds {verified}, and a restore does not care: {restored}");
    // Refused, nothing was dropped; done, it is what was stored.
    let after = read_keyspace(cluster.session(), KEYSPACE).await.with_context(|| format!("after {restored}"))?;
    compare_keyspaces(before, &after, Scope::ValuesAndTimes).ensure_equal().with_context(|| format!("{restored}"))?;
    Ok(found)
}
