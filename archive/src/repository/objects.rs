//! Objects by name: read, look up, write, delete, list. Every call to the store is here.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, PutPayload, path::Path};

use super::{Put, Repository, blocking, failure};
use crate::error::{Error, Result};

/// Longest object that [`Repository::read`] reads, in bytes. Chunks and indexes are read by their recorded lengths.
pub const OBJECT_BYTES_MAX: u64 = 64 << 20;

/// Attempts to create an object over connections that break. The client retries everything else by itself, but not a
/// conditional request whose outcome is unknown; here that is safe, as nobody takes `Existed` for another's work.
const CREATE_ATTEMPTS_MAX: u32 = 4;

impl Repository {
    /// The bytes of an object of at most [`OBJECT_BYTES_MAX`]. Cancel safe.
    ///
    /// # Errors
    /// `NotFound`, naming object and repository; `Corrupt` where it is longer; what the store fails with.
    pub async fn read(&self, object: &str) -> Result<Bytes> {
        let bytes = self.read_at_most(object, OBJECT_BYTES_MAX).await?;
        bytes.ok_or_else(|| Error::not_found(format!("there is no {object} in {}", self.location)))
    }

    /// The bytes of an object, or nothing where there is none.
    ///
    /// # Errors
    /// `Corrupt` where it is longer; what the store fails with.
    pub(super) async fn read_at_most(&self, object: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        let failed = |e| failure::of(&self.location, &format!("read {object}"), e);
        let got = match self.store.get(&path(object)?).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        if got.meta.size > bytes_max {
            let size = got.meta.size;
            return Err(Error::corrupt(format!("{object} is damaged: it has {size} bytes; the most is {bytes_max}")));
        }
        got.bytes().await.map(Some).map_err(failed)
    }

    /// The length of an object, or nothing where there is none. Cancel safe.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn length(&self, object: &str) -> Result<Option<u64>> {
        match self.store.head(&path(object)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failure::of(&self.location, &format!("look up {object}"), e)),
        }
    }

    /// Creates an object unless one of that name exists. Cancelled, the object is there as a whole or not at all.
    ///
    /// A store may answer a repeated request with its own first success: `Existed` means that some object stands there,
    /// maybe this one; compare.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn put_new(&self, object: &str, bytes: Bytes) -> Result<Put> {
        let path = path(object)?;
        let mut attempt = 1;
        loop {
            match self.store.put_opts(&path, PutPayload::from(bytes.clone()), PutMode::Create.into()).await {
                Ok(_) => return Ok(Put::Created),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    return Ok(Put::Existed);
                }
                Err(e) if attempt < CREATE_ATTEMPTS_MAX && failure::is_broken_connection(&e) => attempt += 1,
                Err(e) => return Err(failure::of(&self.location, &format!("write {object}"), e)),
            }
        }
    }

    /// Takes what was just written out of the machine's page cache: nobody reads it soon, and the memory is a database's
    /// where one runs beside. It is advice; where it can't be given, nothing is lost.
    pub(super) async fn uncache(&self, object: &str) {
        let (Some(directory), Ok(path)) = (&self.directory, path(object)) else { return };
        let Ok(file) = directory.path_to_filesystem(&path) else { return };
        let _ = blocking(move || {
            #[cfg(target_os = "linux")]
            if let Ok(file) = std::fs::File::open(file) {
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            }
            Ok(())
        })
        .await;
    }

    /// Creates or replaces an object. Cancelled, the old or the new one is there, each as a whole.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn put(&self, object: &str, bytes: Bytes) -> Result<()> {
        let put = self.store.put(&path(object)?, PutPayload::from(bytes)).await;
        put.map(drop).map_err(|e| failure::of(&self.location, &format!("write {object}"), e))
    }

    /// Removes an object; one that isn't there is fine. Cancelled, it may be there or not.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn delete(&self, object: &str) -> Result<()> {
        match self.store.delete(&path(object)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failure::of(&self.location, &format!("delete {object}"), e)),
        }
    }

    /// Names and lengths of all objects below a prefix (a path without a slash at its end), sorted. Cancel safe.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let mut objects = Vec::new();
        self.list_each(prefix, |object, length| objects.push((object.to_owned(), length))).await?;
        objects.sort();
        Ok(objects)
    }

    /// Calls `each` with the name and length of every object below a prefix, in the store's order. Never holds more than
    /// a page of them.
    pub(crate) async fn list_each(&self, prefix: &str, mut each: impl FnMut(&str, u64)) -> Result<()> {
        let mut listing = self.store.list(Some(&path(prefix)?));
        let failed = |e| failure::of(&self.location, &format!("list {prefix}"), e);
        while let Some(meta) = listing.try_next().await.map_err(failed)? {
            each(meta.location.as_ref(), meta.size);
        }
        Ok(())
    }

    /// The names directly below a prefix that have objects below them.
    pub(super) async fn list_prefixes(&self, prefix: &str) -> Result<Vec<String>> {
        let listing = self.store.list_with_delimiter(Some(&path(prefix)?)).await;
        let listing = listing.map_err(|e| failure::of(&self.location, &format!("list {prefix}"), e))?;
        Ok(listing.common_prefixes.iter().filter_map(|prefix| prefix.filename()).map(String::from).collect())
    }
}

/// Our names as they are: `Path::from` would encode `%` and `~` once more.
fn path(object: &str) -> Result<Path> {
    Path::parse(object).map_err(|e| Error::corrupt(format!("{object:?} is no name of an object: {e}")).caused_by(e))
}
