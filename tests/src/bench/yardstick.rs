//! What the raw driver reaches: pages of a table read and thrown away, rows written one by one or in batches.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use serde::{Deserialize, Serialize};

use super::data::{BenchTable, Writing, write};
use crate::raw_scan::{Coordinator, RawScan, scan_selecting};

/// What a yardstick does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Yardstick {
    /// Reads all columns.
    Scan,
    /// The same at consistency ONE, each range from whom the driver picks.
    ScanAny,
    /// The same at consistency ONE, each range from one of its owners.
    ScanOwner,
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
            Self::ScanAny => "scan-any",
            Self::ScanOwner => "scan-owner",
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
        let all = [Self::Scan, Self::ScanAny, Self::ScanOwner, Self::ScanTimes, Self::WriteSingle, Self::WriteBatched];
        all.into_iter().find(|yardstick| yardstick.name() == name).with_context(|| format!("no yardstick {name}"))
    }
}

/// Runs a yardstick on a keyspace; what it read or wrote, as a line of type `summary` like Ringvault's.
///
/// # Errors
/// If the server refuses anything.
pub async fn run(yardstick: Yardstick, table: BenchTable, node: &str, keyspace: &str, rows: u64) -> Result<String> {
    // only owners are found by the schema; a session without it starts faster
    let knows_schema = yardstick == Yardstick::ScanOwner;
    let builder = SessionBuilder::new().known_node(node).fetch_schema_metadata(knows_schema);
    let session: Session = builder.keyspaces_to_fetch([keyspace]).build().await?;
    let session = Arc::new(session);
    let begun = Instant::now();
    let scan = |what: String, how: RawScan| {
        let session = Arc::clone(&session);
        async move { Ok::<u64, anyhow::Error>(scan_selecting(&session, keyspace, table.name(), &what, how).await?.rows) }
    };
    let pages = RawScan { page_rows: table.page_rows(), ..RawScan::default() };
    let spread = |coordinator| RawScan { consistency: Consistency::One, coordinator, parallel: 6, ..pages };
    let rows = match yardstick {
        Yardstick::Scan => scan("*".to_owned(), pages).await?,
        Yardstick::ScanAny => scan("*".to_owned(), spread(Coordinator::Any)).await?,
        Yardstick::ScanOwner => scan("*".to_owned(), spread(Coordinator::Owner)).await?,
        Yardstick::ScanTimes => scan(with_times(table), pages).await?,
        Yardstick::WriteSingle => write(&session, table, keyspace, rows, Writing::Single).await?,
        Yardstick::WriteBatched if rows > 0 => write(&session, table, keyspace, rows, Writing::Batched).await?,
        Yardstick::WriteBatched => bail!("rows to write: at least 1"),
    };
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis())?;
    Ok(serde_json::json!({"type": "summary", "rows": rows, "elapsed_ms": elapsed_ms}).to_string())
}

fn with_times(table: BenchTable) -> String {
    let times = table.timed_columns().into_iter().map(|c| format!("WRITETIME({c}), TTL({c})"));
    table.columns().into_iter().chain(times).collect::<Vec<_>>().join(", ")
}
