//! Makes planned events happen, and counts them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ringvault_tests::cassandra::TestCluster;
use ringvault_tests::fleet::Fleet;
use ringvault_tests::proxy::Proxy;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::plan::{Event, HELD_UP_FOR, LEASE_TTL, NODE_DOWN_FOR, STOPPED_FOR, Step};

/// How often each kind of event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) killed_workers: u64,
    pub(crate) stopped_workers: u64,
    pub(crate) killed_coordinators: u64,
    pub(crate) stopped_coordinators: u64,
    pub(crate) cuts: u64,
    pub(crate) strandings: u64,
    pub(crate) hold_ups: u64,
    pub(crate) killed_nodes: u64,
}

impl Tally {
    /// Kills and stops of our processes.
    pub(crate) fn hits(&self) -> u64 {
        self.killed_workers + self.stopped_workers + self.killed_coordinators + self.stopped_coordinators
    }

    /// # Errors
    /// If a kind of event never happened.
    pub(crate) fn ensure_every_kind(&self) -> Result<()> {
        let all = [
            self.killed_workers,
            self.stopped_workers,
            self.killed_coordinators,
            self.stopped_coordinators,
            self.cuts,
            self.strandings,
            self.hold_ups,
            self.killed_nodes,
        ];
        ensure!(!all.contains(&0), "not every kind of event happened: {self}");
        Ok(())
    }
}

impl Tally {
    fn with(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            killed_workers: of(self.killed_workers, other.killed_workers),
            stopped_workers: of(self.stopped_workers, other.stopped_workers),
            killed_coordinators: of(self.killed_coordinators, other.killed_coordinators),
            stopped_coordinators: of(self.stopped_coordinators, other.stopped_coordinators),
            cuts: of(self.cuts, other.cuts),
            strandings: of(self.strandings, other.strandings),
            hold_ups: of(self.hold_ups, other.hold_ups),
            killed_nodes: of(self.killed_nodes, other.killed_nodes),
        }
    }
}

impl std::ops::Sub for Tally {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        self.with(before, |now, before| now - before)
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        self.with(more, |one, other| one + other)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} killed and {} stopped workers, {} killed and {} stopped coordinators, connections {} times cut, {} \
             stranded, {} held up, {} killed database nodes",
            self.killed_workers,
            self.stopped_workers,
            self.killed_coordinators,
            self.stopped_coordinators,
            self.cuts,
            self.strandings,
            self.hold_ups,
            self.killed_nodes
        )
    }
}

/// Takes the planned events one by one.
#[derive(Debug)]
pub(crate) struct Chaos {
    steps: VecDeque<Step>,
    proxy: Proxy,
    tally: Tally,
    stopped_at: BTreeMap<usize, Instant>,
    node: Option<JoinHandle<Result<()>>>,
}

impl Chaos {
    pub(crate) fn new(steps: Vec<Step>, proxy: Proxy) -> Self {
        Self { steps: steps.into(), proxy, tally: Tally::default(), stopped_at: BTreeMap::new(), node: None }
    }

    /// Events left.
    pub(crate) fn left(&self) -> usize {
        self.steps.len()
    }

    /// What happened so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The time until the next event; for ever where none is left.
    pub(crate) fn pause(&self) -> impl Future<Output = ()> + use<> {
        let pause = self.steps.front().map(|step| step.pause);
        async move {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Lets the next event happen; what it killed runs again afterwards.
    ///
    /// # Errors
    /// If a process can't be started, or ended by itself.
    pub(crate) async fn strike(&mut self, cluster: &Arc<TestCluster>, fleet: &mut Fleet<'_>) -> Result<()> {
        let Some(step) = self.steps.pop_front() else { return Ok(()) };
        fleet.ensure_running().with_context(|| format!("before {:?}", step.event))?;
        match step.event {
            Event::KillWorker(index) => {
                fleet.kill_worker(index).await?;
                fleet.start_worker(index)?;
                self.tally.killed_workers += 1;
            }
            Event::StopWorker(index) => {
                fleet.signal_worker(index, "STOP").await?;
                self.stopped_at.insert(index, Instant::now());
                self.tally.stopped_workers += 1;
            }
            Event::ContinueWorker(index) => self.go_on(fleet, index).await?,
            Event::KillCoordinator => {
                fleet.kill_coordinator().await?;
                fleet.start_coordinator()?;
                self.tally.killed_coordinators += 1;
            }
            Event::StopCoordinator => {
                fleet.signal_coordinator("STOP").await?;
                tokio::time::sleep(STOPPED_FOR).await;
                fleet.signal_coordinator("CONT").await?;
                self.tally.stopped_coordinators += 1;
            }
            Event::Cut => {
                self.proxy.cut();
                self.tally.cuts += 1;
            }
            Event::Strand => {
                self.proxy.strand();
                self.tally.strandings += 1;
            }
            Event::HoldUp => {
                self.proxy.hold_up();
                tokio::time::sleep(HELD_UP_FOR).await;
                self.proxy.let_go();
                self.tally.hold_ups += 1;
            }
            Event::KillNode(index) => {
                self.node_is_back().await?;
                cluster.kill_node(index);
                self.node = Some(tokio::task::spawn_blocking({
                    let (cluster, runtime) = (Arc::clone(cluster), tokio::runtime::Handle::current());
                    move || {
                        std::thread::sleep(NODE_DOWN_FOR);
                        runtime.block_on(cluster.restart_node(index))
                    }
                }));
                self.tally.killed_nodes += 1;
            }
        }
        Ok(())
    }

    async fn go_on(&mut self, fleet: &Fleet<'_>, index: usize) -> Result<()> {
        let Some(stopped_at) = self.stopped_at.remove(&index) else { return Ok(()) };
        tokio::time::sleep_until(stopped_at + STOPPED_FOR).await;
        fleet.signal_worker(index, "CONT").await
    }

    async fn node_is_back(&mut self) -> Result<()> {
        match self.node.take() {
            Some(node) => node.await.context("start a database node")?,
            None => Ok(()),
        }
    }

    /// Everything runs again, and what a process may have begun before it was stopped has had its time.
    ///
    /// # Errors
    /// If something does not run.
    pub(crate) async fn calm(&mut self, fleet: &mut Fleet<'_>) -> Result<()> {
        while matches!(self.steps.front(), Some(Step { event: Event::ContinueWorker(_), .. })) {
            self.steps.pop_front();
        }
        let stopped: Vec<usize> = self.stopped_at.keys().copied().collect();
        for index in &stopped {
            self.go_on(fleet, *index).await?;
        }
        self.node_is_back().await?;
        fleet.start_coordinator()?;
        for index in 0..fleet.workers() {
            fleet.start_worker(index)?;
        }
        fleet.wait_for_workers(fleet.workers()).await?;
        if !stopped.is_empty() {
            tokio::time::sleep(LEASE_TTL.min(Duration::from_secs(2))).await;
        }
        Ok(())
    }
}
