use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, TableState},
};

use crate::{
    core::{
        event::Event,
        testing::{Bench, backup_job, backup_spec, renewal, table},
    },
    settings::Settings,
};

const TRACE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn count(counts: &[(String, u64)], of: &str) -> u64 {
    counts.iter().find(|(name, _)| name == of).unwrap_or_else(|| panic!("{of} is told")).1
}

#[test]
fn figures_tell_jobs_leases_workers_lapses_and_what_is_left() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let held = bench.lease("a", 3);
    let slow = v1::LeaseProgress { throttle: "overloaded".into(), ..renewal(&held[0]) };
    bench.report("a", vec![slow]);
    let figures = bench.core.figures(bench.now);
    assert_eq!((count(&figures.jobs, "running"), count(&figures.jobs, "done")), (1, 0));
    assert_eq!((figures.leases, figures.workers, figures.slots), (3, 1, 8));
    assert_eq!((count(&figures.throttled, "overloaded"), count(&figures.throttled, "rate")), (1, 0));
    let lag = count(&figures.lag_bytes, &job);
    assert!(lag > 0);
    let request = bench.whole("a", &held[0]);
    bench.complete(request).expect("accepted");
    bench.fail("a", &held[1], Failure::new(ErrorKind::Unavailable, "a node is down")).expect("noted");
    bench.pass_s(31);
    let figures = bench.core.figures(bench.now);
    assert_eq!((figures.leases, figures.lease_lapses, figures.retries), (0, 1, 2));
    assert!(count(&figures.lag_bytes, &job) <= lag);
}

#[test]
fn a_job_that_comes_no_further_for_long_is_stuck_and_a_paused_one_is_not() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let stuck = |bench: &Bench| bench.core.figures(bench.now).stuck.contains(&(job.clone(), true));
    bench.attend("a");
    for _ in 0..31 {
        bench.pass_s(10);
        bench.attend("a");
    }
    assert!(stuck(&bench));
    bench.change(|reply| Event::Pause(reply, job.clone())).expect("paused");
    assert!(!stuck(&bench));
    bench.change(|reply| Event::Resume(reply, job.clone())).expect("resumed");
    assert!(!stuck(&bench), "its time begins anew");
}

#[test]
fn the_newest_whole_backup_of_a_keyspace_is_known_after_a_restart_and_a_limited_one_is_none() {
    let mut bench = Bench::fleet();
    bench.dumping_job("l", "a", backup_job(v1::BackupSpec { limit_rows: 10, ..backup_spec() }));
    bench.work("a");
    assert!(bench.core.figures(bench.now).last_successes.is_empty());
    let job = bench.dumping("k", "a");
    bench.work("a");
    let finished = bench.job(&job).finished_unix_ms;
    bench.restart(Settings::fleet());
    let known = bench.core.figures(bench.now).last_successes;
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].cluster.as_str(), known[0].keyspace.as_str()), ("prod", "shop"));
    assert_eq!(known[0].finished_unix_ms, finished);
}

#[test]
fn a_table_waits_runs_and_is_done_and_tells_its_speed_and_failures() {
    let mut bench = Bench::fleet();
    bench.cluster.tables = vec![table("t", 64 << 20), table("u", 1)];
    let job = bench.dumping("k", "a");
    let states =
        |bench: &Bench| -> Vec<TableState> { bench.job(&job).tables.iter().map(v1::TableProgress::state).collect() };
    assert_eq!(states(&bench), [TableState::Waiting, TableState::Waiting]);
    let held = bench.lease_one("a");
    for second in 0..10 {
        bench.report(
            "a",
            vec![v1::LeaseProgress { rows: second * 500, encoded_bytes: second * 9000, ..renewal(&held) }],
        );
        bench.pass_s(1);
    }
    let shown = bench.job(&job);
    let at = shown.tables.iter().position(|table| table.state() == TableState::Running).expect("one runs");
    let running = &shown.tables[at];
    assert_eq!((running.rows_per_second, running.encoded_bytes_per_second), (500, 9000));
    bench.fail("a", &held, Failure::new(ErrorKind::Unavailable, "a node is down")).expect("noted");
    bench.pass_s(5);
    bench.attend("a");
    assert_eq!(bench.job(&job).tables[at].failures, 1);
    bench.restart(Settings::fleet());
    bench.act();
    bench.attend("a");
    assert_eq!(bench.job(&job).tables[at].failures, 1, "failures are journaled");
    while bench.job(&job).tables.iter().all(|table| table.state() != TableState::Done) {
        let assignment = bench.lease_one("a");
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
    }
    let assignment = bench.lease_one("a");
    bench.fail("a", &assignment, Failure::new(ErrorKind::Corrupt, "its bytes changed")).expect("noted");
    let mut ended = states(&bench);
    ended.sort_unstable();
    assert_eq!(ended, [TableState::Done, TableState::Failed]);
}

#[test]
fn the_trace_of_a_submission_is_journaled_and_told_to_workers_and_people() {
    let mut bench = Bench::fleet();
    let mut submission = bench.submission("k", backup_job(backup_spec()), false);
    submission.trace_parent = TRACE_PARENT.into();
    let job = submission.job_id.clone();
    bench.ask(|reply| Event::Submit(reply, Box::new(submission)));
    bench.restart(Settings::fleet());
    bench.act();
    bench.attend("a");
    assert_eq!(bench.job(&job).trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(bench.lease_one("a").trace_parent, TRACE_PARENT);
}
