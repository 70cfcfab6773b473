//! The only file that knows both coordinator and worker: it wires processes together. Three ways: both in this process
//! over an in-memory transport (embedded), a coordinator alone, a worker alone.
//!
//! Deliberately absent: anything that decides. Settings become the rooms' settings, tasks are started and ended.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use ringvault_archive::seed::{SeedKeyspace, SeedSchema};
use ringvault_client::{Client, ErrorKind, Failure};
use ringvault_coordinator as coordinator;
use ringvault_proto::v1::{self, DESCRIPTOR_SET};
use ringvault_runtime::{
    clock::SystemClock,
    entropy::Entropy,
    net::{self, Channel, Listener, Tls, TlsFiles},
    tasks::Tasks,
};
pub(crate) use ringvault_worker::live::LiveCluster;
use ringvault_worker::{
    self as worker,
    cql::profile::{ClusterProfile, Secret, TlsSettings},
    live::LiveOptions,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    arguments::{
        common::{Common, Connection},
        usage,
        values::Rate,
    },
    output::terminal,
    requests::{self, failed},
    settings::{ClusterSection, CoordinatorSettings, SLOTS, WorkerSettings},
};

/// How long a worker may take to give its leases back and a coordinator to write its journal.
const STOP_GRACE: Duration = Duration::from_secs(12);
/// How long open connections may take to end.
const SERVE_GRACE: Duration = Duration::from_secs(1);
/// How messages call the coordinator of this process.
const EMBEDDED_NAME: &str = "this process";

/// Where an embedded coordinator remembers.
#[derive(Debug)]
pub(crate) enum Journal {
    /// In this directory, which is created if it is missing.
    Directory(PathBuf),
    /// Nowhere: for what is not to be resumed.
    InMemory,
}

/// A coordinator and one worker in this process, and a client of them.
#[derive(Debug)]
pub(crate) struct Embedded {
    client: Client,
    worker: Tasks,
    coordinator: Tasks,
    server: Tasks,
    failures: mpsc::Receiver<Failure>,
}

impl Embedded {
    /// Starts both. The worker knows the one cluster that the connection flags describe.
    ///
    /// # Errors
    /// Usage errors of the connection flags; `Conflict` while another process uses the journal.
    pub(crate) fn start(common: &Common, journal: Journal) -> anyhow::Result<Self> {
        let root = CancellationToken::new();
        let (worker, coordinator, server) = (Tasks::under(&root), Tasks::under(&root), Tasks::under(&root));
        let (report, failures) = mpsc::channel(4);
        let profile = profile_of_flags(&common.connection)?;

        let handle = start_coordinator(coordinator::Settings::embedded(), journal, &coordinator)?;
        let routes = routes(&handle);
        watch_coordinator(handle, &coordinator, report.clone());
        let (transport, listener) = net::in_memory();
        serve(listener, routes, &server, report.clone());

        let settings = worker::Settings {
            name: "embedded".to_owned(),
            slots: SLOTS,
            memory_bytes_max: common.lean.memory_limit,
            data_center: String::new(),
            clusters: [(requests::embedded_cluster(&common.connection), profile)].into(),
            repositories: std::collections::BTreeMap::new(),
        };
        let channel = transport.channel();
        start_worker(settings, channel.clone(), &worker, report);
        Ok(Self { client: Client::over(channel, EMBEDDED_NAME), worker, coordinator, server, failures })
    }

