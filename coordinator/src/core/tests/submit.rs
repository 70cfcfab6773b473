use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, job_spec::Work},
};

use crate::{
    core::{
        event::{Answer, Event},
        testing::{Bench, backup_spec, table},
    },
    settings::Settings,
};

fn spec() -> v1::JobSpec {
    v1::JobSpec { work: Some(Work::Backup(backup_spec())), ..v1::JobSpec::default() }
}

fn id(response: &v1::SubmitResponse) -> &str {
    &response.job.as_ref().expect("a job").job_id
}

/// A backup with some of its shards done.
fn half_done(bench: &mut Bench) -> String {
    let job = bench.dumping("k", "a");
    for _ in 0..2 {
        let assignment = bench.lease_one("a");
        let request = bench.whole("a", &assignment);
        bench.complete(request).expect("recorded");
    }
    job
}

fn stop(bench: &mut Bench) {
    let assignment = bench.lease_one("a");
    bench.fail("a", &assignment, Failure::new(ErrorKind::Internal, "a defect")).expect("noted");
}

#[test]
fn a_submission_of_the_same_key_is_the_same_job() {
    let mut bench = Bench::fleet();
    let first = bench.submit("k", spec(), false).expect("accepted");
    let second = bench.submit("k", spec(), false).expect("accepted");
    assert_eq!(id(&first), id(&second));
    assert!(!second.resumed, "a repeated call");
    bench.attend("a");
    bench.pass_s(61);
    assert!(bench.submit("k", spec(), false).expect("accepted").resumed, "somebody comes back to it");
}

#[test]
fn submissions_without_a_key_are_jobs_of_their_own() {
    let mut bench = Bench::fleet();
    let (first, second) = (bench.submit("", spec(), false), bench.submit("", spec(), false));
    assert_ne!(id(&first.expect("accepted")), id(&second.expect("accepted")));
}

#[test]
fn a_key_that_names_another_job_is_refused() {
    let mut bench = Bench::fleet();
    bench.submit("k", spec(), false).expect("accepted");
    let other = v1::BackupSpec { keyspaces: vec!["bank".into()], ..backup_spec() };
    let other = v1::JobSpec { work: Some(Work::Backup(other)), ..v1::JobSpec::default() };
    assert_eq!(bench.submit("k", other, false).expect_err("refused").kind, ErrorKind::Conflict);
    let faster = v1::BackupSpec { pace: v1::Pace::Full.into(), shards_per_table: 9, ..backup_spec() };
    let faster = v1::JobSpec { work: Some(Work::Backup(faster)), ..v1::JobSpec::default() };
    bench.submit("k", faster, false).expect("how fast it is done does not make another job");
}

#[test]
fn a_job_that_is_done_stays_the_job_of_its_key_until_a_fresh_start() {
    let mut bench = Bench::fleet();
    let job = bench.submit_backup("k");
    bench.attend("a");
    bench.work("a");
    bench.act();
    assert_eq!(bench.job(&job).state(), JobState::Done);
    assert_eq!(id(&bench.submit("k", spec(), false).expect("accepted")), job);
    bench.pass_s(3600);
    assert_eq!(id(&bench.submit("k", spec(), false).expect("accepted")), job);
    let later = bench.submit("k", spec(), true).expect("accepted");
    assert_ne!(id(&later), job);
    assert_ne!(later.job.expect("a job").backup_id, bench.job(&job).backup_id);
}

#[test]
fn a_failed_job_goes_on_from_what_it_stored() {
    let mut bench = Bench::fleet();
    let job = half_done(&mut bench);
    let rows = bench.job(&job).tables[0].rows;
    stop(&mut bench);
    bench.pass_s(3600);
    bench.attend("a");
    let resumed = bench.submit("k", spec(), false).expect("accepted");
    let again = resumed.job.as_ref().expect("a job");
    assert!(resumed.resumed);
    assert_eq!((again.job_id.as_str(), again.rows_kept), (job.as_str(), rows));
    assert!(again.bytes_kept > 0 && again.failure.is_none());
    assert_eq!(again.started_unix_ms, bench.job(&job).submitted_unix_ms);
    bench.work("a");
    bench.act();
    assert_eq!(bench.job(&job).state(), JobState::Done);
    assert_eq!(bench.published.len(), 1);
    assert_eq!(bench.published[0].started_unix_ms, crate::core::testing::START_UNIX_MS);
}

