//! What the raw driver reaches: pages of a table read and thrown away, rows written one by one or in batches.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use super::data::{BenchTable, Writing, write};
use crate::raw_scan::{RawScan, scan_selecting};

/// What a yardstick does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yardstick {
    /// Reads all columns.
    Scan,
    /// Reads all columns, and writetime and TTL of each that has one.
    ScanTimes,
    /// Writes one row a request.
    WriteSingle,
    /// Writes neighbours together.
    WriteBatched,
}

impl Yardstick {
    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::ScanTimes => "scan-times",
            Self::WriteSingle => "write-single",
            Self::WriteBatched => "write-batched",
        }
    }

    /// The yardstick of a name.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(name: &str) -> Result<Self> {
        let all = [Self::Scan, Self::ScanTimes, Self::WriteSingle, Self::WriteBatched];
        all.into_iter().find(|yardstick| yardstick.name() == name).with_context(|| format!("no yardstick {name}"))
    }
}

/// Runs a yardstick; the rows it read or wrote.
///
/// # Errors
/// If the server refuses anything.
pub async fn run(yardstick: Yardstick, table: BenchTable, node: &str, keyspace: &str, rows: u64) -> Result<u64> {
    let session: Session = SessionBuilder::new().known_node(node).fetch_schema_metadata(false).build().await?;
    let session = Arc::new(session);
    let times = table.timed_columns().iter().map(|c| format!("WRITETIME({c}), TTL({c})")).collect::<Vec<_>>();
    let all: Vec<String> = table.columns().into_iter().chain(times).collect();
    match yardstick {
        Yardstick::Scan => {
            Ok(scan_selecting(&session, table.keyspace(), table.name(), "*", RawScan::default()).await?.rows)
        }
        Yardstick::ScanTimes => {
            let scanned =
                scan_selecting(&session, table.keyspace(), table.name(), &all.join(", "), RawScan::default()).await?;
            Ok(scanned.rows)
        }
        Yardstick::WriteSingle => write(&session, table, keyspace, rows, Writing::Single).await,
        Yardstick::WriteBatched if rows > 0 => write(&session, table, keyspace, rows, Writing::Batched).await,
        Yardstick::WriteBatched => bail!("rows to write: at least 1"),
    }
}
