//! Sends writes and stays with them until they are acknowledged or can't be: backoff on what may pass, halves on what the
//! server rejects as a whole, an error with table and token range in the end.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ringvault_proto::{error::Verdict, token::Token};
use ringvault_runtime::{
    clock::Clock,
    entropy::Entropy,
    retry::Backoff,
    telemetry::metrics::{self, Retried},
};
use scylla::{
    policies::load_balancing::LoadBalancingPolicy,
    serialize::{
        SerializationError,
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
};

use super::{
    LoadCounts,
    batches::Batches,
    bind::Write,
    counter_send::CounterStatements,
    read::Reads,
    statements::{Carried, Shape, Statements},
    window::Window,
};
use crate::cql::{
    Cluster,
    cluster::{KeyspaceRoute, NodesInOrder},
    errors::{Error, Reason, Result, Values},
    pace::{Cost, Pace, Permit},
};

/// Longest TTL that CQL takes: 20 years of 365 days.
const TTL_MAX: i64 = 20 * 365 * 24 * 60 * 60;
/// A write of so many bytes may be above what a server takes (Cassandra's default bound is 16 MiB).
const LARGE_BYTES: usize = 1 << 20;
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pauses that begin with `first`.
pub(super) fn backoff(first: Duration) -> Backoff {
    Backoff::new(first, PAUSE_MAX.max(first)).unwrap_or_else(|_zero| Backoff::peer())
}

/// What sending needs.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) cluster: Arc<Cluster>,
    pub(super) route: KeyspaceRoute,
    pub(super) table: String,
    /// Of a table without counters.
    pub(super) statements: Option<Statements>,
    /// Of a counter table.
    pub(super) counters: Option<CounterStatements>,
    /// What is read before it is written over.
    pub(super) reads: Reads,
    pub(super) carried: Carried,
    /// Microseconds: when the backup began; of what has no writetime.
    pub(super) started_us: i64,
    /// Microseconds: the database's clock when the loader was made; of lists where the server sets all other times.
    pub(super) now_us: i64,
    /// How long an increment may still land after nobody answers for it.
    pub(super) landing_time: Duration,
    pub(super) epoch: u64,
    pub(super) retries: u32,
    pub(super) backoff: Backoff,
    pub(super) patience: Duration,
    pub(super) clock: Arc<dyn Clock>,
    /// By how much the database's clock is ahead of ours.
    pub(super) ahead_ms: i64,
    pub(super) entropy: Entropy,
    pub(super) pace: Arc<Pace>,
    /// Counts requests, so that the replicas of a range take turns.
    pub(super) turn: AtomicUsize,
    pub(super) batches: Batches,
}

/// What a write has gone through so far.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    attempts: u32,
    since: Option<Duration>,
}

