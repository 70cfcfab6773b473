//! What of a backup goes where, and what becomes of it on the way: what a restore or a comparison tells its workers.

use std::borrow::Cow;

use prost::Message;
use ringvault_archive::{
    chunk::Facts, index::TableIndex, rows::choice::key_cells, table::TableLayout, token::token_of,
};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    token::Token,
    v1::{self, IfExists, Timestamps, Ttl, apply_schema::Stage, assignment::Work, verify_shard::Against},
};

use super::{assignment::Assignment, event::LoadedBackup, job::Job, scrap::scratch_keyspace, table::Table};
use crate::{
    name::TableKey,
    plan::{Run, select},
    record::WorkKind,
};

/// Columns of all tables of a restore at most, in bytes: they travel in one message with what else it says.
const EXPECTED_BYTES_MAX: usize = 3 << 20;

impl Job {
    /// What of a backup goes where. A comparison is a restore that writes nothing, and a rehearsal has its own target.
    pub(super) fn restore_spec(&self) -> Cow<'_, v1::RestoreSpec> {
        use v1::job_spec::Work;
        match self.work() {
            Work::Restore(spec) if spec.rehearsal => {
                let mut spec = v1::RestoreSpec { keyspace_as: scratch_keyspace(&self.id), ..spec.clone() };
                spec.verify = true;
                if spec.replication.is_empty() && spec.data_center_as.is_empty() {
                    // The one replication that every cluster has; a rehearsal tries the rows, not the nodes.
                    let simple = [("class", "SimpleStrategy"), ("replication_factor", "1")];
                    spec.replication = simple.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
                }
                Cow::Owned(spec)
            }
            Work::Restore(spec) => Cow::Borrowed(spec),
            Work::Verify(spec) => Cow::Owned(v1::RestoreSpec {
                keyspaces: spec.keyspaces.clone(),
                tables: spec.tables.clone(),
                backup_id: spec.backup_id.clone(),
                read_consistency: spec.read_consistency,
                keyspace_as: spec.keyspace_as.clone(),
                table_as: spec.table_as.clone(),
                token_ranges: spec.token_ranges.clone(),
                verify: true,
                ..v1::RestoreSpec::default()
            }),
            Work::Backup(_) => Cow::Owned(v1::RestoreSpec::default()),
        }
    }

    /// Whether it only compares.
    pub(super) fn only_compares(&self) -> bool {
        matches!(self.work(), v1::job_spec::Work::Verify(_))
    }

    /// Judges what is asked for by what the backup holds.
    ///
    /// # Errors
    /// `Invalid` or `NotFound`, naming the field and the table.
    pub(super) fn judge_backup(&self, backup: &LoadedBackup) -> Result<(), Failure> {
        let spec = self.restore_spec();
        let invalid = |message: String| Err(Failure::new(ErrorKind::Invalid, message));
        let id = &backup.backup_id;
        let renames = !spec.keyspace_as.is_empty() || !spec.table_as.is_empty();
        if renames && backup.keyspaces.len() != 1 {
            let meant = backup.keyspaces.join(", ");
            return invalid(if self.is_rehearsal() {
                format!("a rehearsal restores one keyspace, and {meant} of backup {id} are meant; name one of them")
            } else {
                format!("new names are for one keyspace, and {meant} of backup {id} are meant; name one of them")
            });
        }
        check_new_names(&spec, backup)?;
        let append = spec.if_exists() == IfExists::Append;
        if let Some(index) = backup.tables.iter().find(|index| append && index.table().counter) {
            return invalid(format!(
                "table {} holds counters, and if_exists append would add the backup's to those that stand there; \
                 use truncate or only-missing, or leave the table out",
                TableKey::of(index.table())
            ));
        }
        let values_only = backup.tables.iter().any(TableIndex::values_only);
        if values_only && matches!(spec.ttl(), Ttl::Restart | Ttl::OriginalExpiry) {
            return invalid(format!(
                "backup {id} was made with values_only and holds no expiries, so there is none to keep or to restart; \
                 leave ttl out, or use drop"
            ));
        }
        let expected: usize = backup.tables.iter().map(|index| index.table().encoded_len()).sum();
        if expected > EXPECTED_BYTES_MAX && !self.only_compares() {
            return invalid(format!(
                "the columns of {} tables are more than one message holds ({} of {} KiB); restore them in several \
                 steps, each with some of the tables",
                backup.tables.len(),
                expected >> 10,
                EXPECTED_BYTES_MAX >> 10
            ));
        }
        match (&spec.partition_key, &backup.tables[..]) {
            (Some(_), [_]) | (None, _) => Ok(()),
            (Some(_), tables) => invalid(format!(
                "a partition key belongs to one table, and {} tables of backup {id} are meant; name one as \
                 KEYSPACE.TABLE",
                tables.len()
            )),
        }
    }

    /// The segments of a table that are meant.
    ///
    /// # Errors
    /// `Invalid` for a partition key that is none of this table; the key is not shown.
    pub(super) fn selected(&self, index: &TableIndex) -> Result<Vec<Run>, Failure> {
        let spec = self.restore_spec();
        let token = spec.partition_key.as_ref().map(|key| token_in(index, key)).transpose()?;
        let runs = select::segments(index.grid(), &spec.token_ranges, token);
        if spec.sample_per_million == 0 {
            return Ok(runs);
        }
        let seed = format!("{} {}", self.id, TableKey::of(index.table()));
        Ok(select::sample(&runs, index.chunks(), spec.sample_per_million, &seed))
    }

    /// Where a table goes.
    pub(super) fn target_of(&self, table: &Table) -> TableKey {
        let TableKey { keyspace, table } = table.key();
        let spec = self.restore_spec();
        TableKey {
            keyspace: if spec.keyspace_as.is_empty() { keyspace } else { spec.keyspace_as.clone() },
            table: spec.table_as.get(&table).cloned().unwrap_or(table),
        }
    }

    /// What a lease of a restore tells its worker.
    pub(super) fn restore_work(&self, assignment: &Assignment) -> Work {
        let spec = &self.restore_spec();
        let table = assignment.table().and_then(|number| self.tables.get(&number));
        match (assignment.kind(), table) {
            (WorkKind::Restore, Some(table)) => Work::Restore(self.restore_shard(assignment, table, spec)),
            (WorkKind::Check, Some(table)) => {
                Work::Verify(self.verify_shard(assignment, table, spec, Against::Repository))
            }
            (WorkKind::Compare, Some(table)) => {
                Work::Verify(self.verify_shard(assignment, table, spec, Against::Cluster))
            }
            (WorkKind::Before, _) => Work::Apply(self.apply_schema(spec, Stage::Before)),
            (WorkKind::After, _) => Work::Apply(self.apply_schema(spec, Stage::After)),
            (WorkKind::Scrap, _) => Work::Apply(self.apply_schema(spec, Stage::Scrap)),
            _ => Work::Apply(self.apply_schema(spec, Stage::Preflight)),
        }
    }

    fn apply_schema(&self, spec: &v1::RestoreSpec, stage: Stage) -> v1::ApplySchema {
        let backup = self.run.backup.as_ref();
        let (writetime_us_max, expiry_s_max) = self.greatest_times(spec);
        v1::ApplySchema {
            stage: stage.into(),
            keyspaces: backup.map(|backup| backup.keyspaces.clone()).unwrap_or_default(),
            whole: spec.tables.is_empty() && backup.is_some_and(|backup| backup.all_tables),
            backup_id: self.record.backup_id.clone(),
            drop: spec.drop,
            write_consistency: spec.write_consistency,
            expected: self.tables.values().map(|table| table.inspected.clone()).collect(),
            keyspace_as: spec.keyspace_as.clone(),
            table_as: spec.table_as.clone(),
            replication: spec.replication.clone(),
            data_center_as: spec.data_center_as.clone(),
            if_exists: spec.if_exists,
            schema_only: spec.schema_only,
            data_only: spec.data_only,
            with_roles: spec.with_roles,
            writetime_us_max,
            expiry_s_max,
        }
    }

    /// The greatest writetime and the latest expiry that will be written; 0 where none is.
    fn greatest_times(&self, spec: &v1::RestoreSpec) -> (i64, i64) {
        let mut facts = Facts::default();
        self.tables.values().for_each(|table| facts += table.totals.facts);
        let writetime = if spec.timestamps() == Timestamps::Now { 0 } else { facts.writetime_us_max };
        let began_ms = self.run.backup.as_ref().map_or(0, |backup| backup.started_unix_ms);
        let since_s = i64::try_from(self.record.submitted_unix_ms.saturating_sub(began_ms) / 1000).unwrap_or(0);
        let expiry = match spec.ttl() {
            Ttl::Drop => 0,
            Ttl::Restart if facts.expiry_s_max > 0 => facts.expiry_s_max.saturating_add(since_s),
            Ttl::Restart | Ttl::OriginalExpiry | Ttl::Unspecified => facts.expiry_s_max,
        };
        (writetime, expiry)
    }

    /// What becomes of a table's rows; the same in every run of the job, so that a row written twice is written alike.
    fn rules(&self, table: &Table, spec: &v1::RestoreSpec) -> v1::RowRules {
        let target = self.target_of(table);
        v1::RowRules {
            target: (target != table.key()).then(|| v1::TableName::from(&target)),
            timestamps: spec.timestamps,
            ttl: spec.ttl,
            backup_started_unix_ms: self.run.backup.as_ref().map_or(0, |backup| backup.started_unix_ms),
            restore_started_unix_ms: if self.only_compares() { 0 } else { self.record.submitted_unix_ms },
            if_exists: spec.if_exists,
            token_ranges: spec.token_ranges.clone(),
            partition_key: spec.partition_key.clone(),
        }
    }

    fn restore_shard(&self, assignment: &Assignment, table: &Table, spec: &v1::RestoreSpec) -> v1::RestoreShard {
        let run = assignment.run();
        let place = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        let leased = table.chunks().iter().skip(place(run.first)).take(place(run.count));
        let chunks = leased.filter(|chunk| !table.restored.contains_key(&(chunk.segment, chunk.part)));
        v1::RestoreShard {
            table: Some(table.inspected.clone()),
            grid_exponent: table.plan.grid_exponent,
            chunks: chunks.cloned().collect(),
            write_consistency: spec.write_consistency,
            batch_rows_max: spec.batch_rows_max,
            retries: if spec.retries == 0 { 5 } else { spec.retries },
            retry_delay_ms: if spec.retry_delay_ms == 0 { 2000 } else { spec.retry_delay_ms },
            values_only: table.index.as_ref().is_some_and(|index| index.values_only()),
            rules: Some(self.rules(table, spec)),
            read_consistency: spec.read_consistency,
        }
    }

    fn verify_shard(
        &self,
        assignment: &Assignment,
        table: &Table,
        spec: &v1::RestoreSpec,
        against: Against,
    ) -> v1::VerifyShard {
        let run = assignment.run();
        let asked = matches!(self.work(), v1::job_spec::Work::Verify(spec) if spec.values_only);
        let holds_none = table.index.as_ref().is_some_and(|index| index.values_only());
        v1::VerifyShard {
            against: against.into(),
            table: Some(table.inspected.clone()),
            grid_exponent: table.plan.grid_exponent,
            segment_first: run.first,
            segments: run.count,
            chunks: table.chunks_of(run.first, run.count).to_vec(),
            read_consistency: spec.read_consistency,
            fetch_size: 0,
            values_only: holds_none || (asked && against == Against::Cluster),
            rules: (against == Against::Cluster).then(|| self.rules(table, spec)),
        }
    }
}

/// New names must be of tables that are meant, and no two tables may go to one place.
fn check_new_names(spec: &v1::RestoreSpec, backup: &LoadedBackup) -> Result<(), Failure> {
    let names: Vec<TableKey> = backup.tables.iter().map(|index| TableKey::of(index.table())).collect();
    if let Some(old) = spec.table_as.keys().find(|old| !names.iter().any(|key| key.table == **old)) {
        let message = format!(
            "table_as renames {old}, which is no table of backup {} that is meant; names are case-sensitive",
            backup.backup_id
        );
        return Err(Failure::new(ErrorKind::NotFound, message));
    }
    let stays = |key: &&TableKey| !spec.table_as.contains_key(&key.table);
    let taken = names.iter().filter(stays).find(|key| spec.table_as.values().any(|new| *new == key.table));
    match taken {
        None => Ok(()),
        Some(key) => Err(Failure::new(
            ErrorKind::Invalid,
            format!("table_as gives a table the name {}, which {key} of the backup keeps; choose another", key.table),
        )),
    }
}

fn token_in(index: &TableIndex, key: &v1::PartitionKey) -> Result<Token, Failure> {
    let layout = TableLayout::from_message(index.table())?;
    Ok(token_of(&key_cells(&layout, key)?))
}
