//! Other names for a keyspace and for tables, in every statement that speaks of them. Token by token: a name inside a text, a
//! body or a comment is never touched.
//!
//! Deliberately absent: types, functions and columns, which keep their names.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_archive::schema::{SchemaKind, SchemaObject};

use super::{
    Result,
    ident::shown,
    lex::{self, Kind, Token},
    model::KeyspaceModel,
    statement::Statement,
};

/// Longest name of an index or view that every release takes.
const OWN_NAME_MAX: usize = 48;

/// New names.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The keyspace, as it is called in the backup.
    pub keyspace: &'a str,
    /// What it is called in the target.
    pub keyspace_as: &'a str,
    /// Tables and views with another name there.
    pub tables: &'a BTreeMap<String, String>,
}

impl Names<'_> {
    /// What a table or view of the backup is called in the target.
    #[must_use]
    pub fn table(&self, name: &str) -> String {
        self.tables.get(name).map_or_else(|| name.to_owned(), Clone::clone)
    }
}

/// The object under its new names.
///
/// # Errors
/// `Invalid` where its statement can't be read.
pub fn renamed(object: &SchemaObject, names: &Names<'_>) -> Result<SchemaObject> {
    if object.kind.is_global() {
        return Ok(object.clone());
    }
    let cql = match object.kind {
        SchemaKind::Grant => renamed_grant(&object.cql, names),
        SchemaKind::Keyspace
        | SchemaKind::Type
        | SchemaKind::Function
        | SchemaKind::Aggregate
        | SchemaKind::Table
        | SchemaKind::Index
        | SchemaKind::View
        | SchemaKind::Trigger
        | SchemaKind::Role
        | SchemaKind::Membership => renamed_statement(&object.cql, names)?,
    };
    let name = if object.kind == SchemaKind::Keyspace {
        names.keyspace_as.to_owned()
    } else if matches!(object.kind, SchemaKind::Table | SchemaKind::View) {
        names.table(&object.name)
    } else {
        object.name.clone()
    };
    let table = object.table.as_ref().map(|table| names.table(table));
    Ok(SchemaObject { kind: object.kind, keyspace: names.keyspace_as.to_owned(), name, table, cql })
}

/// The index or view under another name.
///
/// # Errors
/// `Invalid` where its statement can't be read.
pub fn called(object: &SchemaObject, name: &str) -> Result<SchemaObject> {
    let statement = Statement::parse(&object.cql)?;
    let mut edits = Edits::default();
    if let Some(at) = statement.name_at {
        edits.put(&statement.tokens()[at], name);
    }
    Ok(SchemaObject { name: name.to_owned(), cql: edits.applied(&object.cql), ..object.clone() })
}

/// Gives indexes and views of renamed tables another name where something of another table has theirs: their names are shared by
/// all tables of a keyspace. `gone`: tables that are dropped first. The outcome depends on other tables only, so it is the same
/// when the indexes and views stand there already. Tells what was renamed.
///
/// # Errors
/// `Invalid` where a statement can't be read.
pub fn free_names(
    objects: &mut [SchemaObject],
    live: &KeyspaceModel,
    renamed: &BTreeSet<String>,
    gone: &dyn Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let planned: Vec<SchemaObject> = objects.iter().filter(|object| object.keyspace == live.name).cloned().collect();
    for object in objects.iter_mut().filter(|object| object.keyspace == live.name) {
        if !matches!(object.kind, SchemaKind::Index | SchemaKind::View) {
            continue;
        }
        let noun = if object.kind == SchemaKind::Index { "index" } else { "view" };
        let Some(table) = object.table.clone().filter(|table| renamed.contains(table)) else { continue };
        let taken = |name: &str| is_taken(name, object.kind, &table, live, &planned, gone);
        if !taken(&object.name) {
            continue;
        }
        let own = format!("{table}_{}", object.name);
        let numbered = (2..100).map(|number| format!("{own}_{number}"));
        let fitting = |name: String| {
            let too_long = name.chars().count().saturating_sub(OWN_NAME_MAX);
            name.chars().skip(too_long).collect::<String>()
        };
        let mut candidates = [own.clone()].into_iter().chain(numbered).map(fitting);
        let Some(free) = candidates.find(|name| !taken(name)) else { continue };
        notes.push(format!(
            "{noun} {} is called {free} in keyspace {}, where something of another table has its name",
            object.name, live.name
        ));
        *object = called(object, &free)?;
    }
    Ok(notes)
}

