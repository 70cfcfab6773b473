//! Settings of the long-running processes: a TOML file, the `RINGVAULT_*` environment and flags, in ascending weight.
//! The environment comes with the flags (clap). Data only; unknown keys are errors.
//!
//! Deliberately absent: what a `[clusters.NAME]` section may hold. That is the worker's, and it is read where a worker is
//! made; here it stays a table that is never shown, since it may hold a password.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ringvault_client::TlsFiles;
use serde::{Deserialize, de::DeserializeOwned};

use crate::arguments::{
    common::{Certificates, Fleet},
    processes::{Coordinator, Worker},
    usage,
    values::span,
};

/// Where a coordinator listens unless it is told.
const LISTEN: &str = "127.0.0.1:7077";
/// Assignments that a worker runs at once unless it is told.
pub(crate) const SLOTS: u32 = 4;

/// A `[clusters.NAME]` section as it stands in the file.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(transparent)]
pub(crate) struct ClusterSection(pub(crate) toml::Table);

impl fmt::Debug for ClusterSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a coordinator is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CoordinatorSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) state_dir: PathBuf,
    /// Repository profiles: name → location.
    pub(crate) repositories: BTreeMap<String, String>,
    /// Nothing: no encryption, and whoever reaches it may do everything.
    pub(crate) tls: Option<TlsFiles>,
    /// How long a lease lives without a report; nothing: as the coordinator has it.
    pub(crate) lease_ttl: Option<Duration>,
}

/// A `[tls]` section.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

