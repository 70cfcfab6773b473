//! Reads the rows of `system_schema` of one keyspace into [`crate::schema::model`].
//!
//! Table options are read where servers can't describe them themselves (Cassandra before 4.0).

use std::collections::{BTreeMap, BTreeSet};

use scylla::{DeserializeRow, deserialize::row::DeserializeRow};
use uuid::Uuid;

use super::{
    Cluster,
    errors::{Error, Result},
    ring::Version,
    rows::Question,
};
use crate::schema::{
    is_system,
    model::{
        AggregateModel, ColumnModel, ColumnRole, FunctionModel, IndexModel, KeyspaceModel, Options, TableModel,
        TableOptions, TriggerModel, TypeModel, ViewModel,
    },
};

/// The first release that describes its own schema.
pub(super) const DESCRIBES_SINCE: Version = Version::new(4, 0, 0);

/// Whether a table comes by itself: Scylla keeps a CDC log beside each table that has CDC on.
pub(super) fn is_cdc_log(scylla: bool, table: &str) -> bool {
    scylla && table.ends_with("_scylla_cdc_log")
}

/// Everything that `system_schema` says of a keyspace; nothing where there is none of that name.
///
/// # Errors
/// What reading met.
pub async fn read(cluster: &Cluster, keyspace: &str) -> Result<Option<KeyspaceModel>> {
    let read = Reader { cluster, keyspace };
    let keyspaces: Vec<(bool, Options)> = read.rows("durable_writes, replication", "keyspaces").await?;
    let Some((durable_writes, replication)) = keyspaces.into_iter().next() else { return Ok(None) };
    let mut columns = read.columns().await?;
    let mut options = read.options("tables", "table_name").await?;
    let mut view_options = read.options("views", "view_name").await?;
    let tables: Vec<(String, Uuid, Option<BTreeSet<String>>)> = read.rows("table_name, id, flags", "tables").await?;
    let tables = tables.into_iter().filter(|(name, _, _)| !is_cdc_log(cluster.is_scylla(), name));
    let tables = tables.map(|(name, id, flags)| TableModel {
        id: id.to_string(),
        flags: flags.unwrap_or_default(),
        columns: columns.remove(&name).unwrap_or_default(),
        options: options.remove(&name).unwrap_or_default(),
        name,
    });
    let tables = tables.collect();
    let what = "view_name, id, base_table_name, include_all_columns, where_clause";
    let views: Vec<(String, Uuid, String, bool, String)> = read.rows(what, "views").await?;
    let views = views.into_iter().map(|(name, id, base, all_columns, where_clause)| ViewModel {
        table: TableModel {
            id: id.to_string(),
            flags: BTreeSet::new(),
            columns: columns.remove(&name).unwrap_or_default(),
            options: view_options.remove(&name).unwrap_or_default(),
            name,
        },
        base,
        all_columns,
        where_clause,
    });
    Ok(Some(KeyspaceModel {
        name: keyspace.to_owned(),
        replication,
        durable_writes,
        views: views.collect(),
        tables,
        types: read.types().await?,
        functions: read.functions().await?,
        aggregates: read.aggregates().await?,
        indexes: read.indexes().await?,
        triggers: read.triggers().await?,
    }))
}

/// Names of the keyspaces that are not the server's own, for messages.
///
/// # Errors
/// What reading met.
pub async fn keyspaces(cluster: &Cluster) -> Result<Vec<String>> {
    let question = Question::new("reading the keyspaces", "SELECT keyspace_name FROM system_schema.keyspaces");
    let names: Vec<(String,)> = question.ask(cluster.session(), ()).await?;
    let mut names: Vec<String> = names.into_iter().map(|(name,)| name).filter(|name| !is_system(name)).collect();
    names.sort();
    Ok(names)
}

struct Reader<'a> {
    cluster: &'a Cluster,
    keyspace: &'a str,
}

#[derive(DeserializeRow)]
struct FunctionRow {
    function_name: String,
    argument_names: Option<Vec<String>>,
    argument_types: Option<Vec<String>>,
    body: String,
    called_on_null_input: bool,
    language: String,
    return_type: String,
}

#[derive(DeserializeRow)]
struct OptionsRow {
    name: String,
    bloom_filter_fp_chance: Option<f64>,
    caching: Option<Options>,
    cdc: Option<bool>,
    comment: Option<String>,
    compaction: Option<Options>,
    compression: Option<Options>,
    crc_check_chance: Option<f64>,
    dclocal_read_repair_chance: Option<f64>,
    default_time_to_live: Option<i32>,
    gc_grace_seconds: Option<i32>,
    max_index_interval: Option<i32>,
    memtable_flush_period_in_ms: Option<i32>,
    min_index_interval: Option<i32>,
    read_repair_chance: Option<f64>,
    speculative_retry: Option<String>,
}

