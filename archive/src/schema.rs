//! A keyspace's DDL as an ordered list of objects.

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What a schema object is. The order of the variants is the order of restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaKind {
    /// `CREATE KEYSPACE`
    Keyspace,
    /// `CREATE TYPE`
    Type,
    /// `CREATE FUNCTION`
    Function,
    /// `CREATE AGGREGATE`
    Aggregate,
    /// `CREATE TABLE`
    Table,
    /// `CREATE INDEX`
    Index,
    /// `CREATE MATERIALIZED VIEW`
    View,
    /// `CREATE TRIGGER`
    Trigger,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaObject {
    /// What it creates.
    pub kind: SchemaKind,
    /// Unquoted.
    pub keyspace: String,
    /// Unquoted.
    pub name: String,
    /// The table that an index, view or trigger belongs to; unquoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// One whole CQL statement, without a semicolon at the end.
    pub cql: String,
}

/// The DDL of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDocument {
    /// Unquoted.
    pub keyspace: String,
    /// Of the server it was captured from.
    pub server_version: String,
    /// In restore order.
    pub objects: Vec<SchemaObject>,
}

impl SchemaDocument {
    /// As stored.
    ///
    /// # Errors
    /// `Invalid` where objects are not in restore order.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        unimplemented!()
    }

    /// From stored bytes.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn from_json(_bytes: &[u8]) -> Result<Self> {
        unimplemented!()
    }

    /// As text for people.
    #[must_use]
    pub fn to_cql(&self) -> String {
        unimplemented!()
    }
}
