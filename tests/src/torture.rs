//! Keyspaces made from a number: a random schema out of all types, nesting and options, and rows that went through
//! everything CQL can do to them. The same number makes the same statements on the same release.
//!
//! - `schema`: random types, tables and options, as far as a release knows them
//! - `values`: random bytes of a type
//! - `statements`: random writes, updates and deletions, with timestamps and TTLs
//!
//! What is deliberately absent: TTLs that end during a test, views, indexes and functions (see [`crate::samples::zoo`]).

mod schema;
mod statements;
mod values;

use anyhow::{Context, Result};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::schema::Schema;
use self::statements::Writer;
use crate::cassandra::TestCluster;
use crate::cql::quote;

/// What was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Made {
    /// Tables.
    pub tables: usize,
    /// User types.
    pub types: usize,
    /// Statements that wrote something.
    pub statements: u64,
}

/// Drops a keyspace and makes it anew from a seed.
///
/// # Errors
/// If the server refuses any of it; names the statement.
pub async fn make(cluster: &TestCluster, keyspace: &str, seed: u64) -> Result<Made> {
    let mut random = StdRng::seed_from_u64(seed);
    let schema = Schema::random(&mut random, cluster.version());
    cluster.fresh_keyspace(keyspace, 1).await?;
    let durable = format!("ALTER KEYSPACE {} WITH durable_writes = false", quote(keyspace));
    cluster.run(&[&durable]).await?;
    for statement in schema.statements(keyspace) {
        cluster.run(&[&statement]).await?;
    }
    let mut made = Made { tables: schema.tables.len(), types: schema.types.len(), statements: 0 };
    for table in &schema.tables {
        let mut writer = Writer::new(cluster.session(), keyspace, &schema, table, &mut random);
        made.statements += writer.write().await.with_context(|| format!("write to {}", table.name))?;
    }
    Ok(made)
}
