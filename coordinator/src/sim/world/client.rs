//! Those who ask: clients that submit until their job is done, and an operator who pauses, drains and limits.

use ringvault_proto::{
    error::ErrorKind,
    v1::{self, JobState, job_spec::Work},
};

use super::{Due, Origin, World};
use crate::core::{
    event::{Answer, Event, ReplyId, Submission},
    testing::{backup_spec, restore_spec},
};

/// What a client wants at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Backup,
    Restore,
    Comparison,
    Rehearsal,
    Nothing,
}

/// Somebody who submits.
#[derive(Debug)]
pub(super) struct Client {
    errand: Errand,
    /// Jobs that somebody cancelled under it: a key stays its job's, so it takes another one.
    cancelled: u32,
    /// Its backup is all that it wants.
    only_backup: bool,
    backup_id: String,
}

impl World {
    pub(super) fn start_clients(&mut self, seed: u64) {
        let one = |only_backup| Client { errand: Errand::Backup, cancelled: 0, only_backup, backup_id: String::new() };
        self.clients.push(one(!seed.is_multiple_of(2)));
        self.after(0, Due::Client(0));
        if seed % 2 == 1 {
            // Two jobs at once.
            self.clients.push(one(true));
            let delay = self.below(30_000);
            self.after(delay, Due::Client(1));
        }
    }

    /// A client submits until its job is done: a backup, a restore of it, a comparison, a rehearsal.
    pub(super) fn client(&mut self, number: usize) {
        if self.clients[number].errand == Errand::Nothing {
            return;
        }
        let Client { errand, cancelled, .. } = self.clients[number];
        let key = format!("{number} {errand:?} {cancelled}");
        if let Some(core) = self.committed_core() {
            let (jobs, _) = core.jobs("", 500).expect("the first page");
            let mine = jobs.into_iter().find(|job| job.idempotency_key == key);
            let mine = mine.and_then(|job| core.job(&job.job_id));
            match mine.as_ref().map(v1::Job::state) {
                Some(JobState::Done) => self.ended(number, mine.as_ref().expect("found above")),
                Some(JobState::Failed) if mine.as_ref().is_some_and(|job| !job.mismatches.is_empty()) => {
                    let rehearsed = self.clients[number].errand == Errand::Rehearsal;
                    assert!(self.model.mismatch && rehearsed, "{mine:?}");
                    self.ended(number, mine.as_ref().expect("found above"));
                }
                Some(JobState::Cancelled) => self.clients[number].cancelled += 1,
                None | Some(JobState::Failed | JobState::Interrupted) => self.submit(number, &key),
                Some(_) if self.chance(100) => self.submit(number, &key),
                Some(_) => {}
            }
        }
        let pause = 1000 + self.below(2000);
        self.after(pause, Due::Client(number));
    }

    fn submit(&mut self, number: usize, key: &str) {
        let Client { errand, ref backup_id, .. } = self.clients[number];
        let work = match errand {
            Errand::Backup => Work::Backup(v1::BackupSpec { shards_per_table: 3, ..backup_spec() }),
            Errand::Restore => Work::Restore(v1::RestoreSpec {
                backup_id: backup_id.clone(),
                check_first: true,
                keyspace_as: "shop2".into(),
                // Half of the ring, around its end.
                token_ranges: vec![v1::TokenSpan { start: 1 << 62, end: -(1 << 62) }],
                ttl: v1::Ttl::Restart.into(),
                ..restore_spec()
            }),
            Errand::Comparison => Work::Verify(v1::VerifySpec {
                keyspaces: vec!["shop".into()],
                cluster: "prod".into(),
                repository: "/mnt/bk".into(),
                ..v1::VerifySpec::default()
            }),
            Errand::Rehearsal => {
                Work::Restore(v1::RestoreSpec { rehearsal: true, sample_per_million: 200_000, ..restore_spec() })
            }
            Errand::Nothing => return,
        };
        let priority = if number == 0 { v1::Priority::Normal } else { v1::Priority::High };
        let submission = Submission {
            key: key.into(),
            spec: v1::JobSpec { work: Some(work), priority: priority.into(), ..v1::JobSpec::default() },
            fresh: false,
            job_id: String::new(),
            backup_id: String::new(),
            trace_parent: String::new(),
        };
        self.send(&Origin::Client, || Event::Submit(ReplyId(0), Box::new(submission.clone())));
    }

    fn ended(&mut self, number: usize, job: &v1::Job) {
        let sum = |of: fn(&v1::TableProgress) -> u64| job.tables.iter().map(of).sum::<u64>();
        let (rows, expected) = (sum(|table| table.rows), sum(|table| table.rows_expected));
        let client = &mut self.clients[number];
        client.errand = match client.errand {
            Errand::Backup => {
                assert!(self.manifests.contains_key(&job.backup_id), "done, so its manifest is there");
                client.backup_id.clone_from(&job.backup_id);
                if client.only_backup { Errand::Nothing } else { Errand::Restore }
            }
            Errand::Restore => {
                assert!(rows == expected && expected > 0, "{rows} of {expected} rows");
                assert!(!self.restored.is_empty());
                Errand::Comparison
            }
            Errand::Comparison => {
                assert!(job.tables.iter().all(|table| table.segments_verified == table.segments), "{job:?}");
                Errand::Rehearsal
            }
            Errand::Rehearsal => {
                assert!(self.scrapped.contains(&job.job_id), "its scratch keyspace is dropped");
                assert_eq!(job.state() == JobState::Failed, self.model.mismatch);
                assert!(rows == expected && expected > 0, "{rows} of {expected} rows");
                Errand::Nothing
            }
            Errand::Nothing => Errand::Nothing,
        };
        self.done = self.clients.iter().all(|client| client.errand == Errand::Nothing);
    }

