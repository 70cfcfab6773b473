//! The command line: what may be said, not what it does. Common flags may stand before or behind the subcommand.
//!
//! The flags of cassandra-backup-tool keep their names and meanings; two of them have nothing to do here any more and
//! are taken with a note. Deliberately absent: defaults that the coordinator owns; a flag that is not given stays unset.

mod checks;
pub(crate) mod clusters;
pub(crate) mod common;
pub(crate) mod jobs;
pub(crate) mod processes;
pub(crate) mod repositories;
pub(crate) mod restore;
pub(crate) mod transforms;
pub(crate) mod values;

use clap::{CommandFactory, Parser, Subcommand};

use self::{
    clusters::Cluster,
    common::Common,
    jobs::{Backup, Job, PlanBackup},
    processes::{Coordinator, Worker, WorkerAction},
    repositories::{Cat, Diff, Import, List, Show, Verify},
    restore::{Rehearse, Restore},
};

/// Logical backup and restore of Apache Cassandra and ScyllaDB over CQL: no agent on the nodes, any topology.
#[derive(Debug, Parser)]
#[command(name = "ringvault", version, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 mismatch found, 4 interrupted and resumable")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Back up keyspaces, schema and rows
    Backup(Backup),
    /// Restore keyspaces from a backup, or from a directory of cassandra-backup-tool
    Restore(Box<Restore>),
    /// Restore a backup into a scratch keyspace, compare, and drop that again; exit code 3 if it differs
    Rehearse(Rehearse),
    /// Show what a backup would do: sizes, segments, shards; writes nothing
    Plan(PlanBackup),
    /// List the backups of a repository
    List(List),
    /// Show one backup: tables, rows, sizes, how it was read, what of it is approximate
    Show(Show),
    /// Check that a backup is what was written, or what a cluster holds; exit code 3 if it isn't
    Verify(Verify),
    /// Compare two backups, or a backup with a cluster; exit code 3 if they differ
    Diff(Diff),
    /// Print rows of a backup as JSON lines
    Cat(Cat),
    /// Turn a directory of cassandra-backup-tool into a backup
    Import(Import),
    /// Jobs of a coordinator
    Job(Job),
    /// Run a worker; list or drain the workers of a coordinator
    Worker(Box<Worker>),
    /// Clusters that a coordinator's workers reach, and what may be asked of them
    Cluster(Cluster),
    /// Run a coordinator
    Coordinator(Coordinator),
}

impl Command {
    /// The subcommand's name, for messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Rehearse(_) => "rehearse",
            Self::Plan(_) => "plan",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Verify(_) => "verify",
            Self::Diff(_) => "diff",
            Self::Cat(_) => "cat",
            Self::Import(_) => "import",
            Self::Job(_) => "job",
            Self::Worker(worker) => match &worker.action {
                Some(WorkerAction::List) => "worker list",
                Some(WorkerAction::Drain { .. }) => "worker drain",
                None => "worker",
            },
            Self::Cluster(_) => "cluster",
            Self::Coordinator(_) => "coordinator",
        }
    }
}

impl Cli {
    /// Parses and checks a command line, program name first. What it says goes together, or the error says why not.
    ///
    /// # Errors
    /// A usage error, or the text of `--help` and `--version`.
    pub(crate) fn read<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        let cli = Self::try_parse_from(arguments)?;
        checks::go_together(&cli)?;
        Ok(cli)
    }
}

/// A usage error: exit code 2.
pub(crate) fn usage(message: impl std::fmt::Display) -> clap::Error {
    Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message)
}

#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;
