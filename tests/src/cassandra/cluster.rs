//! A cluster of one to three nodes: started, waited for, stopped with its data when dropped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Consistency;

use super::node::{Node, address};
use super::{CQL_PORT, CassandraVersion, Certificates, NodeTls, config, install};
use crate::cache::{self, Lock};

/// How long a started cluster may take until every node answers queries and sees all others.
const READY_WAIT: Duration = Duration::from_secs(120);
/// How often a killed node is started before it counts as lost.
const RESTARTS_MAX: u32 = 4;

/// What a test needs of a cluster. Tests with equal specs share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// The release.
    pub version: CassandraVersion,
    /// Nodes on 127.0.0.1, .2, .3; at least 1, at most 3.
    pub nodes: usize,
    /// `PasswordAuthenticator` with the role `cassandra`/`cassandra`, and `CassandraAuthorizer`.
    pub auth: bool,
    /// TLS for clients, with the node's certificate from [`Certificates`].
    pub tls: Option<NodeTls>,
    /// Lines of `cassandra.yaml`, key and value, each instead of the one of the same key that the tests write otherwise.
    pub settings: Vec<(String, String)>,
    /// The data centre of every node.
    pub data_center: &'static str,
}

impl ClusterSpec {
    /// One node without authentication.
    pub fn one(version: CassandraVersion) -> Self {
        Self { version, nodes: 1, auth: false, tls: None, settings: Vec::new(), data_center: "dc1" }
    }

    /// Three nodes without authentication.
    pub fn three(version: CassandraVersion) -> Self {
        Self { nodes: 3, ..Self::one(version) }
    }

    /// With passwords and permissions.
    pub fn with_auth(self) -> Self {
        Self { auth: true, ..self }
    }

    /// With TLS for clients; the certificate holds the nodes' addresses.
    pub fn with_tls(self) -> Self {
        Self { tls: Some(NodeTls::default()), ..self }
    }

    /// With TLS for clients, who must show a certificate too.
    pub fn with_mutual_tls(mut self) -> Self {
        self.tls = Some(NodeTls { clients_certified: true, ..self.tls.unwrap_or_default() });
        self
    }

    /// With TLS for clients; the certificate holds this host name and no address.
    pub fn certified_as(mut self, host_name: &'static str) -> Self {
        self.tls = Some(NodeTls { host_name: Some(host_name), ..self.tls.unwrap_or_default() });
        self
    }

    /// With other sizes from which on a batch is warned about or refused, in KiB.
    pub fn with_batch_thresholds(mut self, warn_kib: u32, fail_kib: u32) -> Self {
        let newer = self.version >= CassandraVersion::V4_1;
        for (name, kib) in [("warn", warn_kib), ("fail", fail_kib)] {
            self.settings.push(if newer {
                (format!("batch_size_{name}_threshold"), format!("{kib}KiB"))
            } else {
                (format!("batch_size_{name}_threshold_in_kb"), kib.to_string())
            });
        }
        self
    }

    /// With this line of `cassandra.yaml`.
    pub fn with_setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// In a data centre of another name than `dc1`.
    pub fn in_data_center(self, name: &'static str) -> Self {
        Self { data_center: name, ..self }
    }

    /// The address that every node asks first.
    pub(crate) fn seed(&self) -> String {
        address(0)
    }

    fn heap_mb(&self) -> u32 {
        if self.nodes == 1 { 1280 } else { 512 }
    }
}

impl std::fmt::Display for ClusterSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cassandra {}, {} node{}", self.version, self.nodes, if self.nodes == 1 { "" } else { "s" })?;
        if self.auth {
            write!(f, ", passwords")?;
        }
        if let Some(tls) = self.tls {
            write!(f, ", {}TLS", if tls.clients_certified { "mutual " } else { "" })?;
            write!(f, "{}", tls.host_name.map(|name| format!(" as {name}")).unwrap_or_default())?;
        }
        if self.data_center != "dc1" {
            write!(f, ", in {}", self.data_center)?;
        }
        for (key, value) in &self.settings {
            write!(f, ", {key} = {value}")?;
        }
        Ok(())
    }
}

