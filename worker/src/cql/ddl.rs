//! Brings a backup's schema to a target: checks first, then keyspace, types, functions, aggregates and tables, and behind the
//! data indexes, views and triggers.
//!
//! Every step may be repeated, as it is after a worker was killed: what stands already and is equal is left, what stands and
//! differs is a conflict. A DROP comes with `apply_before` only, which the coordinator asks for before any row is loaded.
//!
//! With `drop` and chosen tables, only these tables (and their views) are dropped: whoever restores one table does not want to
//! lose the others.

use std::{collections::BTreeMap, time::Duration};

use ringvault_archive::schema::{SchemaDocument, SchemaKind, SchemaObject};
use ringvault_proto::{error::Verdict, v1};
use ringvault_runtime::{entropy::Entropy, retry::Backoff};
use scylla::statement::Statement as CqlStatement;
use uuid::Uuid;

use super::{
    Cluster,
    cluster::NodesInOrder,
    errors::{Error, Result, Values},
    quoted,
    rows::Question,
    system_schema, topology,
};
use crate::schema::{
    Release, adapt,
    compare::{self, Standing},
    features::{self, Target},
    model::{ColumnModel, ColumnRole, KeyspaceModel, TableModel, TypeModel},
    select,
    statement::Statement,
};

/// Attempts of one DDL statement.
const ATTEMPTS_MAX: u32 = 5;
/// Longest wait for all nodes to hold the same schema.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Checks that the schema can be brought to the target; writes nothing. Gives warnings.
///
/// # Errors
/// `Conflict` where tables of the backup stand there already (and no drop is asked for), `Invalid` where the target lacks a
/// data centre, a feature or enough nodes; each says what to do.
pub async fn preflight(cluster: &Cluster, work: &v1::ApplySchema, document: &SchemaDocument) -> Result<Vec<String>> {
    let objects = chosen(work, document)?;
    let target = target(cluster).await?;
    let mut warnings = features::check(&objects, &target)?;
    let live = system_schema::read(cluster, keyspace_of(work)).await?;
    let keeps_keyspace = live.is_some() && !drops_keyspace(work);
    if !keeps_keyspace {
        let replication = objects.iter().find(|o| o.kind == SchemaKind::Keyspace).map(|o| Statement::parse(&o.cql));
        if let Some(replication) = replication.transpose()?.and_then(|statement| statement.replication()) {
            let level = work.write_consistency();
            warnings.extend(features::check_replication(keyspace_of(work), &replication, level, &target)?);
        }
    }
    for object in &objects {
        let release = release(cluster);
        warnings.extend(adapt::for_release(&object.cql, release)?.changes);
    }
    if let Some(live) = &live {
        warnings.extend(check_standing(work, &objects, live)?);
    }
    Ok(warnings)
}

/// Drops if asked, then creates keyspace, types, functions, aggregates and tables, and waits until all nodes hold them.
///
/// # Errors
/// `Conflict` where something else stands under a name, `Invalid` where the server refuses a statement.
pub async fn apply_before(
    cluster: &Cluster,
    work: &v1::ApplySchema,
    document: &SchemaDocument,
) -> Result<v1::ApplyResult> {
    let mut objects = chosen(work, document)?;
    objects.retain(|object| object.kind <= SchemaKind::Table);
    let mut ddl = Ddl::new(cluster, work)?;
    ddl.drop_first().await?;
    ddl.create(&objects).await?;
    ddl.agree().await?;
    ddl.check_columns().await?;
    Ok(ddl.result)
}

/// Creates indexes, views and triggers, behind the data.
///
/// # Errors
/// `Conflict` where something else stands under a name, `Invalid` where the server refuses a statement.
pub async fn apply_after(
    cluster: &Cluster,
    work: &v1::ApplySchema,
    document: &SchemaDocument,
) -> Result<v1::ApplyResult> {
    let mut objects = chosen(work, document)?;
    objects.retain(|object| object.kind > SchemaKind::Table);
    let mut ddl = Ddl::new(cluster, work)?;
    ddl.create(&objects).await?;
    ddl.agree().await?;
    Ok(ddl.result)
}

