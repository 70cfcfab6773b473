//! Rust client of Ringvault's coordinator: submit, watch, pause, change and cancel jobs over gRPC.
//!
//! ```no_run
//! use futures::StreamExt;
//! use ringvault_client::{Client, JobState, Tls, TlsFiles, v1};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Mutual TLS: the certificate's organizational unit (OU) is the role, `operator` to submit jobs. On loopback, or where
//! // the coordinator was told --insecure: Client::connect("http://127.0.0.1:7077", None)
//! let files = TlsFiles { ca: "ca.pem".into(), cert: "operator.pem".into(), key: "operator.key".into() };
//! let client = Client::connect("https://backups.example.org:7077", Some(&Tls::load(files)?))?;
//!
//! let backup = v1::BackupSpec {
//!     keyspaces: vec!["shop".into()],
//!     cluster: "prod".into(),            // a profile in the workers' settings: no secret passes here
//!     repository: "s3://backups/prod".into(),
//!     ..Default::default()
//! };
//! // The same key again gives the same job, so a scheduler may repeat this at will.
//! let submitted = client.submit(Client::backup(backup), "shop-2026-11-22", false).await?;
//! let id = &submitted.job.job_id;
//!
//! client.pause(id).await?;               // what is stored stays; workers stop within a second or so
//! client.resume(id).await?;
//!
//! let mut watch = client.watch(id);      // goes on across broken connections and restarts
//! while let Some(job) = watch.next().await {
//!     let job = job?;
//!     println!("{}: {} leases at {} workers", job.stage, job.leases, job.workers);
//!     if job.state() == JobState::Failed {
//!         println!("{}", job.failure.unwrap_or_default().message);
//!     }
//! }
//!
//! client.cancel(id).await?;              // an ended job stays as it is
//! # Ok(())
//! # }
//! ```
//!
//! - [`client`]: the calls, and when each is tried again; [`watch`]: one job followed across broken connections;
//!   [`state`]: what states mean, and their words
//! - [`v1`]: the messages, generated from `proto/ringvault/v1`; [`Failure`]: what every call fails with
//!
//! A [`Failure`] has a kind, by which a program decides, and a message for a person: what failed, on what, why, and what to
//! do. Which call may be made again is [`ErrorKind::verdict`]; this crate has done so already before it returns a failure.
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
    v1::{JobState, Priority, TableState},
};
pub use ringvault_runtime::net::{Tls, TlsError, TlsFiles};
pub use watch::Watch;

/// What this crate returns: the failure that the coordinator told, or `Unavailable` where it could not be reached.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
