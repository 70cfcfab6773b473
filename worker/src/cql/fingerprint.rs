//! Has a table changed: its columns and types as the server defines them now, and a fingerprint over them.
//!
//! The fingerprint is equal exactly where rows mean the same: the table's id, its columns with kind, order and type, and
//! the user-defined types that they use. Options, comments and indexes are not part of it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use ringvault_archive::digest::Identity;
use ringvault_proto::v1;
use uuid::Uuid;

use super::{Cluster, errors::Result, quoted, rows::Question};

type ColumnRow = (String, String, String, i32, String, String);
type TableRow = (String, Uuid, Option<Vec<String>>, Option<i32>);
type TypeRow = (String, Vec<String>, Vec<String>);

/// A table as `system_schema` defines it.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) id: Uuid,
    pub(crate) flags: Vec<String>,
    pub(crate) default_ttl_s: u32,
    /// In the order of a row line.
    pub(crate) columns: Vec<v1::Column>,
    /// Those that the columns use, also through each other, by name.
    pub(crate) types: Vec<v1::UserType>,
}

/// The fingerprint of a table now; nothing where it is gone.
///
/// # Errors
/// What reading `system_schema` met.
pub async fn fingerprint(cluster: &Cluster, keyspace: &str, table: &str) -> Result<Option<String>> {
    let definitions = definitions(cluster, keyspace, Some(table)).await?;
    Ok(definitions.get(table).map(Definition::fingerprint))
}

/// Definitions of one table, or of all tables of a keyspace, by name; views are not tables.
pub(crate) async fn definitions(
    cluster: &Cluster,
    keyspace: &str,
    table: Option<&str>,
) -> Result<BTreeMap<String, Definition>> {
    let what = format!("reading the tables of keyspace {keyspace}");
    let of_table = if table.is_some() { " AND table_name = ?" } else { "" };
    let values: Vec<&str> = [Some(keyspace), table].into_iter().flatten().collect();
    let select = |list: &str, from: &str, of_table: &str| {
        format!("SELECT {list} FROM system_schema.{from} WHERE keyspace_name = ?{of_table}")
    };
    let tables_cql = select("table_name, id, flags, default_time_to_live", "tables", of_table);
    let columns_list = "table_name, column_name, kind, position, type, clustering_order";
    let columns_cql = select(columns_list, "columns", of_table);
    let types_cql = select("type_name, field_names, field_types", "types", "");
    let (tables_question, columns_question, types_question) =
        (Question::new(&what, &tables_cql), Question::new(&what, &columns_cql), Question::new(&what, &types_cql));
    let (tables, columns, types) = futures::try_join!(
        tables_question.ask::<TableRow>(cluster.session(), &values),
        columns_question.ask::<ColumnRow>(cluster.session(), &values),
        types_question.ask::<TypeRow>(cluster.session(), (keyspace,)),
    )?;
    Ok(assembled(tables, columns, types))
}