/// Drops the scratch keyspace of a rehearsal.
///
/// # Errors
/// `Invalid` for any other keyspace.
pub async fn scrap(cluster: &Cluster, work: &v1::ApplySchema) -> Result<v1::ApplyResult> {
    let name = &work.keyspace_as;
    if !name.starts_with("rv_rehearsal_") {
        return Err(Error::invalid(format!("{name:?} is no scratch keyspace of a rehearsal and is not dropped")));
    }
    let mut ddl = Ddl::new(cluster, work)?;
    ddl.run(&format!("dropping {name}"), &format!("DROP KEYSPACE IF EXISTS {}", quoted(name))).await?;
    ddl.agree().await?;
    Ok(ddl.result)
}

fn keyspace_of(work: &v1::ApplySchema) -> &str {
    work.keyspaces.first().map_or("", String::as_str)
}

fn tables_of(work: &v1::ApplySchema) -> Vec<String> {
    let names = work.expected.iter().filter_map(|table| table.table.as_ref()).map(|name| name.table.clone());
    if work.whole { Vec::new() } else { names.collect() }
}

/// Whether the whole keyspace is dropped.
fn drops_keyspace(work: &v1::ApplySchema) -> bool {
    work.drop && work.whole
}

/// The objects of the document that the work is about.
fn chosen(work: &v1::ApplySchema, document: &SchemaDocument) -> Result<Vec<SchemaObject>> {
    if system_schema::is_system(keyspace_of(work)) {
        let message = format!("{} is a keyspace of the server itself and can't be restored", keyspace_of(work));
        return Err(Error::invalid(message));
    }
    if !document.keyspaces.iter().any(|name| name == keyspace_of(work)) {
        return Err(Error::invalid(format!(
            "the backup holds keyspace {}, not {}; restore it under its own name",
            document.keyspaces.join(", "),
            keyspace_of(work)
        )));
    }
    let mut model = KeyspaceModel { name: keyspace_of(work).to_owned(), ..KeyspaceModel::default() };
    for object in &document.objects {
        match object.kind {
            SchemaKind::Type => {
                let fields = Statement::parse(&object.cql)?.fields();
                model.types.push(TypeModel { name: object.name.clone(), fields });
            }
            SchemaKind::Table => model.tables.push(TableModel {
                name: object.name.clone(),
                columns: columns_of(&work.expected, &object.name),
                ..TableModel::default()
            }),
            SchemaKind::Keyspace
            | SchemaKind::Function
            | SchemaKind::Aggregate
            | SchemaKind::Index
            | SchemaKind::View
            | SchemaKind::Trigger
            | SchemaKind::Role
            | SchemaKind::Membership
            | SchemaKind::Grant => {}
        }
    }
    Ok(select::of_tables(document.objects.clone(), &model, &tables_of(work))?)
}

/// Names and types only: what choosing types needs.
fn columns_of(expected: &[v1::InspectedTable], table: &str) -> Vec<ColumnModel> {
    let found = expected.iter().find(|e| e.table.as_ref().is_some_and(|name| name.table == table));
    let column = |column: &v1::Column| ColumnModel {
        name: column.name.clone(),
        role: ColumnRole::Regular,
        position: -1,
        cql_type: column.r#type.clone(),
        descending: false,
    };
    found.map(|table| table.columns.iter().map(column).collect()).unwrap_or_default()
}

