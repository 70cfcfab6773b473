//! Roles, memberships and grants as objects of a schema, written so that they may be created again over what stands there.
//!
//! Passwords are here as salted hashes only, where the server shows them and another takes them.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_archive::schema::{SchemaKind, SchemaObject};

use super::{
    adapt::Adapted,
    generate::without_frozen,
    ident::{literal, map_literal, shown},
    lex::{self, Token},
    model::{KeyspaceModel, Options},
};

/// The superuser that every cluster begins with; it is never captured, since no target should get it back.
const FIRST_SUPERUSER: &str = "cassandra";

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as CREATE ROLE names them
pub struct RoleModel {
    pub name: String,
    pub superuser: bool,
    pub login: bool,
    pub options: Options,
    /// Empty: all.
    pub data_centers: BTreeSet<String>,
    pub salted_hash: Option<String>,
    /// Roles that were granted to it directly.
    pub member_of: BTreeSet<String>,
}

/// What a permission is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The keyspace.
    Keyspace,
    /// `ALL TABLES IN KEYSPACE`
    AllTables,
    /// A table.
    Table(String),
    /// `ALL FUNCTIONS IN KEYSPACE`
    AllFunctions,
    /// A function or aggregate, with the types of its arguments as CQL.
    Function(String),
}

/// A permission of a role on something in a keyspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct GrantModel {
    pub keyspace: String,
    pub resource: Resource,
    pub role: String,
    pub permission: String,
}

impl GrantModel {
    /// A row of LIST PERMISSIONS, where it is about one of these keyspaces: its resource reads `<table ks.t>`.
    #[must_use]
    pub fn read(role: &str, resource: &str, permission: &str, keyspaces: &[KeyspaceModel]) -> Option<Self> {
        let inner = resource.strip_prefix('<')?.strip_suffix('>')?;
        let known = |name: &str| keyspaces.iter().find(|keyspace| keyspace.name == name);
        let (keyspace, resource) = if let Some(name) = inner.strip_prefix("keyspace ") {
            (known(name)?, Resource::Keyspace)
        } else if let Some(name) = inner.strip_prefix("all tables in ") {
            (known(name)?, Resource::AllTables)
        } else if let Some(name) = inner.strip_prefix("all functions in ") {
            (known(name)?, Resource::AllFunctions)
        } else if let Some((keyspace, table)) = inner.strip_prefix("table ").and_then(|name| name.split_once('.')) {
            (known(keyspace)?, Resource::Table(table.to_owned()))
        } else {
            let (keyspace, function) = inner.strip_prefix("function ").and_then(|name| name.split_once('.'))?;
            let keyspace = known(keyspace)?;
            (keyspace, Resource::Function(signature(function, keyspace)?))
        };
        Some(Self {
            keyspace: keyspace.name.clone(),
            resource,
            role: role.to_owned(),
            permission: permission.to_owned(),
        })
    }

    fn object(&self) -> SchemaObject {
        let keyspace = shown(&self.keyspace);
        let on = match &self.resource {
            Resource::Keyspace => format!("KEYSPACE {keyspace}"),
            Resource::AllTables => format!("ALL TABLES IN KEYSPACE {keyspace}"),
            Resource::Table(table) => format!("TABLE {keyspace}.{}", shown(table)),
            Resource::AllFunctions => format!("ALL FUNCTIONS IN KEYSPACE {keyspace}"),
            Resource::Function(function) => format!("FUNCTION {keyspace}.{function}"),
        };
        let table = if let Resource::Table(table) = &self.resource { Some(table.clone()) } else { None };
        SchemaObject {
            kind: SchemaKind::Grant,
            keyspace: self.keyspace.clone(),
            name: format!("{} to {}", self.permission, self.role),
            table,
            cql: format!("GRANT {} ON {on} TO {}", self.permission, shown(&self.role)),
        }
    }
}

