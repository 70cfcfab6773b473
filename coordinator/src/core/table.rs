//! What is known of one table of a job: its grid, its recorded pieces, and which of its assignments wait.

use std::{collections::BTreeMap, sync::Arc};

use ringvault_archive::{
    chunk::{self, Facts},
    index::{TableIndex, Totals},
};
use ringvault_proto::{grid::Grid, v1};

use super::{queue::Queue, rate::Rate};
use crate::{
    name::TableKey,
    plan::Run,
    record::{Piece, TableRecord, WorkKind},
};

/// What a dump has stored of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Dumped {
    /// By part, without gaps.
    pub(crate) chunks: Vec<v1::Chunk>,
    /// No chunk is to come.
    pub(crate) closed: bool,
}

/// What the recorded pieces of a table amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) encoded_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) chunks_new: u64,
    pub(crate) chunks_reused: u64,
    pub(crate) cells_expired: u64,
    pub(crate) rows_skipped: u64,
    pub(crate) facts: Facts,
    pub(crate) rows_compared: u64,
    pub(crate) bytes_compared: u64,
    /// Of ended leases.
    pub(crate) retries: u64,
    /// Attempts of its shards that failed or lapsed.
    pub(crate) failures: u64,
    /// The most rows and bytes ever shown, so that counts don't fall when a lease is lost.
    pub(crate) rows_shown: u64,
    pub(crate) bytes_shown: u64,
}

/// What the assignments of one kind of a table amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shards {
    pub(crate) all: u64,
    pub(crate) done: u64,
    pub(crate) segments: u64,
}

/// What the leases of a table report beyond what is recorded of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) retries: u64,
}

impl Live {
    /// More of a lease.
    pub(super) fn add(&mut self, other: Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.retries = self.retries.wrapping_add(other.retries);
    }

    /// Takes away what was added.
    pub(super) fn subtract(&mut self, other: Self) {
        self.rows = self.rows.wrapping_sub(other.rows);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        self.retries = self.retries.wrapping_sub(other.retries);
    }
}

/// A table of a job.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// As inspected, or as in the backup.
    pub(crate) inspected: v1::InspectedTable,
    /// What was planned; of a restore, what the backup holds.
    pub(crate) plan: v1::TablePlan,
    /// Of a dump, by segment.
    pub(crate) dumped: BTreeMap<u64, Dumped>,
    /// Closed segments.
    pub(crate) closed: u64,
    /// Of a restore, once the backup is loaded; only the chunks that are meant.
    pub(crate) index: Option<Arc<TableIndex>>,
    /// What that index amounts to.
    pub(crate) totals: Totals,
    /// Of a restore, the segments that are meant, in ring order.
    pub(crate) selected: Vec<Run>,
    /// Chunks whose rows were acknowledged, by segment and part.
    pub(crate) restored: BTreeMap<(u64, u32), v1::ChunkDone>,
    /// Segments whose objects were checked.
    pub(crate) checked: BTreeMap<u64, v1::SegmentVerified>,
    /// Segments that were compared with the target.
    pub(crate) compared: BTreeMap<u64, v1::SegmentVerified>,
    /// Of a dump, how often it was begun anew.
    pub(crate) redumps: u32,
    /// Of a dump, why a worker could not go on; nobody does until its definition was read again.
    pub(crate) doubt: Option<v1::Failure>,
    /// What it amounts to.
    pub(crate) counts: Counts,
    /// Assignments that wait for a worker.
    pub(crate) queued: Queue,
    /// Assignments that are not done, waiting or leased.
    pub(crate) undone: u32,
    /// Those of them that a worker holds.
    pub(crate) leased: u32,
    /// Its assignments by what they do.
    pub(crate) shards: BTreeMap<WorkKind, Shards>,
    /// Of its leases.
    pub(crate) live: Live,
    /// How fast it goes on.
    pub(crate) rate: Rate,
}

impl Table {
    /// A table of a backup as it was planned.
    pub(crate) fn planned(record: &TableRecord) -> Self {
        Self {
            inspected: record.table.clone().unwrap_or_default(),
            plan: record.plan.clone().unwrap_or_default(),
            redumps: record.redumps,
            doubt: record.doubt.clone(),
            ..Self::default()
        }
    }

    /// As it is journaled.
    pub(crate) fn to_record(&self, job_id: &str, ordinal: u32) -> TableRecord {
        TableRecord {
            job_id: job_id.to_owned(),
            ordinal,
            table: Some(self.inspected.clone()),
            plan: Some(self.plan.clone()),
            redumps: self.redumps,
            doubt: self.doubt.clone(),
        }
    }

    /// Its name.
    pub(crate) fn key(&self) -> TableKey {
        TableKey::of(&self.inspected)
    }

    /// Its name for people.
    pub(crate) fn full_name(&self) -> String {
        self.key().to_string()
    }