    /// Somebody pauses, resumes, drains, limits; once faults are over, takes all of it back.
    pub(super) fn operate(&mut self) {
        let (mut jobs, mut workers) = (Vec::new(), Vec::new());
        if let Some(core) = self.committed_core() {
            jobs = core.jobs("", 500).expect("the first page").0;
            workers = core.workers();
        }
        jobs.retain(|job| job.finished_unix_ms == 0);
        if self.is_faulty() {
            self.interfere(&jobs, &workers);
        } else {
            for job in jobs.iter().filter(|job| job.state() == JobState::Paused) {
                let id = job.job_id.clone();
                self.send(&Origin::Operator, || Event::Resume(ReplyId(0), id.clone()));
            }
            for worker in workers.iter().filter(|worker| worker.draining) {
                self.order_drain(&worker.worker_id, true);
            }
        }
        self.after(4000, Due::Operator);
    }

    fn interfere(&mut self, jobs: &[v1::Job], workers: &[v1::Worker]) {
        let job = usize::try_from(self.below(jobs.len().max(1) as u64)).expect("small");
        let job = jobs.get(job).map(|job| job.job_id.clone()).unwrap_or_default();
        let worker = usize::try_from(self.below(workers.len().max(1) as u64)).expect("small");
        let worker = workers.get(worker).map(|worker| worker.worker_id.clone()).unwrap_or_default();
        match self.below(24) {
            0 | 1 => self.send(&Origin::Operator, || Event::Pause(ReplyId(0), job.clone())),
            2..=6 => self.send(&Origin::Operator, || Event::Resume(ReplyId(0), job.clone())),
            7 | 8 => {
                let request = self.drawn_update(job);
                self.send(&Origin::Operator, || Event::Update(ReplyId(0), Box::new(request.clone())));
            }
            9 => self.order_drain(&worker, false),
            10..=12 => self.order_drain(&worker, true),
            13 | 14 => {
                let limits = v1::ClusterLimits {
                    rows_per_second_max: self.drawn_limit(10_000),
                    bytes_per_second_max: self.drawn_limit(1 << 20),
                    ranges_max: u32::try_from(self.drawn_limit(5)).expect("small"),
                    requests_per_node_max: u32::try_from(self.drawn_limit(8)).expect("small"),
                };
                let request = v1::SetClusterLimitsRequest { cluster: "prod".into(), limits: Some(limits) };
                self.send(&Origin::Operator, || Event::SetLimits(ReplyId(0), request.clone()));
            }
            15 if self.below(3) == 0 => self.send(&Origin::Operator, || Event::Cancel(ReplyId(0), job.clone())),
            _ => {}
        }
    }

    /// No limit, or one below a bound.
    fn drawn_limit(&self, bound: u64) -> u64 {
        if self.below(3) == 0 { 0 } else { 1 + self.below(bound) }
    }

    fn drawn_update(&self, job_id: String) -> v1::UpdateJobRequest {
        let small = |bound| u32::try_from(self.drawn_limit(bound)).expect("small");
        let priority =
            self.pick(&[v1::Priority::Low, v1::Priority::Normal, v1::Priority::High]).expect("there are some");
        v1::UpdateJobRequest {
            job_id,
            priority: (self.below(2) == 0).then_some(priority.into()),
            workers_max: (self.below(2) == 0).then(|| small(3)),
            ranges_max: (self.below(2) == 0).then(|| small(6)),
            rows_per_second_max: (self.below(2) == 0).then(|| self.drawn_limit(10_000)),
            bytes_per_second_max: (self.below(2) == 0).then(|| self.drawn_limit(1 << 20)),
            pace: None,
        }
    }

    fn order_drain(&mut self, worker: &str, undo: bool) {
        let request = v1::DrainWorkerRequest { worker: worker.to_owned(), undo };
        self.send(&Origin::Operator, || Event::Drain(ReplyId(0), request.clone()));
    }

    /// The operator is answered.
    pub(super) fn operated(&mut self, answer: &Answer) {
        let met = match answer {
            Answer::Changed(job) => match job.state() {
                JobState::Paused => "paused",
                JobState::Cancelled => "cancelled",
                _ => "resumed or updated",
            },
            Answer::Drained(worker) => {
                if worker.draining {
                    "drained"
                } else {
                    "undrained"
                }
            }
            Answer::Limited(_) => "limited",
            Answer::Refused(failure) => {
                assert!(matches!(failure.kind, ErrorKind::NotFound | ErrorKind::Conflict), "{failure}");
                "operator refused"
            }
            other => panic!("the operator was answered {other:?}"),
        };
        self.history.meet(met);
    }
}
