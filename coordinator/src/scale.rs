//! A large fleet on the real core and the real journal, in events as the owner task applies them: how long a plan takes,
//! how many leases are granted a second, how long a look at a job takes. For the micro-benchmarks and a test.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

use ringvault_proto::v1;

use crate::{
    core::{
        Core,
        event::{Action, Answer, Effect, Event, Now, Outcome, Output, ReplyId, Submission},
        testing::{START_UNIX_MS, backup_job, backup_spec, cluster, hello, renewal, table, whole},
    },
    journal::Store,
    settings::Settings,
};

/// Workers, each with one slot.
pub const WORKERS: usize = 1000;

/// Tables of the job; its shards are a multiple.
pub const TABLES: u64 = 16;

/// Events before one commit, as the owner task takes them.
const BATCH: usize = 256;

/// The job.
const JOB: &str = "j1";

/// The core and the journal of a coordinator, without the task that owns them, and what its workers hold.
#[derive(Debug)]
pub struct Process {
    core: Core,
    store: Store,
    now: Now,
    replies: u64,
    answers: BTreeMap<ReplyId, Answer>,
    actions: Vec<(String, u64, Action)>,
    cluster: v1::InspectResult,
    held: BTreeMap<usize, v1::Assignment>,
}

impl Process {
    /// A coordinator with this journal, and a cluster whose tables are worth so many shards.
    ///
    /// # Panics
    /// Here as in all that follows, where the core does not do as it should.
    pub fn open(dir: &Path, shards: u64) -> Self {
        let mut store = Store::open(dir).expect("a journal");
        let loaded = store.load().expect("readable");
        let now = Now { ms: 1_000_000, unix_ms: START_UNIX_MS };
        let mut out = Output::default();
        let core = Core::load(Settings::fleet(), loaded, now, &mut out).expect("sound");
        // More segments than shards.
        let bytes = shards / TABLES * (64 << 20);
        let tables = (0..TABLES).map(|number| table(&format!("t{number}"), bytes)).collect();
        let mut inspected = cluster(tables);
        inspected.nodes = (0..100).map(node).collect();
        inspected.ring = (0..1600).map(token).collect();
        let (answers, actions) = (BTreeMap::new(), Vec::new());
        let held = BTreeMap::new();
        let mut process = Self { core, store, now, replies: 0, answers, actions, cluster: inspected, held };
        process.settle(out);
        process
    }

