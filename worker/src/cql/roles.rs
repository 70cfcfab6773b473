//! Roles and grants: read by LIST, which every authorizer understands, and from `system_auth` what LIST does not tell; created
//! again behind everything else.
//!
//! Deliberately absent: roles that have nothing to do with the keyspaces of a backup, permissions on anything else.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::error::ErrorKind;
use scylla::value::{CqlValue, Row};

use super::{
    Cluster, consistency,
    ddl::Ddl,
    errors::{Error, Reason, Result},
    masks, quoted,
    rows::Question,
};
use crate::schema::{
    ident::shown,
    model::{KeyspaceModel, Options},
    roles::{GrantModel, RoleModel, objects},
};

/// What a server without authorization says.
const NO_AUTHORIZER: &str = "AllowAllAuthorizer";

/// Roles and grants on these keyspaces, as schema objects in the order of creation, with warnings.
///
/// # Errors
/// `Invalid` where the login may not read them, naming the permission that it lacks.
pub(super) async fn capture(
    cluster: &Cluster,
    keyspaces: &[KeyspaceModel],
) -> Result<(Vec<SchemaObject>, Vec<String>)> {
    let role = cluster.profile().username.as_deref().unwrap_or("this login");
    let listed = match list(cluster, "reading the grants", "LIST ALL PERMISSIONS").await {
        Ok(rows) => rows,
        Err(error) if error.to_string().contains(NO_AUTHORIZER) => {
            let warning = "the cluster knows no grants (AllowAllAuthorizer): the backup holds no roles".to_owned();
            return Ok((Vec::new(), vec![warning]));
        }
        Err(error) if matches!(error.reason(), Reason::Unauthorized | Reason::Rejected) => {
            return Err(Error::invalid(format!(
                "{role} may not read roles and grants ({error}); an administrator can run: GRANT DESCRIBE ON ALL ROLES TO {}; or leave --with-roles out",
                shown(role)
            )));
        }
        Err(error) => return Err(error),
    };
    let grants: Vec<GrantModel> = listed
        .iter()
        .filter_map(|row| {
            let resource = text(row, "resource")?;
            GrantModel::read(&text(row, "role")?, &resource, &text(row, "permission")?, keyspaces)
        })
        .collect();
    let mut warnings = Vec::new();
    let mut roles = list_roles(cluster).await?;
    add_memberships(cluster, &mut roles).await?;
    if let Err(error) = add_hashes(cluster, &mut roles).await {
        warnings.push(format!(
            "passwords are not part of the backup ({error}); to take their salted hashes along: GRANT SELECT ON system_auth.roles TO {}",
            shown(role)
        ));
    }
    add_data_centers(cluster, &mut roles).await;
    Ok((objects(&roles.into_values().collect::<Vec<_>>(), &grants), warnings))
}

/// Refuses a target that has no roles, or a login that can't give them.
///
/// # Errors
/// `Invalid`, with what to do.
pub(super) async fn check_restorable(cluster: &Cluster) -> Result<()> {
    let Some(role) = &cluster.profile().username else {
        return Err(Error::invalid(
            "roles can be restored by a login only; give --username, or leave --with-roles out",
        ));
    };
    let what = "asking whether the login may create roles and give grants";
    for permission in ["CREATE", "AUTHORIZE"] {
        let cql = format!("LIST {permission} PERMISSION ON ALL ROLES OF {}", quoted(role));
        match list(cluster, what, &cql).await {
            Ok(rows) if !rows.is_empty() => continue,
            Err(error) if error.to_string().contains(NO_AUTHORIZER) => {
                return Err(Error::invalid(
                    "the target knows no grants (AllowAllAuthorizer); set an authorizer in cassandra.yaml, or leave --with-roles out",
                ));
            }
            Err(error) if error.kind() != ErrorKind::Invalid => return Err(error),
            Ok(_) | Err(_) => {}
        }
        if !masks::is_superuser(cluster, role).await? {
            return Err(Error::invalid(format!(
                "{role} may not restore roles: it lacks {permission} ON ALL ROLES; an administrator can run: GRANT {permission} ON ALL \
                 ROLES TO {}; or leave --with-roles out",
                shown(role)
            )));
        }
    }
    Ok(())
}

