//! Brings a backup's schema to a target: checks first, then keyspaces, types, functions, aggregates and tables, and behind the
//! data indexes, views, triggers, roles and grants.
//!
//! - [`checks`]: what may stand in the target already; `target`: what the target is
//! - `send`: statements and their attempts; `built`: waits for indexes and views
//!
//! Every step may be repeated, as it is after a worker was killed: what stands already and is equal is left, what stands and
//! differs is a conflict. DROP and TRUNCATE come with `apply_before` only, which the coordinator asks for before any row is loaded.
//!
//! With `drop` and chosen tables, only these tables (and their views) are dropped: whoever restores one table does not want to
//! lose the others.

mod built;
mod checks;
mod send;
mod target;

use std::collections::BTreeMap;

use ringvault_archive::schema::{SchemaDocument, SchemaKind};
use ringvault_proto::v1::{self, IfExists};

use super::{
    Cluster, consistency,
    errors::{Error, Result},
    masks, quoted,
    rows::Question,
    system_schema,
};
use crate::schema::{
    features,
    model::KeyspaceModel,
    plan::{self, Plan, REHEARSAL_PREFIX},
    rename,
    statement::Statement,
};
use checks::{check_tables, standing};
pub(super) use send::Ddl;

/// Keyspaces of the target by name; those that don't stand there are missing.
type Live = BTreeMap<String, KeyspaceModel>;

/// Checks that the schema can be brought to the target; writes nothing. Gives warnings.
///
/// # Errors
/// `Conflict` where tables of the backup stand there already (and nothing says what to do with them), `NotFound` where tables
/// that must stand do not, `Invalid` where the target lacks a data centre, a feature or enough nodes, or can't note the times of
/// the rows; each says what to do.
pub async fn preflight(cluster: &Cluster, work: &v1::ApplySchema, document: &SchemaDocument) -> Result<Vec<String>> {
    let mut target = target::read(cluster).await?;
    let mut plan = Plan::new(work, document, &target)?;
    if plan.objects.iter().any(|object| object.kind == SchemaKind::Function) && !work.data_only {
        target::probe_functions(cluster, &mut target).await?;
    }
    let live = live(cluster, &plan).await?;
    let mut warnings = std::mem::take(&mut plan.changes);
    warnings.extend(free_names(work, &mut plan, &live)?);
    if !work.data_only {
        warnings.extend(features::check(&plan.objects, &target)?);
    }
    let now_us = cluster.database_unix_ms(target::any_host(cluster)?).await?.saturating_mul(1000);
    features::check_times(work.writetime_us_max, work.expiry_s_max, now_us, &target)?;
    for keyspace in &plan.keyspaces {
        let stands = live.get(keyspace).filter(|_| !checks::drops_keyspaces(work));
        match stands {
            None => {
                let created = plan.of(keyspace).find(|object| object.kind == SchemaKind::Keyspace);
                let statement = created.map(|object| Statement::parse(&object.cql)).transpose()?;
                if let Some(replication) = statement.and_then(|statement| statement.replication()) {
                    let level = work.write_consistency();
                    warnings.extend(features::check_replication(keyspace, &replication, level, &target)?);
                }
            }
            Some(_) if !work.drop && !work.data_only => {
                warnings.push(format!("keyspace {keyspace} stands in the target and keeps its replication"));
            }
            Some(_) => {}
        }
        warnings.extend(standing(work, &plan, keyspace, live.get(keyspace))?);
    }
    check_empty(cluster, work, &plan).await?;
    check_seen(cluster, work, &plan, &live).await?;
    if work.with_roles {
        super::roles::check_restorable(cluster).await?;
    }
    Ok(warnings)
}

