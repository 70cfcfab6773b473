//! Those who act in the world besides the coordinator: workers, their fate, and the client.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, job_spec::Work},
};

use super::{Asked, Due, Errand, FAULTS_UNTIL_MS, Model, ModelWorker, Origin, World};
use crate::core::{
    event::{Answer, Event, ReplyId, Submission},
    testing::{backup_spec, restore_spec},
};

impl World {
    pub(super) fn start_worker(&mut self) {
        let number = self.workers.len();
        self.workers.push(ModelWorker::new(format!("w{number}")));
        self.after(1, Due::Report(number));
        self.after(200, Due::Step(number));
    }

    pub(super) fn is_frozen(&mut self, worker: usize, due: Due) -> bool {
        let until = self.workers[worker].frozen_until_ms;
        if until == u64::MAX {
            return true;
        }
        if until > self.now_ms {
            self.after(until - self.now_ms, due);
            return true;
        }
        false
    }

    pub(super) fn send_report(&mut self, number: usize) {
        if self.is_frozen(number, Due::Report(number)) {
            return;
        }
        let report = self.workers[number].report();
        self.send(Origin::Worker(number, Asked::Report), || Event::Report(ReplyId(0), report.clone()));
        self.after(10_000, Due::Report(number));
    }

    /// A worker polls where it has a free slot, and sends the next message of each task.
    pub(super) fn step(&mut self, number: usize) {
        if self.is_frozen(number, Due::Step(number)) {
            return;
        }
        let worker = &mut self.workers[number];
        // Now and then a poll is given up and sent again, as after a broken connection.
        if !worker.polling || self.entropy.u64().is_multiple_of(20) {
            worker.polling = true;
            if worker.tasks.len() < 3 {
                let poll = worker.poll();
                self.send(Origin::Worker(number, Asked::Lease), || Event::Lease(ReplyId(0), poll.clone()));
            }
        }
        for (lease, message, request) in self.workers[number].next_messages(&self.model) {
            let Some(request) = request else {
                self.give_up(number, lease, Failure::new(ErrorKind::Conflict, "the table was altered"));
                continue;
            };
            if self.chance(1) {
                self.give_up(number, lease, Failure::new(ErrorKind::Unavailable, "a node is down"));
                continue;
            }
            for done in &request.chunks {
                self.restored.insert((lease.assignment_id.clone(), done.segment, done.part));
            }
            self.send(Origin::Worker(number, Asked::Complete(lease, message)), || {
                Event::Complete(ReplyId(0), Box::new(request.clone()))
            });
        }
        let pause = 500 + self.below(4000);
        self.after(pause, Due::Step(number));
    }

    pub(super) fn give_up(&mut self, number: usize, lease: v1::LeaseId, failure: Failure) {
        self.workers[number].tasks.remove(&lease.assignment_id);
        let worker_id = self.workers[number].id.clone();
        let request = v1::FailRequest { worker_id, lease: Some(lease), failure: Some(failure.into()) };
        self.send(Origin::Worker(number, Asked::Fail), || Event::Fail(ReplyId(0), request.clone()));
    }

    /// An answer reaches a worker.
    pub(super) fn hear(&mut self, number: usize, asked: Asked, answer: Answer) {
        let worker = &mut self.workers[number];
        match (asked, answer) {
            (_, _) if worker.frozen_until_ms == u64::MAX => {}
            (Asked::Report, Answer::Attended(response)) => {
                for lost in response.lost {
                    if worker.tasks.get(&lost.assignment_id).is_some_and(|task| task.lease == lost) {
                        worker.tasks.remove(&lost.assignment_id);
                    }
                }
            }
            (Asked::Lease, Answer::Leased(response)) => {
                worker.polling = false;
                response.assignments.iter().for_each(|assignment| worker.take(assignment, &self.entropy, &self.model));
                worker.proofs = response
                    .probes
                    .into_iter()
                    .map(|probe| v1::Proof { job_id: probe.job_id, nonce: probe.object, failure: None })
                    .collect();
            }
            (Asked::Lease, Answer::Refused(_)) => worker.polling = false,
            (Asked::Complete(lease, message), Answer::Completed(response)) => {
                worker.answered(&lease, message, Ok(response.ended));
            }
            (Asked::Complete(lease, message), Answer::Refused(failure)) => {
                worker.answered(&lease, message, Err(failure));
            }
            (Asked::Fail, Answer::Noted) => {}
            (Asked::Fail, Answer::Refused(failure)) => assert_eq!(failure.kind, ErrorKind::Fenced),
            (asked, answer) => panic!("{asked:?} was answered by {answer:?}"),
        }
    }