/// `plus(int, "My")` as CQL takes it, of the function that LIST PERMISSIONS shows as `Plus(int, My)`, without quotes.
fn signature(listed: &str, keyspace: &KeyspaceModel) -> Option<String> {
    let functions = keyspace.functions.iter().map(|f| (&f.name, &f.argument_types));
    let aggregates = keyspace.aggregates.iter().map(|a| (&a.name, &a.argument_types));
    let plain = |text: &str| text.replace(['"', ' '], "").to_lowercase();
    let mut found = functions.chain(aggregates).filter_map(|(name, types)| {
        let types: Vec<String> = types.iter().map(|t| without_frozen(t)).collect();
        let bare = types.iter().map(|t| t.replace('"', "")).collect::<Vec<_>>().join(", ");
        let named = listed.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('('));
        let same = plain(&without_frozen(listed)) == plain(&format!("{name}({bare})"));
        (named && same).then(|| format!("{}({})", shown(name), types.join(", ")))
    });
    found.next()
}

/// Everything that the grants on these keyspaces need: their roles, the roles that inherit from these, what they are members of
/// among them, and the grants, in the order of creation.
#[must_use]
pub fn objects(roles: &[RoleModel], grants: &[GrantModel]) -> Vec<SchemaObject> {
    let by_name: BTreeMap<&str, &RoleModel> =
        roles.iter().filter(|role| role.name != FIRST_SUPERUSER).map(|role| (role.name.as_str(), role)).collect();
    let mut needed: BTreeSet<&str> =
        grants.iter().map(|grant| grant.role.as_str()).filter(|name| by_name.contains_key(name)).collect();
    loop {
        let inherits = |role: &&&RoleModel| role.member_of.iter().any(|of| needed.contains(of.as_str()));
        let more: Vec<&str> = by_name.values().filter(inherits).map(|role| role.name.as_str()).collect();
        let before = needed.len();
        needed.extend(more);
        if needed.len() == before {
            break;
        }
    }
    let mut objects: Vec<SchemaObject> = needed.iter().map(|name| create_role(by_name[name])).collect();
    for name in &needed {
        for of in by_name[name].member_of.iter().filter(|of| needed.contains(of.as_str())) {
            objects.push(SchemaObject {
                kind: SchemaKind::Membership,
                keyspace: String::new(),
                name: format!("{of} to {name}"),
                table: None,
                cql: format!("GRANT {} TO {}", shown(of), shown(name)),
            });
        }
    }
    let grants: BTreeSet<&GrantModel> = grants.iter().filter(|grant| needed.contains(grant.role.as_str())).collect();
    objects.extend(grants.into_iter().map(GrantModel::object));
    objects
}

fn create_role(role: &RoleModel) -> SchemaObject {
    let mut clauses = vec![format!("SUPERUSER = {}", role.superuser), format!("LOGIN = {}", role.login)];
    if !role.options.is_empty() {
        clauses.push(format!("OPTIONS = {}", map_literal(&role.options)));
    }
    if !role.data_centers.is_empty() {
        let names: Vec<String> = role.data_centers.iter().map(|name| literal(name)).collect();
        clauses.push(format!("ACCESS TO DATACENTERS {{{}}}", names.join(", ")));
    }
    if let Some(hash) = &role.salted_hash {
        clauses.push(format!("HASHED PASSWORD = {}", literal(hash)));
    }
    SchemaObject {
        kind: SchemaKind::Role,
        keyspace: String::new(),
        name: role.name.clone(),
        table: None,
        cql: format!("CREATE ROLE IF NOT EXISTS {} WITH {}", shown(&role.name), clauses.join(" AND ")),
    }
}

