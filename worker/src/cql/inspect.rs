//! What planning needs to know of a cluster: nodes, ring, the tables of a keyspace, how large they are, and which can't be
//! read as they stand, told before any work begins.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use prost::Message;
use ringvault_archive::table::TableLayout;
use ringvault_proto::{
    pattern::{PatternError, Patterns},
    v1,
};

use super::{
    Cluster, consistency,
    errors::{Error, Result},
    fingerprint::{Definition, definitions},
    masks, quoted,
    ring::RING_TOKENS_MAX,
    rows::Question,
    select, sizes, system_schema,
};

/// Tables that are asked about at once.
pub(crate) const TABLES_AT_ONCE: usize = 8;

/// Most names that a message lists.
const NAMES_LISTED_MAX: usize = 20;

/// Longest answer, encoded: messages have at most 4 MiB.
const ANSWER_BYTES_MAX: usize = 3_500_000;

/// Answers an inspection. That no keyspace matches is an answer, not an error; keyspaces of the server itself never match.
///
/// # Errors
/// `NotFound` for a named table that none of the keyspaces has; `Invalid`, by name, for a table that can't be read faithfully or
/// that the login may not read, and for too many tables; else what the database said.
pub async fn inspect(cluster: &Cluster, request: &v1::InspectCluster) -> Result<v1::InspectResult> {
    let invalid = |error: PatternError| Error::invalid(error.to_string());
    let keyspaces = Patterns::of_keyspaces(&request.keyspaces).map_err(invalid)?;
    let tables = Patterns::of_tables(&request.tables).map_err(invalid)?;
    let mut result = topology(cluster);
    result.keyspaces = system_schema::keyspaces(cluster).await?;
    result.keyspaces.retain(|keyspace| keyspaces.has_keyspace(keyspace));
    let mut all = BTreeMap::new();
    for keyspace in &result.keyspaces {
        let mut definitions = definitions(cluster, keyspace, None).await?;
        let names: Vec<String> = definitions.keys().cloned().collect();
        definitions.retain(|name, _| !is_cdc_log(name, &names));
        all.insert(keyspace.clone(), definitions);
    }
    check_named(cluster, &tables, &all).await?;
    for (keyspace, mut chosen) in all {
        // the data centre that is asked must hold the keyspace's rows, also where it has no tables yet
        let Some(strategy) = cluster.replication(&keyspace).await? else { continue };
        result.local_data_center = cluster.choose_local_dc(&keyspace, &strategy)?;
        chosen.retain(|name, _| tables.has_table(&keyspace, name));
        if !chosen.is_empty() {
            result.tables.extend(inspect_tables(cluster, request, &keyspace, &chosen).await?);
        }
    }
    if result.encoded_len() > ANSWER_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the {} tables of this job don't fit into one message; choose fewer with --tables",
            result.tables.len()
        )));
    }
    Ok(result)
}

/// The chosen tables of one keyspace.
async fn inspect_tables(
    cluster: &Cluster,
    request: &v1::InspectCluster,
    keyspace: &str,
    chosen: &BTreeMap<String, Definition>,
) -> Result<Vec<v1::InspectedTable>> {
    masks::refuse(cluster, keyspace, &|table| chosen.contains_key(table)).await?;
    let mut tables = Vec::new();
    for (name, definition) in chosen {
        tables.push(inspected(keyspace, name, definition)?);
    }
    check_grants(cluster, &tables, request.read_consistency()).await?;
    let probes: Vec<BoxFuture<'_, Result<Vec<v1::Approximation>>>> =
        tables.iter().map(|table| approximations(cluster, table, request.values_only).boxed()).collect();
    let found: Vec<_> = futures::stream::iter(probes).buffered(TABLES_AT_ONCE).try_collect().await?;
    for (table, found) in tables.iter_mut().zip(found) {
        table.approximations = found;
    }
    if request.sizes {
        sizes::estimate(cluster, &cluster.route(keyspace).await?, &mut tables).await?;
    }
    Ok(tables)
}

async fn approximations(
    cluster: &Cluster,
    table: &v1::InspectedTable,
    values_only: bool,
) -> Result<Vec<v1::Approximation>> {
    select::approximations(cluster, &TableLayout::from_message(table)?, values_only).await
}

/// Nodes and ring alone.
pub(crate) fn topology(cluster: &Cluster) -> v1::InspectResult {
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

/// A table that is named without a star must stand in one of the keyspaces that may be meant.
async fn check_named(
    cluster: &Cluster,
    wanted: &Patterns,
    all: &BTreeMap<String, BTreeMap<String, Definition>>,
) -> Result<()> {
    for (of, name) in wanted.names() {
        let meant: Vec<&String> = all.keys().filter(|keyspace| of.is_none_or(|of| of == keyspace.as_str())).collect();
        if meant.iter().any(|keyspace| all[*keyspace].contains_key(name)) {
            continue;
        }
        if let [keyspace] = meant[..] {
            return Err(missing_table(cluster, keyspace, name, all[keyspace].keys()).await?);
        }
        if let (Some(of), true) = (of, meant.is_empty()) {
            return Err(Error::not_found(format!(
                "table {of}.{name} is named, but keyspace {of} is not part of the job"
            )));
        }
        if !meant.is_empty() {
            let keyspaces: Vec<&str> = meant.into_iter().map(String::as_str).collect();
            return Err(Error::not_found(format!("none of the keyspaces {} has a table {name}", keyspaces.join(", "))));
        }
    }
    let there: Vec<(&String, &String)> =
        all.iter().flat_map(|(keyspace, tables)| tables.keys().map(move |name| (keyspace, name))).collect();
    if wanted.is_empty() || all.is_empty() || there.iter().any(|(keyspace, name)| wanted.has_table(keyspace, name)) {
        return Ok(());
    }
    let names = there.iter().take(NAMES_LISTED_MAX).map(|(keyspace, name)| format!("{keyspace}.{name}"));
    let names: Vec<String> = names.collect();
    let held = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let more = if there.len() > names.len() { " and more" } else { "" };
    Err(Error::not_found(format!("{wanted} means no table; there is {held}{more}")))
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
