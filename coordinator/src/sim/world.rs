//! The world of a simulation: an event queue, the coordinator's process, its journal and its repository.

mod actors;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use ringvault_archive::index::TableIndex;
use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, assignment::Work},
};
use ringvault_runtime::entropy::Entropy;

use super::{
    Met,
    invariants::{Grants, judge, judge_grant, judge_publication},
    worker::{Model, ModelWorker},
};
use crate::{
    core::{
        Core,
        event::{Action, Answer, Effect, Event, LoadedBackup, Now, Outcome, Output, Publication, ReplyId},
        testing::{START_UNIX_MS, chunk_of},
    },
    journal::Store,
    name::TableKey,
    settings::Settings,
};

/// Faults end here, so that what remains must come to an end by itself.
const FAULTS_UNTIL_MS: u64 = 240_000;

/// A world that is not done by then never will be.
const END_MS: u64 = 3_600_000;

/// What a segment of a model table holds: none to three chunks.
pub(super) fn model_chunks(table: &str, segment: u64) -> Vec<v1::Chunk> {
    let parts = u32::try_from((segment + table.len() as u64) % 4).expect("small");
    (0..parts).map(|part| chunk_of(table, segment, part, segment + 1)).collect()
}

/// What is due at some time.
#[derive(Debug)]
enum Due {
    /// A message reaches the coordinator.
    Arrive(Origin, Box<Event>),
    /// An answer reaches a worker.
    Answer(usize, Asked, Answer),
    /// An action of a process of the coordinator ends.
    Acted {
        process: u64,
        event: Box<Event>,
    },
    Tick,
    Report(usize),
    Step(usize),
    Client,
    Fault,
    Restart,
}

/// What the client wants at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    Backup,
    Restore,
    Comparison,
    Rehearsal,
}

/// Who asked for what.
#[derive(Clone, Debug)]
enum Origin {
    Worker(usize, Asked),
    Client,
}

#[derive(Clone, Debug)]
enum Asked {
    Report,
    Lease,
    Complete(v1::LeaseId, u64),
    Fail,
}

