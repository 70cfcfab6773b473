//! An open cluster: one driver session, checked when it is opened, and what routing needs to know of the ring.
//!
//! The driver's schema metadata is off: one quoted type name anywhere would make it invent a ring. What we need of the
//! schema we read ourselves. Retries are off too: only a reader or loader knows what another attempt costs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ringvault_proto::token::{Token, TokenRange};
use ringvault_runtime::clock::{Clock, SystemClock};
use scylla::{
    client::session::Session,
    cluster::{ClusterState, NodeRef, metadata::Strategy},
    frame::response::result::TableSpec,
    policies::load_balancing::{DefaultPolicy, FallbackPlan, LoadBalancingPolicy, RoutingInfo},
    routing::Shard,
    statement::prepared::PreparedStatement,
};
use uuid::Uuid;

use super::{
    connect,
    errors::{Error, Result},
    profile::ClusterProfile,
    ring::{self, Piece, Ring, Version},
    rows::Question,
    topology,
    topology::{NodeInfo, Topology},
};

/// How long a measured clock offset serves.
const OFFSET_AGE_MAX: Duration = Duration::from_secs(600);

/// Reads that a node has answered; for tests and for people who ask why one node is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounter {
    /// Pages.
    pub requests: u64,
    /// Rows in them.
    pub rows: u64,
}

/// An open cluster.
#[derive(Debug)]
pub struct Cluster {
    session: Session,
    profile: ClusterProfile,
    topology: Topology,
    versions: (Version, Version),
    scylla: bool,
    local_dc: String,
    clock: Arc<dyn Clock>,
    offsets: Mutex<HashMap<Uuid, Offset>>,
    reads: Mutex<HashMap<Uuid, ReadCounter>>,
}

#[derive(Clone, Copy, Debug)]
struct Offset {
    ahead_ms: i64,
    measured: Duration,
}

/// How rows of one keyspace are reached.
#[derive(Clone, Debug)]
pub struct KeyspaceRoute {
    /// The keyspace.
    pub keyspace: String,
    /// Its replication.
    pub strategy: Strategy,
    /// The data centre that answers; it replicates the keyspace.
    pub local_dc: Arc<str>,
}

impl Cluster {
    /// Opens a session and checks that the cluster is one that Ringvault can work with.
    ///
    /// # Errors
    /// `Invalid` for bad settings, a refused login, an unknown data centre, another partitioner; `Unavailable`, naming
    /// every host with its cause, where none answers.
    pub async fn connect(profile: &ClusterProfile) -> Result<Self> {
        profile.validate()?;
        let points = profile.contact_points()?;
        let session = match connect::open(profile, &points, &points).await {
            Ok(session) => session,
            Err(error) => return Err(connect::diagnose(profile, &points, error).await),
        };
        connect::refresh(&session).await?;
        let state = session.get_cluster_state();
        let topology = connect::read_topology(&session, &state).await?;
        let local_dc = connect::local_dc(profile, &points, &state, &topology).await?;
        let mut handle = session.get_default_execution_profile_handle().clone();
        let policy = DefaultPolicy::builder().prefer_datacenter(local_dc.clone()).permit_dc_failover(true).build();
        handle.map_to_another_profile(connect::execution_profile(profile, Some(policy)));
        let versions = topology.versions()?;
        let scylla = state.get_nodes_info().iter().any(|node| node.sharder().is_some());
        Ok(Self {
            session,
            profile: profile.clone(),
            topology,
            versions,
            scylla,
            local_dc,
            clock: Arc::new(SystemClock::new()),
            offsets: Mutex::default(),
            reads: Mutex::default(),
        })
    }

    /// The driver's session. Retries are off: every statement needs its own.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The profile that it was opened by.
    #[must_use]
    pub fn profile(&self) -> &ClusterProfile {
        &self.profile
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.topology.cluster_name
    }

    /// Lowest and highest release among the nodes when the session was opened.
    #[must_use]
    pub fn versions(&self) -> (Version, Version) {
        self.versions
    }

    /// Whether it is ScyllaDB.
    #[must_use]
    pub fn is_scylla(&self) -> bool {
        self.scylla
    }

    /// The data centre of the contact points, or the one that the profile names.
    #[must_use]
    pub fn local_dc(&self) -> &str {
        &self.local_dc
    }

    /// Data centres with nodes, sorted.
    #[must_use]
    pub fn data_centers(&self) -> Vec<String> {
        self.topology.data_centers()
    }

