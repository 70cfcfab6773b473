//! Carries out assignments, one file each. What is shared: where the work takes place, how it tells its progress, and
//! the reading of segments ([`reading`]), which dump and verify have in common.

mod archived;
mod dump;
mod inspect;
pub(crate) mod reading;
mod restore;
mod schema;
pub(crate) mod sinks;
mod verify;

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, assignment::Work},
};
use ringvault_runtime::{clock::Clock, entropy::Entropy, lease_keeper::Lease, tasks::Tasks};

use crate::{
    cql::{pace::Pace, scan::TableScan},
    link::{Reporter, lease_message},
    places::Places,
};

/// What an execution works with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) places: Arc<Places>,
    /// Of the assignment's job.
    pub(crate) pace: Arc<Pace>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Entropy,
    pub(crate) tasks: Tasks,
    pub(crate) progress: Arc<Progress>,
    /// Encoded bytes at which a chunk ends.
    pub(crate) chunk_bytes_max: u64,
    pub(crate) reporter: Reporter,
}

/// What an execution has done so far; read by the attend loop once a second.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) rows: AtomicU64,
    pub(crate) encoded_bytes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pace: OnceLock<Arc<Pace>>,
    scan: OnceLock<TableScan>,
    waiting: Mutex<String>,
}

impl Progress {
    pub(crate) fn add(&self, rows: u64, encoded_bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.encoded_bytes.fetch_add(encoded_bytes, Ordering::Relaxed);
    }

    /// Lets the progress tell what slows the work down.
    pub(crate) fn heed(&self, pace: &Arc<Pace>) {
        let _ = self.pace.set(pace.clone()); // an execution has one
    }

    /// Lets the progress tell what a scan waits for.
    pub(crate) fn follow(&self, scan: &TableScan) {
        // one scan an execution; a second one would only tell less
        let _ = self.scan.set(scan.clone());
    }

    /// Tells what work without a scan waits for; an empty text ends the wait.
    pub(crate) fn wait_for(&self, what: String) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    pub(crate) fn message(&self, lease: &Lease) -> v1::LeaseProgress {
        let scan = self.scan.get();
        let reading = scan.map_or(0, TableScan::retries);
        v1::LeaseProgress {
            lease: Some(lease_message(lease)),
            rows: self.rows.load(Ordering::Relaxed),
            encoded_bytes: self.encoded_bytes.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed) + reading,
            throttle: self.pace.get().map(|pace| pace.throttle().to_owned()).unwrap_or_default(),
            waiting: match scan {
                Some(scan) => scan.waiting(),
                None => self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            },
        }
    }
}

/// Carries out one assignment to its end.
///
/// # Errors
/// The failure to tell the coordinator, or `Fenced` where the lease was lost.
pub(crate) async fn execute(context: Context, mut assignment: v1::Assignment) -> Result<(), Failure> {
    let Some(work) = assignment.work.take() else {
        let message = "the assignment holds no work that this version knows; update the worker";
        return Err(Failure::new(ErrorKind::Invalid, message));
    };
    if moves_rows(&work) {
        context.progress.heed(&context.pace);
    }
    match work {
        Work::Inspect(work) => inspect::inspect(&context, &assignment, work).await,
        Work::Capture(work) => schema::capture(&context, &assignment, work).await,
        Work::Apply(work) => schema::apply(&context, &assignment, work).await,
        Work::Dump(work) => Box::pin(dump::dump(&context, &assignment, work)).await.map_err(of_a_lagging_node),
        Work::Restore(work) => Box::pin(restore::restore(&context, &assignment, work)).await.map_err(of_a_lagging_node),
        Work::Verify(work) => Box::pin(verify::verify(&context, &assignment, work)).await.map_err(of_a_lagging_node),
    }
}

/// Whether the job's pace bounds it.
fn moves_rows(work: &Work) -> bool {
    match work {
        Work::Dump(_) | Work::Restore(_) => true,
        Work::Verify(work) => work.against() == v1::verify_shard::Against::Cluster,
        Work::Inspect(_) | Work::Capture(_) | Work::Apply(_) => false,
    }
}

/// For people: the table that an assignment is about, or nothing.
pub(crate) fn table_of(assignment: &v1::Assignment) -> String {
    let table = match &assignment.work {
        Some(Work::Dump(work)) => work.table.as_ref(),
        Some(Work::Restore(work)) => work.table.as_ref(),
        Some(Work::Verify(work)) => work.table.as_ref(),
        Some(Work::Inspect(_) | Work::Capture(_) | Work::Apply(_)) | None => None,
    };
    let name = table.and_then(|table| table.table.as_ref());
    name.map(|name| format!("{}.{}", name.keyspace, name.table)).unwrap_or_default()
}

/// The tables of a running job stand there: a node that knows none of them was down when they were made and has not heard
/// of them yet. That is worth further attempts; where a table was dropped, the last of them fails the job by its name.
fn of_a_lagging_node(failure: Failure) -> Failure {
    let unknown = ["does not exist", "unconfigured table"].iter().any(|text| failure.message.contains(text));
    if failure.kind != ErrorKind::Invalid || !unknown {
        return failure;
    }
    let message = format!("{}; or a node that was down when it was made does not know it yet", failure.message);
    Failure::new(ErrorKind::Unavailable, message)
}

/// The error of a blocking task that did not end by itself.
#[allow(clippy::needless_pass_by_value)] // the shape that map_err asks for
pub(crate) fn broken_task(error: tokio::task::JoinError) -> Failure {
    if error.is_cancelled() {
        crate::link::abandoned()
    } else {
        Failure::new(ErrorKind::Internal, format!("a defect: an encoding thread panicked ({error})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_a_node_does_not_know_is_asked_for_again() {
        let told = |kind, message: &str| of_a_lagging_node(Failure::new(kind, message)).kind;
        for text in ["the server rejects it: table t does not exist", "the server rejects it: unconfigured table t"] {
            assert_eq!(told(ErrorKind::Invalid, text), ErrorKind::Unavailable);
        }
        assert_eq!(told(ErrorKind::Invalid, "the server rejects it: Batch too large"), ErrorKind::Invalid);
        assert_eq!(told(ErrorKind::Corrupt, "the object does not exist"), ErrorKind::Corrupt);
    }
}
