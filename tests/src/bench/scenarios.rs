//! What the benchmark can measure, a file each. Each starts its own servers and keeps every run in the log as it ends.

mod memory;
mod nodes;
mod polite;
mod small;
mod speed;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::data::{BenchTable, Writing, write};
use super::measure::Ran;
use super::options::{Options, Scenario};
use super::record::Log;
use super::settle;
use super::subjects::Place;
use crate::cassandra::TestCluster;
use crate::product;

/// What all scenarios need.
#[derive(Debug)]
pub struct Bench<'a> {
    options: &'a Options,
    directory: tempfile::TempDir,
    ringvault: PathBuf,
    own: PathBuf,
}

impl<'a> Bench<'a> {
    /// With a directory that goes with it.
    ///
    /// # Errors
    /// If there is no `ringvault` to measure.
    pub fn new(options: &'a Options) -> Result<Self> {
        let ringvault = product::binary().context("build ringvault")?.to_path_buf();
        let directory = tempfile::Builder::new().prefix("ringvault-bench-").tempdir()?;
        Ok(Self { options, directory, ringvault, own: std::env::current_exe()? })
    }

    /// Measures a scenario.
    ///
    /// # Errors
    /// If anything fails: a run that lost rows is no result.
    pub async fn run(&self, scenario: Scenario, log: &mut Log) -> Result<()> {
        match scenario {
            Scenario::Speed => speed::run(self, log).await,
            Scenario::Small => small::run(self, log).await,
            Scenario::Memory => memory::run(self, log).await,
            Scenario::Polite => polite::run(self, log).await,
            Scenario::Nodes => nodes::run(self, log).await,
        }
    }

    fn place(&self, cluster: &TestCluster) -> Place {
        Place {
            directory: self.directory.path().to_path_buf(),
            ringvault: self.ringvault.clone(),
            own: self.own.clone(),
            host: cluster.hosts(),
            port: cluster.port(),
        }
    }
}

/// An empty keyspace whose writes skip the commit log: the disk of a test machine is not what is measured.
async fn keyspace(cluster: &TestCluster, name: &str, replicas: u32) -> Result<()> {
    cluster.fresh_keyspace(name, replicas).await?;
    cluster.run(&[&format!("ALTER KEYSPACE {name} WITH durable_writes = false")]).await
}

/// A keyspace with one filled table, written to disk and compacted.
async fn fill(cluster: &TestCluster, table: BenchTable, name: &str, replicas: u32, rows: u64) -> Result<()> {
    keyspace(cluster, name, replicas).await?;
    cluster.run(&[&table.create(name)]).await?;
    let begun = std::time::Instant::now();
    write(cluster.session(), table, name, rows, Writing::Batched).await?;
    settle::flush(cluster, name).await?;
    say(&format!("{rows} rows of {name} made in {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// A run that moved other rows than there are is no result.
fn ensure_rows(ran: &Ran, rows: u64, what: &str) -> Result<()> {
    let moved = ran.figure("rows").with_context(|| format!("{what} says no number of rows"))?;
    ensure!(moved == rows, "{what} moved {moved} of {rows} rows");
    Ok(())
}

fn say(line: &str) {
    crate::runner::say(line);
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
