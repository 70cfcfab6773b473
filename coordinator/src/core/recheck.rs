//! Tables that somebody alters while they are backed up.
//!
//! Rows and DDL must agree. A worker compares a table's fingerprint with that of the plan around each shard; behind each
//! capture of the schema all definitions are read once more. So what is published was dumped and captured under the
//! fingerprints of the plan. A table that changed is planned and dumped anew, a few times at most, and the schema is
//! captured again at the end; whatever else is created or altered disturbs nothing.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};

use super::{
    assignment::{Assignment, Hold},
    backup::parent_of,
    event::Output,
    job::{Context, Job},
    table::Table,
};
use crate::{
    name::TableKey,
    plan::{self, Options, Run},
    record::{Change, WorkKind},
};

/// How often a table is dumped anew.
const REDUMPS_MAX: u32 = 3;

impl Job {
    /// A worker could not go on with a table, perhaps since it was altered: nobody dumps it before its definition was
    /// read again. Tells whether that is so.
    pub(super) fn doubt(&mut self, ordinal: u32, failure: &Failure, out: &mut Output) -> bool {
        let Some(assignment) = self.assignments.get(&ordinal) else { return false };
        let (WorkKind::Dump, ErrorKind::Conflict, Some(number)) = (assignment.kind(), failure.kind, assignment.table())
        else {
            return false;
        };
        self.set_hold(ordinal, Hold::WAITING, out);
        let Some(table) = self.tables.get_mut(&number) else { return false };
        if table.doubt.is_none() {
            table.doubt = Some(failure.clone().into());
            out.changes.push(Change::PutTable(Box::new(table.to_record(&self.id, number))));
            self.add(WorkKind::Recheck, Run { first: number.into(), count: 1 }, out);
        }
        true
    }

    /// The definitions are read again behind a capture of the schema.
    pub(super) fn recheck_all(&mut self, out: &mut Output) {
        self.add(WorkKind::Recheck, Run { first: 0, count: 0 }, out);
    }

    /// The tables that a recheck is about.
    fn rechecked(&self, covers: Run) -> Vec<u32> {
        let meant = |number: &&u32| covers.count == 0 || u64::from(**number) == covers.first;
        self.tables.keys().filter(meant).copied().collect()
    }

    /// What a lease of a recheck tells its worker.
    pub(super) fn recheck_work(&self, assignment: &Assignment, spec: &v1::BackupSpec) -> v1::InspectCluster {
        let tables: Vec<TableKey> = self
            .rechecked(assignment.covers())
            .iter()
            .filter_map(|number| Some(self.tables.get(number)?.key()))
            .collect();
        let mut keyspaces: Vec<String> = tables.iter().map(|key| key.keyspace.clone()).collect();
        keyspaces.sort_unstable();
        keyspaces.dedup();
        v1::InspectCluster {
            keyspaces,
            tables: tables.iter().map(ToString::to_string).collect(),
            read_consistency: spec.read_consistency,
            sizes: false,
            values_only: spec.values_only,
        }
    }

    /// Takes in what the tables are now.
    pub(super) fn take_recheck(&mut self, covers: Run, now: &v1::InspectResult, ctx: &Context<'_>, out: &mut Output) {
        for number in self.rechecked(covers) {
            let Some(table) = self.tables.get(&number) else { continue };
            let Some(found) = now.tables.iter().find(|found| TableKey::of(found) == table.key()) else {
                let message = format!(
                    "table {} was dropped while it was backed up; submit again to back up what there is",
                    table.full_name()
                );
                self.fail_with(ErrorKind::NotFound, message, ctx, out);
                return;
            };
            if !is_other(table, found) {
                if let Some(failure) = table.doubt.clone() {
                    // It is the same, so the worker meant something else.
                    let failure = Failure::from(failure);
                    self.fail_with(failure.kind, failure.message, ctx, out);
                    return;
                }
                continue;
            }
            if table.redumps >= REDUMPS_MAX {
                let message = format!(
                    "table {} was altered {} times while it was backed up; submit again once nobody alters it",
                    table.full_name(),
                    table.redumps + 1
                );
                self.fail_with(ErrorKind::Conflict, message, ctx, out);
                return;
            }
            self.redump(number, found.clone(), now, ctx, out);
        }
    }

    /// Plans and dumps a table anew, by its definition of now.
    fn redump(
        &mut self,
        number: u32,
        found: v1::InspectedTable,
        now: &v1::InspectResult,
        ctx: &Context<'_>,
        out: &mut Output,
    ) {
        let Some(table) = self.tables.get(&number) else { return };
        let (redumps, warning) =
            (table.redumps + 1, format!("{} was altered while it was backed up and is dumped anew", table.full_name()));
        // Its size was asked for once.
        let found = v1::InspectedTable {
            bytes_estimated: table.plan.bytes_estimated,
            partitions_estimated: table.plan.partitions_estimated,
            estimated_by: table.plan.estimated_by.clone(),
            ..found
        };
        let Some(spec) = self.backup_spec() else { return };
        let options = Options { shards_per_table: spec.shards_per_table, slots: self.slots(ctx) };
        let parents = self.run.parents.iter().flatten().map(|(key, parent)| (key.clone(), parent_of(parent))).collect();
        let planned = plan::backup(now, &[found], options, &parents);
        for warned in planned.iter().flat_map(|planned| planned.table.warnings.clone()) {
            self.warn(warned, out);
        }
        self.remove_table(number, out);
        self.warn(warning, out);
        for planned in planned {
            self.adopt_table(number, planned, redumps, ctx, out);
        }
        self.forget_schema(out);
    }

    /// A schema that was captured before a table changed is not the schema of this backup.
    pub(super) fn forget_schema(&mut self, out: &mut Output) {
        self.record.captured = None;
        let stale = |assignment: &Assignment| {
            assignment.kind() == WorkKind::Capture
                || (assignment.kind() == WorkKind::Recheck && assignment.covers().count == 0)
        };
        let stale: Vec<u32> = self
            .assignments
            .iter()
            .filter(|(_, assignment)| stale(assignment) && assignment.hold != Hold::Done)
            .map(|(ordinal, _)| *ordinal)
            .collect();
        for ordinal in stale {
            self.abandon(ordinal, out);
        }
        self.touch(out);
    }

    /// A new run inspects everything anyway.
    pub(super) fn drop_rechecks(&mut self, out: &mut Output) {
        let unsure = self.assignments.values().any(|assignment| {
            matches!(assignment.kind(), WorkKind::Capture | WorkKind::Recheck) && assignment.hold != Hold::Done
        });
        if unsure {
            self.forget_schema(out);
        }
        let doubts: Vec<u32> = self
            .assignments
            .iter()
            .filter(|(_, assignment)| assignment.kind() == WorkKind::Recheck && assignment.hold != Hold::Done)
            .map(|(ordinal, _)| *ordinal)
            .collect();
        for ordinal in doubts {
            self.abandon(ordinal, out);
        }
        for (number, table) in self.tables.iter_mut().filter(|(_, table)| table.doubt.is_some()) {
            table.doubt = None;
            out.changes.push(Change::PutTable(Box::new(table.to_record(&self.id, *number))));
        }
    }
}

/// Whether rows of a table mean something else now, or are read otherwise.
pub(super) fn is_other(table: &Table, now: &v1::InspectedTable) -> bool {
    let then = &table.inspected;
    let what = |table: &v1::InspectedTable| -> Vec<(i32, String)> {
        table.approximations.iter().map(|a| (a.what, a.column.clone())).collect()
    };
    then.fingerprint != now.fingerprint || then.table_id != now.table_id || what(then) != what(now)
}