    /// Its grid.
    pub(crate) fn grid(&self) -> Grid {
        Grid::try_from(self.plan.grid_exponent).expect("checked where the plan was made or loaded")
    }

    /// Takes a piece in that was or will be committed.
    pub(crate) fn record(&mut self, piece: Piece) {
        match piece {
            Piece::Stored(chunk) => {
                self.counts.facts += chunk::facts(&chunk);
                self.counts.rows += chunk.rows;
                self.counts.encoded_bytes += chunk.encoded_bytes;
                if chunk.reused {
                    self.counts.chunks_reused += 1;
                } else {
                    self.counts.chunks_new += 1;
                    self.counts.stored_bytes += chunk.stored_bytes;
                }
                self.dumped.entry(chunk.segment).or_default().chunks.push(chunk);
            }
            Piece::Closed(segment) => {
                self.dumped.entry(segment).or_default().closed = true;
                self.closed += 1;
            }
            Piece::Restored(done) => {
                if let Some(chunk) = self.chunk(done.segment, done.part).map(|(_, chunk)| chunk.clone()) {
                    // Static lines are skipped and written, too, and counted with the rows.
                    self.counts.rows += chunk.rows.min(done.rows.saturating_sub(done.rows_skipped));
                    self.counts.encoded_bytes += chunk.encoded_bytes;
                }
                self.counts.cells_expired += done.cells_expired;
                self.counts.rows_skipped += done.rows_skipped;
                self.restored.insert((done.segment, done.part), done);
            }
            Piece::Checked(verified) => drop(self.checked.insert(verified.segment, verified)),
            Piece::Compared(verified) => {
                self.counts.rows_compared = self.counts.rows_compared.saturating_add(verified.rows);
                let chunks = self.chunks_of(verified.segment, 1);
                let bytes = chunks.iter().fold(0_u64, |bytes, chunk| bytes.saturating_add(chunk.encoded_bytes));
                self.counts.bytes_compared = self.counts.bytes_compared.saturating_add(bytes);
                self.compared.insert(verified.segment, verified);
            }
        }
    }

    /// Gives a restored table its index, without what is not meant, and counts again what was recorded before it was
    /// known.
    pub(crate) fn set_index(&mut self, index: TableIndex, selected: Vec<Run>) {
        let totals = index.totals();
        self.selected = selected;
        self.inspected = index.table().clone();
        self.plan = v1::TablePlan {
            table: index.table().table.clone(),
            bytes_estimated: totals.encoded_bytes,
            partitions_estimated: 0,
            estimated_by: "backup".to_owned(),
            grid_exponent: index.grid().exponent(),
            shards: 0,
            parent_backup_id: String::new(),
            approximations: index.table().approximations.clone(),
        };
        self.index = Some(Arc::new(index));
        self.totals = totals;
        self.counts = Counts { retries: self.counts.retries, failures: self.counts.failures, ..Counts::default() };
        for done in std::mem::take(&mut self.restored).into_values() {
            self.record(Piece::Restored(done));
        }
        for verified in std::mem::take(&mut self.compared).into_values() {
            self.record(Piece::Compared(verified));
        }
    }

    /// All chunks of a restored table, by segment and part.
    pub(crate) fn chunks(&self) -> &[v1::Chunk] {
        self.index.as_ref().map_or(&[], |index| index.chunks())
    }

    /// A chunk of a restored table, with its position in the index.
    pub(crate) fn chunk(&self, segment: u64, part: u32) -> Option<(u64, &v1::Chunk)> {
        let chunks = self.chunks();
        let position = chunks.binary_search_by_key(&(segment, part), |chunk| (chunk.segment, chunk.part)).ok()?;
        Some((u64::try_from(position).ok()?, &chunks[position]))
    }

    /// The chunks of some segments of a restored table.
    pub(crate) fn chunks_of(&self, first: u64, count: u64) -> &[v1::Chunk] {
        let chunks = self.chunks();
        let start = chunks.partition_point(|chunk| chunk.segment < first);
        let end = chunks.partition_point(|chunk| chunk.segment < first + count);
        &chunks[start..end]
    }

    /// Whether a dump of the segment is over.
    pub(crate) fn is_closed(&self, segment: u64) -> bool {
        self.dumped.get(&segment).is_some_and(|dumped| dumped.closed)
    }

    /// Whether a dump of the segment stored anything.
    pub(crate) fn is_begun(&self, segment: u64) -> bool {
        self.dumped.contains_key(&segment)
    }

    /// Whether nothing of it is left, where its shards are known by now.
    pub(crate) fn is_finished(&self, begun: bool) -> bool {
        begun && self.undone == 0
    }

    /// Whether any piece is recorded.
    pub(crate) fn has_pieces(&self) -> bool {
        !(self.dumped.is_empty() && self.restored.is_empty() && self.checked.is_empty() && self.compared.is_empty())
    }
}
