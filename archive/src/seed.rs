//! Coming from cassandra-backup-tool: a directory that it wrote becomes an ordinary values-only backup of a repository.
//!
//! - `directory`: which files there are, of which table; `stream`: the rows of a file; `json`: what Python writes
//! - `names`: columns by the names that Python's driver gives them; `value`, `composite`: values by their CQL type
//! - `order`: bytes that compare as Cassandra compares values; `rows`: rows to lines; `sort`: lines in order, on disk
//! - `table`: the chunks of one table; `import`: all of them, then indexes and manifest; `findings`: what was lost
//!
//! What that tool's encoding lost is refused, by file, line and column, or named in the manifest; nothing is guessed by
//! the looks of a value. Deliberately absent: the statements of its schema file (`schema/seed` of the worker reads them),
//! and writing such directories.

mod composite;
mod directory;
mod findings;
mod import;
mod json;
mod names;
mod order;
mod rows;
mod sort;
mod stream;
mod table;
mod value;

use ringvault_proto::v1;

pub use self::{
    directory::{SeedDirectory, SeedKeyspace, find},
    import::{Import, Progress, Stage},
};
use crate::schema::SchemaDocument;

/// What `KEYSPACE_schema.cql` creates.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedSchema {
    /// All of its objects.
    pub document: SchemaDocument,
    /// Its tables, views left out.
    pub tables: Vec<v1::InspectedTable>,
    /// What a person should know of it.
    pub warnings: Vec<String>,
}