/// Refuses what stands in the way; warns of what a drop takes along.
fn check_standing(work: &v1::ApplySchema, objects: &[SchemaObject], live: &KeyspaceModel) -> Result<Vec<String>> {
    let keyspace = keyspace_of(work);
    let in_backup = |name: &str| objects.iter().any(|o| o.kind == SchemaKind::Table && o.name == name);
    if drops_keyspace(work) {
        let lost: Vec<&str> = live.tables.iter().map(|t| t.name.as_str()).filter(|name| !in_backup(name)).collect();
        let warning = format!(
            "dropping keyspace {keyspace} takes tables along that the backup does not hold: {}",
            lost.join(", ")
        );
        return Ok(if lost.is_empty() { Vec::new() } else { vec![warning] });
    }
    let mut standing = Vec::new();
    for object in objects {
        let found = compare::standing(object, live, &work.expected)?;
        let dropped = work.drop && (object.kind == SchemaKind::Table || object.table.as_deref().is_some_and(in_backup));
        match (object.kind, found) {
            (_, Standing::Absent) | (SchemaKind::Keyspace, _) => {}
            (_, _) if dropped => {}
            (SchemaKind::Table | SchemaKind::View, _) => standing.push(object.name.clone()),
            (_, Standing::Equal) => {}
            (_, Standing::Different(how)) => {
                return Err(Error::conflict(format!(
                    "{} {keyspace}.{} stands in the target and differs: {how}; drop it, or restore with --drop",
                    noun(object.kind),
                    object.name
                )));
            }
        }
    }
    if standing.is_empty() {
        let note = format!("keyspace {keyspace} stands in the target and keeps its replication");
        return Ok(if work.drop { Vec::new() } else { vec![note] });
    }
    Err(Error::conflict(format!(
        "keyspace {keyspace} already has {}; restore with --drop to replace them, or choose other tables with --tables",
        standing.join(", ")
    )))
}

fn noun(kind: SchemaKind) -> &'static str {
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

/// The lowest release of the target; options that it doesn't know are left out. ScyllaDB takes what Cassandra 3.11 takes but for
/// read repair chances, which it ignores.
fn release(cluster: &Cluster) -> Release {
    let version = cluster.versions().0;
    if cluster.is_scylla() {
        Release { major: 3, minor: 11 }
    } else {
        Release { major: version.major, minor: version.minor }
    }
}

async fn target(cluster: &Cluster) -> Result<Target> {
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for node in cluster.nodes() {
        *nodes.entry(node.data_center).or_default() += 1;
    }
    let version = cluster.versions().0;
    let mut target = Target {
        release: Some(Release { major: version.major, minor: version.minor }),
        scylla: cluster.is_scylla(),
        settings: BTreeMap::new(),
        nodes,
    };
    if !target.scylla && version >= system_schema::DESCRIBES_SINCE {
        let cql = "SELECT name, value FROM system_views.settings";
        let question = Question::new("reading the server's settings", cql).to(topology::only(any_host(cluster)?));
        match question.ask::<(String, Option<String>)>(cluster.session(), ()).await {
            Ok(rows) => target.settings = rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            // an ordinary role may not read them; the server refuses later what it does not do
            Err(error) => tracing::debug!(%error, "the server's settings can't be read"),
        }
    }
    Ok(target)
}

fn any_host(cluster: &Cluster) -> Result<Uuid> {
    let hosts = cluster.connected(cluster.local_dc());
    hosts.first().copied().ok_or_else(|| Error::unavailable(format!("no node of {} is connected", cluster.local_dc())))
}

/// Sends DDL to one node, so that no two coordinators race each other's schema.
struct Ddl<'a> {
    cluster: &'a Cluster,
    work: &'a v1::ApplySchema,
    host: Uuid,
    result: v1::ApplyResult,
}

impl<'a> Ddl<'a> {
    fn new(cluster: &'a Cluster, work: &'a v1::ApplySchema) -> Result<Self> {
        Ok(Self { cluster, work, host: any_host(cluster)?, result: v1::ApplyResult::default() })
    }

    async fn drop_first(&mut self) -> Result<()> {
        if !self.work.drop {
            return Ok(());
        }
        let keyspace = quoted(keyspace_of(self.work));
        if drops_keyspace(self.work) {
            let what = format!("dropping keyspace {}", keyspace_of(self.work));
            self.run(&what, &format!("DROP KEYSPACE IF EXISTS {keyspace}")).await?;
            return self.agree().await;
        }
        let Some(live) = self.live().await? else { return Ok(()) };
        let chosen = |name: &String| tables_of(self.work).contains(name);
        let views =
            live.views.iter().filter(|view| chosen(&view.base)).map(|view| ("MATERIALIZED VIEW", &view.table.name));
        let tables = live.tables.iter().filter(|table| chosen(&table.name)).map(|table| ("TABLE", &table.name));
        let drops: Vec<_> = views.chain(tables).collect();
        for (noun, name) in drops {
            let what = format!("dropping {}.{name}", keyspace_of(self.work));
            self.run(&what, &format!("DROP {noun} IF EXISTS {keyspace}.{}", quoted(name))).await?;
        }
        self.agree().await
    }