impl Sender {
    /// The database's clock, in seconds.
    pub(super) fn now_s(&self) -> i64 {
        (i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX).saturating_add(self.ahead_ms)).div_euclid(1000)
    }

    /// Sends the writes of one batch.
    pub(super) async fn send(&self, writes: Vec<Write>, window: &Mutex<Window>) -> Result<LoadCounts> {
        let mut counts = counts_of(&writes);
        self.pace.take(cost_of(&writes)).await;
        let mut parts = vec![writes];
        let mut trouble = Trouble::default();
        while let Some(mut part) = parts.pop() {
            counts.cells_expired += drop_expired(&mut part, self.now_s());
            if part.is_empty() {
                continue;
            }
            let limit = lock(window).limit();
            match self.request(&part, None).await {
                Ok(()) => {
                    lock(window).succeeded();
                    trouble = Trouble::default();
                }
                Err(error) if error.reason() == Reason::Rejected && part.len() > 1 => {
                    // "batch too large", or one of the rows: halves find out
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                    counts.retries += 1;
                }
                Err(error) => {
                    let error = name_size(error, &part);
                    self.pause(error, &mut trouble, window, limit).await?;
                    counts.retries += 1;
                    parts.push(part);
                }
            }
        }
        Ok(counts)
    }

    /// Waits before another attempt, or gives the error back where none is due.
    pub(super) async fn pause(
        &self,
        error: Error,
        trouble: &mut Trouble,
        window: &Mutex<Window>,
        limit_when_sent: usize,
    ) -> Result<()> {
        match error.kind().verdict() {
            Verdict::Retry => {}
            Verdict::Abandon | Verdict::Stop => return Err(error),
        }
        let patient = match error.reason() {
            Reason::TooFewReplicas | Reason::Disconnected => true,
            Reason::Timeout | Reason::ReplicasFailed | Reason::Overloaded => {
                lock(window).overloaded(limit_when_sent);
                false
            }
            // none of them is tried again
            Reason::LoginRefused
            | Reason::Unauthorized
            | Reason::Rejected
            | Reason::AlreadyExists
            | Reason::Missing
            | Reason::Conflict
            | Reason::Unknown => return Err(error),
        };
        let now = self.clock.now();
        let waited = now.saturating_sub(*trouble.since.get_or_insert(now));
        trouble.attempts += 1;
        if trouble.attempts >= self.retries && !(patient && waited < self.patience) {
            let advice = format!("gave up after {} attempts; --retries and --patience allow more", trouble.attempts);
            return Err(error.advise(&advice));
        }
        tracing::debug!(%error, attempts = trouble.attempts, "a write will be tried again");
        metrics::retry(Retried::Write);
        tokio::time::sleep(self.backoff.pause(trouble.attempts - 1, &self.entropy)).await;
        Ok(())
    }

    /// For messages: the table and the tokens of the writes.
    pub(super) fn what(&self, tokens: impl Iterator<Item = i64> + Clone) -> String {
        let (first, last) = (tokens.clone().min().unwrap_or_default(), tokens.max().unwrap_or_default());
        format!("writing {}.{}, tokens {first} to {last}", self.route.keyspace, self.table)
    }

    /// Nodes to ask about a token, its replicas in turns, then the others; and a place at the first of them, waited for.
    pub(super) async fn place_at(&self, token: i64) -> (Arc<dyn LoadBalancingPolicy>, Place<'_>) {
        let mut replicas = self.cluster.replicas(&self.route, &self.table, Token(token));
        if !replicas.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let length = replicas.len();
            replicas.rotate_left(turn % length);
        }
        // where nobody owns it, whoever is connected is asked
        let first = replicas.first().copied().unwrap_or_default();
        let policy = NodesInOrder::policy(replicas, self.route.local_dc.clone());
        let permit = self.pace.batch(first).await;
        (policy, Place { permit, clock: &*self.clock, sent: self.clock.now() })
    }

    /// One request: a statement alone as such, several as a batch. `at_us`: another timestamp than their own.
    pub(super) async fn request(&self, writes: &[Write], at_us: Option<i64>) -> Result<()> {
        let what = || self.what(writes.iter().map(|write| write.token));
        let (Some(first), Some(statements)) = (writes.first(), &self.statements) else { return Ok(()) };
        let now_s = self.now_s();
        let values: Vec<Timed<'_>> = writes.iter().map(|write| self.timed(write, now_s, at_us)).collect();
        let missing = || Error::internal(format!("{}: a statement was not prepared", what()));
        let (nodes, place) = self.place_at(first.token).await;
        let answer = if let [value] = &values[..] {
            let mut statement = statements.of(&self.cluster, first.shape).await?.ok_or_else(missing)?;
            statement.set_load_balancing_policy(Some(nodes));
            self.cluster.session().execute_unpaged(&statement, value).await
        } else {
            let mut batch = self.batches.take(writes);
            for write in writes.iter().skip(batch.statements.len()) {
                batch.append_statement(statements.of(&self.cluster, write.shape).await?.ok_or_else(missing)?);
            }
            batch.set_load_balancing_policy(Some(nodes));
            let answer = self.cluster.session().batch(&batch, &values).await;
            self.batches.give_back(batch, writes);
            answer
        };
        place.leave(answer.map(|_| ()).map_err(|error| Error::of_execution(&what(), &error, Values::Cells)))
    }

    /// The timestamp of a write, in microseconds, where it carries one.
    pub(super) fn timestamp_of(&self, write: &Write) -> i64 {
        let (kept, _) = self.carried.by(Shape::Insert);
        if kept { write.using.timestamp.unwrap_or(self.started_us) } else { self.now_us }
    }

    fn timed<'a>(&self, write: &'a Write, now_s: i64, at_us: Option<i64>) -> Timed<'a> {
        let (timestamps, ttls) = self.carried.by(write.shape);
        let timestamp = timestamps.then(|| at_us.unwrap_or_else(|| self.timestamp_of(write)));
        let ttl = ttls.then(|| {
            let left = write.using.expiry.map_or(0, |expiry| (expiry - now_s).clamp(1, TTL_MAX));
            i32::try_from(left).unwrap_or(i32::MAX)
        });
        Timed { write, timestamp, ttl }
    }
}

