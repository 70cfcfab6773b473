//! The manifest: what makes chunks a backup. It is written last, and a backup exists iff its manifest does.
//!
//! Deliberately absent: where manifests are stored and how they are listed; see [`crate::repository`].

mod stored;

use ringvault_proto::{
    grid::Grid,
    ids::BackupId,
    v1::{self, Compression, Consistency},
};

use crate::{
    chunk::Facts,
    digest::{Identity, Sums},
    error::Result,
};

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Of the program that wrote it.
    pub ringvault_version: String,
    /// Which backup.
    pub backup_id: BackupId,
    /// Unquoted; also those without tables.
    pub keyspaces: Vec<String>,
    /// When the first run began; milliseconds since the epoch.
    pub started_unix_ms: u64,
    /// When the last row had been read; milliseconds since the epoch.
    pub finished_unix_ms: u64,
    /// Where it came from.
    pub cluster: Cluster,
    /// How it was made.
    pub options: Options,
    /// Its DDL.
    pub schema: ObjectRecord,
    /// Its tables, by keyspace and name.
    pub tables: Vec<TableEntry>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// The database that a backup was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// As the cluster calls itself.
    pub name: String,
    /// Highest among its nodes.
    pub server_version: String,
    /// All of them.
    pub data_centers: Vec<String>,
}

/// How a backup was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Of the reads.
    pub read_consistency: Consistency,
    /// Of new chunks.
    pub compression: Compression,
    /// Writetimes and expiries were left out.
    pub values_only: bool,
    /// Rows a table at most; 0: all. A limited backup is partial and nobody's parent.
    pub limit_rows: u64,
    /// Rows a chunk at most; 0: by bytes only.
    pub chunk_rows_max: u64,
    /// The keyspaces that were asked for, as patterns.
    pub keyspaces_chosen: Vec<String>,
    /// The tables that were asked for, as patterns; empty: all of the keyspaces.
    pub tables_chosen: Vec<String>,
    /// Roles and grants are in the schema.
    pub with_roles: bool,
}

/// An object that the manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Path below the repository's root.
    pub object: String,
    /// BLAKE3 of the uncompressed bytes.
    pub identity: Identity,
    /// Uncompressed length.
    pub encoded_bytes: u64,
    /// Length of the object.
    pub stored_bytes: u64,
}

/// One table of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Unquoted.
    pub keyspace: String,
    /// Unquoted.
    pub table: String,
    /// The server's uuid of it.
    pub table_id: String,
    /// Of id, columns and types.
    pub fingerprint: String,
    /// Its segments.
    pub grid: Grid,
    /// Its index.
    pub index: ObjectRecord,
    /// Rows and sums over all chunks.
    pub sums: Sums,
    /// Chunks.
    pub chunks: u64,
    /// Uncompressed bytes of all chunks.
    pub encoded_bytes: u64,
    /// Bytes of all its chunks' objects.
    pub stored_bytes: u64,
    /// Of these, the bytes that this backup added to the repository.
    pub stored_bytes_new: u64,
    /// What is known of the rows beside their sums.
    pub facts: Facts,
    /// What of it could not be kept exactly, and why; the rest is exact.
    pub approximations: Vec<v1::Approximation>,
}

impl Manifest {
    /// Whether it holds all tables of its keyspaces, and those as a whole. Only such a backup is taken where none is
    /// named: restoring a keyspace from anything else is a decision for a person.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.is_partial() && self.options.tables_chosen.is_empty()
    }

    /// Whether tables were cut off by `--limit`.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.options.limit_rows > 0
    }

    /// A table of it.
    #[must_use]
    pub fn table(&self, keyspace: &str, table: &str) -> Option<&TableEntry> {
        self.tables.iter().find(|entry| entry.keyspace == keyspace && entry.table == table)
    }

    /// As stored: tables and data centres are sorted, so equal manifests give equal bytes.
    ///
    /// # Errors
    /// `Invalid` where it can't be read back: no keyspace, a table twice, an object outside the backup, a time beyond
    /// the year 9999.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        stored::to_json(self)
    }

    /// From the bytes of the manifest of `backup`.
    ///
    /// # Errors
    /// `Corrupt` where they are not what was written; `Invalid` where a newer ringvault wrote them.
    pub fn from_json(bytes: &[u8], backup: &BackupId) -> Result<Self> {
        stored::from_json(bytes, backup)
    }
}

#[cfg(test)]
pub(crate) mod tests;
