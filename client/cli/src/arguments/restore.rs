//! Flags of `restore` and `rehearse`, and those that say which rows of a backup are meant and where they are now.

use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use ringvault_proto::v1;

use super::{
    jobs::Submission,
    transforms::{Key, Pair, Replication, pair, replication, token_span},
    values::{batch_rows, sample, span},
};

/// `ringvault restore`
#[derive(Args, Clone, Debug)]
pub(crate) struct Restore {
    /// Keyspaces of the backup, comma-separated: names unquoted, globs ('user_*'), exclusions ('!*_old')
    pub(crate) keyspaces: String,
    /// Repository: a directory or s3://BUCKET/PREFIX; with --coordinator also a profile's name. Or a directory that
    /// cassandra-backup-tool wrote
    pub(crate) repository: String,
    /// Backup to restore [default: the newest complete one of these keyspaces]
    #[arg(long, value_name = "ID")]
    pub(crate) backup: Option<String>,
    /// Only these tables, comma-separated: names, globs ('orders_*'), exclusions ('!*_tmp'), each also as KEYSPACE.TABLE
    /// [default: all of the backup]
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) tables: Vec<String>,
    /// Drop the keyspace first; asks on a terminal, needs --yes elsewhere. Every chunk is checked before
    #[arg(long)]
    pub(crate) drop: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Check every chunk's bytes before the first write
    #[arg(long)]
    pub(crate) check_first: bool,
    /// Don't read back and compare
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Rows a batch at most: auto, or a number [default: auto]
    #[arg(long, value_parser = batch_rows, value_name = "auto|N")]
    pub(crate) batch_size: Option<u32>,
    /// Tables at once [default: 4]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) parallel: Option<u32>,
    /// Attempts of a failing write [default: 5]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// First pause between attempts in seconds, doubled each time [default: 2]
    #[arg(long, value_parser = span, value_name = "S")]
    pub(crate) retry_delay: Option<Duration>,
    #[command(flatten)]
    pub(crate) transforms: Transforms,
    #[command(flatten)]
    pub(crate) submission: Submission,
}

/// How what is restored differs from what was backed up.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Transforms")]
pub(crate) struct Transforms {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Replication instead of the backup's: a map as CREATE KEYSPACE takes it, or JSON
    #[arg(long, value_parser = replication, value_name = "'{…}'")]
    pub(crate) replication: Option<Replication>,
    /// Rename a data centre of the backup's replication; repeatable
    #[arg(long, value_parser = pair, value_delimiter = ',', value_name = "OLD=NEW")]
    pub(crate) map_dc: Vec<Pair>,
    /// What to do where a table stands already [default: fail]; truncate asks as --drop does
    #[arg(long, value_name = "WHAT")]
    pub(crate) if_exists: Option<IfExists>,
    /// Bring the schema back, no rows
    #[arg(long)]
    pub(crate) schema_only: bool,
    /// Bring rows back into tables that stand; they may have more columns than the backup's
    #[arg(long)]
    pub(crate) data_only: bool,
    /// Writetimes of restored cells: the backup's, or now, which lifts them above newer deletions [default: original]
    #[arg(long, value_name = "WHICH")]
    pub(crate) timestamps: Option<Timestamps>,
    /// When restored cells expire: when they would have, after as long as they were given, or never [default:
    /// original-expiry]
    #[arg(long, value_name = "WHEN")]
    pub(crate) ttl: Option<Ttl>,
    #[command(flatten)]
    pub(crate) part: Part,
    /// Only the partition of this key: a JSON value as in a row line, or an array of one for each key column. Needs
    /// --tables with one table
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) partition_key: Option<Key>,
    /// Also restore roles and grants, where the backup holds them
    #[arg(long)]
    pub(crate) with_roles: bool,
}

/// Under which names the tables of a backup stand in a cluster.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// Another name for the keyspace; goes with one keyspace
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace_as: Option<String>,
    /// Another name for a table; repeatable, or comma-separated
    #[arg(long, value_parser = pair, value_delimiter = ',', value_name = "OLD=NEW")]
    pub(crate) table_as: Vec<Pair>,
}

/// Which part of the ring is meant.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Part {
    /// Only rows with a token in (START, END]; repeatable
    #[arg(long, value_parser = token_span, value_name = "START:END", allow_hyphen_values = true)]
    pub(crate) token_range: Vec<v1::TokenSpan>,
}

/// `ringvault rehearse`
#[derive(Args, Clone, Debug)]
pub(crate) struct Rehearse {
    /// Repository: a directory or s3://BUCKET/PREFIX; with --coordinator also a profile's name
    pub(crate) repository: String,
    /// Backup to rehearse [default: the newest complete one]
    #[arg(long, value_name = "ID")]
    pub(crate) backup: Option<String>,
    /// Keyspace of the backup [default: its only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
    /// Only these tables, comma-separated: names, globs, exclusions [default: all of the backup]
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) tables: Vec<String>,
    /// Restore this share of the segments, drawn anew by each rehearsal [default: all]
    #[arg(long, value_parser = sample, value_name = "1%")]
    pub(crate) sample: Option<u32>,
    /// Replication of the scratch keyspace: a map as CREATE KEYSPACE takes it, or JSON
    #[arg(long, value_parser = replication, value_name = "'{…}'")]
    pub(crate) replication: Option<Replication>,
    /// Rename a data centre of the backup's replication; repeatable
    #[arg(long, value_parser = pair, value_delimiter = ',', value_name = "OLD=NEW")]
    pub(crate) map_dc: Vec<Pair>,
    /// Tables at once [default: 4]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) parallel: Option<u32>,
    #[command(flatten)]
    pub(crate) submission: Submission,
}

/// What to do where a table stands already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IfExists {
    /// Refuse, before any write
    Fail,
    /// Write among what is there, with the backup's times
    Append,
    /// Empty the table first
    Truncate,
    /// Leave rows alone that hold anything the backup's row does not
    OnlyMissing,
}

impl From<IfExists> for v1::IfExists {
    fn from(what: IfExists) -> Self {
        match what {
            IfExists::Fail => Self::Fail,
            IfExists::Append => Self::Append,
            IfExists::Truncate => Self::Truncate,
            IfExists::OnlyMissing => Self::OnlyMissing,
        }
    }
}

/// Writetimes of restored cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Timestamps {
    /// The backup's
    Original,
    /// The database's clock
    Now,
}

impl From<Timestamps> for v1::Timestamps {
    fn from(which: Timestamps) -> Self {
        match which {
            Timestamps::Original => Self::Original,
            Timestamps::Now => Self::Now,
        }
    }
}

/// Expiries of restored cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ttl {
    /// End when they would have ended; what has ended is not written
    OriginalExpiry,
    /// Live as long as they were given when they were written
    Restart,
    /// Never end
    Drop,
}

impl From<Ttl> for v1::Ttl {
    fn from(when: Ttl) -> Self {
        match when {
            Ttl::OriginalExpiry => Self::OriginalExpiry,
            Ttl::Restart => Self::Restart,
            Ttl::Drop => Self::Drop,
        }
    }
}