fn assembled(tables: Vec<TableRow>, columns: Vec<ColumnRow>, types: Vec<TypeRow>) -> BTreeMap<String, Definition> {
    let types: HashMap<String, v1::UserType> = types.into_iter().map(user_type).collect();
    let mut by_table: HashMap<String, Vec<(i32, v1::Column)>> = HashMap::new();
    for (table, name, kind, position, r#type, order) in columns {
        let kind = match kind.as_str() {
            "partition_key" => v1::ColumnKind::PartitionKey,
            "clustering" => v1::ColumnKind::Clustering,
            "static" => v1::ColumnKind::Static,
            "regular" => v1::ColumnKind::Regular,
            _ => v1::ColumnKind::Unspecified, // refused with the layout
        };
        let reversed = kind == v1::ColumnKind::Clustering && order.eq_ignore_ascii_case("desc");
        let column = v1::Column { name, kind: kind.into(), r#type, reversed };
        by_table.entry(table).or_default().push((position, column));
    }
    let define = |(table, id, flags, default_ttl): TableRow| {
        let mut columns = by_table.remove(&table).unwrap_or_default();
        // key columns by position, the others (position -1) by name
        columns.sort_by(|(a_at, a), (b_at, b)| (a.kind, a_at, &a.name).cmp(&(b.kind, b_at, &b.name)));
        let columns: Vec<v1::Column> = columns.into_iter().map(|(_, column)| column).collect();
        let definition = Definition {
            id,
            flags: flags.unwrap_or_default(),
            default_ttl_s: default_ttl.and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or(0),
            types: used_types(&columns, &types),
            columns,
        };
        (table, definition)
    };
    tables.into_iter().map(define).collect()
}

fn user_type((name, field_names, field_types): TypeRow) -> (String, v1::UserType) {
    let field = |(name, r#type)| v1::Column { name, r#type, ..v1::Column::default() };
    let fields = field_names.into_iter().zip(field_types).map(field).collect();
    (name.clone(), v1::UserType { name, fields })
}

fn used_types(columns: &[v1::Column], types: &HashMap<String, v1::UserType>) -> Vec<v1::UserType> {
    let mut used: BTreeMap<&str, &v1::UserType> = BTreeMap::new();
    let mut texts: Vec<&str> = columns.iter().map(|column| column.r#type.as_str()).collect();
    while let Some(text) = texts.pop() {
        for name in type_names(text) {
            if let Some((name, found)) = types.get_key_value(&name)
                && used.insert(name, found).is_none()
            {
                texts.extend(found.fields.iter().map(|field| field.r#type.as_str()));
            }
        }
    }
    used.into_values().cloned().collect()
}

/// Every name in the text of a type, unquoted: `frozen<map<text, "My Type">>` has `frozen`, `map`, `text`, `My Type`.
fn type_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '"' || c.is_alphanumeric() || c == '_') {
        rest = &rest[start..];
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            while let Some((part, behind)) = quoted.split_once('"') {
                name.push_str(part);
                quoted = behind;
                let Some(doubled) = quoted.strip_prefix('"') else { break };
                name.push('"');
                quoted = doubled;
            }
            names.push(name);
            rest = quoted;
        } else {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            names.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    names
}

impl Definition {
    /// Equal exactly where rows mean the same.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = format!("table {}\n", self.id);
        for column in &self.columns {
            let order = if column.reversed { " desc" } else { "" };
            let kind = column.kind().as_str_name();
            let _ = writeln!(text, "column {} {kind}{order} {}", quoted(&column.name), column.r#type);
        }
        for user_type in &self.types {
            let _ = writeln!(text, "type {}", quoted(&user_type.name));
            for field in &user_type.fields {
                let _ = writeln!(text, "field {} {}", quoted(&field.name), field.r#type);
            }
        }
        Identity::of(text.as_bytes()).to_string()
    }

    /// A table that Thrift or COMPACT STORAGE made: its rows are not what its columns say.
    pub(crate) fn is_compact(&self) -> bool {
        let has = |flag: &str| self.flags.iter().any(|known| known == flag);
        has("dense") || has("super") || !has("compound")
    }

    pub(crate) fn is_counter(&self) -> bool {
        self.columns.iter().any(|column| column.r#type == "counter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn column(name: &str, kind: &str, position: i32, r#type: &str) -> ColumnRow {
        (text("t"), text(name), text(kind), position, text(r#type), text("none"))
    }

    fn definition(columns: Vec<ColumnRow>, types: Vec<TypeRow>) -> Definition {
        let table = (text("t"), Uuid::nil(), Some(vec![text("compound")]), Some(60));
        assembled(vec![table], columns, types).remove("t").expect("the table")
    }

    #[test]
    fn columns_stand_in_the_order_of_a_row_line() {
        let columns = vec![
            column("a", "regular", -1, "text"),
            column("k2", "partition_key", 1, "int"),
            column("z", "static", -1, "int"),
            column("k1", "partition_key", 0, "int"),
            column("c", "clustering", 0, "int"),
            column("A", "regular", -1, "int"),
        ];
        let names: Vec<String> = definition(columns, vec![]).columns.into_iter().map(|column| column.name).collect();
        assert_eq!(names, ["k1", "k2", "c", "z", "A", "a"]);
    }

    #[test]
    fn types_are_found_through_each_other_and_by_quoted_names() {
        let types = vec![
            (text("My \"Type\""), vec![text("f")], vec![text("frozen<inner>")]),
            (text("inner"), vec![text("x")], vec![text("int")]),
            (text("other"), vec![], vec![]),
        ];
        let columns = vec![column("k", "partition_key", 0, "frozen<map<text, frozen<\"My \"\"Type\"\"\">>>")];
        let names: Vec<String> = definition(columns, types).types.into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["My \"Type\"", "inner"]);
    }

    #[test]
    fn a_fingerprint_follows_what_rows_mean() {
        let key = || column("k", "partition_key", 0, "int");
        let plain = definition(vec![key(), column("v", "regular", -1, "u")], vec![(text("u"), vec![], vec![])]);
        let mut optioned = plain.clone();
        optioned.default_ttl_s = 7;
        assert_eq!(plain.fingerprint(), optioned.fingerprint());
        let types = vec![(text("u"), vec![text("f")], vec![text("int")])];
        let grown = definition(vec![key(), column("v", "regular", -1, "u")], types);
        assert_ne!(plain.fingerprint(), grown.fingerprint());
        let other_id = Definition { id: Uuid::from_u128(1), ..plain.clone() };
        assert_ne!(plain.fingerprint(), other_id.fingerprint());
    }

    #[test]
    fn compact_tables_are_told_by_their_flags() {
        let plain = definition(vec![], vec![]);
        assert!(!plain.is_compact());
        for flags in [vec![], vec![text("dense")], vec![text("compound"), text("dense")], vec![text("super")]] {
            assert!(Definition { flags, ..plain.clone() }.is_compact());
        }
    }
}
