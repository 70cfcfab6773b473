//! Flags of `list`, `show` and `verify`: read-only, without a coordinator, without a cluster.

use clap::Args;

use super::values::share;

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
    /// Repository: a directory or s3://BUCKET/PREFIX
    pub(crate) repository: String,
    /// Backups [default: all]
    pub(crate) ids: Vec<String>,
    /// Read every chunk and recompute its sums; otherwise only existence and length are checked
    #[arg(long)]
    pub(crate) read_data: bool,
    /// Read this share of the chunks, chosen at random
    #[arg(long, value_parser = share, value_name = "5%", conflicts_with = "read_data")]
    pub(crate) read_data_subset: Option<f64>,
}
