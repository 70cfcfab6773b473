//! Batches that wait for their next request. A batch owns its statements, and each clone of one copies its settings and
//! counts owners; nearly every request is a few inserts, so batches of inserts are used again.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use scylla::{
    frame::types::Consistency,
    policies::retry::FallthroughRetryPolicy,
    statement::batch::{Batch, BatchType},
};

use super::{bind::Write, send::lock, statements::Shape};

/// Batches of inserts that no request is using; as many as were under way at once, at most.
pub(super) struct Batches {
    free: Mutex<Vec<Batch>>,
    consistency: Consistency,
}

impl Batches {
    pub(super) fn new(consistency: Consistency) -> Self {
        Self { free: Mutex::default(), consistency }
    }

    /// A batch for these writes: its first statements may be there already, what is missing is to be appended.
    pub(super) fn take(&self, writes: &[Write]) -> Batch {
        let known = if are_inserts(writes) { lock(&self.free).pop() } else { None };
        let mut batch = known.unwrap_or_else(|| {
            let mut batch = Batch::new(BatchType::Unlogged);
            batch.set_consistency(self.consistency);
            batch.set_is_idempotent(true);
            batch.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
            batch
        });
        batch.statements.truncate(writes.len());
        batch
    }

    /// Takes back a batch that was made for these writes.
    pub(super) fn give_back(&self, batch: Batch, writes: &[Write]) {
        if are_inserts(writes) {
            lock(&self.free).push(batch);
        }
    }
}

fn are_inserts(writes: &[Write]) -> bool {
    writes.iter().all(|write| write.shape == Shape::Insert)
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("consistency", &self.consistency).finish_non_exhaustive()
    }
}
