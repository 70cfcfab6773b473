//! Real Cassandra nodes on loopback addresses, without containers: jars from Maven Central, a generated `cassandra.yaml`,
//! and a JVM per node that ends with the process that started it.
//!
//! One cluster at a time on a machine ([`TestCluster::start`] takes a lock), since nodes share fixed ports and small
//! machines.

mod cluster;
mod config;
mod install;
mod jvm;
mod node;
mod tls;

pub use cluster::{ClusterSpec, TestCluster, connect};
pub(crate) use install::installation;
pub use install::prepare_all;
pub use tls::{Certificates, NodeTls, other_authority};

/// The CQL port of every node that the tests start; not the usual one, so that a database of the machine is left alone.
pub const CQL_PORT: u16 = 19042;
/// The port between nodes.
pub(crate) const STORAGE_PORT: u16 = 17000;
/// The port between nodes with TLS; unused, but a node wants it named.
pub(crate) const STORAGE_PORT_TLS: u16 = 17001;
/// JMX of the node `i` listens on this + i, on localhost only.
pub(crate) const JMX_PORT_FIRST: u16 = 17190;

/// The third part of the nodes' addresses: 0, or what `RINGVAULT_TEST_LANE` says. Two runs that have a lane and a cache
/// (`RINGVAULT_CACHE`) of their own run beside each other.
pub(crate) fn lane() -> u8 {
    std::env::var("RINGVAULT_TEST_LANE").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The releases that Ringvault supports, one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CassandraVersion {
    /// 3.11, on Java 11.
    V3_11,
    /// 4.0, on Java 17.
    V4_0,
    /// 4.1, on Java 17.
    V4_1,
    /// 5.0, on Java 17.
    V5_0,
}

impl CassandraVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V3_11, Self::V4_0, Self::V4_1, Self::V5_0];

    /// The release as Maven Central names it.
    pub fn release(self) -> &'static str {
        match self {
            Self::V3_11 => "3.11.19",
            Self::V4_0 => "4.0.18",
            Self::V4_1 => "4.1.10",
            Self::V5_0 => "5.0.6",
        }
    }

    /// As it stands in a test's name: `5_0`.
    pub fn label(self) -> &'static str {
        match self {
            Self::V3_11 => "3_11",
            Self::V4_0 => "4_0",
            Self::V4_1 => "4_1",
            Self::V5_0 => "5_0",
        }
    }
}

impl std::fmt::Display for CassandraVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.release())
    }
}
