//! A model worker around the real lease keeper: it reports when the keeper says so, polls, and sends the pieces of its
//! assignments one by one, each until it is answered. Its clock has its own zero and its own speed.

use std::{collections::BTreeMap, time::Duration};

use ringvault_proto::{
    error::{ErrorKind, Failure},
    ids::Epoch,
    v1::{self, assignment::Work},
};
use ringvault_runtime::{
    entropy::Entropy,
    lease_keeper::{Lease, LeaseKeeper},
};

use super::{
    network::Link,
    work::{Model, messages},
};

/// Speeds of workers' clocks, in thousandths of the coordinator's. Work stops at two thirds of the TTL, and a grant counts
/// from a wait of up to 30 s that the coordinator measured, so the design holds for every clock that runs at more than five
/// sixths of the coordinator's speed. Real ones are off by far less than what is simulated.
pub(super) const CLOCK_PER_MILLE: std::ops::RangeInclusive<u64> = 850..=1150;

/// Assignments at once.
const SLOTS: usize = 3;

/// What a worker believes to be the TTL before it is told.
const TTL_ASSUMED: Duration = Duration::from_secs(30);

/// A worker's own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SkewedClock {
    pub(super) offset_ms: u64,
    pub(super) per_mille: u64,
}

impl SkewedClock {
    /// What it shows, at a time of the world.
    pub(super) fn at(self, world_ms: u64) -> Duration {
        Duration::from_micros(self.offset_ms * 1000 + world_ms * self.per_mille)
    }

    /// When it shows that, in time of the world, rounded up.
    pub(super) fn when(self, shown: Duration) -> u64 {
        let micros = u64::try_from(shown.as_micros()).unwrap_or(u64::MAX);
        micros.saturating_sub(self.offset_ms * 1000).div_ceil(self.per_mille)
    }
}

/// An assignment that it works on.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) lease: v1::LeaseId,
    /// Of a dump: table and fingerprint that it was told.
    dumps: Option<(String, String)>,
    /// The first of `rest` was sent at least once.
    sent: bool,
    /// Messages that are still to be sent; the last one says that all is sent.
    rest: Vec<v1::CompleteRequest>,
    /// Messages that were answered.
    pub(super) rows: u64,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    /// Stopped until then; what reaches it waits.
    Frozen {
        until_ms: u64,
    },
    Dead,
}

/// A worker process.
#[derive(Debug)]
pub(super) struct ModelWorker {
    pub(super) id: String,
    pub(super) clock: SkewedClock,
    pub(super) keeper: LeaseKeeper,
    /// By assignment; a newer lease of the same replaces the older.
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) proofs: Vec<v1::Proof>,
    /// Since when a poll is under way, by its own clock.
    pub(super) polling: Option<Duration>,
    pub(super) life: Life,
    /// It has just been continued, and what it was about to send goes out before it looks at its clock.
    pub(super) is_zombie: bool,
    pub(super) draining: bool,
    pub(super) link: Link,
    sequence: u64,
}

impl ModelWorker {
    pub(super) fn new(id: String, clock: SkewedClock) -> Self {
        Self {
            id,
            clock,
            keeper: LeaseKeeper::new(TTL_ASSUMED),
            tasks: BTreeMap::new(),
            proofs: Vec::new(),
            polling: None,
            life: Life::Alive,
            is_zombie: false,
            draining: false,
            link: Link::default(),
            sequence: 0,
        }
    }

    /// Whether its keeper lets it work under a lease now.
    pub(super) fn may_work(&self, world_ms: u64, lease: &v1::LeaseId) -> bool {
        self.life != Life::Dead
            && self.tasks.get(&lease.assignment_id).is_some_and(|task| task.lease == *lease)
            && self.keeper.stops_at(&keeper_lease(lease)).is_some_and(|stop| stop > self.clock.at(world_ms))
    }