/// Creates roles, memberships and grants; what stands there is left as it is.
///
/// # Errors
/// `Invalid` where the login may not.
pub(super) async fn restore(ddl: &mut Ddl<'_>, objects: &[SchemaObject]) -> Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let standing = known_roles(ddl.cluster).await;
    let kept: Vec<&str> = objects
        .iter()
        .filter(|object| object.kind == SchemaKind::Role && standing.contains(&object.name))
        .map(|object| object.name.as_str())
        .collect();
    if !kept.is_empty() {
        let names = kept.join(", ");
        ddl.result.warnings.push(format!("roles that stand in the target keep their passwords and options: {names}"));
    }
    let is_new = |object: &&SchemaObject| object.kind != SchemaKind::Role || !standing.contains(&object.name);
    for object in objects.iter().filter(is_new) {
        let doing = if object.kind == SchemaKind::Role { "creating role" } else { "granting" };
        let what = format!("{doing} {}", object.name);
        match ddl.run(&what, &object.cql).await {
            Ok(()) => {}
            // "alice is a member of reader": memberships know no IF NOT EXISTS
            Err(error) if object.kind == SchemaKind::Membership && error.to_string().contains(" is a member of ") => {}
            Err(error) if error.reason() == Reason::Unauthorized => {
                return Err(Error::invalid(format!(
                    "{error}; to restore roles a login needs CREATE and AUTHORIZE ON ALL ROLES and AUTHORIZE on the keyspace"
                )));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Rows by column name: servers list more columns with every release.
type Listed = BTreeMap<String, CqlValue>;

async fn list(cluster: &Cluster, what: &str, cql: &str) -> Result<Vec<Listed>> {
    let names: &[&str] = if cql.starts_with("LIST ROLES") {
        &["role", "super", "login", "options"]
    } else {
        // role, username, resource, permission
        &["role", "username", "resource", "permission"]
    };
    let rows: Vec<Row> = Question::new(what, cql).ask(cluster.session(), ()).await?;
    let named = |row: Row| {
        let cells = names.iter().zip(row.columns);
        cells.filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect()
    };
    Ok(rows.into_iter().map(named).collect())
}

fn text(row: &Listed, name: &str) -> Option<String> {
    row.get(name).and_then(CqlValue::as_text).cloned()
}

fn flag(row: &Listed, name: &str) -> bool {
    row.get(name).and_then(CqlValue::as_boolean).unwrap_or(false)
}

async fn list_roles(cluster: &Cluster) -> Result<BTreeMap<String, RoleModel>> {
    let rows = list(cluster, "reading the roles", "LIST ROLES").await?;
    let role = |row: Listed| {
        let name = text(&row, "role")?;
        let options: Options = match row.get("options") {
            Some(CqlValue::Map(pairs)) => {
                let pair =
                    |(key, value): &(CqlValue, CqlValue)| Some((key.as_text()?.clone(), value.as_text()?.clone()));
                pairs.iter().filter_map(pair).collect()
            }
            _ => Options::new(),
        };
        let (superuser, login) = (flag(&row, "super"), flag(&row, "login"));
        Some((name.clone(), RoleModel { name, superuser, login, options, ..RoleModel::default() }))
    };
    Ok(rows.into_iter().filter_map(role).collect())
}

/// From the table where it may be read, else role by role.
async fn add_memberships(cluster: &Cluster, roles: &mut BTreeMap<String, RoleModel>) -> Result<()> {
    type Memberships = Vec<(String, Option<BTreeSet<String>>)>;
    match auth::<(String, Option<BTreeSet<String>>)>(cluster, "role, member_of", "roles").await {
        Ok(rows) => {
            let rows: Memberships = rows;
            for (name, member_of) in rows {
                if let Some(role) = roles.get_mut(&name) {
                    role.member_of = member_of.unwrap_or_default();
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {
            for (name, role) in roles.iter_mut() {
                let cql = format!("LIST ROLES OF {} NORECURSIVE", quoted(name));
                let rows = list(cluster, "reading the memberships of roles", &cql).await?;
                role.member_of = rows.iter().filter_map(|row| text(row, "role")).filter(|of| of != name).collect();
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn add_hashes(cluster: &Cluster, roles: &mut BTreeMap<String, RoleModel>) -> Result<()> {
    for (name, hash) in auth::<(String, Option<String>)>(cluster, "role, salted_hash", "roles").await? {
        if let Some(role) = roles.get_mut(&name) {
            role.salted_hash = hash.filter(|hash| !hash.is_empty());
        }
    }
    Ok(())
}

/// Nothing where the server has no such table (before 4.0), or doesn't show it: then all roles may use all data centres.
async fn add_data_centers(cluster: &Cluster, roles: &mut BTreeMap<String, RoleModel>) {
    let rows = auth::<(String, Option<BTreeSet<String>>)>(cluster, "role, dcs", "network_permissions").await;
    for (name, data_centers) in rows.unwrap_or_default() {
        if let Some(role) = roles.get_mut(&name) {
            role.data_centers = data_centers.unwrap_or_default();
        }
    }
}

async fn auth<R>(cluster: &Cluster, columns: &str, table: &str) -> Result<Vec<R>>
where
    R: for<'f> scylla::deserialize::row::DeserializeRow<'f, 'f>,
{
    let what = format!("reading system_auth.{table}");
    let cql = format!("SELECT {columns} FROM system_auth.{table}");
    let level = consistency(ringvault_proto::v1::Consistency::LocalQuorum);
    Question { consistency: level, ..Question::new(&what, &cql) }.ask(cluster.session(), ()).await
}

/// Names of the roles that stand there, as far as the login may see them.
async fn known_roles(cluster: &Cluster) -> BTreeSet<String> {
    list_roles(cluster).await.map(|roles| roles.into_keys().collect()).unwrap_or_default()
}
