//! Who has which assignment of a job, and the lists and counts that follow from it, kept as it changes: a grant and a look
//! at a job must not go through all assignments.

use super::{
    assignment::{Assignment, Hold, Lease},
    event::Output,
    job::{Context, Job},
    table::Live,
};
use crate::{
    plan::{Run, ring::Homes},
    record::{AssignmentRecord, Change, WorkKind},
};

impl Job {
    /// Adds an assignment without a table.
    pub(super) fn add(&mut self, kind: WorkKind, covers: Run, out: &mut Output) {
        self.add_record(
            AssignmentRecord {
                kind: kind.into(),
                first: covers.first,
                count: covers.count,
                ..AssignmentRecord::default()
            },
            out,
        );
    }

    /// Adds an assignment of a table. `home` is a node of its cluster's ring.
    pub(super) fn add_shard(
        &mut self,
        kind: WorkKind,
        table: u32,
        covers: Run,
        limit_rows: u64,
        home: Option<u32>,
        out: &mut Output,
    ) {
        let record = AssignmentRecord {
            kind: kind.into(),
            table: Some(table),
            first: covers.first,
            count: covers.count,
            limit_rows,
            home,
            ..AssignmentRecord::default()
        };
        self.add_record(record, out);
    }

    fn add_record(&mut self, record: AssignmentRecord, out: &mut Output) {
        let record = AssignmentRecord { job_id: self.id.clone(), ordinal: self.record.next_assignment, ..record };
        self.record.next_assignment += 1;
        self.touch(out);
        self.insert(&record);
        out.changes.push(Change::PutAssignment(record));
        out.room = true;
    }

    /// Takes an assignment in that is in the journal.
    pub(super) fn insert(&mut self, record: &AssignmentRecord) {
        let assignment = Assignment::new(record);
        if let Some(number) = assignment.table() {
            let table = self.tables.entry(number).or_default();
            let shards = table.shards.entry(assignment.kind()).or_default();
            shards.all += 1;
            shards.segments += assignment.covers().count;
            table.counts.failures += u64::from(assignment.attempts()) + u64::from(assignment.lapses());
        }
        self.assignments.insert(record.ordinal, assignment);
        self.place(record.ordinal);
    }

    /// Changes who has an assignment and journals it.
    pub(super) fn set_hold(&mut self, ordinal: u32, hold: Hold, out: &mut Output) {
        self.change_hold(ordinal, hold);
        if let Some(assignment) = self.assignments.get(&ordinal) {
            out.changes.push(Change::PutAssignment(assignment.to_record(&self.id)));
        }
        out.room = true;
        out.changed.insert(self.id.clone());
    }

    /// Changes who has an assignment, in every place that knows it.
    pub(super) fn change_hold(&mut self, ordinal: u32, hold: Hold) {
        self.displace(ordinal);
        if let Some(assignment) = self.assignments.get_mut(&ordinal) {
            assignment.hold = hold;
        }
        self.place(ordinal);
    }

    /// All leases are nobody's from now on; reports of their holders are told so.
    pub(super) fn release_all(&mut self, out: &mut Output) {
        for ordinal in self.leased.clone() {
            self.set_hold(ordinal, Hold::WAITING, out);
        }
    }

    /// Pauses that are over are over.
    pub(super) fn wake(&mut self, now_ms: u64) {
        while let Some((_, ordinal)) = self.delayed.first().copied().filter(|(until, _)| *until <= now_ms) {
            self.change_hold(ordinal, Hold::WAITING);
        }
    }

    /// Puts an assignment on the lists and into the counts that its hold asks for.
    fn place(&mut self, ordinal: u32) {
        let Some(assignment) = self.assignments.get(&ordinal) else { return };
        let mut table = assignment.table().and_then(|table| self.tables.get_mut(&table));
        let home = assignment.home();
        match &assignment.hold {
            Hold::Done => {
                if let Some(shards) = table.and_then(|table| table.shards.get_mut(&assignment.kind())) {
                    shards.done += 1;
                }
                self.troubles.remove(&ordinal);
                return;
            }
            Hold::Queued { not_before_ms: 0 } => match &mut table {
                Some(table) => table.queued.insert(home, ordinal),
                None => drop(self.loose.insert(ordinal)),
            },
            Hold::Queued { not_before_ms } => drop(self.delayed.insert((*not_before_ms, ordinal))),
            Hold::Leased(lease) => {
                self.leased.insert(ordinal);
                *self.holders.entry(lease.worker.clone()).or_default() += 1;
                if let Some(table) = &mut table {
                    *self.busy.entry(home).or_default() += 1;
                    table.leased += 1;
                    table.live.add(live(assignment.kind(), lease));
                }
            }
        }
        self.undone += 1;
        if let (Some(number), Some(table)) = (assignment.table(), table) {
            table.undone += 1;
            self.open.insert(number);
        }
    }

