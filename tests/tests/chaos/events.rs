//! What hits a fleet, drawn from a seed.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use ringvault_tests::cassandra::TestCluster;
use ringvault_tests::fleet::Fleet;
use ringvault_tests::proxy::Proxy;

/// How long a lease lives in these tests: short, so that a stop outlasts it soon.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(4);
/// A stop longer than twice the TTL: the lease is surely another's by then.
const STOP: Duration = Duration::from_millis(9_000);
/// Between two events.
const PAUSE_MS: std::ops::Range<u64> = 300..2_500;
/// A database node is down so long.
const NODE_DOWN: Duration = Duration::from_secs(4);

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    KillWorker(usize),
    StopWorker(usize),
    KillCoordinator,
    CutConnections,
    KillNode(usize),
}

/// Draws events and makes them happen.
#[derive(Debug)]
pub(crate) struct Chaos {
    random: StdRng,
    proxy: Proxy,
    kills: u32,
    stops: u32,
    cuts: u32,
    nodes: u32,
    coordinators: u32,
}

impl Chaos {
    pub(crate) fn new(random: StdRng, proxy: Proxy) -> Self {
        Self { random, proxy, kills: 0, stops: 0, cuts: 0, nodes: 0, coordinators: 0 }
    }

    /// Processes of ours that were killed or stopped so far.
    pub(crate) fn hits(&self) -> u32 {
        self.kills + self.stops + self.coordinators
    }

    /// The time until the next event.
    pub(crate) fn pause(&mut self) -> impl Future<Output = ()> + use<> {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(PAUSE_MS)))
    }

    /// Lets the next event happen; what it killed runs again afterwards.
    pub(crate) async fn strike(&mut self, cluster: &TestCluster, fleet: &mut Fleet<'_>) -> Result<()> {
        let worker = self.random.random_range(0..fleet.workers());
        let event = match self.random.random_range(0..100) {
            0..45 => Event::KillWorker(worker),
            45..60 => Event::StopWorker(worker),
            60..80 => Event::KillCoordinator,
            80..95 => Event::CutConnections,
            _ => Event::KillNode(1 + worker % 2),
        };
        match event {
            Event::KillWorker(index) => {
                fleet.kill_worker(index).await?;
                fleet.start_worker(index)?;
                self.kills += 1;
            }
            Event::StopWorker(index) => {
                fleet.signal_worker(index, "STOP").await?;
                tokio::time::sleep(STOP).await;
                fleet.signal_worker(index, "CONT").await?;
                self.stops += 1;
            }
            Event::KillCoordinator => {
                fleet.kill_coordinator().await?;
                fleet.start_coordinator()?;
                self.coordinators += 1;
            }
            Event::CutConnections => {
                self.proxy.cut();
                self.cuts += 1;
            }
            Event::KillNode(index) => {
                cluster.kill_node(index);
                tokio::time::sleep(NODE_DOWN).await;
                cluster.restart_node(index).await?;
                self.nodes += 1;
            }
        }
        Ok(())
    }

    /// Everything runs again.
    pub(crate) async fn calm(&mut self, _: &TestCluster, fleet: &mut Fleet<'_>) -> Result<()> {
        fleet.start_coordinator()?;
        for index in 0..fleet.workers() {
            fleet.start_worker(index)?;
        }
        fleet.wait_for_workers(fleet.workers()).await
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} killed and {} stopped workers, {} killed coordinators, {} cut connections, {} killed database nodes",
            self.kills, self.stops, self.coordinators, self.cuts, self.nodes
        )
    }
}