#[test]
fn an_interrupted_job_waits_for_the_same_submission() {
    let mut bench = Bench::new(Settings::embedded());
    let job = half_done(&mut bench);
    bench.restart(Settings::embedded());
    assert_eq!(bench.job(&job).state(), JobState::Interrupted);
    bench.attend("a");
    bench.act();
    assert!(bench.lease("a", 8).is_empty(), "nothing goes on by itself");
    assert!(bench.submit("k", spec(), false).expect("accepted").resumed);
    bench.work("a");
    bench.act();
    assert_eq!(bench.job(&job).state(), JobState::Done);
}

#[test]
fn a_job_beyond_the_window_starts_over() {
    let mut bench = Bench::new(Settings::embedded());
    let job = half_done(&mut bench);
    bench.now.unix_ms += 25 * 3600 * 1000;
    bench.restart(Settings::embedded());
    let new = bench.submit("k", spec(), false).expect("accepted");
    assert_ne!(id(&new), job);
    assert!(!new.resumed);
}

#[test]
fn a_fresh_submission_cancels_the_old_job_once() {
    let mut bench = Bench::fleet();
    let job = half_done(&mut bench);
    let fresh = bench.submit("k", spec(), true).expect("accepted");
    assert_ne!(id(&fresh), job);
    assert_eq!(bench.job(&job).state(), JobState::Cancelled);
    assert_eq!(id(&bench.submit("k", spec(), true).expect("accepted")), id(&fresh), "a repeated call");
}

#[test]
fn a_resumed_backup_dumps_a_changed_table_anew_and_keeps_the_others() {
    let mut bench = Bench::fleet();
    bench.cluster.tables = vec![table("t", 64 << 20), table("u", 1)];
    let job = half_done(&mut bench);
    let rows = bench.job(&job).tables[0].rows;
    assert!(rows > 0);
    stop(&mut bench);
    bench.cluster.tables[1].fingerprint = "altered".into();
    bench.cluster.tables.push(table("v", 2));
    bench.submit("k", spec(), false).expect("accepted");
    bench.attend("a");
    bench.work("a");
    bench.act();
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Done, "{job:?}");
    assert!(job.warnings.iter().any(|warning| warning.contains("shop.u changed")), "{:?}", job.warnings);
    let published = &bench.published[0];
    let mut names: Vec<_> = published
        .tables
        .iter()
        .map(|(table, _, _)| (table.table.clone().expect("a name").table, table.fingerprint.clone()))
        .collect();
    names.sort();
    let expected = [("t", "fingerprint of t"), ("u", "altered"), ("v", "fingerprint of v")];
    assert_eq!(names, expected.map(|(name, print)| (name.to_owned(), print.to_owned())));
}

#[test]
fn a_cancelled_job_ends_at_once_and_cancelling_again_changes_nothing() {
    let mut bench = Bench::fleet();
    let job = half_done(&mut bench);
    let held = bench.lease_one("a");
    for _ in 0..2 {
        let id = job.clone();
        match bench.ask(|reply| Event::Cancel(reply, id)) {
            Some(Answer::Changed(job)) => assert_eq!(job.state(), JobState::Cancelled),
            other => panic!("{other:?}"),
        }
    }
    let progress = v1::LeaseProgress { lease: held.lease, ..v1::LeaseProgress::default() };
    assert_eq!(bench.report("a", vec![progress]).lost.len(), 1);
    assert_eq!(bench.probes_deleted, std::slice::from_ref(&job));
    assert!(bench.store.load().expect("load").pieces.is_empty());
    assert!(bench.job(&job).tables[0].rows > 0, "what it had done can still be seen");
    assert!(matches!(
        bench.ask(|reply| Event::Cancel(reply, "nobody".into())),
        Some(Answer::Refused(failure)) if failure.kind == ErrorKind::NotFound
    ));
}

#[test]
fn jobs_are_listed_newest_first_in_pages() {
    let mut bench = Bench::fleet();
    let ids: Vec<String> = (0..5).map(|_| bench.submit_backup("")).collect();
    let page = |jobs: &[v1::Job]| jobs.iter().map(|job| job.job_id.clone()).collect::<Vec<_>>();
    let (first, more) = bench.core.jobs("", 3).expect("a page");
    assert_eq!((page(&first), more), (vec![ids[4].clone(), ids[3].clone(), ids[2].clone()], true));
    let (rest, more) = bench.core.jobs(&first[2].job_id, 3).expect("a page");
    assert_eq!((page(&rest), more), (vec![ids[1].clone(), ids[0].clone()], false));
    assert!(bench.core.jobs("nobody", 3).is_none());
}
