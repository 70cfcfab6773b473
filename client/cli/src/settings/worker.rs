//! What a worker is told.
//!
//! Deliberately absent: what a `[clusters.NAME]` section may hold. That is the worker's, and it is read where a worker is
//! made; here it stays a table that is never shown, since it may hold a password.

use std::{collections::BTreeMap, fmt};

use ringvault_client::TlsFiles;
use serde::Deserialize;

use super::{TelemetrySection, TlsSection, read_file, tls};
use crate::arguments::{common::Common, processes::Worker, usage, values::byte_size};

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

/// What a worker is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkerSettings {
    pub(crate) coordinator: String,
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) memory_bytes_max: Option<u64>,
    pub(crate) data_center: String,
    pub(crate) clusters: BTreeMap<String, ClusterSection>,
    pub(crate) repositories: BTreeMap<String, String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) telemetry: TelemetrySection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerFile {
    coordinator: Option<String>,
    name: Option<String>,
    slots: Option<u32>,
    memory_limit: Option<String>,
    #[serde(default)]
    data_center: String,
    #[serde(default)]
    clusters: BTreeMap<String, ClusterSection>,
    #[serde(default)]
    repositories: BTreeMap<String, String>,
    tls: Option<TlsSection>,
    #[serde(default)]
    telemetry: TelemetrySection,
}

impl WorkerSettings {
    /// From flags, environment and file.
    ///
    /// # Errors
    /// A usage error that names the setting.
    pub(crate) fn read(flags: &Worker, common: &Common) -> anyhow::Result<Self> {
        let fleet = &common.fleet;
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
            memory_bytes_max: match common.lean.memory_limit {
                Some(given) => Some(given),
                None => memory_limit(file.memory_limit.as_deref())?,
            },
            data_center: file.data_center,
            clusters: file.clusters,
            repositories: file.repositories,
            tls: tls(&fleet.certificates, file.tls)?,
            telemetry: file.telemetry.with_metrics(flags.metrics_listen),
        })
    }
}

fn memory_limit(text: Option<&str>) -> anyhow::Result<Option<u64>> {
    let read =
        |text| byte_size(text).map_err(|want| usage(format!("memory_limit = {text:?} in the worker's file: {want}")));
    Ok(text.map(read).transpose()?)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
        WorkerSettings::read(flags, &cli.common)
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
    fn certificates_stand_in_the_file_too() {
        let file = format!("{FILE}\n[tls]\nca = \"/ca\"\ncert = \"/c\"\nkey = \"/k\"");
        let settings = worker(&file, &[]).expect("good settings");
        assert_eq!(settings.tls.expect("given").key, PathBuf::from("/k"));
        let flags = ["--tls-ca", "/ca2", "--tls-cert", "/c2", "--tls-key", "/k2"];
        assert_eq!(worker(&file, &flags).expect("good").tls.expect("given").ca, PathBuf::from("/ca2"));
        assert!(worker(&file, &flags[..4]).expect_err("no key").to_string().contains("all three"));
        let file = format!("{FILE}\n[tls]\nca = \"/ca\"");
        assert!(worker(&file, &[]).expect_err("no certificate").to_string().contains("cert"));
    }
}
