//! Waits until servers are done with what came before: memtables written, compactions ended. Without that, one subject's
//! leftovers would be the next one's load.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;
use tokio::process::Command;

use crate::cache;
use crate::cassandra::{JMX_PORT_FIRST, TestCluster, installation, lane};

/// Compactions of the largest table end before that.
const WAIT_MAX: Duration = Duration::from_secs(1200);
/// How often servers are asked.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// So many times in a row nothing must be under way: one compaction starts when another ends.
const QUIET_TIMES: u32 = 4;

/// Writes a keyspace's memtables on all nodes and waits as [`quiet`].
///
/// # Errors
/// If a node refuses, or is busy for too long.
pub async fn flush(cluster: &TestCluster, keyspace: &str) -> Result<()> {
    let installed = installation(cluster.version())?;
    for node in 0..cluster.spec().nodes {
        // the ports that the nodes' own command lines name
        let port = JMX_PORT_FIRST + 4 * u16::from(lane()) + u16::try_from(node).context("few nodes")?;
        let mut java = Command::new(&installed.java);
        java.arg("-cp").arg(installed.jars.join("*"));
        for package in ["sun.nio.ch", "jdk.internal.ref"] {
            java.arg(format!("--add-exports=java.base/{package}=ALL-UNNAMED"));
        }
        // it keeps a history of commands in its home
        java.arg(format!("-Duser.home={}", cache::running()?.display()));
        java.args(["org.apache.cassandra.tools.NodeTool", "-h", "127.0.0.1", "-p", &port.to_string()]);
        let said = java.args(["flush", keyspace]).output().await.context("run nodetool")?;
        let complaint = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.success(), "nodetool flush {keyspace} on port {port}: {complaint}");
    }
    quiet(cluster).await
}

/// Waits until no node flushes or compacts, nor has that before it.
///
/// # Errors
/// If one still does after twenty minutes.
pub async fn quiet(cluster: &TestCluster) -> Result<()> {
    let begun = Instant::now();
    let mut quiet = 0;
    while quiet < QUIET_TIMES {
        ensure!(begun.elapsed() < WAIT_MAX, "a node still compacts after {WAIT_MAX:?}");
        quiet = if busy(cluster).await? { 0 } else { quiet + 1 };
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

async fn busy(cluster: &TestCluster) -> Result<bool> {
    let session = cluster.session();
    let state = session.get_cluster_state();
    for node in state.get_nodes_info() {
        let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(node.host_id), None);
        let mut query = Statement::new("SELECT name, active_tasks, pending_tasks FROM system_views.thread_pools");
        query.set_load_balancing_policy(Some(only));
        query.set_consistency(Consistency::One);
        let pools = session.query_unpaged(query, ()).await?.into_rows_result()?;
        for pool in pools.rows::<(String, i32, i32)>()? {
            let (name, active, pending) = pool?;
            let writes = ["CompactionExecutor", "MemtableFlushWriter", "MemtablePostFlush"].contains(&name.as_str());
            if writes && active + pending > 0 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
