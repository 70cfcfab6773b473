//! Flags of `backup`, `plan` and `job`.

use clap::{Args, Subcommand, ValueEnum, value_parser};
use ringvault_proto::v1;

use super::values::{bound, idempotency_key};

/// `ringvault backup`
#[derive(Args, Clone, Debug)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) what: BackedUp,
    #[command(flatten)]
    pub(crate) submission: Submission,
}

/// `ringvault plan`
#[derive(Args, Clone, Debug)]
pub(crate) struct PlanBackup {
    #[command(flatten)]
    pub(crate) what: BackedUp,
}

/// What a backup reads and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct BackedUp {
    /// Keyspaces, comma-separated: names as the database stores them, unquoted; globs ('user_*'), exclusions ('!*_old')
    pub(crate) keyspaces: String,
    /// Repository: a directory or s3://BUCKET/PREFIX; with --coordinator also a profile's name
    pub(crate) repository: String,
    /// Only these tables, comma-separated: names, globs ('orders_*'), exclusions ('!*_tmp'), each also as KEYSPACE.TABLE
    /// [default: all]
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) tables: Vec<String>,
    /// Compression of chunks [default: zstd]
    #[arg(long, value_name = "C")]
    pub(crate) compression: Option<Compression>,
    /// Short for --compression gzip
    #[arg(long, conflicts_with = "compression")]
    pub(crate) gzip: bool,
    /// At most so many rows a chunk [default: by bytes]
    #[arg(long, value_parser = value_parser!(u64).range(1..), value_name = "ROWS")]
    pub(crate) chunk_size: Option<u64>,
    /// Tables at once [default: 2]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) parallel: Option<u32>,
    /// Token ranges a table is cut into [default: by size]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) shards: Option<u32>,
    /// At most so many rows a table; such a backup is marked partial
    #[arg(long, value_parser = value_parser!(u64).range(1..), value_name = "ROWS")]
    pub(crate) limit: Option<u64>,
    /// At most so many rows a page [default: 5000]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) fetch_size: Option<u32>,
    /// Leave writetimes and expiries out
    #[arg(long)]
    pub(crate) values_only: bool,
    /// Also roles and grants on these keyspaces, where the login may read them
    #[arg(long)]
    pub(crate) with_roles: bool,
    /// Taken from scripts of cassandra-backup-tool and ignored: progress always comes with an estimate
    #[arg(long, hide = true)]
    pub(crate) estimate_progress: bool,
}

/// Compression of a chunk at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// .jsonl.zst
    Zstd,
    /// .jsonl.gz
    Gzip,
    /// .jsonl
    None,
}

impl From<Compression> for v1::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Zstd => Self::Zstd,
            Compression::Gzip => Self::Gzip,
            Compression::None => Self::None,
        }
    }
}

/// How a job is handed over.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Job")]
pub(crate) struct Submission {
    /// Start over even if an earlier run of this command could go on
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Submit to the coordinator and return at once
    #[arg(long)]
    pub(crate) detach: bool,
    /// Share where several jobs want the same workers: each step up takes four times the ranges [default: normal]
    #[arg(long, value_name = "WHICH")]
    pub(crate) priority: Option<Priority>,
    /// At most so many workers at once [default: all]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) workers: Option<u32>,
    /// At most so many token ranges at once, over all workers [default: as many as workers have slots]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) ranges: Option<u32>,
    /// What you call this job: the same key again gives the same job and starts no other [default: made of what is asked,
    /// so that the same command goes on with a job that was interrupted, and begins a new one after one that is done]
    #[arg(long, value_parser = idempotency_key, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

impl Submission {
    /// Each flag, and whether it was given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 6] {
        [
            ("--fresh", self.fresh),
            ("--detach", self.detach),
            ("--priority", self.priority.is_some()),
            ("--workers", self.workers.is_some()),
            ("--ranges", self.ranges.is_some()),
            ("--idempotency-key", self.idempotency_key.is_some()),
        ]
    }
}

/// A job's share among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Priority {
    /// A quarter of normal
    Low,
    /// As most jobs
    Normal,
    /// Four times normal
    High,
}

impl From<Priority> for v1::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

/// `ringvault job`
#[derive(Args, Clone, Debug)]
pub(crate) struct Job {
    #[command(subcommand)]
    pub(crate) action: JobAction,
}

/// What to do with jobs.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum JobAction {
    /// List jobs, newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..), value_name = "N")]
        limit: u32,
    },
    /// Show one job
    Show {
        /// Job id
        id: String,
    },
    /// Follow one job until it has ended; the exit code is the job's
    Watch {
        /// Job id
        id: String,
    },
    /// Stop one job; what it stored stays
    Cancel {
        /// Job id
        id: String,
    },
    /// Take one job's work away from the workers until it is resumed; what it stored stays
    Pause {
        /// Job id
        id: String,
    },
    /// Let a paused job go on where it was
    Resume {
        /// Job id
        id: String,
    },
    /// Change priority and limits of a job that runs; --rate and --pace, too
    Limit {
        /// Job id
        id: String,
        #[command(flatten)]
        change: Change,
    },
}

/// What is changed of a job, beside --rate and --pace; the rest stays.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// Share where several jobs want the same workers
    #[arg(long, value_name = "WHICH")]
    pub(crate) priority: Option<Priority>,
    /// At most so many workers at once; none: no limit
    #[arg(long, value_parser = bound, value_name = "N|none")]
    pub(crate) workers: Option<u32>,
    /// At most so many token ranges at once; none: no limit
    #[arg(long, value_parser = bound, value_name = "N|none")]
    pub(crate) ranges: Option<u32>,
}
