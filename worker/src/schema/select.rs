//! The order in which objects can be created, and the objects that chosen tables need.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_archive::schema::{SchemaKind, SchemaObject};

use super::{
    Result, invalid,
    model::{KeyspaceModel, TypeModel},
    statement::{Statement, types_in},
};

/// The objects by kind (keyspace, types, functions, aggregates, tables, indexes, …), types behind the types that
/// they name; otherwise as they came.
///
/// # Errors
/// `Invalid` for types that name each other in a circle, which no server creates.
pub fn in_order(objects: Vec<SchemaObject>) -> Result<Vec<SchemaObject>> {
    let (types, mut others): (Vec<_>, Vec<_>) = objects.into_iter().partition(|o| o.kind == SchemaKind::Type);
    others.sort_by_key(|object| object.kind);
    let first_after = others.iter().position(|object| object.kind > SchemaKind::Type).unwrap_or(others.len());
    others.splice(first_after..first_after, types_in_order(types)?);
    Ok(others)
}

fn types_in_order(types: Vec<SchemaObject>) -> Result<Vec<SchemaObject>> {
    let names: BTreeSet<String> = types.iter().map(|object| object.name.clone()).collect();
    let mut waiting = Vec::new();
    for object in types {
        let fields = Statement::parse(&object.cql)?.fields();
        let needs: BTreeSet<String> =
            fields.iter().flat_map(|(_, t)| types_in(t, |name| names.contains(name))).collect();
        waiting.push((object, needs));
    }
    let (mut ordered, mut created) = (Vec::new(), BTreeSet::new());
    while !waiting.is_empty() {
        let (ready, blocked): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, needs)| needs.is_subset(&created));
        if ready.is_empty() {
            let circle: Vec<String> = blocked.into_iter().map(|(object, _)| object.name).collect();
            return Err(invalid(format!(
                "types {} name each other in a circle; the schema is damaged",
                circle.join(", ")
            )));
        }
        created.extend(ready.iter().map(|(object, _)| object.name.clone()));
        ordered.extend(ready.into_iter().map(|(object, _)| object));
        waiting = blocked;
    }
    Ok(ordered)
}

/// The objects that `tables` need, of all of a keyspace's: the keyspace, the types that they name (and those that these name),
/// the tables, their indexes, views, triggers and grants; functions and aggregates only where a column is masked by one. Without
/// a list of tables: all.
///
/// # Errors
/// `NotFound`, naming the tables that are not there and those that are.
pub fn of_tables(
    objects: Vec<SchemaObject>,
    model: &KeyspaceModel,
    tables: Option<&[String]>,
) -> Result<Vec<SchemaObject>> {
    let Some(tables) = tables else { return Ok(objects) };
    let known: BTreeSet<&str> = model.tables.iter().map(|table| table.name.as_str()).collect();
    let missing: Vec<&str> = tables.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    if !missing.is_empty() {
        let known: Vec<&str> = known.into_iter().collect();
        return Err(ringvault_proto::error::Failure::new(
            ringvault_proto::error::ErrorKind::NotFound,
            format!("keyspace {:?} has no table {}; it has: {}", model.name, missing.join(", "), known.join(", ")),
        ));
    }
    let chosen = |name: &str| tables.iter().any(|table| table == name);
    let types = needed_types(model, tables);
    let masked = objects.iter().any(|object| {
        object.kind == SchemaKind::Table
            && chosen(&object.name)
            && Statement::parse(&object.cql).is_ok_and(|statement| statement.has_masks())
    });
    let keep = |object: &SchemaObject| match object.kind {
        SchemaKind::Keyspace | SchemaKind::Role | SchemaKind::Membership => true,
        SchemaKind::Type => types.contains(&object.name) || masked,
        SchemaKind::Function | SchemaKind::Aggregate => masked,
        SchemaKind::Table => chosen(&object.name),
        SchemaKind::Index | SchemaKind::View | SchemaKind::Trigger | SchemaKind::Grant => {
            object.table.as_deref().is_some_and(chosen)
        }
    };
    Ok(objects.into_iter().filter(keep).collect())
}