    async fn live(&self) -> Result<Option<KeyspaceModel>> {
        system_schema::read(self.cluster, keyspace_of(self.work)).await
    }

    async fn create(&mut self, objects: &[SchemaObject]) -> Result<()> {
        let mut live = self.live().await?;
        for object in objects {
            let adapted = adapt::for_release(&object.cql, release(self.cluster))?;
            let mut attempt = 0;
            loop {
                match self.standing(object, live.as_ref())? {
                    Standing::Equal => break,
                    Standing::Different(how) => return Err(self.differs(object, &how)),
                    Standing::Absent => {}
                }
                let what = format!("creating {} {}", noun(object.kind), object.name);
                let Err(error) = self.once(&what, &adapted.cql).await else {
                    self.result.statements += 1;
                    self.result.warnings.extend(adapted.changes.iter().cloned());
                    if object.kind == SchemaKind::Keyspace {
                        live = self.live().await?;
                    }
                    break;
                };
                // somebody may have been faster, or the answer was lost: what stands there now decides
                let before = live;
                live = self.live().await?;
                let stands = self.standing(object, live.as_ref())? != Standing::Absent;
                if stands && before != live {
                    continue;
                }
                attempt += 1;
                pause(error, attempt).await?;
            }
        }
        Ok(())
    }

    /// What stands under the object's name.
    fn standing(&self, object: &SchemaObject, live: Option<&KeyspaceModel>) -> Result<Standing> {
        match live {
            None => Ok(Standing::Absent),
            Some(live) => Ok(compare::standing(object, live, &self.work.expected)?),
        }
    }

    fn differs(&self, object: &SchemaObject, how: &str) -> Error {
        let (noun, name) = (noun(object.kind), &object.name);
        Error::conflict(format!(
            "{noun} {}.{name} stands in the target and differs: {how}; drop it, or restore with --drop",
            keyspace_of(self.work)
        ))
    }

    /// The tables that stand there now must have the backup's columns, or rows would go wrong.
    async fn check_columns(&self) -> Result<()> {
        let live = self.live().await?.unwrap_or_default();
        let chosen = |name: &String| self.work.whole || tables_of(self.work).contains(name);
        for table in &self.work.expected {
            let Some(name) = table.table.as_ref().map(|name| &name.table).filter(|name| chosen(name)) else { continue };
            let how = match live.table(name) {
                None => Some("it is not there".to_owned()),
                Some(found) => compare::table_difference(table, found),
            };
            if let Some(how) = how {
                let message = format!("table {}.{name} was created, but differs from the backup: {how}", live.name);
                return Err(Error::conflict(message));
            }
        }
        Ok(())
    }

    /// A statement that may be repeated.
    async fn run(&mut self, what: &str, cql: &str) -> Result<()> {
        let mut attempt = 0;
        while let Err(error) = self.once(what, cql).await {
            attempt += 1;
            pause(error, attempt).await?;
        }
        self.result.statements += 1;
        Ok(())
    }

    async fn once(&self, what: &str, cql: &str) -> Result<()> {
        let mut statement = CqlStatement::new(cql);
        let nodes = NodesInOrder::policy(vec![self.host], self.cluster.local_dc().into());
        statement.set_load_balancing_policy(Some(nodes));
        let answer = self.cluster.session().query_unpaged(statement, ()).await;
        answer.map(|_| ()).map_err(|error| Error::of_execution(what, &error, Values::None))
    }

    async fn agree(&self) -> Result<()> {
        let what = "waiting until all nodes hold the schema";
        let agreed = tokio::time::timeout(AGREEMENT_TIMEOUT, self.cluster.session().await_schema_agreement()).await;
        match agreed {
            Ok(Ok(_version)) => Ok(()),
            Ok(Err(error)) => {
                Err(Error::unavailable(format!("{what} failed: {error}; check nodetool describecluster")))
            }
            Err(_elapsed) => Err(Error::of_elapsed(what, AGREEMENT_TIMEOUT)),
        }
    }
}

