//! What a restore brings to a target: the objects of a backup's schema that are meant, under the names and with the options that
//! they have there. Pure; everything behind it speaks of the target only.

use std::collections::BTreeSet;

use ringvault_archive::schema::{SchemaDocument, SchemaKind, SchemaObject};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, IfExists},
};

use super::{
    Result, adapt,
    features::Target,
    invalid, is_system,
    model::{ColumnModel, ColumnRole, KeyspaceModel, TableModel, TypeModel},
    rename::{self, Names},
    replication, select,
    statement::Statement,
};

/// Begin of the name of every keyspace that a rehearsal makes and drops.
pub const REHEARSAL_PREFIX: &str = "rv_rehearsal_";
/// Longest name of a keyspace or table.
const NAME_MAX: usize = 48;

/// What a restore brings to a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Names in the target.
    pub keyspaces: Vec<String>,
    /// In restore order, as the target takes them.
    pub objects: Vec<SchemaObject>,
    /// The chosen tables with the backup's columns, by their names in the target.
    pub tables: Vec<v1::InspectedTable>,
    /// Tables that are not called as in the backup, by their names in the target.
    pub renamed: BTreeSet<String>,
    /// What was changed for the target, for a person.
    pub changes: Vec<String>,
}

impl Plan {
    /// Works out what a restore brings to a target.
    ///
    /// # Errors
    /// `Invalid` or `NotFound` for wishes that contradict each other, the backup or the target.
    pub fn new(work: &v1::ApplySchema, document: &SchemaDocument, target: &Target) -> Result<Self> {
        check_wishes(work, document)?;
        let mut objects = Vec::new();
        for keyspace in &work.keyspaces {
            objects.extend(chosen(work, document, keyspace)?);
        }
        check_names(work, &objects)?;
        let mut plan = Self {
            keyspaces: work.keyspaces.iter().map(|name| names_of(work, name).keyspace_as.to_owned()).collect(),
            renamed: work.table_as.values().cloned().collect(),
            ..Self::default()
        };
        if work.with_roles {
            objects.extend(document.objects.iter().filter(|object| object.kind.is_global()).cloned());
        }
        for object in &objects {
            let object = rename::renamed(object, &names_of(work, &object.keyspace))?;
            let object = replication::placed(object, work)?;
            let adapted = adapt::for_target(&object, target)?;
            plan.changes.extend(adapted.changes);
            plan.objects.extend(adapted.cql.map(|cql| SchemaObject { cql, ..object }));
        }
        replication::check_used(work, &objects)?;
        plan.objects.sort_by_key(|object| object.kind);
        for table in &work.expected {
            let name = table.table.clone().unwrap_or_default();
            let names = names_of(work, &name.keyspace);
            let name = v1::TableName { keyspace: names.keyspace_as.to_owned(), table: names.table(&name.table) };
            plan.tables.push(v1::InspectedTable { table: Some(name), ..table.clone() });
        }
        Ok(plan)
    }

    /// The objects of a keyspace.
    pub fn of<'a>(&'a self, keyspace: &'a str) -> impl Iterator<Item = &'a SchemaObject> {
        self.objects.iter().filter(move |object| object.keyspace == keyspace)
    }

    /// The chosen tables of a keyspace.
    pub fn tables_of<'a>(&'a self, keyspace: &'a str) -> impl Iterator<Item = &'a v1::InspectedTable> {
        self.tables.iter().filter(move |table| table.table.as_ref().is_some_and(|name| name.keyspace == keyspace))
    }
}

fn names_of<'a>(work: &'a v1::ApplySchema, keyspace: &'a str) -> Names<'a> {
    let keyspace_as = if work.keyspace_as.is_empty() { keyspace } else { &work.keyspace_as };
    Names { keyspace, keyspace_as, tables: &work.table_as }
}

fn check_wishes(work: &v1::ApplySchema, document: &SchemaDocument) -> Result<()> {
    for keyspace in &work.keyspaces {
        if !document.keyspaces.contains(keyspace) {
            let held = document.keyspaces.join(", ");
            return Err(not_found(format!("the backup holds no keyspace {keyspace}; it holds {held}")));
        }
    }
    if work.keyspaces.is_empty() {
        return Err(invalid("the restore names no keyspace; name one of the backup's"));
    }
    let contradictions = [
        (work.schema_only && work.data_only, "--schema-only and --data-only exclude each other"),
        (work.drop && work.data_only, "--drop and --data-only exclude each other: the tables must stand"),
        (
            work.with_roles && work.data_only,
            "--with-roles and --data-only exclude each other: roles are part of the schema",
        ),
        (
            work.schema_only && work.if_exists() == IfExists::Truncate,
            "--schema-only and --if-exists truncate exclude each other: tables would be emptied and not filled",
        ),
        (
            !work.keyspace_as.is_empty() && work.keyspaces.len() > 1,
            "--keyspace-as gives one keyspace another name; restore the keyspaces one by one",
        ),
        (
            !work.table_as.is_empty() && work.keyspaces.len() > 1,
            "--table-as renames tables of one keyspace; restore the keyspaces one by one",
        ),
        (
            !work.replication.is_empty() && !work.data_center_as.is_empty(),
            "--replication and --map-dc exclude each other: a replication that you give names its own data centres",
        ),
        (
            !work.replication.is_empty() && !work.replication.contains_key("class"),
            "--replication names no class; write for example {'class': 'NetworkTopologyStrategy', 'dc1': 3}",
        ),
        (
            work.with_roles && !document.objects.iter().any(|object| object.kind >= SchemaKind::Role),
            "the backup holds no roles and no grants; take it with --with-roles, or restore without",
        ),
    ];
    if let Some((_, message)) = contradictions.iter().find(|(wrong, _)| *wrong) {
        return Err(invalid(*message));
    }
    let counters: Vec<String> = work.expected.iter().filter(|table| table.counter).map(shown).collect();
    if work.if_exists() == IfExists::Append && !counters.is_empty() {
        return Err(invalid(format!(
            "counters can't be appended, since adding is not repeatable: {}; leave them out with --tables, or use --if-exists truncate",
            counters.join(", ")
        )));
    }
    Ok(())
}

