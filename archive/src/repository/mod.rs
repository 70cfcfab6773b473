//! The place of many backups: a directory, or an object-store prefix.

mod location;

use bytes::Bytes;
use ringvault_proto::{
    ids::{BackupId, JobId},
    v1,
};

pub use self::location::Location;
pub use crate::names::ChunkAddress;
use crate::{
    chunk::{ChunkLines, SealedChunk},
    digest::Identity,
    error::{Error, Result},
    index::TableIndex,
    manifest::{Manifest, ObjectRecord},
    schema::SchemaDocument,
};

/// An open repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {}

/// What became of a create-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is new.
    Created,
    /// An object of that name stood there before; it was left as it is.
    Existed,
}

/// A chunk that is in the repository; made only by [`Repository::store_chunk`].
#[derive(Clone, Debug, PartialEq)]
pub struct StoredChunk {
    record: v1::Chunk,
    warning: Option<String>,
}

impl StoredChunk {
    /// Its record, for the wire, the journal and the index.
    #[must_use]
    pub fn record(&self) -> &v1::Chunk {
        &self.record
    }

    /// Its record, for the wire, the journal and the index.
    #[must_use]
    pub fn into_record(self) -> v1::Chunk {
        self.record
    }

    /// What a person should know: a bad object was found at its name.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// One backup of a listing.
#[derive(Debug)]
pub struct BackupSummary {
    /// Its id.
    pub id: BackupId,
    /// Its manifest, or why it can't be read.
    pub manifest: Result<Manifest, Error>,
}

impl Repository {
    /// Opens an existing repository. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Invalid` for a newer format.
    pub async fn open(_location: &Location) -> Result<Self> {
        unimplemented!()
    }

    /// Opens a repository, and makes an empty or absent directory or prefix one. Cancel safe.
    ///
    /// # Errors
    /// `Invalid` where something else is there, it is not writable, or its format is newer.
    pub async fn open_or_create(_location: &Location) -> Result<Self> {
        unimplemented!()
    }

    /// A new repository in memory, for tests and simulation.
    #[must_use]
    pub fn in_memory() -> Self {
        unimplemented!()
    }

    /// The repository's own id.
    #[must_use]
    pub fn id(&self) -> &str {
        unimplemented!()
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        unimplemented!()
    }

    /// The bytes of an object. Cancel safe.
    ///
    /// # Errors
    /// `NotFound`, naming the object.
    pub async fn read(&self, _object: &str) -> Result<Bytes> {
        unimplemented!()
    }

    /// The length of an object, or nothing where there is none. Cancel safe.
    ///
    /// # Errors
    /// As the store's.
    pub async fn length(&self, _object: &str) -> Result<Option<u64>> {
        unimplemented!()
    }

    /// Creates an object unless one of that name exists. Cancelled, the object is there as a whole or not at all.
    ///
    /// # Errors
    /// As the store's.
    pub async fn put_new(&self, _object: &str, _bytes: Bytes) -> Result<Put> {
        unimplemented!()
    }

    /// Creates or replaces an object. Cancelled, the old or the new one is there.
    ///
    /// # Errors
    /// As the store's.
    pub async fn put(&self, _object: &str, _bytes: Bytes) -> Result<()> {
        unimplemented!()
    }

    /// Removes an object; one that isn't there is fine.
    ///
    /// # Errors
    /// As the store's.
    pub async fn delete(&self, _object: &str) -> Result<()> {
        unimplemented!()
    }

    /// Names and lengths of the objects below a prefix (a path without a slash at the end), sorted. Cancel safe.
    ///
    /// # Errors
    /// As the store's.
    pub async fn list(&self, _prefix: &str) -> Result<Vec<(String, u64)>> {
        unimplemented!()
    }

    /// Stores a chunk unless it is there.
    ///
    /// # Errors
    /// As the store's.
    pub async fn store_chunk(
        &self,
        _address: &ChunkAddress<'_>,
        _chunk: SealedChunk,
        _vouched: Option<&v1::Chunk>,
    ) -> Result<StoredChunk> {
        unimplemented!()
    }

    /// The lines of a chunk; call [`ChunkLines::check`] off the async threads.
    ///
    /// # Errors
    /// `Corrupt` where the object is missing or of another length.
    pub async fn fetch_chunk(&self, _record: &v1::Chunk) -> Result<ChunkLines> {
        unimplemented!()
    }

    /// All backups, oldest first; those whose manifest can't be read too.
    ///
    /// # Errors
    /// As the store's.
    pub async fn backups(&self) -> Result<Vec<BackupSummary>> {
        unimplemented!()
    }

    /// The manifest of a backup.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Invalid` for a newer format.
    pub async fn manifest(&self, _id: &BackupId) -> Result<Manifest> {
        unimplemented!()
    }

    /// The newest complete backup of a keyspace.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Corrupt` where a newer manifest can't be read, since it may be the one.
    pub async fn newest(&self, _keyspace: &str) -> Result<Manifest> {
        unimplemented!()
    }

    /// The index of a table of a backup.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`.
    pub async fn index(&self, _id: &BackupId, _keyspace: &str, _table: &str) -> Result<TableIndex> {
        unimplemented!()
    }

    /// The index of a table of a backup whose manifest is at hand.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`.
    pub async fn index_of(&self, _manifest: &Manifest, _keyspace: &str, _table: &str) -> Result<TableIndex> {
        unimplemented!()
    }

    /// Writes the index of a table; the answer goes into the manifest.
    ///
    /// # Errors
    /// As the store's.
    pub async fn write_index(&self, _id: &BackupId, _index: &TableIndex) -> Result<ObjectRecord> {
        unimplemented!()
    }

    /// Writes the manifest: from here on the backup exists.
    ///
    /// # Errors
    /// `Conflict` where the backup has another manifest.
    pub async fn write_manifest(&self, _manifest: &Manifest) -> Result<()> {
        unimplemented!()
    }

    /// Writes the schema of a backup, for restore and for people.
    ///
    /// # Errors
    /// As the store's.
    pub async fn write_schema(&self, _id: &BackupId, _schema: &SchemaDocument) -> Result<ObjectRecord> {
        unimplemented!()
    }

    /// Finds the schema that a worker wrote, by what it reported.
    ///
    /// # Errors
    /// `Corrupt` where it is not there.
    pub async fn find_schema(&self, _id: &BackupId, _identity: Identity, _bytes: u64) -> Result<ObjectRecord> {
        unimplemented!()
    }

    /// The schema of a backup.
    ///
    /// # Errors
    /// `Corrupt`
    pub async fn read_schema(&self, _manifest: &Manifest) -> Result<SchemaDocument> {
        unimplemented!()
    }

    /// Writes the nonce by which workers prove that they see this repository.
    ///
    /// # Errors
    /// As the store's.
    pub async fn write_probe(&self, _job: &JobId, _nonce: &str) -> Result<()> {
        unimplemented!()
    }

    /// The nonce of a job.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn read_probe(&self, _job: &JobId) -> Result<String> {
        unimplemented!()
    }

    /// Removes the nonce of a job.
    ///
    /// # Errors
    /// As the store's.
    pub async fn delete_probe(&self, _job: &JobId) -> Result<()> {
        unimplemented!()
    }
}
