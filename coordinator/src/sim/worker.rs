//! A model worker: it reports, polls, and sends the pieces of its assignments one by one, each until it is answered. It
//! knows nothing of what became of the others, and after a freeze it goes on as if nothing had happened.

use std::collections::BTreeMap;

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, assignment::Work},
};

use ringvault_runtime::entropy::Entropy;

use super::world::model_chunks;
use crate::core::testing::{chunk_done, cluster, table};

/// An assignment that it works on.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) lease: v1::LeaseId,
    /// Messages that are still to be sent; the last one says that all is sent.
    pub(super) rest: Vec<v1::CompleteRequest>,
    /// Messages that were answered.
    pub(super) rows: u64,
}

/// A worker process.
#[derive(Debug, Default)]
pub(super) struct ModelWorker {
    pub(super) id: String,
    /// By assignment; a newer lease of the same replaces the older.
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) proofs: Vec<v1::Proof>,
    pub(super) polling: bool,
    pub(super) frozen_until_ms: u64,
    pub(super) sequence: u64,
}

impl ModelWorker {
    pub(super) fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    pub(super) fn report(&mut self) -> v1::AttendRequest {
        self.sequence += 1;
        let leases = self.tasks.values().map(|task| v1::LeaseProgress {
            lease: Some(task.lease.clone()),
            rows: task.rows,
            ..v1::LeaseProgress::default()
        });
        v1::AttendRequest {
            hello: Some(v1::WorkerHello {
                worker_id: self.id.clone(),
                name: self.id.clone(),
                slots: 3,
                clusters: vec!["prod".into()],
                ..v1::WorkerHello::default()
            }),
            sequence: self.sequence,
            leases: leases.collect(),
            draining: false,
        }
    }

    pub(super) fn poll(&mut self) -> v1::LeaseRequest {
        let free = 3_usize.saturating_sub(self.tasks.len());
        v1::LeaseRequest {
            worker_id: self.id.clone(),
            assignments_max: u32::try_from(free.max(1)).expect("small"),
            wait_ms: 2000,
            proofs: std::mem::take(&mut self.proofs),
        }
    }

    pub(super) fn take(&mut self, assignment: &v1::Assignment, entropy: &Entropy) {
        let lease = assignment.lease.clone().expect("a lease");
        let task = Task { rest: self.messages(assignment, entropy), lease: lease.clone(), rows: 0 };
        self.tasks.insert(lease.assignment_id, task);
    }

    /// All messages that an assignment needs, one piece each.
    fn messages(&self, assignment: &v1::Assignment, entropy: &Entropy) -> Vec<v1::CompleteRequest> {
        let message = || v1::CompleteRequest {
            worker_id: self.id.clone(),
            lease: assignment.lease.clone(),
            ..v1::CompleteRequest::default()
        };
        let mut messages: Vec<v1::CompleteRequest> = match assignment.work.as_ref().expect("work") {
            Work::Inspect(_) => vec![v1::CompleteRequest { inspected: Some(inspected()), ..message() }],
            Work::Capture(_) => {
                let captured =
                    v1::CaptureResult { schema_identity: vec![7; 32].into(), ..v1::CaptureResult::default() };
                vec![v1::CompleteRequest { captured: Some(captured), ..message() }]
            }
            Work::Apply(_) => vec![v1::CompleteRequest { applied: Some(v1::ApplyResult::default()), ..message() }],
            Work::Dump(shard) => dumps(shard, entropy)
                .into_iter()
                .map(|done| v1::CompleteRequest { segments: vec![done], ..message() })
                .collect(),
            Work::Restore(shard) => shard
                .chunks
                .iter()
                .map(|chunk| v1::CompleteRequest { chunks: vec![chunk_done(chunk)], ..message() })
                .collect(),
            Work::Verify(shard) => (shard.segment_first..shard.segment_first + shard.segments)
                .map(|segment| {
                    let verified = v1::SegmentVerified { segment, equal: true, ..v1::SegmentVerified::default() };
                    v1::CompleteRequest { verified: vec![verified], ..message() }
                })
                .collect(),
        };
        messages.last_mut().expect("an assignment has a piece").ended = true;
        messages
    }

    /// What becomes of a task when its `number`th message was answered. Answers to repetitions of earlier ones are late.
    pub(super) fn answered(&mut self, lease: &v1::LeaseId, number: u64, answer: Result<bool, Failure>) {
        let task = self.tasks.get_mut(&lease.assignment_id);
        let Some(task) = task.filter(|task| task.lease == *lease && task.rows == number) else { return };
        match answer {
            Ok(true) => drop(self.tasks.remove(&lease.assignment_id)),
            Ok(false) => {
                assert!(task.rest.len() > 1, "the last message of {lease:?} must end it");
                task.rest.remove(0);
                task.rows += 1;
            }
            Err(failure) if failure.kind == ErrorKind::Fenced => drop(self.tasks.remove(&lease.assignment_id)),
            Err(failure) => assert_eq!(failure.kind, ErrorKind::Unavailable, "{lease:?}: {failure}"),
        }
    }
}

/// The model cluster.
pub(super) fn inspected() -> v1::InspectResult {
    cluster(vec![table("t", 64 << 20), table("u", 1), table("v", 40 << 20)])
}

/// The segments of a shard, several of them at once, each chunk in a message of its own, beginning behind what is stored.
fn dumps(shard: &v1::DumpShard, entropy: &Entropy) -> Vec<v1::SegmentDone> {
    let mut by_segment: Vec<Vec<v1::SegmentDone>> = segments(shard);
    let mut mixed = Vec::new();
    while !by_segment.is_empty() {
        let pick = usize::try_from(entropy.u64() % by_segment.len() as u64).expect("small");
        mixed.push(by_segment[pick].remove(0));
        by_segment.retain(|rest| !rest.is_empty());
    }
    mixed
}

fn segments(shard: &v1::DumpShard) -> Vec<Vec<v1::SegmentDone>> {
    let name = shard.table.as_ref().and_then(|table| table.table.as_ref()).expect("a name").table.clone();
    let of_segment = |segment: u64| {
        let stored = if segment == shard.segment_first { shard.resume_parts.len() } else { 0 };
        let rest = model_chunks(&name, segment).into_iter().skip(stored);
        let mut done: Vec<v1::SegmentDone> =
            rest.map(|chunk| v1::SegmentDone { segment, chunks: vec![chunk], closed: false }).collect();
        match done.last_mut().filter(|_| segment.is_multiple_of(2)) {
            Some(last) => last.closed = true,
            None => done.push(v1::SegmentDone { segment, chunks: Vec::new(), closed: true }),
        }
        done
    };
    (shard.segment_first..shard.segment_first + shard.segments).map(of_segment).collect()
}