/// Drops or empties if asked, then creates keyspaces, types, functions, aggregates and tables, and waits until all nodes hold
/// them.
///
/// # Errors
/// `Conflict` where something else stands under a name, `Invalid` where the server refuses a statement.
pub async fn apply_before(
    cluster: &Cluster,
    work: &v1::ApplySchema,
    document: &SchemaDocument,
) -> Result<v1::ApplyResult> {
    let mut plan = Plan::new(work, document, &target::read(cluster).await?)?;
    plan.objects.retain(|object| object.kind <= SchemaKind::Table);
    let mut ddl = Ddl::new(cluster)?;
    if work.drop {
        drop_first(&mut ddl, work, &plan).await?;
    }
    if work.if_exists() == IfExists::Truncate && !work.drop {
        let live = live(cluster, &plan).await?;
        check_tables(work, &plan, &live)?;
        truncate_first(&mut ddl, &plan, &live).await?;
    }
    if !work.data_only {
        ddl.create(&plan.objects, &plan).await?;
        ddl.agree().await?;
    }
    check_tables(work, &plan, &live(cluster, &plan).await?)?;
    Ok(ddl.result)
}

/// Creates indexes, views, triggers, roles and grants, behind the data, and waits until indexes and views are built. `tell` hears
/// what it waits for.
///
/// # Errors
/// `Conflict` where something else stands under a name, `Invalid` where the server refuses a statement, `Unavailable` where
/// something is not built within hours.
pub async fn apply_after(
    cluster: &Cluster,
    work: &v1::ApplySchema,
    document: &SchemaDocument,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<v1::ApplyResult> {
    let mut ddl = Ddl::new(cluster)?;
    if work.data_only {
        return Ok(ddl.result);
    }
    let mut plan = Plan::new(work, document, &target::read(cluster).await?)?;
    plan.objects.retain(|object| object.kind > SchemaKind::Table);
    let live = live(cluster, &plan).await?;
    free_names(work, &mut plan, &live)?;
    let (roles, objects): (Vec<_>, Vec<_>) =
        plan.objects.iter().cloned().partition(|object| object.kind >= SchemaKind::Role);
    ddl.create(&objects, &plan).await?;
    ddl.agree().await?;
    super::roles::restore(&mut ddl, &roles).await?;
    let warnings = built::wait(cluster, &objects, tell).await?;
    ddl.result.warnings.extend(warnings);
    Ok(ddl.result)
}

/// Drops the scratch keyspace of a rehearsal, also where it isn't there.
///
/// # Errors
/// `Invalid` for any other keyspace.
pub async fn scrap(cluster: &Cluster, work: &v1::ApplySchema) -> Result<v1::ApplyResult> {
    let name = scratch_keyspace(work)?;
    let mut ddl = Ddl::new(cluster)?;
    ddl.run(&format!("dropping keyspace {name}"), &format!("DROP KEYSPACE IF EXISTS {}", quoted(name))).await?;
    ddl.agree().await?;
    Ok(ddl.result)
}

/// The keyspace that a rehearsal made; no other is ever given.
fn scratch_keyspace(work: &v1::ApplySchema) -> Result<&str> {
    let name = work.keyspace_as.as_str();
    if name.len() > REHEARSAL_PREFIX.len() && name.starts_with(REHEARSAL_PREFIX) {
        return Ok(name);
    }
    Err(Error::invalid(format!("{name:?} is no scratch keyspace of a rehearsal and is not dropped")))
}

async fn live(cluster: &Cluster, plan: &Plan) -> Result<Live> {
    let mut live = Live::new();
    for keyspace in &plan.keyspaces {
        if let Some(model) = system_schema::read(cluster, keyspace).await? {
            live.insert(keyspace.clone(), model);
        }
    }
    Ok(live)
}

/// Indexes and views of renamed tables give way to those of other tables; tells which.
fn free_names(work: &v1::ApplySchema, plan: &mut Plan, live: &Live) -> Result<Vec<String>> {
    if plan.renamed.is_empty() || checks::drops_keyspaces(work) {
        return Ok(Vec::new());
    }
    let mut notes = Vec::new();
    for (keyspace, model) in live {
        let chosen: Vec<String> = checks::tables_of(plan, keyspace).map(str::to_owned).collect();
        let gone = |table: &str| work.drop && chosen.iter().any(|name| name == table);
        notes.extend(rename::free_names(&mut plan.objects, model, &plan.renamed, &gone)?);
    }
    Ok(notes)
}

async fn drop_first(ddl: &mut Ddl<'_>, work: &v1::ApplySchema, plan: &Plan) -> Result<()> {
    let live = live(ddl.cluster, plan).await?;
    for keyspace in &plan.keyspaces {
        let in_quotes = quoted(keyspace);
        if checks::drops_keyspaces(work) {
            let what = format!("dropping keyspace {keyspace}");
            ddl.run(&what, &format!("DROP KEYSPACE IF EXISTS {in_quotes}")).await?;
            continue;
        }
        let Some(live) = live.get(keyspace) else { continue };
        let chosen = |name: &str| checks::tables_of(plan, keyspace).any(|table| table == name);
        let views =
            live.views.iter().filter(|view| chosen(&view.base)).map(|view| ("MATERIALIZED VIEW", &view.table.name));
        let tables = live.tables.iter().filter(|table| chosen(&table.name)).map(|table| ("TABLE", &table.name));
        for (noun, name) in views.chain(tables) {
            let what = format!("dropping {keyspace}.{name}");
            ddl.run(&what, &format!("DROP {noun} IF EXISTS {in_quotes}.{}", quoted(name))).await?;
        }
    }
    ddl.agree().await
}

/// Empties the chosen tables that stand there; their views follow by themselves.
async fn truncate_first(ddl: &mut Ddl<'_>, plan: &Plan, live: &Live) -> Result<()> {
    for keyspace in &plan.keyspaces {
        let Some(live) = live.get(keyspace) else { continue };
        for table in checks::tables_of(plan, keyspace).filter(|name| live.table(name).is_some()) {
            let what = format!("emptying {keyspace}.{table}, which needs all its replicas");
            ddl.run(&what, &format!("TRUNCATE TABLE {}.{}", quoted(keyspace), quoted(table))).await?;
        }
    }
    Ok(())
}

/// Rows alone into tables that are to be empty: refuses one that holds a row.
async fn check_empty(cluster: &Cluster, work: &v1::ApplySchema, plan: &Plan) -> Result<()> {
    let fails = matches!(work.if_exists(), IfExists::Unspecified | IfExists::Fail);
    for table in plan.tables.iter().filter(|_| work.data_only && fails) {
        let name = table.table.clone().unwrap_or_default();
        let is_key = |column: &&v1::Column| column.kind() == v1::ColumnKind::PartitionKey;
        let key: Vec<String> = table.columns.iter().filter(is_key).map(|column| quoted(&column.name)).collect();
        let (keyspace, table) = (quoted(&name.keyspace), quoted(&name.table));
        let cql = format!("SELECT {} FROM {keyspace}.{table} LIMIT 1", key.join(", "));
        let what = format!("looking whether {}.{} is empty", name.keyspace, name.table);
        let question =
            Question { consistency: consistency(v1::Consistency::LocalQuorum), ..Question::new(&what, &cql) };
        if !question.ask::<scylla::value::Row>(cluster.session(), ()).await?.is_empty() {
            return Err(Error::conflict(format!(
                "{}.{} holds rows; say what is to become of them with --if-exists append, truncate or only-missing",
                name.keyspace, name.table
            )));
        }
    }
    Ok(())
}

/// What is read back from a table that stands there must not be a mask.
async fn check_seen(cluster: &Cluster, work: &v1::ApplySchema, plan: &Plan, live: &Live) -> Result<()> {
    for (keyspace, model) in live.iter().filter(|_| !work.drop) {
        let stands = |name: &&str| model.table(name).is_some();
        let tables: Vec<&str> = checks::tables_of(plan, keyspace).filter(stands).collect();
        masks::refuse(cluster, keyspace, &|table| tables.contains(&table)).await?;
    }
    Ok(())
}

/// `keyspace.table` of the plan's tables, for messages.
fn listed<'a>(tables: impl Iterator<Item = &'a v1::InspectedTable>) -> String {
    tables.map(plan::shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
