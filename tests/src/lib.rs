//! What Ringvault's live tests, benchmarks and the demo stand on.
//!
//! - [`authority`]: certificates of every kind
//! - [`cache`]: where downloads and running clusters live, and the locks around them
//! - [`cassandra`]: real Cassandra nodes, started and stopped by the tests themselves
//! - [`collector`]: takes traces and metrics
//! - [`s3`]: a real S3 server in the process, with injected faults
//! - [`oracle`]: reads tables raw and compares them cell by cell; shares no code with the product
//! - [`samples`]: keyspaces full of hard cases, and large ones
//! - [`torture`]: keyspaces made from a number
//! - [`fleet`]: coordinator and workers as processes; [`proxy`]: connections that can be cut
//! - [`product`]: the `ringvault` binary as a process
//! - [`python`]: reads stored files in another language
//! - [`raw_scan`]: the yardstick of speed; [`bench`]: the benchmark against it and against rivals
//! - [`runner`]: runs a suite of live tests that share clusters
//!
//! Absent on purpose: any import of `ringvault-archive` or `ringvault-worker`. A comparator that shares code with what
//! it judges proves nothing.

pub mod authority;
pub mod bench;
pub mod cache;
pub mod cassandra;
pub mod collector;
pub mod cql;
pub mod fleet;
pub mod oracle;
pub mod product;
pub mod proxy;
pub mod python;
pub mod raw_scan;
pub mod runner;
pub mod s3;
pub mod samples;
pub mod torture;
