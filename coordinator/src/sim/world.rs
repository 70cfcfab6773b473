//! The world of a simulation: an event queue, and all who act in it.
//!
//! - `process`: the coordinator's process: mailbox, batches, commits, crashes, its repository
//! - `fleet`: workers, and what happens to them
//! - `client`: those who submit, pause, drain and limit
//!
//! Time is a number. The coordinator's clock starts anew with each of its processes, a worker's has a speed of its own.

mod client;
mod fleet;
mod process;

use std::collections::{BTreeMap, BTreeSet};

use ringvault_proto::v1;
use ringvault_runtime::entropy::Entropy;

use self::{client::Client, process::Process};
use super::{
    history::History,
    invariants::Judge,
    journal::ModelJournal,
    network::{Link, Way, fate},
    work::Model,
    worker::ModelWorker,
};
use crate::{
    core::event::{Action, Answer, Event, Publication},
    name::TableKey,
    settings::Settings,
};

/// Faults end here, so that what remains must come to an end by itself.
const FAULTS_UNTIL_MS: u64 = 150_000;

/// A world that is not done by then never will be.
const END_MS: u64 = 3_600_000;

/// What is due at some time.
#[derive(Debug)]
pub(super) enum Due {
    /// A message reaches the coordinator.
    Arrive(Origin, Box<Event>),
    /// An answer reaches a worker.
    Answer(usize, Asked, Answer),
    /// A commit of a process of the coordinator ends.
    Committed { process: u64 },
    /// A process of the coordinator acts in the repository.
    Act { process: u64, job: String, run: u64, action: Action },
    /// It hears what came of it.
    Acted { process: u64, event: Box<Event> },
    /// Its timer.
    Tick,
    /// A worker looks at its clock and goes on.
    Wake(usize),
    /// A client looks at its job.
    Client(usize),
    /// Somebody pauses, drains, limits.
    Operator,
    /// Something goes wrong.
    Fault,
    /// The coordinator is started again.
    Restart,
}

/// Who asked for what.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Worker(usize, Asked),
    Client,
    Operator,
}

/// What a worker asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Report,
    /// Work, at that time of its own clock.
    Lease(std::time::Duration),
    Complete(v1::LeaseId, u64),
    Fail,
    Return,
}

pub(super) struct World {
    pub(super) history: History,
    entropy: Entropy,
    settings: Settings,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    /// What is committed.
    kept: ModelJournal,
    process: Process,
    judge: Judge,
    workers: Vec<ModelWorker>,
    clients: Vec<Client>,
    client_link: Link,
    manifests: BTreeMap<String, Publication>,
    /// Chunks that were written to the target.
    restored: BTreeSet<(String, u64, u32)>,
    /// Jobs whose scratch keyspace a worker dropped.
    scrapped: BTreeSet<String>,
    /// The first rules that were told for a table of a job.
    rules: BTreeMap<(String, TableKey), v1::RowRules>,
    model: Model,
    done: bool,
}

impl World {
    /// The world of a number; `full`: its history is written down in full.
    pub(super) fn new(seed: u64, full: bool) -> Self {
        let entropy = Entropy::seeded(seed);
        let embedded = entropy.u64().is_multiple_of(5);
        let settings = if embedded { Settings::embedded() } else { Settings::fleet() };
        let mut world = Self {
            history: History::new(full),
            entropy,
            settings,
            now_ms: 1000,
            queue: BTreeMap::new(),
            sequence: 0,
            kept: ModelJournal::default(),
            process: Process::default(),
            judge: Judge::default(),
            workers: Vec::new(),
            clients: Vec::new(),
            client_link: Link::default(),
            manifests: BTreeMap::new(),
            restored: BTreeSet::new(),
            scrapped: BTreeSet::new(),
            rules: BTreeMap::new(),
            model: Model { mismatch: seed.is_multiple_of(3), ..Model::default() },
            done: false,
        };
        for due in [Due::Restart, Due::Fault, Due::Tick, Due::Operator] {
            world.after(0, due);
        }
        world.start_clients(seed);
        for _ in 0..2 + world.below(3) {
            world.start_worker();
        }
        world
    }

    fn below(&self, bound: u64) -> u64 {
        self.entropy.u64() % bound
    }

    fn pick<T: Copy>(&self, from: &[T]) -> Option<T> {
        let bound = u64::try_from(from.len()).expect("small");
        (bound > 0).then(|| from[usize::try_from(self.below(bound)).expect("small")])
    }

    fn is_faulty(&self) -> bool {
        self.now_ms < FAULTS_UNTIL_MS
    }

    fn chance(&self, per_mille: u64) -> bool {
        self.is_faulty() && self.below(1000) < per_mille
    }

    fn after(&mut self, ms: u64, due: Due) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + ms, self.sequence), due);
    }

    pub(super) fn run(&mut self) {
        while !self.done {
            let ((at, _), due) = self.queue.pop_first().expect("the world goes on by itself");
            self.now_ms = self.now_ms.max(at);
            assert!(self.now_ms < END_MS, "nothing comes to an end: {:?}", self.kept.jobs.values().collect::<Vec<_>>());
            self.history.note(self.now_ms, || format!("{due:?}"));
            self.happen(due);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrive(from, event) => self.arrive(from, *event),
            Due::Answer(worker, asked, answer) => self.hear(worker, asked, answer),
            Due::Committed { process } => self.committed(process),
            Due::Act { process, job, run, action } => self.act(process, job, run, action),
            Due::Acted { process, event } => self.acted(process, *event),
            Due::Tick => self.tick(),
            Due::Wake(worker) => self.wake(worker),
            Due::Client(client) => self.client(client),
            Due::Operator => self.operate(),
            Due::Fault => self.fault(),
            Due::Restart => self.restart(),
        }
    }

    /// Sends a message to the coordinator over the network.
    fn send(&mut self, from: &Origin, event: impl Fn() -> Event) {
        let link = match from {
            Origin::Worker(number, _) => self.workers[*number].link,
            Origin::Client | Origin::Operator => self.client_link,
        };
        for delay in self.fate(link, Way::Up) {
            self.after(delay, Due::Arrive(from.clone(), Box::new(event())));
        }
    }

    fn fate(&mut self, link: Link, way: Way) -> Vec<u64> {
        let fate = fate(link, way, self.now_ms, self.is_faulty(), |bound| self.below(bound));
        if let Some(met) = fate.met {
            self.history.meet(met);
        }
        fate.arrivals
    }
}
