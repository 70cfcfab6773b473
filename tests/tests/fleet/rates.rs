//! Limits of rows and bytes a second hold for the whole fleet: of a job while workers come and go, of a cluster while
//! several jobs run, and after each change.
//!
//! Every figure is measured twice: by what the coordinator counts, and by what happened (objects in the repository by
//! their time, rows in the tables by their writetime).

use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_client::{Client, v1};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::Workbench;
use ringvault_tests::raw_scan::{RawScan, scan_selecting};
use ringvault_tests::runner::{Test, TestContext};

use crate::support::{
    History, Looks, MANY, MANY_ROWS, MANY_TABLES, backup, client, command, done, float, many, rows, submit, until_job,
};

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("the_rate_of_a_backup_holds_while_workers_come_and_go", rate_of_a_backup).on(newest()),
        Test::new("the_rate_of_a_restore_holds_while_workers_come_and_go", rate_of_a_restore).on(newest()),
        Test::new("limits_of_a_cluster_hold_for_all_jobs_together_and_change_while_they_run", limits_of_a_cluster)
            .on(newest()),
    ]
}

/// Each figure is taken over so long, in the short form and in the long one.
const PHASES: [Duration; 2] = [Duration::from_secs(6), Duration::from_secs(10)];
/// After a change it may take so long until all have heard of it: a lost worker keeps its part until its lease lapses,
/// then the others report twice.
const SETTLE: Duration = Duration::from_secs(5);
/// Rows a second of one job.
const RATE: u64 = 1_000;
/// A figure may be above what is allowed by this part.
const ABOVE: f64 = 1.1;
/// And not below by more than this, unless the machine is too slow for it.
const BELOW: f64 = 0.7;

/// Settings of a coordinator that misses a killed worker soon.
const SOON: &str = "lease_ttl = \"3s\"";

/// Checks a figure against what is allowed; gives a line for a note.
fn judge(what: &str, looks: &Looks, counted: f64, happened: f64, allowed: u64) -> Result<String> {
    let allowed = float(allowed);
    let line = format!("{what}: {counted:.0} counted and {happened:.0} seen of {allowed:.0} allowed a second");
    for figure in [counted, happened] {
        ensure!(figure <= allowed * ABOVE, "more than is allowed; {line}");
    }
    if counted >= allowed * BELOW && happened >= allowed * BELOW {
        return Ok(line);
    }
    ensure!(!looks.held_back_by_rate(), "less than is allowed though workers wait for the rate; {line}");
    Ok(format!("THIS MACHINE IS TOO SLOW TO TELL! {line}"))
}

