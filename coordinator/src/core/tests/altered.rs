//! Tables that somebody alters while they are backed up.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, assignment::Work},
};

use crate::{
    core::testing::{Bench, table},
    settings::Settings,
};

fn altered() -> Failure {
    Failure::new(ErrorKind::Conflict, "table shop.t was altered or dropped while it was backed up")
}

/// What the worker is given, in words, while it does all of it.
fn follow(bench: &mut Bench) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    bench.act();
    while let Some(assignment) = bench.lease("a", 1).pop() {
        let name = match assignment.work.as_ref().expect("work") {
            Work::Inspect(inspect) if inspect.sizes => "inspect".to_owned(),
            Work::Inspect(inspect) => format!("recheck {}", inspect.tables.join(" ")),
            Work::Capture(_) => "capture".to_owned(),
            Work::Dump(shard) => {
                let table = shard.table.as_ref().expect("a table");
                format!("dump {} {}", table.table.as_ref().expect("a name").table, table.fingerprint)
            }
            other => panic!("{other:?}"),
        };
        if seen.last() != Some(&name) {
            seen.push(name);
        }
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
        bench.act();
    }
    seen
}

#[test]
fn a_table_altered_in_the_middle_is_dumped_anew_and_the_schema_captured_again() {
    let mut bench = Bench::fleet();
    bench.cluster.tables = vec![table("t", 64 << 20), table("u", 1)];
    let job = bench.dumping("k", "a");
    let is_t = |assignment: &v1::Assignment| match assignment.work.as_ref() {
        Some(Work::Dump(shard)) => shard.grid_exponent > 0,
        _ => false,
    };
    let (mut of_t, others): (Vec<_>, Vec<_>) = bench.lease("a", 4).into_iter().partition(is_t);
    for done in others.iter().chain(of_t.pop().iter()) {
        let request = bench.whole("a", done);
        bench.complete(request).expect("recorded");
    }
    let (failing, late) = (of_t.remove(0), of_t.remove(0));
    bench.cluster.tables[0].fingerprint = "new".into();
    bench.fail("a", &failing, altered()).expect("noted");
    bench.fail("a", &late, altered()).expect("noted");
    let seen = follow(&mut bench);
    assert_eq!(seen[0], "recheck shop.t");
    assert!(seen.iter().all(|name| name != "dump t fingerprint of t"), "{seen:?}");
    assert_eq!(seen[seen.len() - 2..], ["capture", "recheck shop.t shop.u"], "{seen:?}");
    assert_eq!(seen.iter().filter(|name| *name == "dump t new").count(), 1, "{seen:?}");
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Done, "{job:?}");
    assert!(job.warnings.iter().any(|warning| warning.contains("shop.t was altered")), "{:?}", job.warnings);
    let published = bench.published.last().expect("published");
    assert_eq!(published.tables[0].0.fingerprint, "new");
    assert!(published.warnings.iter().any(|warning| warning.contains("dumped anew")));
}

#[test]
fn a_table_altered_between_plan_and_capture_is_dumped_by_its_new_definition() {
    let mut bench = Bench::fleet();
    bench.submit_backup("k");
    bench.attend("a");
    bench.act();
    let inspect = bench.lease_one("a");
    let request = bench.whole("a", &inspect);
    bench.complete(request).expect("accepted");
    bench.act();
    bench.cluster.tables[0].fingerprint = "new".into();
    let seen = follow(&mut bench);
    assert_eq!(seen, ["capture", "recheck shop.t", "dump t new", "capture", "recheck shop.t"]);
}

#[test]
fn an_unrelated_new_table_disturbs_nothing() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    bench.cluster.tables.push(table("new", 1));
    let seen = follow(&mut bench);
    assert_eq!(seen, ["dump t fingerprint of t"]);
    let job = bench.job(&job);
    assert_eq!((job.state(), job.warnings.len()), (JobState::Done, 0));
}

#[test]
fn a_table_that_is_altered_again_and_again_fails_the_backup_by_name() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    for round in 0..4 {
        let failing = loop {
            let assignment = bench.lease_one("a");
            if matches!(assignment.work, Some(Work::Dump(_))) {
                break assignment;
            }
            let request = bench.whole("a", &assignment);
            bench.complete(request).expect("accepted");
        };
        bench.cluster.tables[0].fingerprint = format!("round {round}");
        bench.fail("a", &failing, altered()).expect("noted");
        let recheck = bench.lease_one("a");
        let request = bench.whole("a", &recheck);
        bench.complete(request).expect("accepted");
    }
    let failure = bench.job(&job).failure.expect("a failure");
    assert_eq!(failure.kind(), v1::ErrorKind::Conflict);
    assert!(failure.message.contains("table shop.t was altered 4 times"), "{}", failure.message);
}

#[test]
fn a_conflict_that_is_no_alteration_fails_the_backup_with_its_own_words() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let failing = bench.lease_one("a");
    bench.fail("a", &failing, Failure::new(ErrorKind::Conflict, "two writers of shop.t")).expect("noted");
    assert_eq!(follow(&mut bench), ["recheck shop.t"]);
    assert_eq!(bench.job(&job).failure.expect("a failure").message, "two writers of shop.t");
}

#[test]
fn a_dropped_table_fails_the_backup_by_name() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let failing = bench.lease_one("a");
    bench.fail("a", &failing, altered()).expect("noted");
    bench.cluster.tables.clear();
    follow(&mut bench);
    let failure = bench.job(&job).failure.expect("a failure");
    assert!(failure.message.contains("table shop.t was dropped"), "{}", failure.message);
}

#[test]
fn a_doubt_survives_a_restart_and_a_new_submission_inspects_anyway() {
    for settings in [Settings::fleet(), Settings::embedded()] {
        let mut bench = Bench::new(settings.clone());
        let job = bench.dumping("k", "a");
        let failing = bench.lease_one("a");
        bench.cluster.tables[0].fingerprint = "new".into();
        bench.fail("a", &failing, altered()).expect("noted");
        bench.restart(settings);
        if bench.job(&job).state() == JobState::Interrupted {
            bench.submit_backup("k");
        }
        bench.attend("a");
        bench.act();
        bench.pass_s(31);
        bench.attend("a");
        bench.work("a");
        let newest = bench.core.jobs("", 1).expect("jobs").0.remove(0);
        assert_eq!(newest.state(), JobState::Done, "{newest:?}");
        assert_eq!(bench.published.last().expect("published").tables[0].0.fingerprint, "new");
    }
}