/// Waits before another attempt, or gives the error back where none is due.
async fn pause(error: Error, attempt: u32) -> Result<()> {
    if error.kind().verdict() != Verdict::Retry || attempt >= ATTEMPTS_MAX {
        return Err(error);
    }
    tracing::debug!(%error, attempt, "a DDL statement will be tried again");
    tokio::time::sleep(Backoff::peer().pause(attempt + 2, &Entropy::from_os())).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> SchemaDocument {
        let object = |kind, name: &str, table: Option<&str>, cql: &str| SchemaObject {
            kind,
            keyspace: "ks".into(),
            name: name.into(),
            table: table.map(Into::into),
            cql: cql.into(),
        };
        SchemaDocument {
            keyspaces: vec!["ks".into()],
            server_version: "5.0.6".into(),
            objects: vec![
                object(SchemaKind::Keyspace, "ks", None, "CREATE KEYSPACE ks WITH replication = {}"),
                object(SchemaKind::Type, "u", None, "CREATE TYPE ks.u (a int)"),
                object(SchemaKind::Table, "a", None, "CREATE TABLE ks.a (k int PRIMARY KEY)"),
                object(SchemaKind::Table, "b", None, "CREATE TABLE ks.b (k int PRIMARY KEY)"),
            ],
        }
    }

    fn live(tables: &[&str], field: &str) -> KeyspaceModel {
        KeyspaceModel {
            name: "ks".into(),
            tables: tables.iter().map(|name| TableModel { name: (*name).into(), ..TableModel::default() }).collect(),
            types: vec![TypeModel { name: "u".into(), fields: vec![("a".into(), field.into())] }],
            ..KeyspaceModel::default()
        }
    }

    fn check(tables: &[&str], drop: bool, live: &KeyspaceModel) -> Result<Vec<String>> {
        let table = |name: &&str| v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "ks".into(), table: (*name).into() }),
            ..Default::default()
        };
        let (whole, expected) = (tables.is_empty(), tables.iter().map(table).collect());
        let work = v1::ApplySchema { keyspaces: vec!["ks".into()], whole, expected, drop, ..Default::default() };
        check_standing(&work, &chosen(&work, &document())?, live)
    }

    #[test]
    fn tables_that_stand_there_are_a_conflict_that_names_the_way_out() {
        let error = check(&[], false, &live(&["b", "z"], "int")).expect_err("b stands there");
        assert_eq!(error.kind(), ringvault_proto::error::ErrorKind::Conflict);
        assert!(error.to_string().starts_with("keyspace ks already has b; restore with --drop"), "{error}");
    }

    #[test]
    fn an_existing_keyspace_without_those_tables_is_used_as_it_is() {
        assert_eq!(check(&["a"], false, &live(&["b"], "int")).expect("fine").len(), 1);
    }

    #[test]
    fn a_drop_warns_of_tables_that_the_backup_does_not_hold() {
        let warnings = check(&[], true, &live(&["a", "z"], "text")).expect("fine");
        assert_eq!(warnings, ["dropping keyspace ks takes tables along that the backup does not hold: z"]);
        assert!(check(&["a"], true, &live(&["a", "z"], "int")).expect("only a is dropped").is_empty());
    }

    #[test]
    fn a_type_that_differs_and_stays_is_a_conflict() {
        let mut backup = document();
        backup.objects[2].cql = "CREATE TABLE ks.a (k int PRIMARY KEY, v frozen<u>)".into();
        let work = v1::ApplySchema { keyspaces: vec!["ks".into()], whole: true, ..Default::default() };
        let objects = chosen(&work, &backup).expect("fine");
        let error = check_standing(&work, &objects, &live(&[], "text")).expect_err("u differs");
        assert!(error.to_string().contains("type ks.u stands in the target and differs"), "{error}");
    }

    #[test]
    fn system_keyspaces_and_other_names_are_refused() {
        let work = |keyspace: &str| v1::ApplySchema { keyspaces: vec![keyspace.into()], ..Default::default() };
        assert!(chosen(&work("system_auth"), &document()).is_err());
        assert!(chosen(&work("other"), &document()).is_err());
    }
}
