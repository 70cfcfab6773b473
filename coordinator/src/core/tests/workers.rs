use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState},
};

use crate::core::{
    event::{Answer, Event},
    testing::{Bench, backup_spec},
};

fn blind(job: &str) -> v1::Proof {
    v1::Proof { job_id: job.into(), nonce: String::new(), failure: None }
}

#[test]
fn a_worker_gets_no_lease_before_it_has_read_the_nonce() {
    let mut bench = Bench::fleet();
    let job = bench.submit_backup("k");
    bench.attend("a");
    bench.act();
    let asked = bench.poll("a", 1, vec![]);
    assert_eq!((asked.assignments.len(), asked.probes.len()), (0, 1));
    assert_eq!(asked.probes[0].object, format!("probes/{job}.json"));
    let proof = bench.proof(&job);
    assert_eq!(bench.poll("a", 1, vec![proof]).assignments.len(), 1);
}

#[test]
fn a_job_whose_only_worker_does_not_see_the_repository_fails_with_that_reason() {
    let mut bench = Bench::fleet();
    let job = bench.submit_backup("k");
    bench.attend("w3");
    bench.act();
    bench.poll("w3", 1, vec![]);
    assert!(bench.poll("w3", 1, vec![blind(&job)]).assignments.is_empty());
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Failed);
    assert_eq!(job.failure.expect("a failure").message, "worker w3 does not see /mnt/bk: not a shared mount?");
}

#[test]
fn a_blind_worker_is_noted_while_another_does_the_work() {
    let mut bench = Bench::fleet();
    let job = bench.submit_backup("k");
    bench.attend("blind");
    bench.attend("good");
    bench.act();
    bench.poll("blind", 1, vec![]);
    let wrong = v1::Proof { nonce: "of another disk".into(), ..blind(&job) };
    assert!(bench.poll("blind", 1, vec![wrong]).assignments.is_empty());
    assert_eq!(bench.job(&job).state(), JobState::Preparing);
    assert!(bench.job(&job).warnings[0].contains("worker blind does not see /mnt/bk"));
    let noted = bench.core.workers().into_iter().find(|worker| worker.name == "blind").expect("attends");
    assert!(noted.notes[0].contains("not a shared mount?"));
    bench.work("good");
    bench.act();
    assert_eq!(bench.job(&job).state(), JobState::Done);
}

#[test]
fn a_failed_proof_is_asked_for_again_after_some_seconds() {
    let mut bench = Bench::fleet();
    let job = bench.submit_backup("k");
    bench.attend("a");
    bench.attend("b");
    bench.act();
    bench.poll("a", 1, vec![]);
    assert!(bench.poll("a", 1, vec![blind(&job)]).probes.is_empty());
    bench.pass_s(6);
    assert_eq!(bench.poll("a", 1, vec![]).probes.len(), 1);
    let proof = bench.proof(&job);
    assert_eq!(bench.poll("a", 1, vec![proof]).assignments.len(), 1);
}

#[test]
fn an_unreachable_store_is_waited_for_before_the_job_fails() {
    let mut bench = Bench::fleet();
    let job = bench.submit_spec("k", v1::BackupSpec { patience_ms: 60_000, ..backup_spec() });
    bench.attend("a");
    bench.act();
    bench.poll("a", 1, vec![]);
    let down = Failure::new(ErrorKind::Unavailable, "connection refused");
    let proof = v1::Proof { failure: Some(down.into()), ..blind(&job) };
    bench.poll("a", 1, vec![proof]);
    assert_eq!(bench.job(&job).state(), JobState::Preparing);
    for _ in 0..70 {
        bench.attend("a");
        bench.pass_s(1);
    }
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Failed);
    assert!(job.failure.expect("a failure").message.contains("connection refused"));
}

#[test]
fn a_job_waits_for_a_worker_that_knows_its_cluster_and_fails_after_its_patience() {
    let mut bench = Bench::fleet();
    let job = bench.submit_spec("k", v1::BackupSpec { patience_ms: 60_000, cluster: "other".into(), ..backup_spec() });
    bench.attend("a");
    bench.act();
    bench.pass_s(10);
    assert_eq!(bench.job(&job).stage, "waiting for a worker that knows cluster other");
    bench.pass_s(60);
    let job = bench.job(&job);
    assert_eq!(job.state(), JobState::Failed);
    assert!(job.failure.expect("a failure").message.contains("cluster other"));
}

#[test]
fn a_poll_waits_for_work_and_is_answered_when_there_is_some() {
    let mut bench = Bench::fleet();
    bench.attend("a");
    let request = v1::LeaseRequest { worker_id: "a".into(), assignments_max: 1, wait_ms: 20_000, proofs: vec![] };
    let waiting = request.clone();
    assert_eq!(bench.ask(|reply| Event::Lease(reply, waiting)), None);
    bench.submit_backup("k");
    bench.act();
    let answer = bench.answers.pop_first().expect("an answer").1;
    assert!(matches!(answer, Answer::Leased(response) if response.probes.len() == 1));
    let late = v1::LeaseRequest { worker_id: "a".into(), ..request };
    assert_eq!(bench.ask(|reply| Event::Lease(reply, late)), None);
    bench.pass_s(21);
    assert!(!bench.answers.is_empty(), "it waited long enough");
}

#[test]
fn an_unknown_worker_is_told_to_attend_first() {
    let mut bench = Bench::fleet();
    let request = v1::LeaseRequest { worker_id: "x".into(), assignments_max: 1, wait_ms: 0, proofs: vec![] };
    match bench.ask(|reply| Event::Lease(reply, request)) {
        Some(Answer::Refused(failure)) => assert_eq!(failure.kind, ErrorKind::Unavailable),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_that_stops_reporting_no_longer_attends() {
    let mut bench = Bench::fleet();
    bench.attend("a");
    assert_eq!(bench.core.workers().len(), 1);
    bench.pass_s(31);
    assert!(bench.core.workers().is_empty());
}
