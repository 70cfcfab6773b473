//! The yardstick: reads a table by pages with the raw driver and decodes nothing. What a backup reaches of its rows a
//! second says what Ringvault costs on top of the database.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use scylla::client::session::Session;
use scylla::cluster::ClusterState;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::response::PagingState;
use scylla::routing::Token;
use scylla::statement::Consistency;

use crate::cql::{qualified, quote};

/// Whom the yardstick asks for a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinator {
    /// Whom the driver picks, which may own nothing of it.
    Any,
    /// One that owns it; owners take turns.
    Owner,
}

/// How the yardstick reads.
#[derive(Clone, Copy, Debug)]
pub struct RawScan {
    /// Token ranges in flight.
    pub parallel: usize,
    /// Rows a page.
    pub page_rows: i32,
    /// Who must answer.
    pub consistency: Consistency,
    /// Who is asked; [`Coordinator::Owner`] wants a session that knows the keyspace.
    pub coordinator: Coordinator,
}

impl Default for RawScan {
    fn default() -> Self {
        let (consistency, coordinator) = (Consistency::LocalQuorum, Coordinator::Any);
        Self { parallel: 4, page_rows: 5000, consistency, coordinator }
    }
}

/// What a scan came to.
#[derive(Clone, Copy, Debug)]
pub struct Scanned {
    /// Rows of all pages.
    pub rows: u64,
    /// Bytes of all rows.
    pub bytes: u64,
    /// From the first request to the last page.
    pub elapsed: Duration,
}

impl Scanned {
    /// Rows a second.
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64().max(0.001)
    }
}

/// Token ranges that the ring is cut into.
const RANGES: u64 = 64;

/// Scans all columns of a table.
///
/// # Errors
/// If a page can't be read.
pub async fn scan(session: &Arc<Session>, keyspace: &str, table: &str, how: RawScan) -> Result<Scanned> {
    scan_selecting(session, keyspace, table, "*", how).await
}

/// Scans what a `SELECT` list names.
///
/// # Errors
/// If a page can't be read.
pub async fn scan_selecting(
    session: &Arc<Session>,
    keyspace: &str,
    table: &str,
    selected: &str,
    how: RawScan,
) -> Result<Scanned> {
    let query =
        "SELECT column_name, kind, position FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
    let columns = session.query_unpaged(query, (keyspace, table)).await?.into_rows_result()?;
    let mut key: Vec<(i32, String)> = Vec::new();
    for row in columns.rows::<(String, String, i32)>()? {
        let (name, kind, position) = row?;
        if kind == "partition_key" {
            key.push((position, quote(&name)));
        }
    }
    key.sort();
    let key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
    let token = format!("token({})", key.join(", "));
    let query = format!("SELECT {selected} FROM {} WHERE {token} > ? AND {token} <= ?", qualified(keyspace, table));
    let mut statement = session.prepare(query.as_str()).await.with_context(|| format!("prepare {query}"))?;
    statement.set_page_size(how.page_rows);
    statement.set_consistency(how.consistency);
    let (rows, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let state = session.get_cluster_state();
    let bounds = bounds(&state);
    let begun = Instant::now();
    futures::stream::iter(bounds.windows(2).enumerate())
        .map(|(turn, range)| {
            let (session, mut statement, range) = (Arc::clone(session), statement.clone(), (range[0], range[1]));
            if how.coordinator == Coordinator::Owner {
                let owners = state.get_token_endpoints(keyspace, table, Token::new(range.1));
                if let Some((owner, _)) = owners.get(turn % owners.len().max(1)) {
                    let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(owner.host_id), None);
                    statement.set_load_balancing_policy(Some(only));
                }
            }
            let (rows, bytes) = (Arc::clone(&rows), Arc::clone(&bytes));
            async move {
                let mut state = PagingState::start();
                loop {
                    let (page, next) = session.execute_single_page(&statement, range, state).await?;
                    let page = page.into_rows_result()?;
                    rows.fetch_add(page.rows_num() as u64, Ordering::Relaxed);
                    bytes.fetch_add(page.rows_bytes_size() as u64, Ordering::Relaxed);
                    match next.into_paging_control_flow() {
                        ControlFlow::Continue(further) => state = further,
                        ControlFlow::Break(()) => return Ok::<(), anyhow::Error>(()),
                    }
                }
            }
        })
        .buffer_unordered(how.parallel)
        .try_collect::<Vec<()>>()
        .await?;
    let elapsed = begun.elapsed();
    Ok(Scanned { rows: rows.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed), elapsed })
}

/// Where the ring is cut: evenly, and with several nodes also where owners change, so that each range has its owners.
fn bounds(state: &ClusterState) -> Vec<i64> {
    let step = u64::MAX / RANGES;
    let mut bounds: Vec<i64> = (0..RANGES).map(|i| i64::MIN.wrapping_add_unsigned(step * i)).collect();
    bounds.push(i64::MAX);
    if state.get_nodes_info().len() > 1 {
        bounds.extend(state.replica_locator().ring().iter().map(|(token, _)| token.value()));
    }
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}
