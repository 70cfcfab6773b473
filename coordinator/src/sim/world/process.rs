//! The coordinator's process: one task drains a mailbox, applies a batch, commits it, then performs what comes of it. It dies
//! at any moment: before a commit, while it is under way (which is then kept or not), amid its effects.

use std::collections::{BTreeMap, VecDeque};

use ringvault_archive::index::TableIndex;
use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1::{self, assignment::Work},
};

use super::{Asked, Due, Origin, World};
use crate::{
    core::{
        Core,
        event::{Action, Answer, Effect, Event, LoadedBackup, Now, Outcome, Output, ReplyId},
        testing::START_UNIX_MS,
    },
    name::TableKey,
    sim::{
        invariants::{judge_grant, judge_publication},
        network::Way,
    },
};

/// Messages applied before one commit.
const BATCH_MAX: usize = 256;

/// A process of the coordinator, or none.
#[derive(Default)]
pub(super) struct Process {
    pub(super) core: Option<Core>,
    /// How many there were before; what belongs to an earlier one is lost.
    number: u64,
    started_ms: u64,
    /// By how much the host's wall clock is off, in ms.
    wall_ms: u64,
    mailbox: VecDeque<(Option<Origin>, Event)>,
    /// What is being committed.
    pending: Option<Output>,
    waiting: BTreeMap<ReplyId, Origin>,
    ticks_waiting: bool,
    replies: u64,
}

impl World {
    fn now(&self) -> Now {
        let since = self.now_ms - self.process.started_ms;
        Now { ms: 1000 + since, unix_ms: START_UNIX_MS + self.now_ms + self.process.wall_ms }
    }

    /// The core as clients see it: what it holds is committed.
    pub(super) fn committed_core(&self) -> Option<&Core> {
        self.process.core.as_ref().filter(|_| self.process.pending.is_none())
    }

    pub(super) fn arrive(&mut self, from: Origin, mut event: Event) {
        if self.process.core.is_none() {
            return;
        }
        if let Event::Submit(_, submission) = &mut event {
            // Ids are drawn where a submission arrives, also a repeated one.
            submission.job_id = format!("j{}", self.entropy.suffix(9));
            submission.backup_id = format!("20261122T145053Z-{}", self.entropy.suffix(4));
        }
        self.process.mailbox.push_back((Some(from), event));
        self.pump();
    }

    pub(super) fn tick(&mut self) {
        if self.process.core.is_some() && !std::mem::replace(&mut self.process.ticks_waiting, true) {
            self.process.mailbox.push_back((None, Event::Tick));
        }
        self.pump();
        let pause = 200 + self.below(800);
        self.after(pause, Due::Tick);
    }

    pub(super) fn acted(&mut self, process: u64, event: Event) {
        if process == self.process.number && self.process.core.is_some() {
            self.process.mailbox.push_back((None, event));
            self.pump();
        }
    }

    /// Applies what waits, unless a commit is under way.
    fn pump(&mut self) {
        while self.process.pending.is_none() && !self.process.mailbox.is_empty() {
            let Some(mut core) = self.process.core.take() else { return };
            let mut out = Output::default();
            let batch = self.process.mailbox.len().min(BATCH_MAX);
            for (from, event) in self.process.mailbox.drain(..batch).collect::<Vec<_>>() {
                self.apply(&mut core, from, event, &mut out);
            }
            self.process.core = Some(core);
            if out.changes.is_empty() {
                self.perform(out.effects);
                continue;
            }
            self.process.pending = Some(out);
            let slow = self.chance(10);
            if slow {
                self.history.meet("slow commit");
            }
            let delay = if slow { 1000 + self.below(45_000) } else { 1 + self.below(8) };
            self.after(delay, Due::Committed { process: self.process.number });
            if self.chance(2) {
                return self.crash();
            }
        }
    }

    fn apply(&mut self, core: &mut Core, from: Option<Origin>, event: Event, out: &mut Output) {
        self.process.ticks_waiting &= !matches!(event, Event::Tick);
        self.process.replies += 1;
        let reply = ReplyId(self.process.replies);
        if let Some(from) = from {
            self.process.waiting.insert(reply, from);
        }
        let event = with_reply(event, reply);
        let claim = self.judge.claim(&event, core);
        let (changes, effects) = (out.changes.len(), out.effects.len());
        core.apply(self.now(), event, out);
        let (changes, effects) = (&out.changes[changes..], &out.effects[effects..]);
        self.history.note(self.now_ms, || format!("  {changes:?} {effects:?}"));
        self.judge.step(self.now_ms, &claim, (changes, effects), &self.workers, &self.settings, &mut self.history);
        self.judge.ends(&self.manifests);
    }

    /// A commit is on the disk.
    pub(super) fn committed(&mut self, process: u64) {
        if process != self.process.number {
            return;
        }
        let Some(out) = self.process.pending.take() else { return };
        self.kept.commit(&out.changes);
        let mut effects = out.effects;
        if self.chance(2) {
            self.history.meet("died amid its effects");
            let done = self.below(1 + u64::try_from(effects.len()).expect("small"));
            effects.truncate(usize::try_from(done).expect("small"));
            self.perform(effects);
            return self.crash();
        }
        self.perform(effects);
        self.pump();
    }

    /// The process dies; what it was committing is kept or not.
    pub(super) fn crash(&mut self) {
        if self.process.core.is_none() {
            return;
        }
        self.history.meet("coordinator died");
        if let Some(out) = self.process.pending.take() {
            if self.below(2) == 0 {
                self.history.meet("uncommitted lost");
            } else {
                self.history.meet("committed untold");
                self.kept.commit(&out.changes);
            }
        }
        self.process = Process { number: self.process.number + 1, ..Process::default() };
        self.connections_broke();
        let delay = 100 + self.below(40_000);
        self.after(delay, Due::Restart);
    }

