//! Flags of `list`, `show`, `verify`, `diff` and `cat`, which only read, and of `import`, which writes a repository. None
//! needs a coordinator; `verify` and `diff` need a cluster with `--against-cluster` only.

use std::path::PathBuf;

use clap::{Args, value_parser};

use super::{
    jobs::Submission,
    restore::{Part, Place},
    transforms::Key,
    values::share,
};

/// `ringvault list`
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    /// Repository: a directory or s3://BUCKET/PREFIX
    pub(crate) repository: String,
    /// Only backups of this keyspace
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
}

/// `ringvault show`
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    /// Repository: a directory or s3://BUCKET/PREFIX
    pub(crate) repository: String,
    /// Backup [default: the newest]
    pub(crate) id: Option<String>,
}

/// `ringvault verify`
#[derive(Args, Clone, Debug)]
pub(crate) struct Verify {
    /// Repository: a directory or s3://BUCKET/PREFIX; with --against-cluster and --coordinator also a profile's name
    pub(crate) repository: String,
    /// Backups [default: all; with --against-cluster the newest complete one]
    pub(crate) ids: Vec<String>,
    /// Read every chunk and recompute its sums; otherwise only existence and length are checked
    #[arg(long)]
    pub(crate) read_data: bool,
    /// Read this share of the chunks, chosen at random
    #[arg(long, value_parser = share, value_name = "5%", conflicts_with = "read_data")]
    pub(crate) read_data_subset: Option<f64>,
    /// Compare the backup with the tables of a cluster; writes nothing
    #[arg(long, conflicts_with_all = ["read_data", "read_data_subset"])]
    pub(crate) against_cluster: bool,
    #[command(flatten)]
    pub(crate) compared: Compared,
    /// Tables at once [default: 4]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N", requires = "against_cluster")]
    pub(crate) parallel: Option<u32>,
    #[command(flatten)]
    pub(crate) submission: Submission,
}

/// What is compared with what.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Comparison")]
pub(crate) struct Compared {
    /// Only these keyspaces of the backup, comma-separated: names, globs, exclusions [default: all]
    #[arg(long, value_delimiter = ',', value_name = "K1,K2")]
    pub(crate) keyspace: Vec<String>,
    /// Only these tables, comma-separated: names, globs, exclusions, each also as KEYSPACE.TABLE [default: all]
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) tables: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) part: Part,
    /// Compare values only: no writetimes, no expiries
    #[arg(long)]
    pub(crate) values_only: bool,
}

impl Compared {
    /// Each flag, and whether it was given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 6] {
        [
            ("--keyspace", !self.keyspace.is_empty()),
            ("--tables", !self.tables.is_empty()),
            ("--keyspace-as", self.place.keyspace_as.is_some()),
            ("--table-as", !self.place.table_as.is_empty()),
            ("--token-range", !self.part.token_range.is_empty()),
            ("--values-only", self.values_only),
        ]
    }
}

/// `ringvault diff`
#[derive(Args, Clone, Debug)]
pub(crate) struct Diff {
    /// Repository: a directory or s3://BUCKET/PREFIX
    pub(crate) repository: String,
    /// Backup A, the older side [with --against-cluster by default: the newest complete one]
    pub(crate) a: Option<String>,
    /// Backup B of the same repository, the newer side
    pub(crate) b: Option<String>,
    /// Compare A with the tables of a cluster, which are the newer side
    #[arg(long, conflicts_with = "b")]
    pub(crate) against_cluster: bool,
    /// Name each row that differs, with old and new cells
    #[arg(long)]
    pub(crate) rows: bool,
    /// Name at most so many rows [default: all]
    #[arg(long, value_parser = value_parser!(u64).range(1..), value_name = "ROWS", requires = "rows")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) compared: Compared,
}

/// `ringvault cat`
#[derive(Args, Clone, Debug)]
pub(crate) struct Cat {
    /// Repository: a directory or s3://BUCKET/PREFIX
    pub(crate) repository: String,
    /// Backup [default: the newest that holds the table]
    pub(crate) id: Option<String>,
    /// The table, as KEYSPACE.TABLE, or its name where only one keyspace has it
    #[arg(long, value_name = "KEYSPACE.TABLE", required = true)]
    pub(crate) tables: String,
    #[command(flatten)]
    pub(crate) part: Part,
    /// Only the partition of this key: a JSON value as in a row line, or an array of one for each key column
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) partition_key: Option<Key>,
}

/// `ringvault import`
#[derive(Args, Clone, Debug)]
pub(crate) struct Import {
    /// Directory that cassandra-backup-tool wrote: KEYSPACE_schema.cql and files of rows
    pub(crate) directory: PathBuf,
    /// Repository: a directory or s3://BUCKET/PREFIX; created if it isn't there
    pub(crate) repository: String,
    /// Keyspace, where the directory holds several
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
}