/// Certificates of flags and environment, else of the file.
fn tls(flags: &Certificates, file: Option<TlsSection>) -> anyhow::Result<Option<TlsFiles>> {
    let given = flags.files()?;
    Ok(given.or_else(|| file.map(|TlsSection { ca, cert, key }| TlsFiles { ca, cert, key })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CoordinatorFile {
    listen: Option<SocketAddr>,
    state_dir: Option<PathBuf>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    repositories: BTreeMap<String, String>,
    tls: Option<TlsSection>,
    lease_ttl: Option<String>,
}

impl CoordinatorSettings {
    /// From flags, environment and file.
    ///
    /// # Errors
    /// A usage error that names the setting.
    pub(crate) fn read(flags: &Coordinator, certificates: &Certificates) -> anyhow::Result<Self> {
        let file: CoordinatorFile = read_file(flags.config.as_deref())?;
        let listen = flags.listen.or(file.listen).unwrap_or_else(|| LISTEN.parse().expect("a socket address"));
        let Some(state_dir) = flags.state_dir.clone().or(file.state_dir) else {
            return Err(usage("coordinator needs --state-dir DIR: the directory of its journal").into());
        };
        let tls = tls(certificates, file.tls)?;
        let allowed = listen.ip().is_loopback() || tls.is_some() || flags.insecure || file.insecure;
        if !allowed {
            return Err(usage(format!(
                "listening on {listen} without certificates would take jobs from anybody who reaches it; give --tls-ca, \
                 --tls-cert and --tls-key (deploy/certificates/make makes some to try), or --insecure where the network \
                 itself keeps others out"
            ))
            .into());
        }
        let lease_ttl = file.lease_ttl.as_deref().map(span).transpose();
        let lease_ttl = lease_ttl.map_err(|e| usage(format!("lease_ttl: {e}")))?;
        Ok(Self { listen, state_dir, repositories: file.repositories, tls, lease_ttl })
    }
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkerSettings {
    pub(crate) coordinator: String,
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) data_center: String,
    pub(crate) clusters: BTreeMap<String, ClusterSection>,
    pub(crate) repositories: BTreeMap<String, String>,
    pub(crate) tls: Option<TlsFiles>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerFile {
    coordinator: Option<String>,
    name: Option<String>,
    slots: Option<u32>,
    #[serde(default)]
    data_center: String,
    #[serde(default)]
    clusters: BTreeMap<String, ClusterSection>,
    #[serde(default)]
    repositories: BTreeMap<String, String>,
    tls: Option<TlsSection>,
}

impl WorkerSettings {
    /// From flags, environment and file.
    ///
    /// # Errors
    /// A usage error that names the setting.
    pub(crate) fn read(flags: &Worker, fleet: &Fleet) -> anyhow::Result<Self> {
        let file: WorkerFile = read_file(flags.config.as_deref())?;
        let Some(coordinator) = fleet.coordinator.clone().or(file.coordinator) else {
            return Err(
                usage("worker needs --coordinator URL, or coordinator = \"http://HOST:PORT\" in its file").into()
            );
        };
        if file.clusters.is_empty() {
            return Err(usage(
                "worker knows no cluster: give --config FILE with a section [clusters.NAME] and hosts = [\"…\"]",
            )
            .into());
        }
        Ok(Self {
            coordinator,
            name: flags.name.clone().or(file.name).unwrap_or_else(machine_name),
            slots: flags.slots.or(file.slots).unwrap_or(SLOTS),
            data_center: file.data_center,
            clusters: file.clusters,
            repositories: file.repositories,
            tls: tls(&fleet.certificates, file.tls)?,
        })
    }
}

/// The machine's name, else the process's number: something to tell workers apart.
fn machine_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    match name.trim() {
        "" => format!("worker-{}", std::process::id()),
        name => name.to_owned(),
    }
}

fn read_file<T: DeserializeOwned + Default>(path: Option<&Path>) -> anyhow::Result<T> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = std::fs::read_to_string(path)
        .map_err(|e| usage(format!("can't read settings from {}: {e}", path.display())))?;
    // The error shows the place and what was expected. It would also quote the line, which may hold a password.
    Ok(toml::from_str(&text).map_err(|e| usage(format!("{}: {}", path.display(), place_and_cause(&text, &e))))?)
}

fn place_and_cause(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Cli, Command};

    fn worker(file: &str, more: &[&str]) -> anyhow::Result<WorkerSettings> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("worker.toml");
        std::fs::write(&path, file).expect("written");
        let mut line = vec!["ringvault", "worker", "--config", path.to_str().expect("utf-8")];
        line.extend(more);
        let cli = Cli::read(line)?;
        let Command::Worker(flags) = &cli.command else { unreachable!("worker was asked for") };
        WorkerSettings::read(flags, &cli.common.fleet)
    }

    const FILE: &str = r#"
        coordinator = "http://c:7077"
        slots = 3
        [clusters.prod]
        hosts = ["10.0.0.1", "10.0.0.2"]
        username = "backup"
        password = "canary-5f1"
        [repositories]
        main = "s3://bucket/prefix"
    "#;

    #[test]
    fn a_flag_wins_over_the_file() {
        let settings = worker(FILE, &["--slots", "8", "--coordinator", "http://other:1"]).expect("good settings");
        assert_eq!((settings.slots, settings.coordinator.as_str()), (8, "http://other:1"));
        assert_eq!(settings.clusters["prod"].0["username"].as_str(), Some("backup"));
        assert_eq!(settings.repositories["main"], "s3://bucket/prefix");
    }

    #[test]
    fn settings_never_show_a_password() {
        let settings = worker(FILE, &[]).expect("good settings");
        assert!(!format!("{settings:?}").contains("canary"));
        let error = worker(&format!("pasword = \"canary-1\"\n{FILE}"), &[]).expect_err("an unknown key").to_string();
        assert!(error.contains("pasword") && !error.contains("canary"), "{error}");
        let broken = FILE.replace("\"canary-5f1\"", "canary-5f1");
        let error = worker(&broken, &[]).expect_err("no string").to_string();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn a_coordinator_listens_beyond_loopback_only_when_told() {
        let read = |line: &[&str]| {
            let cli = Cli::read(line.iter().copied()).expect("parses");
            let Command::Coordinator(flags) = &cli.command else { unreachable!("coordinator was asked for") };
            CoordinatorSettings::read(flags, &cli.common.fleet.certificates)
        };
        let line = ["ringvault", "coordinator", "--state-dir", "/s", "--listen", "0.0.0.0:7077"];
        assert!(read(&line).expect_err("refused").to_string().contains("deploy/certificates/make"));
        let certificates = ["--tls-ca", "/ca", "--tls-cert", "/c", "--tls-key", "/k"];
        assert!(read(&[&line[..], &certificates].concat()).expect("certified").tls.is_some());
        assert!(read(&[&line[..], &["--insecure"]].concat()).is_ok());
        assert_eq!(read(&line[..4]).expect("loopback").listen.to_string(), LISTEN);
        assert!(read(&line[..2]).expect_err("no journal").to_string().contains("--state-dir"));
    }

    #[test]
    fn certificates_and_the_lease_stand_in_the_file_too() {
        let file = format!("{FILE}\n[tls]\nca = \"/ca\"\ncert = \"/c\"\nkey = \"/k\"");
        let settings = worker(&file, &[]).expect("good settings");
        assert_eq!(settings.tls.expect("given").key, PathBuf::from("/k"));
        let flags = ["--tls-ca", "/ca2", "--tls-cert", "/c2", "--tls-key", "/k2"];
        assert_eq!(worker(&file, &flags).expect("good").tls.expect("given").ca, PathBuf::from("/ca2"));
        assert!(worker(&file, &flags[..4]).expect_err("no key").to_string().contains("all three"));
        let file = format!("{FILE}\n[tls]\nca = \"/ca\"");
        assert!(worker(&file, &[]).expect_err("no certificate").to_string().contains("cert"));
        let directory = tempfile::tempdir().expect("a directory");
        let read = |text: &str| {
            let path = directory.path().join("c.toml");
            std::fs::write(&path, text).expect("written");
            let flags = Coordinator { listen: None, state_dir: None, config: Some(path), insecure: false };
            CoordinatorSettings::read(&flags, &Certificates::default())
        };
        let settings = read("state_dir = \"/s\"\nlease_ttl = \"5s\"").expect("good settings");
        assert_eq!(settings.lease_ttl, Some(Duration::from_secs(5)));
        assert!(
            read("state_dir = \"/s\"\nlease_ttl = \"soon\"").expect_err("no time").to_string().contains("lease_ttl")
        );
    }
}
