//! What happens to the core and what comes of it, as data.

use std::collections::BTreeSet;

use ringvault_archive::index::TableIndex;
use ringvault_proto::{error::Failure, grid::Grid, v1};

use super::figures::Tally;
use crate::{
    name::TableKey,
    plan::ring::Homes,
    record::{Change, SuccessRecord},
};

/// The two times of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds of the monotonic clock; deadlines are counted in them.
    pub(crate) ms: u64,
    /// Milliseconds since the Unix epoch; for people and manifests.
    pub(crate) unix_ms: u64,
}

/// A caller that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReplyId(pub(crate) u64);

/// A job as it is submitted; judged at the edge before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    /// Empty: a new job each time.
    pub(crate) key: String,
    /// What to do.
    pub(crate) spec: v1::JobSpec,
    /// Start over even if a job of this key could go on.
    pub(crate) fresh: bool,
    /// For a new job.
    pub(crate) job_id: String,
    /// For a new backup.
    pub(crate) backup_id: String,
    /// W3C Trace Context of the call; empty: not traced.
    pub(crate) trace_parent: String,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client submits a job.
    Submit(ReplyId, Box<Submission>),
    /// A client cancels a job.
    Cancel(ReplyId, String),
    /// A client pauses a job.
    Pause(ReplyId, String),
    /// A client lets a paused job go on.
    Resume(ReplyId, String),
    /// A client changes priority and limits of a job; judged at the edge.
    Update(ReplyId, Box<v1::UpdateJobRequest>),
    /// Somebody lets a worker take no more work, or work again.
    Drain(ReplyId, v1::DrainWorkerRequest),
    /// Somebody sets the limits of a cluster; judged at the edge, `limits` is set.
    SetLimits(ReplyId, v1::SetClusterLimitsRequest),
    /// A worker reports; `hello` is always set.
    Report(ReplyId, v1::AttendRequest),
    /// A worker asks for work.
    Lease(ReplyId, v1::LeaseRequest),
    /// The answer to [`Event::Lease`] found nobody: what it granted goes back.
    Undelivered(Vec<v1::LeaseId>),
    /// A worker finished pieces.
    Complete(ReplyId, Box<v1::CompleteRequest>),
    /// A worker can't finish an assignment.
    Fail(ReplyId, v1::FailRequest),
    /// A worker gives assignments back.
    Return(ReplyId, v1::ReturnRequest),
    /// An action on a repository ended.
    Acted {
        /// Whose action.
        job: String,
        /// In which of its runs.
        run: u64,
        /// What came of it.
        outcome: Result<Outcome, Failure>,
    },
    /// Time passed.
    Tick,
}

/// What to do in a repository. Each may be done again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Open the repository and write a nonce.
    Open {
        /// Make one where there is none.
        create: bool,
    },
    /// Find the newest index of each of these tables among whole backups of that cluster.
    LoadParents {
        /// As the cluster calls itself.
        cluster_name: String,
        /// Which.
        tables: Vec<TableKey>,
        /// Those made in the same way are preferred.
        values_only: bool,
    },
    /// Read a backup and check that its objects are there.
    LoadBackup {
        /// Empty: the newest complete one.
        backup_id: String,
        /// Patterns of keyspaces; empty: all.
        keyspaces: Vec<String>,
        /// Patterns of tables; empty: all.
        tables: Vec<String>,
    },
    /// Write indexes, then the manifest.
    Publish(Box<Publication>),
    /// Remove the nonce; nobody waits for it.
    DeleteProbe,
}

/// All that a manifest and its indexes are made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publication {
    pub(crate) backup_id: String,
    pub(crate) spec: v1::BackupSpec,
    pub(crate) started_unix_ms: u64,
    pub(crate) finished_unix_ms: u64,
    pub(crate) cluster: v1::InspectResult,
    pub(crate) captured: v1::CaptureResult,
    pub(crate) tables: Vec<(v1::InspectedTable, Grid, Vec<v1::Chunk>)>,
    pub(crate) warnings: Vec<String>,
}

/// A parent's index of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParentIndex {
    pub(crate) backup_id: String,
    pub(crate) index: TableIndex,
}

/// A backup that is to be restored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadedBackup {
    pub(crate) backup_id: String,
    pub(crate) started_unix_ms: u64,
    pub(crate) cluster_name: String,
    pub(crate) server_version: String,
    /// It was limited: rows are missing.
    pub(crate) partial: bool,
    /// Those that are to be restored.
    pub(crate) keyspaces: Vec<String>,
    /// It holds all tables of its keyspaces.
    pub(crate) all_tables: bool,
    /// Those that are to be restored.
    pub(crate) tables: Vec<TableIndex>,
}

/// What an action gave.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Of [`Action::Open`].
    Opened {
        /// What a worker must read.
        nonce: String,
        /// Where.
        object: String,
    },
    /// Of [`Action::LoadParents`].
    Parents(Vec<ParentIndex>),
    /// Of [`Action::LoadBackup`].
    Backup(Box<LoadedBackup>),
    /// Of [`Action::Publish`].
    Published,
}

/// What a waiting caller is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// To [`Event::Submit`].
    Submitted(Box<v1::SubmitResponse>),
    /// To [`Event::Cancel`], [`Event::Pause`], [`Event::Resume`] and [`Event::Update`].
    Changed(Box<v1::Job>),
    /// To [`Event::Drain`].
    Drained(Box<v1::Worker>),
    /// To [`Event::SetLimits`].
    Limited(Box<v1::Cluster>),
    /// To [`Event::Report`].
    Attended(v1::AttendResponse),
    /// To [`Event::Lease`].
    Leased(v1::LeaseResponse),
    /// To [`Event::Complete`].
    Completed(v1::CompleteResponse),
    /// To [`Event::Fail`] and [`Event::Return`].
    Noted,
    /// To any.
    Refused(Failure),
}

/// What is to be done once the changes are committed.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Tell a caller.
    Answer(ReplyId, Answer),
    /// Do something in a repository; all but [`Action::DeleteProbe`] come back as [`Event::Acted`].
    Act {
        /// For which job.
        job: String,
        /// In which of its runs.
        run: u64,
        /// Profile, directory or URL.
        repository: String,
        /// What.
        action: Action,
    },
}

/// What comes of events.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// To be committed in one transaction.
    pub(crate) changes: Vec<Change>,
    /// To be performed once they are.
    pub(crate) effects: Vec<Effect>,
    /// Jobs that look different now.
    pub(crate) changed: BTreeSet<String>,
    /// Jobs whose record changed; put into `changes` when the event is over.
    pub(super) dirty: BTreeSet<String>,
    /// There may be work, or a question, for those who wait.
    pub(super) work: bool,
    /// There may be work for those who wait, and nothing but work.
    pub(super) room: bool,
    /// Clusters whose ring was seen, by profile.
    pub(super) rings: Vec<(String, Homes)>,
    /// Keyspaces that were backed up.
    pub(super) successes: Vec<SuccessRecord>,
    /// What happened so often.
    pub(super) tally: Tally,
}

impl Output {
    pub(super) fn answer(&mut self, reply: ReplyId, answer: Answer) {
        self.effects.push(Effect::Answer(reply, answer));
    }
}