/// A running cluster. Dropped, its nodes are killed and their data removed, also when a test panics.
#[derive(Debug)]
pub struct TestCluster {
    spec: ClusterSpec,
    // Before `directory` and `lock`: fields drop in this order.
    nodes: std::sync::Mutex<Vec<Node>>,
    session: Arc<Session>,
    certificates: Option<Certificates>,
    _directory: tempfile::TempDir,
    _lock: Lock,
}

impl TestCluster {
    /// Starts a cluster and waits until it answers. Waits for a cluster of another process to end first. Blocks the
    /// thread while the nodes start.
    ///
    /// # Errors
    /// If something can't be fetched, a port is taken, or a node does not come up; the message holds its log's tail.
    pub async fn start(spec: ClusterSpec) -> Result<Self> {
        let installation = install::installation(spec.version)?;
        let lock = cache::lock(&format!("cluster-{}", super::lane()))?;
        remove_leftovers()?;
        let directory = tempfile::Builder::new().prefix("cluster-").tempdir_in(cache::running()?)?;
        let certificates = spec.tls.map(|tls| Certificates::make(directory.path(), spec.nodes, tls)).transpose()?;
        let mut nodes = Vec::new();
        for index in 0..spec.nodes {
            let home = directory.path().join(format!("node{}", index + 1));
            std::fs::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
            let mut node = Node::new(installation.clone(), index, home, spec.heap_mb());
            config::write(&spec, node.directory(), node.address(), certificates.as_ref())?;
            node.spawn()?;
            // One after another: nodes that join at the same moment may pick colliding tokens.
            node.wait_for_cql()?;
            nodes.push(node);
        }
        let session = match wait_until_ready(&spec, certificates.as_ref()).await {
            Ok(session) => session,
            Err(error) => {
                let tails: Vec<String> =
                    nodes.iter().map(|n| format!("--- {}\n{}", n.address(), n.log_tail(30))).collect();
                return Err(error.context(format!("{spec}: the nodes' logs end with\n{}", tails.join("\n"))));
            }
        };
        let nodes = std::sync::Mutex::new(nodes);
        Ok(Self { spec, nodes, session: Arc::new(session), certificates, _directory: directory, _lock: lock })
    }

    /// What was asked for.
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// The release of all nodes.
    pub fn version(&self) -> CassandraVersion {
        self.spec.version
    }

    /// A session that knows the ring but no schema: one odd type anywhere would cost it both (quoted names of types).
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The nodes' addresses as `--hosts` takes them.
    pub fn hosts(&self) -> String {
        (0..self.spec.nodes).map(address).collect::<Vec<_>>().join(",")
    }

    /// The address of a node, from 0.
    pub fn address(&self, index: usize) -> String {
        address(index)
    }

    /// The CQL port as `--port` takes it.
    pub fn port(&self) -> u16 {
        CQL_PORT
    }

    /// The nodes' certificate authority, if the cluster speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Kills a node as a crash would; its data stays. `index` from 0.
    pub fn kill_node(&self, index: usize) {
        self.nodes.lock().expect("no test panics with the lock held")[index].kill();
    }

    /// Starts a killed node again and waits until all nodes see each other. Blocks the thread meanwhile.
    ///
    /// # Errors
    /// As [`TestCluster::start`].
    pub async fn restart_node(&self, index: usize) -> Result<()> {
        {
            let mut nodes = self.nodes.lock().expect("no test panics with the lock held");
            // A node that comes back before the others saw it go gets no answer from them, and gives up.
            for attempt in 1.. {
                nodes[index].spawn()?;
                match nodes[index].wait_for_cql() {
                    Ok(()) => break,
                    Err(error) if attempt == RESTARTS_MAX => return Err(error),
                    Err(_) => nodes[index].kill(),
                }
            }
        }
        wait_until_ready(&self.spec, self.certificates.as_ref()).await.map(drop)
    }

    /// The last warnings and errors that each node logged.
    pub fn complaints(&self, lines: usize) -> String {
        let nodes = self.nodes.lock().expect("no test panics with the lock held");
        nodes
            .iter()
            .map(|n| {
                format!(
                    "--- warnings of {}
{}
",
                    n.address(),
                    n.complaints(lines)
                )
            })
            .collect()
    }

