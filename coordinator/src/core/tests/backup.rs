use ringvault_archive::index::TableIndex;
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    v1::{self, JobState, assignment::Work},
};

use crate::{
    core::{
        event::{Action, ParentIndex},
        testing::{Bench, backup_spec, chunk, table},
    },
    settings::Settings,
};

#[test]
fn a_backup_ends_with_every_segment_of_every_table_in_its_publication() {
    let mut bench = Bench::fleet();
    bench.cluster.tables = vec![table("t", 64 << 20), table("u", 300 << 20), table("empty", 0)];
    let job = bench.submit_backup("k");
    bench.attend("a");
    bench.work("a");
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Done, "{job:?}");
    assert_eq!(bench.published.len(), 1);
    for (table, grid, chunks) in &bench.published[0].tables {
        let expected: Vec<u64> = (0..grid.segments()).filter(|segment| segment % 5 != 4).collect();
        let segments: Vec<u64> = chunks.iter().map(|chunk| chunk.segment).collect();
        assert_eq!(segments, expected, "{table:?}");
        TableIndex::new(table.clone(), *grid, false, chunks.clone()).expect("it tiles the ring");
    }
    assert!(job.tables.iter().all(|table| table.shards_done == table.shards && table.shards > 0), "{job:?}");
    assert_eq!(bench.probes_deleted.len(), 1);
    assert!(bench.store.load().expect("load").pieces.is_empty(), "nobody needs them any more");
}

#[test]
fn an_unknown_keyspace_or_table_fails_the_backup_by_name() {
    let mut bench = Bench::fleet();
    bench.cluster.keyspaces.clear();
    let job = bench.submit_backup("k");
    bench.attend("a");
    bench.work("a");
    let failure = bench.job(&job).failure.expect("a failure");
    assert_eq!(failure.kind(), v1::ErrorKind::NotFound);
    assert!(failure.message.contains("cluster Test Cluster has no keyspace shop"), "{}", failure.message);

    let mut bench = Bench::fleet();
    let job = bench.submit_spec("k", v1::BackupSpec { tables: vec!["t".into(), "nope".into()], ..backup_spec() });
    bench.attend("a");
    bench.work("a");
    let failure = bench.job(&job).failure.expect("a failure");
    assert!(failure.message.contains("cluster Test Cluster has no table nope"), "{}", failure.message);
}

#[test]
fn a_repository_that_can_t_be_opened_is_tried_again_or_fails_the_job() {
    let mut bench = Bench::fleet();
    let job = bench.submit_backup("k");
    bench.fail_action(Failure::new(ErrorKind::Unavailable, "s3 answers 503"));
    assert!(bench.job(&job).stage.contains("s3 answers 503"));
    bench.pass_s(2);
    assert!(matches!(bench.actions[0].2, Action::Open { create: true }));
    bench.fail_action(Failure::new(ErrorKind::Invalid, "/mnt/bk holds something else"));
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Failed);
    assert_eq!(job.failure.expect("a failure").message, "/mnt/bk holds something else");
}

#[test]
fn a_failing_publication_is_tried_again_and_the_manifest_says_the_same() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    while let Some(assignment) = bench.lease("a", 1).pop() {
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("recorded");
    }
    assert_eq!(bench.job(&job).state(), JobState::Publishing);
    let first = bench.actions[0].2.clone();
    bench.fail_action(Failure::new(ErrorKind::Unavailable, "s3 answers 503"));
    bench.pass_s(2);
    assert_eq!(bench.actions[0].2, first);
    bench.restart(Settings::fleet());
    assert!(matches!(bench.actions[0].2, Action::Open { .. }));
    let (job_id, run, action) = bench.actions.remove(0);
    let outcome = Ok(bench.outcome(&job_id, run, action));
    bench.apply(crate::core::event::Event::Acted { job: job_id, run, outcome });
    assert_eq!(bench.actions[0].2, first, "also after a restart");
    bench.act();
    assert_eq!(bench.job(&job).state(), JobState::Done);
}

