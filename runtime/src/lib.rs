//! What every Ringvault process needs and no database or archive knows of.
//!
//! - [`clock`] and [`entropy`]: the only wells of time and chance
//! - [`retry`]: exponential backoff with jitter
//! - [`tasks`]: the only place that spawns; everything drains on cancellation
//! - [`telemetry`] (logs)
//! - [`net`]: transport, listeners (TCP and in-memory), peer identity
//!
//! Deliberately absent: CQL, object stores, any decision about jobs.

pub mod clock;
pub mod entropy;
pub mod net;
pub mod retry;
pub mod tasks;
pub mod telemetry;