    /// A client of the coordinator.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Ready when coordinator or worker ended although nobody asked them to. Cancel safe.
    pub(crate) async fn failed(&mut self) -> Failure {
        match self.failures.recv().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Ends both, in the order in which nothing is lost: the worker gives its leases back, then the coordinator writes
    /// what it knows, then the transport ends.
    pub(crate) async fn stop(self) {
        if !self.worker.drain(STOP_GRACE).await {
            tracing::warn!("the worker did not end in time; what it was at is done again at the next run");
        }
        if !self.coordinator.drain(STOP_GRACE).await {
            tracing::warn!("the coordinator did not end in time");
        }
        self.server.drain(SERVE_GRACE).await;
    }
}

/// The cluster that the connection flags describe, to be read by this process itself.
///
/// # Errors
/// Usage errors of the flags; what connecting meets.
pub(crate) async fn live_cluster(common: &Common, tasks: &Tasks) -> anyhow::Result<LiveCluster> {
    let profile = profile_of_flags(&common.connection)?;
    let components = worker_components();
    let components = (components.clock, components.entropy, Tasks::under(tasks.cancelled()));
    LiveCluster::connect(&profile, live_options(common), components).await.map_err(failed)
}

fn live_options(common: &Common) -> LiveOptions {
    let (rows_per_second_max, bytes_per_second_max) = Rate::limits(common.lean.rate);
    let usual = LiveOptions::default();
    LiveOptions {
        read_consistency: common.reading.read_consistency.unwrap_or(usual.read_consistency),
        pace: common.lean.pace.map_or(usual.pace, v1::Pace::from),
        rows_per_second_max,
        bytes_per_second_max,
        patience: common.lean.patience.unwrap_or(usual.patience),
    }
}

/// What a schema file of cassandra-backup-tool creates; CQL is read by the worker's room only.
///
/// # Errors
/// `Invalid` for a statement that can't be read, `Corrupt` for one that is cut off.
pub(crate) fn seed_schema(seed: &SeedKeyspace) -> anyhow::Result<SeedSchema> {
    worker::schema::seed::parse(seed.name(), seed.schema_text()).map_err(failed)
}

/// Runs a coordinator until `shutdown`.
///
/// # Errors
/// Where it can't listen or its journal can't be used.
pub(crate) async fn run_coordinator(
    settings: CoordinatorSettings,
    tasks: &Tasks,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!("can't listen on {}; is a coordinator running there? (--listen takes another address)", settings.listen)
    })?;
    let address = listener.local_addr()?;
    let tls = certificates(settings.tls, tasks)?;
    let usual = coordinator::Settings::fleet();
    let lease_ttl = settings.lease_ttl.unwrap_or(usual.lease_ttl);
    let no_progress_timeout = settings.no_progress_timeout.unwrap_or(usual.no_progress_timeout.max(lease_ttl));
    let own = coordinator::Settings {
        repositories: settings.repositories,
        clusters: settings.clusters,
        lease_ttl,
        no_progress_timeout,
        ..usual
    };
    let core = Tasks::under(tasks.cancelled());
    let server = Tasks::under(tasks.cancelled());
    let (report, mut failures) = mpsc::channel(4);
    let handle = start_coordinator(own, Journal::Directory(settings.state_dir), &core)?;
    let routes = routes(&handle);
    watch_coordinator(handle, &core, report.clone());
    let (scheme, listener) = match tls {
        Some(tls) => ("https", Listener::Tls(listener, tls)),
        None => ("http", Listener::Tcp(listener)),
    };
    serve(listener, routes, &server, report);
    terminal::tell(format!("coordinator listens on {scheme}://{address}"));
    let failure = tokio::select! {
        failure = failures.recv() => failure,
        () = shutdown.cancelled() => None,
    };
    core.drain(STOP_GRACE).await;
    server.drain(SERVE_GRACE).await;
    failure.map_or(Ok(()), |failure| Err(failed(failure)))
}

/// Runs a worker until `shutdown`; then it gives its leases back.
///
/// # Errors
/// Where its settings make no sense.
pub(crate) async fn run_worker(
    settings: WorkerSettings,
    tasks: &Tasks,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let tls = certificates(settings.tls, tasks)?;
    let channel = net::connect(&settings.coordinator, tls.as_ref()).map_err(usage)?;
    let clusters = settings
        .clusters
        .iter()
        .map(|(name, section)| Ok((name.clone(), profile_of_section(name, section)?)))
        .collect::<anyhow::Result<_>>()?;
    let own = worker::Settings {
        name: settings.name,
        slots: settings.slots,
        memory_bytes_max: settings.memory_bytes_max,
        data_center: settings.data_center,
        clusters,
        repositories: settings.repositories,
    };
    worker::run(own, worker_components(), channel, shutdown).await.map_err(failed)
}

/// Reads certificates, and reads them again whenever the files change.
///
/// # Errors
/// A usage error that names the file.
pub(crate) fn certificates(files: Option<TlsFiles>, tasks: &Tasks) -> anyhow::Result<Option<Tls>> {
    let Some(files) = files else { return Ok(None) };
    let tls = Tls::load(files).map_err(usage)?;
    tasks.spawn(tls.clone().follow(tasks.cancelled().clone()));
    Ok(Some(tls))
}

fn start_coordinator(
    settings: coordinator::Settings,
    journal: Journal,
    tasks: &Tasks,
) -> anyhow::Result<coordinator::Handle> {
    let journal = match journal {
        Journal::Directory(directory) => coordinator::Journal::open(&directory),
        Journal::InMemory => coordinator::Journal::in_memory(),
    };
    let components = coordinator::Components {
        clock: Arc::new(SystemClock::new()),
        entropy: Entropy::from_os(),
        journal: journal.map_err(failed)?,
    };
    coordinator::Coordinator::start(settings, components, tasks.cancelled()).map_err(failed)
}

fn routes(handle: &coordinator::Handle) -> Routes {
    Routes::new(handle.admin_service()).add_service(handle.fleet_service())
}

/// Reports the end of the coordinator's own task where nobody asked for it.
fn watch_coordinator(handle: coordinator::Handle, tasks: &Tasks, report: mpsc::Sender<Failure>) {
    let cancelled = tasks.cancelled().clone();
    tasks.spawn(async move {
        let failure = match handle.stopped().await {
            Err(error) => Failure::from(error),
            Ok(()) if cancelled.is_cancelled() => return,
            Ok(()) => Failure::new(ErrorKind::Internal, "the coordinator ended unasked"),
        };
        let _ = report.send(failure).await;
    });
}