#[test]
fn a_restarted_coordinator_goes_on_with_its_backup_at_every_point() {
    for steps in 0..24 {
        let mut bench = Bench::fleet();
        let job = bench.submit_backup("k");
        bench.attend("a");
        for _ in 0..steps {
            if let Some((job, run, action)) = (!bench.actions.is_empty()).then(|| bench.actions.remove(0)) {
                let outcome = Ok(bench.outcome(&job, run, action));
                bench.apply(crate::core::event::Event::Acted { job, run, outcome });
            } else if let Some(assignment) = bench.lease("a", 1).pop() {
                let request = bench.whole("a", &assignment);
                bench.complete(request).expect("recorded");
            }
        }
        bench.restart(Settings::fleet());
        bench.act();
        bench.pass_s(31);
        bench.attend("a");
        bench.work("a");
        assert_eq!(bench.job(&job).state(), JobState::Done, "after {steps} steps");
        assert_eq!(bench.published.last().expect("published").tables.len(), 1);
    }
}

#[test]
fn an_unchanged_grid_is_inherited_and_the_parents_chunks_go_with_the_lease() {
    let mut bench = Bench::fleet();
    let grid = Grid::try_from(3).expect("small");
    let chunks = (0..8).map(|segment| v1::Chunk { encoded_bytes: 8 << 20, ..chunk(segment, 0, 5) }).collect();
    let index = TableIndex::new(table("t", 0), grid, false, chunks).expect("sound");
    bench.parents = vec![ParentIndex { backup_id: "20260101T000000Z-aaaa".into(), index }];
    bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    match assignment.work.expect("work") {
        Work::Dump(shard) => {
            assert_eq!(shard.grid_exponent, 3);
            let parents: Vec<u64> = shard.parent_chunks.iter().map(|chunk| chunk.segment).collect();
            assert_eq!(parents, (shard.segment_first..shard.segment_first + shard.segments).collect::<Vec<_>>());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dry_run_plans_and_writes_nothing() {
    let mut bench = Bench::fleet();
    let spec =
        v1::JobSpec { work: Some(v1::job_spec::Work::Backup(backup_spec())), dry_run: true, ..v1::JobSpec::default() };
    let job = bench.submit("", spec, false).expect("accepted").job.expect("a job").job_id;
    bench.attend("a");
    let assignment = bench.lease_one("a");
    let request = bench.whole("a", &assignment);
    bench.complete(request).expect("accepted");
    assert!(matches!(bench.actions[..], [(_, _, Action::LoadParents { .. })]));
    bench.act();
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Done);
    let plan = job.plan.expect("a plan");
    assert_eq!((plan.cluster_name.as_str(), plan.tables[0].grid_exponent), ("Test Cluster", 4));
    assert!(bench.published.is_empty() && bench.probes_deleted.is_empty() && job.backup_id.is_empty());
}

#[test]
fn a_limit_is_split_over_the_shards_and_shards_without_a_share_are_empty() {
    let mut bench = Bench::fleet();
    let job = bench.submit_spec("k", v1::BackupSpec { limit_rows: 10, shards_per_table: 4, ..backup_spec() });
    bench.attend("a");
    bench.act();
    let mut limits = Vec::new();
    while let Some(assignment) = bench.lease("a", 1).pop() {
        let mut request = bench.whole("a", &assignment);
        if let Some(Work::Dump(shard)) = assignment.work {
            limits.push(shard.limit_rows);
            for done in &mut request.segments {
                done.chunks.clear();
            }
        }
        bench.complete(request).expect("recorded");
        bench.act();
    }
    limits.sort_unstable();
    assert_eq!(limits, [2, 2, 3, 3]);
    assert_eq!(bench.job(&job).state(), JobState::Done);

    let mut bench = Bench::fleet();
    let job = bench.submit_spec("k", v1::BackupSpec { limit_rows: 1, shards_per_table: 4, ..backup_spec() });
    bench.attend("a");
    bench.work("a");
    assert_eq!(bench.job(&job).state(), JobState::Done);
    assert_eq!(bench.published[0].spec.limit_rows, 1);
}

#[test]
fn progress_shows_what_leases_report_and_never_falls() {
    let mut bench = Bench::fleet();
    let job = bench.dumping("k", "a");
    let assignment = bench.lease_one("a");
    let progress =
        v1::LeaseProgress { lease: assignment.lease, rows: 500, encoded_bytes: 9000, ..v1::LeaseProgress::default() };
    bench.report("a", vec![progress]);
    assert_eq!(bench.job(&job).tables[0].rows, 500);
    bench.pass_s(31);
    assert_eq!(bench.job(&job).tables[0].rows, 500, "the lease was lost");
    bench.attend("a");
    bench.work("a");
    let exact: u64 = bench.published[0].tables[0].2.iter().map(|chunk| chunk.rows).sum();
    assert_eq!(bench.job(&job).tables[0].rows, exact, "exact at the end");
}
