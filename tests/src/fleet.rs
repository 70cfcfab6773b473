//! A coordinator and workers as processes, started, killed, paused, stopped and started again one by one.
//!
//! Each process writes what it says to a file of its own, which outlives it: [`Fleet::log`]. Names are `coordinator`, and
//! `w1`, `w2` … for the workers 0, 1 ….

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cassandra::TestCluster;
use crate::product::{Run, Running, Workbench};

/// How long a process may take to be there, or to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Certificates of a fleet, as `deploy/certificates/make DIRECTORY` names them: `ca.pem`, and `NAME.pem` with `NAME.key`.
#[derive(Clone, Debug)]
pub struct FleetTls {
    /// Where they are.
    pub directory: PathBuf,
    /// Name of the coordinator's certificate.
    pub coordinator: String,
    /// Name of every worker's.
    pub worker: String,
    /// Name of the one that clients of these tests use.
    pub client: String,
}

impl FleetTls {
    /// The names that `make DIRECTORY` gives; clients are admins.
    pub fn in_directory(directory: &Path) -> Self {
        let directory = directory.to_path_buf();
        Self { directory, coordinator: "coordinator".into(), worker: "worker".into(), client: "admin".into() }
    }

    /// The flags for whoever uses the certificate of this name.
    pub fn words(&self, name: &str) -> Vec<String> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        let words = ["--tls-ca", &file("ca.pem"), "--tls-cert", &certificate, "--tls-key", &key];
        words.map(ToOwned::to_owned).to_vec()
    }
}

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct FleetSpec {
    /// Where the coordinator's repository profile `main` points.
    pub repository: PathBuf,
    /// Where that of each worker points; one worker each.
    pub worker_repositories: Vec<PathBuf>,
    /// Assignments at once, a worker.
    pub slots: u32,
    /// More lines at the top of the coordinator's settings; sections may follow.
    pub coordinator_settings: String,
    /// More lines at the top of every worker's settings; sections may follow.
    pub worker_settings: String,
    /// More lines of every worker's section `[clusters.prod]`, such as username and password.
    pub cluster_settings: String,
    /// More arguments of the coordinator.
    pub coordinator_args: Vec<String>,
    /// More arguments of every worker.
    pub worker_args: Vec<String>,
    /// Environment of coordinator and workers.
    pub env: Vec<(String, String)>,
    /// Certificates of all; none: no encryption.
    pub tls: Option<FleetTls>,
    /// Where the coordinator listens.
    pub listen: SocketAddr,
    /// The URL that workers call: the coordinator's, or a proxy's in front of it.
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
            worker_settings: String::new(),
            cluster_settings: String::new(),
            coordinator_args: Vec::new(),
            worker_args: Vec::new(),
            env: Vec::new(),
            tls: None,
            listen,
            workers_call: format!("http://{listen}"),
        })
    }

    /// The same with certificates, and `https` to call.
    #[must_use]
    pub fn with_tls(mut self, tls: FleetTls) -> Self {
        self.workers_call = self.workers_call.replace("http://", "https://");
        self.tls = Some(tls);
        self
    }

    fn tls_words(&self, name: impl Fn(&FleetTls) -> &str) -> Vec<String> {
        self.tls.as_ref().map(|tls| tls.words(name(tls))).unwrap_or_default()
    }
}

/// Running processes of a fleet; each may be missing after a kill.
#[derive(Debug)]
pub struct Fleet<'b> {
    bench: &'b Workbench,
    spec: FleetSpec,
    hosts: Vec<String>,
    port: u16,
    coordinator: Option<Running>,
    workers: Vec<Option<Running>>,
}

