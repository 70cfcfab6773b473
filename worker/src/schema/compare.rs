//! Is what stands in the target what the backup has? Structure only: names, roles, types; options may differ.

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::v1;

use super::{
    Result,
    generate::without_frozen,
    model::{ColumnModel, ColumnRole, KeyspaceModel, TableModel, TypeModel},
    statement::{Statement, normal_type},
};

/// What stands in a keyspace under the name of an object of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// The same, as far as rows depend on it.
    Equal,
    /// Something else; how it differs, for a person.
    Different(String),
}

/// What stands there for `object`. `expected`: the columns of the backup's tables.
///
/// # Errors
/// `Invalid` where the object's statement can't be read.
pub fn standing(object: &SchemaObject, live: &KeyspaceModel, expected: &[v1::InspectedTable]) -> Result<Standing> {
    let present = |is: bool| if is { Standing::Equal } else { Standing::Absent };
    Ok(match object.kind {
        SchemaKind::Keyspace => Standing::Equal,
        SchemaKind::Role | SchemaKind::Membership | SchemaKind::Grant => Standing::Absent,
        SchemaKind::Type => match live.user_type(&object.name) {
            None => Standing::Absent,
            Some(user_type) => fields_standing(&Statement::parse(&object.cql)?.fields(), user_type),
        },
        SchemaKind::Function => {
            let found = live.functions.iter().map(|f| (&f.name, &f.argument_types));
            present(found.into_iter().any(|(name, types)| is_signature(&object.name, name, types)))
        }
        SchemaKind::Aggregate => {
            let found = live.aggregates.iter().map(|a| (&a.name, &a.argument_types));
            present(found.into_iter().any(|(name, types)| is_signature(&object.name, name, types)))
        }
        SchemaKind::Table => {
            if live.views.iter().any(|view| view.table.name == object.name) {
                return Ok(Standing::Different("it is a materialized view".to_owned()));
            }
            let wanted = expected.iter().find(|table| name_of(table) == object.name);
            match (live.table(&object.name), wanted) {
                (None, _) => Standing::Absent,
                (Some(_), None) => Standing::Equal,
                (Some(table), Some(wanted)) => {
                    table_difference(wanted, table).map_or(Standing::Equal, Standing::Different)
                }
            }
        }
        SchemaKind::Index => match live.indexes.iter().find(|index| index.name == object.name) {
            None => Standing::Absent,
            Some(index) if Some(&index.table) == object.table.as_ref() => Standing::Equal,
            Some(index) => Standing::Different(format!("it is an index of table {}", index.table)),
        },
        SchemaKind::View => match live.views.iter().find(|view| view.table.name == object.name) {
            None if live.table(&object.name).is_some() => Standing::Different("it is a table".to_owned()),
            None => Standing::Absent,
            Some(view) if Some(&view.base) == object.table.as_ref() => Standing::Equal,
            Some(view) => Standing::Different(format!("it is a view of table {}", view.base)),
        },
        SchemaKind::Trigger => {
            let same = |trigger: &super::model::TriggerModel| {
                trigger.name == object.name && Some(&trigger.table) == object.table.as_ref()
            };
            present(live.triggers.iter().any(same))
        }
    })
}

/// Unquoted name of a table of the backup.
fn name_of(table: &v1::InspectedTable) -> &str {
    table.table.as_ref().map_or("", |name| &name.table)
}

fn is_signature(signature: &str, name: &str, types: &[String]) -> bool {
    let key = |text: &str| normal_type(&without_frozen(text));
    key(signature) == key(&format!("{}({})", super::ident::shown(name), types.join(", ")))
}

fn fields_standing(expected: &[(String, String)], live: &TypeModel) -> Standing {
    let key = |fields: &[(String, String)]| -> Vec<(String, String)> {
        fields.iter().map(|(name, cql_type)| (name.clone(), normal_type(cql_type))).collect()
    };
    if key(expected) == key(&live.fields) {
        return Standing::Equal;
    }
    let show = |fields: &[(String, String)]| {
        fields.iter().map(|(name, cql_type)| format!("{name} {cql_type}")).collect::<Vec<_>>().join(", ")
    };
    Standing::Different(format!("its fields are ({}), the backup's ({})", show(&live.fields), show(expected)))
}

