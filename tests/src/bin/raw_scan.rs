//! `raw_scan KEYSPACE TABLE HOST:PORT [PARALLEL [PAGE_ROWS [SELECTED]]]`: how fast pages of a table come, decoding nothing.
#![allow(clippy::print_stdout)] // its answer

use std::sync::Arc;

use anyhow::{Context, Result};
use ringvault_tests::raw_scan::{RawScan, scan_selecting};
use scylla::client::session_builder::SessionBuilder;

const USAGE: &str = "usage: raw_scan KEYSPACE TABLE HOST:PORT [PARALLEL [PAGE_ROWS [SELECTED]]]";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keyspace, table, node, more @ ..] = arguments.as_slice() else { anyhow::bail!(USAGE) };
    let mut how = RawScan::default();
    if let Some(parallel) = more.first() {
        how.parallel = parallel.parse().context(USAGE)?;
    }
    if let Some(page_rows) = more.get(1) {
        how.page_rows = page_rows.parse().context(USAGE)?;
    }
    let session = SessionBuilder::new().known_node(node).fetch_schema_metadata(false).build().await?;
    let selected = more.get(2).map_or("*", String::as_str);
    let scanned = scan_selecting(&Arc::new(session), keyspace, table, selected, how).await?;
    println!(
        "{} rows, {} bytes in {:.2} s: {:.0} rows/s",
        scanned.rows,
        scanned.bytes,
        scanned.elapsed.as_secs_f64(),
        scanned.rows_per_second()
    );
    Ok(())
}
