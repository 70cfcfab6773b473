//! The place of many backups: a directory, or an object-store prefix (FORMAT.md, "Names").
//!
//! - `location`: addresses; `open`: opening and creating; `s3`: buckets; `failure`: what a store's error means
//! - `objects`: objects by name; `chunks`: chunks in and out; `backups`: manifests, indexes, schemas, probes
//!
//! Invariants: an object is written as a whole or not at all, and durable when its write returns; nothing that a
//! manifest names is ever changed; a manifest is written last. Deliberately absent: deciding what to store, and removing
//! backups.

mod backups;
mod chunks;
mod failure;
mod location;
mod objects;
mod open;
mod s3;

use std::{fmt, sync::Arc};

use object_store::{ObjectStore, local::LocalFileSystem};
use ringvault_proto::{ids::BackupId, v1};

pub use self::{location::Location, objects::OBJECT_BYTES_MAX};
pub use crate::names::ChunkAddress;
use crate::{
    error::{Error, Result},
    manifest::Manifest,
};

/// An open repository. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    store: Arc<dyn ObjectStore>,
    /// The same store, where it is a directory.
    directory: Option<Arc<LocalFileSystem>>,
    location: Arc<Location>,
    id: Arc<str>,
}

/// What became of a create-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is new.
    Created,
    /// An object of that name stood there; it was left as it is.
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

    /// What a person should know: a bad object was found where the chunk should stand.
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
    pub manifest: Result<Manifest>,
}

impl Repository {
    /// The repository's own id, made when it was created: a uuid.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({} at {})", self.id, self.location)
    }
}

/// Runs what computes for longer than an async thread may be held.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => Err(Error::unavailable("the process is ending")),
    }
}
