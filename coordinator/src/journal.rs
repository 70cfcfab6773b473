//! What a coordinator must remember: SQLite in a state directory, on a thread of its own.
//!
//! One commit is one transaction with `synchronous=FULL` in WAL mode; effects are performed only behind it. One process
//! at a time has a journal open. It is never needed for a restore: the repository alone suffices.
//!
//! - [`store`]: the database itself
//!
//! Deliberately absent: any decision; cell values and secrets.

mod store;

use std::{path::Path, sync::mpsc, thread};

use tokio::sync::oneshot;

pub(crate) use self::store::Store;
use crate::{
    error::{Error, Result},
    record::{Change, Loaded},
};

/// Commits that may wait; the owner task waits for each, so one would do.
const COMMITS_QUEUED_MAX: usize = 4;

struct Commit {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<()>>,
}

/// An open journal with what it held when it was opened.
#[derive(Debug)]
pub struct Journal {
    commits: mpsc::SyncSender<Commit>,
    loaded: Loaded,
}

impl Journal {
    /// Opens the journal of a state directory, which is created if it is missing.
    ///
    /// # Errors
    /// `Conflict` while another process has it open, `Invalid` for one of a newer version or a directory that can't be
    /// written, `Corrupt` for one that can't be read.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::of_store(Store::open(dir)?)
    }

    /// A journal that ends with the process.
    ///
    /// # Errors
    /// `Internal` where SQLite can't be started.
    pub fn in_memory() -> Result<Self> {
        Self::of_store(Store::in_memory()?)
    }

    fn of_store(mut store: Store) -> Result<Self> {
        let loaded = store.load()?;
        let (commits, queue) = mpsc::sync_channel::<Commit>(COMMITS_QUEUED_MAX);
        let run = move || {
            for commit in queue {
                let result = store.commit(&commit.changes);
                let failed = result.is_err();
                // An owner that is gone has no effect to hold back.
                let _ = commit.done.send(result);
                if failed {
                    return;
                }
            }
        };
        thread::Builder::new().name("ringvault-journal".into()).spawn(run).map_err(|e| {
            Error::internal("the journal's thread can't be started; see the system's limits").caused_by(e)
        })?;
        Ok(Self { commits, loaded })
    }

    /// What it held when it was opened; empty the second time.
    pub(crate) fn take_loaded(&mut self) -> Loaded {
        std::mem::take(&mut self.loaded)
    }

    /// Commits changes in one transaction. Not cancel safe: cancelled, they may be committed or not.
    ///
    /// # Errors
    /// What SQLite said; the journal is closed by then, and its owner must end.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let closed = || Error::internal("the journal is closed since an earlier commit failed; start again");
        self.commits.send(Commit { changes, done }).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}
