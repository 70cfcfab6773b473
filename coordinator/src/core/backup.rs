//! How a backup goes on: repository → inspection → parents → plan → schema and shards → indexes and manifest.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, assignment::Work},
};

use super::{
    actions::Waiting,
    assignment::{Assignment, Hold},
    event::{Action, Output, ParentIndex, Publication},
    job::{Context, Job},
    recheck::is_other,
    table::Table,
};
use crate::{
    choice::{Place, choose},
    name::TableKey,
    plan::{self, Options, PlannedTable, Run, grid::Parent, ring::Homes},
    record::{Change, Phase, Piece, TableRecord, WorkKind},
};

/// Chunks of a parent that a lease carries at most; one that is left out is found by look-up, only dearer.
const PARENT_CHUNKS_MAX: usize = 2000;

/// Rows of a page where the spec does not say.
const FETCH_SIZE: u32 = 5000;

const WHOLE: Run = Run { first: 0, count: 0 };

impl Job {
    /// One step; tells whether another may follow at once.
    pub(super) fn step_backup(&mut self, ctx: &Context<'_>, out: &mut Output) -> bool {
        if !self.is_open(true, ctx, out) {
            return false;
        }
        match self.record.phase() {
            Phase::Fresh => {
                self.enter(Phase::Inspect, ctx, out);
                true
            }
            Phase::Inspect => self.step_inspect(ctx, out),
            Phase::Dump => self.step_dump(ctx, out),
            Phase::Publish => {
                let publication = Box::new(self.publication());
                self.want(Waiting::Publish, ctx, out, Action::Publish(publication));
                false
            }
            Phase::Preflight
            | Phase::Check
            | Phase::Before
            | Phase::Write
            | Phase::After
            | Phase::Compare
            | Phase::Scrap => {
                self.fail_with(ErrorKind::Internal, "a backup stands in a phase of a restore", ctx, out);
                false
            }
        }
    }

    fn step_inspect(&mut self, ctx: &Context<'_>, out: &mut Output) -> bool {
        if self.run.inspected.is_none() {
            self.ask_for_inspection(out);
            return false;
        }
        if self.run.parents.is_none() {
            let tables = self.run.inspected.iter().flat_map(|result| &result.tables).map(TableKey::of).collect();
            self.want_parents(tables, ctx, out);
            return false;
        }
        let Some(inspected) = self.run.inspected.take() else { return false };
        let planned = self.make_plan(&inspected, ctx);
        if self.is_dry_run() {
            let (cluster_name, server_version) = (inspected.cluster_name, inspected.server_version);
            let tables = planned.into_iter().map(|table| table.plan).collect();
            self.record.plan = Some(v1::Plan { cluster_name, server_version, tables });
            self.finish(JobState::Done, None, ctx, out);
            return false;
        }
        self.adopt_plan(planned, ctx, out);
        self.enter(Phase::Dump, ctx, out);
        true
    }

    /// The inspection is an assignment like others; its answer lives only as long as this run.
    fn ask_for_inspection(&mut self, out: &mut Output) {
        let inspects = |known: &Assignment| known.kind() == WorkKind::Inspect && known.hold != Hold::Done;
        let delayed = self.delayed.iter().map(|(_, ordinal)| ordinal);
        let mut undone = self.loose.iter().chain(&self.leased).chain(delayed);
        let waiting = undone.any(|ordinal| self.assignments.get(ordinal).is_some_and(inspects));
        if !waiting {
            self.add(WorkKind::Inspect, WHOLE, out);
        }
    }

    fn want_parents(&mut self, tables: Vec<TableKey>, ctx: &Context<'_>, out: &mut Output) {
        let Some(spec) = self.backup_spec() else { return };
        let values_only = spec.values_only;
        let cluster_name = self.record.cluster.as_ref().map(|cluster| cluster.cluster_name.clone()).unwrap_or_default();
        self.want(Waiting::Parents, ctx, out, Action::LoadParents { cluster_name, tables, values_only });
    }