    /// Runs statements one after another, each idempotent or expected to succeed at once.
    ///
    /// # Errors
    /// With the statement that failed.
    pub async fn run(&self, statements: &[&str]) -> Result<()> {
        for statement in statements {
            let shown: String = statement.chars().take(200).collect();
            self.session.query_unpaged(*statement, ()).await.with_context(|| format!("run {shown}"))?;
        }
        Ok(())
    }

    /// Makes a keyspace anew, with this replication factor.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub async fn fresh_keyspace(&self, keyspace: &str, replication_factor: u32) -> Result<()> {
        let name = crate::cql::quote(keyspace);
        let drop = format!("DROP KEYSPACE IF EXISTS {name}");
        let create = format!(
            "CREATE KEYSPACE {name} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', '{}': {replication_factor}}}",
            self.spec.data_center
        );
        self.run(&[&drop, &create]).await
    }

    /// Drops a keyspace if it is there.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub async fn drop_keyspace(&self, keyspace: &str) -> Result<()> {
        self.run(&[&format!("DROP KEYSPACE IF EXISTS {}", crate::cql::quote(keyspace))]).await
    }
}

/// Clusters of runs that were killed leave their directories; nobody uses them, since this process holds the lock.
fn remove_leftovers() -> Result<()> {
    for entry in std::fs::read_dir(cache::running()?)? {
        let path: PathBuf = entry?.path();
        // What can't be removed now is removed by a later run.
        let _ = std::fs::remove_dir_all(path);
    }
    Ok(())
}

/// Connects a session to nodes of a test cluster, with long timeouts and no driver-side retries.
///
/// # Errors
/// If no node answers, or the login is refused.
pub async fn connect(addresses: &[String], login: Option<(&str, &str)>, tls: Option<&Certificates>) -> Result<Session> {
    let profile = ExecutionProfile::builder()
        .request_timeout(Some(Duration::from_secs(60)))
        .consistency(Consistency::All)
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(addresses.iter().map(|address| format!("{address}:{CQL_PORT}")))
        .default_execution_profile_handle(profile.into_handle())
        .fetch_schema_metadata(false)
        .driver_config_reporting(false);
    if let Some((user, password)) = login {
        builder = builder.user(user, password);
    }
    if let Some(certificates) = tls {
        builder = builder.tls_context(Some(certificates.client_config()?));
    }
    let session =
        tokio::time::timeout(Duration::from_secs(20), builder.build()).await.context("connecting timed out")??;
    session.refresh_metadata().await.context("read the cluster's metadata")?;
    Ok(session)
}

/// Waits until the driver sees all nodes, every node sees all peers, and each answers a query.
async fn wait_until_ready(spec: &ClusterSpec, tls: Option<&Certificates>) -> Result<Session> {
    let begun = Instant::now();
    loop {
        match try_ready(spec, tls).await {
            Ok(session) => return Ok(session),
            Err(error) if begun.elapsed() > READY_WAIT => {
                return Err(error.context(format!("{spec} was not ready after {READY_WAIT:?}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}

async fn try_ready(spec: &ClusterSpec, tls: Option<&Certificates>) -> Result<Session> {
    let addresses: Vec<String> = (0..spec.nodes).map(address).collect();
    let login = spec.auth.then_some(("cassandra", "cassandra"));
    let session = connect(&addresses, login, tls).await?;
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info();
    if nodes.len() != spec.nodes {
        bail!("{} of {} nodes are known to the driver", nodes.len(), spec.nodes);
    }
    for node in nodes {
        let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(node.host_id), None);
        let mut peers = scylla::statement::unprepared::Statement::new("SELECT peer FROM system.peers");
        peers.set_load_balancing_policy(Some(only));
        peers.set_consistency(Consistency::One);
        let seen = session.query_unpaged(peers, ()).await?.into_rows_result()?.rows_num();
        if seen + 1 != spec.nodes {
            bail!("{} sees {seen} of {} peers", node.address, spec.nodes - 1);
        }
    }
    session.await_schema_agreement().await.context("wait for schema agreement")?;
    Ok(session)
}