/// A fleet of three workers loses one and gets another while a job runs; what was looked at with three, two and three.
async fn come_and_go(
    fleet: &mut Fleet<'_>,
    client: &Client,
    id: &str,
    phase: Duration,
) -> Result<[(&'static str, Looks); 3]> {
    until_job(client, id, "work for all three", |job| job.workers == 3 && rows(job) > 0).await?;
    tokio::time::sleep(SETTLE).await;
    let three = Looks::at(client, &[id], phase).await?;
    fleet.kill_worker(0).await?;
    // Its share is free once its leases have lapsed.
    until_job(client, id, "the lapse of what the dead one held", |job| job.workers == 2).await?;
    tokio::time::sleep(SETTLE).await;
    let two = Looks::at(client, &[id], phase).await?;
    let added = fleet.add_worker()?;
    fleet.start_worker(added)?;
    until_job(client, id, "work for the new one", |job| job.workers == 3).await?;
    tokio::time::sleep(SETTLE).await;
    let again = Looks::at(client, &[id], phase).await?;
    Ok([("three workers", three), ("one killed", two), ("one added", again)])
}

async fn rate_of_a_backup(t: TestContext) -> Result<()> {
    let (cluster, phase) = (t.cluster(), PHASES[usize::from(t.long)]);
    many(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let spec = FleetSpec { coordinator_settings: SOON.to_owned(), ..FleetSpec::new(&bench, 3)? };
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let client = client(&fleet)?;
    let spec = v1::BackupSpec { rows_per_second_max: RATE, ..backup(MANY) };
    let id = submit(&client, Client::backup(spec)).await?;
    let phases = come_and_go(&mut fleet, &client, &id, phase).await?;
    let stored = History::of_repository(&bench.repository())?;
    let mut lines = Vec::new();
    for (what, looks) in &phases {
        let figures = judge(what, looks, looks.rows_per_second(), stored.rows_per_second(looks), RATE)?;
        lines.push(figures);
    }
    // The same everywhere between, with what was read before and stored then: a chunk a slot.
    let most = stored.most_within(phase);
    let allowed = float(RATE) * phase.as_secs_f64() * ABOVE + float(6 * 100);
    ensure!(float(most) <= allowed, "{most} rows were stored within {phase:?}");
    lines.push(format!("{most} rows at most within any {phase:?}"));
    lines.into_iter().for_each(|line| t.note(line));
    // Without a limit the rest is done soon, and it is all there.
    let change = v1::UpdateJobRequest { job_id: id.clone(), rows_per_second_max: Some(0), ..Default::default() };
    client.update(change).await?;
    let job = done(&client, &id).await?;
    ensure!(rows(&job) == MANY_TABLES * MANY_ROWS, "{} rows", rows(&job));
    ensure!(History::of_repository(&bench.repository())?.rows() >= rows(&job), "rows are missing in the repository");
    fleet.stop().await
}

async fn rate_of_a_restore(t: TestContext) -> Result<()> {
    let (cluster, phase) = (t.cluster(), PHASES[usize::from(t.long)]);
    many(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let spec = FleetSpec { coordinator_settings: SOON.to_owned(), ..FleetSpec::new(&bench, 3)? };
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let client = client(&fleet)?;
    let backed_up = done(&client, &submit(&client, Client::backup(backup(MANY))).await?).await?;
    let spec = v1::RestoreSpec {
        keyspaces: vec![MANY.to_owned()],
        cluster: "prod".to_owned(),
        repository: "main".to_owned(),
        backup_id: backed_up.backup_id,
        tables_parallel: 8,
        pace: v1::Pace::Full.into(),
        rows_per_second_max: RATE,
        keyspace_as: "fleet_rated".to_owned(),
        // So that each row tells when it was written.
        timestamps: v1::Timestamps::Now.into(),
        ..v1::RestoreSpec::default()
    };
    let id = submit(&client, Client::restore(spec)).await?;
    let phases = come_and_go(&mut fleet, &client, &id, phase).await?;
    let change = v1::UpdateJobRequest { job_id: id.clone(), rows_per_second_max: Some(0), ..Default::default() };
    client.update(change).await?;
    let job = done(&client, &id).await?;
    let written = History::of_writes(cluster, "fleet_rated", MANY_TABLES).await?;
    for (what, looks) in &phases {
        t.note(judge(what, looks, looks.rows_per_second(), written.rows_per_second(looks), RATE)?);
    }
    ensure!(rows(&job) == MANY_TABLES * MANY_ROWS, "{} rows", rows(&job));
    ensure!(written.rows() == MANY_TABLES * MANY_ROWS, "{} rows were written", written.rows());
    fleet.stop().await?;
    cluster.drop_keyspace("fleet_rated").await
}

async fn limits_of_a_cluster(t: TestContext) -> Result<()> {
    let (cluster, phase) = (t.cluster(), PHASES[usize::from(t.long)]);
    many(cluster).await?;
    let bench = Workbench::new(cluster)?;
    let spec = FleetSpec { slots: 4, coordinator_settings: SOON.to_owned(), ..FleetSpec::new(&bench, 2)? };
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let client = client(&fleet)?;
    command(&bench, &fleet, &["cluster", "limit", "prod", "--rate", "1000"]).await?;
    let other = bench.path().join("other");
    let spec = v1::BackupSpec { repository: other.display().to_string(), ..backup(MANY) };
    let first = submit(&client, Client::backup(backup(MANY))).await?;
    let second = submit(&client, Client::backup(spec)).await?;
    let jobs = [first.as_str(), second.as_str()];
    for id in jobs {
        until_job(&client, id, "rows of both jobs", |job| rows(job) > 0).await?;
    }
    let mut notes = Vec::new();
    let stored = || -> Result<[History; 2]> {
        Ok([History::of_repository(&bench.repository())?, History::of_repository(&other)?])
    };
    // A limit outlives the coordinator that was told it; it is changed while both jobs run.
    fleet.kill_coordinator().await?;
    fleet.start_coordinator()?;
    for (rate, allowed) in [("1000", 1_000_u64), ("2000", 2_000)] {
        if allowed != 1_000 {
            command(&bench, &fleet, &["cluster", "limit", "prod", "--rate", rate]).await?;
        }
        tokio::time::sleep(SETTLE).await;
        let looks = Looks::at(&client, &jobs, phase).await?;
        let happened: f64 = stored()?.iter().map(|stored| stored.rows_per_second(&looks)).sum();
        let line = judge("two jobs", &looks, looks.rows_per_second(), happened, allowed)?;
        let each = [looks.rows_per_second_of(0), looks.rows_per_second_of(1)];
        notes.push(format!("{line}; {:.0} and {:.0} of each", each[0], each[1]));
        let fair = float(allowed) / 2.0;
        ensure!(each.iter().all(|speed| *speed <= 1.3 * fair), "one job takes the other's part: {notes:?}");
        let listed = command(&bench, &fleet, &["cluster", "list"]).await?.line("cluster")?;
        ensure!(listed["rows_per_second_max"] == allowed, "another limit is told: {listed}");
    }
    // Bytes instead of rows: as the database sends them, which the raw driver tells.
    let bytes: u64 = 200 << 10;
    let selected = "id, label, WRITETIME(label), TTL(label), payload, WRITETIME(payload), TTL(payload)";
    let sent = scan_selecting(cluster.session(), MANY, "t00", selected, RawScan::default()).await?;
    let bytes_a_row = float(sent.bytes) / float(sent.rows);
    command(&bench, &fleet, &["cluster", "limit", "prod", "--rate", "200KiB"]).await?;
    tokio::time::sleep(SETTLE).await;
    let looks = Looks::at(&client, &jobs, PHASES[1]).await?;
    let happened: f64 = stored()?.iter().map(|stored| stored.rows_per_second(&looks)).sum();
    let counted = looks.rows_per_second() * bytes_a_row;
    notes.push(judge("bytes of two jobs", &looks, counted, happened * bytes_a_row, bytes)?);
    notes.into_iter().for_each(|line| t.note(line));
    command(&bench, &fleet, &["cluster", "limit", "prod", "--rate", "none"]).await?;
    for id in jobs {
        let job = done(&client, id).await?;
        ensure!(rows(&job) == MANY_TABLES * MANY_ROWS, "{} rows", rows(&job));
    }
    fleet.stop().await
}
