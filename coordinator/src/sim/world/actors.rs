//! Those who act in the world besides the coordinator: workers, their fate, and the client.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, JobState, job_spec::Work},
};

use super::{Asked, Due, FAULTS_UNTIL_MS, ModelWorker, Origin, World};
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
        let next: Vec<(v1::LeaseId, u64, v1::CompleteRequest)> = self.workers[number]
            .tasks
            .values()
            .filter_map(|task| Some((task.lease.clone(), task.rows, task.rest.first()?.clone())))
            .collect();
        for (lease, message, request) in next {
            if self.chance(1) {
                self.give_up(number, lease);
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

    pub(super) fn give_up(&mut self, number: usize, lease: v1::LeaseId) {
        self.workers[number].tasks.remove(&lease.assignment_id);
        let worker_id = self.workers[number].id.clone();
        let failure = Failure::new(ErrorKind::Unavailable, "a node is down");
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
                response.assignments.iter().for_each(|assignment| worker.take(assignment, &self.entropy));
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

    /// Workers die, freeze and come.
    pub(super) fn fault(&mut self) {
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

    /// The client submits until its job is done: first a backup, then a restore of it.
    pub(super) fn client(&mut self) {
        let key = if self.restoring { "restore" } else { "backup" };
        if let Some(core) = &self.core {
            let (jobs, _) = core.jobs("", 500).expect("the first page");
            let mine = jobs.into_iter().find(|job| job.idempotency_key == key);
            let mine = mine.and_then(|job| core.job(&job.job_id));
            match mine.as_ref().map(v1::Job::state) {
                Some(JobState::Done) => self.ended(mine.as_ref().expect("found above")),
                None | Some(JobState::Failed | JobState::Interrupted) => self.submit(key),
                Some(_) if self.chance(10) => self.submit(key),
                Some(_) => {}
            }
        }
        self.after(3000, Due::Client);
    }

    pub(super) fn submit(&mut self, key: &str) {
        let work = if self.restoring {
            Work::Restore(v1::RestoreSpec { check_first: true, ..restore_spec() })
        } else {
            Work::Backup(v1::BackupSpec { shards_per_table: 3, ..backup_spec() })
        };
        let submission = Submission {
            key: key.into(),
            spec: v1::JobSpec { work: Some(work), dry_run: false },
            fresh: false,
            job_id: String::new(),
            backup_id: String::new(),
        };
        self.send(Origin::Client, || Event::Submit(ReplyId(0), Box::new(submission.clone())));
    }

    pub(super) fn ended(&mut self, job: &v1::Job) {
        if !self.restoring {
            assert!(self.manifests.contains_key(&job.backup_id), "done, so its manifest is there");
            self.restoring = true;
            return;
        }
        let backup = self.loaded_backup();
        let expected: usize = backup.tables.iter().map(|index| index.chunks().len()).sum();
        assert!(self.restored.len() >= expected, "{} of {expected} chunks were written", self.restored.len());
        let (rows, all): (u64, u64) =
            job.tables.iter().fold((0, 0), |sum, table| (sum.0 + table.rows, sum.1 + table.rows_expected));
        assert!(rows == all && all > 0, "{rows} of {all} rows");
        self.done = true;
    }
}
