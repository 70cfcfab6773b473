//! Options that another server doesn't know are left out of the statement or said in its own words, and that is told by name.
//!
//! Only options whose loss changes no data; what a target can't hold at all is refused by [`super::features`].

mod options;

use ringvault_archive::schema::{SchemaKind, SchemaObject};

use super::{Release, Result, features::Target, statement::Statement};
use options::{Fate, keyspace_option, table_option};

const V4_0: Release = Release { major: 4, minor: 0 };
const V4_1: Release = Release { major: 4, minor: 1 };
const V5_0: Release = Release { major: 5, minor: 0 };

/// A statement as a target takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapted {
    /// The statement; nothing where the target has no such thing.
    pub cql: Option<String>,
    /// What was left out or changed, for a person.
    pub changes: Vec<String>,
}

/// What a server is, as far as options depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    release: Release,
    scylla: bool,
}

impl Server {
    fn of(target: &Target) -> Self {
        // without a release nothing is known to be missing
        Self { release: target.release.unwrap_or(V5_0), scylla: target.scylla }
    }

    /// Cassandra of this release or a later one.
    fn is_cassandra(self, since: Release) -> bool {
        !self.scylla && self.release >= since
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.scylla { f.write_str("ScyllaDB") } else { write!(f, "Cassandra {}", self.release) }
    }
}

/// The object's statement for this target.
///
/// # Errors
/// `Invalid` where it is no CREATE statement.
pub fn for_target(object: &SchemaObject, target: &Target) -> Result<Adapted> {
    let server = Server::of(target);
    let unchanged = || Adapted { cql: Some(object.cql.clone()), changes: Vec::new() };
    Ok(match object.kind {
        SchemaKind::Keyspace | SchemaKind::Table | SchemaKind::View => with_options(object, server)?,
        SchemaKind::Index => index(object, server)?,
        SchemaKind::Role => super::roles::role_for(object, server.is_cassandra(V4_0), server.is_cassandra(V4_1)),
        SchemaKind::Grant => super::roles::grant_for(object, server.is_cassandra(V4_1), server.is_cassandra(V5_0)),
        SchemaKind::Type
        | SchemaKind::Function
        | SchemaKind::Aggregate
        | SchemaKind::Trigger
        | SchemaKind::Membership => unchanged(),
    })
}

/// The statement without one of its options.
///
/// # Errors
/// `Invalid` where it is no CREATE statement.
pub fn without_option(cql: &str, option: &str) -> Result<String> {
    let statement = Statement::parse(cql)?;
    let clauses = statement.clauses();
    let kept: Vec<String> =
        clauses.iter().filter(|clause| clause.name != option).map(|clause| clause.text.to_owned()).collect();
    Ok(assembled(&statement, &kept))
}

fn with_options(object: &SchemaObject, server: Server) -> Result<Adapted> {
    let statement = Statement::parse(&object.cql)?;
    let (mut kept, mut changes, mut changed) = (Vec::new(), Vec::new(), false);
    let name = if object.kind == SchemaKind::Keyspace {
        format!("keyspace {}", object.name)
    } else {
        let noun = if object.kind == SchemaKind::View { "view" } else { "table" };
        format!("{noun} {}.{}", object.keyspace, object.name)
    };
    let mut tell = |what: String| changes.push(format!("{name}: {what}"));
    for clause in statement.clauses() {
        let fate = if object.kind == SchemaKind::Keyspace {
            keyspace_option(server, &clause.name)
        } else {
            table_option(server, &clause.name, clause.value)
        };
        match fate {
            Fate::Kept => kept.push(clause.text.to_owned()),
            Fate::LeftOut { silently } => {
                changed = true;
                if !silently {
                    tell(format!("{server} has no option {}, left out", clause.text));
                }
            }
            Fate::Put { value, note } => {
                changed |= value != clause.value;
                kept.push(format!("{} = {value}", clause.name));
                if let Some(note) = note {
                    tell(format!("{note} in {}", clause.name));
                }
            }
        }
    }
    let cql = if changed { assembled(&statement, &kept) } else { object.cql.clone() };
    Ok(Adapted { cql: Some(cql), changes })
}

fn assembled(statement: &Statement<'_>, clauses: &[String]) -> String {
    let with = if clauses.is_empty() { String::new() } else { format!(" WITH {}", clauses.join("\n    AND ")) };
    format!("{}{with}", statement.head())
}

/// `USING 'legacy_local_table'` is what servers before 5.0 do without a word.
fn index(object: &SchemaObject, server: Server) -> Result<Adapted> {
    let statement = Statement::parse(&object.cql)?;
    let legacy = statement.index_class().is_some_and(|class| class.eq_ignore_ascii_case("legacy_local_table"));
    if !legacy || server.is_cassandra(V5_0) {
        return Ok(Adapted { cql: Some(object.cql.clone()), changes: Vec::new() });
    }
    let using = statement.tokens().iter().rev().find(|token| token.is_word("using"));
    let head = using.map_or(object.cql.as_str(), |using| object.cql[..using.start].trim_end());
    Ok(Adapted { cql: Some(head.replacen("CUSTOM ", "", 1)), changes: Vec::new() })
}

#[cfg(test)]
mod tests;
