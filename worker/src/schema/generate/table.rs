//! CREATE TABLE and CREATE MATERIALIZED VIEW.

use crate::schema::{
    ident::{literal, map_literal, shown},
    model::{ColumnModel, ColumnRole, TableModel, TableOptions, ViewModel},
};

pub(super) fn create_table(keyspace: &str, table: &TableModel) -> String {
    let columns = table.columns_in_order();
    let mut lines: Vec<String> = columns
        .iter()
        .map(|column| {
            let role = if column.role == ColumnRole::Static { " static" } else { "" };
            format!("    {} {}{role}", shown(&column.name), column.cql_type)
        })
        .collect();
    lines.push(format!("    PRIMARY KEY {}", primary_key(&columns)));
    format!(
        "CREATE TABLE {}.{} (\n{}\n) WITH {}",
        shown(keyspace),
        shown(&table.name),
        lines.join(",\n"),
        clauses(&columns, &table.options).join("\n    AND ")
    )
}

pub(in crate::schema) fn create_view(keyspace: &str, view: &ViewModel) -> String {
    let columns = view.table.columns_in_order();
    let selected = if view.all_columns { "*".to_owned() } else { names(&columns) };
    format!(
        "CREATE MATERIALIZED VIEW {ks}.{} AS\n    SELECT {selected}\n    FROM {ks}.{}\n    WHERE {}\n    PRIMARY KEY {}\n    WITH {}",
        shown(&view.table.name),
        shown(&view.base),
        view.where_clause,
        primary_key(&columns),
        clauses(&columns, &view.table.options).join("\n    AND "),
        ks = shown(keyspace),
    )
}

fn names(columns: &[&ColumnModel]) -> String {
    columns.iter().map(|column| shown(&column.name)).collect::<Vec<_>>().join(", ")
}

fn of_role<'a>(columns: &[&'a ColumnModel], role: ColumnRole) -> Vec<&'a ColumnModel> {
    columns.iter().copied().filter(|column| column.role == role).collect()
}

/// `((a, b), c)`.
fn primary_key(columns: &[&ColumnModel]) -> String {
    let partition = of_role(columns, ColumnRole::PartitionKey);
    let clustering = of_role(columns, ColumnRole::Clustering);
    let partition_key = if partition.len() == 1 { names(&partition) } else { format!("({})", names(&partition)) };
    if clustering.is_empty() {
        format!("({partition_key})")
    } else {
        format!("({partition_key}, {})", names(&clustering))
    }
}

/// What follows WITH, each without its AND.
fn clauses(columns: &[&ColumnModel], options: &TableOptions) -> Vec<String> {
    let clustering = of_role(columns, ColumnRole::Clustering);
    let mut clauses = Vec::new();
    if !clustering.is_empty() {
        let order: Vec<String> = clustering
            .iter()
            .map(|column| format!("{} {}", shown(&column.name), if column.descending { "DESC" } else { "ASC" }))
            .collect();
        clauses.push(format!("CLUSTERING ORDER BY ({})", order.join(", ")));
    }
    let mut set = |name: &str, value: Option<String>| clauses.extend(value.map(|value| format!("{name} = {value}")));
    let float = |value: Option<f64>| value.map(|value| format!("{value:?}"));
    let integer = |value: Option<i32>| value.map(|value| value.to_string());
    let text = |value: &Option<String>| value.as_deref().map(literal);
    set("bloom_filter_fp_chance", float(options.bloom_filter_fp_chance));
    set("caching", options.caching.as_ref().map(map_literal));
    set("cdc", options.cdc.filter(|on| *on).map(|on| on.to_string()));
    set("comment", text(&options.comment).or_else(|| Some("''".to_owned())));
    set("compaction", options.compaction.as_ref().map(map_literal));
    set("compression", options.compression.as_ref().map(map_literal));
    set("crc_check_chance", float(options.crc_check_chance));
    set("dclocal_read_repair_chance", float(options.dclocal_read_repair_chance));
    set("default_time_to_live", integer(options.default_time_to_live));
    set("gc_grace_seconds", integer(options.gc_grace_seconds));
    set("max_index_interval", integer(options.max_index_interval));
    set("memtable_flush_period_in_ms", integer(options.memtable_flush_period_in_ms));
    set("min_index_interval", integer(options.min_index_interval));
    set("read_repair_chance", float(options.read_repair_chance));
    set("speculative_retry", text(&options.speculative_retry));
    clauses
}
