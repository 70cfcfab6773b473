use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, assignment::Work},
};

use crate::{
    core::{
        event::{Answer, Event},
        testing::{Bench, chunk, segment_done, table},
    },
    settings::Settings,
};

fn unavailable() -> Failure {
    Failure::new(ErrorKind::Unavailable, "node 10.0.0.1 is down while reading shop.t")
}

fn shard(assignment: &v1::Assignment) -> &v1::DumpShard {
    match assignment.work.as_ref() {
        Some(Work::Dump(shard)) => shard,
        other => panic!("a dump, not {other:?}"),
    }
}

#[test]
fn a_stale_epoch_cannot_commit() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let old = bench.lease_one("a");
    bench.pass_s(31);
    bench.attend("b");
    let new = bench.lease_one("b");
    assert_eq!(shard(&new).segment_first, shard(&old).segment_first, "the same shard");
    let before = bench.store.load().expect("load");
    let late = bench.whole("a", &old);
    assert_eq!(bench.complete(late).expect_err("fenced").kind, ErrorKind::Fenced);
    assert_eq!(bench.fail("a", &old, unavailable()).expect_err("fenced").kind, ErrorKind::Fenced);
    let forged = v1::Assignment { lease: new.lease, ..old };
    let forged = bench.whole("a", &forged);
    assert_eq!(bench.complete(forged).expect_err("another's lease").kind, ErrorKind::Fenced);
    assert_eq!(bench.store.load().expect("load"), before);
    assert_eq!(bench.job(&job).state(), JobState::Running);
}

#[test]
fn every_grant_has_a_higher_epoch_also_after_a_restart() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let first = bench.lease_one("a").lease.expect("a lease");
    bench.restart(Settings::fleet());
    bench.act();
    bench.pass_s(31);
    bench.attend("b");
    let second = bench
        .lease("b", 8)
        .into_iter()
        .find_map(|assignment| assignment.lease.filter(|lease| lease.assignment_id == first.assignment_id));
    assert!(second.expect("granted again").epoch > first.epoch);
}

#[test]
fn a_lease_lives_as_long_as_its_worker_reports() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    for round in 1..=5 {
        bench.pass_s(20);
        let progress =
            v1::LeaseProgress { lease: assignment.lease.clone(), rows: round, ..v1::LeaseProgress::default() };
        let answer = bench.report("a", vec![progress]);
        assert_eq!((answer.renewed.len(), answer.lost.len()), (1, 0));
    }
    bench.pass_s(31);
    let progress = v1::LeaseProgress { lease: assignment.lease, ..v1::LeaseProgress::default() };
    let answer = bench.report("a", vec![progress]);
    assert_eq!((answer.renewed.len(), answer.lost.len()), (0, 1), "it lapsed");
}

#[test]
fn a_lease_without_progress_is_taken_away_though_its_worker_reports() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let stuck = v1::LeaseProgress { lease: assignment.lease, rows: 7, ..v1::LeaseProgress::default() };
    let mut lost_after = 0;
    while bench.report("a", vec![stuck.clone()]).lost.is_empty() {
        bench.pass_s(10);
        lost_after += 10;
    }
    assert!((300..=330).contains(&lost_after), "{lost_after}");
}

#[test]
fn a_lease_that_waits_for_a_node_is_left_alone_for_the_patience() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let waiting = v1::LeaseProgress {
        lease: assignment.lease,
        waiting: "replicas of (1, 2] are down".into(),
        ..v1::LeaseProgress::default()
    };
    for _ in 0..60 {
        bench.pass_s(10);
        assert!(bench.report("a", vec![waiting.clone()]).lost.is_empty());
    }
}

#[test]
fn a_retryable_failure_comes_back_after_a_growing_pause_and_fails_the_job_in_the_end() {
    let mut bench = Bench::fleet();
    bench.cluster.tables = vec![table("t", 1)];
    let job = bench.dumping("k", "a");
    for attempt in 0..5 {
        let mut waited = 0;
        let assignment = loop {
            if let Some(assignment) = bench.lease("a", 1).pop() {
                break assignment;
            }
            bench.attend("a");
            bench.pass_s(1);
            waited += 1;
        };
        assert_eq!(assignment.attempt, attempt);
        assert!(waited <= 1 << attempt, "{waited} s before attempt {attempt}");
        assert_eq!(bench.job(&job).state(), JobState::Running);
        bench.fail("a", &assignment, unavailable()).expect("noted");
        bench.fail("a", &assignment, unavailable()).expect("noted again: a repetition");
    }
    let job = bench.job(&job);
    let failure = job.failure.as_ref().expect("a failure");
    assert_eq!((job.state(), failure.kind()), (JobState::Failed, v1::ErrorKind::Unavailable));
    for needle in ["shop.t", "5 attempts", "node 10.0.0.1 is down"] {
        assert!(failure.message.contains(needle), "{}", failure.message);
    }
}