    fn make_plan(&self, inspected: &v1::InspectResult, ctx: &Context<'_>) -> Vec<PlannedTable> {
        let Some(spec) = self.backup_spec() else { return Vec::new() };
        let options = Options { shards_per_table: spec.shards_per_table, slots: self.slots(ctx) };
        let parents: BTreeMap<TableKey, Parent> =
            self.run.parents.iter().flatten().map(|(name, parent)| (name.clone(), parent_of(parent))).collect();
        plan::backup(inspected, &inspected.tables, options, &parents)
    }

    /// Makes tables and shards of a plan. What an earlier run recorded of tables that are still the same stays.
    fn adopt_plan(&mut self, planned: Vec<PlannedTable>, ctx: &Context<'_>, out: &mut Output) {
        let same = |table: &Table| {
            planned.iter().any(|new| TableKey::of(&new.table) == table.key() && !is_other(table, &new.table))
        };
        let other: Vec<u32> = self.tables.iter().filter(|(_, table)| !same(table)).map(|(number, _)| *number).collect();
        for number in &other {
            let name = self.tables.get(number).map(Table::full_name).unwrap_or_default();
            self.remove_table(*number, out);
            self.warn(format!("{name} changed since the first run and is dumped anew"), out);
        }
        let kept: BTreeSet<TableKey> = self.tables.values().map(Table::key).collect();
        let new: Vec<PlannedTable> =
            planned.into_iter().filter(|table| !kept.contains(&TableKey::of(&table.table))).collect();
        if !other.is_empty() || (!kept.is_empty() && !new.is_empty()) {
            self.forget_schema(out);
        }
        let first = self.tables.keys().next_back().map_or(0, |last| last + 1);
        for (number, table) in (first..).zip(new) {
            self.adopt_table(number, table, 0, ctx, out);
        }
        if self.record.captured.is_none() {
            self.add(WorkKind::Capture, WHOLE, out);
        }
    }

    pub(super) fn adopt_table(
        &mut self,
        number: u32,
        planned: PlannedTable,
        redumps: u32,
        ctx: &Context<'_>,
        out: &mut Output,
    ) {
        let limit = self.backup_spec().map_or(0, |spec| spec.limit_rows);
        let record = TableRecord {
            job_id: self.id.clone(),
            ordinal: number,
            table: Some(planned.table),
            plan: Some(planned.plan),
            redumps,
            doubt: None,
        };
        let table = Table::planned(&record);
        let grid = table.grid();
        self.tables.insert(number, table);
        let homes = self.homes(ctx, out);
        out.changes.push(Change::PutTable(Box::new(record)));
        let shards = u64::try_from(planned.shards.len()).unwrap_or(u64::MAX);
        for (index, shard) in (0_u64..).zip(planned.shards) {
            let share = limit / shards + u64::from(index < limit % shards);
            if limit > 0 && share == 0 {
                self.close_all(number, shard, out);
            } else {
                let home = homes.as_ref().and_then(|(homes, numbers)| Some(numbers[homes.of(grid, shard)?]));
                self.add_shard(WorkKind::Dump, number, shard, share, home, out);
            }
        }
    }

    /// A shard that may store no row has empty segments.
    fn close_all(&mut self, number: u32, shard: Run, out: &mut Output) {
        for segment in shard.first..shard.first + shard.count {
            let piece = Piece::Closed(segment);
            out.changes.push(Change::PutPiece { job_id: self.id.clone(), table: number, piece: piece.clone() });
            if let Some(table) = self.tables.get_mut(&number) {
                table.record(piece);
            }
        }
    }

    pub(super) fn remove_table(&mut self, number: u32, out: &mut Output) {
        out.changes.push(Change::DeleteTable { job_id: self.id.clone(), table: number });
        let gone: Vec<u32> = self
            .assignments
            .iter()
            .filter(|(_, assignment)| assignment.table() == Some(number))
            .map(|(ordinal, _)| *ordinal)
            .collect();
        for ordinal in gone {
            self.forget(ordinal);
        }
        self.tables.remove(&number);
    }

    fn step_dump(&mut self, ctx: &Context<'_>, out: &mut Output) -> bool {
        if self.undone == 0 && self.record.captured.is_none() {
            self.add(WorkKind::Capture, WHOLE, out);
            return false;
        }
        if self.undone == 0 {
            return self.close_dump(ctx, out);
        }
        if self.run.parents.is_none() {
            let tables = self.tables.values().map(Table::key).collect();
            self.want_parents(tables, ctx, out);
        }
        false
    }

