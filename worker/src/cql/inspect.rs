//! What planning needs to know of a cluster: nodes, ring, the tables of a keyspace, how large they are, and which can't be
//! read as they stand, told before any work begins.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use ringvault_archive::table::TableLayout;
use ringvault_proto::{
    error::ErrorKind,
    pattern::{self, Patterns},
    v1,
};

use super::{
    Cluster, consistency,
    errors::{Error, Result},
    fingerprint::{Definition, definitions},
    quoted,
    ring::{RING_TOKENS_MAX, Version},
    rows::Question,
    sizes, system_schema,
};

/// Tables that are asked about at once.
pub(crate) const TABLES_AT_ONCE: usize = 8;

/// The first release with dynamic data masking.
const MASKS_SINCE: Version = Version::new(5, 0, 0);

/// Most names that a message lists.
const NAMES_LISTED_MAX: usize = 20;

/// Answers an inspection. A keyspace that doesn't exist is an answer, not an error, unless tables of it are named.
///
/// # Errors
/// `NotFound` for a named table that doesn't exist; `Invalid`, by name, for a table that can't be read faithfully or that
/// the login may not read; else what the database said.
pub async fn inspect(cluster: &Cluster, request: &v1::InspectCluster) -> Result<v1::InspectResult> {
    let invalid = |error: pattern::PatternError| Error::invalid(error.to_string());
    let wanted = Patterns::of_keyspaces(&request.keyspaces).map_err(invalid)?;
    let of_tables = Patterns::of_tables(&request.tables).map_err(invalid)?;
    let mut result = topology(cluster);
    for keyspace in system_schema::keyspaces(cluster).await? {
        if !wanted.has_keyspace(&keyspace) {
            continue;
        }
        let Some(strategy) = cluster.replication(&keyspace).await? else { continue };
        result.local_data_center = cluster.choose_local_dc(&keyspace, &strategy)?;
        let route = cluster.route(&keyspace).await?;
        let chosen = chosen(cluster, &keyspace, &of_tables).await?;
        refuse_masked(cluster, &keyspace, &chosen).await?;
        let mut tables = Vec::new();
        for (name, definition) in &chosen {
            tables.push(inspected(&keyspace, name, definition)?);
        }
        check_grants(cluster, &tables, request.read_consistency()).await?;
        if request.sizes {
            sizes::estimate(cluster, &route, &mut tables).await?;
        }
        result.tables.extend(tables);
        result.keyspaces.push(keyspace);
    }
    Ok(result)
}

fn topology(cluster: &Cluster) -> v1::InspectResult {
    let nodes = cluster.nodes();
    let index: BTreeMap<_, _> = nodes.iter().zip(0_u32..).map(|(node, index)| (node.host_id, index)).collect();
    let ring = cluster.ring().thinned(RING_TOKENS_MAX);
    let token = |(token, host): &(ringvault_proto::token::Token, uuid::Uuid)| {
        index.get(host).map(|node| v1::RingToken { token: token.0, node: *node })
    };
    v1::InspectResult {
        cluster_name: cluster.name().to_owned(),
        server_version: cluster.versions().1.to_string(),
        local_data_center: cluster.local_dc().to_owned(),
        ring: ring.tokens().iter().filter_map(token).collect(),
        nodes: nodes
            .into_iter()
            .map(|node| v1::InspectedNode {
                host_id: node.host_id.to_string(),
                address: node.address.to_string(),
                data_center: node.data_center,
                rack: node.rack,
                up: node.up,
                version: node.version.map(|version| version.to_string()).unwrap_or_default(),
            })
            .collect(),
        warnings: cluster.warnings(),
        ..v1::InspectResult::default()
    }
}

/// Definitions of the tables that are meant, but those that a server makes by itself.
async fn chosen(cluster: &Cluster, keyspace: &str, wanted: &Patterns) -> Result<BTreeMap<String, Definition>> {
    let mut all = definitions(cluster, keyspace, None).await?;
    for (of, name) in wanted.names() {
        if of.is_none_or(|of| of == keyspace) && !all.contains_key(name) {
            return Err(missing_table(cluster, keyspace, name, all.keys()).await?);
        }
    }
    let names: Vec<String> = all.keys().cloned().collect();
    all.retain(|name, _| !is_cdc_log(name, &names) && wanted.has_table(keyspace, name));
    Ok(all)
}

/// Scylla fills these from their base table.
fn is_cdc_log(name: &str, names: &[String]) -> bool {
    name.strip_suffix("_scylla_cdc_log").is_some_and(|base| names.iter().any(|name| name == base))
}

async fn missing_table(
    cluster: &Cluster,
    keyspace: &str,
    missing: &str,
    existing: impl Iterator<Item = &String>,
) -> Result<Error> {
    let what = format!("reading the views of keyspace {keyspace}");
    let cql = "SELECT base_table_name FROM system_schema.views WHERE keyspace_name = ? AND view_name = ?";
    let views: Vec<(String,)> = Question::new(&what, cql).ask(cluster.session(), (keyspace, missing)).await?;
    if let Some((base,)) = views.first() {
        return Ok(Error::invalid(format!(
            "{keyspace}.{missing} is a materialized view of {base}: its rows come back with the table's; name {base} instead"
        )));
    }
    let mut names: Vec<&str> = existing.map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMES_LISTED_MAX);
    names.truncate(NAMES_LISTED_MAX);
    let names = if names.is_empty() { "no tables".to_owned() } else { names.join(", ") };
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(Error::not_found(format!("table {keyspace}.{missing} does not exist; the keyspace has {names}{tail}")))
}

