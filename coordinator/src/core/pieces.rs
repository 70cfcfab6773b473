//! What is finished: pieces are checked against what was leased, recorded once, and never asked for again.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};

use super::{
    assignment::Hold,
    event::Output,
    job::{Context, Job},
    table::Table,
};
use crate::{
    plan::Run,
    record::{Change, Piece, WorkKind},
};

/// Parts of one segment at most: all of them must fit into one message when they are restored or checked.
const SEGMENT_PARTS_MAX: usize = 10_000;

impl Job {
    /// Records finished pieces; tells whether the lease ended with them. A piece that is recorded already changes nothing.
    ///
    /// # Errors
    /// `Invalid` or `Conflict` for pieces that can't be of this lease; those before them stay recorded.
    pub(super) fn complete(
        &mut self,
        ordinal: u32,
        request: v1::CompleteRequest,
        ctx: &Context<'_>,
        out: &mut Output,
    ) -> Result<bool, Failure> {
        let ended = request.ended;
        let kind = self.assignments[&ordinal].kind();
        if !self.is_ready() {
            let message = "the coordinator has just started and reads the backup; send this again";
            return Err(Failure::new(ErrorKind::Unavailable, message));
        }
        self.live(ctx.now, out);
        if kind.is_silent() {
            if !self.take_result(ordinal, request, ctx, out)? {
                return Ok(false);
            }
            self.progressed_ms = ctx.now.ms;
            self.set_hold(ordinal, Hold::Done, out);
            self.advance(ctx, out);
            return Ok(true);
        }
        match kind {
            WorkKind::Dump => self.take_segments(ordinal, request.segments, out)?,
            WorkKind::Restore => {
                if !self.take_chunks(ordinal, request.chunks, ctx, out)? {
                    return Ok(true);
                }
            }
            _ => self.take_verified(ordinal, kind, request.verified, out)?,
        }
        self.progressed_ms = ctx.now.ms;
        self.note_shown(ordinal);
        let left = self.left(ordinal, self.assignments[&ordinal].run());
        if left > 0 {
            return if ended { Err(missing(&self.describe(ordinal), left)) } else { Ok(false) };
        }
        let over = self.left(ordinal, self.assignments[&ordinal].covers()) == 0;
        if let Some(assignment) = self.assignments.get_mut(&ordinal) {
            assignment.end_run();
        }
        self.set_hold(ordinal, if over { Hold::Done } else { Hold::WAITING }, out);
        self.advance(ctx, out);
        Ok(true)
    }

    /// The table of an assignment.
    pub(super) fn table_of(&self, ordinal: u32) -> Option<(u32, &Table)> {
        let table = self.assignments.get(&ordinal)?.table()?;
        Some((table, self.tables.get(&table)?))
    }

    /// Journals a piece and takes it in.
    fn put(&mut self, table: u32, piece: Piece, out: &mut Output) {
        out.changes.push(Change::PutPiece { job_id: self.id.clone(), table, piece: piece.clone() });
        if let Some(table) = self.tables.get_mut(&table) {
            table.record(piece);
        }
    }

    fn take_segments(&mut self, ordinal: u32, segments: Vec<v1::SegmentDone>, out: &mut Output) -> Result<(), Failure> {
        let run = self.assignments[&ordinal].run();
        for done in segments {
            let Some((number, _)) = self.table_of(ordinal).filter(|_| holds(run, done.segment)) else {
                return Err(foreign(&self.describe(ordinal), "segment", done.segment));
            };
            for chunk in done.chunks {
                if chunk.segment != done.segment {
                    return Err(foreign(&self.describe(ordinal), "chunk of segment", chunk.segment));
                }
                if self.is_new_part(number, &chunk)? {
                    let (rows, bytes) = (chunk.rows, chunk.encoded_bytes);
                    self.put(number, Piece::Stored(chunk), out);
                    self.count_recorded(ordinal, rows, bytes);
                }
            }
            if done.closed && !self.tables[&number].is_closed(done.segment) {
                self.put(number, Piece::Closed(done.segment), out);
            }
        }
        Ok(())
    }