    pub(super) fn restart(&mut self) {
        let wall_ms = self.below(4000);
        self.process.started_ms = self.now_ms;
        self.process.wall_ms = wall_ms;
        let mut out = Output::default();
        let core = Core::load(self.settings.clone(), self.kept.load(), self.now(), &mut out).expect("sound records");
        self.judge.restart(self.now_ms, self.kept.clone(), &core, &out.changes, &self.settings);
        self.process.core = Some(core);
        self.process.pending = Some(out);
        self.after(1, Due::Committed { process: self.process.number });
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(reply, answer) => self.answer(reply, answer),
                Effect::Act { job, run, action, .. } => {
                    let delay = 1 + self.below(500);
                    self.after(delay, Due::Act { process: self.process.number, job, run, action });
                }
            }
        }
    }

    fn answer(&mut self, reply: ReplyId, answer: Answer) {
        self.met_of(&answer);
        let granted = match &answer {
            Answer::Leased(response) => response.assignments.clone(),
            _ => Vec::new(),
        };
        for assignment in &granted {
            judge_grant(assignment, &self.kept);
            self.judge_rules(assignment);
            self.judge.told(assignment.lease.as_ref().expect("a lease"));
        }
        match self.process.waiting.remove(&reply) {
            Some(Origin::Worker(number, asked)) => {
                if !granted.is_empty() && self.chance(30) {
                    // The connection is gone, and the process sees that.
                    self.history.meet("undelivered");
                    let leases = granted.into_iter().filter_map(|assignment| assignment.lease).collect();
                    return self.process.mailbox.push_front((None, Event::Undelivered(leases)));
                }
                for delay in self.fate(self.workers[number].link, Way::Down) {
                    self.after(delay, Due::Answer(number, asked.clone(), answer.clone()));
                }
            }
            Some(Origin::Client) => {
                if let Answer::Refused(failure) = answer {
                    panic!("the client was refused: {failure}");
                }
            }
            Some(Origin::Operator) => self.operated(&answer),
            None => {}
        }
    }

    fn met_of(&mut self, answer: &Answer) {
        match answer {
            Answer::Refused(failure) if failure.kind == ErrorKind::Fenced => self.history.meet("fenced"),
            Answer::Submitted(response) if response.resumed => self.history.meet("revived"),
            Answer::Leased(response) => {
                let epochs = response.assignments.iter().filter_map(|assignment| assignment.lease.as_ref());
                if epochs.into_iter().any(|lease| lease.epoch > 1) {
                    self.history.meet("granted again");
                }
            }
            _ => {}
        }
    }

    /// What an action does to the model repository. One of a process that has died may happen all the same.
    pub(super) fn act(&mut self, process: u64, job: String, run: u64, action: Action) {
        if process != self.process.number && self.below(2) == 0 {
            return;
        }
        let outcome = if self.chance(50) {
            self.history.meet("action failed");
            Err(Failure::new(ErrorKind::Unavailable, "the store is down"))
        } else {
            Ok(self.outcome(&job, run, action))
        };
        let event = Box::new(Event::Acted { job, run, outcome });
        let delay = 1 + self.below(500);
        self.after(delay, Due::Acted { process, event });
    }

    fn outcome(&mut self, job: &str, run: u64, action: Action) -> Outcome {
        match action {
            Action::Open { .. } => Outcome::Opened { nonce: format!("{job} {run}"), object: format!("{job} {run}") },
            Action::LoadParents { .. } => Outcome::Parents(Vec::new()),
            Action::LoadBackup { backup_id, .. } => Outcome::Backup(Box::new(self.loaded_backup(&backup_id))),
            Action::Publish(publication) => {
                judge_publication(&publication);
                if publication.warnings.iter().any(|text| text.contains("dumped anew")) {
                    self.history.meet("dumped anew");
                }
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

    /// What a worker asked is asked in vain where the coordinator dies.
    fn connections_broke(&mut self) {
        for number in 0..self.workers.len() {
            self.workers[number].polling = None;
            if !self.settings.leases_survive_restart {
                // The embedded worker dies with its process; what it sent may still be under way.
                self.forget_work(number);
            }
        }
    }
}

/// The event with the id under which its answer is awaited.
fn with_reply(event: Event, reply: ReplyId) -> Event {
    match event {
        Event::Submit(_, submission) => Event::Submit(reply, submission),
        Event::Cancel(_, job) => Event::Cancel(reply, job),
        Event::Pause(_, job) => Event::Pause(reply, job),
        Event::Resume(_, job) => Event::Resume(reply, job),
        Event::Update(_, update) => Event::Update(reply, update),
        Event::Drain(_, drain) => Event::Drain(reply, drain),
        Event::SetLimits(_, limits) => Event::SetLimits(reply, limits),
        Event::Report(_, report) => Event::Report(reply, report),
        Event::Lease(_, request) => Event::Lease(reply, request),
        Event::Complete(_, request) => Event::Complete(reply, request),
        Event::Fail(_, request) => Event::Fail(reply, request),
        Event::Return(_, request) => Event::Return(reply, request),
        other @ (Event::Undelivered(_) | Event::Acted { .. } | Event::Tick) => other,
    }
}

impl Asked {
    /// Whether that answer can be one to this.
    pub(super) fn fits(&self, answer: &Answer) -> bool {
        matches!(
            (self, answer),
            (Self::Report, Answer::Attended(_))
                | (Self::Lease(_), Answer::Leased(_) | Answer::Refused(_))
                | (Self::Complete(..), Answer::Completed(_) | Answer::Refused(_))
                | (Self::Fail, Answer::Noted | Answer::Refused(_))
                | (Self::Return, Answer::Noted)
        )
    }
}
