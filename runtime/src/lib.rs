//! What every Ringvault process needs and no database or archive knows of.
//!
//! - [`clock`] and [`entropy`]: the only wells of time and chance
//! - [`lease_keeper`]: the worker's half of the lease protocol, pure (here, so that the coordinator's simulator runs it too)
//! - [`retry`]: exponential backoff with jitter
//! - [`tasks`]: the only place that spawns; everything drains on cancellation
//! - [`telemetry`]: logs, traces, metrics
//! - [`net`]: transport, listeners (TCP and in-memory), peer identity
//!
//! Deliberately absent: CQL, object stores, any decision about jobs.

pub mod clock;
pub mod entropy;
pub mod lease_keeper;
pub mod net;
pub mod retry;
pub mod tasks;
pub mod telemetry;
