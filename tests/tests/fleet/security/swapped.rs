//! Certificates are renewed, and their authority is replaced, while a job runs: no call fails.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_tests::authority::{Authority, replace};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::{Workbench, as_strs};
use ringvault_tests::proxy::Proxy;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::large;

use crate::support::{command, until};

/// Rows of the table.
const ROWS: u64 = 20_000;
/// Rows a second: the job would last ten minutes.
const SLOWLY: &str = "30";
/// Rows a second once all is done.
const QUICKLY: &str = "100000";
/// What a process says when new files are in use.
const READ_ANEW: &str = "certificates were read anew";

pub(super) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![Test::new("certificates_swapped_during_a_job_fail_no_call", swapped_during_a_job).on(newest())]
}

async fn swapped_during_a_job(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "renewed", 1).await?;
    large::many_partitions(cluster, "renewed", ROWS).await?;
    let bench = Workbench::new(cluster)?;
    let directory = bench.path().join("certificates");
    let first = Authority::of_fleet(&directory)?;
    let mut spec = FleetSpec::new(&bench, 2)?.with_tls(first.fleet_tls());
    let proxy = Proxy::start(spec.listen).await?;
    spec.workers_call = format!("https://{}", proxy.address());
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    // Clients come through the proxy too: a cut is theirs as well.
    let to = ["--coordinator".to_owned(), format!("https://{}", proxy.address())];
    let to = [&to[..], &first.fleet_tls().words("admin")].concat();
    let backup = ["backup", "renewed", "main", "--cluster", "prod", "--rate", SLOWLY, "--log-level", "info"];
    let log = bench.path().join("watch.log");
    let mut watch = bench.start_into(&[&backup[..], &as_strs(&to)].concat(), &[], &log)?;
    let job = until("a running job", async || {
        let list = bench.run(&[&["job", "list"][..], &as_strs(&to)].concat()).await?.expect(0)?;
        let running = list.lines("job").into_iter().find(|line| line["state"] == "running");
        Ok(running.and_then(|line| line["job_id"].as_str().map(ToOwned::to_owned)))
    })
    .await?;

    let read_anew = |fleet: &Fleet<'_>| {
        let own = std::fs::read_to_string(&log).unwrap_or_default();
        let logs = [fleet.log("coordinator"), fleet.log("w1"), fleet.log("w2"), own];
        logs.map(|log| log.matches(READ_ANEW).count())
    };
    // Renewed by the same authority; then a second one is trusted, signs everything anew, and is the only one trusted.
    let second = Authority::new(&bench.path().join("second"), "the next authority")?;
    for (number, step) in ["renewed", "both trusted", "signed anew", "one trusted"].into_iter().enumerate() {
        let before = read_anew(&fleet);
        match number {
            0 => first.sign_fleet()?,
            1 => replace(&first.ca(), &format!("{}{}", first.pem(), second.pem()))?,
            2 => second.sign_fleet_into(&directory)?,
            _ => replace(&first.ca(), second.pem())?,
        }
        until(&format!("everybody reading what was {step}"), async || {
            let now = read_anew(&fleet);
            Ok(now.iter().zip(&before).all(|(now, before)| now > before).then_some(()))
        })
        .await?;
        // New connections for everybody: by a cut, and once by a coordinator that starts anew.
        if number == 2 {
            fleet.stop_coordinator().await?;
            fleet.start_coordinator()?;
        } else {
            proxy.cut();
        }
        let show = bench.run(&[&["job", "show", &job][..], &as_strs(&to)].concat()).await?.expect(0)?;
        ensure!(!watch.ended()?, "the watch ended while certificates were {step}: {show}");
        fleet.wait_for_workers(2).await?;
    }
    ensure!(fleet.log("coordinator").matches("a connection was refused").count() == 0, "{}", fleet.log("coordinator"));

    command(&bench, &fleet, &["job", "limit", &job, "--rate", QUICKLY]).await?;
    let run = watch.wait(Duration::from_secs(300)).await?;
    let said = std::fs::read_to_string(&log)?;
    ensure!(run.code == Some(0), "the client ended with {:?}: {said}", run.code);
    let show = command(&bench, &fleet, &["job", "show", &job]).await?;
    let shown = show.line("job")?;
    ensure!(shown["state"] == "done", "{shown}");
    ensure!(said.contains(&format!("\"rows\":{ROWS}")), "other rows: {said}");
    for name in ["w1", "w2"] {
        let log = fleet.log(name);
        ensure!(!log.contains("\"level\":\"ERROR\""), "{name} met an error: {log}");
    }
    fleet.stop().await?;
    cluster.drop_keyspace("renewed").await
}
