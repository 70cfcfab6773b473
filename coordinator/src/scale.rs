//! A large fleet on the real core and the real journal, in events as the owner task applies them: how long a plan takes,
//! how many leases are granted a second, how long a look at a job takes, how much memory it needs.
//!
//! `RINGVAULT_SCALE_SHARDS=1000000 cargo test --workspace --release --lib scale:: -- --nocapture` measures; the
//! numbers are told on standard error. Time is never judged here, only what comes out.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

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

/// Shards where nobody asks for more.
const SHARDS: u64 = 20_000;

const WORKERS: usize = 1000;

const TABLES: u64 = 16;

/// Events before one commit, as the owner task takes them.
const BATCH: usize = 256;

/// A coordinator without its task.
struct Process {
    core: Core,
    store: Store,
    now: Now,
    replies: u64,
    answers: BTreeMap<ReplyId, Answer>,
    actions: Vec<(String, u64, Action)>,
    cluster: v1::InspectResult,
}

impl Process {
    fn open(dir: &std::path::Path, shards: u64) -> Self {
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
        let mut process = Self { core, store, now, replies: 0, answers, actions, cluster: inspected };
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

    /// All workers report, with what they hold.
    fn report(&mut self, held: &BTreeMap<usize, v1::Assignment>) {
        let mut events = Vec::new();
        for number in 0..WORKERS {
            let leases = held.get(&number).map(renewal).into_iter().collect();
            let hello = v1::WorkerHello { data_center: data_center(number as u64), ..hello(&name(number)) };
            let report = v1::AttendRequest { hello: Some(hello), sequence: 1, leases, draining: false };
            events.push(Event::Report(self.reply(), report));
        }
        self.apply(events);
        self.answers.clear();
    }

    /// These workers poll for one assignment each.
    fn lease(&mut self, workers: &[usize], job: &str) -> BTreeMap<usize, v1::Assignment> {
        let proof = v1::Proof { job_id: job.into(), nonce: "nonce".into(), failure: None };
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

    fn complete(&mut self, held: BTreeMap<usize, v1::Assignment>) {
        self.answers.clear();
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

/// Resident memory of this process, where the system tells it, in MiB.
fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Time that this process was on a processor, where the system tells it.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name: state, ten numbers, then the hundredths of a second in user and system mode.
    let times = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Duration::from_millis(times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// A stretch of work that is measured.
struct Stretch {
    begun: Instant,
    processor: Duration,
}

impl Stretch {
    fn begin() -> Self {
        Self { begun: Instant::now(), processor: processor_time() }
    }

    fn tell(self, what: &str, count: u64) {
        let (took, processor) = (self.begun.elapsed(), processor_time().saturating_sub(self.processor));
        let rate = |time: Duration| count * 1000 / u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let line = format!(
            "{what}: {count} in {took:.2?} ({}/s), of it {processor:.2?} on a processor ({}/s); memory {} MiB",
            rate(took),
            rate(processor),
            memory_mib()
        );
        writeln!(std::io::stderr(), "{line}").expect("standard error is open");
    }
}

#[test]
fn a_thousand_workers_share_very_many_shards_of_a_job() {
    let asked: u64 = std::env::var("RINGVAULT_SCALE_SHARDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SHARDS);
    let shards = asked.next_multiple_of(TABLES);
    let dir = tempfile::tempdir().expect("a directory");
    let mut process = Process::open(dir.path(), shards);
    let everybody: Vec<usize> = (0..WORKERS).collect();
    process.report(&BTreeMap::new());
    let shards_per_table = u32::try_from(shards / TABLES).expect("small");
    let spec = backup_job(v1::BackupSpec { shards_per_table, tables_parallel: 4, ..backup_spec() });
    let submission = Submission {
        key: "k".into(),
        spec,
        fresh: false,
        job_id: "j1".into(),
        backup_id: "20261122T145053Z-0001".into(),
        trace_parent: String::new(),
    };
    let reply = process.reply();
    process.apply(vec![Event::Submit(reply, Box::new(submission))]);
    process.act();
    let inspect = process.lease(&[0], "j1");
    let stretch = Stretch::begin();
    process.complete(inspect);
    process.act();
    stretch.tell("shards planned", shards);
    // The schema, and the look behind it.
    for _ in 0..2 {
        let one = process.lease(&[0], "j1");
        process.complete(one);
    }
    let mut held = process.lease(&everybody, "j1");
    assert_eq!(held.len(), WORKERS);
    process.report(&held);
    let rounds = (shards / WORKERS as u64 / 2).clamp(1, 50);
    let stretch = Stretch::begin();
    let mut granted = 0;
    for round in 0..rounds {
        process.complete(std::mem::take(&mut held));
        held = process.lease(&everybody, "j1");
        granted += held.len() as u64;
        process.now.ms += 200;
        process.apply(vec![Event::Tick]);
        if round % 5 == 0 {
            process.report(&held);
        }
    }
    stretch.tell("grants, each with its completion, and reports of all", granted);
    let stretch = Stretch::begin();
    let job = process.core.job("j1").expect("a job");
    let figures = process.core.figures(process.now);
    stretch.tell("looks at the job and at all figures", 1);
    let all: u64 = job.tables.iter().map(|table| table.shards).sum();
    let done: u64 = job.tables.iter().map(|table| table.shards_done).sum();
    assert_eq!((all, figures.leases, u64::from(job.workers)), (shards, WORKERS as u64, WORKERS as u64));
    assert!(done >= granted - WORKERS as u64 && done < shards, "{done} of {shards}");
    drop(process);
    let stretch = Stretch::begin();
    let process = Process::open(dir.path(), shards);
    stretch.tell("shards loaded at a restart", shards);
    assert_eq!(process.core.job("j1").expect("a job").tables.iter().map(|table| table.shards_done).sum::<u64>(), done);
}
