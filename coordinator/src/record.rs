//! What a coordinator remembers, as it stands in the journal: protobuf messages, so that a later version can add fields
//! and still read these. They hold no secret, and no cell value but the partition key that a running restore was asked
//! for; it is erased when the job ends.

use prost::Message;
use ringvault_proto::v1;

/// How far a job has come. Numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Phase {
    /// Nothing is done yet.
    Fresh = 0,
    /// Backup: versions, tables and sizes are asked for; ends with the plan.
    Inspect = 1,
    /// Backup: the schema is captured, shards are dumped.
    Dump = 2,
    /// Backup: indexes and manifest are written.
    Publish = 3,
    /// Restore: the target is checked, nothing is written.
    Preflight = 11,
    /// Restore: every chunk's bytes are checked.
    Check = 12,
    /// Restore: keyspace, types and tables are made.
    Before = 13,
    /// Restore: rows are written.
    Write = 14,
    /// Restore: indexes and views are made.
    After = 15,
    /// Restore: rows are read back and compared. All that a comparison of a backup with a cluster does.
    Compare = 16,
    /// Rehearsal: its scratch keyspace is dropped; how the job ends is known.
    Scrap = 17,
}

/// What an assignment does. Numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum WorkKind {
    /// Read versions, ring, tables and sizes.
    Inspect = 0,
    /// Write the schema into the repository.
    Capture = 1,
    /// Dump segments `first..first + count`.
    Dump = 2,
    /// Check the target of a restore.
    Preflight = 3,
    /// Check the bytes of segments `first..first + count`.
    Check = 4,
    /// Make tables and what they need.
    Before = 5,
    /// Write chunks `first..first + count` of the index.
    Restore = 6,
    /// Make indexes and views.
    After = 7,
    /// Compare segments `first..first + count` with the rows of the target.
    Compare = 8,
    /// Read the definitions of tables again: of all, or of table `first` where `count` is 1.
    Recheck = 9,
    /// Drop the scratch keyspace of a rehearsal.
    Scrap = 10,
}

impl WorkKind {
    /// Whether it has no pieces, and shows no counts while it goes on.
    pub(crate) fn is_silent(self) -> bool {
        match self {
            Self::Inspect
            | Self::Recheck
            | Self::Capture
            | Self::Preflight
            | Self::Before
            | Self::After
            | Self::Scrap => true,
            Self::Dump | Self::Restore | Self::Check | Self::Compare => false,
        }
    }
}

/// Where an assignment stands. Numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum HoldKind {
    /// Waits for a worker.
    Queued = 0,
    /// A worker holds it.
    Leased = 1,
    /// Every piece of it is recorded.
    Done = 2,
}

