//! Opening and creating repositories.
//!
//! A directory or prefix is a repository iff it holds `ringvault.json`. Creating never touches what is there: only an
//! absent or empty place becomes a repository.

use std::{io, path::Path as FilePath, sync::Arc};

use futures::{FutureExt, TryStreamExt};
use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path, prefix::PrefixStore};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Location, Put, Repository, failure, s3};
use crate::{
    error::{Error, Result},
    format,
    names::REPOSITORY_OBJECT,
};

/// Longest `ringvault.json`, in bytes.
const MARKER_BYTES_MAX: u64 = 64 << 10;
/// Names looked at to say what a place is that is no repository.
const NAMES_LOOKED_AT: usize = 1000;

/// `ringvault.json`
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    repository_id: Uuid,
}

impl Repository {
    /// Opens an existing repository. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Corrupt` where `ringvault.json` is damaged, `Invalid` where a newer ringvault
    /// wrote it.
    pub async fn open(location: &Location) -> Result<Self> {
        if let Location::Directory(path) = location {
            check_is_directory(location, path).await?;
        }
        let unopened = Self::unopened(location)?;
        match unopened.read_marker().await? {
            Some(marker) => Ok(unopened.opened(&marker)),
            None => {
                let there = unopened.what_is_there().await?;
                Err(Error::not_found(format!("{location} is not a repository: no {REPOSITORY_OBJECT}; {there}")))
            }
        }
    }

    /// Opens a repository, and makes an absent or empty directory or prefix one. Several processes may do so at once;
    /// all of them open the same one. Cancel safe.
    ///
    /// # Errors
    /// `Invalid` where something else is there, it is not writable, or a newer ringvault wrote it; `Corrupt` where
    /// `ringvault.json` is damaged.
    pub async fn open_or_create(location: &Location) -> Result<Self> {
        if let Location::Directory(path) = location {
            create_directory(location, path).await?;
        }
        let unopened = Self::unopened(location)?;
        if let Some(marker) = unopened.read_marker().await? {
            return Ok(unopened.opened(&marker));
        }
        if let there @ (Found::OldTool | Found::Other(_)) = unopened.what_is_there().await? {
            // What came since the look above may be a repository that another process makes.
            return match unopened.read_marker().await? {
                Some(marker) => Ok(unopened.opened(&marker)),
                None => Err(Error::invalid(format!("{location} can't become a repository: {there}"))),
            };
        }
        let marker = Marker::new();
        if unopened.put_new(REPOSITORY_OBJECT, marker.to_json()?.into()).await? == Put::Created {
            return Ok(unopened.opened(&marker));
        }
        let first = unopened.read_marker().await?;
        let first = first.ok_or_else(|| Error::unavailable(format!("{location} is being changed by somebody else")))?;
        Ok(unopened.opened(&first))
    }

    /// A new repository in memory, for tests and simulation.
    #[must_use]
    pub fn in_memory() -> Self {
        let (store, marker) = (InMemory::new(), Marker::new());
        let location = Arc::new(Location::Memory);
        let unopened = Self { store: Arc::new(store), directory: None, location, id: Arc::from("") };
        let bytes = marker.to_json().expect("two plain members");
        let put = unopened.put_new(REPOSITORY_OBJECT, bytes.into()).now_or_never();
        put.expect("memory does not wait").expect("memory has no other writer");
        unopened.opened(&marker)
    }

    fn unopened(location: &Location) -> Result<Self> {
        let mut directory = None;
        let store: Arc<dyn ObjectStore> = match location {
            Location::Directory(path) => {
                let store = LocalFileSystem::new_with_prefix(path)
                    .map_err(|e| failure::of(location, "open the directory", e))?;
                directory.insert(Arc::new(store.with_fsync(true))).clone()
            }
            Location::S3 { bucket, prefix } => {
                let variables = std::env::vars_os()
                    .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
                let store = s3::connect(bucket, variables)?;
                match prefix.as_str() {
                    "" => Arc::new(store),
                    prefix => {
                        let prefix = Path::parse(prefix)
                            .map_err(|e| Error::invalid(format!("{location} is no address: {e}")).caused_by(e))?;
                        Arc::new(PrefixStore::new(store, prefix))
                    }
                }
            }
            Location::Memory => return Err(Error::invalid("a repository in memory has no address")),
        };
        Ok(Self { store, directory, location: Arc::new(location.clone()), id: Arc::from("") })
    }

