use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState},
};

use crate::{
    core::{
        event::{Answer, Event},
        testing::{Bench, hello, renewal},
    },
    settings::Settings,
};

fn drain(bench: &mut Bench, worker: &str, undo: bool) -> Result<v1::Worker, Failure> {
    let request = v1::DrainWorkerRequest { worker: worker.into(), undo };
    match bench.ask(|reply| Event::Drain(reply, request)) {
        Some(Answer::Drained(worker)) => Ok(*worker),
        Some(Answer::Refused(failure)) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn set_limits(bench: &mut Bench, cluster: &str, limits: v1::ClusterLimits) -> Result<v1::Cluster, Failure> {
    let request = v1::SetClusterLimitsRequest { cluster: cluster.into(), limits: Some(limits) };
    match bench.ask(|reply| Event::SetLimits(reply, request)) {
        Some(Answer::Limited(cluster)) => Ok(*cluster),
        Some(Answer::Refused(failure)) => Err(failure),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_paused_job_grants_nothing_its_leases_are_lost_and_it_goes_on_where_it_was() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let held = bench.lease_one("a");
    let paused = bench.change(|reply| Event::Pause(reply, job.clone())).expect("paused");
    assert_eq!((paused.state(), paused.leases, paused.finished_unix_ms), (JobState::Paused, 0, 0));
    assert!(paused.stage.starts_with("paused while dumping"), "{}", paused.stage);
    assert_eq!(bench.change(|reply| Event::Pause(reply, job.clone())).expect("again").state(), JobState::Paused);
    assert_eq!(bench.report("a", vec![renewal(&held)]).lost.len(), 1);
    let late = bench.whole("a", &held);
    assert_eq!(bench.complete(late).expect_err("fenced").kind, ErrorKind::Fenced);
    assert!(bench.lease("a", 8).is_empty());
    let resumed = bench.change(|reply| Event::Resume(reply, job.clone())).expect("resumed");
    assert_eq!(resumed.state(), JobState::Running);
    assert_eq!(bench.change(|reply| Event::Resume(reply, job.clone())).expect("again").state(), JobState::Running);
    bench.work("a");
    assert_eq!(bench.job(&job).state(), JobState::Done);
}

#[test]
fn a_pause_outlives_the_process_and_the_window_of_going_on_and_keeps_what_is_stored() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let request = bench.whole("a", &assignment);
    bench.complete(request).expect("accepted");
    let rows = bench.job(&job).tables[0].rows;
    assert!(rows > 0);
    bench.change(|reply| Event::Pause(reply, job.clone())).expect("paused");
    bench.restart(Settings::fleet());
    bench.now.unix_ms += 100 * 3600 * 1000;
    bench.now.ms += 100 * 3600 * 1000;
    bench.pass_s(2);
    bench.act();
    bench.attend("a");
    assert!(bench.lease("a", 8).is_empty());
    assert_eq!((bench.job(&job).state(), bench.job(&job).tables[0].rows), (JobState::Paused, rows));
    bench.change(|reply| Event::Resume(reply, job.clone())).expect("resumed");
    bench.work("a");
    let done = bench.job(&job);
    assert_eq!(done.state(), JobState::Done);
    assert_eq!(bench.published.len(), 1);
}

#[test]
fn an_action_that_ends_while_a_job_is_paused_is_neither_lost_nor_a_failure() {
    for fails in [false, true] {
        let mut bench = Bench::fleet();
        let job = bench.submit_backup("k");
        bench.attend("a");
        bench.change(|reply| Event::Pause(reply, job.clone())).expect("paused");
        if fails {
            bench.fail_action(Failure::new(ErrorKind::Invalid, "no access"));
        } else {
            bench.act();
        }
        assert_eq!(bench.job(&job).state(), JobState::Paused);
        bench.change(|reply| Event::Resume(reply, job.clone())).expect("resumed");
        bench.work("a");
        assert_eq!(bench.job(&job).state(), JobState::Done);
    }
}

#[test]
fn a_paused_job_can_be_cancelled_and_submitting_it_again_finds_it_paused() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    bench.change(|reply| Event::Pause(reply, job.clone())).expect("paused");
    let again = bench.submit("k", crate::core::testing::backup_job(crate::core::testing::backup_spec()), false);
    let again = again.expect("accepted").job.expect("a job");
    assert_eq!((again.job_id.as_str(), again.state()), (job.as_str(), JobState::Paused));
    let cancelled = bench.change(|reply| Event::Cancel(reply, job.clone())).expect("cancelled");
    assert_eq!(cancelled.state(), JobState::Cancelled);
}

#[test]
fn a_job_that_has_ended_is_not_paused_resumed_or_changed() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    bench.work("a");
    let update = v1::UpdateJobRequest { job_id: job.clone(), ranges_max: Some(3), ..v1::UpdateJobRequest::default() };
    let refused = [
        bench.change(|reply| Event::Pause(reply, job.clone())),
        bench.change(|reply| Event::Resume(reply, job.clone())),
        bench.change(|reply| Event::Update(reply, Box::new(update))),
    ];
    for refused in refused {
        let failure = refused.expect_err("it has ended");
        assert_eq!(failure.kind, ErrorKind::Conflict);
        assert!(failure.message.contains("is done"), "{}", failure.message);
    }
    let unknown = bench.change(|reply| Event::Pause(reply, "j77".into())).expect_err("unknown");
    assert_eq!(unknown.kind, ErrorKind::NotFound);
}

