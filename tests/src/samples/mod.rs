//! Makers of sample data, by the raw driver and from bytes: nothing here knows how Ringvault reads or writes.
//!
//! - [`every_type`]: each CQL type with its hard values, nested, as keys, with times
//! - [`zoo`]: schema objects with options, indexes, views, functions
//! - [`large`]: one wide partition, many small ones
//! - [`shop`]: the demo's keyspace

pub mod bytes;
pub mod every_type;
mod every_type_times;
pub mod large;
pub mod shop;
pub(crate) mod values;
pub mod zoo;

use anyhow::{Context, Result};
use futures::StreamExt as _;
use scylla::client::session::Session;

use crate::cql::{Cell, Cells};

/// Requests in flight while samples are loaded; one node on two cores is busy with that.
const IN_FLIGHT: usize = 96;

/// Loads rows by one prepared statement, many at a time.
///
/// # Errors
/// If the server refuses the statement or any row; the row's number is named.
pub async fn load(session: &Session, insert: &str, rows: impl Iterator<Item = Vec<Cell>>) -> Result<u64> {
    let statement = session.prepare(insert).await.with_context(|| format!("prepare {insert}"))?;
    let writes = futures::stream::iter(rows.enumerate().map(|(number, cells)| {
        let statement = &statement;
        async move {
            let written = session.execute_unpaged(statement, Cells(cells)).await;
            written.map(drop).with_context(|| format!("row {number} of {insert}"))
        }
    }));
    let mut writes = writes.buffer_unordered(IN_FLIGHT);
    let mut loaded = 0;
    while let Some(written) = writes.next().await {
        written?;
        loaded += 1;
    }
    Ok(loaded)
}

/// As [`load`], in unlogged batches of `batch_rows` neighbouring rows, which should share their partition.
///
/// # Errors
/// As [`load`].
pub async fn load_batched(
    session: &Session,
    insert: &str,
    batch_rows: usize,
    mut rows: impl Iterator<Item = Vec<Cell>>,
) -> Result<u64> {
    use scylla::statement::batch::{Batch, BatchType};
    let statement = session.prepare(insert).await.with_context(|| format!("prepare {insert}"))?;
    let batches = std::iter::from_fn(move || {
        let batch: Vec<Cells> = rows.by_ref().take(batch_rows).map(Cells).collect();
        (!batch.is_empty()).then_some(batch)
    });
    let writes = futures::stream::iter(batches.map(|rows| {
        let mut batch = Batch::new(BatchType::Unlogged);
        for _ in &rows {
            batch.append_statement(statement.clone());
        }
        async move {
            session.batch(&batch, &rows).await.with_context(|| format!("a batch of {insert}"))?;
            Ok::<usize, anyhow::Error>(rows.len())
        }
    }));
    let mut writes = writes.buffer_unordered(IN_FLIGHT / 4);
    let mut loaded = 0;
    while let Some(written) = writes.next().await {
        loaded += written? as u64;
    }
    Ok(loaded)
}
