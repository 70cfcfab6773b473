//! The schema of a keyspace as `system_schema` stores it: raw cells, without what a restore can't and shouldn't keep
//! (ids of tables).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use scylla::client::session::Session;
use scylla::deserialize::row::ColumnIterator;

/// What describes a keyspace, table by table of `system_schema`.
const DESCRIBED_BY: &[&str] =
    &["keyspaces", "types", "functions", "aggregates", "tables", "columns", "indexes", "views", "triggers"];
/// Columns that differ rightly: the name may be another one, and ids are new.
const LEFT_OUT: &[&str] = &["keyspace_name", "id", "base_table_id"];

/// Every object's description by `<table of system_schema> <key bytes>`, each a map of its columns.
pub type Schema = BTreeMap<String, BTreeMap<String, Option<Vec<u8>>>>;

/// Reads the schema of a keyspace.
///
/// # Errors
/// If the server refuses it, or the keyspace is not there.
pub async fn read(session: &Session, keyspace: &str) -> Result<Schema> {
    let mut schema = Schema::new();
    for part in DESCRIBED_BY {
        let query = format!("SELECT * FROM system_schema.{part} WHERE keyspace_name = ?");
        let page = session.query_unpaged(query, (keyspace,)).await.with_context(|| format!("read {part}"))?;
        let page = page.into_rows_result()?;
        let names: Vec<String> = page.column_specs().iter().map(|spec| spec.name().to_owned()).collect();
        for row in page.rows::<ColumnIterator<'_, '_>>()? {
            let mut cells = BTreeMap::new();
            for (name, column) in names.iter().zip(row?) {
                let value = column?.slice.map(|slice| slice.as_slice().to_vec());
                if !LEFT_OUT.contains(&name.as_str()) {
                    cells.insert(name.clone(), value);
                }
            }
            let key = [
                "table_name",
                "view_name",
                "column_name",
                "index_name",
                "type_name",
                "function_name",
                "aggregate_name",
                "argument_types",
            ]
            .iter()
            .filter_map(|name| cells.get(*name).cloned().flatten())
            .map(|value| String::from_utf8_lossy(&value).replace(|c: char| c.is_control(), "."))
            .collect::<Vec<_>>()
            .join("/");
            schema.insert(format!("{part} {key}"), cells);
        }
    }
    ensure!(!schema.is_empty(), "there is no keyspace {keyspace}");
    Ok(schema)
}

/// The differences, for a person; empty if there is none.
pub fn differences(before: &Schema, after: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        match (before.get(key), after.get(key)) {
            (Some(_), None) => found.push(format!("{key} is missing")),
            (None, _) => found.push(format!("{key} is new")),
            (Some(b), Some(a)) => {
                let names: BTreeSet<&String> = b.keys().chain(a.keys()).collect();
                for name in names.into_iter().filter(|name| b.get(*name) != a.get(*name)) {
                    let text = |cell: Option<&Option<Vec<u8>>>| {
                        cell.and_then(Option::as_ref).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                    };
                    found.push(format!("{key}: {name} was {:?} and is {:?}", text(b.get(name)), text(a.get(name))));
                }
            }
        }
    }
    found
}
