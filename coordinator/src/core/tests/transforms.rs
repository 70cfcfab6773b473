//! Restores that change or choose, comparisons, rehearsals.

use ringvault_archive::index::TableIndex;
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    v1::{self, IfExists, JobState, Timestamps, Ttl, apply_schema::Stage, assignment::Work},
};

use crate::{
    core::{
        event::LoadedBackup,
        testing::{Bench, START_UNIX_MS, chunk_of, index, restore_spec, table},
    },
    settings::Settings,
};

fn bench_of(settings: Settings, tables: Vec<TableIndex>) -> Bench {
    let mut bench = Bench::new(settings);
    bench.backup = Some(LoadedBackup {
        backup_id: "20260101T000000Z-aaaa".into(),
        started_unix_ms: 7,
        cluster_name: "Old Cluster".into(),
        server_version: "4.1.0".into(),
        partial: false,
        keyspaces: vec!["shop".into()],
        all_tables: true,
        tables,
    });
    bench
}

fn bench() -> Bench {
    bench_of(Settings::fleet(), vec![index("t", 4, 10), index("u", 0, 3)])
}

/// All that the worker is given while it does what it is told, but as `change` has it.
fn follow(bench: &mut Bench, mut change: impl FnMut(&mut v1::CompleteRequest)) -> Vec<Work> {
    let mut seen = Vec::new();
    bench.act();
    while let Some(assignment) = bench.lease("a", 1).pop() {
        let mut request = bench.whole("a", &assignment);
        change(&mut request);
        bench.complete(request).expect("accepted");
        seen.push(assignment.work.expect("work"));
        bench.act();
    }
    seen
}

fn run(bench: &mut Bench, spec: v1::RestoreSpec) -> (v1::Job, Vec<Work>) {
    let job = bench.submit_restore("k", spec);
    bench.attend("a");
    let seen = follow(bench, |_| ());
    (bench.job(&job), seen)
}

fn failed(bench: &mut Bench, spec: v1::RestoreSpec) -> v1::Failure {
    let (job, seen) = run(bench, spec);
    assert_eq!((job.state(), seen.len()), (JobState::Failed, 0), "nothing is leased");
    job.failure.expect("a failure")
}

fn stages(seen: &[Work]) -> Vec<Stage> {
    seen.iter()
        .filter_map(|work| match work {
            Work::Apply(apply) => Some(apply.stage()),
            _ => None,
        })
        .collect()
}

fn differing(request: &mut v1::CompleteRequest) {
    for verified in &mut request.verified {
        *verified = v1::SegmentVerified {
            equal: false,
            missing: 2,
            difference: "2 rows are missing".into(),
            ..verified.clone()
        };
    }
}

#[test]
fn every_shard_carries_the_rules_of_its_table_and_a_resumed_one_the_same() {
    let mut bench = bench_of(Settings::embedded(), vec![index("t", 4, 10), index("u", 0, 3)]);
    let mut spec = v1::RestoreSpec { keyspace_as: "shop2".into(), ..restore_spec() };
    spec.table_as.insert("t".into(), "t2".into());
    spec.set_timestamps(Timestamps::Now);
    spec.set_ttl(Ttl::Restart);
    spec.set_if_exists(IfExists::OnlyMissing);
    let job = bench.submit_restore("k", spec.clone());
    bench.attend("a");
    bench.act();
    let rules = |bench: &mut Bench| loop {
        let assignment = bench.lease_one("a");
        match assignment.work.as_ref().expect("work") {
            Work::Restore(shard) => break shard.rules.clone().expect("rules"),
            Work::Apply(apply) => assert_eq!(apply.keyspace_as, "shop2"),
            other => panic!("{other:?}"),
        }
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
    };
    let first = rules(&mut bench);
    assert_eq!(first.target, Some(v1::TableName { keyspace: "shop2".into(), table: "t2".into() }));
    assert_eq!((first.backup_started_unix_ms, first.restore_started_unix_ms), (7, START_UNIX_MS));
    assert_eq!(
        (first.timestamps(), first.ttl(), first.if_exists()),
        (Timestamps::Now, Ttl::Restart, IfExists::OnlyMissing)
    );
    bench.pass_s(5);
    bench.restart(Settings::embedded());
    bench.now.unix_ms += 3_600_000;
    assert_eq!(bench.submit_restore("k", spec), job, "it goes on");
    bench.attend("a");
    bench.act();
    assert_eq!(rules(&mut bench), first);
    let progress = bench.job(&job).tables;
    assert_eq!(progress[0].target, Some(v1::TableName { keyspace: "shop2".into(), table: "t2".into() }));
}

