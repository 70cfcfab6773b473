//! A steady load by the raw driver: single-partition reads and writes at a fixed rate, whatever the answers take. A latency
//! counts from when its request was due, so that a server that stalls is charged for all that should have come meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::data::BenchTable;
use crate::cql::Cells;

/// The table that it reads and writes.
const TABLE: BenchTable = BenchTable::Ycsb;
/// A clock of the runtime ticks in milliseconds: requests are due on its ticks, some at once if need be.
const TICK: Duration = Duration::from_millis(1);

/// What is asked for, on a keyspace whose table `ycsb` has the first so many rows.
#[derive(Clone, Debug)]
pub struct Foreground {
    session: Arc<Session>,
    read: PreparedStatement,
    write: PreparedStatement,
    rows: u64,
    per_second: u64,
}

/// Latencies of answered requests in milliseconds, and how many failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// Of reads, sorted.
    pub reads: Vec<f64>,
    /// Of writes, sorted.
    pub writes: Vec<f64>,
    /// Requests without an answer.
    pub failed: u64,
}

impl Foreground {
    /// Prepares the statements.
    ///
    /// # Errors
    /// If the server refuses them.
    pub async fn new(session: &Arc<Session>, keyspace: &str, rows: u64, per_second: u64) -> Result<Self> {
        let select = format!("SELECT * FROM {keyspace}.{} WHERE id = ?", TABLE.name());
        let read = session.prepare(select).await.context("prepare the foreground's read")?;
        let write = session.prepare(TABLE.insert(keyspace)).await.context("prepare the foreground's write")?;
        Ok(Self { session: Arc::clone(session), read, write, rows: rows.max(1), per_second: per_second.max(1) })
    }

    /// Asks until told to end; then waits for what is under way.
    ///
    /// # Errors
    /// If a request panics.
    pub async fn run(self, end: Arc<AtomicBool>) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut under_way = JoinSet::new();
        let begun = Instant::now() + TICK;
        for number in 0.. {
            let due = begun + due_after(number, self.per_second);
            tokio::time::sleep_until(due).await;
            if end.load(Ordering::Relaxed) {
                break;
            }
            let load = self.clone();
            under_way.spawn(async move { load.ask(number, due).await });
            while let Some(ended) = under_way.try_join_next() {
                latencies.add(ended?);
            }
        }
        while let Some(ended) = under_way.join_next().await {
            latencies.add(ended?);
        }
        latencies.reads.sort_by(f64::total_cmp);
        latencies.writes.sort_by(f64::total_cmp);
        Ok(latencies)
    }

    async fn ask(&self, number: u64, due: Instant) -> (bool, Option<f64>) {
        // a multiplier that is odd and large visits rows in an order that looks like chance
        let mut row = TABLE.row(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.rows);
        let reads = number.is_multiple_of(2);
        let answer = if reads {
            row.truncate(1);
            self.session.execute_unpaged(&self.read, Cells(row)).await.map(drop)
        } else {
            self.session.execute_unpaged(&self.write, Cells(row)).await.map(drop)
        };
        (reads, answer.ok().map(|()| due.elapsed().as_secs_f64() * 1e3))
    }
}

impl Latencies {
    fn add(&mut self, (reads, taken_ms): (bool, Option<f64>)) {
        match taken_ms {
            None => self.failed += 1,
            Some(taken) if reads => self.reads.push(taken),
            Some(taken) => self.writes.push(taken),
        }
    }
}

/// When a request is due, on a tick, counted from the first.
fn due_after(number: u64, per_second: u64) -> Duration {
    Duration::from_millis(number.saturating_mul(1000) / per_second)
}

/// The value that so much of all stays below; sorted values. 0 without any.
#[must_use]
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_their_rate() {
        assert_eq!(due_after(0, 400), Duration::ZERO);
        assert_eq!(due_after(400, 400), Duration::from_secs(1));
        assert_eq!(due_after(3, 400), Duration::from_millis(7));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (100.0, 198.0));
        assert_eq!((percentile(&[7.0], 0.99), percentile(&[], 0.5)), (7.0, 0.0));
    }
}
