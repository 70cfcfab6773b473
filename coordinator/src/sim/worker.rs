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

/// The model cluster and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// How often each table was altered.
    pub(super) versions: BTreeMap<String, u8>,
    /// Rows of rehearsals come back otherwise.
    pub(super) mismatch: bool,
}

impl Model {
    pub(super) const TABLES: [(&'static str, u64); 3] = [("t", 64 << 20), ("u", 1), ("v", 40 << 20)];

    pub(super) fn version(&self, table: &str) -> u8 {
        self.versions.get(table).copied().unwrap_or(0)
    }

    fn fingerprint(&self, table: &str) -> String {
        format!("{table} {}", self.version(table))
    }

    fn inspected(&self) -> v1::InspectResult {
        let tables = Self::TABLES
            .map(|(name, bytes)| v1::InspectedTable { fingerprint: self.fingerprint(name), ..table(name, bytes) });
        cluster(tables.to_vec())
    }

    /// The schema as it is captured now: one byte a table.
    fn schema(&self) -> Vec<u8> {
        let mut identity: Vec<u8> = Self::TABLES.map(|(name, _)| self.version(name)).to_vec();
        identity.resize(32, 7);
        identity
    }

    /// What a message says is what the cluster is when it is sent first.
    fn fill(&self, request: &mut v1::CompleteRequest) {
        if request.inspected.is_some() {
            request.inspected = Some(self.inspected());
        }
        if let Some(captured) = &mut request.captured {
            captured.schema_identity = self.schema().into();
        }
        for chunk in request.segments.iter_mut().flat_map(|done| &mut done.chunks) {
            let table = chunk.object.split('/').nth(2).expect("data/keyspace/table/").to_owned();
            *chunk = of_version(chunk.clone(), self.version(&table));
        }
    }
}

/// A chunk of rows as they were read under a version of their table.
pub(super) fn of_version(chunk: v1::Chunk, version: u8) -> v1::Chunk {
    let mut identity = chunk.identity.to_vec();
    identity[31] = version;
    v1::Chunk { identity: identity.into(), object: format!("{}.{version}", chunk.object), ..chunk }
}

/// An assignment that it works on.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) lease: v1::LeaseId,
    /// Of a dump: table and fingerprint that it was told.
    dumps: Option<(String, String)>,
    /// The first of `rest` was sent at least once.
    sent: bool,
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

    pub(super) fn take(&mut self, assignment: &v1::Assignment, entropy: &Entropy, model: &Model) {
        let lease = assignment.lease.clone().expect("a lease");
        let dumps = match assignment.work.as_ref() {
            Some(Work::Dump(shard)) => {
                let table = shard.table.clone().expect("a table");
                Some((table.table.expect("a name").table, table.fingerprint))
            }
            _ => None,
        };
        let rest = self.messages(assignment, entropy, model);
        let task = Task { rest, lease: lease.clone(), dumps, sent: false, rows: 0 };
        self.tasks.insert(lease.assignment_id, task);
    }

    /// What it sends next of each task; nothing instead of the first or last message of a dump whose table was altered.
    pub(super) fn next_messages(&mut self, model: &Model) -> Vec<(v1::LeaseId, u64, Option<v1::CompleteRequest>)> {
        let mut next = Vec::new();
        for task in self.tasks.values_mut() {
            let Some(request) = task.rest.first_mut() else { continue };
            let altered = task.dumps.as_ref().is_some_and(|(table, told)| model.fingerprint(table) != *told);
            if !task.sent && altered && (request.ended || task.rows == 0) {
                next.push((task.lease.clone(), task.rows, None));
                continue;
            }
            if !std::mem::replace(&mut task.sent, true) {
                model.fill(request);
            }
            next.push((task.lease.clone(), task.rows, Some(request.clone())));
        }
        next
    }

    /// All messages that an assignment needs, one piece each.
    fn messages(&self, assignment: &v1::Assignment, entropy: &Entropy, model: &Model) -> Vec<v1::CompleteRequest> {
        let message = || v1::CompleteRequest {
            worker_id: self.id.clone(),
            lease: assignment.lease.clone(),
            ..v1::CompleteRequest::default()
        };
        let mut messages: Vec<v1::CompleteRequest> = match assignment.work.as_ref().expect("work") {
            Work::Inspect(_) => {
                vec![v1::CompleteRequest { inspected: Some(v1::InspectResult::default()), ..message() }]
            }
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
                    let target = shard.rules.as_ref().and_then(|rules| rules.target.as_ref());
                    let scratch = target.is_some_and(|target| target.keyspace.starts_with("rv_rehearsal_"));
                    let equal = !(scratch && model.mismatch);
                    let verified = v1::SegmentVerified { segment, equal, ..v1::SegmentVerified::default() };
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
                task.sent = false;
                task.rows += 1;
            }
            Err(failure) if failure.kind == ErrorKind::Fenced => drop(self.tasks.remove(&lease.assignment_id)),
            Err(failure) => assert_eq!(failure.kind, ErrorKind::Unavailable, "{lease:?}: {failure}"),
        }
    }
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