    /// Every piece must be there before an index is written.
    fn close_dump(&mut self, ctx: &Context<'_>, out: &mut Output) -> bool {
        let gap = self.tables.values().find(|table| table.closed != table.grid().segments());
        if let Some(table) = gap {
            let message = format!(
                "{}: {} of {} segments are recorded though all shards are done; this is a defect, please report it",
                table.full_name(),
                table.closed,
                table.grid().segments()
            );
            self.fail_with(ErrorKind::Internal, message, ctx, out);
            return false;
        }
        if self.record.dumped_unix_ms == 0 {
            self.record.dumped_unix_ms = ctx.now.unix_ms;
        }
        self.enter(Phase::Publish, ctx, out);
        true
    }

    fn publication(&self) -> Publication {
        let tables = self.tables.values().map(|table| {
            let chunks = table.dumped.values().flat_map(|dumped| dumped.chunks.iter().cloned()).collect();
            (table.inspected.clone(), table.grid(), chunks)
        });
        Publication {
            backup_id: self.record.backup_id.clone(),
            spec: self.backup_spec().cloned().unwrap_or_default(),
            started_unix_ms: self.record.submitted_unix_ms,
            finished_unix_ms: self.record.dumped_unix_ms,
            cluster: self.record.cluster.clone().unwrap_or_default(),
            captured: self.record.captured.clone().unwrap_or_default(),
            tables: tables.collect(),
            warnings: self.record.warnings.clone(),
        }
    }

    /// A submission revives it: the tables may have changed since, so the cluster is inspected again.
    pub(super) fn revive_backup(&mut self, ctx: &Context<'_>, out: &mut Output) {
        if matches!(self.record.phase(), Phase::Inspect | Phase::Dump) {
            self.drop_rechecks(out);
            self.enter(Phase::Inspect, ctx, out);
        }
    }

    /// Takes the answer to the inspection in.
    ///
    /// # Errors
    /// None of its own; what is wrong with the keyspace or its tables fails the job.
    pub(super) fn take_inspection(&mut self, result: v1::InspectResult, ctx: &Context<'_>, out: &mut Output) {
        let Some(spec) = self.backup_spec().cloned() else { return };
        let present: Vec<TableKey> = result.tables.iter().map(TableKey::of).collect();
        let place = Place {
            name: format!("cluster {}", result.cluster_name),
            keyspaces: &result.keyspaces,
            tables: &present,
            is_all: false,
        };
        if let Err(failure) = choose(&spec.keyspaces, &spec.tables, &place) {
            self.finish(JobState::Failed, Some(failure), ctx, out);
            return;
        }
        for warning in result.warnings.iter().chain(result.tables.iter().flat_map(|table| &table.warnings)) {
            self.warn(warning.clone(), out);
        }
        self.see_ring(&result, out);
        let known = v1::InspectResult { ring: Vec::new(), tables: Vec::new(), ..result.clone() };
        self.record.cluster = Some(known);
        self.run.inspected = Some(result);
        self.run.parents = None;
        self.touch(out);
    }

    /// The ring of its cluster steers the order of whatever is planned from now on.
    fn see_ring(&self, result: &v1::InspectResult, out: &mut Output) {
        if let Some(homes) = Homes::new(result) {
            out.rings.push((self.cluster().to_owned(), homes));
        }
    }

    /// What a lease of a backup tells its worker.
    pub(super) fn backup_work(&self, assignment: &Assignment, spec: &v1::BackupSpec) -> Work {
        match (assignment.kind(), assignment.table().and_then(|number| self.tables.get(&number))) {
            (WorkKind::Dump, Some(table)) => Work::Dump(self.dump_shard(assignment, table, spec)),
            (WorkKind::Recheck, _) => Work::Inspect(self.recheck_work(assignment, spec)),
            (WorkKind::Capture, _) => Work::Capture(v1::CaptureSchema {
                keyspaces: self.record.cluster.as_ref().map(|cluster| cluster.keyspaces.clone()).unwrap_or_default(),
                tables: self.tables.values().filter_map(|table| table.inspected.table.clone()).collect(),
                backup_id: self.record.backup_id.clone(),
                with_roles: spec.with_roles,
            }),
            _ => Work::Inspect(v1::InspectCluster {
                keyspaces: spec.keyspaces.clone(),
                tables: spec.tables.clone(),
                read_consistency: spec.read_consistency,
                sizes: true,
                values_only: spec.values_only,
            }),
        }
    }