fn inspected(keyspace: &str, name: &str, definition: &Definition) -> Result<v1::InspectedTable> {
    if definition.is_compact() {
        return Err(Error::invalid(format!(
            "{keyspace}.{name} is a COMPACT STORAGE table, which CQL shows other than it is stored; run ALTER TABLE {keyspace}.{name} DROP COMPACT STORAGE, or leave it out by naming the others with --tables"
        )));
    }
    let mut warnings = Vec::new();
    if definition.is_counter() {
        warnings
            .push(format!("{keyspace}.{name} holds counters, which have no writetimes: a restore adds differences"));
    }
    let table = v1::InspectedTable {
        table: Some(v1::TableName { keyspace: keyspace.to_owned(), table: name.to_owned() }),
        table_id: definition.id.to_string(),
        fingerprint: definition.fingerprint(),
        columns: definition.columns.clone(),
        types: definition.types.clone(),
        counter: definition.is_counter(),
        default_ttl_s: definition.default_ttl_s,
        warnings,
        ..v1::InspectedTable::default()
    };
    TableLayout::from_message(&table)?; // custom types and the like
    Ok(table)
}

/// A login without SELECT is told by executing, not by preparing.
async fn check_grants(cluster: &Cluster, tables: &[v1::InspectedTable], level: v1::Consistency) -> Result<()> {
    let checks: Vec<BoxFuture<'_, Result<()>>> =
        tables.iter().map(|table| check_grant(cluster, table, level).boxed()).collect();
    futures::stream::iter(checks).buffer_unordered(TABLES_AT_ONCE).try_collect().await
}

/// Reads a range of no token.
async fn check_grant(cluster: &Cluster, table: &v1::InspectedTable, level: v1::Consistency) -> Result<()> {
    let name = table.table.clone().unwrap_or_default();
    let is_key = |column: &&v1::Column| column.kind() == v1::ColumnKind::PartitionKey;
    let key: Vec<String> = table.columns.iter().filter(is_key).map(|column| quoted(&column.name)).collect();
    let (key, highest) = (key.join(", "), i64::MAX);
    let none = format!("token({key}) > {highest} AND token({key}) <= {highest}");
    let cql = format!("SELECT {key} FROM {}.{} WHERE {none} LIMIT 1", quoted(&name.keyspace), quoted(&name.table));
    let what = format!("reading {}.{}", name.keyspace, name.table);
    let question = Question { consistency: consistency(level), ..Question::new(&what, &cql) };
    question.ask::<scylla::value::Row>(cluster.session(), ()).await.map(drop)
}

/// A masked column reads as its mask, silently, unless the role holds UNMASK.
async fn refuse_masked(cluster: &Cluster, keyspace: &str, chosen: &BTreeMap<String, Definition>) -> Result<()> {
    if cluster.is_scylla() || cluster.versions().1 < MASKS_SINCE {
        return Ok(());
    }
    let what = format!("reading the column masks of keyspace {keyspace}");
    let cql = "SELECT table_name, column_name FROM system_schema.column_masks WHERE keyspace_name = ?";
    let masks: Vec<(String, String)> = Question::new(&what, cql).ask(cluster.session(), (keyspace,)).await?;
    for (table, column) in masks.iter().filter(|(table, _)| chosen.contains_key(table)) {
        if !may_unmask(cluster, keyspace, table).await? {
            let role = cluster.profile().username.as_deref().unwrap_or("this role");
            return Err(Error::invalid(format!(
                "{keyspace}.{table}: column {column} is masked, and it can't be shown that {role} may see through it; an administrator can run: GRANT UNMASK ON TABLE {keyspace}.{table} TO {role}"
            )));
        }
    }
    Ok(())
}

async fn may_unmask(cluster: &Cluster, keyspace: &str, table: &str) -> Result<bool> {
    let Some(role) = &cluster.profile().username else { return Ok(true) }; // without logins everybody may
    let role = quoted(role);
    let roles = format!("LIST ROLES OF {role}");
    let granted = format!("LIST UNMASK PERMISSION ON TABLE {}.{} OF {role}", quoted(keyspace), quoted(table));
    let what = "asking for the grants of the login";
    match Question::new(what, &roles).ask::<scylla::value::Row>(cluster.session(), ()).await {
        Ok(rows) => {
            // role, super, login, …
            let is_super = |row: &scylla::value::Row| {
                matches!(row.columns.get(1), Some(Some(scylla::value::CqlValue::Boolean(true))))
            };
            if rows.iter().any(is_super) {
                return Ok(true);
            }
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {}
        Err(error) => return Err(error),
    }
    match Question::new(what, &granted).ask::<scylla::value::Row>(cluster.session(), ()).await {
        Ok(rows) => Ok(!rows.is_empty()),
        // "LIST PERMISSIONS operation is not supported by AllowAllAuthorizer": nothing is withheld from anybody
        Err(error) if error.to_string().contains("AllowAllAuthorizer") => Ok(true),
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cdc_log_is_left_out_only_beside_its_table() {
        let names = ["orders".to_owned(), "orders_scylla_cdc_log".to_owned(), "x_scylla_cdc_log".to_owned()];
        assert!(is_cdc_log(&names[1], &names));
        assert!(!is_cdc_log(&names[0], &names));
        assert!(!is_cdc_log(&names[2], &names));
    }

    #[test]
    fn compact_tables_are_refused_by_name() {
        let definition = Definition {
            id: uuid::Uuid::nil(),
            flags: vec!["dense".into()],
            default_ttl_s: 0,
            columns: vec![],
            types: vec![],
        };
        let error = inspected("ks", "old", &definition).expect_err("compact").to_string();
        assert!(error.contains("ks.old is a COMPACT STORAGE table"), "{error}");
    }
}