#[test]
fn token_ranges_choose_segments_for_writing_and_comparing() {
    let span = v1::TokenSpan { start: -1, end: i64::MAX / 8 };
    let (job, seen) = run(&mut bench(), v1::RestoreSpec { token_ranges: vec![span], ..restore_spec() });
    assert_eq!(job.state(), JobState::Done, "{job:?}");
    let mut compared = Vec::new();
    for work in &seen {
        match work {
            Work::Restore(shard) if shard.grid_exponent == 4 => {
                let segments: Vec<u64> = shard.chunks.iter().map(|chunk| chunk.segment).collect();
                assert!(segments.iter().all(|segment| [7, 8].contains(segment)), "{segments:?}");
                assert_eq!(shard.rules.as_ref().expect("rules").token_ranges, [span]);
            }
            Work::Verify(shard) if shard.grid_exponent == 4 => {
                compared.extend(shard.segment_first..shard.segment_first + shard.segments);
            }
            _ => {}
        }
    }
    compared.sort_unstable();
    assert_eq!(compared, [7, 8]);
    assert_eq!(job.tables.iter().map(|table| table.rows_expected).sum::<u64>(), 23);
}

#[test]
fn a_partition_key_chooses_one_segment_and_is_shown_and_kept_nowhere() {
    let mut bench = bench();
    let spec = v1::RestoreSpec {
        tables: vec!["t".into()],
        partition_key: Some(v1::PartitionKey { cells: vec!["7654321".into()] }),
        ..restore_spec()
    };
    bench.backup.as_mut().expect("a backup").tables.truncate(1);
    let id = bench.submit_restore("k", spec.clone());
    assert!(!format!("{:?}", bench.job(&id)).contains("7654321"));
    bench.attend("a");
    let seen = follow(&mut bench, |_| ());
    let chunks: usize =
        seen.iter().map(|work| if let Work::Restore(shard) = work { shard.chunks.len() } else { 0 }).sum();
    assert_eq!(chunks, 1);
    let key = seen.iter().find_map(|work| match work {
        Work::Restore(shard) => shard.rules.as_ref().and_then(|rules| rules.partition_key.clone()),
        _ => None,
    });
    assert_eq!(key, spec.partition_key, "the worker needs it");
    assert_eq!(bench.job(&id).state(), JobState::Done);
    let loaded = bench.store.load().expect("load");
    assert!(!format!("{loaded:?}").contains("7654321"), "the journal has forgotten it");
    assert_eq!(bench.submit_restore("k", spec), id, "a repetition is known all the same");
}

#[test]
fn a_key_that_is_none_of_the_table_fails_without_being_shown() {
    let mut bench = bench();
    bench.backup.as_mut().expect("a backup").tables.truncate(1);
    let spec = v1::RestoreSpec {
        tables: vec!["t".into()],
        partition_key: Some(v1::PartitionKey { cells: vec!["\"secret\"".into()] }),
        ..restore_spec()
    };
    let failure = failed(&mut bench, spec);
    assert_eq!(failure.kind(), v1::ErrorKind::Invalid);
    assert!(!failure.message.contains("secret") && failure.message.contains("shop.t"), "{}", failure.message);
}

#[test]
fn what_does_not_fit_the_backup_is_refused_before_any_lease() {
    let counter = v1::InspectedTable { counter: true, ..table("c", 0) };
    let grid = Grid::try_from(0).expect("small");
    let counters = TableIndex::new(counter, grid, false, vec![chunk_of("c", 0, 0, 1)]).expect("sound");
    let mut bench = bench_of(Settings::fleet(), vec![counters]);
    let mut spec = restore_spec();
    spec.set_if_exists(IfExists::Append);
    assert!(failed(&mut bench, spec).message.contains("table shop.c holds counters"));

    let values = TableIndex::new(table("v", 0), grid, true, vec![chunk_of("v", 0, 0, 1)]).expect("sound");
    let mut bench = bench_of(Settings::fleet(), vec![values]);
    let mut spec = restore_spec();
    spec.set_ttl(Ttl::Restart);
    assert!(failed(&mut bench, spec).message.contains("holds no expiries"));

    let rename = |old: &str, new: &str| {
        let mut spec = restore_spec();
        spec.table_as.insert(old.into(), new.into());
        spec
    };
    assert!(failed(&mut self::bench(), rename("x", "y")).message.contains("renames x, which is no table"));
    assert!(failed(&mut self::bench(), rename("t", "u")).message.contains("shop.u of the backup keeps"));

    let mut bench = self::bench();
    bench.backup.as_mut().expect("a backup").keyspaces.push("bank".into());
    let spec = v1::RestoreSpec { keyspace_as: "x".into(), ..restore_spec() };
    assert!(failed(&mut bench, spec).message.contains("shop, bank of backup"));
}