/// Whether something of another table has this name, in the target or in the plan.
fn is_taken(
    name: &str,
    kind: SchemaKind,
    table: &str,
    live: &KeyspaceModel,
    planned: &[SchemaObject],
    gone: &dyn Fn(&str) -> bool,
) -> bool {
    let stays = |of: &str| of != table && !gone(of);
    if kind == SchemaKind::Index {
        let of_other = |o: &SchemaObject| o.kind == kind && o.name == name && o.table.as_deref() != Some(table);
        return live.indexes.iter().any(|i| i.name == name && stays(&i.table)) || planned.iter().any(of_other);
    }
    let of_other = |o: &SchemaObject| {
        o.name == name && (o.kind == SchemaKind::Table || (o.kind == kind && o.table.as_deref() != Some(table)))
    };
    live.tables.iter().any(|t| t.name == name && !gone(name))
        || live.views.iter().any(|v| v.table.name == name && stays(&v.base))
        || planned.iter().any(of_other)
}

fn renamed_statement(cql: &str, names: &Names<'_>) -> Result<String> {
    let statement = Statement::parse(cql)?;
    let tokens = statement.tokens();
    let mut edits = Edits::default();
    qualifiers(tokens, names, &mut edits);
    let tables = match statement.kind {
        SchemaKind::Keyspace => {
            edits.put_at(tokens, statement.name_at, names.keyspace_as);
            [None, None]
        }
        SchemaKind::Table => [statement.name_at, None],
        SchemaKind::View => [statement.name_at, statement.table_at],
        SchemaKind::Index | SchemaKind::Trigger => [None, statement.table_at],
        SchemaKind::Type
        | SchemaKind::Function
        | SchemaKind::Aggregate
        | SchemaKind::Role
        | SchemaKind::Membership
        | SchemaKind::Grant => [None, None],
    };
    for at in tables.into_iter().flatten() {
        if let Some(name) = names.tables.get(&tokens[at].value()) {
            edits.put(&tokens[at], name);
        }
    }
    Ok(edits.applied(cql))
}

fn renamed_grant(cql: &str, names: &Names<'_>) -> String {
    let tokens = lex::tokens(cql);
    let mut edits = Edits::default();
    qualifiers(&tokens, names, &mut edits);
    for (at, token) in tokens.iter().enumerate() {
        let is_keyspace = |token: &Token<'_>| is_name(token) && token.value() == names.keyspace;
        if token.is_word("keyspace") && tokens.get(at + 1).is_some_and(is_keyspace) {
            edits.put(&tokens[at + 1], names.keyspace_as);
        }
        if token.is_word("table")
            && let Some(table) = tokens.get(at + 3).filter(|table| is_name(table))
            && let Some(name) = names.tables.get(&table.value())
        {
            edits.put(table, name);
        }
    }
    edits.applied(cql)
}

/// `keyspace.` in front of any name.
fn qualifiers(tokens: &[Token<'_>], names: &Names<'_>, edits: &mut Edits) {
    for (at, token) in tokens.iter().enumerate() {
        let qualifies = tokens.get(at + 1).is_some_and(|next| next.is_symbol('.'))
            && tokens.get(at + 2).is_some_and(is_name)
            && !at.checked_sub(1).is_some_and(|before| tokens[before].is_symbol('.'));
        if qualifies && is_name(token) && token.value() == names.keyspace {
            edits.put(token, names.keyspace_as);
        }
    }
}

/// A number is no name, so `0.5` qualifies nothing.
fn is_name(token: &Token<'_>) -> bool {
    match token.kind {
        Kind::QuotedName => true,
        Kind::Word => token.text.starts_with(|c: char| c.is_ascii_alphabetic()),
        Kind::Text | Kind::Symbol => false,
    }
}

/// Names to put in the place of tokens.
#[derive(Debug, Default)]
pub(super) struct Edits(BTreeMap<usize, (usize, String)>);

impl Edits {
    pub(super) fn put(&mut self, token: &Token<'_>, name: &str) {
        self.0.insert(token.start, (token.end(), shown(name)));
    }

    fn put_at(&mut self, tokens: &[Token<'_>], at: Option<usize>, name: &str) {
        if let Some(at) = at {
            self.put(&tokens[at], name);
        }
    }

    pub(super) fn applied(self, source: &str) -> String {
        let (mut text, mut last) = (String::new(), 0);
        for (start, (end, name)) in self.0 {
            text.push_str(&source[last..start]);
            text.push_str(&name);
            last = end;
        }
        text.push_str(&source[last..]);
        text
    }
}

#[cfg(test)]
mod tests;