impl<'b> Fleet<'b> {
    /// Starts all and waits until every worker attends.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn start(cluster: &TestCluster, bench: &'b Workbench, spec: FleetSpec) -> Result<Self> {
        let settings = format!("{}\n{}", spec.coordinator_settings, profile(&spec.repository));
        write(bench, "coordinator.toml", &settings)?;
        let repositories = spec.worker_repositories.clone();
        let (hosts, port) = (cluster.hosts().split(',').map(ToOwned::to_owned).collect(), cluster.port());
        let mut fleet = Self { bench, spec, hosts, port, coordinator: None, workers: Vec::new() };
        fleet.start_coordinator()?;
        let calls = fleet.spec.workers_call.clone();
        for repository in &repositories {
            fleet.add_worker_of(repository, &calls)?;
        }
        fleet.wait_for_workers(fleet.workers.len()).await?;
        Ok(fleet)
    }

    /// How clients reach the coordinator.
    pub fn url(&self) -> String {
        let scheme = if self.spec.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.spec.listen)
    }

    /// The flags by which clients reach it: `--coordinator`, and certificates where it wants them.
    pub fn client_words(&self) -> Vec<String> {
        let mut words = vec!["--coordinator".to_owned(), self.url()];
        words.extend(self.spec.tls_words(|tls| &tls.client));
        words
    }

    /// Workers, running or not.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// All that a process of this name has said so far, also in earlier lives. Empty if it never ran.
    pub fn log(&self, name: &str) -> String {
        let bytes = std::fs::read(self.log_path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The file of [`Fleet::log`].
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.bench.path().join("logs").join(format!("{name}.log"))
    }

    /// Process id of a running process, by name.
    pub fn process(&self, name: &str) -> Option<u32> {
        let worker = |running: &(usize, &Option<Running>)| worker_name(running.0) == name;
        match name {
            "coordinator" => self.coordinator.as_ref()?.id(),
            _ => self.workers.iter().enumerate().find(worker)?.1.as_ref()?.id(),
        }
    }

    /// Starts the coordinator if it does not run, on the same state directory each time.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn start_coordinator(&mut self) -> Result<()> {
        if self.coordinator.is_none() {
            let listen = self.spec.listen.to_string();
            let state = self.bench.path().join("coordinator-state").display().to_string();
            let settings = self.bench.path().join("coordinator.toml").display().to_string();
            let words = ["coordinator", "--listen", &listen, "--state-dir", &state, "--config", &settings];
            let words = words.map(ToOwned::to_owned).into_iter();
            let more = self.spec.coordinator_args.iter().cloned();
            let words: Vec<String> = words.chain(self.spec.tls_words(|tls| &tls.coordinator)).chain(more).collect();
            self.coordinator = Some(self.run(&words, "coordinator")?);
        }
        Ok(())
    }

    /// Starts a worker, from 0, if it does not run.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn start_worker(&mut self, index: usize) -> Result<()> {
        if self.workers[index].is_none() {
            let name = worker_name(index);
            let settings = self.bench.path().join(format!("{name}.toml")).display().to_string();
            let slots = self.spec.slots.to_string();
            let words = ["worker", "--config", &settings, "--name", &name, "--slots", &slots];
            let words = words.map(ToOwned::to_owned).into_iter();
            let more = self.spec.worker_args.iter().cloned();
            let words: Vec<String> = words.chain(self.spec.tls_words(|tls| &tls.worker)).chain(more).collect();
            self.workers[index] = Some(self.run(&words, &name)?);
        }
        Ok(())
    }

    /// Starts one more worker of the fleet's repository; its index. Does not wait until it attends.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn add_worker(&mut self) -> Result<usize> {
        let calls = self.spec.workers_call.clone();
        self.add_worker_calling(&calls)
    }

    /// As [`Fleet::add_worker`], but it calls this URL.
    ///
    /// # Errors
    /// As that one.
    pub fn add_worker_calling(&mut self, url: &str) -> Result<usize> {
        let repository = self.spec.repository.clone();
        self.add_worker_of(&repository, url)
    }

    fn add_worker_of(&mut self, repository: &Path, calls: &str) -> Result<usize> {
        let index = self.workers.len();
        let mut cluster = format!("{}\n[clusters.prod]\nhosts = {:?}\n", profile(repository), self.hosts);
        writeln!(cluster, "port = {}\n{}", self.port, self.spec.cluster_settings)?;
        let top = format!("coordinator = {calls:?}\n{}", self.spec.worker_settings);
        write(self.bench, &format!("{}.toml", worker_name(index)), &format!("{top}\n{cluster}"))?;
        self.workers.push(None);
        self.start_worker(index)?;
        Ok(index)
    }

    fn run(&self, words: &[String], name: &str) -> Result<Running> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let log = self.log_path(name);
        std::fs::create_dir_all(log.parent().expect("it stands in a directory")).context("make a place for logs")?;
        self.bench.start_into(&words, &self.spec.env, &log)
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

    /// SIGTERM to the coordinator; how it ended.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub async fn stop_coordinator(&mut self) -> Result<Run> {
        stop(self.coordinator.take()).await
    }

    /// SIGTERM to a worker; how it ended.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub async fn stop_worker(&mut self, index: usize) -> Result<Run> {
        stop(self.workers[index].take()).await
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

    /// A signal by name to the coordinator if it runs.
    ///
    /// # Errors
    /// If it has ended.
    pub async fn signal_coordinator(&self, signal: &str) -> Result<()> {
        match &self.coordinator {
            Some(coordinator) => coordinator.signal(signal).await,
            None => Ok(()),
        }
    }

    /// Waits until so many workers attend.
    ///
    /// # Errors
    /// If they don't within a minute, or a process has ended by itself.
    pub async fn wait_for_workers(&mut self, wanted: usize) -> Result<()> {
        let begun = Instant::now();
        let mut words = vec!["worker".to_owned(), "list".to_owned()];
        words.extend(self.client_words());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        loop {
            let list = self.bench.run(&words).await?;
            // A worker that was killed is listed until its reports are missed for a while: names tell lives apart.
            if list.code == Some(0) && list.lines("worker").len() >= wanted {
                return Ok(());
            }
            self.ensure_running().with_context(|| format!("{list}"))?;
            ensure!(begun.elapsed() < PATIENCE, "no {wanted} workers after {PATIENCE:?}: {list}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// # Errors
    /// If a process that was started and not killed has ended; holds the end of its log.
    pub fn ensure_running(&mut self) -> Result<()> {
        let mut ended = Vec::new();
        if let Some(coordinator) = &mut self.coordinator
            && coordinator.ended()?
        {
            ended.push("coordinator".to_owned());
        }
        for (index, worker) in self.workers.iter_mut().enumerate() {
            if let Some(worker) = worker
                && worker.ended()?
            {
                ended.push(worker_name(index));
            }
        }
        let told = |name: &String| format!("{name} has ended by itself; its log ends with\n{}", tail(&self.log(name)));
        ensure!(ended.is_empty(), "{}", ended.iter().map(told).collect::<Vec<_>>().join("\n"));
        Ok(())
    }

    /// Asks all that run to stop and waits until they have.
    ///
    /// # Errors
    /// If one ends otherwise than a process that was asked to.
    pub async fn stop(mut self) -> Result<()> {
        let workers: Vec<Running> = self.workers.iter_mut().filter_map(Option::take).collect();
        for process in workers.into_iter().chain(self.coordinator.take()) {
            let run = stop(Some(process)).await?;
            ensure!(run.code == Some(0) || run.code == Some(4), "stopped with {:?}: {run}", run.code);
        }
        Ok(())
    }
}

/// The name of the worker of this index.
pub fn worker_name(index: usize) -> String {
    format!("w{}", index + 1)
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

fn profile(path: &Path) -> String {
    format!("[repositories]\nmain = {:?}\n", path.display().to_string())
}

async fn kill(process: Option<Running>) -> Result<()> {
    let Some(process) = process else { return Ok(()) };
    process.signal("KILL").await.ok();
    process.wait(PATIENCE).await.map(drop)
}

async fn stop(process: Option<Running>) -> Result<Run> {
    let process = process.context("the process runs")?;
    process.signal("TERM").await.ok();
    process.wait(PATIENCE).await
}

fn write(bench: &Workbench, name: &str, text: &str) -> Result<()> {
    let path = bench.path().join(name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