    /// Whether a chunk is not recorded yet.
    fn is_new_part(&self, table: u32, chunk: &v1::Chunk) -> Result<bool, Failure> {
        let table = &self.tables[&table];
        let dumped = table.dumped.get(&chunk.segment);
        let parts = dumped.map_or(&[][..], |dumped| &dumped.chunks);
        let part = usize::try_from(chunk.part).unwrap_or(usize::MAX);
        let place = || format!("segment {} part {} of {}", chunk.segment, chunk.part, table.full_name());
        if let Some(known) = parts.get(part) {
            let same = known.identity == chunk.identity && known.rows == chunk.rows;
            return if same {
                Ok(false)
            } else {
                let message =
                    format!("{} is recorded with other bytes; a recorded chunk is never stored again", place());
                Err(Failure::new(ErrorKind::Conflict, message))
            };
        }
        if part > parts.len() {
            let message = format!("{} was sent before part {}; parts are sent in order", place(), parts.len());
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        if dumped.is_some_and(|dumped| dumped.closed) {
            let message = format!("{} was sent behind the last chunk of its segment", place());
            return Err(Failure::new(ErrorKind::Conflict, message));
        }
        if part >= SEGMENT_PARTS_MAX {
            let message = format!(
                "{}: a segment has at most {SEGMENT_PARTS_MAX} chunks; use a larger --chunk-size, or none",
                place()
            );
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        Ok(true)
    }

    /// Tells whether the job goes on: a chunk of which rows are missing fails it.
    fn take_chunks(
        &mut self,
        ordinal: u32,
        chunks: Vec<v1::ChunkDone>,
        ctx: &Context<'_>,
        out: &mut Output,
    ) -> Result<bool, Failure> {
        let run = self.assignments[&ordinal].run();
        for done in chunks {
            let found = self.table_of(ordinal).and_then(|(number, table)| {
                let (position, chunk) = table.chunk(done.segment, done.part)?;
                holds(run, position).then(|| (number, chunk.clone(), table.full_name()))
            });
            let Some((number, chunk, name)) = found else {
                return Err(foreign(&self.describe(ordinal), "chunk of segment", done.segment));
            };
            if self.tables[&number].restored.contains_key(&(done.segment, done.part)) {
                continue;
            }
            let expected = chunk.rows + chunk.static_rows;
            if done.rows != expected {
                let message = format!(
                    "{name}: {} of the {expected} rows of segment {} part {} were restored; nothing is called done \
                     that lost rows; submit again to go on, and report this",
                    done.rows, done.segment, done.part
                );
                self.fail_with(ErrorKind::Internal, message, ctx, out);
                return Ok(false);
            }
            self.put(number, Piece::Restored(done), out);
            self.count_recorded(ordinal, chunk.rows, chunk.encoded_bytes);
        }
        Ok(true)
    }

    fn take_verified(
        &mut self,
        ordinal: u32,
        kind: WorkKind,
        verified: Vec<v1::SegmentVerified>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let run = self.assignments[&ordinal].run();
        for verified in verified {
            let Some((number, table)) = self.table_of(ordinal).filter(|_| holds(run, verified.segment)) else {
                return Err(foreign(&self.describe(ordinal), "segment", verified.segment));
            };
            let known = if kind == WorkKind::Check { &table.checked } else { &table.compared };
            if known.contains_key(&verified.segment) {
                continue;
            }
            let piece = if kind == WorkKind::Check { Piece::Checked(verified) } else { Piece::Compared(verified) };
            self.put(number, piece, out);
        }
        Ok(())
    }

    /// Counts what of a lease's progress is recorded by now.
    fn count_recorded(&mut self, ordinal: u32, rows: u64, bytes: u64) {
        self.with_lease(ordinal, |lease| {
            lease.rows_recorded += rows;
            lease.bytes_recorded += bytes;
        });
    }

    /// Pieces of a run that are not recorded.
    fn left(&self, ordinal: u32, run: Run) -> u64 {
        let Some((_, table)) = self.table_of(ordinal) else { return 0 };
        let kind = self.assignments[&ordinal].kind();
        let left = (run.first..run.first + run.count).filter(|place| !is_recorded(kind, table, *place)).count();
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// What the next lease of an assignment covers: the first pieces that are not recorded, and no piece that is.
    /// Nothing where all of it is.
    pub(super) fn next_run(&mut self, ordinal: u32, out: &mut Output) -> Option<Run> {
        let covers = self.assignments[&ordinal].covers();
        let kind = self.assignments[&ordinal].kind();
        if kind == WorkKind::Dump {
            self.close_behind_limit(ordinal, out);
        }
        let Some((_, table)) = self.table_of(ordinal) else { return Some(covers) };
        let mut places = covers.first..covers.first + covers.count;
        let first = places.find(|place| !is_recorded(kind, table, *place))?;
        match kind {
            // A dump goes on inside its first segment only; behind it come segments of which nothing is stored.
            WorkKind::Dump => Some(run_of(first, places.take_while(|segment| !table.is_begun(*segment)).count())),
            // The chunks of a lease are named one by one, so there may be gaps.
            WorkKind::Restore => Some(covers),
            _ => Some(run_of(first, places.take_while(|place| !is_recorded(kind, table, *place)).count())),
        }
    }

    /// A limited shard whose share of rows is stored needs no more of its segments.
    fn close_behind_limit(&mut self, ordinal: u32, out: &mut Output) {
        let (limit, covers) = (self.assignments[&ordinal].limit_rows(), self.assignments[&ordinal].covers());
        let Some((number, table)) = self.table_of(ordinal) else { return };
        if limit == 0 || rows_in(table, covers) < limit {
            return;
        }
        let open: Vec<u64> = (covers.first..covers.first + covers.count).filter(|s| !table.is_closed(*s)).collect();
        for segment in open {
            self.put(number, Piece::Closed(segment), out);
        }
    }

    /// Raises what is shown of a table to what its leases report.
    pub(super) fn note_shown(&mut self, ordinal: u32) {
        let Some((number, _)) = self.table_of(ordinal) else { return };
        let (rows, bytes) = self.live_counts(number);
        if let Some(table) = self.tables.get_mut(&number) {
            table.counts.rows_shown = table.counts.rows_shown.max(rows);
            table.counts.bytes_shown = table.counts.bytes_shown.max(bytes);
        }
    }
}

/// Rows that a dump stored of some segments.
pub(super) fn rows_in(table: &Table, run: Run) -> u64 {
    let chunks = table.dumped.range(run.first..run.first + run.count).flat_map(|(_, dumped)| &dumped.chunks);
    chunks.map(|chunk| chunk.rows).sum()
}

/// Whether a piece of a table is recorded: a segment, or the chunk at that position.
fn is_recorded(kind: WorkKind, table: &Table, place: u64) -> bool {
    match kind {
        WorkKind::Dump => table.is_closed(place),
        WorkKind::Restore => {
            let chunk = usize::try_from(place).ok().and_then(|position| table.chunks().get(position));
            chunk.is_none_or(|chunk| table.restored.contains_key(&(chunk.segment, chunk.part)))
        }
        WorkKind::Check => table.checked.contains_key(&place),
        WorkKind::Compare => table.compared.contains_key(&place),
        _ => true,
    }
}

fn run_of(first: u64, more: usize) -> Run {
    Run { first, count: u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1) }
}

fn holds(run: Run, place: u64) -> bool {
    place >= run.first && place - run.first < run.count
}

fn foreign(what: &str, piece: &str, place: u64) -> Failure {
    Failure::new(ErrorKind::Invalid, format!("{what}: {piece} {place} is not part of this lease; the worker is broken"))
}

fn missing(what: &str, left: u64) -> Failure {
    Failure::new(ErrorKind::Invalid, format!("{what}: said to be ended, but {left} pieces of it are missing"))
}
