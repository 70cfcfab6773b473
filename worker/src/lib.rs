//! Ringvault's worker: moves rows, decides nothing. The only room that speaks CQL.
//!
//! - [`cql`]: everything that touches the driver: connect, inspect, scan, load, capture and apply schema
//! - [`schema`]: DDL without I/O
//! - [`live`]: tables compared with a backup in the user's own process
//! - `link`: the gRPC link to the coordinator; `attend`: the loop around the lease keeper, link and running work; `watch`: the
//!   end of a lease as its work sees it
//! - `execute`: one file an assignment
//! - [`memory`]: what a limit on memory means
//! - `places`: the clusters and repositories that this worker reaches, opened once
//!
//! Deliberately absent: planning, retention, the catalogue, anything that chooses what to do next.

mod attend;
pub mod cql;
mod execute;
mod link;
pub mod live;
pub mod memory;
mod places;
pub mod schema;
mod settings;
mod watch;

pub use attend::{Components, run};
pub use settings::{SLOTS_MAX, Settings};
