//! What must hold after every step, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_archive::index::TableIndex;
use ringvault_proto::v1;

use super::{
    worker::{Model, of_version},
    world::model_chunks,
};
use crate::{
    core::event::{Event, Publication},
    record::{AssignmentRecord, Change, HoldKind, Loaded, Piece, WorkKind},
};

/// Every grant that was ever told to a worker.
#[derive(Debug, Default)]
pub(super) struct Grants {
    newest: BTreeMap<String, u64>,
}

impl Grants {
    /// A grant leaves the coordinator: its epoch must be above every one before.
    pub(super) fn told(&mut self, lease: &v1::LeaseId) {
        let before = self.newest.insert(lease.assignment_id.clone(), lease.epoch);
        assert!(before < Some(lease.epoch), "{lease:?} was granted after epoch {before:?}");
    }

    /// A message under an epoch that is not the newest must change nothing.
    pub(super) fn judge(&self, event: &Event, changes: &[Change]) {
        let lease = match event {
            Event::Complete(_, request) => request.lease.as_ref(),
            Event::Fail(_, request) => request.lease.as_ref(),
            _ => return,
        };
        let Some(lease) = lease else { return };
        let newest = self.newest.get(&lease.assignment_id).copied().unwrap_or(0);
        assert!(lease.epoch >= newest || changes.is_empty(), "stale {lease:?} changed {changes:?}");
    }
}

/// A lease of a dump asks for no recorded piece: its first segment goes on behind what is stored, the others are untouched.
pub(super) fn judge_grant(assignment: &v1::Assignment, loaded: &Loaded) {
    let Some(v1::assignment::Work::Dump(shard)) = &assignment.work else { return };
    let id = &assignment.lease.as_ref().expect("a lease").assignment_id;
    let record = loaded.assignments.iter().find(|record| *id == format!("{}.{}", record.job_id, record.ordinal));
    let record = record.expect("committed before it is told");
    let mut parts = 0;
    for (job, table, piece) in &loaded.pieces {
        let (_, segment, _) = piece.place();
        let inside = segment >= shard.segment_first && segment - shard.segment_first < shard.segments;
        if *job == record.job_id && Some(*table) == record.table && inside {
            assert!(segment == shard.segment_first, "{id} asks for segment {segment} again");
            assert!(matches!(piece, Piece::Stored(_)), "{id} asks for a closed segment");
            parts += 1;
        }
    }
    assert_eq!(shard.resume_parts.len(), parts);
}

/// Judges what is committed.
pub(super) fn judge(loaded: &Loaded) {
    let mut closed = BTreeSet::new();
    let mut stored: BTreeMap<_, u32> = BTreeMap::new();
    for (job, table, piece) in &loaded.pieces {
        match piece {
            Piece::Closed(segment) => drop(closed.insert((job, *table, *segment))),
            Piece::Stored(chunk) => {
                let parts = stored.entry((job, *table, chunk.segment)).or_default();
                assert_eq!(chunk.part, *parts, "parts of a segment have no gaps");
                *parts += 1;
            }
            Piece::Restored(_) | Piece::Checked(_) | Piece::Compared(_) => {}
        }
    }
    let mut leased = BTreeSet::new();
    for record in &loaded.assignments {
        judge_assignment(record, &mut leased, &closed);
    }
}

fn judge_assignment<'a>(
    record: &'a AssignmentRecord,
    leased: &mut BTreeSet<(&'a str, u32, u64)>,
    closed: &BTreeSet<(&String, u32, u64)>,
) {
    let (WorkKind::Dump, Some(table)) = (record.kind(), record.table) else { return };
    match record.hold() {
        HoldKind::Leased => {
            for segment in record.run_first..record.run_first + record.run_count {
                assert!(leased.insert((&record.job_id, table, segment)), "segment {segment} is leased twice");
            }
        }
        HoldKind::Done => {
            for segment in record.first..record.first + record.count {
                assert!(closed.contains(&(&record.job_id, table, segment)), "done without segment {segment}");
            }
        }
        HoldKind::Queued => {}
    }
}

/// A publication holds exactly what the tables hold: every segment, every chunk once.
pub(super) fn judge_publication(publication: &Publication) {
    assert_eq!(publication.captured.schema_identity.len(), 32);
    for (table, grid, chunks) in &publication.tables {
        let name = &table.table.as_ref().expect("a name").table;
        let version: u8 = table.fingerprint.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a version");
        let place = Model::TABLES.iter().position(|(known, _)| known == name).expect("a model table");
        assert_eq!(publication.captured.schema_identity[place], version, "rows and DDL of {name} agree");
        let chunks_of = |segment| model_chunks(name, segment).into_iter().map(|chunk| of_version(chunk, version));
        let expected: Vec<v1::Chunk> = (0..grid.segments()).flat_map(chunks_of).collect();
        assert_eq!(chunks, &expected, "table {name}");
        TableIndex::new(table.clone(), *grid, false, chunks.clone()).expect("it tiles the ring");
    }
}