#[test]
fn more_columns_than_a_message_holds_are_refused_by_number() {
    let column = |number: u32| v1::Column {
        name: format!("a_column_with_a_long_name_{number}"),
        kind: v1::ColumnKind::Regular.into(),
        r#type: "text".into(),
        reversed: false,
    };
    let wide = |number: u32| {
        let mut table = table(&format!("t{number}"), 0);
        table.columns.extend((0..100).map(column));
        TableIndex::new(table, Grid::WHOLE, false, Vec::new()).expect("sound")
    };
    let mut bench = bench_of(Settings::fleet(), (0..300).map(wide).collect());
    let (job, seen) = run(&mut bench, restore_spec());
    assert_eq!((job.state(), job.tables.len()), (JobState::Done, 300));
    let Some(Work::Apply(apply)) = seen.first() else { panic!("a preflight") };
    assert_eq!(apply.expected.len(), 300);
    let mut bench = bench_of(Settings::fleet(), (0..3000).map(wide).collect());
    assert!(failed(&mut bench, restore_spec()).message.contains("the columns of 3000 tables"));
}

#[test]
fn schema_only_writes_no_row_and_data_only_makes_nothing() {
    let (job, seen) = run(&mut bench(), v1::RestoreSpec { schema_only: true, ..restore_spec() });
    assert_eq!((job.state(), stages(&seen)), (JobState::Done, vec![Stage::Preflight, Stage::Before, Stage::After]));
    assert_eq!(seen.len(), 3);
    let (job, seen) = run(&mut bench(), v1::RestoreSpec { data_only: true, ..restore_spec() });
    assert_eq!((job.state(), stages(&seen)), (JobState::Done, vec![Stage::Preflight, Stage::Before]));
    assert!(seen.iter().any(|work| matches!(work, Work::Verify(_))), "compared");
}

#[test]
fn skipped_rows_are_counted_apart() {
    let mut bench = bench();
    let id = bench.submit_restore("k", restore_spec());
    bench.attend("a");
    follow(&mut bench, |request| request.chunks.iter_mut().for_each(|done| done.rows_skipped = 6));
    let job = bench.job(&id);
    assert_eq!(job.state(), JobState::Done);
    let t = &job.tables[0];
    assert_eq!((t.rows, t.rows_skipped, t.rows_expected), (16 * 5, 16 * 6, 160));
}

#[test]
fn rows_that_were_acknowledged_and_are_missing_are_told_with_the_remedy() {
    for (timestamps, remedy) in [(Timestamps::Original, "--timestamps now"), (Timestamps::Now, "somebody else")] {
        let mut bench = bench();
        let mut spec = restore_spec();
        spec.set_timestamps(timestamps);
        let id = bench.submit_restore("k", spec);
        bench.attend("a");
        follow(&mut bench, differing);
        let failure = bench.job(&id).failure.expect("a failure");
        assert!(failure.message.contains("(rows: 34 missing)"), "{}", failure.message);
        assert!(failure.message.contains(remedy), "{}", failure.message);
    }
}

fn submit_verify(bench: &mut Bench) -> String {
    let spec = v1::VerifySpec {
        keyspaces: vec!["shop".into()],
        cluster: "prod".into(),
        repository: "/mnt/bk".into(),
        keyspace_as: "shop2".into(),
        ..v1::VerifySpec::default()
    };
    let work = Some(v1::job_spec::Work::Verify(spec));
    bench
        .submit("v", v1::JobSpec { work, ..v1::JobSpec::default() }, false)
        .expect("accepted")
        .job
        .expect("a job")
        .job_id
}

#[test]
fn a_comparison_only_compares_and_names_what_differs() {
    let mut bench = bench();
    let id = submit_verify(&mut bench);
    bench.attend("a");
    let seen = follow(&mut bench, |request| request.verified.iter_mut().for_each(|verified| verified.rows = 3));
    assert!(seen.iter().all(|work| matches!(work, Work::Verify(_))), "{seen:?}");
    let Some(Work::Verify(shard)) = seen.first() else { panic!("a comparison") };
    let rules = shard.rules.as_ref().expect("rules");
    assert_eq!(
        (rules.target.as_ref().expect("renamed").keyspace.as_str(), rules.restore_started_unix_ms),
        ("shop2", 0)
    );
    let job = bench.job(&id);
    assert_eq!((job.state(), job.tables[0].rows), (JobState::Done, 48), "{job:?}");

    let mut bench = self::bench();
    let id = submit_verify(&mut bench);
    bench.attend("a");
    follow(&mut bench, differing);
    let job = bench.job(&id);
    assert_eq!((job.state(), job.mismatches.len()), (JobState::Failed, 17));
    let message = job.failure.expect("a failure").message;
    assert!(
        message.starts_with("17 of 17 segments differ from backup") && !message.contains("--timestamps"),
        "{message}"
    );
    assert_ne!(submit_verify(&mut bench), id, "what differed is compared anew");
}