fn serve(listener: Listener, routes: Routes, tasks: &Tasks, report: mpsc::Sender<Failure>) {
    let shutdown = tasks.cancelled().clone();
    tasks.spawn(async move {
        if let Err(error) = net::serve(listener, routes, DESCRIPTOR_SET, shutdown).await {
            let _ = report.send(Failure::new(ErrorKind::Internal, error.to_string())).await;
        }
    });
}

fn start_worker(settings: worker::Settings, channel: Channel, tasks: &Tasks, report: mpsc::Sender<Failure>) {
    let shutdown = tasks.cancelled().clone();
    tasks.spawn(async move {
        let ended = worker::run(settings, worker_components(), channel, shutdown.clone()).await;
        let failure = match ended {
            Err(failure) => failure,
            Ok(()) if shutdown.is_cancelled() => return,
            Ok(()) => Failure::new(ErrorKind::Internal, "the worker ended unasked"),
        };
        let _ = report.send(failure).await;
    });
}

fn worker_components() -> worker::Components {
    worker::Components { clock: Arc::new(SystemClock::new()), entropy: Entropy::from_os() }
}

/// The cluster that connection flags describe.
fn profile_of_flags(connection: &Connection) -> anyhow::Result<ClusterProfile> {
    let mut profile =
        ClusterProfile::of_hosts(connection.hosts.iter().map(|host| host.trim()).filter(|h| !h.is_empty()));
    profile.port = connection.port.unwrap_or(profile.port);
    profile.username.clone_from(&connection.username);
    profile.password = connection.password.clone().map(Secret::new);
    profile.password_file.clone_from(&connection.password_file);
    profile.local_dc.clone_from(&connection.local_dc);
    profile.request_timeout = connection.timeout.unwrap_or(profile.request_timeout);
    profile.tls = connection.ssl.then(|| TlsSettings {
        ca_cert: connection.ca_cert.clone(),
        client_cert: connection.client_cert.clone(),
        client_key: connection.client_key.clone(),
        verify: !connection.ssl_no_verify,
    });
    profile.validate().map_err(usage)?;
    Ok(profile)
}

/// The cluster that a `[clusters.NAME]` section describes. A password that it leaves out is taken from
/// `RINGVAULT_PASSWORD_<NAME>`, the name in upper case with `_` for anything but letters and digits.
fn profile_of_section(name: &str, section: &ClusterSection) -> anyhow::Result<ClusterProfile> {
    let mut profile: ClusterProfile = section
        .0
        .clone()
        .try_into()
        .map_err(|e: toml::de::Error| usage(format!("[clusters.{name}]: {}", e.message())))?;
    if profile.username.is_some() && profile.password.is_none() && profile.password_file.is_none() {
        profile.password = std::env::var(password_variable(name)).ok().map(Secret::new);
    }
    profile.validate().map_err(|e| usage(format!("[clusters.{name}]: {e}")))?;
    Ok(profile)
}

fn password_variable(name: &str) -> String {
    let part = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("RINGVAULT_PASSWORD_{}", name.chars().map(part).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Cli;

    #[test]
    fn connection_flags_become_the_profile_of_the_one_cluster() {
        let line = "ringvault --hosts h1,h2 backup shop /bk --port 9043 --username u --password canary --local-dc DC1 \
                    --timeout 7 --ssl --ca-cert /ca.pem --client-cert /c.pem --client-key /k.pem";
        let cli = Cli::read(line.split_whitespace()).expect("parses");
        let profile = profile_of_flags(&cli.common.connection).expect("valid");
        assert_eq!((profile.hosts.len(), profile.port), (2, 9043));
        assert_eq!(profile.local_dc.as_deref(), Some("DC1"));
        assert_eq!(profile.request_timeout, Duration::from_secs(7));
        assert!(profile.tls.as_ref().is_some_and(|tls| tls.verify && tls.client_key.is_some()));
        assert!(!format!("{profile:?}").contains("canary"));
    }

    #[test]
    fn a_section_that_makes_no_sense_is_named_without_its_values() {
        let section = |text: &str| ClusterSection(text.parse().expect("TOML"));
        let good = section("hosts = [\"h\"]\nport = 9043");
        assert_eq!(profile_of_section("prod", &good).expect("valid").port, 9043);
        let bad = section("hosts = [\"h\"]\npassword = 5150");
        let error = profile_of_section("prod", &bad).expect_err("no text").to_string();
        assert!(error.contains("[clusters.prod]"), "{error}");
        let bad = section("hosts = []");
        assert!(profile_of_section("prod", &bad).is_err());
        assert_eq!(password_variable("prod-eu.1"), "RINGVAULT_PASSWORD_PROD_EU_1");
    }
}
