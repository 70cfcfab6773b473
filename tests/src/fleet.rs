//! A coordinator and workers as processes, started, killed, paused and started again one by one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cassandra::TestCluster;
use crate::product::{Running, Workbench};

/// How long a process may take to be there, or to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct FleetSpec {
    /// Where the coordinator's repository profile `main` points.
    pub repository: PathBuf,
    /// Where that of each worker points; one worker each.
    pub worker_repositories: Vec<PathBuf>,
    /// Assignments at once, a worker.
    pub slots: u32,
    /// More lines at the top of the coordinator's settings.
    pub coordinator_settings: String,
    /// What workers call instead of the coordinator, such as a proxy in front of it.
    pub listen: SocketAddr,
    /// The URL that workers call.
    pub workers_call: String,
}

impl FleetSpec {
    /// `workers` workers that share the bench's repository with a coordinator on a free port.
    ///
    /// # Errors
    /// If no port is free.
    pub fn new(bench: &Workbench, workers: usize) -> Result<Self> {
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Self {
            repository: bench.repository(),
            worker_repositories: vec![bench.repository(); workers],
            slots: 2,
            coordinator_settings: String::new(),
            listen,
            workers_call: format!("http://{listen}"),
        })
    }
}

/// Running processes of a fleet; each may be missing after a kill.
#[derive(Debug)]
pub struct Fleet<'b> {
    bench: &'b Workbench,
    spec: FleetSpec,
    coordinator: Option<Running>,
    workers: Vec<Option<Running>>,
}

impl<'b> Fleet<'b> {
    /// Starts all and waits until every worker attends.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn start(cluster: &TestCluster, bench: &'b Workbench, spec: FleetSpec) -> Result<Self> {
        let profile = |path: &PathBuf| format!("[repositories]\nmain = {:?}\n", path.display().to_string());
        write(bench, "coordinator.toml", &format!("{}\n{}", spec.coordinator_settings, profile(&spec.repository)))?;
        for (index, repository) in spec.worker_repositories.iter().enumerate() {
            let mut text = format!("coordinator = {:?}\n{}", spec.workers_call, profile(repository));
            write!(text, "[clusters.prod]\nhosts = [{:?}]\nport = {}\n", cluster.hosts(), cluster.port())?;
            write(bench, &format!("w{}.toml", index + 1), &text)?;
        }
        let workers = (0..spec.worker_repositories.len()).map(|_| None).collect();
        let mut fleet = Self { bench, spec, coordinator: None, workers };
        fleet.start_coordinator()?;
        for index in 0..fleet.workers.len() {
            fleet.start_worker(index)?;
        }
        fleet.wait_for_workers(fleet.workers.len()).await?;
        Ok(fleet)
    }

    /// How clients reach the coordinator.
    pub fn url(&self) -> String {
        format!("http://{}", self.spec.listen)
    }

    /// Workers, running or not.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Starts the coordinator if it does not run.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn start_coordinator(&mut self) -> Result<()> {
        if self.coordinator.is_none() {
            let listen = self.spec.listen.to_string();
            let state = self.bench.path().join("coordinator-state").display().to_string();
            let settings = self.bench.path().join("coordinator.toml").display().to_string();
            let words = ["coordinator", "--listen", &listen, "--state-dir", &state, "--config", &settings];
            self.coordinator = Some(self.bench.start(&words)?);
        }
        Ok(())
    }

    /// Starts a worker, from 0, if it does not run.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn start_worker(&mut self, index: usize) -> Result<()> {
        if self.workers[index].is_none() {
            let name = format!("w{}", index + 1);
            let settings = self.bench.path().join(format!("{name}.toml")).display().to_string();
            let slots = self.spec.slots.to_string();
            let words = ["worker", "--config", &settings, "--name", &name, "--slots", &slots];
            self.workers[index] = Some(self.bench.start(&words)?);
        }
        Ok(())
    }

    /// SIGKILL to the coordinator.
    ///
    /// # Errors
    /// If it does not die.
    pub async fn kill_coordinator(&mut self) -> Result<()> {
        kill(self.coordinator.take()).await
    }

    /// SIGKILL to a worker.
    ///
    /// # Errors
    /// If it does not die.
    pub async fn kill_worker(&mut self, index: usize) -> Result<()> {
        kill(self.workers[index].take()).await
    }

    /// A signal by name to a worker that runs.
    ///
    /// # Errors
    /// If it has ended.
    pub async fn signal_worker(&self, index: usize, signal: &str) -> Result<()> {
        match &self.workers[index] {
            Some(worker) => worker.signal(signal).await,
            None => Ok(()),
        }
    }

    /// Waits until so many workers attend.
    ///
    /// # Errors
    /// If they don't within half a minute, or the coordinator has ended.
    pub async fn wait_for_workers(&mut self, wanted: usize) -> Result<()> {
        let (begun, url) = (Instant::now(), self.url());
        loop {
            let list = self.bench.run(&["worker", "list", "--coordinator", &url]).await?;
            if list.code == Some(0) && list.lines("worker").len() >= wanted {
                return Ok(());
            }
            let coordinator = self.coordinator.as_mut().context("the coordinator runs")?;
            ensure!(!coordinator.ended()?, "the coordinator has ended: {list}");
            ensure!(begun.elapsed() < PATIENCE, "no {wanted} workers after {PATIENCE:?}: {list}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks all that run to stop and waits until they have.
    ///
    /// # Errors
    /// If one ends otherwise than a process that was asked to.
    pub async fn stop(mut self) -> Result<()> {
        let running = self.workers.drain(..).flatten().chain(self.coordinator.take());
        for process in running.collect::<Vec<_>>() {
            process.signal("TERM").await.ok();
            let run = process.wait(PATIENCE).await?;
            ensure!(run.code == Some(0) || run.code == Some(4), "stopped with {:?}: {run}", run.code);
        }
        Ok(())
    }
}

async fn kill(process: Option<Running>) -> Result<()> {
    let Some(process) = process else { return Ok(()) };
    process.signal("KILL").await.ok();
    process.wait(PATIENCE).await.map(drop)
}

fn write(bench: &Workbench, name: &str, text: &str) -> Result<()> {
    let path = bench.path().join(name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
