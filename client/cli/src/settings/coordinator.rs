//! What a coordinator is told.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ringvault_client::{TlsFiles, v1::ClusterLimits};
use serde::Deserialize;

use super::{TelemetrySection, TlsSection, read_file, tls};
use crate::arguments::{
    common::Certificates,
    processes::Coordinator,
    usage,
    values::{Rate, span},
};

/// Where a coordinator listens unless it is told.
const LISTEN: &str = "127.0.0.1:7077";

/// What a coordinator is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CoordinatorSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) state_dir: PathBuf,
    /// Repository profiles: name → location.
    pub(crate) repositories: BTreeMap<String, String>,
    /// What all jobs and workers together may ask of a cluster, until somebody sets other limits by command.
    pub(crate) clusters: BTreeMap<String, ClusterLimits>,
    /// Nothing: no encryption, and whoever reaches it may do everything.
    pub(crate) tls: Option<TlsFiles>,
    /// How long a lease lives without a report; nothing: as the coordinator has it.
    pub(crate) lease_ttl: Option<Duration>,
    /// After how long without progress a lease is taken away; nothing: as the coordinator has it.
    pub(crate) no_progress_timeout: Option<Duration>,
    pub(crate) telemetry: TelemetrySection,
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
    #[serde(default)]
    clusters: BTreeMap<String, LimitsSection>,
    tls: Option<TlsSection>,
    lease_ttl: Option<String>,
    no_progress_timeout: Option<String>,
    #[serde(default)]
    telemetry: TelemetrySection,
}

/// A `[clusters.NAME]` section; what is left out has no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsSection {
    rows_per_second: Option<u64>,
    bytes_per_second: Option<Bytes>,
    #[serde(default)]
    ranges: u32,
    #[serde(default)]
    requests_per_node: u32,
}

/// Bytes as a number, or as `"20MiB"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Number(u64),
    Text(String),
}

impl LimitsSection {
    fn limits(self, cluster: &str) -> anyhow::Result<ClusterLimits> {
        let bytes_per_second_max = match self.bytes_per_second {
            None => 0,
            Some(Bytes::Number(bytes)) => bytes,
            Some(Bytes::Text(text)) => match Rate::read(&text).map(|rate| Rate::limits(Some(rate))) {
                Ok((0, bytes)) => bytes,
                _ => {
                    let message =
                        format!("[clusters.{cluster}] bytes_per_second: want bytes, such as \"20MiB\" or 20000000");
                    return Err(usage(message).into());
                }
            },
        };
        Ok(ClusterLimits {
            rows_per_second_max: self.rows_per_second.unwrap_or_default(),
            bytes_per_second_max,
            ranges_max: self.ranges,
            requests_per_node_max: self.requests_per_node,
        })
    }
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
        let time = |name: &str, text: &Option<String>| {
            text.as_deref().map(span).transpose().map_err(|e| usage(format!("{name}: {e}")))
        };
        let limits = |(name, section): (String, LimitsSection)| Ok((name.clone(), section.limits(&name)?));
        Ok(Self {
            listen,
            state_dir,
            repositories: file.repositories,
            clusters: file.clusters.into_iter().map(limits).collect::<anyhow::Result<_>>()?,
            tls,
            lease_ttl: time("lease_ttl", &file.lease_ttl)?,
            no_progress_timeout: time("no_progress_timeout", &file.no_progress_timeout)?,
            telemetry: file.telemetry.with_metrics(flags.metrics_listen),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Cli, Command};

    fn read(line: &[&str]) -> anyhow::Result<CoordinatorSettings> {
        let cli = Cli::read(line.iter().copied()).expect("parses");
        let Command::Coordinator(flags) = &cli.command else { unreachable!("coordinator was asked for") };
        CoordinatorSettings::read(flags, &cli.common.fleet.certificates)
    }

    fn of_file(text: &str) -> anyhow::Result<CoordinatorSettings> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("c.toml");
        std::fs::write(&path, format!("state_dir = \"/s\"\n{text}")).expect("written");
        read(&["ringvault", "coordinator", "--config", path.to_str().expect("UTF-8")])
    }

    #[test]
    fn a_coordinator_listens_beyond_loopback_only_when_told() {
        let line = ["ringvault", "coordinator", "--state-dir", "/s", "--listen", "0.0.0.0:7077"];
        assert!(read(&line).expect_err("refused").to_string().contains("deploy/certificates/make"));
        let certificates = ["--tls-ca", "/ca", "--tls-cert", "/c", "--tls-key", "/k"];
        assert!(read(&[&line[..], &certificates].concat()).expect("certified").tls.is_some());
        assert!(read(&[&line[..], &["--insecure"]].concat()).is_ok());
        assert_eq!(read(&line[..4]).expect("loopback").listen.to_string(), LISTEN);
        assert!(read(&line[..2]).expect_err("no journal").to_string().contains("--state-dir"));
    }

    #[test]
    fn times_stand_in_the_file() {
        let settings = of_file("lease_ttl = \"5s\"\nno_progress_timeout = \"2m\"").expect("good settings");
        assert_eq!(settings.lease_ttl, Some(Duration::from_secs(5)));
        assert_eq!(settings.no_progress_timeout, Some(Duration::from_secs(120)));
        for name in ["lease_ttl", "no_progress_timeout"] {
            let error = of_file(&format!("{name} = \"soon\"")).expect_err("no time").to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn limits_of_clusters_stand_in_the_file() {
        let settings = of_file(
            "[clusters.prod]\nrows_per_second = 50000\nbytes_per_second = \"20MiB\"\nranges = 8\nrequests_per_node = 2\n\
             [clusters.test]\nbytes_per_second = 5",
        )
        .expect("good settings");
        let want = ClusterLimits {
            rows_per_second_max: 50_000,
            bytes_per_second_max: 20 << 20,
            ranges_max: 8,
            requests_per_node_max: 2,
        };
        assert_eq!(settings.clusters["prod"], want);
        assert_eq!(settings.clusters["test"].bytes_per_second_max, 5);
        let error = of_file("[clusters.prod]\nbytes_per_second = \"50krows\"").expect_err("rows").to_string();
        assert!(error.contains("[clusters.prod] bytes_per_second"), "{error}");
        assert!(of_file("[clusters.prod]\nhosts = [\"h\"]").expect_err("a worker's").to_string().contains("hosts"));
    }
}