    /// All nodes, by data centre, then by address.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let state = self.session.get_cluster_state();
        let info = |node: NodeRef<'_>| NodeInfo {
            host_id: node.host_id,
            address: std::net::SocketAddr::new(node.address.ip(), node.address.port()),
            data_center: node.datacenter.clone().unwrap_or_default(),
            rack: node.rack.clone().unwrap_or_default(),
            version: self.topology.members.get(&node.host_id).and_then(|member| member.version),
            up: node.is_connected(),
        };
        let mut nodes: Vec<NodeInfo> = state.get_nodes_info().iter().map(info).collect();
        nodes.sort_by(|a, b| (&a.data_center, a.address).cmp(&(&b.data_center, b.address)));
        nodes
    }

    /// What is odd about the topology, for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.topology.ghosts > 0 {
            warnings.push(format!(
                "system.peers holds {} rows without a node; nodetool assassinate or a restart may clear them",
                self.topology.ghosts
            ));
        }
        if self.versions.0 != self.versions.1 {
            warnings.push(format!("nodes run different releases: {} to {}", self.versions.0, self.versions.1));
        }
        warnings
    }

    /// The ring as it is now.
    #[must_use]
    pub fn ring(&self) -> Ring {
        topology::ring_of(&self.session.get_cluster_state())
    }

    /// The replication of a keyspace; nothing where there is no such keyspace.
    ///
    /// # Errors
    /// What reading `system_schema` met.
    pub async fn replication(&self, keyspace: &str) -> Result<Option<Strategy>> {
        let what = format!("reading the replication of {keyspace}");
        let cql = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let rows: Vec<(HashMap<String, String>,)> = Question::new(&what, cql).ask(&self.session, (keyspace,)).await?;
        Ok(rows.first().map(|(replication,)| ring::strategy(replication)))
    }

    /// How rows of `keyspace` are reached, with a data centre that replicates it.
    ///
    /// # Errors
    /// `NotFound` for an unknown keyspace; `Invalid` where the profile names a data centre that holds none of its rows.
    pub async fn route(&self, keyspace: &str) -> Result<KeyspaceRoute> {
        let strategy = self.replication(keyspace).await?.ok_or_else(|| {
            Error::not_found(format!("keyspace {keyspace} does not exist in cluster {}", self.topology.cluster_name))
        })?;
        let local_dc = self.choose_local_dc(keyspace, &strategy)?;
        Ok(KeyspaceRoute { keyspace: keyspace.to_owned(), strategy, local_dc: local_dc.into() })
    }

    /// The data centre to ask for rows of `keyspace`: the local one where it replicates the keyspace, else another that
    /// does, unless the profile names one.
    ///
    /// # Errors
    /// `Invalid` where the named one holds no rows of the keyspace, or no data centre does.
    pub fn choose_local_dc(&self, keyspace: &str, strategy: &Strategy) -> Result<String> {
        let Some(holding) = ring::replicating_dcs(strategy) else { return Ok(self.local_dc.clone()) };
        if holding.contains(&self.local_dc) {
            return Ok(self.local_dc.clone());
        }
        let existing = self.topology.data_centers();
        let usable: Vec<&String> = holding.iter().filter(|dc| existing.contains(dc)).collect();
        match (&self.profile.local_dc, usable.first()) {
            (Some(named), Some(_)) => Err(Error::invalid(format!(
                "data centre {named} holds no rows of keyspace {keyspace}; give --local-dc one of {}",
                holding.join(", ")
            ))),
            (None, Some(first)) => Ok((*first).clone()),
            (_, None) => Err(Error::invalid(format!(
                "keyspace {keyspace} is replicated to {} only, and the cluster has {}; alter its replication first",
                if holding.is_empty() { "no data centre".to_owned() } else { holding.join(", ") },
                existing.join(", ")
            ))),
        }
    }

    /// Replicas of `token` in the route's data centre, the primary one first; empty where the driver can't know them, as
    /// for a tablet not seen yet.
    #[must_use]
    pub fn replicas(&self, route: &KeyspaceRoute, table: &str, token: Token) -> Vec<Uuid> {
        replicas_in(&self.session.get_cluster_state(), route, table, token)
    }

    /// `range` cut where the replicas change.
    #[must_use]
    pub fn pieces(&self, route: &KeyspaceRoute, table: &str, range: TokenRange) -> Vec<Piece> {
        let state = self.session.get_cluster_state();
        topology::ring_of(&state).pieces(range, |token| replicas_in(&state, route, table, token))
    }

    /// Connected nodes of a data centre.
    #[must_use]
    pub fn connected(&self, data_center: &str) -> Vec<Uuid> {
        let state = self.session.get_cluster_state();
        let near = |node: &&Arc<scylla::cluster::Node>| node.datacenter.as_deref() == Some(data_center);
        let up = state.get_nodes_info().iter().filter(near).filter(|node| node.is_connected());
        up.map(|node| node.host_id).collect()
    }

    /// Prepares a statement; the driver asks every node and has no timeout for it, so this has one.
    ///
    /// # Errors
    /// `Invalid` where the server rejects it, `Unavailable` where nobody answers.
    pub async fn prepare(&self, what: &str, cql: &str) -> Result<PreparedStatement> {
        let waited = self.profile.request_timeout;
        match tokio::time::timeout(waited, self.session.prepare(cql)).await {
            Ok(prepared) => prepared.map_err(|e| Error::of_prepare(what, &e)),
            Err(_elapsed) => Err(Error::of_elapsed(what, waited)),
        }
    }

    /// The database's clock at `host`, in milliseconds since the epoch, as far as it was measured in the last minutes.
    ///
    /// # Errors
    /// What asking the node met.
    pub async fn database_unix_ms(&self, host: Uuid) -> Result<i64> {
        let ahead = self.clock_ahead_ms(host).await?;
        Ok(self.client_unix_ms().saturating_add(ahead))
    }

    /// By how many milliseconds a node's clock is ahead of ours.
    ///
    /// # Errors
    /// What asking the node met.
    pub async fn clock_ahead_ms(&self, host: Uuid) -> Result<i64> {
        let known = lock(&self.offsets).get(&host).copied();
        if let Some(offset) = known.filter(|offset| self.clock.now() < offset.measured + OFFSET_AGE_MAX) {
            return Ok(offset.ahead_ms);
        }
        let what = format!("reading the clock of node {host}");
        let cql = "SELECT toUnixTimestamp(now()) FROM system.local";
        let before = self.client_unix_ms();
        let question = Question::new(&what, cql).to(topology::only(host));
        let rows: Vec<(i64,)> = question.ask(&self.session, ()).await?;
        let after = self.client_unix_ms();
        let (theirs,) = *rows.first().ok_or_else(|| Error::of_answer(&what, "it has no row"))?;
        let ahead_ms = theirs - (before + (after - before) / 2);
        lock(&self.offsets).insert(host, Offset { ahead_ms, measured: self.clock.now() });
        Ok(ahead_ms)
    }

    /// Pages and rows that each node has answered since the session was opened.
    #[must_use]
    pub fn read_counters(&self) -> HashMap<Uuid, ReadCounter> {
        lock(&self.reads).clone()
    }

    pub(crate) fn count_read(&self, host: Uuid, rows: u64) {
        let mut reads = lock(&self.reads);
        let counter = reads.entry(host).or_default();
        counter.requests += 1;
        counter.rows += rows;
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn client_unix_ms(&self) -> i64 {
        i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn replicas_in(state: &ClusterState, route: &KeyspaceRoute, table: &str, token: Token) -> Vec<Uuid> {
    if let Strategy::Other { name, .. } = &route.strategy
        && name != "EverywhereStrategy"
    {
        return Vec::new(); // a strategy that the driver doesn't know: it would make up one replica
    }
    let spec = TableSpec::borrowed(&route.keyspace, table);
    let token = scylla::routing::Token::new(token.0);
    let locator = state.replica_locator();
    let everywhere = Strategy::SimpleStrategy { replication_factor: usize::MAX };
    let strategy = match &route.strategy {
        Strategy::Other { .. } => &everywhere,
        known => known,
    };
    let replicas = locator.replicas_for_token(token, strategy, Some(&route.local_dc), &spec);
    replicas.into_iter().map(|(node, _shard)| node.host_id).collect()
}

/// Asks the named nodes in their order, the connected ones first, then every other node of the data centre.
#[derive(Debug)]
pub struct NodesInOrder {
    first: Vec<Uuid>,
    data_center: Arc<str>,
}

impl NodesInOrder {
    /// A policy for nodes of this data centre.
    #[must_use]
    pub fn policy(first: Vec<Uuid>, data_center: Arc<str>) -> Arc<dyn LoadBalancingPolicy> {
        Arc::new(Self { first, data_center })
    }

    fn plan<'a>(&'a self, cluster: &'a ClusterState) -> impl Iterator<Item = NodeRef<'a>> {
        let named = self.first.iter().filter_map(|host| cluster.get_node_by_host_id(*host));
        let near = cluster.get_nodes_info().iter().filter(move |node| {
            node.datacenter.as_deref() == Some(&*self.data_center) && !self.first.contains(&node.host_id)
        });
        named.chain(near)
    }
}

impl LoadBalancingPolicy for NodesInOrder {
    fn pick<'a>(
        &'a self,
        _request: &'a RoutingInfo<'_>,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        self.plan(cluster).find(|node| node.is_connected()).map(|node| (node, None))
    }

    fn fallback<'a>(&'a self, _request: &'a RoutingInfo<'_>, cluster: &'a ClusterState) -> FallbackPlan<'a> {
        Box::new(self.plan(cluster).map(|node| (node, None)))
    }

    fn name(&self) -> String {
        "NodesInOrder".to_owned()
    }
}
