//! The comparator: reads tables raw and says where two differ, cell by cell, times included.
//!
//! It shares no code with the dump and as little as possible with any other part: its own scan of token ranges, its own
//! look at the schema, raw column bytes, and WRITETIME and TTL of every column of which the server allows them.
//!
//! - [`read`]: a table's snapshot
//! - [`compare`]: two snapshots
//! - [`schema`]: the schema as `system_schema` stores it

pub mod compare;
pub mod read;
pub mod schema;

pub use compare::{Comparison, Scope, compare_keyspaces, compare_tables};
pub use read::{KeyspaceSnapshot, TableSnapshot, read_keyspace, read_table};