pub(super) struct World {
    entropy: Entropy,
    settings: Settings,
    now_ms: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    due: BTreeMap<u64, Due>,
    sequence: u64,
    store: Store,
    core: Option<Core>,
    /// Number of the coordinator's process; outcomes of others are lost.
    process: u64,
    waiting: BTreeMap<ReplyId, Origin>,
    workers: Vec<ModelWorker>,
    grants: Grants,
    manifests: BTreeMap<String, Publication>,
    /// Chunks that were written to the target.
    restored: BTreeSet<(String, u64, u32)>,
    /// Jobs whose scratch keyspace a worker dropped.
    scrapped: BTreeSet<String>,
    /// The first rules that were told for a table of a job.
    rules: BTreeMap<(String, TableKey), v1::RowRules>,
    model: Model,
    /// What is restored.
    span: v1::TokenSpan,
    errand: Errand,
    done: bool,
    steps: u64,
    pub(super) met: Met,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let entropy = Entropy::seeded(seed);
        let embedded = entropy.u64().is_multiple_of(4);
        let settings = if embedded { Settings::embedded() } else { Settings::fleet() };
        let mut world = Self {
            entropy,
            settings,
            now_ms: 1000,
            queue: BinaryHeap::new(),
            due: BTreeMap::new(),
            sequence: 0,
            store: Store::in_memory().expect("SQLite"),
            core: None,
            process: 0,
            waiting: BTreeMap::new(),
            workers: Vec::new(),
            grants: Grants::default(),
            manifests: BTreeMap::new(),
            restored: BTreeSet::new(),
            scrapped: BTreeSet::new(),
            rules: BTreeMap::new(),
            model: Model { mismatch: seed.is_multiple_of(3), ..Model::default() },
            // Half of the ring, around its end.
            span: v1::TokenSpan { start: 1 << 62, end: -(1 << 62) },
            errand: Errand::Backup,
            done: false,
            steps: 0,
            met: Met::default(),
        };
        for due in [Due::Restart, Due::Client, Due::Fault, Due::Tick] {
            world.after(0, due);
        }
        for _ in 0..1 + world.below(3) {
            world.start_worker();
        }
        world
    }

    /// What tells two runs apart.
    pub(super) fn summary(&self) -> (u64, u64, Met, usize) {
        (self.now_ms, self.steps, self.met, self.workers.len())
    }

    fn below(&self, bound: u64) -> u64 {
        self.entropy.u64() % bound
    }

    fn chance(&self, percent: u64) -> bool {
        self.now_ms < FAULTS_UNTIL_MS && self.below(100) < percent
    }

    fn now(&self) -> Now {
        Now { ms: self.now_ms, unix_ms: START_UNIX_MS + self.now_ms }
    }

    fn after(&mut self, ms: u64, due: Due) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now_ms + ms, self.sequence)));
        self.due.insert(self.sequence, due);
    }

    pub(super) fn run(&mut self) {
        while !self.done {
            let Reverse((at, sequence)) = self.queue.pop().expect("the world goes on by itself");
            self.now_ms = self.now_ms.max(at);
            assert!(
                self.now_ms < END_MS,
                "nothing comes to an end: {:?}",
                self.core.as_ref().map(|core| core.jobs("", 5))
            );
            let due = self.due.remove(&sequence).expect("queued with it");
            self.steps += 1;
            self.happen(due);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrive(from, event) => self.arrive(from, *event),
            Due::Answer(worker, asked, answer) => self.hear(worker, asked, answer),
            Due::Acted { process, event } if process == self.process => self.apply(*event),
            Due::Acted { .. } => {}
            Due::Tick => {
                self.apply(Event::Tick);
                self.after(500, Due::Tick);
            }
            Due::Report(worker) => self.send_report(worker),
            Due::Step(worker) => self.step(worker),
            Due::Client => self.client(),
            Due::Fault => self.fault(),
            Due::Restart => self.restart(),
        }
    }

    /// Sends a message over the network: late, perhaps twice, perhaps never.
    fn send(&mut self, from: Origin, event: impl Fn() -> Event) {
        if self.chance(5) {
            return;
        }
        let delay = 1 + self.below(50);
        self.after(delay, Due::Arrive(from.clone(), Box::new(event())));
        if self.chance(5) {
            self.met.repeated += 1;
            let delay = 1 + self.below(60_000);
            self.after(delay, Due::Arrive(from, Box::new(event())));
        }
    }

    fn arrive(&mut self, from: Origin, mut event: Event) {
        if self.core.is_none() {
            return;
        }
        if let Event::Submit(_, submission) = &mut event {
            // Ids are drawn where a submission arrives, also a repeated one.
            submission.job_id = format!("j{}", self.entropy.suffix(9));
            submission.backup_id = format!("20261122T145053Z-{}", self.entropy.suffix(4));
        }
        self.sequence += 1;
        let reply = ReplyId(self.sequence);
        self.waiting.insert(reply, from);
        self.apply(with_reply(event, reply));
    }

    /// One event, one transaction; the process may die before or behind the commit.
    fn apply(&mut self, event: Event) {
        let Some(mut core) = self.core.take() else { return };
        let mut out = Output::default();
        let copy = copy_of_claim(&event);
        core.apply(self.now(), event, &mut out);
        if let Some(claim) = copy {
            self.grants.judge(&claim, &out.changes);
        }
        let crash = self.below(2000) < 4 && self.chance(100);
        if crash && self.below(2) == 0 {
            self.crash();
            return;
        }
        if !out.changes.is_empty() {
            self.store.commit(&out.changes).expect("a commit: no piece is recorded twice");
            if self.steps.is_multiple_of(16) {
                judge(&self.store.load().expect("load"));
            }
        }
        if crash {
            self.crash();
            return;
        }
        self.core = Some(core);
        for effect in out.effects {
            self.perform(effect);
        }
    }

    fn crash(&mut self) {
        self.met.crashes += 1;
        self.core = None;
        self.process += 1;
        self.waiting.clear();
        for worker in &mut self.workers {
            worker.polling = false;
            if !self.settings.leases_survive_restart {
                // The embedded worker dies with its process; what it sent may still be under way.
                worker.tasks.clear();
            }
        }
        let delay = 100 + self.below(40_000);
        self.after(delay, Due::Restart);
    }

    fn restart(&mut self) {
        let loaded = self.store.load().expect("load");
        judge(&loaded);
        let mut out = Output::default();
        let core = Core::load(self.settings.clone(), loaded, self.now(), &mut out).expect("sound records");
        self.store.commit(&out.changes).expect("a commit");
        self.core = Some(core);
        for effect in out.effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(reply, answer) => {
                if let Answer::Leased(response) = &answer {
                    let leases = response.assignments.iter().filter_map(|assignment| assignment.lease.as_ref());
                    let loaded = self.store.load().expect("load");
                    for assignment in &response.assignments {
                        judge_grant(assignment, &loaded);
                        self.judge_rules(assignment);
                    }
                    for lease in leases {
                        self.met.regrants += u64::from(lease.epoch > 1);
                        self.grants.told(lease);
                    }
                }
                if let Answer::Refused(failure) = &answer {
                    self.met.fenced += u64::from(failure.kind == ErrorKind::Fenced);
                }
                self.met.revived += u64::from(matches!(&answer, Answer::Submitted(response) if response.resumed));
                match self.waiting.remove(&reply) {
                    Some(Origin::Worker(worker, asked)) if !self.chance(5) => {
                        let delay = 1 + self.below(50);
                        self.after(delay, Due::Answer(worker, asked, answer));
                    }
                    Some(Origin::Worker(..)) | None => {}
                    Some(Origin::Client) => {
                        if let Answer::Refused(failure) = answer {
                            panic!("the client was refused: {failure}");
                        }
                    }
                }
            }
            Effect::Act { job, run, action, .. } => {
                let outcome = if self.chance(5) {
                    self.met.failed_actions += 1;
                    Err(Failure::new(ErrorKind::Unavailable, "the store is down"))
                } else {
                    Ok(self.act(&job, run, action))
                };
                let event = Box::new(Event::Acted { job, run, outcome });
                let delay = 1 + self.below(500);
                self.after(delay, Due::Acted { process: self.process, event });
            }
        }
    }

    /// What an action does to the model repository, even if nobody hears of it any more.
    fn act(&mut self, job: &str, run: u64, action: Action) -> Outcome {
        match action {
            Action::Open { .. } => Outcome::Opened { nonce: format!("{job} {run}"), object: format!("{job} {run}") },
            Action::LoadParents { .. } => Outcome::Parents(Vec::new()),
            Action::LoadBackup { backup_id, .. } => Outcome::Backup(Box::new(self.loaded_backup(&backup_id))),
            Action::Publish(publication) => {
                judge_publication(&publication);
                self.met.redumped += u64::from(publication.warnings.iter().any(|text| text.contains("dumped anew")));
                let known =
                    self.manifests.entry(publication.backup_id.clone()).or_insert_with(|| (*publication).clone());
                assert_eq!(known.finished_unix_ms, publication.finished_unix_ms, "one backup, one manifest");
                assert_eq!(known.tables, publication.tables);
                Outcome::Published
            }
            Action::DeleteProbe => Outcome::Published,
        }
    }

    /// A table's rows get the same rules in every lease of a job, whatever happened in between.
    fn judge_rules(&mut self, assignment: &v1::Assignment) {
        let (table, rules) = match assignment.work.as_ref() {
            Some(Work::Restore(shard)) => (shard.table.as_ref(), shard.rules.as_ref()),
            Some(Work::Verify(shard)) => (shard.table.as_ref(), shard.rules.as_ref()),
            Some(Work::Apply(apply)) if apply.stage() == v1::apply_schema::Stage::Scrap => {
                self.scrapped.insert(assignment.job_id.clone());
                return;
            }
            _ => return,
        };
        let (Some(name), Some(rules)) = (table.and_then(|table| table.table.clone()), rules) else { return };
        let known =
            self.rules.entry((assignment.job_id.clone(), TableKey::from(&name))).or_insert_with(|| rules.clone());
        assert_eq!(known, rules);
    }

    fn loaded_backup(&self, backup_id: &str) -> LoadedBackup {
        // A late repetition of a submission may have made another one.
        let named = self.manifests.get(backup_id);
        let publication = named.or_else(|| self.manifests.values().next()).expect("a backup was made");
        let tables = publication
            .tables
            .iter()
            .map(|(table, grid, chunks)| TableIndex::new(table.clone(), *grid, false, chunks.clone()).expect("sound"));
        LoadedBackup {
            backup_id: publication.backup_id.clone(),
            started_unix_ms: publication.started_unix_ms,
            cluster_name: "Test Cluster".into(),
            server_version: "5.0.6".into(),
            partial: false,
            keyspaces: vec!["shop".into()],
            all_tables: true,
            tables: tables.collect(),
        }
    }
}

/// The event with the id under which its answer is awaited.
fn with_reply(event: Event, reply: ReplyId) -> Event {
    match event {
        Event::Submit(_, submission) => Event::Submit(reply, submission),
        Event::Cancel(_, job) => Event::Cancel(reply, job),
        Event::Report(_, report) => Event::Report(reply, report),
        Event::Lease(_, request) => Event::Lease(reply, request),
        Event::Complete(_, request) => Event::Complete(reply, request),
        Event::Fail(_, request) => Event::Fail(reply, request),
        Event::Return(_, request) => Event::Return(reply, request),
        other => other,
    }
}

/// What a worker claims by an event, kept to be judged when the event is gone.
fn copy_of_claim(event: &Event) -> Option<Event> {
    match event {
        Event::Complete(reply, request) => Some(Event::Complete(*reply, request.clone())),
        Event::Fail(reply, request) => Some(Event::Fail(*reply, request.clone())),
        _ => None,
    }
}
