//! The model cluster, and what a worker says of its assignments: the pieces of each, one by one.

use std::collections::BTreeMap;

use ringvault_proto::v1::{self, assignment::Work};
use ringvault_runtime::entropy::Entropy;

use crate::core::testing::{chunk_done, chunk_of, cluster, table};

/// What a segment of a model table holds: none to three chunks.
pub(super) fn model_chunks(table: &str, segment: u64) -> Vec<v1::Chunk> {
    let parts = u32::try_from((segment + table.len() as u64) % 4).expect("small");
    (0..parts).map(|part| chunk_of(table, segment, part, segment + 1)).collect()
}

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

    pub(super) fn fingerprint(&self, table: &str) -> String {
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
    pub(super) fn fill(&self, request: &mut v1::CompleteRequest) {
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

/// All messages that an assignment needs, one piece each.
pub(super) fn messages(
    worker_id: &str,
    assignment: &v1::Assignment,
    entropy: &Entropy,
    model: &Model,
) -> Vec<v1::CompleteRequest> {
    let message = || v1::CompleteRequest {
        worker_id: worker_id.to_owned(),
        lease: assignment.lease.clone(),
        ..v1::CompleteRequest::default()
    };
    let mut messages: Vec<v1::CompleteRequest> = match assignment.work.as_ref().expect("work") {
        Work::Inspect(_) => {
            vec![v1::CompleteRequest { inspected: Some(v1::InspectResult::default()), ..message() }]
        }
        Work::Capture(_) => {
            let captured = v1::CaptureResult { schema_identity: vec![7; 32].into(), ..v1::CaptureResult::default() };
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