/// A role as a server takes it that may not know the access to data centres (before 4.0) or hashed passwords (before 4.1).
pub(super) fn role_for(object: &SchemaObject, knows_access: bool, knows_hashes: bool) -> Adapted {
    let (mut cql, mut changes) = (object.cql.clone(), Vec::new());
    let logs_in = has_words(&cql, &["login", "=", "true"]);
    if !knows_access && let Some(without) = without_clause(&cql, "access") {
        changes.push(format!("role {}: this server can't restrict it to data centres; it may use all", object.name));
        cql = without;
    }
    let hashed = without_clause(&cql, "hashed");
    if logs_in && (hashed.is_none() || !knows_hashes) {
        changes.push(format!(
            "role {} comes without its password; set one by ALTER ROLE {} WITH PASSWORD = …",
            object.name,
            shown(&object.name)
        ));
    }
    if !knows_hashes && let Some(without) = hashed {
        cql = without;
    }
    Adapted { cql: Some(cql), changes }
}

/// A grant, where the server knows the permission (UNMASK and SELECT_MASKED since 5.0) and the resource (ALL TABLES since 4.1).
pub(super) fn grant_for(object: &SchemaObject, knows_all_tables: bool, knows_masks: bool) -> Adapted {
    let of_masks = has_words(&object.cql, &["grant", "unmask"]) || has_words(&object.cql, &["grant", "select_masked"]);
    let of_all_tables = has_words(&object.cql, &["all", "tables", "in"]);
    if (of_masks && !knows_masks) || (of_all_tables && !knows_all_tables) {
        let change = format!("this server does not know {}, left out", object.cql);
        return Adapted { cql: None, changes: vec![change] };
    }
    Adapted { cql: Some(object.cql.clone()), changes: Vec::new() }
}

fn has_words(cql: &str, words: &[&str]) -> bool {
    let is = |token: &Token<'_>, word: &str| token.is_word(word) || (word.len() == 1 && token.text == word);
    lex::tokens(cql).windows(words.len()).any(|found| found.iter().zip(words).all(|(token, word)| is(token, word)))
}

