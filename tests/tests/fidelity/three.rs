//! On three nodes in a data centre of another name: what one node left, and what a single replica may lack.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, connect};
use ringvault_tests::cql::query_i64;
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;

use super::across::{self, Handover};
use super::stage::{named, run};

const VERSION: CassandraVersion = CassandraVersion::V5_0;

fn spec() -> ClusterSpec {
    // Without the dynamic snitch a node asks itself first.
    ClusterSpec::three(VERSION).in_data_center("east").with_setting("dynamic_snitch", "false")
}

pub(crate) fn tests(handover: &Rc<Handover>) -> Vec<Test> {
    let with = Rc::clone(handover);
    vec![
        Test::new("across_one_node_to_three_with_another_data_centre", move |t| {
            let handover = Rc::clone(&with);
            async move { one_to_three(t, &handover).await }
        })
        .on(spec()),
        Test::new(named("a_quorum_reads_rows_that_one_replica_lacks", VERSION), a_replica_lacks_rows).on(spec()),
        Test::new(named("a_backup_asks_the_data_centre_that_holds_the_keyspace", VERSION), away).on(spec()),
    ]
}

async fn one_to_three(t: TestContext, handover: &Handover) -> Result<()> {
    let left = handover.take("fid_new")?;
    // As it was, it names a data centre that is not here.
    let refused = left.bench.try_restore("fid_new", &[]).await?;
    t.note(refused.refused(1, &["invalid", "conflict", "not_found"], &["dc1"])?);
    let wrong = left.bench.try_restore("fid_new", &["--map-dc", "dc1=nowhere"]).await?;
    wrong.refused(1, &["invalid", "conflict", "not_found"], &["nowhere"])?;
    across::take(&t, handover, "fid_new", &["--map-dc", "dc1=east"]).await?;
    let three = "{'class': 'NetworkTopologyStrategy', 'east': '3'}";
    across::take(&t, handover, "fid_new", &["--replication", three]).await
}

async fn a_replica_lacks_rows(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    // Without a commit log a node that crashes has lost what it had not flushed, and nobody sends it again.
    large::keyspace(cluster, "fid_lacks", 3).await?;
    run(
        cluster,
        "fid_lacks",
        &["CREATE TABLE KS.t (k int PRIMARY KEY, v int) WITH read_repair = 'NONE' AND speculative_retry = 'NEVER'"],
    )
    .await?;
    for k in 0..100 {
        let mut insert = Statement::new(format!("INSERT INTO fid_lacks.t (k, v) VALUES ({k}, {k})"));
        insert.set_consistency(Consistency::All);
        cluster.session().query_unpaged(insert, ()).await?;
    }
    cluster.kill_node(2);
    cluster.restart_node(2).await?;
    // A session that knows no connection of before the crash.
    let session = connect(&[cluster.address(2)], None, None).await?;
    let state = session.get_cluster_state();
    let lacking = state.get_nodes_info().iter().find(|node| node.address.to_string().starts_with(&cluster.address(2)));
    let lacking = lacking.context("the third node")?.host_id;
    let mut alone = Statement::new("SELECT count(*) FROM fid_lacks.t");
    alone.set_consistency(Consistency::One);
    alone.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(lacking), None)));
    let (seen,) = session.query_unpaged(alone, ()).await?.into_rows_result()?.single_row::<(i64,)>()?;
    ensure!(seen < 100, "the third node lacks nothing, so this proves nothing");
    let bench = Workbench::new(cluster)?;
    let backup = bench.backup("fid_lacks", &[]).await?;
    ensure!(backup.figure("rows")? == 100, "rows are missing: {backup}");
    let shown = bench.run(&["show", &bench.repository_argument()]).await?.expect(0)?.line("backup")?;
    ensure!(shown["read_consistency"] == "LOCAL_QUORUM", "{shown}");
    t.note(format!("one replica alone showed {seen} of 100 rows"));
    cluster.drop_keyspace("fid_lacks").await
}

/// The local data centre is one that replicates the keyspace; where none does, that is said, not waited for.
async fn away(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("fid_here", 2).await?;
    run(cluster, "fid_here", &["CREATE TABLE KS.t (k int PRIMARY KEY)", "INSERT INTO KS.t (k) VALUES (1)"]).await?;
    let bench = Workbench::new(cluster)?;
    bench.backup("fid_here", &[]).await?;
    bench.restore("fid_here", &["--drop", "--yes"]).await?;
    ensure!(query_i64(cluster.session(), "SELECT count(*) FROM fid_here.t").await? == 1, "the row is gone");
    let begun = std::time::Instant::now();
    let refused = bench.try_backup("fid_here", &["--local-dc", "west"]).await?;
    refused.refused(1, &["invalid", "not_found"], &["west", "east"])?;
    ensure!(begun.elapsed().as_secs() < 30, "it took {:?} to say so", begun.elapsed());
    cluster.drop_keyspace("fid_here").await
}
