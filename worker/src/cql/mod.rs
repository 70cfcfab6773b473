//! The only place that speaks CQL. Everything of the driver stays behind this module's door.
//!
//! - [`profile`]: how a cluster is reached; `tls`: encrypted connections
//! - [`cluster`]: an open cluster; `connect`: opening it; `topology`: who it consists of; [`ring`]: tokens and replicas
//! - [`errors`]: every failure of driver and server in one error; `classify`: what they mean
//! - [`inspect`]: what planning needs; [`fingerprint`]: has a table changed; [`sizes`]: how much is it
//! - [`scan`]: reads a table; `select`: its statements; `reader`: pages of a range; `fetch`: one page and its attempts;
//!   [`page`]: raw rows; [`lines`]: which lines rows make
//! - [`load`]: writes rows back
//! - [`system_schema`], [`describe`]: reads a keyspace's schema; [`ddl`]: brings it back; `roles`: roles and grants;
//!   `masks`: masked columns
//! - [`pace`]: how hard the database is leaned on
//!
//! Deliberately absent: how rows look at rest, gRPC, what to read or write next.

use ringvault_proto::v1;
use scylla::statement::Consistency;

mod classify;
pub mod cluster;
mod connect;
pub mod ddl;
pub mod describe;
pub mod errors;
mod fetch;
pub mod fingerprint;
pub mod inspect;
pub mod lines;
pub mod load;
mod masks;
pub mod pace;
pub mod page;
pub mod profile;
mod reader;
pub mod ring;
mod roles;
mod rows;
pub mod scan;
mod select;
pub mod sizes;
pub mod system_schema;
mod tls;
mod topology;

pub use cluster::Cluster;
pub use errors::{Error, Result};
pub use profile::ClusterProfile;

/// A name as CQL text, always quoted: `"Order"`, `"a""b"`.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The driver's consistency level; unspecified is `LOCAL_QUORUM`.
#[must_use]
pub fn consistency(level: v1::Consistency) -> Consistency {
    match level {
        v1::Consistency::Unspecified | v1::Consistency::LocalQuorum => Consistency::LocalQuorum,
        v1::Consistency::Any => Consistency::Any,
        v1::Consistency::One => Consistency::One,
        v1::Consistency::Two => Consistency::Two,
        v1::Consistency::Three => Consistency::Three,
        v1::Consistency::Quorum => Consistency::Quorum,
        v1::Consistency::All => Consistency::All,
        v1::Consistency::EachQuorum => Consistency::EachQuorum,
        v1::Consistency::LocalOne => Consistency::LocalOne,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_spawns_may_move_between_threads() {
        fn check<T: Send>(_: impl FnOnce() -> T) {}
        fn unreachable<T>() -> T {
            unreachable!("never run, only typed")
        }
        check(|| Cluster::connect(unreachable()));
        check(|| inspect::inspect(unreachable(), unreachable()));
        check(|| fingerprint::fingerprint(unreachable(), "", ""));
        check(|| scan::TableScan::prepare(unreachable(), unreachable(), unreachable()));
        check(|| async {
            let mut reader: scan::RangeReader = unreachable();
            reader.next_page().await
        });
    }

    #[test]
    fn quotes_in_names_are_doubled() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