    /// Workers die, freeze and come; tables are altered.
    pub(super) fn fault(&mut self) {
        if self.chance(8) {
            self.met.altered += 1;
            let (table, _) = Model::TABLES[usize::try_from(self.below(3)).expect("small")];
            *self.model.versions.entry(table.to_owned()).or_default() += 1;
        }
        if self.chance(30) {
            self.met.lost += 1;
            let victim = usize::try_from(self.below(self.workers.len() as u64)).expect("small");
            if self.below(2) == 0 {
                self.workers[victim].frozen_until_ms = u64::MAX;
                self.start_worker();
            } else if self.workers[victim].frozen_until_ms != u64::MAX {
                self.workers[victim].frozen_until_ms = self.now_ms + self.below(100_000);
            }
        }
        if self.now_ms < FAULTS_UNTIL_MS {
            self.after(5000, Due::Fault);
        } else {
            self.start_worker();
        }
    }

    /// The client submits until its job is done: a backup, a restore of it, a comparison, a rehearsal.
    pub(super) fn client(&mut self) {
        let key = format!("{:?}", self.errand);
        if let Some(core) = &self.core {
            let (jobs, _) = core.jobs("", 500).expect("the first page");
            let mine = jobs.into_iter().find(|job| job.idempotency_key == key);
            let mine = mine.and_then(|job| core.job(&job.job_id));
            match mine.as_ref().map(v1::Job::state) {
                Some(JobState::Done) => self.ended(mine.as_ref().expect("found above")),
                Some(JobState::Failed) if mine.as_ref().is_some_and(|job| !job.mismatches.is_empty()) => {
                    assert!(self.model.mismatch && self.errand == Errand::Rehearsal, "{mine:?}");
                    self.ended(mine.as_ref().expect("found above"));
                }
                None | Some(JobState::Failed | JobState::Interrupted) => self.submit(&key),
                Some(_) if self.chance(10) => self.submit(&key),
                Some(_) => {}
            }
        }
        self.after(3000, Due::Client);
    }

    fn submit(&mut self, key: &str) {
        let work = match self.errand {
            Errand::Backup => Work::Backup(v1::BackupSpec { shards_per_table: 3, ..backup_spec() }),
            Errand::Restore => Work::Restore(v1::RestoreSpec {
                check_first: true,
                keyspace_as: "shop2".into(),
                token_ranges: vec![self.span],
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
        };
        let submission = Submission {
            key: key.into(),
            spec: v1::JobSpec { work: Some(work), ..v1::JobSpec::default() },
            fresh: false,
            job_id: String::new(),
            backup_id: String::new(),
            trace_parent: String::new(),
        };
        self.send(Origin::Client, || Event::Submit(ReplyId(0), Box::new(submission.clone())));
    }

    fn ended(&mut self, job: &v1::Job) {
        let sum = |of: fn(&v1::TableProgress) -> u64| job.tables.iter().map(of).sum::<u64>();
        let (rows, expected) = (sum(|table| table.rows), sum(|table| table.rows_expected));
        self.errand = match self.errand {
            Errand::Backup => {
                assert!(self.manifests.contains_key(&job.backup_id), "done, so its manifest is there");
                Errand::Restore
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
                self.done = true;
                return;
            }
        };
    }
}
