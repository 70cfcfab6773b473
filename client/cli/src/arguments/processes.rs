//! Flags of the long-running processes. Each has a TOML file behind it (settings.rs); a flag wins over the environment,
//! the environment over the file.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// `ringvault coordinator`
#[derive(Args, Clone, Debug)]
pub(crate) struct Coordinator {
    /// Address to listen on [default: 127.0.0.1:7077]
    #[arg(long, env = "RINGVAULT_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Directory of the journal
    #[arg(long, env = "RINGVAULT_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Settings file (TOML)
    #[arg(long, env = "RINGVAULT_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Serve Prometheus metrics (/metrics) and /health there [default: nowhere]
    #[arg(long, env = "RINGVAULT_METRICS_LISTEN", value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Listen beyond this machine without --tls-ca, --tls-cert and --tls-key: anybody who reaches it may do everything
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// `ringvault worker`
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Worker {
    #[command(subcommand)]
    pub(crate) action: Option<WorkerAction>,
    /// Settings file (TOML): clusters, repositories, slots
    #[arg(long, env = "RINGVAULT_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Name for people [default: the machine's name]
    #[arg(long, env = "RINGVAULT_WORKER_NAME", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Assignments at once [default: 4]
    #[arg(long, env = "RINGVAULT_SLOTS", value_parser = clap::value_parser!(u32).range(1..=256), value_name = "N")]
    pub(crate) slots: Option<u32>,
    /// Serve Prometheus metrics (/metrics) and /health there [default: nowhere]
    #[arg(long, env = "RINGVAULT_METRICS_LISTEN", value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
}

/// What to do with workers.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WorkerAction {
    /// List the workers of a coordinator
    List,
    /// Let a worker finish what it holds and take no more
    Drain {
        /// Its name, or its id where several have the name
        worker: String,
        /// Let it take work again
        #[arg(long)]
        undo: bool,
        /// Return when it holds nothing any more
        #[arg(long, conflicts_with = "undo")]
        wait: bool,
    },
}
