//! Ringvault's bytes at rest. `archive/FORMAT.md` specifies every byte; this crate is that page in code.
//!
//! - [`cql_type`]: CQL types as `system_schema` writes them; [`table`]: the columns of a table in row order
//! - [`row`]: raw cells ↔ one JSON line, encode and decode in one place
//! - [`digest`]: identities of chunks, sums of segments
//! - [`chunk`]: a compressed run of row lines, `ChunkWriter → SealedChunk → StoredChunk`
//! - [`repository`]: where objects live, a directory or S3; [`names`]: their names
//! - [`index`], [`manifest`], [`schema`]: what makes chunks a backup
//! - [`token`]: where a partition key stands on the ring
//! - [`seed`]: what cassandra-backup-tool wrote, as a backup
//! - [`check`]: is what stands there what was written
//! - [`rows`]: stored rows by token; [`sent`]: rows as a restore sends them; [`merge`]: two streams of rows compared
//!
//! Deliberately absent: CQL connections, gRPC, any decision about what to back up.

pub mod check;
pub mod chunk;
mod compressed;
pub mod cql_type;
pub mod digest;
pub mod error;
mod format;
pub mod index;
pub mod manifest;
pub mod merge;
pub mod names;
pub mod repository;
pub mod row;
pub mod rows;
pub mod schema;
pub mod seed;
pub mod sent;
pub mod table;
pub mod token;

pub use error::{Error, Result};
