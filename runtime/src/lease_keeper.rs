//! The worker's half of the lease protocol, pure: `apply(now, event) → actions`.
//!
//! A lease is counted from the moment the report that renewed it was *sent*, a new one from the earliest moment at which it
//! can have been granted; reports go out at a third of the TTL, and work stops by itself at two thirds, so that a worker
//! that is cut off ends before the coordinator gives its shard to another: whatever the network does, as long as its
//! clock runs at more than five sixths of the coordinator's. Correctness does not rest on it (a stale epoch is refused),
//! work not being done twice does.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ringvault_proto::ids::{AssignmentId, Epoch};

/// Reports whose answers are awaited; older ones are forgotten, their answers renew nothing.
const REPORTS_AWAITED_MAX: usize = 16;

/// A lease by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// What is leased.
    pub assignment: AssignmentId,
    /// Which grant of it.
    pub epoch: Epoch,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The coordinator granted a lease.
    Granted {
        /// The lease.
        lease: Lease,
        /// How long it lasts.
        ttl: Duration,
        /// From when on: when the request for work was sent, and as long as the coordinator let it wait. Not when the
        /// answer came, which may have been under way for long.
        since: Duration,
    },
    /// A report that names all held leases was sent.
    Reported {
        /// Its number.
        sequence: u64,
    },
    /// The coordinator answered a report.
    Acknowledged {
        /// The report's number.
        sequence: u64,
        /// Leases that go on.
        renewed: Vec<Lease>,
        /// Leases that are no longer ours.
        lost: Vec<Lease>,
        /// How long the renewed ones last, from when the report was sent.
        ttl: Duration,
    },
    /// The work of a lease ended here, in whatever way.
    Ended(Lease),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a report now.
    Report,
    /// Stop this work at once.
    Abandon(Lease),
}

#[derive(Clone, Copy, Debug)]
struct Held {
    epoch: Epoch,
    stop_at: Duration,
}

/// Keeps the deadlines of all leases of one worker.
#[derive(Debug)]
pub struct LeaseKeeper {
    ttl: Duration,
    held: BTreeMap<AssignmentId, Held>,
    awaited: VecDeque<(u64, Duration)>,
    reported_at: Option<Duration>,
}