#[test]
fn a_failure_that_no_retry_mends_fails_the_job_at_once_and_its_leases_are_lost() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let (bad, other) = (bench.lease_one("a"), bench.lease_one("a"));
    bench.fail("a", &bad, Failure::new(ErrorKind::Corrupt, "its bytes changed")).expect("noted");
    let failed = bench.job(&job);
    assert_eq!(failed.state(), JobState::Failed);
    assert!(failed.failure.expect("a failure").message.contains("shop.t"), "the table is named");
    let progress = v1::LeaseProgress { lease: other.lease.clone(), ..v1::LeaseProgress::default() };
    assert_eq!(bench.report("a", vec![progress]).lost.len(), 1);
    let late = bench.whole("a", &other);
    assert_eq!(bench.complete(late).expect_err("fenced").kind, ErrorKind::Fenced);
    assert!(bench.lease("a", 8).is_empty());
}

#[test]
fn a_returned_lease_is_granted_again_at_once_and_counts_as_no_attempt() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    bench.attend("b");
    let assignment = bench.lease_one("a");
    let request = v1::ReturnRequest {
        worker_id: "a".into(),
        leases: assignment.lease.clone().into_iter().collect(),
        leaving: true,
    };
    for _ in 0..2 {
        let request = request.clone();
        assert_eq!(bench.ask(|reply| Event::Return(reply, request)), Some(Answer::Noted));
    }
    let again = bench.lease_one("b");
    assert_eq!(shard(&again).segment_first, shard(&assignment).segment_first);
    assert_eq!(again.attempt, 0);
    assert_eq!(bench.core.workers().len(), 1, "it left");
}

#[test]
fn a_worker_that_returns_anothers_lease_changes_nothing() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let request = v1::ReturnRequest {
        worker_id: "z".into(),
        leases: assignment.lease.clone().into_iter().collect(),
        leaving: false,
    };
    bench.ask(|reply| Event::Return(reply, request));
    let request = bench.whole("a", &assignment);
    assert!(bench.complete(request).expect("still held"));
}

#[test]
fn a_finished_segment_is_never_leased_again_and_a_begun_one_goes_on() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let first = shard(&assignment).segment_first;
    assert_eq!((first, shard(&assignment).segments), (0, 1), "the fixture: shards of one segment");
    let part = |part: u32| v1::SegmentDone { segment: first, chunks: vec![chunk(first, part, 9)], closed: false };
    for done in [part(0), part(1)] {
        let request = v1::CompleteRequest {
            worker_id: "a".into(),
            lease: assignment.lease.clone(),
            segments: vec![done],
            ..v1::CompleteRequest::default()
        };
        assert!(!bench.complete(request).expect("recorded"));
    }
    bench.pass_s(31);
    bench.attend("b");
    let again = bench.lease_one("b");
    let parts: Vec<u32> = shard(&again).resume_parts.iter().map(|chunk| chunk.part).collect();
    assert_eq!((shard(&again).segment_first, parts), (first, vec![0, 1]));
}

#[test]
fn a_lease_covers_no_recorded_segment_even_in_the_middle_of_its_shard() {
    let mut bench = Bench::fleet();
    let spec = v1::BackupSpec { shards_per_table: 1, ..crate::core::testing::backup_spec() };
    bench.submit_spec("k", spec);
    bench.attend("a");
    bench.act();
    for _ in 0..3 {
        let assignment = bench.lease_one("a");
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
        bench.act();
    }
    let assignment = bench.lease_one("a");
    assert_eq!((shard(&assignment).segment_first, shard(&assignment).segments), (0, 16));
    let begun = v1::SegmentDone { segment: 9, chunks: vec![chunk(9, 0, 5)], closed: false };
    let request = v1::CompleteRequest {
        worker_id: "a".into(),
        lease: assignment.lease,
        segments: vec![segment_done("t", 0, true), segment_done("t", 5, true), begun],
        ..v1::CompleteRequest::default()
    };
    assert!(!bench.complete(request).expect("recorded"));
    bench.pass_s(31);
    bench.attend("b");
    let mut runs = Vec::new();
    while let Some(assignment) = bench.lease("b", 1).pop() {
        let run = shard(&assignment);
        runs.push((run.segment_first, run.segments, run.resume_parts.len()));
        let mut request = bench.whole("b", &assignment);
        for done in request.segments.iter_mut().filter(|done| done.segment == 9) {
            done.chunks = vec![chunk(9, 1, 5)];
        }
        assert!(bench.complete(request).expect("recorded"), "the lease ends though its shard does not");
    }
    assert_eq!(runs, [(1, 4, 0), (6, 3, 0), (9, 7, 1)]);
}