    /// Applies events in batches, each committed before its effects.
    fn apply(&mut self, events: Vec<Event>) {
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let mut out = Output::default();
            for event in events.by_ref().take(BATCH) {
                self.core.apply(self.now, event, &mut out);
            }
            self.settle(out);
        }
    }

    fn settle(&mut self, out: Output) {
        self.store.commit(&out.changes).expect("a commit");
        for effect in out.effects {
            match effect {
                Effect::Answer(reply, answer) => drop(self.answers.insert(reply, answer)),
                Effect::Act { job, run, action, .. } => self.actions.push((job, run, action)),
            }
        }
    }

    fn reply(&mut self) -> ReplyId {
        self.replies += 1;
        ReplyId(self.replies)
    }

    /// Performs what was asked for in the repository.
    fn act(&mut self) {
        while let Some((job, run, action)) = self.actions.pop() {
            let outcome = match action {
                Action::Open { .. } => Outcome::Opened { nonce: "nonce".into(), object: "probe".into() },
                Action::LoadParents { .. } => Outcome::Parents(Vec::new()),
                other => panic!("{other:?}"),
            };
            self.apply(vec![Event::Acted { job, run, outcome: Ok(outcome) }]);
        }
    }

    /// Everybody attends, and one of them has looked at the cluster for a job of so many shards. What it saw can be told.
    pub fn look_around(&mut self, shards: u64) {
        self.report();
        let shards_per_table = u32::try_from(shards / TABLES).expect("small");
        let spec = backup_job(v1::BackupSpec { shards_per_table, tables_parallel: 4, ..backup_spec() });
        let submission = Submission {
            key: "k".into(),
            spec,
            fresh: false,
            job_id: JOB.into(),
            backup_id: "20261122T145053Z-0001".into(),
            trace_parent: String::new(),
        };
        let reply = self.reply();
        self.apply(vec![Event::Submit(reply, Box::new(submission))]);
        self.act();
        self.held = self.lease(&[0]);
    }

    /// Tells what was seen: all shards are planned and journaled.
    pub fn plan(&mut self) {
        self.complete();
        self.act();
    }

    /// What stands before the first shard: the schema, and the look behind it. Then everybody leases.
    pub fn begin(&mut self) {
        for _ in 0..2 {
            self.held = self.lease(&[0]);
            self.complete();
        }
        self.lease_all();
    }

    /// Everybody completes what it holds and leases again: how many did.
    pub fn take_turns(&mut self) -> u64 {
        self.complete();
        self.lease_all();
        self.now.ms += 200;
        self.apply(vec![Event::Tick]);
        self.held.len() as u64
    }

    fn lease_all(&mut self) {
        let everybody: Vec<usize> = (0..WORKERS).collect();
        self.held = self.lease(&everybody);
    }

    /// All workers report, with what they hold.
    pub fn report(&mut self) {
        let mut events = Vec::new();
        for number in 0..WORKERS {
            let leases = self.held.get(&number).map(renewal).into_iter().collect();
            let hello = v1::WorkerHello { data_center: data_center(number as u64), ..hello(&name(number)) };
            let report = v1::AttendRequest { hello: Some(hello), sequence: 1, leases, draining: false };
            events.push(Event::Report(self.reply(), report));
        }
        self.apply(events);
        self.answers.clear();
    }

    /// The job as clients see it.
    pub fn job(&self) -> v1::Job {
        self.core.job(JOB).expect("a job")
    }

    /// These workers poll for one assignment each.
    fn lease(&mut self, workers: &[usize]) -> BTreeMap<usize, v1::Assignment> {
        let proof = v1::Proof { job_id: JOB.into(), nonce: "nonce".into(), failure: None };
        let mut events = Vec::new();
        let mut asked = BTreeMap::new();
        for number in workers {
            let reply = self.reply();
            asked.insert(reply, *number);
            let proofs = vec![proof.clone()];
            let request = v1::LeaseRequest { worker_id: name(*number), assignments_max: 1, wait_ms: 0, proofs };
            events.push(Event::Lease(reply, request));
        }
        self.apply(events);
        let mut leased = BTreeMap::new();
        for (reply, number) in asked {
            match self.answers.remove(&reply) {
                Some(Answer::Leased(response)) => {
                    leased.extend(response.assignments.into_iter().map(|assignment| (number, assignment)));
                }
                other => panic!("{other:?}"),
            }
        }
        leased
    }

    fn complete(&mut self) {
        self.answers.clear();
        let held = std::mem::take(&mut self.held);
        let mut events = Vec::new();
        for (number, assignment) in held {
            let request = whole(&name(number), &assignment, &self.cluster);
            events.push(Event::Complete(self.reply(), Box::new(request)));
        }
        self.apply(events);
        assert!(self.answers.values().all(|answer| matches!(answer, Answer::Completed(done) if done.ended)));
        self.answers.clear();
    }
}

fn name(worker: usize) -> String {
    format!("w{worker}")
}

fn data_center(number: u64) -> String {
    format!("dc{}", number % 2)
}

fn node(number: u64) -> v1::InspectedNode {
    let data_center = data_center(number);
    v1::InspectedNode { host_id: format!("node {number}"), data_center, ..v1::InspectedNode::default() }
}

fn token(place: i128) -> v1::RingToken {
    let token = i64::try_from((place + 1) * ((1 << 64) / 1600) - (1 << 63)).expect("on the ring");
    v1::RingToken { token, node: u32::try_from(place % 100).expect("small") }
}
