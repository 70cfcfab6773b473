use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, assignment::Work},
};

use crate::{
    core::{
        event::LoadedBackup,
        testing::{Bench, index, restore_spec},
    },
    settings::Settings,
};

const BACKUP: &str = "20260101T000000Z-aaaa";

fn bench(settings: Settings) -> Bench {
    let mut bench = Bench::new(settings);
    bench.backup = Some(LoadedBackup {
        backup_id: BACKUP.into(),
        started_unix_ms: 7,
        cluster_name: "Old Cluster".into(),
        server_version: "4.1.0".into(),
        partial: false,
        keyspaces: vec!["shop".into()],
        all_tables: true,
        tables: vec![index("t", 4, 10), index("u", 0, 3)],
    });
    bench
}

/// What the worker is given, in words, while it does all of it.
fn follow(bench: &mut Bench, worker: &str) -> Vec<&'static str> {
    let mut seen = Vec::new();
    bench.act();
    while let Some(assignment) = bench.lease(worker, 1).pop() {
        let name = name(&assignment);
        if seen.last() != Some(&name) {
            seen.push(name);
        }
        let request = bench.whole(worker, &assignment);
        bench.complete(request).expect("accepted");
        bench.act();
    }
    seen
}

fn name(assignment: &v1::Assignment) -> &'static str {
    use v1::{apply_schema::Stage, verify_shard::Against};
    match assignment.work.as_ref().expect("work") {
        Work::Apply(apply) => match apply.stage() {
            Stage::Preflight => "preflight",
            Stage::Before => "before",
            Stage::After => "after",
            Stage::Scrap => "scrap",
            Stage::Unspecified => "?",
        },
        Work::Restore(_) => "rows",
        Work::Verify(verify) => match verify.against() {
            Against::Repository => "check",
            Against::Cluster => "compare",
            Against::Unspecified => "?",
        },
        _ => "?",
    }
}

#[test]
fn a_restore_checks_before_it_writes_and_compares_at_the_end() {
    let mut bench = bench(Settings::fleet());
    let job = bench.submit_restore("k", restore_spec());
    bench.attend("a");
    assert_eq!(follow(&mut bench, "a"), ["preflight", "before", "rows", "after", "compare"]);
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Done, "{job:?}");
    assert_eq!(job.backup_id, BACKUP);
    let table = job.tables.iter().find(|progress| progress.rows_expected == 160).expect("table t");
    assert_eq!((table.rows, table.segments_verified, table.segments), (160, 16, 16));
}

#[test]
fn a_drop_is_preceded_by_a_check_of_every_chunk() {
    for spec in [
        v1::RestoreSpec { drop: true, verify: false, ..restore_spec() },
        v1::RestoreSpec { check_first: true, verify: false, ..restore_spec() },
    ] {
        let mut bench = bench(Settings::fleet());
        bench.submit_restore("k", spec);
        bench.attend("a");
        assert_eq!(follow(&mut bench, "a"), ["preflight", "check", "before", "rows", "after"]);
    }
}

#[test]
fn a_damaged_chunk_found_by_the_check_fails_the_job_before_the_first_write() {
    let mut bench = bench(Settings::fleet());
    let job = bench.submit_restore("k", v1::RestoreSpec { drop: true, ..restore_spec() });
    bench.attend("a");
    bench.act();
    let mut seen = Vec::new();
    while let Some(assignment) = bench.lease("a", 1).pop() {
        seen.push(name(&assignment));
        let mut request = bench.whole("a", &assignment);
        for verified in request.verified.iter_mut().filter(|verified| verified.segment == 3) {
            *verified = v1::SegmentVerified { equal: false, difference: "a flipped bit".into(), ..*verified };
        }
        bench.complete(request).expect("accepted");
    }
    assert!(!seen.contains(&"before") && !seen.contains(&"rows"), "{seen:?}");
    let job = bench.job(&job);
    assert_eq!(
        (job.state(), job.failure.clone().expect("a failure").kind()),
        (JobState::Failed, v1::ErrorKind::Corrupt)
    );
    assert_eq!(job.mismatches, ["shop.t segment 3: a flipped bit"]);
}

#[test]
fn rows_that_differ_after_a_restore_fail_it_and_are_named() {
    let mut bench = bench(Settings::fleet());
    let job = bench.submit_restore("k", restore_spec());
    bench.attend("a");
    bench.act();
    while let Some(assignment) = bench.lease("a", 1).pop() {
        let mut request = bench.whole("a", &assignment);
        for verified in request.verified.iter_mut().filter(|verified| verified.segment == 5) {
            *verified = v1::SegmentVerified { equal: false, difference: "11 rows, not 12".into(), ..*verified };
        }
        bench.complete(request).expect("accepted");
    }
    let failed = bench.job(&job);
    assert_eq!(failed.state(), JobState::Failed);
    assert_eq!(failed.mismatches, ["shop.t segment 5: 11 rows, not 12"]);
    let again = bench.submit_restore("k", restore_spec());
    assert_ne!(again, job, "going on would only find the same difference");
}