#[test]
fn a_repeated_complete_is_answered_as_the_first_and_records_nothing_twice() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let request = bench.whole("a", &assignment);
    assert!(bench.complete(request.clone()).expect("recorded"));
    let rows = bench.job(&job).tables[0].rows;
    assert!(bench.complete(request).expect("recorded before"));
    assert_eq!(bench.job(&job).tables[0].rows, rows);
}

#[test]
fn pieces_that_can_t_be_of_the_lease_are_refused() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let first = shard(&assignment).segment_first;
    let mut send = |segments: Vec<v1::SegmentDone>, ended| {
        let lease = assignment.lease.clone();
        let request =
            v1::CompleteRequest { worker_id: "a".into(), lease, segments, ended, ..v1::CompleteRequest::default() };
        bench.complete(request)
    };
    let done = |segment, chunks| v1::SegmentDone { segment, chunks, closed: false };
    assert_eq!(send(vec![segment_done("t", first + 1, true)], false).expect_err("foreign").kind, ErrorKind::Invalid);
    assert_eq!(send(vec![done(first, vec![chunk(first, 1, 1)])], false).expect_err("a gap").kind, ErrorKind::Invalid);
    assert_eq!(send(vec![], true).expect_err("not ended").kind, ErrorKind::Invalid);
    assert!(!send(vec![done(first, vec![chunk(first, 0, 1)])], false).expect("recorded"));
    let other = v1::Chunk { identity: vec![9; 32].into(), ..chunk(first, 0, 1) };
    assert_eq!(send(vec![done(first, vec![other])], false).expect_err("other bytes").kind, ErrorKind::Conflict);
}

#[test]
fn the_embedded_mode_releases_leases_at_start_and_a_fleet_keeps_them() {
    for (settings, kept) in
        [(Settings::fleet(), true), (Settings { resume_jobs_on_start: true, ..Settings::embedded() }, false)]
    {
        let mut bench = Bench::fleet();
        bench.dumping("k", "a");
        let assignment = bench.lease_one("a");
        bench.restart(settings);
        bench.act();
        let progress = v1::LeaseProgress { lease: assignment.lease.clone(), ..v1::LeaseProgress::default() };
        assert_eq!(!bench.report("a", vec![progress]).renewed.is_empty(), kept);
        let request = bench.whole("a", &assignment);
        assert_eq!(bench.complete(request).is_ok(), kept);
    }
}

#[test]
fn a_grant_that_reached_nobody_goes_back_at_once() {
    let mut bench = Bench::fleet();
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    bench.apply(Event::Undelivered(assignment.lease.clone().into_iter().collect()));
    let again = bench.lease_one("a");
    assert_eq!(shard(&again).segment_first, shard(&assignment).segment_first);
    assert!(again.lease.expect("a lease").epoch > assignment.lease.expect("a lease").epoch);
}

#[test]
fn no_more_tables_are_open_than_asked_for() {
    let mut bench = Bench::fleet();
    bench.cluster.tables = (0..5_u64).map(|n| table(&format!("t{n}"), (64 << 20) + n)).collect();
    let spec = v1::BackupSpec { tables_parallel: 2, ..crate::core::testing::backup_spec() };
    bench.submit_spec("k", spec);
    bench.attend("a");
    bench.act();
    let inspect = bench.lease_one("a");
    let request = bench.whole("a", &inspect);
    bench.complete(request).expect("accepted");
    bench.act();
    let leased = bench.lease("a", 8);
    let mut names: Vec<String> = leased
        .iter()
        .filter_map(|assignment| match assignment.work.as_ref() {
            Some(Work::Dump(shard)) => shard.table.as_ref()?.table.clone().map(|name| name.table),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["t3", "t4"], "the two largest");
}