    fn dump_shard(&self, assignment: &Assignment, table: &Table, spec: &v1::BackupSpec) -> v1::DumpShard {
        let run = assignment.run();
        let resume_parts = table.dumped.get(&run.first).map(|dumped| dumped.chunks.clone()).unwrap_or_default();
        let stored = super::pieces::rows_in(table, assignment.covers());
        v1::DumpShard {
            table: Some(table.inspected.clone()),
            grid_exponent: table.plan.grid_exponent,
            segment_first: run.first,
            segments: run.count,
            resume_parts,
            parent_chunks: self.parent_chunks(table, run),
            compression: spec.compression,
            chunk_rows_max: spec.chunk_rows_max,
            // Rows that may still come: those of `resume_parts` are counted already.
            limit_rows: assignment.limit_rows().saturating_sub(stored),
            fetch_size: if spec.fetch_size == 0 { FETCH_SIZE } else { spec.fetch_size },
            read_consistency: spec.read_consistency,
            values_only: spec.values_only,
            backup_id: self.record.backup_id.clone(),
        }
    }

    fn parent_chunks(&self, table: &Table, run: Run) -> Vec<v1::Chunk> {
        let parent = self.run.parents.as_ref().and_then(|parents| parents.get(&table.key()));
        let Some(parent) = parent.filter(|parent| parent.index.grid() == table.grid()) else { return Vec::new() };
        let segments = run.first..run.first + run.count;
        segments.flat_map(|segment| parent.index.segment_chunks(segment)).take(PARENT_CHUNKS_MAX).cloned().collect()
    }

    /// Takes what work without pieces gave; tells whether it is over.
    ///
    /// # Errors
    /// `Invalid` where it is said to be over and gave nothing.
    pub(super) fn take_result(
        &mut self,
        ordinal: u32,
        request: v1::CompleteRequest,
        ctx: &Context<'_>,
        out: &mut Output,
    ) -> Result<bool, Failure> {
        let Some(assignment) = self.assignments.get(&ordinal) else { return Ok(true) };
        let (kind, covers) = (assignment.kind(), assignment.covers());
        let given = match kind {
            WorkKind::Inspect => request.inspected.map(|result| self.take_inspection(result, ctx, out)),
            WorkKind::Recheck => request.inspected.map(|result| self.take_recheck(covers, &result, ctx, out)),
            WorkKind::Capture => request.captured.map(|result| {
                for warning in &result.warnings {
                    self.warn(warning.clone(), out);
                }
                self.record.captured = Some(result);
                self.recheck_all(out);
            }),
            _ => request.applied.map(|result| {
                if let Some(target) = &request.inspected {
                    self.see_ring(target, out);
                }
                for warning in result.warnings {
                    self.warn(warning, out);
                }
            }),
        };
        match given {
            Some(()) => Ok(true),
            None if request.ended => {
                let message = format!("{kind:?} was said to be ended, but gave no result; the worker is broken");
                Err(Failure::new(ErrorKind::Invalid, message))
            }
            None => Ok(false),
        }
    }

    /// Whether tables may be leased: a dump knows its parents by then.
    pub(super) fn are_tables_ready(&self) -> bool {
        self.backup_spec().is_none() || (self.run.parents.is_some() && self.record.phase() == Phase::Dump)
    }

    /// Whether anything may be leased or recorded.
    pub(super) fn is_ready(&self) -> bool {
        self.backup_spec().is_some() || self.run.backup.is_some()
    }
}

/// What a parent's index tells the planner.
pub(super) fn parent_of(parent: &ParentIndex) -> Parent {
    let mut segments_filled = 0;
    let mut last = None;
    for chunk in parent.index.chunks() {
        segments_filled += u64::from(last != Some(chunk.segment));
        last = Some(chunk.segment);
    }
    Parent {
        backup_id: parent.backup_id.clone(),
        grid: parent.index.grid(),
        encoded_bytes: parent.index.totals().encoded_bytes,
        segments_filled,
    }
}
