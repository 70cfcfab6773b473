//! What the workers of a fleet did, read from their logs: those outlive a kill, unlike whatever a process holds in memory.
//! So the work that had to be done twice can be counted to the row.

use std::path::PathBuf;

use anyhow::Result;
use ringvault_tests::fleet::{Fleet, worker_name};
use serde_json::Value;

/// A row was read and encoded, by a dump or by a verification.
pub(crate) const ENCODED: &str = "a page is encoded";
/// A chunk stands in the repository.
pub(crate) const STORED: &str = "a chunk is stored";
/// The database acknowledged rows of a restore.
pub(crate) const WRITTEN: &str = "rows are acknowledged";
/// A worker gives up what it was doing.
pub(crate) const LOST: &str = "lease lost, work abandoned";

/// Rows that were worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) encoded: u64,
    pub(crate) written: u64,
    /// Leases that workers gave up since they could not renew them, or were told so.
    pub(crate) leases_lost: u64,
}

/// Places in the logs of all workers.
#[derive(Debug)]
pub(crate) struct Mark(Vec<(PathBuf, usize)>);

impl Mark {
    /// Where the logs end now.
    pub(crate) fn now(fleet: &Fleet<'_>) -> Self {
        let paths = (0..fleet.workers()).map(|index| fleet.log_path(&worker_name(index)));
        Self(paths.map(|path| (path.clone(), std::fs::read(&path).map_or(0, |bytes| bytes.len()))).collect())
    }

    /// What was worked on since.
    pub(crate) fn work_since(&self) -> Result<Work> {
        let mut work = Work::default();
        for (path, from) in &self.0 {
            let bytes = std::fs::read(path)?;
            let text = String::from_utf8_lossy(bytes.get(*from..).unwrap_or_default());
            work.encoded += rows_of(&text, ENCODED);
            work.written += rows_of(&text, WRITTEN);
            work.leases_lost += count(&text, LOST) as u64;
        }
        Ok(work)
    }
}

/// How often a log says this.
pub(crate) fn count(log: &str, says: &str) -> usize {
    log.matches(&message(says)).count()
}

/// Log lines that say this.
pub(crate) fn lines(log: &str, says: &str) -> Vec<Value> {
    let message = message(says);
    // A line that a kill cut off is none.
    log.lines().filter(|line| line.contains(&message)).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// As it stands in a JSON line.
fn message(says: &str) -> String {
    format!("\"message\":\"{says}\"")
}

/// A field of the spans that a log line stands in.
pub(crate) fn span_field(line: &Value, name: &str) -> Option<String> {
    let spans = line["spans"].as_array()?;
    let found = spans.iter().find_map(|span| span.get(name))?;
    found.as_str().map(ToOwned::to_owned).or_else(|| Some(found.to_string()))
}

fn rows_of(log: &str, says: &str) -> u64 {
    lines(log, says).iter().filter_map(|line| line["fields"]["rows"].as_u64()).sum()
}