/// A job.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct JobRecord {
    #[prost(string, tag = "1")]
    pub(crate) job_id: String,
    /// Order of submission.
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    #[prost(string, tag = "3")]
    pub(crate) idempotency_key: String,
    #[prost(bool, tag = "4")]
    pub(crate) fresh: bool,
    #[prost(message, optional, tag = "5")]
    pub(crate) spec: Option<v1::JobSpec>,
    #[prost(enumeration = "v1::JobState", tag = "6")]
    pub(crate) state: i32,
    #[prost(enumeration = "Phase", tag = "7")]
    pub(crate) phase: i32,
    #[prost(message, optional, tag = "8")]
    pub(crate) failure: Option<v1::Failure>,
    #[prost(uint64, tag = "9")]
    pub(crate) submitted_unix_ms: u64,
    /// Of the last submission that revived it.
    #[prost(uint64, tag = "10")]
    pub(crate) resubmitted_unix_ms: u64,
    /// The last sign of life, to the minute.
    #[prost(uint64, tag = "11")]
    pub(crate) active_unix_ms: u64,
    #[prost(uint64, tag = "12")]
    pub(crate) finished_unix_ms: u64,
    /// When the last row of a backup was read; the same in every try to publish it.
    #[prost(uint64, tag = "13")]
    pub(crate) dumped_unix_ms: u64,
    #[prost(string, tag = "14")]
    pub(crate) backup_id: String,
    #[prost(string, repeated, tag = "15")]
    pub(crate) warnings: Vec<String>,
    #[prost(uint64, tag = "16")]
    pub(crate) rows_kept: u64,
    #[prost(uint64, tag = "17")]
    pub(crate) bytes_kept: u64,
    #[prost(message, optional, tag = "18")]
    pub(crate) plan: Option<v1::Plan>,
    #[prost(string, repeated, tag = "19")]
    pub(crate) mismatches: Vec<String>,
    /// The inspected cluster without its ring and tables.
    #[prost(message, optional, tag = "20")]
    pub(crate) cluster: Option<v1::InspectResult>,
    #[prost(message, optional, tag = "21")]
    pub(crate) captured: Option<v1::CaptureResult>,
    /// Progress of the tables when it ended.
    #[prost(message, repeated, tag = "22")]
    pub(crate) tables_ended: Vec<v1::TableProgress>,
    /// Ordinal of the next assignment.
    #[prost(uint32, tag = "23")]
    pub(crate) next_assignment: u32,
    /// A restore that was interrupted is compared even where the user asked for no comparison.
    #[prost(bool, tag = "24")]
    pub(crate) compare_always: bool,
    /// How a rehearsal ends once its scratch keyspace is dropped.
    #[prost(enumeration = "v1::JobState", tag = "25")]
    pub(crate) ending_state: i32,
    /// Why, where it is to fail.
    #[prost(message, optional, tag = "26")]
    pub(crate) ending_failure: Option<v1::Failure>,
    /// The nodes that assignments name as their homes; only added to.
    #[prost(message, repeated, tag = "27")]
    pub(crate) homes: Vec<HomeRecord>,
    /// W3C Trace Context of its submission; empty: not traced.
    #[prost(string, tag = "28")]
    pub(crate) trace_parent: String,
}

/// A node that owns shards first.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct HomeRecord {
    /// Its host id, or its address.
    #[prost(string, tag = "1")]
    pub(crate) node: String,
    #[prost(string, tag = "2")]
    pub(crate) data_center: String,
}

/// What somebody allowed all jobs to ask of a cluster; outdoes the settings.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterRecord {
    /// Profile.
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) limits: Option<v1::ClusterLimits>,
}

/// The newest complete backup of a keyspace. Kept beyond its job.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SuccessRecord {
    /// Profile.
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(string, tag = "2")]
    pub(crate) keyspace: String,
    #[prost(uint64, tag = "3")]
    pub(crate) finished_unix_ms: u64,
}

/// A table of a backup that is being made.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TableRecord {
    #[prost(string, tag = "1")]
    pub(crate) job_id: String,
    #[prost(uint32, tag = "2")]
    pub(crate) ordinal: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) table: Option<v1::InspectedTable>,
    #[prost(message, optional, tag = "4")]
    pub(crate) plan: Option<v1::TablePlan>,
    /// How often it was begun anew, since somebody altered it.
    #[prost(uint32, tag = "5")]
    pub(crate) redumps: u32,
    /// Why a worker could not go on with it; its definition is read again before anybody does.
    #[prost(message, optional, tag = "6")]
    pub(crate) doubt: Option<v1::Failure>,
}

/// An assignment.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AssignmentRecord {
    #[prost(string, tag = "1")]
    pub(crate) job_id: String,
    #[prost(uint32, tag = "2")]
    pub(crate) ordinal: u32,
    #[prost(enumeration = "WorkKind", tag = "3")]
    pub(crate) kind: i32,
    /// Ordinal of the table, where the work has one.
    #[prost(uint32, optional, tag = "4")]
    pub(crate) table: Option<u32>,
    #[prost(uint64, tag = "5")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) count: u64,
    /// Rows at most, 0: all.
    #[prost(uint64, tag = "7")]
    pub(crate) limit_rows: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) epoch: u64,
    #[prost(uint32, tag = "9")]
    pub(crate) attempts: u32,
    #[prost(uint32, tag = "10")]
    pub(crate) lapses: u32,
    #[prost(enumeration = "HoldKind", tag = "11")]
    pub(crate) hold: i32,
    #[prost(string, tag = "12")]
    pub(crate) worker_id: String,
    /// What the lease of this epoch covers.
    #[prost(uint64, tag = "13")]
    pub(crate) run_first: u64,
    #[prost(uint64, tag = "14")]
    pub(crate) run_count: u64,
    /// Among the homes of its job: the node that owns it first, where the ring is known.
    #[prost(uint32, optional, tag = "15")]
    pub(crate) home: Option<u32>,
}

