use std::collections::BTreeMap;

use ringvault_proto::v1::{self, Priority, assignment::Work};

use crate::core::{
    event::{Answer, Event},
    testing::{Bench, backup_job, backup_spec, hello, renewal, table},
};

/// A backup of one table in many shards.
fn job(priority: Priority) -> v1::JobSpec {
    let spec = v1::BackupSpec { shards_per_table: 256, ..backup_spec() };
    v1::JobSpec { priority: priority.into(), ..backup_job(spec) }
}

fn large() -> Bench {
    let mut bench = Bench::fleet();
    bench.cluster.tables = vec![table("t", 64 << 30)];
    bench
}

fn by_job(leased: &[v1::Assignment]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for assignment in leased {
        *counts.entry(assignment.job_id.clone()).or_default() += 1;
    }
    counts
}

/// Workers take all they get.
fn fill(bench: &mut Bench, workers: usize) -> Vec<v1::Assignment> {
    let mut leased = Vec::new();
    for number in 0..workers {
        let worker = format!("w{number}");
        bench.attend(&worker);
        leased.extend(bench.lease(&worker, 8));
    }
    leased
}

#[test]
fn a_job_of_one_priority_gets_four_times_the_leases_of_one_below() {
    let mut bench = large();
    let jobs = bench.all_dumping("a", vec![job(Priority::Low), job(Priority::Unspecified), job(Priority::High)]);
    let leased = fill(&mut bench, 21);
    assert_eq!(leased.len(), 168);
    let counts = by_job(&leased);
    assert_eq!([counts[&jobs[0]], counts[&jobs[1]], counts[&jobs[2]]], [8, 32, 128]);
    assert_eq!((bench.job(&jobs[2]).leases, bench.job(&jobs[2]).workers), (128, 21));
}

#[test]
fn with_one_slot_jobs_take_turns_by_priority_and_none_starves() {
    let mut bench = large();
    let jobs = bench.all_dumping("a", vec![job(Priority::High), job(Priority::Normal), job(Priority::Low)]);
    let mut done = Vec::new();
    for _ in 0..168 {
        let assignment = bench.lease_one("a");
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
        done.push(assignment);
    }
    // What they were granted while they were prepared has been made up for by then.
    let counts = by_job(&done[84..]);
    let [high, normal, low] = [&jobs[0], &jobs[1], &jobs[2]].map(|job| counts[job]);
    assert!(high.abs_diff(64) <= 2 && normal.abs_diff(16) <= 2 && low.abs_diff(4) <= 1, "{counts:?}");
}

#[test]
fn a_job_that_comes_later_takes_its_share_and_no_more() {
    let mut bench = large();
    let first = bench.dumping_job("k0", "a", job(Priority::Normal));
    for _ in 0..50 {
        let assignment = bench.lease_one("a");
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
    }
    bench.change(|reply| Event::Pause(reply, first.clone())).expect("paused");
    let second = bench.dumping_job("k1", "a", job(Priority::Normal));
    bench.change(|reply| Event::Resume(reply, first.clone())).expect("resumed");
    let mut done = Vec::new();
    for _ in 0..20 {
        let assignment = bench.lease_one("a");
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
        done.push(assignment);
    }
    let counts = by_job(&done);
    assert!(counts[&first] >= 9 && counts[&second] >= 9, "{counts:?}");
}

#[test]
fn a_job_holds_no_more_leases_and_workers_than_it_may() {
    let mut bench = large();
    let job = v1::JobSpec { ranges_max: 5, workers_max: 2, ..job(Priority::Normal) };
    bench.dumping_job("k", "a", job);
    bench.attend("b");
    bench.attend("c");
    let first = bench.lease("a", 1);
    assert_eq!((first.len(), bench.lease("b", 1).len(), bench.lease("c", 1).len()), (1, 1, 0), "two workers");
    assert_eq!((bench.lease("a", 8).len(), bench.lease("b", 8).len()), (3, 0), "five leases");
    let request = bench.whole("a", &first[0]);
    bench.complete(request).expect("accepted");
    assert_eq!((bench.lease("c", 8).len(), bench.lease("b", 8).len()), (0, 1), "one is free again");
}

#[test]
fn a_cluster_bears_no_more_leases_than_its_limit_also_when_it_is_changed() {
    let mut bench = large();
    bench.all_dumping("a", vec![job(Priority::Normal), job(Priority::Normal)]);
    let set = |bench: &mut Bench, ranges_max| {
        let limits = v1::ClusterLimits { ranges_max, ..v1::ClusterLimits::default() };
        let request = v1::SetClusterLimitsRequest { cluster: "prod".into(), limits: Some(limits) };
        match bench.ask(|reply| Event::SetLimits(reply, request)) {
            Some(Answer::Limited(cluster)) => *cluster,
            other => panic!("{other:?}"),
        }
    };
    set(&mut bench, 3);
    bench.attend("b");
    assert_eq!((bench.lease("a", 2).len(), bench.lease("b", 8).len(), bench.lease("a", 8).len()), (2, 1, 0));
    assert_eq!(set(&mut bench, 6).leases, 3);
    assert_eq!(bench.lease("b", 8).len(), 3);
    set(&mut bench, 0);
    assert_eq!(bench.lease("a", 8).len(), 8);
}

