//! What will happen to a fleet, drawn from a seed before anything happens: the same seed gives the same events in the
//! same order. When exactly each one hits depends on the machine.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// How long a lease lives in these tests: short, so that a stop outlasts it soon.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(4);
/// A stop, longer than twice the TTL: the lease is surely another's by then.
pub(crate) const STOPPED_FOR: Duration = Duration::from_millis(9_000);
/// How long no connection carries anything: longer than two thirds of the TTL, so that work is given up, and shorter than
/// what takes a connection for dead.
pub(crate) const HELD_UP_FOR: Duration = Duration::from_millis(4_000);
/// A database node is down at least so long.
pub(crate) const NODE_DOWN_FOR: Duration = Duration::from_secs(4);
/// Between two events.
const PAUSE_MS: std::ops::Range<u64> = 400..2_200;
/// Events that may come while a worker is stopped.
const WHILE_STOPPED: usize = 2;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// SIGKILL, and a new process.
    KillWorker(usize),
    /// SIGSTOP.
    StopWorker(usize),
    /// SIGCONT, once the stop has lasted.
    ContinueWorker(usize),
    /// SIGKILL, and a new process on the same state directory.
    KillCoordinator,
    /// SIGSTOP, SIGCONT after it has lasted.
    StopCoordinator,
    /// Every connection is cut.
    Cut,
    /// Every connection carries nothing any more, not even its end.
    Strand,
    /// No connection carries anything for a while.
    HoldUp,
    /// A database node is killed; it starts again meanwhile.
    KillNode(usize),
}

impl Event {
    /// Whether it is a kill or a stop of one of our processes.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::KillWorker(_) | Self::StopWorker(_) | Self::KillCoordinator | Self::StopCoordinator)
    }
}

/// An event and the pause before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) event: Event,
}

/// Events of one deck, each worker a place to be drawn: nine hits, and every kind at least once.
const DECK: &[Event] = &[
    Event::KillWorker(0),
    Event::KillWorker(0),
    Event::KillWorker(0),
    Event::KillWorker(0),
    Event::StopWorker(0),
    Event::StopWorker(0),
    Event::KillCoordinator,
    Event::KillCoordinator,
    Event::StopCoordinator,
    Event::Cut,
    Event::Strand,
    Event::HoldUp,
    Event::KillNode(0),
];

/// At least `hits` kills and stops among `workers` workers and the coordinator, and all else that comes with them.
pub(crate) fn plan(seed: u64, hits: usize, workers: usize, nodes: usize) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut steps: Vec<Step> = Vec::new();
    while steps.iter().filter(|step| step.event.is_hit()).count() < hits {
        let mut deck = DECK.to_vec();
        deck.shuffle(&mut random);
        deal(&deck, workers, nodes, &mut random, &mut steps);
    }
    steps
}

fn deal(deck: &[Event], workers: usize, nodes: usize, random: &mut StdRng, steps: &mut Vec<Step>) {
    let mut stopped: Vec<(usize, usize)> = Vec::new();
    let running = |stopped: &[(usize, usize)], random: &mut StdRng| loop {
        let worker = random.random_range(0..workers);
        if stopped.iter().all(|(other, _)| *other != worker) {
            return worker;
        }
    };
    for event in deck {
        let event = match *event {
            Event::KillWorker(_) => Event::KillWorker(running(&stopped, random)),
            Event::StopWorker(_) => Event::StopWorker(running(&stopped, random)),
            // The first node is asked first by everybody; it may go too.
            Event::KillNode(_) => Event::KillNode(random.random_range(0..nodes)),
            other => other,
        };
        steps.push(Step { pause: Duration::from_millis(random.random_range(PAUSE_MS)), event });
        for (_, left) in &mut stopped {
            *left -= 1;
        }
        if let Event::StopWorker(worker) = event {
            stopped.push((worker, WHILE_STOPPED));
        }
        stopped.retain(|(worker, left)| {
            if *left == 0 {
                steps.push(Step { pause: Duration::ZERO, event: Event::ContinueWorker(*worker) });
            }
            *left > 0
        });
    }
    let rest = stopped.into_iter().map(|(worker, _)| Event::ContinueWorker(worker));
    steps.extend(rest.map(|event| Step { pause: Duration::ZERO, event }));
}

/// The plan keeps what it says; needs no cluster.
pub(crate) fn is_repeatable() -> Result<()> {
    for seed in 0..200 {
        let steps = plan(seed, 50, 4, 3);
        ensure!(steps == plan(seed, 50, 4, 3), "seed {seed} gave two plans");
        let hits = steps.iter().filter(|step| step.event.is_hit()).count();
        ensure!((50..60).contains(&hits), "seed {seed} gave {hits} hits");
        let mut stopped = BTreeSet::new();
        for step in &steps {
            let fits = match step.event {
                Event::StopWorker(worker) => stopped.insert(worker),
                Event::ContinueWorker(worker) => stopped.remove(&worker),
                Event::KillWorker(worker) => !stopped.contains(&worker),
                _ => true,
            };
            ensure!(fits, "seed {seed}: {:?} while {stopped:?} are stopped", step.event);
        }
        ensure!(stopped.is_empty(), "seed {seed}: {stopped:?} stay stopped");
    }
    ensure!(plan(1, 50, 4, 3) != plan(2, 50, 4, 3), "seeds give the same plan");
    Ok(())
}
