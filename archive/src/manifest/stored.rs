//! A manifest as bytes: an indented JSON document whose last member is a checksum of all before it (FORMAT.md,
//! "Manifest").

use std::collections::BTreeSet;

use jiff::Timestamp;
use ringvault_proto::{
    grid::Grid,
    ids::BackupId,
    v1::{self, Consistency},
};
use serde::{Deserialize, Serialize};

use super::{Cluster, Manifest, ObjectRecord, Options, TableEntry};
use crate::{
    chunk::Facts,
    digest::{Identity, Sum, Sums},
    error::{Error, Result},
    format,
    index::Approximation,
    names,
};

/// What stands between the document and its checksum.
const CHECKSUM_HEAD: &[u8] = b"  \"checksum\": \"";
/// What stands behind the checksum.
const CHECKSUM_TAIL: &[u8] = b"\"\n}\n";

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    ringvault_version: String,
    backup_id: BackupId,
    keyspaces: Vec<String>,
    started: String,
    finished: String,
    started_unix_ms: u64,
    finished_unix_ms: u64,
    partial: bool,
    cluster: ClusterDocument,
    options: OptionsDocument,
    schema: ObjectDocument,
    tables: Vec<TableDocument>,
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ClusterDocument {
    name: String,
    server_version: String,
    data_centers: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct OptionsDocument {
    read_consistency: String,
    compression: Compression,
    values_only: bool,
    limit_rows: u64,
    chunk_rows_max: u64,
    keyspaces_chosen: Vec<String>,
    tables_chosen: Vec<String>,
    with_roles: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Compression {
    Zstd,
    Gzip,
    None,
}

#[derive(Serialize, Deserialize)]
struct ObjectDocument {
    object: String,
    identity: Identity,
    encoded_bytes: u64,
    stored_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct TableDocument {
    keyspace: String,
    table: String,
    table_id: String,
    fingerprint: String,
    grid_exponent: Grid,
    index: ObjectDocument,
    rows: u64,
    static_rows: u64,
    chunks: u64,
    encoded_bytes: u64,
    stored_bytes: u64,
    stored_bytes_new: u64,
    value_sum: Sum,
    time_sum: Sum,
    fidelity: FidelityDocument,
}

/// What of a table is not exact, and what else is known of its rows.
#[derive(Serialize, Deserialize)]
struct FidelityDocument {
    key_only_rows: u64,
    estimated_cells: u64,
    writetime_us_max: i64,
    expiry_s_max: i64,
    approximations: Vec<Approximation>,
}

pub(super) fn to_json(manifest: &Manifest) -> Result<Vec<u8>> {
    let what = format!("the manifest of {}", manifest.backup_id);
    let document = Document::of(manifest)?;
    document.check(&manifest.backup_id).map_err(|reason| Error::invalid(format!("{what} is wrong: {reason}")))?;
    let mut bytes = format::pretty(&document, &what)?;
    bytes.truncate(bytes.len() - b"\n}\n".len());
    bytes.extend_from_slice(b",\n");
    let checksum = Identity::of(&bytes).to_string();
    bytes.extend_from_slice(CHECKSUM_HEAD);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes.extend_from_slice(CHECKSUM_TAIL);
    Ok(bytes)
}

pub(super) fn from_json(bytes: &[u8], backup: &BackupId) -> Result<Manifest> {
    let what = names::manifest_object(backup);
    let document: Document = format::parse(bytes, &what)?; // a newer one may have no checksum of this form
    if !checksum_agrees(bytes) {
        return Err(format::damaged(&what, &"its checksum is not that of its bytes"));
    }
    document.check(backup).map_err(|reason| format::damaged(&what, &reason))?;
    document.into_manifest().map_err(|reason| format::damaged(&what, &reason))
}

fn checksum_agrees(bytes: &[u8]) -> bool {
    let line_bytes = CHECKSUM_HEAD.len() + 64 + CHECKSUM_TAIL.len();
    let Some((document, line)) = bytes.len().checked_sub(line_bytes).and_then(|at| bytes.split_at_checked(at)) else {
        return false;
    };
    let checksum = line.strip_prefix(CHECKSUM_HEAD).and_then(|rest| rest.strip_suffix(CHECKSUM_TAIL));
    checksum == Some(Identity::of(document).to_string().as_bytes())
}

impl Document {
    fn of(manifest: &Manifest) -> Result<Self> {
        let mut tables: Vec<TableDocument> = manifest.tables.iter().map(TableDocument::of).collect();
        tables.sort_by(|a, b| (&a.keyspace, &a.table).cmp(&(&b.keyspace, &b.table)));
        let data_centers: BTreeSet<String> = manifest.cluster.data_centers.iter().cloned().collect();
        Ok(Self {
            format: format::FORMAT_VERSION,
            ringvault_version: manifest.ringvault_version.clone(),
            backup_id: manifest.backup_id.clone(),
            keyspaces: manifest.keyspaces.clone(),
            started: utc(manifest.started_unix_ms)?,
            finished: utc(manifest.finished_unix_ms)?,
            started_unix_ms: manifest.started_unix_ms,
            finished_unix_ms: manifest.finished_unix_ms,
            partial: manifest.is_partial(),
            cluster: ClusterDocument {
                name: manifest.cluster.name.clone(),
                server_version: manifest.cluster.server_version.clone(),
                data_centers: data_centers.into_iter().collect(),
            },
            options: OptionsDocument::of(&manifest.options),
            schema: ObjectDocument::of(&manifest.schema),
            tables,
            warnings: manifest.warnings.clone(),
        })
    }

    /// Why this is no manifest of `backup`.
    fn check(&self, backup: &BackupId) -> Result<(), String> {
        if self.backup_id != *backup {
            return Err(format!("it is of backup {}", self.backup_id));
        }
        if self.keyspaces.is_empty() {
            return Err("it names no keyspace".into());
        }
        let moments = [(&self.started, self.started_unix_ms), (&self.finished, self.finished_unix_ms)];
        for (text, unix_ms) in moments {
            if !utc(unix_ms).is_ok_and(|utc| utc == *text) {
                return Err(format!("{text:?} is not the time {unix_ms} ms"));
            }
        }
        if self.partial != (self.options.limit_rows > 0) {
            return Err("partial and limit_rows disagree".into());
        }
        let prefix = format!("{}/", names::backup_prefix(backup));
        let objects = self.tables.iter().map(|table| &table.index).chain([&self.schema]);
        for record in objects {
            if !record.object.strip_prefix(&prefix).is_some_and(is_below) {
                return Err(format!("{:?} is not below {prefix}", record.object));
            }
        }
        for (at, table) in self.tables.iter().enumerate() {
            let name = format!("{}.{}", table.keyspace, table.table);
            if !self.keyspaces.contains(&table.keyspace) {
                return Err(format!("{name} is of none of its keyspaces"));
            }
            let before = at.checked_sub(1).map(|before| &self.tables[before]);
            if before.is_some_and(|b| (&b.keyspace, &b.table) >= (&table.keyspace, &table.table)) {
                return Err(format!("{name} is out of order or there twice"));
            }
        }
        Ok(())
    }

    fn into_manifest(self) -> Result<Manifest, String> {
        Ok(Manifest {
            ringvault_version: self.ringvault_version,
            backup_id: self.backup_id,
            keyspaces: self.keyspaces,
            started_unix_ms: self.started_unix_ms,
            finished_unix_ms: self.finished_unix_ms,
            cluster: Cluster {
                name: self.cluster.name,
                server_version: self.cluster.server_version,
                data_centers: self.cluster.data_centers,
            },
            options: self.options.into_options()?,
            schema: self.schema.into_record(),
            tables: self.tables.into_iter().map(TableDocument::into_entry).collect(),
            warnings: self.warnings,
        })
    }
}

/// A path that stays where it is.
fn is_below(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && !part.starts_with('.')) && !path.contains(char::is_control)
}

fn utc(unix_ms: u64) -> Result<String> {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map(|time| time.to_string()).ok_or_else(|| Error::invalid(format!("{unix_ms} ms is beyond the year 9999")))
}

impl OptionsDocument {
    fn of(options: &Options) -> Self {
        let consistency = match options.read_consistency {
            Consistency::Unspecified => Consistency::LocalQuorum,
            named => named,
        };
        Self {
            read_consistency: consistency_name(consistency).to_owned(),
            compression: match options.compression {
                v1::Compression::Unspecified | v1::Compression::Zstd => Compression::Zstd,
                v1::Compression::Gzip => Compression::Gzip,
                v1::Compression::None => Compression::None,
            },
            values_only: options.values_only,
            limit_rows: options.limit_rows,
            chunk_rows_max: options.chunk_rows_max,
            keyspaces_chosen: options.keyspaces_chosen.clone(),
            tables_chosen: options.tables_chosen.clone(),
            with_roles: options.with_roles,
        }
    }

    fn into_options(self) -> Result<Options, String> {
        let name = format!("CONSISTENCY_{}", self.read_consistency);
        Ok(Options {
            read_consistency: Consistency::from_str_name(&name)
                .filter(|consistency| *consistency != Consistency::Unspecified)
                .ok_or_else(|| format!("there is no consistency level {:?}", self.read_consistency))?,
            compression: match self.compression {
                Compression::Zstd => v1::Compression::Zstd,
                Compression::Gzip => v1::Compression::Gzip,
                Compression::None => v1::Compression::None,
            },
            values_only: self.values_only,
            limit_rows: self.limit_rows,
            chunk_rows_max: self.chunk_rows_max,
            keyspaces_chosen: self.keyspaces_chosen,
            tables_chosen: self.tables_chosen,
            with_roles: self.with_roles,
        })
    }
}

/// The level's name in CQL.
fn consistency_name(consistency: Consistency) -> &'static str {
    let name = consistency.as_str_name();
    name.strip_prefix("CONSISTENCY_").unwrap_or(name)
}

impl ObjectDocument {
    fn of(record: &ObjectRecord) -> Self {
        Self {
            object: record.object.clone(),
            identity: record.identity,
            encoded_bytes: record.encoded_bytes,
            stored_bytes: record.stored_bytes,
        }
    }

    fn into_record(self) -> ObjectRecord {
        ObjectRecord {
            object: self.object,
            identity: self.identity,
            encoded_bytes: self.encoded_bytes,
            stored_bytes: self.stored_bytes,
        }
    }
}

impl TableDocument {
    fn of(entry: &TableEntry) -> Self {
        Self {
            keyspace: entry.keyspace.clone(),
            table: entry.table.clone(),
            table_id: entry.table_id.clone(),
            fingerprint: entry.fingerprint.clone(),
            grid_exponent: entry.grid,
            index: ObjectDocument::of(&entry.index),
            rows: entry.sums.rows,
            static_rows: entry.sums.static_rows,
            chunks: entry.chunks,
            encoded_bytes: entry.encoded_bytes,
            stored_bytes: entry.stored_bytes,
            stored_bytes_new: entry.stored_bytes_new,
            value_sum: entry.sums.values,
            time_sum: entry.sums.times,
            fidelity: FidelityDocument {
                key_only_rows: entry.facts.key_only_rows,
                estimated_cells: entry.facts.estimated_cells,
                writetime_us_max: entry.facts.writetime_us_max,
                expiry_s_max: entry.facts.expiry_s_max,
                approximations: entry.approximations.iter().map(Approximation::of).collect(),
            },
        }
    }

    fn into_entry(self) -> TableEntry {
        TableEntry {
            keyspace: self.keyspace,
            table: self.table,
            table_id: self.table_id,
            fingerprint: self.fingerprint,
            grid: self.grid_exponent,
            index: self.index.into_record(),
            sums: Sums { rows: self.rows, static_rows: self.static_rows, values: self.value_sum, times: self.time_sum },
            chunks: self.chunks,
            encoded_bytes: self.encoded_bytes,
            stored_bytes: self.stored_bytes,
            stored_bytes_new: self.stored_bytes_new,
            facts: Facts {
                key_only_rows: self.fidelity.key_only_rows,
                estimated_cells: self.fidelity.estimated_cells,
                writetime_us_max: self.fidelity.writetime_us_max,
                expiry_s_max: self.fidelity.expiry_s_max,
            },
            approximations: self.fidelity.approximations.into_iter().map(Approximation::into_message).collect(),
        }
    }
}
