//! Captures the schema of a keyspace: by the server's own DESCRIBE where it has one (Cassandra ≥ 4.0, ScyllaDB), else generated
//! from `system_schema`.
//!
//! DESCRIBE is paged per node and schema version: it is asked of one node, and begun again when the schema changes meanwhile.

use ringvault_archive::schema::{SchemaDocument, SchemaKind, SchemaObject};
use ringvault_proto::{error::Failure, v1};
use uuid::Uuid;

use super::{
    Cluster,
    errors::{Error, Reason, Result},
    quoted, roles,
    rows::Question,
    system_schema::{self, DESCRIBES_SINCE, is_cdc_log},
    topology,
};
use crate::schema::{
    generate, is_system, lex,
    model::{KeyspaceModel, ViewModel},
    repair, select,
    statement::Statement,
};

impl From<Failure> for Error {
    /// What the pure side of the schema refuses.
    fn from(failure: Failure) -> Self {
        ringvault_archive::Error::new(failure.kind, failure.message).into()
    }
}

/// Times that a DESCRIBE is begun again since the schema changed.
const RESTARTS_MAX: u32 = 5;

/// The schema of the keyspaces: of the tables and what they need, and of everything where all tables of a keyspace are named.
/// With warnings.
///
/// # Errors
/// `NotFound` for a keyspace or table that is not there, naming those that are; `Invalid` for system keyspaces, tables WITH
/// COMPACT STORAGE, and roles that the login may not read; `Unavailable` where nobody answers.
pub async fn capture(cluster: &Cluster, work: &v1::CaptureSchema) -> Result<(SchemaDocument, Vec<String>)> {
    let (mut objects, mut models, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    let mut keyspaces = work.keyspaces.clone();
    keyspaces.sort();
    keyspaces.dedup();
    for keyspace in &keyspaces {
        let of_it = work.tables.iter().filter(|table| table.keyspace == *keyspace);
        let tables: Vec<String> = of_it.map(|table| table.table.clone()).collect();
        let (model, found) = capture_one(cluster, keyspace, &tables).await?;
        objects.extend(found);
        models.push(model);
    }
    if work.with_roles {
        let (found, told) = roles::capture(cluster, &models).await?;
        let is_wanted = |object: &SchemaObject| match (&object.table, models.iter().find(|m| m.name == object.keyspace))
        {
            (Some(table), Some(model)) => {
                let of_chosen = |view: &ViewModel| view.table.name == *table && model.table(&view.base).is_some();
                model.table(table).is_some() || model.views.iter().any(of_chosen)
            }
            _ => true,
        };
        objects.extend(found.into_iter().filter(is_wanted));
        warnings.extend(told);
    }
    objects.sort_by_key(|object| object.kind); // stable: types stay behind the types that they name
    let server_version = cluster.versions().1.to_string();
    Ok((SchemaDocument { keyspaces, server_version, objects }, warnings))
}

/// The chosen tables of a keyspace with what else it has, and their objects.
async fn capture_one(
    cluster: &Cluster,
    keyspace: &str,
    tables: &[String],
) -> Result<(KeyspaceModel, Vec<SchemaObject>)> {
    if is_system(keyspace) {
        return Err(Error::invalid(format!("{keyspace} is a keyspace of the server itself and can't be backed up")));
    }
    let Some(mut model) = system_schema::read(cluster, keyspace).await? else {
        let known = system_schema::keyspaces(cluster).await?;
        return Err(Error::not_found(format!(
            "keyspace {keyspace} does not exist in cluster {}; it has: {}",
            cluster.name(),
            known.join(", ")
        )));
    };
    let of_all = model.clone();
    let whole = model.tables.iter().all(|table| tables.contains(&table.name));
    model.tables.retain(|table| tables.contains(&table.name));
    generate::refuse_compact(&model)?;
    let describes = cluster.is_scylla() || cluster.versions().0 >= DESCRIBES_SINCE;
    let objects = if describes { described(cluster, &of_all).await? } else { generate::objects(&of_all)? };
    let objects = select::of_tables(objects, &of_all, (!whole).then_some(tables))?;
    refuse_missing_tables(&model, &objects)?;
    Ok((model, select::in_order(objects)?))
}

/// Every table must have its statement: a backup that can't create a table is none.
fn refuse_missing_tables(model: &KeyspaceModel, objects: &[SchemaObject]) -> Result<()> {
    let has = |name: &str| objects.iter().any(|o| o.kind == SchemaKind::Table && o.name == name);
    match model.tables.iter().find(|table| !has(&table.name)) {
        None => Ok(()),
        Some(table) => Err(Error::conflict(format!(
            "the server does not describe table {}.{}; it was created or dropped just now, or CQL can't create it: try again, or leave \
             it out by naming the others with --tables",
            model.name, table.name
        ))),
    }
}

/// Keyspace (nothing for roles), kind, name and statement, as the server gives them.
type Described = (Option<String>, String, String, Option<String>);

async fn described(cluster: &Cluster, model: &KeyspaceModel) -> Result<Vec<SchemaObject>> {
    let keyspace = &model.name;
    let host = cluster.connected(cluster.local_dc()).first().copied();
    let host = host.ok_or_else(|| Error::unavailable(format!("no node of {} is connected", cluster.local_dc())))?;
    let mut restarts = 0;
    let rows = loop {
        match ask(cluster, keyspace, host).await {
            Err(error) if restarts < RESTARTS_MAX && error.reason() == Reason::Rejected && has_changed(&error) => {
                restarts += 1;
            }
            answer => break answer?,
        }
    };
    let mut objects = Vec::new();
    for (of, kind, name, cql) in rows {
        // servers quote the name where CQL would have to
        let of = of.as_deref().and_then(|of| lex::tokens(of).first().map(lex::Token::value));
        if of.as_deref().is_none_or(|of| of == keyspace) {
            for object in objects_of(keyspace, &kind, &name, cql.as_deref().unwrap_or_default())? {
                objects.push(repair::repaired(object, model)?);
            }
        }
    }
    objects.retain(|object| {
        let table = if object.kind == SchemaKind::Table { Some(&object.name) } else { object.table.as_ref() };
        !table.is_some_and(|table| is_cdc_log(cluster.is_scylla(), table))
    });
    Ok(objects)
}

async fn ask(cluster: &Cluster, keyspace: &str, host: Uuid) -> Result<Vec<Described>> {
    let what = format!("describing keyspace {keyspace}");
    let cql = format!("DESCRIBE KEYSPACE {}", quoted(keyspace));
    Question::new(&what, &cql).to(topology::only(host)).ask(cluster.session(), ()).await
}

fn has_changed(error: &Error) -> bool {
    error.to_string().to_lowercase().contains("schema has changed")
}

/// The objects of one described row. Some servers put a table's indexes behind the table, in one text.
fn objects_of(keyspace: &str, kind: &str, name: &str, cql: &str) -> Result<Vec<SchemaObject>> {
    let mut objects = Vec::new();
    // a function's body may hold what ends it, as servers describe it
    let whole = cql.trim().trim_end_matches(';');
    let statements = if kind == "function" { vec![whole] } else { lex::statements(cql) };
    for cql in statements {
        let statement = Statement::parse(cql)?;
        let signed = matches!(statement.kind, SchemaKind::Function | SchemaKind::Aggregate);
        objects.push(SchemaObject {
            kind: statement.kind,
            keyspace: keyspace.to_owned(),
            name: if signed { name.to_owned() } else { statement.name.clone() },
            table: statement.table.clone(),
            cql: cql.to_owned(),
        });
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_its_indexes_in_one_text_are_taken_apart() {
        let text = "CREATE TABLE ks.t (k int PRIMARY KEY, v text) WITH comment = 'a;b';\n\nCREATE INDEX i ON ks.t (v);";
        let objects = objects_of("ks", "table", "t", text).expect("fine");
        let shown: Vec<_> =
            objects.iter().map(|o| (o.kind, o.name.as_str(), o.table.as_deref(), o.cql.as_str())).collect();
        assert_eq!(
            shown,
            [
                (SchemaKind::Table, "t", None, "CREATE TABLE ks.t (k int PRIMARY KEY, v text) WITH comment = 'a;b'"),
                (SchemaKind::Index, "i", Some("t"), "CREATE INDEX i ON ks.t (v)"),
            ]
        );
    }

    #[test]
    fn a_function_keeps_the_signature_that_tells_it_from_its_namesakes() {
        let text = "CREATE FUNCTION ks.f(x int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return x; $$;";
        assert_eq!(objects_of("ks", "function", "f(int)", text).expect("fine")[0].name, "f(int)");
    }
}