/// A finished piece of an assignment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// A stored chunk of a dump.
    Stored(v1::Chunk),
    /// A dumped segment: no chunk of it is to come.
    Closed(u64),
    /// A chunk whose rows were all acknowledged.
    Restored(v1::ChunkDone),
    /// A segment whose objects were checked.
    Checked(v1::SegmentVerified),
    /// A segment that was compared with the target.
    Compared(v1::SegmentVerified),
}

impl Piece {
    /// Number of the kind, segment and part: the piece's place in its table.
    pub(crate) fn place(&self) -> (u8, u64, u32) {
        match self {
            Self::Stored(chunk) => (1, chunk.segment, chunk.part),
            Self::Closed(segment) => (2, *segment, 0),
            Self::Restored(done) => (3, done.segment, done.part),
            Self::Checked(verified) => (4, verified.segment, 0),
            Self::Compared(verified) => (5, verified.segment, 0),
        }
    }

    /// The piece as bytes, without its place.
    pub(crate) fn body(&self) -> Vec<u8> {
        match self {
            Self::Stored(chunk) => chunk.encode_to_vec(),
            Self::Closed(_) => Vec::new(),
            Self::Restored(done) => done.encode_to_vec(),
            Self::Checked(verified) | Self::Compared(verified) => verified.encode_to_vec(),
        }
    }

    /// The piece behind a kind's number, a segment and a body.
    /// Nothing where a later version's kind stands there.
    ///
    /// # Errors
    /// Where the body is not such a message.
    pub(crate) fn of_body(kind: u8, segment: u64, body: &[u8]) -> Result<Option<Self>, prost::DecodeError> {
        Ok(Some(match kind {
            1 => Self::Stored(v1::Chunk::decode(body)?),
            2 => Self::Closed(segment),
            3 => Self::Restored(v1::ChunkDone::decode(body)?),
            4 => Self::Checked(v1::SegmentVerified::decode(body)?),
            5 => Self::Compared(v1::SegmentVerified::decode(body)?),
            _ => return Ok(None),
        }))
    }
}

/// One row of the journal that changes. Those of one event are committed together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A job is new or changed.
    PutJob(Box<JobRecord>),
    /// A table is new or planned anew.
    PutTable(Box<TableRecord>),
    /// An assignment is new or changed.
    PutAssignment(AssignmentRecord),
    /// A piece is finished.
    PutPiece {
        /// The job.
        job_id: String,
        /// Ordinal of its table.
        table: u32,
        /// The piece.
        piece: Piece,
    },
    /// A table goes, with its assignments and pieces.
    DeleteTable {
        /// The job.
        job_id: String,
        /// Ordinal of its table.
        table: u32,
    },
    /// An assignment goes that nobody is to do any more.
    DeleteAssignment {
        /// The job.
        job_id: String,
        /// Ordinal of the assignment.
        ordinal: u32,
    },
    /// Tables, assignments and pieces of a job go; the job stays.
    DeleteWork(String),
    /// A job goes with all of it.
    DeleteJob(String),
    /// Limits of a cluster were set.
    PutCluster(ClusterRecord),
    /// A keyspace was backed up.
    PutSuccess(SuccessRecord),
}

/// All that a journal holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Loaded {
    pub(crate) jobs: Vec<JobRecord>,
    pub(crate) tables: Vec<TableRecord>,
    pub(crate) assignments: Vec<AssignmentRecord>,
    /// Job, table, piece; stored chunks of a segment in order of their parts.
    pub(crate) pieces: Vec<(String, u32, Piece)>,
    pub(crate) clusters: Vec<ClusterRecord>,
    pub(crate) successes: Vec<SuccessRecord>,
}
