//! What may stand in the target already, by what the restore says of it. Pure.

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::v1::{self, IfExists};

use super::{Live, listed};
use crate::{
    cql::errors::{Error, Result},
    schema::{
        compare::{self, Columns, Standing},
        model::KeyspaceModel,
        plan::Plan,
    },
};

/// Whether whole keyspaces are dropped.
pub(super) fn drops_keyspaces(work: &v1::ApplySchema) -> bool {
    work.drop && work.whole
}

/// Whether the work says what becomes of tables that stand there.
fn takes_standing_tables(work: &v1::ApplySchema) -> bool {
    work.data_only
        || match work.if_exists() {
            IfExists::Unspecified | IfExists::Fail => false,
            IfExists::Append | IfExists::Truncate | IfExists::OnlyMissing => true,
        }
}

/// Names of the chosen tables of a keyspace.
pub(super) fn tables_of<'a>(plan: &'a Plan, keyspace: &'a str) -> impl Iterator<Item = &'a str> {
    plan.tables_of(keyspace).filter_map(|table| table.table.as_ref()).map(|name| name.table.as_str())
}

/// Refuses what stands in the way in one keyspace; warns of what a drop takes along.
pub(super) fn standing(
    work: &v1::ApplySchema,
    plan: &Plan,
    keyspace: &str,
    live: Option<&KeyspaceModel>,
) -> Result<Vec<String>> {
    if work.data_only {
        check_present(plan, keyspace, live)?;
    }
    let Some(live) = live else { return Ok(Vec::new()) };
    if drops_keyspaces(work) {
        return Ok(lost(plan, keyspace, live));
    }
    check_columns(work, plan, live)?;
    let gone = |table: &str| work.drop && tables_of(plan, keyspace).any(|name| name == table);
    let mut in_the_way = Vec::new();
    for object in plan.of(keyspace).filter(|_| !work.data_only) {
        if is_dropped_with_its_table(object, live, &gone) {
            continue;
        }
        match (object.kind, compare::standing(object, live, &plan.tables)?) {
            (_, Standing::Absent) | (SchemaKind::Keyspace, _) => {}
            (SchemaKind::Table, _) if takes_standing_tables(work) => {}
            (SchemaKind::View, Standing::Equal) if takes_standing_tables(work) => {}
            (SchemaKind::Table | SchemaKind::View, _) if !takes_standing_tables(work) => {
                in_the_way.push(object.name.clone());
            }
            (_, Standing::Equal) => {}
            (_, Standing::Different(how)) => return Err(differs(object, &how)),
        }
    }
    if in_the_way.is_empty() {
        return Ok(Vec::new());
    }
    Err(Error::conflict(format!(
        "keyspace {keyspace} already has {}; restore with --drop to replace them, with --if-exists to keep them, under other names \
         with --keyspace-as or --table-as, or choose other tables with --tables",
        in_the_way.join(", ")
    )))
}

/// Whether what stands under the object's name goes with a table that is dropped.
fn is_dropped_with_its_table(object: &SchemaObject, live: &KeyspaceModel, gone: &dyn Fn(&str) -> bool) -> bool {
    let name = &object.name;
    match object.kind {
        SchemaKind::Table => gone(name) && live.views.iter().all(|view| view.table.name != *name),
        SchemaKind::Index => live.indexes.iter().any(|index| index.name == *name && gone(&index.table)),
        SchemaKind::View => live.views.iter().any(|view| view.table.name == *name && gone(&view.base)),
        SchemaKind::Trigger => object.table.as_deref().is_some_and(gone),
        SchemaKind::Keyspace
        | SchemaKind::Type
        | SchemaKind::Function
        | SchemaKind::Aggregate
        | SchemaKind::Role
        | SchemaKind::Membership
        | SchemaKind::Grant => false,
    }
}

/// Tables that a dropped keyspace takes along.
fn lost(plan: &Plan, keyspace: &str, live: &KeyspaceModel) -> Vec<String> {
    let in_backup = |name: &str| plan.of(keyspace).any(|o| o.kind == SchemaKind::Table && o.name == name);
    let lost: Vec<&str> = live.tables.iter().map(|t| t.name.as_str()).filter(|name| !in_backup(name)).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let lost = lost.join(", ");
    vec![format!("dropping keyspace {keyspace} takes tables along that the backup does not hold: {lost}")]
}

/// With rows alone, every table must stand.
fn check_present(plan: &Plan, keyspace: &str, live: Option<&KeyspaceModel>) -> Result<()> {
    let stands = |table: &&v1::InspectedTable| {
        table.table.as_ref().is_some_and(|name| live.is_some_and(|live| live.table(&name.table).is_some()))
    };
    let missing = listed(plan.tables_of(keyspace).filter(|table| !stands(table)));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::not_found(format!(
        "the target has no table {missing}; restore without --data-only to create what is missing"
    )))
}

/// Tables that stand there and stay must take the backup's rows.
fn check_columns(work: &v1::ApplySchema, plan: &Plan, live: &KeyspaceModel) -> Result<()> {
    for table in plan.tables_of(&live.name).filter(|_| takes_standing_tables(work) && !work.drop) {
        let name = table.table.as_ref().map_or("", |name| &name.table);
        let Some(found) = live.table(name) else { continue };
        if let Some(how) = compare::table_difference(table, found, Columns::More) {
            return Err(Error::conflict(format!(
                "table {}.{name} stands in the target and can't take the backup's rows: {how}; alter it, or restore to another name \
                 with --table-as",
                live.name
            )));
        }
    }
    Ok(())
}

/// Before rows are written, the tables must stand there with the backup's columns, or rows would go wrong.
pub(super) fn check_tables(work: &v1::ApplySchema, plan: &Plan, live: &Live) -> Result<()> {
    let creates = !work.data_only;
    for table in &plan.tables {
        let name = table.table.clone().unwrap_or_default();
        let found = live.get(&name.keyspace).and_then(|live| live.table(&name.table));
        let columns = if takes_standing_tables(work) { Columns::More } else { Columns::Same };
        let how = match found {
            None if creates && work.if_exists() == IfExists::Truncate => None, // asked before it is created, too
            None => Some("it is not there".to_owned()),
            Some(found) => compare::table_difference(table, found, columns),
        };
        if let Some(how) = how {
            return Err(Error::conflict(format!(
                "table {}.{} of the target can't take the backup's rows: {how}",
                name.keyspace, name.table
            )));
        }
    }
    Ok(())
}

/// Something else stands under the object's name.
pub(super) fn differs(object: &SchemaObject, how: &str) -> Error {
    Error::conflict(format!(
        "{} {}.{} stands in the target and differs: {how}; drop it, restore with --drop, or to another keyspace with --keyspace-as",
        noun(object.kind),
        object.keyspace,
        object.name
    ))
}

pub(super) fn noun(kind: SchemaKind) -> &'static str {
    match kind {
        SchemaKind::Keyspace => "keyspace",
        SchemaKind::Type => "type",
        SchemaKind::Function => "function",
        SchemaKind::Aggregate => "aggregate",
        SchemaKind::Table => "table",
        SchemaKind::Index => "index",
        SchemaKind::View => "view",
        SchemaKind::Trigger => "trigger",
        SchemaKind::Role => "role",
        SchemaKind::Membership => "membership",
        SchemaKind::Grant => "grant",
    }
}