/// How a table differs from the backup's, in what rows depend on; nothing where it doesn't.
#[must_use]
pub fn table_difference(expected: &v1::InspectedTable, live: &TableModel) -> Option<String> {
    for column in &expected.columns {
        let Some(found) = live.columns.iter().find(|found| found.name == column.name) else {
            return Some(format!("it has no column {:?}", column.name));
        };
        let role = match found.role {
            ColumnRole::PartitionKey => v1::ColumnKind::PartitionKey,
            ColumnRole::Clustering => v1::ColumnKind::Clustering,
            ColumnRole::Static => v1::ColumnKind::Static,
            ColumnRole::Regular => v1::ColumnKind::Regular,
        };
        if role != column.kind() {
            return Some(format!("its column {:?} has another role", column.name));
        }
        if normal_type(&found.cql_type) != normal_type(&column.r#type) {
            return Some(format!("its column {:?} is {}, the backup's {}", column.name, found.cql_type, column.r#type));
        }
    }
    let known = |found: &&ColumnModel| expected.columns.iter().all(|column| column.name != found.name);
    if let Some(extra) = live.columns.iter().find(known) {
        return Some(format!("it has a column {:?} that the backup has not", extra.name));
    }
    let key = |wanted: ColumnRole| {
        let columns = live.columns_in_order();
        columns
            .into_iter()
            .filter(move |column| column.role == wanted)
            .map(|column| column.name.clone())
            .collect::<Vec<_>>()
    };
    let wanted = |kind: v1::ColumnKind| {
        let columns = expected.columns.iter().filter(move |column| column.kind() == kind);
        columns.map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    let same = key(ColumnRole::PartitionKey) == wanted(v1::ColumnKind::PartitionKey)
        && key(ColumnRole::Clustering) == wanted(v1::ColumnKind::Clustering);
    (!same).then(|| "its key columns stand in another order".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model::{FunctionModel, IndexModel};

    fn live() -> KeyspaceModel {
        let column = |name: &str, role, position, cql_type: &str| ColumnModel {
            name: name.into(),
            role,
            position,
            cql_type: cql_type.into(),
            descending: false,
        };
        KeyspaceModel {
            name: "ks".into(),
            types: vec![TypeModel { name: "addr".into(), fields: vec![("a".into(), "frozen<list<text>>".into())] }],
            functions: vec![FunctionModel {
                name: "f".into(),
                argument_types: vec!["frozen<addr>".into(), "int".into()],
                ..Default::default()
            }],
            tables: vec![TableModel {
                name: "t".into(),
                columns: vec![
                    column("c", ColumnRole::Clustering, 0, "int"),
                    column("k2", ColumnRole::PartitionKey, 1, "int"),
                    column("k1", ColumnRole::PartitionKey, 0, "int"),
                    column("v", ColumnRole::Regular, -1, "text"),
                ],
                ..Default::default()
            }],
            indexes: vec![IndexModel { table: "t".into(), name: "i".into(), ..Default::default() }],
            ..Default::default()
        }
    }

    fn expected() -> v1::InspectedTable {
        let column = |name: &str, kind: v1::ColumnKind, cql_type: &str| v1::Column {
            name: name.into(),
            kind: kind.into(),
            r#type: cql_type.into(),
            reversed: false,
        };
        v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "ks".into(), table: "t".into() }),
            columns: vec![
                column("k1", v1::ColumnKind::PartitionKey, "int"),
                column("k2", v1::ColumnKind::PartitionKey, "int"),
                column("c", v1::ColumnKind::Clustering, "int"),
                column("v", v1::ColumnKind::Regular, "varchar"),
            ],
            ..Default::default()
        }
    }

    fn object(kind: SchemaKind, name: &str, table: Option<&str>, cql: &str) -> SchemaObject {
        SchemaObject { kind, keyspace: "ks".into(), name: name.into(), table: table.map(Into::into), cql: cql.into() }
    }

    #[test]
    fn a_table_of_the_same_columns_is_equal() {
        let table = object(SchemaKind::Table, "t", None, "");
        assert_eq!(standing(&table, &live(), &[expected()]).expect("fine"), Standing::Equal);
        let other = object(SchemaKind::Table, "u", None, "");
        assert_eq!(standing(&other, &live(), &[expected()]).expect("fine"), Standing::Absent);
    }

    #[test]
    fn every_difference_that_rows_depend_on_is_named() {
        let difference = |change: &dyn Fn(&mut v1::InspectedTable)| {
            let mut table = expected();
            change(&mut table);
            table_difference(&table, live().table("t").expect("fine")).expect("fine")
        };
        assert!(difference(&|t| t.columns[3].name = "w".into()).contains("no column \"w\""));
        assert!(difference(&|t| t.columns[3].r#type = "int".into()).contains("is text, the backup's int"));
        assert!(difference(&|t| t.columns[3].kind = v1::ColumnKind::Static.into()).contains("another role"));
        assert!(difference(&|t| t.columns.truncate(3)).contains("\"v\" that the backup has not"));
        assert!(difference(&|t| t.columns.swap(0, 1)).contains("another order"));
    }

    #[test]
    fn types_are_told_apart_by_their_fields_and_functions_by_their_arguments() {
        let user_type = |cql: &str| standing(&object(SchemaKind::Type, "addr", None, cql), &live(), &[]).expect("fine");
        assert_eq!(user_type("CREATE TYPE ks.addr (a frozen<list<varchar>>)"), Standing::Equal);
        assert!(matches!(user_type("CREATE TYPE ks.addr (a int)"), Standing::Different(_)));
        let function =
            |name: &str| standing(&object(SchemaKind::Function, name, None, ""), &live(), &[]).expect("fine");
        assert_eq!(function("f(addr, int)"), Standing::Equal);
        assert_eq!(function("f(int)"), Standing::Absent);
    }

    #[test]
    fn an_index_of_that_name_on_another_table_is_another() {
        let index = |table| standing(&object(SchemaKind::Index, "i", Some(table), ""), &live(), &[]).expect("fine");
        assert_eq!(index("t"), Standing::Equal);
        assert!(matches!(index("u"), Standing::Different(_)));
    }
}
