//! Dynamic data masking (Cassandra 5.0): without UNMASK a SELECT silently returns masks instead of values.

use ringvault_proto::error::ErrorKind;
use scylla::value::{CqlValue, Row};

use super::{
    Cluster,
    errors::{Error, Result},
    quoted,
    ring::Version,
    rows::Question,
};
use crate::schema::ident::shown;

/// The first release with dynamic data masking.
const MASKS_SINCE: Version = Version::new(5, 0, 0);

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
    for (table, column) in masks.iter().filter(|(table, _)| is_read(table)) {
        if !may_unmask(cluster, keyspace, table).await? {
            let role = cluster.profile().username.as_deref().unwrap_or("this role");
            return Err(Error::invalid(format!(
                "{keyspace}.{table}: column {column} is masked, and it can't be shown that {role} may see through it; an administrator can run: GRANT UNMASK ON TABLE {}.{} TO {}",
                shown(keyspace),
                shown(table),
                shown(role)
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
    match Question::new(what, &roles).ask::<Row>(cluster.session(), ()).await {
        Ok(rows) => {
            // role, super, login, …
            let is_super = |row: &Row| matches!(row.columns.get(1), Some(Some(CqlValue::Boolean(true))));
            if rows.iter().any(is_super) {
                return Ok(true);
            }
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {}
        Err(error) => return Err(error),
    }
    match Question::new(what, &granted).ask::<Row>(cluster.session(), ()).await {
        Ok(rows) => Ok(!rows.is_empty()),
        // "LIST PERMISSIONS operation is not supported by AllowAllAuthorizer": nothing is withheld from anybody
        Err(error) if error.to_string().contains("AllowAllAuthorizer") => Ok(true),
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(false),
        Err(error) => Err(error),
    }
}