    fn opened(self, marker: &Marker) -> Self {
        Self { id: Arc::from(marker.repository_id.to_string()), ..self }
    }

    async fn read_marker(&self) -> Result<Option<Marker>> {
        let Some(bytes) = self.read_at_most(REPOSITORY_OBJECT, MARKER_BYTES_MAX).await? else { return Ok(None) };
        format::parse(&bytes, &format!("{REPOSITORY_OBJECT} in {}", self.location)).map(Some)
    }

    /// What stands in a place that has no `ringvault.json`.
    async fn what_is_there(&self) -> Result<Found> {
        let names = match self.location.as_ref() {
            Location::Directory(path) => names_in_directory(&self.location, path).await?,
            Location::S3 { .. } | Location::Memory => self.names_in_store().await?,
        };
        Ok(Found::of(&names))
    }

    async fn names_in_store(&self) -> Result<Vec<String>> {
        let mut listing = self.store.list(None);
        let mut names = Vec::new();
        while let Some(meta) =
            listing.try_next().await.map_err(|e| failure::of(&self.location, "list what is there", e))?
        {
            names.push(meta.location.to_string());
            if names.len() == NAMES_LOOKED_AT {
                break;
            }
        }
        Ok(names)
    }
}

impl Marker {
    fn new() -> Self {
        Self { format: format::FORMAT_VERSION, repository_id: Uuid::new_v4() }
    }

    fn to_json(&self) -> Result<Vec<u8>> {
        format::pretty(self, REPOSITORY_OBJECT)
    }
}

/// What a place holds that is no repository.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    OldTool,
    /// Some name of it.
    Other(String),
}

impl Found {
    fn of(names: &[String]) -> Self {
        if names.iter().any(|name| name.ends_with("_schema.cql")) {
            return Self::OldTool;
        }
        names.iter().find(|name| !says_nothing(name)).map_or(Self::Nothing, |name| Self::Other(name.clone()))
    }
}

/// What an empty place may hold: what a file system puts into its root, and what a crash left of creating a repository
/// (object_store writes `name#number` and renames it).
fn says_nothing(name: &str) -> bool {
    let staged = name.strip_prefix(REPOSITORY_OBJECT).and_then(|rest| rest.strip_prefix('#'));
    name == "lost+found" || staged.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("it is empty: make the first backup there, or correct the address"),
            Self::OldTool => f.write_str(
                "it holds a backup of cassandra-backup-tool (KEYSPACE_schema.cql); `ringvault restore KEYSPACE DIR` takes it \
                 as it is, `ringvault import DIR REPOSITORY` makes a repository of it; name another place for backups",
            ),
            Self::Other(name) => write!(f, "it holds something else ({name}); name an empty or a new place"),
        }
    }
}

async fn check_is_directory(location: &Location, path: &FilePath) -> Result<()> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(not_a_directory(location)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(Error::not_found(format!("{location} is not a repository: there is no such directory")))
        }
        Err(e) => Err(failure::of_io(location, &format!("open {location}"), e)),
    }
}

fn not_a_directory(location: &Location) -> Error {
    Error::invalid(format!("{location} is a file: a repository is a directory or s3://bucket/prefix"))
}

/// Creates the directory and makes its name durable, as every object in it will be.
async fn create_directory(location: &Location, path: &FilePath) -> Result<()> {
    let failed = |e| failure::of_io(location, &format!("create {location}"), e);
    match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(not_a_directory(location)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let mut changed = Vec::new();
    for ancestor in path.ancestors().skip(1) {
        changed.push(ancestor);
        if tokio::fs::try_exists(ancestor).await.map_err(failed)? {
            break;
        }
    }
    tokio::fs::create_dir_all(path).await.map_err(failed)?;
    for directory in changed {
        match tokio::fs::File::open(directory).await {
            Ok(file) => file.sync_all().await.map_err(failed)?,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {} // may be entered and not read
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}

async fn names_in_directory(location: &Location, path: &FilePath) -> Result<Vec<String>> {
    let failed = |e| failure::of_io(location, &format!("list {location}"), e);
    let mut entries = tokio::fs::read_dir(path).await.map_err(failed)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        names.push(entry.file_name().to_string_lossy().into_owned());
        if names.len() == NAMES_LOOKED_AT {
            break;
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