/// The types that the columns of `tables` name, directly or through other types.
#[must_use]
pub fn needed_types(model: &KeyspaceModel, tables: &[String]) -> BTreeSet<String> {
    let by_name: BTreeMap<&str, &TypeModel> = model.types.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut open: Vec<String> = tables
        .iter()
        .filter_map(|name| model.table(name))
        .flat_map(|table| &table.columns)
        .flat_map(|column| types_in(&column.cql_type, |name| by_name.contains_key(name)))
        .collect();
    let mut needed = BTreeSet::new();
    while let Some(name) = open.pop() {
        if needed.contains(&name) {
            continue;
        }
        let fields = by_name.get(name.as_str()).map_or(&[][..], |user_type| &user_type.fields);
        open.extend(fields.iter().flat_map(|(_, t)| types_in(t, |name| by_name.contains_key(name))));
        needed.insert(name);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model::{ColumnModel, ColumnRole, TableModel};

    fn object(kind: SchemaKind, name: &str, table: Option<&str>, cql: &str) -> SchemaObject {
        SchemaObject { kind, keyspace: "ks".into(), name: name.into(), table: table.map(Into::into), cql: cql.into() }
    }

    fn names(objects: &[SchemaObject]) -> Vec<&str> {
        objects.iter().map(|object| object.name.as_str()).collect()
    }

    #[test]
    fn objects_come_in_the_order_of_creation_and_types_behind_their_parts() {
        let objects = vec![
            object(SchemaKind::View, "v", Some("t"), ""),
            object(SchemaKind::Table, "t", None, ""),
            object(SchemaKind::Type, "a", None, "CREATE TYPE ks.a (c int, b frozen<\"C\">, d list<frozen<b>>)"),
            object(SchemaKind::Index, "i", Some("t"), ""),
            object(SchemaKind::Type, "b", None, "CREATE TYPE ks.b (a int, c frozen<\"C\">)"),
            object(SchemaKind::Keyspace, "ks", None, ""),
            object(SchemaKind::Aggregate, "g", None, ""),
            object(SchemaKind::Type, "C", None, "CREATE TYPE ks.\"C\" (a int)"),
            object(SchemaKind::Function, "f", None, ""),
        ];
        assert_eq!(names(&in_order(objects).expect("fine")), ["ks", "C", "b", "a", "f", "g", "t", "i", "v"]);
    }

    #[test]
    fn types_in_a_circle_are_refused() {
        let objects = vec![
            object(SchemaKind::Type, "a", None, "CREATE TYPE ks.a (x frozen<b>)"),
            object(SchemaKind::Type, "b", None, "CREATE TYPE ks.b (x frozen<a>)"),
        ];
        assert!(in_order(objects).expect_err("refused").message.contains("circle"));
    }

    fn model() -> KeyspaceModel {
        let column = |cql_type: &str| ColumnModel {
            name: "c".into(),
            role: ColumnRole::Regular,
            position: -1,
            cql_type: cql_type.into(),
            descending: false,
        };
        let table = |name: &str, cql_type: &str| TableModel {
            name: name.into(),
            columns: vec![column(cql_type)],
            ..Default::default()
        };
        let user_type =
            |name: &str, field: &str| TypeModel { name: name.into(), fields: vec![("f".into(), field.into())] };
        KeyspaceModel {
            name: "ks".into(),
            tables: vec![table("t", "list<frozen<\"Outer\">>"), table("u", "int")],
            types: vec![user_type("Outer", "frozen<inner>"), user_type("inner", "int"), user_type("other", "int")],
            ..Default::default()
        }
    }

    #[test]
    fn chosen_tables_bring_their_types_and_what_hangs_on_them() {
        let objects = vec![
            object(SchemaKind::Keyspace, "ks", None, ""),
            object(SchemaKind::Type, "inner", None, ""),
            object(SchemaKind::Type, "Outer", None, ""),
            object(SchemaKind::Type, "other", None, ""),
            object(SchemaKind::Function, "f", None, ""),
            object(SchemaKind::Table, "t", None, "CREATE TABLE ks.t (k int PRIMARY KEY)"),
            object(SchemaKind::Table, "u", None, "CREATE TABLE ks.u (k int PRIMARY KEY)"),
            object(SchemaKind::Index, "i", Some("t"), ""),
            object(SchemaKind::Index, "j", Some("u"), ""),
        ];
        let chosen = of_tables(objects.clone(), &model(), Some(&["t".into()])).expect("fine");
        assert_eq!(names(&chosen), ["ks", "inner", "Outer", "t", "i"]);
        assert_eq!(of_tables(objects, &model(), None).expect("fine").len(), 9);
    }

    #[test]
    fn a_table_that_is_not_there_is_named_with_those_that_are() {
        let failure = of_tables(Vec::new(), &model(), Some(&["t".into(), "x".into()])).expect_err("refused");
        assert_eq!(failure.message, "keyspace \"ks\" has no table x; it has: t, u");
    }
}