/// A place among the requests under way to a node.
pub(super) struct Place<'a> {
    permit: Permit,
    clock: &'a dyn Clock,
    sent: Duration,
}

impl Place<'_> {
    /// The request was answered like this.
    pub(super) fn leave<T>(self, answer: Result<T>) -> Result<T> {
        match answer.as_ref().map_err(Error::reason) {
            Ok(_) => self.permit.acknowledged(self.clock.now().saturating_sub(self.sent)),
            Err(Reason::Timeout | Reason::ReplicasFailed | Reason::Overloaded) => self.permit.overloaded(),
            Err(_) => {}
        }
        answer
    }
}

/// A write with the times of this attempt.
struct Timed<'a> {
    write: &'a Write,
    timestamp: Option<i64>,
    /// Zero for cells that stay: the table may have a default that must not apply.
    ttl: Option<i32>,
}

impl Timed<'_> {
    fn put_using(&self, writer: &mut RowWriter<'_>) -> Result<(), SerializationError> {
        if let Some(timestamp) = self.timestamp {
            writer.make_cell_writer().set_value(&timestamp.to_be_bytes()).map_err(SerializationError::new)?;
        }
        if let Some(ttl) = self.ttl {
            writer.make_cell_writer().set_value(&ttl.to_be_bytes()).map_err(SerializationError::new)?;
        }
        Ok(())
    }
}

impl SerializeRow for Timed<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        if self.write.shape.using_comes_first() {
            self.put_using(writer)?;
            writer.append_serialize_row(&self.write.values);
        } else {
            writer.append_serialize_row(&self.write.values);
            self.put_using(writer)?;
        }
        if writer.value_count() == context.columns().len() {
            Ok(())
        } else {
            Err(SerializationError::new(std::io::Error::other("another number of values than of bind markers")))
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// A large write that is refused is most likely too large: releases before 5.0 say so in their log only.
pub(super) fn name_size(error: Error, writes: &[Write]) -> Error {
    let bytes: usize = writes.iter().map(|write| write.bytes).sum();
    if !matches!(error.reason(), Reason::Rejected | Reason::ReplicasFailed) || bytes < LARGE_BYTES {
        return error;
    }
    error.advise(&format!(
        "it is about {} MiB: the server takes no mutation above max_mutation_size, half of commitlog_segment_size; raise that",
        bytes >> 20
    ))
}

/// What writes count for in the job's rates: a row that takes several is one.
pub(super) fn cost_of(writes: &[Write]) -> Cost {
    Cost {
        rows: writes.iter().map(|write| u64::from(write.rows + write.static_rows)).sum(),
        bytes: writes.iter().map(|write| write.bytes as u64).sum(),
    }
}

pub(super) fn counts_of(writes: &[Write]) -> LoadCounts {
    LoadCounts {
        rows: writes.iter().map(|write| u64::from(write.rows)).sum(),
        static_rows: writes.iter().map(|write| u64::from(write.static_rows)).sum(),
        ..LoadCounts::default()
    }
}

/// Takes out the writes whose time has come since they were bound; gives the number of their cells.
pub(super) fn drop_expired(writes: &mut Vec<Write>, now_s: i64) -> u64 {
    let mut cells = 0;
    writes.retain(|write| {
        let expired = write.using.expiry.is_some_and(|expiry| expiry <= now_s);
        cells += if expired { u64::from(write.cells) } else { 0 };
        !expired
    });
    cells
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::load::group::Using;

    #[test]
    fn writes_whose_time_came_in_the_queue_are_dropped_and_counted() {
        let write =
            |expiry| Write { using: Using { timestamp: Some(1), expiry }, cells: 3, ..Write::of_size(1, 0, 10) };
        let mut writes = vec![write(Some(100)), write(None), write(Some(101))];
        assert_eq!(drop_expired(&mut writes, 100), 3);
        assert_eq!(writes.len(), 2);
    }
}
