//! Opening a session: what the driver is told, what its failures mean, and whether its picture of the cluster is true.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use scylla::{
    client::{PoolSize, execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    cluster::ClusterState,
    policies::{load_balancing::LoadBalancingPolicy, retry::FallthroughRetryPolicy},
    statement::Consistency,
};

use super::{
    errors::{Error, Reason, Result},
    profile::ClusterProfile,
    tls, topology,
    topology::Topology,
};

/// Longest wait for one TCP connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a session; the driver's handshakes have no timeout of their own.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections a node: each is one task of the driver, so at most one core.
const CONNECTIONS_PER_NODE: usize = 4;

pub(crate) fn execution_profile(
    profile: &ClusterProfile,
    policy: Option<Arc<dyn LoadBalancingPolicy>>,
) -> ExecutionProfile {
    let builder = ExecutionProfile::builder()
        .request_timeout(Some(profile.request_timeout))
        .consistency(Consistency::LocalQuorum)
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None);
    match policy {
        Some(policy) => builder.load_balancing_policy(policy).build(),
        None => builder.build(),
    }
}

/// A session with the nodes that `points` lead to. Certificates may be made for any of `names`, as `host:port`.
pub(crate) async fn open(profile: &ClusterProfile, points: &[String], names: &[String]) -> Result<Session> {
    let connections = NonZeroUsize::new(CONNECTIONS_PER_NODE).expect("four");
    let mut builder = SessionBuilder::new()
        .known_nodes(points)
        .connection_timeout(CONNECTION_TIMEOUT)
        .pool_size(PoolSize::PerHost(connections))
        .default_execution_profile_handle(execution_profile(profile, None).into_handle())
        .fetch_schema_metadata(false)
        .refresh_metadata_on_auto_schema_agreement(false)
        .metadata_request_clientside_timeout(SESSION_TIMEOUT)
        .driver_config_reporting(false);
    if let Some((username, password)) = profile.login()? {
        builder = builder.user(username, password.reveal());
    }
    if let Some(settings) = &profile.tls {
        builder = builder.tls_context(Some(tls::client_config(settings, names)?));
    }
    match tokio::time::timeout(SESSION_TIMEOUT, Box::pin(builder.build())).await {
        Ok(session) => session.map_err(|e| Error::of_session("connecting", &e)),
        Err(_elapsed) => Err(Error::of_elapsed("connecting", SESSION_TIMEOUT)),
    }
}

/// The driver tells the last host's cause only; asks each host on its own and tells all.
pub(crate) async fn diagnose(profile: &ClusterProfile, points: &[String], error: Error) -> Error {
    if matches!(error.reason(), Reason::Rejected) {
        return error;
    }
    let attempts = points.iter().map(|point| async move {
        let failure = open(profile, std::slice::from_ref(point), points).await.err();
        (point, failure)
    });
    let (mut causes, mut advice) = (Vec::new(), None);
    for (point, failure) in futures::future::join_all(attempts).await {
        let Some(failure) = failure else { continue };
        if failure.reason() == Reason::LoginRefused {
            return login_refused(profile, point, &failure);
        }
        let text = failure.to_string();
        let why = text.strip_prefix("connecting failed: ").unwrap_or(&text);
        advice = advice.or_else(|| profile.tls.as_ref().and_then(|_| tls::advice(why)));
        causes.push(format!("{point} ({})", why.split(';').next().unwrap_or(why)));
    }
    if causes.is_empty() {
        return error;
    }
    if let Some(advice) = advice {
        // Waiting makes no certificate another one.
        let message = format!("no host of the cluster can be reached: {}; {advice}", causes.join(", "));
        return Error::invalid(message).caused_by(error);
    }
    Error::unavailable(format!(
        "no host of the cluster can be reached: {}; check that the nodes are up, that --port is their CQL port, and the firewall",
        causes.join(", ")
    ))
    .caused_by(error)
}

fn login_refused(profile: &ClusterProfile, point: &str, failure: &Error) -> Error {
    let message = match &profile.username {
        Some(username) => format!("login as {username} was refused by {point}; check --username and the password"),
        None => format!("{point} asks for a login; give --username and its password"),
    };
    let message = if failure.to_string().contains("incorrect") || profile.username.is_none() {
        message
    } else {
        format!("{message} ({failure})")
    };
    Error::new(Reason::LoginRefused, message)
}

pub(crate) async fn refresh(session: &Session) -> Result<()> {
    // build() goes on with an invented ring where its first reads fail; this tells
    match tokio::time::timeout(SESSION_TIMEOUT, session.refresh_metadata()).await {
        Ok(refreshed) => refreshed.map_err(|e| Error::of_metadata("reading the ring", &e)),
        Err(_elapsed) => Err(Error::of_elapsed("reading the ring", SESSION_TIMEOUT)),
    }
}

pub(crate) async fn read_topology(session: &Session, state: &Arc<ClusterState>) -> Result<Topology> {
    let mut nodes: Vec<_> = state.get_nodes_info().iter().collect();
    nodes.sort_by_key(|node| !node.is_connected());
    let Some(host) = nodes.first().map(|node| node.host_id) else {
        return Err(Error::unavailable("the ring is empty"));
    };
    let topology = Topology::read(session, host).await?;
    if topology.check(&topology::ring_of(state)).is_ok() {
        return Ok(topology);
    }
    refresh(session).await?; // the topology may have changed between the two reads
    let topology = Topology::read(session, host).await?;
    topology.check(&topology::ring_of(&session.get_cluster_state()))?;
    Ok(topology)
}

pub(crate) async fn local_dc(
    profile: &ClusterProfile,
    points: &[String],
    state: &ClusterState,
    topology: &Topology,
) -> Result<String> {
    let existing = topology.data_centers();
    if let Some(named) = &profile.local_dc {
        return if existing.contains(named) {
            Ok(named.clone())
        } else {
            Err(Error::invalid(format!(
                "--local-dc {named}: cluster {} has no such data centre; it has {}",
                topology.cluster_name,
                existing.join(", ")
            )))
        };
    }
    if let [only] = &existing[..] {
        return Ok(only.clone());
    }
    if let Some(near) = profile.near_dc.as_ref().filter(|near| existing.contains(near)) {
        return Ok(near.clone());
    }
    topology::contact_dc(state, points).await.ok_or_else(|| {
        Error::invalid(format!(
            "it can't be told which data centre is near; give --local-dc, one of {}",
            existing.join(", ")
        ))
    })
}
