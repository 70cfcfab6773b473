//! Who a cluster consists of, by its own tables; the driver's picture is checked against it, since the driver goes on
//! with an invented ring where it could not read the real one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ringvault_proto::token::Token;
use scylla::{
    client::session::Session,
    cluster::ClusterState,
    policies::load_balancing::{LoadBalancingPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy},
};
use uuid::Uuid;

use super::{
    errors::{Error, Result},
    ring::{Ring, Version},
    rows::Question,
};

/// The partitioner whose tokens Ringvault counts with.
const PARTITIONER: &str = "org.apache.cassandra.dht.Murmur3Partitioner";

/// One node as the cluster's tables and the driver know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its identity.
    pub host_id: Uuid,
    /// Where it speaks CQL.
    pub address: SocketAddr,
    /// Its data centre.
    pub data_center: String,
    /// Its rack.
    pub rack: String,
    /// Its release; nothing where the node didn't tell.
    pub version: Option<Version>,
    /// Whether a connection to it stands.
    pub up: bool,
}

/// What one node's `system.local` and `system.peers` say.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) cluster_name: String,
    pub(crate) members: BTreeMap<Uuid, Member>,
    /// Rows of `system.peers` that name no node: left behind by a node that went.
    pub(crate) ghosts: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) data_center: String,
    pub(crate) version: Option<Version>,
    pub(crate) tokens: usize,
}

type LocalRow = (Uuid, String, String, String, Option<String>, Option<Vec<String>>);
type PeerRow = (Option<Uuid>, Option<String>, Option<String>, Option<Vec<String>>);

/// A policy that asks this node and no other.
pub(crate) fn only(host: Uuid) -> Arc<dyn LoadBalancingPolicy> {
    SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(host), None)
}

impl Topology {
    /// Reads it from `host`.
    pub(crate) async fn read(session: &Session, host: Uuid) -> Result<Self> {
        let cql = "SELECT host_id, cluster_name, data_center, partitioner, release_version, tokens FROM system.local";
        let local: Vec<LocalRow> = Question::new("reading system.local", cql).to(only(host)).ask(session, ()).await?;
        let Some((host_id, cluster_name, data_center, partitioner, release, tokens)) = local.into_iter().next() else {
            return Err(Error::of_answer("reading system.local", "it has no row"));
        };
        if partitioner != PARTITIONER {
            let name = partitioner.rsplit('.').next().unwrap_or_default();
            return Err(Error::invalid(format!(
                "cluster {cluster_name} uses {name}; Ringvault reads clusters with Murmur3Partitioner only, so use a physical backup for this one"
            )));
        }
        let mut members = BTreeMap::new();
        members.insert(host_id, member(data_center, release.as_deref(), tokens.as_deref()));
        let cql = "SELECT host_id, data_center, release_version, tokens FROM system.peers";
        let peers: Vec<PeerRow> = Question::new("reading system.peers", cql).to(only(host)).ask(session, ()).await?;
        let mut ghosts = 0;
        for peer in peers {
            match peer {
                (Some(host_id), Some(data_center), release, Some(tokens)) => {
                    members.insert(host_id, member(data_center, release.as_deref(), Some(&tokens)));
                }
                _ => ghosts += 1,
            }
        }
        Ok(Self { cluster_name, members, ghosts })
    }

    /// Whether the driver's ring is the cluster's: the same nodes, each with as many tokens.
    ///
    /// # Errors
    /// `Unavailable`, with what is missing; nodes may be joining or leaving just now.
    pub(crate) fn check(&self, ring: &Ring) -> Result<()> {
        for (host, member) in &self.members {
            let known = ring.tokens().iter().filter(|(_, owner)| owner == host).count();
            if known != member.tokens {
                return Err(Error::unavailable(format!(
                    "the ring is not complete: node {host} owns {} tokens and {known} of them are known; if nodes are joining or leaving, wait until they are done",
                    member.tokens
                )));
            }
        }
        match ring.hosts().iter().find(|host| !self.members.contains_key(host)) {
            Some(host) => Err(Error::unavailable(format!(
                "node {host} stands in the ring, but system.peers does not know it; wait until the topology is stable"
            ))),
            None => Ok(()),
        }
    }

    /// Data centres with nodes, sorted.
    pub(crate) fn data_centers(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.members.values().map(|member| &member.data_center).collect();
        names.into_iter().cloned().collect()
    }

    /// Lowest and highest release among the nodes.
    pub(crate) fn versions(&self) -> Result<(Version, Version)> {
        let versions = || self.members.values().filter_map(|member| member.version);
        versions()
            .min()
            .zip(versions().max())
            .ok_or_else(|| Error::of_answer("reading the nodes' releases", "no node tells its release_version"))
    }
}

fn member(data_center: String, release: Option<&str>, tokens: Option<&[String]>) -> Member {
    Member {
        data_center,
        version: release.and_then(|text| text.parse().ok()),
        tokens: tokens.map_or(0, <[String]>::len),
    }
}

/// The driver's ring.
pub(crate) fn ring_of(state: &ClusterState) -> Ring {
    let tokens = state.replica_locator().ring().iter();
    Ring::new(tokens.map(|(token, node)| (Token(token.value()), node.host_id)).collect())
}

/// The data centre of the contact points: of the one that answers first in their order, as the driver knows it.
pub(crate) async fn contact_dc(state: &ClusterState, contact_points: &[String]) -> Option<String> {
    for point in contact_points {
        let Ok(addresses) = tokio::net::lookup_host(point.as_str()).await else { continue };
        let addresses: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
        let node = state.get_nodes_info().iter().find(|node| addresses.contains(&node.address.ip()));
        if let Some(data_center) = node.and_then(|node| node.datacenter.clone()) {
            return Some(data_center);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(tokens: &[(u128, usize)]) -> Topology {
        let members = tokens.iter().map(|&(host, tokens)| {
            (Uuid::from_u128(host), Member { data_center: "dc1".into(), version: None, tokens })
        });
        Topology { cluster_name: "c".into(), members: members.collect(), ghosts: 0 }
    }

    #[test]
    fn an_invented_or_partial_ring_is_noticed() {
        let ring = Ring::new(vec![(Token(1), Uuid::from_u128(1)), (Token(2), Uuid::from_u128(2))]);
        assert!(topology(&[(1, 1), (2, 1)]).check(&ring).is_ok());
        assert!(topology(&[(1, 1), (2, 2)]).check(&ring).is_err());
        assert!(topology(&[(1, 1), (3, 1)]).check(&ring).is_err());
        assert!(topology(&[(1, 1)]).check(&ring).is_err());
    }
}