/// Six nodes in two data centres, each with every sixth part of the ring.
fn two_data_centers(bench: &mut Bench) {
    let node = |number: i64| v1::InspectedNode {
        host_id: format!("node {number}"),
        data_center: if number % 2 == 0 { "east" } else { "west" }.into(),
        ..v1::InspectedNode::default()
    };
    bench.cluster.nodes = (0..6).map(node).collect();
    let token = |place: i128| v1::RingToken {
        token: i64::try_from((place + 1) * ((1 << 64) / 96) - (1 << 63)).expect("on the ring"),
        node: u32::try_from(place % 6).expect("small"),
    };
    bench.cluster.ring = (0..96).map(token).collect();
}

/// Where an assignment is at home, as the journal has it.
fn homes(bench: &mut Bench, leased: &[v1::Assignment]) -> Vec<(String, String)> {
    let loaded = bench.store.load().expect("load");
    let home = |assignment: &v1::Assignment| {
        let id = &assignment.lease.as_ref().expect("a lease").assignment_id;
        let record = loaded.assignments.iter().find(|record| *id == format!("{}.{}", record.job_id, record.ordinal));
        let record = record.expect("journaled");
        let job = loaded.jobs.iter().find(|job| job.job_id == record.job_id).expect("journaled");
        let home = &job.homes[usize::try_from(record.home.expect("a home")).expect("small")];
        (home.data_center.clone(), home.node.clone())
    };
    leased.iter().map(home).collect()
}

#[test]
fn a_worker_takes_shards_of_its_own_data_centre_first_and_nodes_stay_evenly_busy() {
    let mut bench = large();
    two_data_centers(&mut bench);
    let spec = v1::BackupSpec { shards_per_table: 96, ..backup_spec() };
    bench.dumping_job("k", "a", backup_job(spec));
    bench.restart(crate::settings::Settings::fleet());
    bench.act();
    let worker = |id: &str, dc: &str| v1::WorkerHello { data_center: dc.into(), ..hello(id) };
    bench.report_of(worker("e", "east"), vec![], false);
    bench.report_of(worker("w", "west"), vec![], false);
    for (id, dc) in [("w", "west"), ("e", "east")] {
        let leased = bench.lease(id, 6);
        let homes = homes(&mut bench, &leased);
        let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
        for (home, node) in &homes {
            assert_eq!(home, dc, "{homes:?}");
            *nodes.entry(node.clone()).or_default() += 1;
        }
        assert_eq!(nodes.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    }
    let mut taken = Vec::new();
    while taken.len() < 48 {
        let leased = bench.lease("e", 8);
        for assignment in &leased {
            let request = bench.whole("e", assignment);
            bench.complete(request).expect("accepted");
        }
        assert!(!leased.is_empty(), "what is far is better than nothing");
        taken.extend(homes(&mut bench, &leased));
    }
    let far = taken.iter().position(|(dc, _)| dc == "west").expect("in the end");
    assert!(taken[..far].iter().all(|(dc, _)| dc == "east") && far >= 40, "{far}");
}

#[test]
fn a_restore_follows_the_ring_that_was_seen_of_its_cluster() {
    let mut bench = Bench::fleet();
    two_data_centers(&mut bench);
    bench.dumping("k", "a");
    bench.work("a");
    let index = crate::core::testing::index("t", 4, 1 << 20);
    bench.backup = Some(crate::core::event::LoadedBackup {
        backup_id: "20261122T145053Z-0001".into(),
        started_unix_ms: 1,
        cluster_name: "Test Cluster".into(),
        server_version: "5.0.6".into(),
        partial: false,
        keyspaces: vec!["shop".into()],
        all_tables: true,
        tables: vec![index],
    });
    bench.submit_restore("r", crate::core::testing::restore_spec());
    bench.act();
    let leased = loop {
        let assignment = bench.lease_one("a");
        if matches!(assignment.work, Some(Work::Restore(_))) {
            break assignment;
        }
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
        bench.act();
    };
    assert_eq!(homes(&mut bench, &[leased]).len(), 1);
}

#[test]
fn a_poll_that_waits_is_answered_as_soon_as_a_limit_leaves_room() {
    let mut bench = large();
    bench.dumping_job("k", "a", v1::JobSpec { ranges_max: 1, ..job(Priority::Normal) });
    let held = bench.lease_one("a");
    bench.attend("b");
    bench.lease("b", 1);
    let request = v1::LeaseRequest { worker_id: "b".into(), assignments_max: 1, wait_ms: 30_000, proofs: vec![] };
    let reply = bench.reply();
    bench.apply(Event::Lease(reply, request));
    assert!(bench.answers.is_empty(), "there is no room");
    bench.report("a", vec![renewal(&held)]);
    let done = bench.whole("a", &held);
    bench.complete(done).expect("accepted");
    match bench.answers.remove(&reply) {
        Some(Answer::Leased(response)) => assert_eq!(response.assignments.len(), 1),
        other => panic!("{other:?}"),
    }
}
