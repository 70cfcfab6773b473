//! Workers and their fate: they are cut off, freeze, go on as zombies, die, leave; tables are altered under them.

use std::time::Duration;

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};
use ringvault_runtime::lease_keeper::{self, LeaseKeeper};

use super::{Asked, Due, Origin, World};
use crate::{
    core::event::{Answer, Event, ReplyId},
    sim::{
        network::Way,
        work::Model,
        worker::{CLOCK_PER_MILLE, Life, ModelWorker, SkewedClock, keeper_lease},
    },
};

/// How long a worker waits for the answer to a poll before it asks again, by its own clock.
const POLL_PATIENCE: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn start_worker(&mut self) {
        let number = self.workers.len();
        let span = CLOCK_PER_MILLE.end() - CLOCK_PER_MILLE.start() + 1;
        let clock =
            SkewedClock { offset_ms: self.below(1 << 40), per_mille: CLOCK_PER_MILLE.start() + self.below(span) };
        self.workers.push(ModelWorker::new(format!("w{number}"), clock));
        self.after(1, Due::Wake(number));
    }

    /// It looks at its clock, asks for work where it has a free slot, and sends the next message of each task.
    pub(super) fn wake(&mut self, number: usize) {
        match self.workers[number].life {
            Life::Dead => return,
            Life::Frozen { until_ms } if until_ms > self.now_ms => {
                return self.after(until_ms - self.now_ms, Due::Wake(number));
            }
            Life::Frozen { .. } => {
                self.workers[number].life = Life::Alive;
                self.workers[number].is_zombie = self.below(2) == 0;
            }
            Life::Alive => {}
        }
        if std::mem::take(&mut self.workers[number].is_zombie) && !self.workers[number].tasks.is_empty() {
            self.history.meet("zombie");
            self.work(number, true);
        }
        self.look_at_clock(number);
        self.ask_for_work(number);
        self.work(number, false);
        // Now and then it shows its progress between two renewals.
        if self.below(4) == 0 && !self.workers[number].tasks.is_empty() {
            self.report(number);
        }
        let pause = 300 + self.below(3000);
        let worker = &self.workers[number];
        let next = worker.keeper.next_tick().map_or(u64::MAX, |at| worker.clock.when(at));
        let pause = next.saturating_sub(self.now_ms).clamp(1, pause);
        self.after(pause, Due::Wake(number));
    }

    fn look_at_clock(&mut self, number: usize) {
        self.keep(number, lease_keeper::Event::Tick);
    }

    /// Tells the lease keeper and does what it says.
    fn keep(&mut self, number: usize, event: lease_keeper::Event) {
        let ticked = event == lease_keeper::Event::Tick;
        let worker = &mut self.workers[number];
        let actions = worker.keeper.apply(worker.clock.at(self.now_ms), event);
        for action in actions {
            match action {
                lease_keeper::Action::Report => self.report(number),
                lease_keeper::Action::Abandon(lease) => {
                    self.history.note(self.now_ms, || format!("  w{number} abandons {lease:?}"));
                    if self.workers[number].abandon(&lease) {
                        self.history.meet(if ticked { "aborted by itself" } else { "told to abandon" });
                    }
                }
            }
        }
    }

    fn report(&mut self, number: usize) {
        let report = self.workers[number].report();
        let sequence = report.sequence;
        self.send(&Origin::Worker(number, Asked::Report), || Event::Report(ReplyId(0), report.clone()));
        self.keep(number, lease_keeper::Event::Reported { sequence });
    }

    fn ask_for_work(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        let shown = worker.clock.at(self.now_ms);
        let waits = worker.polling.is_some_and(|since| shown < since + POLL_PATIENCE);
        if worker.draining || waits || worker.free_slots() == 0 {
            return;
        }
        worker.polling = Some(shown);
        let poll = worker.poll();
        self.send(&Origin::Worker(number, Asked::Lease(shown)), || Event::Lease(ReplyId(0), poll.clone()));
    }

    /// Sends the next message of each task.
    fn work(&mut self, number: usize, zombie: bool) {
        for (lease, message, request) in self.workers[number].next_messages(&self.model) {
            if !zombie {
                self.judge.works(&lease);
            }
            let Some(request) = request else {
                self.give_up(number, lease, Failure::new(ErrorKind::Conflict, "the table was altered"));
                continue;
            };
            if self.chance(10) {
                self.give_up(number, lease, Failure::new(ErrorKind::Unavailable, "a node is down"));
                continue;
            }
            for done in &request.chunks {
                self.restored.insert((lease.assignment_id.clone(), done.segment, done.part));
            }
            self.send(&Origin::Worker(number, Asked::Complete(lease, message)), || {
                Event::Complete(ReplyId(0), Box::new(request.clone()))
            });
        }
    }

    fn give_up(&mut self, number: usize, lease: v1::LeaseId, failure: Failure) {
        self.workers[number].tasks.remove(&lease.assignment_id);
        self.keep(number, lease_keeper::Event::Ended(keeper_lease(&lease)));
        let worker_id = self.workers[number].id.clone();
        let request = v1::FailRequest { worker_id, lease: Some(lease), failure: Some(failure.into()) };
        self.send(&Origin::Worker(number, Asked::Fail), || Event::Fail(ReplyId(0), request.clone()));
    }

    /// An answer reaches a worker.
    pub(super) fn hear(&mut self, number: usize, asked: Asked, answer: Answer) {
        match self.workers[number].life {
            Life::Dead => return,
            Life::Frozen { until_ms } if until_ms > self.now_ms => {
                // It waits in a socket.
                return self.after(until_ms - self.now_ms, Due::Answer(number, asked, answer));
            }
            Life::Frozen { .. } | Life::Alive => {}
        }
        assert!(asked.fits(&answer), "{asked:?} was answered by {answer:?}");
        self.look_at_clock(number);
        match (asked, answer) {
            (Asked::Report, Answer::Attended(response)) => self.attended(number, &response),
            (Asked::Lease(since), Answer::Leased(response)) => self.leased(number, since, response),
            (Asked::Lease(_), _) => {
                self.workers[number].polling = None;
                self.report(number);
            }
            (Asked::Complete(lease, message), Answer::Completed(response)) => {
                self.answered(number, &lease, message, Ok(response.ended));
            }
            (Asked::Complete(lease, message), Answer::Refused(failure)) => {
                self.answered(number, &lease, message, Err(failure));
            }
            (Asked::Fail, Answer::Refused(failure)) => assert_eq!(failure.kind, ErrorKind::Fenced),
            (_, _) => {}
        }
    }

    fn attended(&mut self, number: usize, response: &v1::AttendResponse) {
        let leases = |messages: &[v1::LeaseId]| messages.iter().map(keeper_lease).collect();
        self.keep(
            number,
            lease_keeper::Event::Acknowledged {
                sequence: response.acknowledged,
                renewed: leases(&response.renewed),
                lost: leases(&response.lost),
                ttl: Duration::from_millis(response.lease_ttl_ms),
            },
        );
        let worker = &mut self.workers[number];
        let draining = (worker.draining || response.drain) && !response.undrain;
        if draining != worker.draining {
            worker.draining = draining;
            self.history.meet(if draining { "heard drain" } else { "heard undrain" });
            self.report(number);
        }
    }

    fn leased(&mut self, number: usize, asked: Duration, response: v1::LeaseResponse) {
        let worker = &mut self.workers[number];
        if worker.polling == Some(asked) {
            worker.polling = None;
        }
        for assignment in &response.assignments {
            let lease = assignment.lease.as_ref().expect("a lease");
            let granted = lease_keeper::Event::Granted {
                lease: keeper_lease(lease),
                ttl: Duration::from_millis(assignment.lease_ttl_ms),
                since: asked + Duration::from_millis(response.waited_ms),
            };
            let newer = self.workers[number].tasks.get(&lease.assignment_id).map(|task| task.lease.epoch);
            if newer.is_none_or(|epoch| epoch < lease.epoch) {
                self.workers[number].take(assignment, &self.entropy, &self.model);
            }
            self.keep(number, granted);
        }
        self.look_at_clock(number);
        let proof = |probe: v1::Probe| v1::Proof { job_id: probe.job_id, nonce: probe.object, failure: None };
        self.workers[number].proofs.extend(response.probes.into_iter().map(proof));
    }

    fn answered(&mut self, number: usize, lease: &v1::LeaseId, message: u64, answer: Result<bool, Failure>) {
        if self.workers[number].answered(lease, message, answer) {
            self.keep(number, lease_keeper::Event::Ended(keeper_lease(lease)));
        }
    }

    /// It begins anew without leases.
    pub(super) fn forget_work(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        worker.tasks.clear();
        worker.keeper = LeaseKeeper::new(Duration::from_millis(30_000));
    }

    /// Something goes wrong, or several things.
    pub(super) fn fault(&mut self) {
        if !self.is_faulty() {
            // Enough of them are there for what is left.
            self.start_worker();
            return;
        }
        if self.chance(80) {
            self.history.meet("table altered");
            let (table, _) = self.pick(&Model::TABLES).expect("there are some");
            *self.model.versions.entry(table.to_owned()).or_default() += 1;
        }
        if self.chance(60) {
            self.crash();
        }
        if self.chance(150) {
            let until = self.now_ms + self.below(60_000);
            let way = if self.below(2) == 0 { Way::Up } else { Way::Down };
            self.history.meet(if way == Way::Up { "cut upwards" } else { "cut downwards" });
            self.client_link.cut(way, self.now_ms + self.below(5000));
            let victim = usize::try_from(self.below(self.workers.len() as u64)).expect("small");
            self.workers[victim].link.cut(way, until);
            if self.below(3) == 0 {
                self.workers[victim].link.cut(Way::Up, until);
                self.workers[victim].link.cut(Way::Down, until);
            }
        }
        if self.chance(250) {
            self.harm_a_worker();
        }
        self.after(5000, Due::Fault);
    }

    fn harm_a_worker(&mut self) {
        let living: Vec<usize> =
            (0..self.workers.len()).filter(|number| self.workers[*number].life == Life::Alive).collect();
        let Some(victim) = self.pick(&living) else { return self.start_worker() };
        match self.below(4) {
            0 => {
                self.history.meet("worker died");
                self.workers[victim].life = Life::Dead;
                self.start_worker();
            }
            1 => {
                self.history.meet("worker left");
                let worker_id = self.workers[victim].id.clone();
                let leases = self.workers[victim].tasks.values().map(|task| task.lease.clone()).collect();
                let request = v1::ReturnRequest { worker_id, leases, leaving: true };
                self.send(&Origin::Worker(victim, Asked::Return), || Event::Return(ReplyId(0), request.clone()));
                self.workers[victim].life = Life::Dead;
                self.start_worker();
            }
            _ => {
                self.history.meet("worker froze");
                let until_ms = self.now_ms + self.below(100_000);
                self.workers[victim].life = Life::Frozen { until_ms };
            }
        }
    }
}