#[test]
fn a_change_of_a_job_counts_at_once_and_is_the_same_job_when_submitted_again() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let update = v1::UpdateJobRequest {
        job_id: job.clone(),
        priority: Some(v1::Priority::High.into()),
        ranges_max: Some(2),
        rows_per_second_max: Some(500),
        pace: Some(v1::Pace::Full.into()),
        ..v1::UpdateJobRequest::default()
    };
    let changed = bench.change(|reply| Event::Update(reply, Box::new(update))).expect("changed");
    assert_eq!(changed.spec.expect("a spec").priority(), v1::Priority::High);
    bench.restart(Settings::fleet());
    bench.act();
    bench.attend("a");
    let leased = bench.lease("a", 8);
    assert_eq!(leased.len(), 2);
    let allowance = leased[1].allowance.as_ref().expect("one");
    assert_eq!((allowance.rows_per_second_max, allowance.requests_per_node_max), (500, 0.0));
    let again = bench.submit("k", crate::core::testing::backup_job(crate::core::testing::backup_spec()), false);
    assert_eq!(again.expect("the same").job.expect("a job").job_id, job);
}

#[test]
fn a_drained_worker_gets_nothing_keeps_what_it_holds_and_works_again_when_that_is_undone() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let held = bench.lease_one("a");
    assert!(drain(&mut bench, "a", false).expect("it attends").draining);
    assert!(bench.lease("a", 8).is_empty());
    let answer = bench.report("a", vec![renewal(&held)]);
    assert!(answer.drain && !answer.undrain && answer.renewed.len() == 1);
    let answer = bench.report_of(hello("a"), vec![renewal(&held)], true);
    assert!(!answer.drain && answer.renewed.len() == 1, "it does so already");
    let request = bench.whole("a", &held);
    assert!(bench.complete(request).expect("what it holds counts"));
    bench.restart(Settings::fleet());
    bench.act();
    bench.report_of(hello("a"), vec![], true);
    assert!(bench.lease("a", 8).is_empty(), "it says so itself to the next process");
    assert!(!drain(&mut bench, "a", true).expect("it attends").draining);
    assert!(bench.report_of(hello("a"), vec![], true).undrain);
    assert_eq!(bench.lease("a", 1).len(), 1);
    assert!(!bench.report_of(hello("a"), vec![], false).undrain);
}

#[test]
fn a_worker_is_drained_by_its_name_and_a_wrong_one_is_told_which_there_are() {
    let mut bench = Bench::fleet();
    for (id, name) in [("id1", "host1"), ("id2", "host2"), ("id3", "host2")] {
        bench.report_of(v1::WorkerHello { name: name.into(), ..hello(id) }, vec![], false);
    }
    assert_eq!(drain(&mut bench, "host1", false).expect("the only one").worker_id, "id1");
    let twice = drain(&mut bench, "host2", false).expect_err("two");
    assert_eq!(twice.kind, ErrorKind::Conflict);
    assert!(twice.message.contains("id2, id3"), "{}", twice.message);
    let unknown = drain(&mut bench, "host7", false).expect_err("none");
    assert_eq!(unknown.kind, ErrorKind::NotFound);
    assert!(unknown.message.contains("host1, host2"), "{}", unknown.message);
    assert!(drain(&mut bench, "id3", false).expect("by id").draining);
}

#[test]
fn limits_of_a_cluster_come_from_the_settings_until_they_are_set_and_that_survives() {
    let limits = |rows| v1::ClusterLimits { rows_per_second_max: rows, ..v1::ClusterLimits::default() };
    let mut settings = Settings::fleet();
    settings.clusters.insert("prod".into(), limits(10));
    let mut bench = Bench::new(settings.clone());
    assert_eq!(bench.core.clusters()[0].limits, Some(limits(10)));
    let set = set_limits(&mut bench, "prod", limits(20)).expect("set");
    assert_eq!((set.limits, set.workers), (Some(limits(20)), 0));
    bench.attend("a");
    bench.restart(settings.clone());
    bench.attend("a");
    let clusters = bench.core.clusters();
    assert_eq!(clusters.len(), 1);
    assert_eq!((clusters[0].limits, clusters[0].workers, clusters[0].slots), (Some(limits(20)), 1, 8));
    set_limits(&mut bench, "prod", limits(0)).expect("none");
    bench.restart(settings);
    assert_eq!(bench.core.clusters()[0].limits, Some(limits(0)), "none is a limit that was set, too");
    let failure = set_limits(&mut bench, "prd", limits(1)).expect_err("unknown");
    assert_eq!(failure.kind, ErrorKind::NotFound);
    assert!(failure.message.contains("prod"), "{}", failure.message);
}
