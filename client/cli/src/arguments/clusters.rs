//! Flags of `cluster`: what all jobs and workers together may ask of one.

use clap::{Args, Subcommand};

use super::values::bound;

/// `ringvault cluster`
#[derive(Args, Clone, Debug)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    pub(crate) action: ClusterAction,
}

/// What to do with clusters.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterAction {
    /// List the clusters that workers can reach, with their limits and what is leased of them
    List,
    /// Change what all jobs and workers together may ask of a cluster; --rate, too
    Limit {
        /// Cluster as the workers' settings name it
        name: String,
        #[command(flatten)]
        change: ClusterChange,
    },
}

/// What is changed of a cluster's limits, beside --rate; the rest stays.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct ClusterChange {
    /// At most so many token ranges read or written at once; none: no limit
    #[arg(long, value_parser = bound, value_name = "N|none")]
    pub(crate) ranges: Option<u32>,
    /// At most so many pages or batches in flight to one node; none: as the pace of each job says
    #[arg(long, value_parser = bound, value_name = "N|none")]
    pub(crate) requests_per_node: Option<u32>,
}
