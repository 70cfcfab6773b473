//! DDL without I/O: how CQL text is read, written and adapted. Pure; the reading and applying stand in `cql`.
//!
//! - [`ident`]: quoting of names and literals
//! - [`lex`]: CQL tokens, so that nothing is ever split on a `;` inside a body
//! - [`model`]: the rows of `system_schema`, as data
//! - [`generate`]: DDL from those rows, for servers without DESCRIBE (Cassandra 3.11)
//! - [`statement`]: what a CREATE statement says (kind, name, options, replication)
//! - [`plan`]: what a restore brings to a target; of [`select`]: the order of objects, and the objects that chosen tables need;
//!   [`rename`]: other names; [`replication`]: other places; [`adapt`]: options that another server doesn't know
//! - [`roles`]: roles and grants; [`repair`]: what servers describe wrongly
//! - [`compare`]: is what stands in the target what the backup has
//! - [`features`]: what a schema needs of a server
//! - [`table_of`]: a table by its statement; [`seed`]: the schema file of cassandra-backup-tool
//!
//! Deliberately absent: the driver, any statement that changes rows.

pub mod adapt;
pub mod compare;
pub mod features;
pub mod generate;
pub mod ident;
pub mod lex;
pub mod model;
pub mod plan;
pub mod rename;
pub mod repair;
pub mod replication;
pub mod roles;
pub mod seed;
pub mod select;
pub mod statement;
pub mod table_of;

use ringvault_proto::error::{ErrorKind, Failure};

/// What this module returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// The schema or the request is wrong for this target.
pub(crate) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

/// Keyspaces of the server itself: never backed up, never restored.
#[must_use]
pub fn is_system(keyspace: &str) -> bool {
    const NAMES: [&str; 10] = [
        "system",
        "system_auth",
        "system_distributed",
        "system_distributed_everywhere",
        "system_metrics",
        "system_replicated_keys",
        "system_schema",
        "system_traces",
        "system_views",
        "system_virtual_schema",
    ];
    NAMES.contains(&keyspace)
}

/// A server version, as far as DDL depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// As in **4**.1.10.
    pub major: u32,
    /// As in 4.**1**.10.
    pub minor: u32,
}

impl Release {
    /// The first two numbers of a release version such as `4.1.10`, `5.0-rc1` or `3.11.19-SNAPSHOT`; zero where there is none.
    #[must_use]
    pub fn of(version: &str) -> Self {
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        Self { major: numbers.next().unwrap_or(0), minor: numbers.next().unwrap_or(0) }
    }

    /// This release or a later one.
    #[must_use]
    pub fn is_at_least(self, major: u32, minor: u32) -> bool {
        self >= Self { major, minor }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_the_first_two_numbers_of_a_version() {
        assert_eq!(Release::of("4.1.10"), Release { major: 4, minor: 1 });
        assert_eq!(Release::of("5.0-rc1"), Release { major: 5, minor: 0 });
        assert_eq!(Release::of("nonsense"), Release { major: 0, minor: 0 });
        assert!(Release::of("3.11.19") < Release::of("4.0.0"));
        assert!(Release::of("4.1.10").is_at_least(4, 1));
    }
}
