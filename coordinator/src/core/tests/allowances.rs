use ringvault_proto::v1;

use crate::core::{
    event::{Answer, Event},
    testing::{Bench, backup_job, backup_spec, renewal},
};

fn rows(allowance: Option<&v1::Allowance>) -> u64 {
    allowance.expect("an allowance").rows_per_second_max
}

/// What a report's answer allows of the only job.
fn told(bench: &mut Bench, worker: &str, leased: &[v1::Assignment]) -> u64 {
    let answer = bench.report(worker, leased.iter().map(renewal).collect());
    assert_eq!(answer.allowances.len(), 1);
    rows(answer.allowances.first())
}

fn limited(rows_per_second_max: u64) -> v1::JobSpec {
    backup_job(v1::BackupSpec { rows_per_second_max, ..backup_spec() })
}

#[test]
fn a_rate_is_shared_among_the_workers_by_their_leases_and_never_told_twice() {
    let mut bench = Bench::fleet();
    bench.dumping_job("k", "a", limited(800));
    let of_a = bench.lease("a", 3);
    assert_eq!(rows(of_a[2].allowance.as_ref()), 800, "all of it is one worker's");
    bench.attend("b");
    let of_b = bench.lease("b", 1);
    assert_eq!(rows(of_b[0].allowance.as_ref()), 1, "nothing is free yet");
    assert_eq!((told(&mut bench, "a", &of_a), told(&mut bench, "b", &of_b)), (600, 200));
    let request = v1::ReturnRequest {
        worker_id: "a".into(),
        leases: of_a.iter().filter_map(|assignment| assignment.lease.clone()).collect(),
        leaving: true,
    };
    bench.ask(|reply| Event::Return(reply, request));
    assert_eq!(told(&mut bench, "b", &of_b), 800, "what was returned is free");
}

#[test]
fn the_share_of_a_worker_that_fell_silent_is_free_once_its_leases_lapsed() {
    let mut bench = Bench::fleet();
    bench.dumping_job("k", "a", limited(100));
    bench.lease("a", 1);
    bench.attend("b");
    let of_b = bench.lease("b", 1);
    for _ in 0..25 {
        bench.pass_s(1);
        assert_eq!(told(&mut bench, "b", &of_b), 1, "the silent one may still take all");
    }
    bench.pass_s(6);
    assert_eq!(told(&mut bench, "b", &of_b), 100);
}

#[test]
fn the_limit_of_a_cluster_is_split_among_its_jobs_by_weight_and_changes_while_they_run() {
    let mut bench = Bench::fleet();
    let low = v1::JobSpec { priority: v1::Priority::Low.into(), ..backup_job(backup_spec()) };
    let jobs = bench.all_dumping("a", vec![backup_job(backup_spec()), low]);
    let mut leased = Vec::new();
    while !jobs.iter().all(|job| leased.iter().any(|held: &v1::Assignment| held.job_id == *job)) {
        leased.extend(bench.lease("a", 1));
    }
    let limit = |bench: &mut Bench, rows_per_second_max| {
        let limits =
            v1::ClusterLimits { rows_per_second_max, requests_per_node_max: 1, ..v1::ClusterLimits::default() };
        let request = v1::SetClusterLimitsRequest { cluster: "prod".into(), limits: Some(limits) };
        assert!(matches!(bench.ask(|reply| Event::SetLimits(reply, request)), Some(Answer::Limited(_))));
    };
    for (whole, shares) in [(1000, [800, 200]), (100, [80, 20]), (0, [0, 0]), (2000, [1600, 400])] {
        limit(&mut bench, whole);
        for _ in 0..2 {
            bench.report("a", leased.iter().map(renewal).collect());
        }
        let answer = bench.report("a", leased.iter().map(renewal).collect());
        let told: Vec<(u64, f64)> = jobs
            .iter()
            .filter_map(|job| answer.allowances.iter().find(|allowance| allowance.job_id == *job))
            .map(|allowance| (allowance.rows_per_second_max, allowance.requests_per_node_max))
            .collect();
        assert_eq!(told, [(shares[0], 0.8), (shares[1], 0.2)]);
    }
}

#[test]
fn a_polite_job_asks_each_node_for_two_things_at_once_with_all_its_workers() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let of_a = bench.lease("a", 2);
    let requests = |allowance: &Option<v1::Allowance>| allowance.as_ref().expect("one").requests_per_node_max;
    assert!((requests(&of_a[0].allowance) - 2.0).abs() < 1e-9);
    bench.attend("b");
    let of_b = bench.lease("b", 2);
    assert!((requests(&of_b[1].allowance) - 0.25).abs() < 1e-9, "something, though nothing is free");
    for _ in 0..2 {
        for (worker, leased) in [("a", &of_a), ("b", &of_b)] {
            bench.report(worker, leased.iter().map(renewal).collect());
        }
    }
    let answer = bench.report("a", of_a.iter().map(renewal).collect());
    assert!((answer.allowances[0].requests_per_node_max - 1.0).abs() < 1e-9);
}