impl LeaseKeeper {
    /// A keeper of no lease; `ttl` stands until the coordinator says another.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, held: BTreeMap::new(), awaited: VecDeque::new(), reported_at: None }
    }

    /// Takes one event in.
    pub fn apply(&mut self, now: Duration, event: Event) -> Vec<Action> {
        match event {
            Event::Granted { lease, ttl, since } => self.granted(lease, ttl, since.min(now)),
            Event::Reported { sequence } => {
                self.reported_at = Some(now);
                self.awaited.push_back((sequence, now));
                if self.awaited.len() > REPORTS_AWAITED_MAX {
                    self.awaited.pop_front();
                }
                Vec::new()
            }
            Event::Acknowledged { sequence, renewed, lost, ttl } => self.acknowledged(sequence, &renewed, lost, ttl),
            Event::Ended(lease) => {
                if self.held.get(&lease.assignment).is_some_and(|held| held.epoch == lease.epoch) {
                    self.held.remove(&lease.assignment);
                }
                Vec::new()
            }
            Event::Tick => self.tick(now),
        }
    }

    /// The leases held now.
    pub fn held(&self) -> impl Iterator<Item = Lease> {
        self.held.iter().map(|(assignment, held)| Lease { assignment: assignment.clone(), epoch: held.epoch })
    }

    /// When the work of this lease must have stopped; nothing where it is not held.
    #[must_use]
    pub fn stops_at(&self, lease: &Lease) -> Option<Duration> {
        let held = self.held.get(&lease.assignment).filter(|held| held.epoch == lease.epoch);
        held.map(|held| held.stop_at)
    }

    /// When the next tick is worth its while.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        let report = self.reported_at.map_or(Duration::ZERO, |at| at + self.ttl / 3);
        self.held.values().map(|held| held.stop_at).chain([report]).min()
    }

    fn granted(&mut self, lease: Lease, ttl: Duration, since: Duration) -> Vec<Action> {
        self.ttl = ttl;
        let held = Held { epoch: lease.epoch, stop_at: since + ttl * 2 / 3 };
        match self.held.insert(lease.assignment.clone(), held) {
            Some(old) if old.epoch > lease.epoch => {
                self.held.insert(lease.assignment, old); // a late repetition of an older grant
                Vec::new()
            }
            Some(old) if old.epoch < lease.epoch => {
                vec![Action::Abandon(Lease { assignment: lease.assignment, epoch: old.epoch }), Action::Report]
            }
            Some(old) => {
                self.held.insert(lease.assignment, Held { stop_at: old.stop_at.max(held.stop_at), ..old });
                vec![Action::Report]
            }
            None => vec![Action::Report],
        }
    }

    fn acknowledged(&mut self, sequence: u64, renewed: &[Lease], lost: Vec<Lease>, ttl: Duration) -> Vec<Action> {
        self.ttl = ttl;
        let sent = self.awaited.iter().find(|(number, _)| *number == sequence).map(|(_, at)| *at);
        self.awaited.retain(|(number, _)| *number > sequence);
        if let Some(sent) = sent {
            for lease in renewed {
                if let Some(held) = self.held.get_mut(&lease.assignment).filter(|held| held.epoch == lease.epoch) {
                    held.stop_at = held.stop_at.max(sent + ttl * 2 / 3);
                }
            }
        }
        let mut actions = Vec::new();
        for lease in lost {
            if self.held.get(&lease.assignment).is_some_and(|held| held.epoch == lease.epoch) {
                self.held.remove(&lease.assignment);
                actions.push(Action::Abandon(lease));
            }
        }
        actions
    }

    fn tick(&mut self, now: Duration) -> Vec<Action> {
        let over: Vec<Lease> =
            self.held().filter(|lease| self.held.get(&lease.assignment).is_some_and(|h| h.stop_at <= now)).collect();
        let mut actions = Vec::new();
        for lease in over {
            self.held.remove(&lease.assignment);
            actions.push(Action::Abandon(lease));
        }
        if self.reported_at.is_none_or(|at| at + self.ttl / 3 <= now) {
            actions.push(Action::Report);
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn lease(epoch: u64) -> Lease {
        Lease { assignment: "a1".parse().expect("an id"), epoch: Epoch(epoch) }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn work_stops_by_itself_at_two_thirds_of_the_ttl() {
        let mut keeper = LeaseKeeper::new(TTL);
        keeper.apply(at(0), Event::Granted { lease: lease(1), ttl: TTL, since: at(0) });
        assert!(!keeper.apply(at(19), Event::Tick).contains(&Action::Abandon(lease(1))));
        assert!(keeper.apply(at(20), Event::Tick).contains(&Action::Abandon(lease(1))));
        assert_eq!(keeper.held().count(), 0);
    }

    #[test]
    fn a_grant_that_was_long_under_way_is_as_old_as_it_was_granted() {
        let mut keeper = LeaseKeeper::new(TTL);
        keeper.apply(at(25), Event::Granted { lease: lease(1), ttl: TTL, since: at(4) });
        assert!(keeper.apply(at(25), Event::Tick).contains(&Action::Abandon(lease(1))));
    }

    #[test]
    fn a_renewal_counts_from_when_the_report_was_sent() {
        let mut keeper = LeaseKeeper::new(TTL);
        keeper.apply(at(0), Event::Granted { lease: lease(1), ttl: TTL, since: at(0) });
        keeper.apply(at(10), Event::Reported { sequence: 1 });
        let answer = Event::Acknowledged { sequence: 1, renewed: vec![lease(1)], lost: vec![], ttl: TTL };
        keeper.apply(at(18), answer);
        assert!(!keeper.apply(at(29), Event::Tick).contains(&Action::Abandon(lease(1))));
        assert!(keeper.apply(at(30), Event::Tick).contains(&Action::Abandon(lease(1))));
    }

    #[test]
    fn an_answer_to_a_forgotten_report_renews_nothing() {
        let mut keeper = LeaseKeeper::new(TTL);
        keeper.apply(at(0), Event::Granted { lease: lease(1), ttl: TTL, since: at(0) });
        let answer = Event::Acknowledged { sequence: 9, renewed: vec![lease(1)], lost: vec![], ttl: TTL };
        keeper.apply(at(18), answer);
        assert!(keeper.apply(at(20), Event::Tick).contains(&Action::Abandon(lease(1))));
    }

    #[test]
    fn a_lost_lease_is_abandoned_but_not_a_newer_epoch_of_it() {
        let mut keeper = LeaseKeeper::new(TTL);
        keeper.apply(at(0), Event::Granted { lease: lease(2), ttl: TTL, since: at(0) });
        let stale = Event::Acknowledged { sequence: 1, renewed: vec![], lost: vec![lease(1)], ttl: TTL };
        assert_eq!(keeper.apply(at(1), stale), []);
        let current = Event::Acknowledged { sequence: 2, renewed: vec![], lost: vec![lease(2)], ttl: TTL };
        assert_eq!(keeper.apply(at(2), current), [Action::Abandon(lease(2))]);
    }

    #[test]
    fn a_late_repetition_of_an_older_grant_changes_nothing() {
        let mut keeper = LeaseKeeper::new(TTL);
        keeper.apply(at(0), Event::Granted { lease: lease(2), ttl: TTL, since: at(0) });
        assert_eq!(keeper.apply(at(1), Event::Granted { lease: lease(1), ttl: TTL, since: at(1) }), []);
        assert_eq!(keeper.held().collect::<Vec<_>>(), [lease(2)]);
    }

    #[test]
    fn a_report_is_due_at_a_third_of_the_ttl() {
        let mut keeper = LeaseKeeper::new(TTL);
        assert_eq!(keeper.apply(at(0), Event::Tick), [Action::Report]);
        keeper.apply(at(0), Event::Reported { sequence: 1 });
        assert_eq!(keeper.apply(at(9), Event::Tick), []);
        assert_eq!(keeper.apply(at(10), Event::Tick), [Action::Report]);
    }
}