/// New names must be names, and belong to one thing each.
fn check_names(work: &v1::ApplySchema, objects: &[SchemaObject]) -> Result<()> {
    let targets =
        if work.keyspace_as.is_empty() { &work.keyspaces[..] } else { std::slice::from_ref(&work.keyspace_as) };
    if let Some(name) = targets.iter().find(|name| is_system(name)) {
        return Err(invalid(format!("{name} is a keyspace of the server itself and can't be restored")));
    }
    for name in work.table_as.values().chain([&work.keyspace_as].into_iter().filter(|name| !name.is_empty())) {
        let fits = !name.is_empty() && name.len() <= NAME_MAX;
        if !fits || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(invalid(format!(
                "{name:?} can't be the name of a keyspace or table; use up to {NAME_MAX} letters, digits and underscores"
            )));
        }
    }
    let is_table = |object: &&SchemaObject| matches!(object.kind, SchemaKind::Table | SchemaKind::View);
    let names: Vec<&str> = objects.iter().filter(is_table).map(|object| object.name.as_str()).collect();
    if let Some(unknown) = work.table_as.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(not_found(format!(
            "--table-as renames {unknown}, which is no table or view of this restore; it has {}",
            names.join(", ")
        )));
    }
    let mut seen = BTreeSet::new();
    for name in names.iter().filter(|_| !work.table_as.is_empty()) {
        let name = work.table_as.get(*name).map_or(*name, String::as_str);
        if !seen.insert(name) {
            return Err(invalid(format!("two tables would be called {name} in the target; choose another name")));
        }
    }
    Ok(())
}

/// The objects of a keyspace that the work is about, as the backup has them.
fn chosen(work: &v1::ApplySchema, document: &SchemaDocument, keyspace: &str) -> Result<Vec<SchemaObject>> {
    let is_wanted =
        |object: &&SchemaObject| object.keyspace == keyspace && (object.kind != SchemaKind::Grant || work.with_roles);
    let objects: Vec<SchemaObject> = document.objects.iter().filter(is_wanted).cloned().collect();
    if work.whole {
        return Ok(objects);
    }
    let mut model = KeyspaceModel { name: keyspace.to_owned(), ..KeyspaceModel::default() };
    for object in &objects {
        if object.kind == SchemaKind::Type {
            let fields = Statement::parse(&object.cql)?.fields();
            model.types.push(TypeModel { name: object.name.clone(), fields });
        }
        if object.kind == SchemaKind::Table {
            let columns = columns_of(&work.expected, keyspace, &object.name);
            model.tables.push(TableModel { name: object.name.clone(), columns, ..TableModel::default() });
        }
    }
    let of_keyspace = work.expected.iter().filter_map(|table| table.table.as_ref());
    let tables: Vec<String> =
        of_keyspace.filter(|name| name.keyspace == keyspace).map(|name| name.table.clone()).collect();
    select::of_tables(objects, &model, Some(&tables))
}

/// Names and types only: what choosing types needs.
fn columns_of(expected: &[v1::InspectedTable], keyspace: &str, table: &str) -> Vec<ColumnModel> {
    let is_it = |name: &v1::TableName| name.keyspace == keyspace && name.table == table;
    let found = expected.iter().find(|e| e.table.as_ref().is_some_and(is_it));
    let column = |column: &v1::Column| ColumnModel {
        name: column.name.clone(),
        role: ColumnRole::Regular,
        position: -1,
        cql_type: column.r#type.clone(),
        descending: false,
    };
    found.map(|table| table.columns.iter().map(column).collect()).unwrap_or_default()
}

/// `keyspace.table`
pub(crate) fn shown(table: &v1::InspectedTable) -> String {
    table.table.as_ref().map(|name| format!("{}.{}", name.keyspace, name.table)).unwrap_or_default()
}

fn not_found(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::NotFound, message)
}

#[cfg(test)]
mod tests;