    pub(super) fn report(&mut self) -> v1::AttendRequest {
        self.sequence += 1;
        let leases = self.tasks.values().map(|task| v1::LeaseProgress {
            lease: Some(task.lease.clone()),
            rows: task.rows,
            ..v1::LeaseProgress::default()
        });
        v1::AttendRequest {
            hello: Some(v1::WorkerHello {
                worker_id: self.id.clone(),
                name: self.id.clone(),
                slots: u32::try_from(SLOTS).expect("small"),
                clusters: vec!["prod".into()],
                ..v1::WorkerHello::default()
            }),
            sequence: self.sequence,
            leases: leases.collect(),
            draining: self.draining,
        }
    }

    pub(super) fn free_slots(&self) -> usize {
        SLOTS.saturating_sub(self.tasks.len())
    }

    pub(super) fn poll(&mut self) -> v1::LeaseRequest {
        v1::LeaseRequest {
            worker_id: self.id.clone(),
            assignments_max: u32::try_from(self.free_slots().max(1)).expect("small"),
            wait_ms: 20_000,
            proofs: std::mem::take(&mut self.proofs),
        }
    }

    pub(super) fn take(&mut self, assignment: &v1::Assignment, entropy: &Entropy, model: &Model) {
        let lease = assignment.lease.clone().expect("a lease");
        let dumps = match assignment.work.as_ref() {
            Some(Work::Dump(shard)) => {
                let table = shard.table.clone().expect("a table");
                Some((table.table.expect("a name").table, table.fingerprint))
            }
            _ => None,
        };
        let rest = messages(&self.id, assignment, entropy, model);
        let task = Task { rest, lease: lease.clone(), dumps, sent: false, rows: 0 };
        self.tasks.insert(lease.assignment_id, task);
    }

    /// Stops what runs under exactly this lease.
    pub(super) fn abandon(&mut self, lease: &Lease) -> bool {
        let id = lease.assignment.to_string();
        let same = self.tasks.get(&id).is_some_and(|task| task.lease.epoch == lease.epoch.0);
        if same {
            self.tasks.remove(&id);
        }
        same
    }

    /// What it sends next of each task; nothing instead of the first or last message of a dump whose table was altered.
    pub(super) fn next_messages(&mut self, model: &Model) -> Vec<(v1::LeaseId, u64, Option<v1::CompleteRequest>)> {
        let mut next = Vec::new();
        for task in self.tasks.values_mut() {
            let Some(request) = task.rest.first_mut() else { continue };
            let altered = task.dumps.as_ref().is_some_and(|(table, told)| model.fingerprint(table) != *told);
            if !task.sent && altered && (request.ended || task.rows == 0) {
                next.push((task.lease.clone(), task.rows, None));
                continue;
            }
            if !std::mem::replace(&mut task.sent, true) {
                model.fill(request);
            }
            next.push((task.lease.clone(), task.rows, Some(request.clone())));
        }
        next
    }

    /// What becomes of a task when its `number`th message was answered; tells whether its work has ended here. Answers to
    /// repetitions of earlier ones are late.
    pub(super) fn answered(&mut self, lease: &v1::LeaseId, number: u64, answer: Result<bool, Failure>) -> bool {
        let task = self.tasks.get_mut(&lease.assignment_id);
        let Some(task) = task.filter(|task| task.lease == *lease && task.rows == number) else { return false };
        match answer {
            Ok(true) => {}
            Ok(false) => {
                assert!(task.rest.len() > 1, "the last message of {lease:?} must end it");
                task.rest.remove(0);
                task.sent = false;
                task.rows += 1;
                return false;
            }
            Err(failure) if failure.kind == ErrorKind::Fenced => {}
            Err(failure) => {
                assert_eq!(failure.kind, ErrorKind::Unavailable, "{lease:?}: {failure}");
                return false;
            }
        }
        self.tasks.remove(&lease.assignment_id);
        true
    }
}

/// A lease as the keeper names it.
pub(super) fn keeper_lease(lease: &v1::LeaseId) -> Lease {
    Lease { assignment: lease.assignment_id.parse().expect("an id"), epoch: Epoch(lease.epoch) }
}