    /// Takes an assignment off the lists and out of the counts that know it.
    fn displace(&mut self, ordinal: u32) {
        let Some(assignment) = self.assignments.get(&ordinal) else { return };
        let mut table = assignment.table().and_then(|table| self.tables.get_mut(&table));
        let home = assignment.home();
        match &assignment.hold {
            Hold::Done => {
                if let Some(shards) = table.and_then(|table| table.shards.get_mut(&assignment.kind())) {
                    shards.done -= 1;
                }
                return;
            }
            Hold::Queued { not_before_ms: 0 } => match &mut table {
                Some(table) => table.queued.remove(home, ordinal),
                None => drop(self.loose.remove(&ordinal)),
            },
            Hold::Queued { not_before_ms } => drop(self.delayed.remove(&(*not_before_ms, ordinal))),
            Hold::Leased(lease) => {
                self.leased.remove(&ordinal);
                if let Some(held) = self.holders.get_mut(&lease.worker) {
                    *held -= 1;
                    if *held == 0 {
                        self.holders.remove(&lease.worker);
                        self.told.forget(&lease.worker);
                    }
                }
                if let Some(table) = &mut table {
                    if let Some(busy) = self.busy.get_mut(&home) {
                        *busy -= 1;
                    }
                    table.leased -= 1;
                    table.live.subtract(live(assignment.kind(), lease));
                    table.counts.retries += lease.progress.retries;
                }
            }
        }
        self.undone -= 1;
        if let (Some(number), Some(table)) = (assignment.table(), table) {
            table.undone -= 1;
            if table.undone == 0 {
                self.open.remove(&number);
            }
        }
    }

    /// Changes what is known of a lease, in every place that knows it.
    pub(super) fn with_lease<T>(&mut self, ordinal: u32, change: impl FnOnce(&mut Lease) -> T) -> Option<T> {
        let assignment = self.assignments.get_mut(&ordinal)?;
        let (kind, table) = (assignment.kind(), assignment.table());
        let Hold::Leased(lease) = &mut assignment.hold else { return None };
        let before = live(kind, lease);
        let result = change(lease);
        let now = live(kind, lease);
        if let Some(table) = table.and_then(|table| self.tables.get_mut(&table)) {
            table.live.add(now);
            table.live.subtract(before);
        }
        Some(result)
    }

    /// Nobody is to do an assignment any more; who holds it is told so.
    pub(super) fn abandon(&mut self, ordinal: u32, out: &mut Output) {
        if self.forget(ordinal) {
            out.changes.push(Change::DeleteAssignment { job_id: self.id.clone(), ordinal });
            out.room = true;
        }
    }

    /// Forgets an assignment; tells whether there was one.
    pub(super) fn forget(&mut self, ordinal: u32) -> bool {
        self.displace(ordinal);
        self.troubles.remove(&ordinal);
        let Some(assignment) = self.assignments.remove(&ordinal) else { return false };
        let table = assignment.table().and_then(|table| self.tables.get_mut(&table));
        if let Some(shards) = table.and_then(|table| table.shards.get_mut(&assignment.kind())) {
            shards.all -= 1;
            shards.segments -= assignment.covers().count;
        }
        true
    }

    /// Forgets tables, assignments and pieces; the job stays to be looked at.
    pub(super) fn drop_work(&mut self, out: &mut Output) {
        if self.holds_work() {
            out.changes.push(Change::DeleteWork(self.id.clone()));
        }
        self.tables.clear();
        self.assignments.clear();
        self.loose.clear();
        self.delayed.clear();
        self.leased.clear();
        self.holders.clear();
        self.busy.clear();
        self.open.clear();
        self.troubles.clear();
        self.told.clear();
        self.undone = 0;
    }

    /// The nodes of its cluster as homes of assignments: a home for each node of the ring. Nothing where no ring is known.
    pub(super) fn homes<'a>(&mut self, ctx: &Context<'a>, out: &mut Output) -> Option<(&'a Homes, Vec<u32>)> {
        let homes = ctx.rings.get(self.cluster())?;
        let mut numbers = Vec::with_capacity(homes.nodes().len());
        for (place, node) in homes.nodes().iter().enumerate() {
            let known = &self.record.homes;
            let place = match known.get(place) {
                Some(same) if same == node => place,
                _ => known.iter().position(|known| known == node).unwrap_or(known.len()),
            };
            if place == known.len() {
                self.record.homes.push(node.clone());
                self.touch(out);
            }
            numbers.push(u32::try_from(place).unwrap_or(u32::MAX));
        }
        Some((homes, numbers))
    }
}

/// What a lease adds to what is shown of its table.
fn live(kind: WorkKind, lease: &Lease) -> Live {
    let counted = matches!(kind, WorkKind::Dump | WorkKind::Restore);
    let beyond = |told: u64, recorded: u64| if counted { told.saturating_sub(recorded) } else { 0 };
    Live {
        rows: beyond(lease.progress.rows, lease.rows_recorded),
        bytes: beyond(lease.progress.encoded_bytes, lease.bytes_recorded),
        retries: lease.progress.retries,
    }
}