fn rehearsal() -> v1::RestoreSpec {
    v1::RestoreSpec { rehearsal: true, sample_per_million: 10_000, verify: false, ..restore_spec() }
}

#[test]
fn a_rehearsal_restores_a_sample_into_a_scratch_keyspace_and_drops_it() {
    let (job, seen) = run(&mut bench(), rehearsal());
    assert_eq!(job.state(), JobState::Done, "{job:?}");
    let scratch = format!("rv_rehearsal_{}", job.job_id);
    assert_eq!(stages(&seen), [Stage::Preflight, Stage::Before, Stage::After, Stage::Scrap]);
    for work in &seen {
        match work {
            Work::Apply(apply) => {
                assert_eq!((&apply.keyspace_as, apply.replication["class"].as_str()), (&scratch, "SimpleStrategy"));
            }
            Work::Restore(shard) => {
                assert_eq!(shard.chunks.len(), 1, "one segment at least, and 1 % of 16 are not two");
                let target = shard.rules.as_ref().and_then(|rules| rules.target.clone());
                assert_eq!(target.expect("a target").keyspace, scratch);
            }
            Work::Verify(shard) => assert_eq!((shard.segments, shard.chunks.len()), (1, 1)),
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.iter().any(|work| matches!(work, Work::Verify(_))), "it is always compared");
    assert_eq!(job.tables[0].rows, 10, "the counts are kept: {job:?}");
}

#[test]
fn a_rehearsal_that_went_wrong_drops_its_scratch_keyspace_too() {
    let mut mismatched = bench();
    let id = mismatched.submit_restore("k", rehearsal());
    mismatched.attend("a");
    let seen = follow(&mut mismatched, differing);
    assert_eq!(stages(&seen).last(), Some(&Stage::Scrap));
    let job = mismatched.job(&id);
    assert_eq!((job.state(), job.mismatches.len()), (JobState::Failed, 2), "{job:?}");
    assert_ne!(mismatched.submit_restore("k", rehearsal()), id, "its scratch keyspace is gone");

    let mut broken = bench();
    let id = broken.submit_restore("k", rehearsal());
    broken.attend("a");
    broken.act();
    let write = loop {
        let assignment = broken.lease_one("a");
        if matches!(assignment.work, Some(Work::Restore(_))) {
            break assignment;
        }
        let request = broken.whole("a", &assignment);
        broken.complete(request).expect("accepted");
    };
    broken.fail("a", &write, Failure::new(ErrorKind::Invalid, "no such type")).expect("noted");
    assert_eq!(broken.job(&id).state(), JobState::Publishing);
    let late = broken.whole("a", &write);
    assert_eq!(broken.complete(late).expect_err("fenced").kind, ErrorKind::Fenced);
    broken.restart(Settings::fleet());
    broken.attend("a");
    let seen = follow(&mut broken, |_| ());
    assert_eq!(stages(&seen), [Stage::Scrap], "also after a restart");
    let job = broken.job(&id);
    assert_eq!(job.state(), JobState::Failed);
    assert!(job.failure.expect("a failure").message.contains("no such type"));
    assert_eq!(job.tables.len(), 2);
}

#[test]
fn a_scratch_keyspace_that_can_t_be_dropped_is_named() {
    let mut bench = bench();
    let id = bench.submit_restore("k", rehearsal());
    bench.attend("a");
    bench.act();
    loop {
        let assignment = bench.lease_one("a");
        if matches!(&assignment.work, Some(Work::Apply(apply)) if apply.stage() == Stage::Scrap) {
            bench.fail("a", &assignment, Failure::new(ErrorKind::Invalid, "not allowed")).expect("noted");
            break;
        }
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
    }
    let job = bench.job(&id);
    let message = job.failure.expect("a failure").message;
    assert_eq!(job.state, i32::from(JobState::Failed));
    assert!(message.contains("not allowed") && message.contains(&format!("rv_rehearsal_{id}")), "{message}");
}

#[test]
fn a_cancelled_rehearsal_drops_its_scratch_keyspace_before_it_ends() {
    let mut bench = bench();
    let id = bench.submit_restore("k", rehearsal());
    bench.attend("a");
    bench.act();
    for _ in 0..2 {
        let assignment = bench.lease_one("a");
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("accepted");
    }
    let cancelled = id.clone();
    bench.ask(|reply| crate::core::event::Event::Cancel(reply, cancelled)).expect("an answer");
    let seen = follow(&mut bench, |_| ());
    assert_eq!(stages(&seen), [Stage::Scrap]);
    assert_eq!(bench.job(&id).state(), JobState::Cancelled);
}
