//! The rows of `system_schema` of one keyspace, as data. What is optional there is optional here: each server version has its
//! own columns.

use std::collections::{BTreeMap, BTreeSet};

/// Text to text, as replication, compaction and other options stand in `system_schema`.
pub type Options = BTreeMap<String, String>;

/// Everything that `system_schema` says of one keyspace. Names are unquoted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyspaceModel {
    /// Its name.
    pub name: String,
    /// `class` and its options.
    pub replication: Options,
    /// Writes go through the commit log.
    pub durable_writes: bool,
    /// User-defined types, in no order.
    pub types: Vec<TypeModel>,
    /// User-defined functions.
    pub functions: Vec<FunctionModel>,
    /// User-defined aggregates.
    pub aggregates: Vec<AggregateModel>,
    /// Tables, without views.
    pub tables: Vec<TableModel>,
    /// Secondary indexes.
    pub indexes: Vec<IndexModel>,
    /// Materialized views.
    pub views: Vec<ViewModel>,
    /// Triggers.
    pub triggers: Vec<TriggerModel>,
}

impl KeyspaceModel {
    /// The table of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableModel> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The type of this name.
    #[must_use]
    pub fn user_type(&self, name: &str) -> Option<&TypeModel> {
        self.types.iter().find(|user_type| user_type.name == name)
    }
}

/// A user-defined type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeModel {
    /// Its name.
    pub name: String,
    /// Name and CQL type of each field, in order.
    pub fields: Vec<(String, String)>,
}

/// A user-defined function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of system_schema.functions
pub struct FunctionModel {
    pub name: String,
    pub argument_names: Vec<String>,
    pub argument_types: Vec<String>,
    pub body: String,
    pub called_on_null_input: bool,
    pub language: String,
    pub return_type: String,
}

/// A user-defined aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of system_schema.aggregates
pub struct AggregateModel {
    pub name: String,
    pub argument_types: Vec<String>,
    pub state_func: String,
    pub state_type: String,
    pub final_func: Option<String>,
    /// A CQL literal.
    pub initcond: Option<String>,
}

/// What a column is in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum ColumnRole {
    PartitionKey,
    Clustering,
    Static,
    Regular,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnModel {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: ColumnRole,
    /// Position among the partition key or the clustering columns, else -1.
    pub position: i32,
    /// CQL type.
    pub cql_type: String,
    /// `CLUSTERING ORDER BY … DESC`.
    pub descending: bool,
}

/// A table, or what a view has in common with one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableModel {
    /// Its name.
    pub name: String,
    /// Its id; what tells a table from one of the same name that was dropped.
    pub id: String,
    /// `compound`, `dense`, `super`, `counter`.
    pub flags: BTreeSet<String>,
    /// Columns, in no order.
    pub columns: Vec<ColumnModel>,
    /// Its options.
    pub options: TableOptions,
}

impl TableModel {
    /// Whether it was made WITH COMPACT STORAGE: anything but a compound, not dense, not super table.
    #[must_use]
    pub fn is_compact(&self) -> bool {
        !self.flags.is_empty()
            && (!self.flags.contains("compound") || self.flags.contains("dense") || self.flags.contains("super"))
    }

    /// Its columns: partition key, clustering, then the others by name.
    #[must_use]
    pub fn columns_in_order(&self) -> Vec<&ColumnModel> {
        let mut columns: Vec<&ColumnModel> = self.columns.iter().collect();
        columns.sort_by_key(|column| match column.role {
            ColumnRole::PartitionKey => (0, column.position, ""),
            ColumnRole::Clustering => (1, column.position, ""),
            ColumnRole::Static | ColumnRole::Regular => (2, 0, column.name.as_str()),
        });
        columns
    }
}

/// Options of a table or view as Cassandra 3.11 knows them.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // the names are those of system_schema.tables
pub struct TableOptions {
    pub bloom_filter_fp_chance: Option<f64>,
    pub caching: Option<Options>,
    pub cdc: Option<bool>,
    pub comment: Option<String>,
    pub compaction: Option<Options>,
    pub compression: Option<Options>,
    pub crc_check_chance: Option<f64>,
    pub dclocal_read_repair_chance: Option<f64>,
    pub default_time_to_live: Option<i32>,
    pub gc_grace_seconds: Option<i32>,
    pub max_index_interval: Option<i32>,
    pub memtable_flush_period_in_ms: Option<i32>,
    pub min_index_interval: Option<i32>,
    pub read_repair_chance: Option<f64>,
    pub speculative_retry: Option<String>,
}

/// A secondary index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexModel {
    /// The table that it indexes.
    pub table: String,
    /// Its name.
    pub name: String,
    /// `KEYS`, `COMPOSITES` or `CUSTOM`.
    pub kind: String,
    /// `target` as CQL text, `class_name` of a custom index, and what the class understands.
    pub options: Options,
}

/// A materialized view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewModel {
    /// Columns, options and name, as of a table.
    pub table: TableModel,
    /// The table that it reads.
    pub base: String,
    /// `SELECT *`.
    pub all_columns: bool,
    /// CQL text.
    pub where_clause: String,
}

/// A trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerModel {
    /// The table that it watches.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Java class.
    pub class: String,
}
