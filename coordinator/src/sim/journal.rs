//! A model of the journal: what is committed, record by record. Cheap to load, and strict: a piece is recorded once.

use std::collections::BTreeMap;

use crate::record::{
    AssignmentRecord, Change, ClusterRecord, HoldKind, JobRecord, Loaded, Piece, SuccessRecord, TableRecord,
};

/// Kind, segment, part.
pub(super) type Place = (u8, u64, u32);

/// Records by their keys. The simulation keeps two: what is committed, and what the living core believes beyond that.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelJournal {
    pub(super) jobs: BTreeMap<String, JobRecord>,
    pub(super) tables: BTreeMap<String, BTreeMap<u32, TableRecord>>,
    pub(super) assignments: BTreeMap<String, BTreeMap<u32, AssignmentRecord>>,
    pub(super) pieces: BTreeMap<String, BTreeMap<u32, BTreeMap<Place, Piece>>>,
    pub(super) clusters: BTreeMap<String, ClusterRecord>,
    successes: BTreeMap<(String, String), SuccessRecord>,
}

impl ModelJournal {
    /// Commits changes, in their order.
    pub(super) fn commit(&mut self, changes: &[Change]) {
        changes.iter().for_each(|change| self.take(change));
    }

    fn take(&mut self, change: &Change) {
        match change {
            Change::PutJob(record) => drop(self.jobs.insert(record.job_id.clone(), (**record).clone())),
            Change::PutTable(record) => {
                let tables = self.tables.entry(record.job_id.clone()).or_default();
                tables.insert(record.ordinal, (**record).clone());
            }
            Change::PutAssignment(record) => {
                let assignments = self.assignments.entry(record.job_id.clone()).or_default();
                assignments.insert(record.ordinal, record.clone());
            }
            Change::PutPiece { job_id, table, piece } => {
                let pieces = self.pieces.entry(job_id.clone()).or_default().entry(*table).or_default();
                let before = pieces.insert(piece.place(), piece.clone());
                assert!(before.is_none(), "{:?} of table {table} of {job_id} is recorded twice", piece.place());
            }
            Change::DeleteTable { job_id, table } => {
                self.pieces.entry(job_id.clone()).or_default().remove(table);
                self.assignments.entry(job_id.clone()).or_default().retain(|_, known| known.table != Some(*table));
                self.tables.entry(job_id.clone()).or_default().remove(table);
            }
            Change::DeleteAssignment { job_id, ordinal } => {
                self.assignments.entry(job_id.clone()).or_default().remove(ordinal);
            }
            Change::DeleteWork(job_id) => self.delete_work(job_id),
            Change::DeleteJob(job_id) => {
                self.delete_work(job_id);
                self.jobs.remove(job_id);
            }
            Change::PutCluster(record) => drop(self.clusters.insert(record.cluster.clone(), record.clone())),
            Change::PutSuccess(record) => {
                self.successes.insert((record.cluster.clone(), record.keyspace.clone()), record.clone());
            }
        }
    }

    fn delete_work(&mut self, job_id: &str) {
        self.pieces.remove(job_id);
        self.assignments.remove(job_id);
        self.tables.remove(job_id);
    }

    /// All of it, as a coordinator loads it.
    pub(super) fn load(&self) -> Loaded {
        let mut pieces = Vec::new();
        for (job, tables) in &self.pieces {
            for (table, places) in tables {
                pieces.extend(places.values().map(|piece| (job.clone(), *table, piece.clone())));
            }
        }
        Loaded {
            jobs: self.jobs.values().cloned().collect(),
            tables: self.tables.values().flat_map(BTreeMap::values).cloned().collect(),
            assignments: self.assignments.values().flat_map(BTreeMap::values).cloned().collect(),
            pieces,
            clusters: self.clusters.values().cloned().collect(),
            successes: self.successes.values().cloned().collect(),
        }
    }

    /// The assignment behind an id.
    pub(super) fn assignment(&self, id: &str) -> Option<&AssignmentRecord> {
        let (job, ordinal) = id.rsplit_once('.')?;
        self.assignments.get(job)?.get(&ordinal.parse().ok()?)
    }

    /// What is recorded of a table of a job.
    pub(super) fn pieces_of(&self, job: &str, table: u32) -> Option<&BTreeMap<Place, Piece>> {
        self.pieces.get(job)?.get(&table)
    }

    /// All assignments that somebody holds.
    pub(super) fn leased(&self) -> impl Iterator<Item = &AssignmentRecord> {
        self.assignments.values().flat_map(BTreeMap::values).filter(|record| record.hold() == HoldKind::Leased)
    }
}
