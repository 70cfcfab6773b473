//! Dynamic data masking (Cassandra 5.0): without UNMASK a SELECT silently returns masks instead of values.
//!
//! That the role holds UNMASK is not enough: each node caches permissions, for minutes where an administrator wants it so, and masks
//! on until its cache is renewed. So every node is asked, by a statement that it refuses to a role that may not see the values.

use std::{collections::BTreeMap, time::Duration};

use ringvault_proto::error::ErrorKind;
use scylla::{
    statement::prepared::PreparedStatement,
    value::{CqlValue, Row},
};

use super::{
    Cluster,
    errors::{Error, Reason, Result, Values},
    quoted,
    ring::Version,
    rows::Question,
    topology,
};
use crate::schema::ident::shown;

/// The first release with dynamic data masking.
const MASKS_SINCE: Version = Version::new(5, 0, 0);

/// Times that a node is asked, with a pause in between: together more than the two seconds that it caches permissions by default.
const ATTEMPTS_MAX: u32 = 10;
const PAUSE: Duration = Duration::from_millis(400);

/// Refuses to read tables of `keyspace` with a masked column, unless the login can be shown to see through the mask.
///
/// # Errors
/// `Invalid`, naming the column and the permission that is missing.
pub(super) async fn refuse(cluster: &Cluster, keyspace: &str, is_read: &(dyn Fn(&str) -> bool + Sync)) -> Result<()> {
    if cluster.is_scylla() || cluster.versions().1 < MASKS_SINCE {
        return Ok(());
    }
    let what = format!("reading the column masks of keyspace {keyspace}");
    let cql = "SELECT table_name, column_name FROM system_schema.column_masks WHERE keyspace_name = ?";
    let masks: Vec<(String, String)> = Question::new(&what, cql).ask(cluster.session(), (keyspace,)).await?;
    let mut by_table: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
    for (table, column) in masks.iter().filter(|(table, _)| is_read(table)) {
        by_table.entry(table).or_default().push(column);
    }
    for (table, columns) in by_table {
        let column = columns[0];
        if !may_unmask(cluster, keyspace, table).await? {
            let role = cluster.profile().username.as_deref().unwrap_or("this role");
            return Err(Error::invalid(format!(
                "{keyspace}.{table}: column {column} is masked, and it can't be shown that {role} may see through it; an administrator can run: GRANT UNMASK ON TABLE {}.{} TO {}",
                shown(keyspace),
                shown(table),
                shown(role)
            )));
        }
        if cluster.profile().username.is_some() {
            check_every_node(cluster, keyspace, table, &columns).await?;
        }
    }
    Ok(())
}

/// Every node must know by now that the login may see through the masks.
async fn check_every_node(cluster: &Cluster, keyspace: &str, table: &str, columns: &[&String]) -> Result<()> {
    let what = format!("asking whether {keyspace}.{table} is shown without masks");
    let Some(question) = forbidden_question(cluster, &what, keyspace, table, columns).await? else {
        return Ok(()); // columns that no statement may ask for: the grant alone must do
    };
    for node in cluster.nodes().into_iter().filter(|node| node.up) {
        let mut statement = question.clone();
        statement.set_load_balancing_policy(Some(topology::only(node.host_id)));
        let mut attempt = 0;
        loop {
            // permissions are checked before the null is refused
            let Err(error) = cluster.session().execute_unpaged(&statement, (None::<CqlValue>,)).await else { break };
            let error = Error::of_execution(&what, &error, Values::None);
            if error.reason() == Reason::Rejected {
                break;
            }
            if error.reason() != Reason::Unauthorized {
                return Err(error);
            }
            if attempt == ATTEMPTS_MAX {
                return Err(Error::unavailable(format!(
                    "node {} still masks {keyspace}.{table}: its cache of permissions is older than the grant of UNMASK; wait for \
                     permissions_validity of its cassandra.yaml and try again",
                    node.address
                )));
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// A statement that restricts a masked column, which only they may who see it; none where no such column can be restricted.
async fn forbidden_question(
    cluster: &Cluster,
    what: &str,
    keyspace: &str,
    table: &str,
    columns: &[&String],
) -> Result<Option<PreparedStatement>> {
    let (keyspace, table) = (quoted(keyspace), quoted(table));
    for column in columns {
        for relation in ["= ?", "CONTAINS ?"] {
            let column = quoted(column);
            let cql =
                format!("SELECT {column} FROM {keyspace}.{table} WHERE {column} {relation} LIMIT 1 ALLOW FILTERING");
            match cluster.prepare(what, &cql).await {
                Ok(prepared) => return Ok(Some(prepared)),
                Err(error) if error.kind() == ErrorKind::Invalid => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

async fn may_unmask(cluster: &Cluster, keyspace: &str, table: &str) -> Result<bool> {
    let Some(role) = &cluster.profile().username else { return Ok(true) }; // without logins everybody may
    if is_superuser(cluster, role).await? {
        return Ok(true);
    }
    let (keyspace, table, role) = (quoted(keyspace), quoted(table), quoted(role));
    let granted = format!("LIST UNMASK PERMISSION ON TABLE {keyspace}.{table} OF {role}");
    let what = "asking for the grants of the login";
    match Question::new(what, &granted).ask::<Row>(cluster.session(), ()).await {
        Ok(rows) => Ok(!rows.is_empty()),
        // "LIST PERMISSIONS operation is not supported by AllowAllAuthorizer": nothing is withheld from anybody
        Err(error) if error.to_string().contains("AllowAllAuthorizer") => Ok(true),
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a role is a superuser, by itself or through another role; no where that can't be seen.
pub(super) async fn is_superuser(cluster: &Cluster, role: &str) -> Result<bool> {
    let (what, cql) = ("asking for the roles of the login", format!("LIST ROLES OF {}", quoted(role)));
    match Question::new(what, &cql).ask::<Row>(cluster.session(), ()).await {
        // role, super, login, …
        Ok(rows) => {
            let is_super = |row: &Row| matches!(row.columns.get(1), Some(Some(CqlValue::Boolean(true))));
            Ok(rows.iter().any(is_super))
        }
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(false),
        Err(error) => Err(error),
    }
}
