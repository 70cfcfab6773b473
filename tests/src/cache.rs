//! Where downloads and running clusters live: `<workspace>/.cache`, or the directory that `RINGVAULT_CACHE` names.
//!
//! Locks are `flock`s on files in it, so that two test runs on one machine neither download twice nor start two clusters
//! on the same ports. A lock ends with its process, however that ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root directory.
pub fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the tests package stands in the workspace's root").to_path_buf()
}

/// The cache's root; created if it is missing.
///
/// # Errors
/// If it can't be created.
pub fn root() -> Result<PathBuf> {
    let root = match std::env::var_os("RINGVAULT_CACHE") {
        Some(named) => PathBuf::from(named),
        None => workspace_root().join(".cache"),
    };
    fs::create_dir_all(&root).with_context(|| format!("create the cache {}", root.display()))?;
    root.canonicalize().with_context(|| format!("resolve the cache {}", root.display()))
}

/// A held lock; dropped, it is free.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the named lock, and says on stderr when it has to wait for another process.
///
/// # Errors
/// If the lock file can't be opened.
pub fn lock(name: &str) -> Result<Lock> {
    let path = root()?.join(format!("{name}.lock"));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open the lock {}", path.display()))?;
    if file.try_lock().is_err() {
        crate::runner::say(&format!("waiting for another run that holds {}", path.display()));
        file.lock().with_context(|| format!("take the lock {}", path.display()))?;
    }
    Ok(Lock { _file: file })
}

/// The directory of this lane's running clusters: each holds its nodes' data until it stops.
///
/// # Errors
/// If it can't be created.
pub fn running() -> Result<PathBuf> {
    let path = root()?.join(match crate::cassandra::lane() {
        0 => "run".to_owned(),
        lane => format!("run-{lane}"),
    });
    fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path)
}