/// The statement without the clause that begins with this word; nothing where it has none.
fn without_clause(cql: &str, word: &str) -> Option<String> {
    let tokens = lex::tokens(cql);
    let at = tokens.windows(2).position(|pair| pair[0].is_word("and") && pair[1].is_word(word))?;
    let end = tokens.iter().skip(at + 1).find(|token| token.is_word("and")).map_or(cql.len(), |and| and.start);
    Some(format!("{} {}", cql[..tokens[at].start].trim_end(), &cql[end..]).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model::FunctionModel;

    fn role(name: &str, member_of: &[&str]) -> RoleModel {
        let member_of = member_of.iter().map(|name| (*name).to_owned()).collect();
        RoleModel { name: name.into(), member_of, ..RoleModel::default() }
    }

    fn shop() -> KeyspaceModel {
        let function = |name: &str, types: &[&str]| FunctionModel {
            name: name.into(),
            argument_types: types.iter().map(|t| (*t).to_owned()).collect(),
            ..FunctionModel::default()
        };
        KeyspaceModel {
            name: "Shop".into(),
            functions: vec![function("Plus", &["int", "frozen<\"My\">"]), function("Plus", &["int"])],
            ..KeyspaceModel::default()
        }
    }

    fn grant(resource: &str) -> Option<String> {
        GrantModel::read("r", resource, "ALTER", &[shop()]).map(|grant| grant.object().cql)
    }

    #[test]
    fn grants_are_read_from_the_servers_list() {
        assert_eq!(grant("<keyspace Shop>").as_deref(), Some("GRANT ALTER ON KEYSPACE \"Shop\" TO r"));
        assert_eq!(grant("<table Shop.Orders>").as_deref(), Some("GRANT ALTER ON TABLE \"Shop\".\"Orders\" TO r"));
        assert_eq!(
            grant("<all functions in Shop>").as_deref(),
            Some("GRANT ALTER ON ALL FUNCTIONS IN KEYSPACE \"Shop\" TO r")
        );
        assert_eq!(
            grant("<all tables in Shop>").as_deref(),
            Some("GRANT ALTER ON ALL TABLES IN KEYSPACE \"Shop\" TO r")
        );
        assert_eq!(
            grant("<function Shop.Plus(int, My)>").as_deref(),
            Some("GRANT ALTER ON FUNCTION \"Shop\".\"Plus\"(int, \"My\") TO r")
        );
        for other in ["<keyspace other>", "<all keyspaces>", "<role r>", "<function Shop.gone(int)>", "nonsense"] {
            assert_eq!(grant(other), None, "{other}");
        }
    }

    #[test]
    fn roles_come_with_those_that_inherit_from_them_and_without_the_first_superuser() {
        let roles = [
            role("clerk", &["reader"]),
            role("boss", &["clerk", "other"]),
            role("reader", &[]),
            role("other", &[]),
            role("cassandra", &["reader"]),
        ];
        let grant = |role: &str| GrantModel {
            keyspace: "Shop".into(),
            resource: Resource::Keyspace,
            role: role.into(),
            permission: "SELECT".into(),
        };
        let objects = objects(&roles, &[grant("reader"), grant("reader"), grant("cassandra"), grant("gone")]);
        let cql: Vec<&str> = objects.iter().map(|object| object.cql.as_str()).collect();
        assert_eq!(
            cql,
            [
                "CREATE ROLE IF NOT EXISTS boss WITH SUPERUSER = false AND LOGIN = false",
                "CREATE ROLE IF NOT EXISTS clerk WITH SUPERUSER = false AND LOGIN = false",
                "CREATE ROLE IF NOT EXISTS reader WITH SUPERUSER = false AND LOGIN = false",
                "GRANT clerk TO boss",
                "GRANT reader TO clerk",
                "GRANT SELECT ON KEYSPACE \"Shop\" TO reader",
            ]
        );
        assert!(objects.is_sorted_by_key(|object| object.kind));
    }

    #[test]
    fn a_role_loses_what_an_older_server_does_not_know_and_says_so() {
        let role = RoleModel {
            name: "Anna".into(),
            login: true,
            data_centers: BTreeSet::from(["dc1".to_owned(), "dc and 2".to_owned()]),
            salted_hash: Some("$2a$10$and".into()),
            ..RoleModel::default()
        };
        let object = create_role(&role);
        assert_eq!(
            object.cql,
            "CREATE ROLE IF NOT EXISTS \"Anna\" WITH SUPERUSER = false AND LOGIN = true AND ACCESS TO DATACENTERS {'dc and 2', 'dc1'} AND HASHED PASSWORD = '$2a$10$and'"
        );
        assert_eq!(role_for(&object, true, true), Adapted { cql: Some(object.cql.clone()), changes: vec![] });
        let old = role_for(&object, false, false);
        assert_eq!(
            old.cql.as_deref(),
            Some("CREATE ROLE IF NOT EXISTS \"Anna\" WITH SUPERUSER = false AND LOGIN = true")
        );
        assert_eq!(old.changes.len(), 2);
        assert!(old.changes[1].contains("ALTER ROLE \"Anna\" WITH PASSWORD"), "{:?}", old.changes);
        let middle = role_for(&object, false, true).cql.expect("kept");
        assert!(middle.ends_with("LOGIN = true AND HASHED PASSWORD = '$2a$10$and'"), "{middle}");
    }

    #[test]
    fn a_permission_that_the_server_does_not_know_is_left_out_and_told() {
        let grant = |cql: &str| SchemaObject {
            kind: SchemaKind::Grant,
            keyspace: "ks".into(),
            name: "x".into(),
            table: None,
            cql: cql.into(),
        };
        let unmask = grant("GRANT UNMASK ON KEYSPACE ks TO r");
        assert_eq!(grant_for(&unmask, true, false).cql, None);
        assert!(grant_for(&unmask, true, false).changes[0].contains("UNMASK"));
        assert!(grant_for(&unmask, true, true).cql.is_some());
        let all = grant("GRANT SELECT ON ALL TABLES IN KEYSPACE ks TO r");
        assert_eq!(grant_for(&all, false, false).cql, None);
        assert!(grant_for(&grant("GRANT SELECT ON TABLE ks.unmask TO r"), false, false).cql.is_some());
    }
}
