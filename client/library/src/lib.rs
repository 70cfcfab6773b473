//! Rust client of Ringvault's coordinator: submit, watch and cancel jobs over gRPC.
//!
//! ```no_run
//! use futures::StreamExt;
//! use ringvault_client::{Client, v1};
//!
//! # async fn example() -> Result<(), ringvault_client::Failure> {
//! let client = Client::connect("http://127.0.0.1:7077", None)?;
//! let backup = v1::BackupSpec {
//!     keyspaces: vec!["shop".into()],
//!     cluster: "prod".into(),
//!     repository: "s3://backups/prod".into(),
//!     ..Default::default()
//! };
//! let submitted = client.submit(Client::backup(backup), "nightly-2026-11-22", false).await?;
//! let mut job = client.watch(&submitted.job.job_id);
//! while let Some(job) = job.next().await {
//!     println!("{}", job?.stage);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`client`]: the calls; [`watch`]: one job followed across broken connections; [`state`]: what a job's state means
//!
//! Deliberately absent: anything of a database or a repository. A client names profiles; the secrets behind them stay
//! with the workers.

pub mod client;
pub mod state;
pub mod watch;

pub use client::{Client, Submitted};
pub use ringvault_proto::{
    error::{ErrorKind, Failure, Verdict},
    v1,
};
pub use ringvault_runtime::net::{Tls, TlsError, TlsFiles};
pub use watch::Watch;

/// What this crate returns: the failure that the coordinator told, or `Unavailable` where it could not be reached.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