#[test]
fn a_chunk_of_which_rows_are_missing_fails_the_restore() {
    let mut bench = bench(Settings::fleet());
    let job = bench.submit_restore("k", restore_spec());
    bench.attend("a");
    bench.act();
    while let Some(assignment) = bench.lease("a", 1).pop() {
        let mut request = bench.whole("a", &assignment);
        if let Some(done) = request.chunks.first_mut() {
            done.rows -= 1;
        }
        bench.complete(request).expect("noted");
    }
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Failed);
    assert!(job.failure.expect("a failure").message.contains("10 of the 11 rows"));
}

#[test]
fn restored_chunks_are_not_leased_again_and_an_interrupted_restore_is_always_compared() {
    let mut bench = bench(Settings::embedded());
    let spec = v1::RestoreSpec { verify: false, ..restore_spec() };
    let job = bench.submit_restore("k", spec.clone());
    bench.attend("a");
    bench.act();
    let shard = loop {
        let assignment = bench.lease_one("a");
        if name(&assignment) == "rows" {
            break assignment;
        }
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
    };
    let mut request = bench.whole("a", &shard);
    request.chunks.truncate(4);
    request.ended = false;
    assert!(!bench.complete(request).expect("recorded"));
    bench.restart(Settings::embedded());
    assert_eq!(bench.job(&job).state(), JobState::Interrupted);
    assert_eq!(bench.submit_restore("k", spec), job);
    bench.attend("a");
    bench.act();
    assert_eq!(bench.job(&job).rows_kept, 40);
    let again = bench.lease_one("a");
    match again.work.as_ref().expect("work") {
        Work::Restore(shard) => assert_eq!(shard.chunks.len(), 12),
        other => panic!("{other:?}"),
    }
    let request = bench.whole("a", &again);
    bench.complete(request).expect("recorded");
    assert_eq!(follow(&mut bench, "a"), ["rows", "after", "compare"]);
    assert_eq!(bench.job(&job).state(), JobState::Done);
}

#[test]
fn a_piece_that_comes_before_the_backup_is_read_again_is_asked_for_later() {
    let mut bench = bench(Settings::fleet());
    bench.submit_restore("k", restore_spec());
    bench.attend("a");
    bench.act();
    let preflight = bench.lease_one("a");
    bench.restart(Settings::fleet());
    let request = bench.whole("a", &preflight);
    assert_eq!(bench.complete(request.clone()).expect_err("too early").kind, ErrorKind::Unavailable);
    bench.act();
    assert!(bench.complete(request).expect("accepted"));
}

#[test]
fn a_restarted_coordinator_goes_on_with_its_restore_at_every_point() {
    for steps in 0..16 {
        let mut bench = bench(Settings::fleet());
        let job = bench.submit_restore("k", v1::RestoreSpec { check_first: true, ..restore_spec() });
        bench.attend("a");
        bench.act();
        for _ in 0..steps {
            if let Some(assignment) = bench.lease("a", 1).pop() {
                let request = bench.whole("a", &assignment);
                bench.complete(request).expect("recorded");
            }
        }
        bench.restart(Settings::fleet());
        bench.attend("a");
        bench.act();
        bench.pass_s(31);
        bench.attend("a");
        bench.work("a");
        assert_eq!(bench.job(&job).state(), JobState::Done, "after {steps} steps");
    }
}

#[test]
fn a_backup_that_can_t_be_read_fails_the_restore_before_any_lease() {
    let mut bench = bench(Settings::fleet());
    let job = bench.submit_restore("k", restore_spec());
    bench.attend("a");
    let (id, run, action) = bench.actions.remove(0);
    let outcome = Ok(bench.outcome(&id, run, action));
    bench.apply(crate::core::event::Event::Acted { job: id, run, outcome });
    bench.fail_action(Failure::new(ErrorKind::Corrupt, "data/shop/t/04-3 is missing"));
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Failed);
    assert_eq!(job.failure.expect("a failure").message, "data/shop/t/04-3 is missing");
    assert!(bench.lease("a", 8).is_empty());
}

#[test]
fn a_dry_run_of_a_restore_ends_behind_the_preflight() {
    let mut bench = bench(Settings::fleet());
    let work = Some(v1::job_spec::Work::Restore(v1::RestoreSpec { drop: true, ..restore_spec() }));
    let job = bench
        .submit("", v1::JobSpec { work, dry_run: true, ..v1::JobSpec::default() }, false)
        .expect("accepted")
        .job
        .expect("a job");
    bench.attend("a");
    assert_eq!(follow(&mut bench, "a"), ["preflight"]);
    let job = bench.job(&job.job_id);
    assert_eq!((job.state(), job.plan.expect("a plan").tables.len()), (JobState::Done, 2));
}