impl Reader<'_> {
    async fn rows<R>(&self, columns: &str, table: &str) -> Result<Vec<R>>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let what = format!("reading the {table} of keyspace {}", self.keyspace);
        let cql = format!("SELECT {columns} FROM system_schema.{table} WHERE keyspace_name = ?");
        Question::new(&what, &cql).ask(self.cluster.session(), (self.keyspace,)).await
    }

    async fn columns(&self) -> Result<BTreeMap<String, Vec<ColumnModel>>> {
        let what = "table_name, column_name, kind, position, type, clustering_order";
        let rows: Vec<(String, String, String, i32, String, Option<String>)> = self.rows(what, "columns").await?;
        let mut columns: BTreeMap<String, Vec<ColumnModel>> = BTreeMap::new();
        for (table, name, kind, position, cql_type, order) in rows {
            let role = match kind.as_str() {
                "partition_key" => ColumnRole::PartitionKey,
                "clustering" => ColumnRole::Clustering,
                "static" => ColumnRole::Static,
                // `compact_value` of COMPACT STORAGE too; such tables are refused by their flags
                _ => ColumnRole::Regular,
            };
            let descending = order.is_some_and(|order| order.eq_ignore_ascii_case("desc"));
            columns.entry(table).or_default().push(ColumnModel { name, role, position, cql_type, descending });
        }
        Ok(columns)
    }

    async fn options(&self, table: &str, name: &str) -> Result<BTreeMap<String, TableOptions>> {
        if self.cluster.is_scylla() || self.cluster.versions().0 >= DESCRIBES_SINCE {
            return Ok(BTreeMap::new());
        }
        let columns = format!(
            "{name} AS name, bloom_filter_fp_chance, caching, cdc, comment, compaction, compression, crc_check_chance, \
             dclocal_read_repair_chance, default_time_to_live, gc_grace_seconds, max_index_interval, \
             memtable_flush_period_in_ms, min_index_interval, read_repair_chance, speculative_retry"
        );
        let rows: Vec<OptionsRow> = self.rows(&columns, table).await?;
        let options = rows.into_iter().map(|row| {
            let options = TableOptions {
                bloom_filter_fp_chance: row.bloom_filter_fp_chance,
                caching: row.caching,
                cdc: row.cdc,
                comment: row.comment,
                compaction: row.compaction,
                compression: row.compression,
                crc_check_chance: row.crc_check_chance,
                dclocal_read_repair_chance: row.dclocal_read_repair_chance,
                default_time_to_live: row.default_time_to_live,
                gc_grace_seconds: row.gc_grace_seconds,
                max_index_interval: row.max_index_interval,
                memtable_flush_period_in_ms: row.memtable_flush_period_in_ms,
                min_index_interval: row.min_index_interval,
                read_repair_chance: row.read_repair_chance,
                speculative_retry: row.speculative_retry,
            };
            (row.name, options)
        });
        Ok(options.collect())
    }

    async fn types(&self) -> Result<Vec<TypeModel>> {
        let rows: Vec<(String, Vec<String>, Vec<String>)> =
            self.rows("type_name, field_names, field_types", "types").await?;
        rows.into_iter()
            .map(|(name, fields, types)| {
                if fields.len() != types.len() {
                    let why = format!("type {name} has {} fields of {} types", fields.len(), types.len());
                    return Err(Error::of_answer("reading system_schema.types", why));
                }
                Ok(TypeModel { name, fields: fields.into_iter().zip(types).collect() })
            })
            .collect()
    }

    async fn functions(&self) -> Result<Vec<FunctionModel>> {
        let what = "function_name, argument_names, argument_types, body, called_on_null_input, language, return_type";
        let rows: Vec<FunctionRow> = self.rows(what, "functions").await?;
        let functions = rows.into_iter().map(|row| FunctionModel {
            name: row.function_name,
            argument_names: row.argument_names.unwrap_or_default(),
            argument_types: row.argument_types.unwrap_or_default(),
            body: row.body,
            called_on_null_input: row.called_on_null_input,
            language: row.language,
            return_type: row.return_type,
        });
        Ok(functions.collect())
    }

    async fn aggregates(&self) -> Result<Vec<AggregateModel>> {
        type Row = (String, Option<Vec<String>>, String, String, Option<String>, Option<String>);
        let what = "aggregate_name, argument_types, state_func, state_type, final_func, initcond";
        let rows: Vec<Row> = self.rows(what, "aggregates").await?;
        let aggregates =
            rows.into_iter().map(|(name, types, state_func, state_type, final_func, initcond)| AggregateModel {
                name,
                argument_types: types.unwrap_or_default(),
                state_func,
                state_type,
                final_func,
                initcond,
            });
        Ok(aggregates.collect())
    }

    async fn indexes(&self) -> Result<Vec<IndexModel>> {
        let rows: Vec<(String, String, String, Option<Options>)> =
            self.rows("table_name, index_name, kind, options", "indexes").await?;
        let indexes = rows.into_iter().map(|(table, name, kind, options)| IndexModel {
            table,
            name,
            kind,
            options: options.unwrap_or_default(),
        });
        Ok(indexes.collect())
    }

    async fn triggers(&self) -> Result<Vec<TriggerModel>> {
        let rows: Vec<(String, String, Option<Options>)> =
            self.rows("table_name, trigger_name, options", "triggers").await?;
        let triggers = rows.into_iter().map(|(table, name, options)| TriggerModel {
            table,
            name,
            class: options.and_then(|mut options| options.remove("class")).unwrap_or_default(),
        });
        Ok(triggers.collect())
    }
}
