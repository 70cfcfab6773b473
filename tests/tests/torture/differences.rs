//! `diff` finds one changed cell among very many rows, and reads only the segments that differ.

use anyhow::{Context, Result, bail, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![Test::new("diff_finds_one_changed_cell_among_very_many_rows", one_changed_cell_is_found).on(newest())]
}

const KEYSPACE: &str = "different";

async fn one_changed_cell_is_found(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let rows = if t.long { 1_000_000 } else { 100_000 };
    large::keyspace(cluster, KEYSPACE, 1).await?;
    large::many_partitions(cluster, KEYSPACE, rows).await?;
    let bench = Workbench::new(cluster)?;
    let first = bench.backup(KEYSPACE, &["--pace", "full"]).await?.text("backup_id")?;
    let repository = bench.repository_argument();
    let same = bench.run(&["diff", &repository, &first, &first]).await?.expect(0)?;
    ensure!(figure(&same, "segments_differing")? == 0, "{same}");
    ensure!(figure(&same, "bytes_read")? == 0, "equal sums need no reading: {same}");
    let changed = rows / 2 + 1;
    cluster.run(&[&format!("UPDATE different.many SET label = 'changed' WHERE id = {changed}")]).await?;

    // Against the cluster, before a second backup knows of it.
    let hosts = [cluster.hosts(), cluster.port().to_string()];
    let live = ["diff", &repository, &first, "--against-cluster", "--rows", "--hosts", &hosts[0], "--port", &hosts[1]];
    let live = bench.run(&live).await?.expect(3)?;
    ensure_found(&live, changed).context("against the cluster")?;
    t.note(format!("against the cluster: {} in {:.1} s", live.line("diff")?, live.elapsed.as_secs_f64()));

    let stored_before = bench.files("data")?;
    let second = bench.backup(KEYSPACE, &["--pace", "full"]).await?.text("backup_id")?;
    let coarse = bench.run(&["diff", &repository, &first, &second]).await?.expect(3)?;
    ensure!(figure(&coarse, "segments_differing")? == 1, "{coarse}");
    let fine = bench.run(&["diff", &repository, &first, &second, "--rows"]).await?.expect(3)?;
    ensure_found(&fine, changed).context("between backups")?;
    // One segment on each side, of all: the chunk that is new, and the one that it stands for.
    let after: Vec<(String, u64)> = bench.files("data")?;
    let new: Vec<&(String, u64)> = after.iter().filter(|file| !stored_before.contains(file)).collect();
    let [(new_chunk, _)] = new[..] else { bail!("one cell changed, and {} objects are new", new.len()) };
    let segment = new_chunk.rsplit('/').next().and_then(|name| name.split('-').nth(1)).unwrap_or_default();
    let of_segment =
        |(name, _): &&(String, u64)| name.rsplit('/').next().is_some_and(|n| n.split('-').nth(1) == Some(segment));
    let wanted: u64 = after.iter().filter(of_segment).map(|(_, length)| length).sum();
    let stored: u64 = after.iter().map(|(_, length)| length).sum();
    let (read, objects) = (figure(&fine, "bytes_read")?, figure(&fine, "objects_read")?);
    ensure!(read == wanted && read < stored, "{read} bytes were read, {wanted} of {stored} differ: {fine}");
    ensure!(objects == 2, "{objects} objects were read: {fine}");
    t.note(format!(
        "between backups: {} in {:.1} s; {stored} bytes are stored",
        fine.line("diff")?,
        fine.elapsed.as_secs_f64()
    ));

    // The other way round, and with nothing to find any more.
    cluster.run(&[&format!("DELETE FROM different.many WHERE id = {changed}")]).await?;
    let third = bench.backup(KEYSPACE, &["--pace", "full"]).await?.text("backup_id")?;
    let gone = bench.run(&["diff", &repository, &second, &third, "--rows"]).await?.expect(3)?;
    ensure!(figure(&gone, "missing")? + figure(&gone, "extra")? == 1 && figure(&gone, "differing")? == 0, "{gone}");
    cluster.drop_keyspace(KEYSPACE).await
}

fn figure(run: &Run, name: &str) -> Result<u64> {
    let line = run.line("diff")?;
    line[name].as_u64().with_context(|| format!("no figure {name} in {line}"))
}

/// One row, named by its key, with the old value and the new one.
fn ensure_found(run: &Run, changed: u64) -> Result<()> {
    ensure!(figure(run, "segments_differing")? == 1, "{run}");
    ensure!(figure(run, "differing")? == 1, "{run}");
    ensure!(figure(run, "missing")? == 0 && figure(run, "extra")? == 0, "{run}");
    let rows = run.lines("row_diff");
    ensure!(rows.len() == 1, "{} rows are named: {run}", rows.len());
    let named = rows[0].to_string();
    for part in [changed.to_string().as_str(), "changed", &format!("label {}", changed % 1000)] {
        ensure!(named.contains(part), "the difference lacks {part}: {named}");
    }
    Ok(())
}
