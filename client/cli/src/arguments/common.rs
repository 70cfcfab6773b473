//! Flags that may stand before or behind any subcommand: where the cluster is, how to log in, how hard to lean on it,
//! how to tell.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use ringvault_client::TlsFiles;
use ringvault_proto::v1;

use super::{
    usage,
    values::{Rate, byte_size, consistency, span},
};

/// The common flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) fleet: Fleet,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) lean: Lean,
    #[command(flatten)]
    pub(crate) telling: Telling,
}

/// Where the cluster is, for a command that runs the whole job in this process.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Connection (without --coordinator)")]
pub(crate) struct Connection {
    /// Contact points, comma-separated
    #[arg(long, global = true, value_delimiter = ',', value_name = "H1,H2")]
    pub(crate) hosts: Vec<String>,
    /// CQL port [default: 9042]
    #[arg(long, global = true)]
    pub(crate) port: Option<u16>,
    /// User name
    #[arg(long, global = true, env = "RINGVAULT_USERNAME")]
    pub(crate) username: Option<String>,
    /// Password; better from the environment or --password-file, since other users of this machine see arguments
    #[arg(long, global = true, env = "RINGVAULT_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// File whose first line is the password
    #[arg(long, global = true, env = "RINGVAULT_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Data centre to talk to [default: found by itself]
    #[arg(long, global = true, value_name = "DC")]
    pub(crate) local_dc: Option<String>,
    /// How long one request may take, in seconds
    #[arg(long, global = true, value_parser = span, value_name = "S")]
    pub(crate) timeout: Option<Duration>,
    /// Connect by TLS
    #[arg(long, global = true)]
    pub(crate) ssl: bool,
    /// Authority that signed the nodes' certificates, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Certificate to show to the nodes, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Key of --client-cert, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
    /// Don't check the nodes' certificates
    #[arg(long, global = true)]
    pub(crate) ssl_no_verify: bool,
}

impl Connection {
    /// The flags that were given; the environment's user name and password are not flags.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let from_environment = |name: &str| std::env::var_os(name).is_some();
        let flags = [
            ("--hosts", !self.hosts.is_empty()),
            ("--port", self.port.is_some()),
            ("--username", self.username.is_some() && !from_environment("RINGVAULT_USERNAME")),
            ("--password", self.password.is_some() && !from_environment("RINGVAULT_PASSWORD")),
            ("--password-file", self.password_file.is_some() && !from_environment("RINGVAULT_PASSWORD_FILE")),
            ("--local-dc", self.local_dc.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--ssl", self.ssl),
            ("--ca-cert", self.ca_cert.is_some()),
            ("--client-cert", self.client_cert.is_some()),
            ("--client-key", self.client_key.is_some()),
            ("--ssl-no-verify", self.ssl_no_verify),
        ];
        flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }
}

/// Where the fleet is, for a command that hands its job to a coordinator.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Fleet")]
pub(crate) struct Fleet {
    /// Coordinator to submit to, http://HOST:PORT; without it the job runs in this process
    #[arg(long, global = true, env = "RINGVAULT_COORDINATOR", value_name = "URL")]
    pub(crate) coordinator: Option<String>,
    /// Cluster as the workers' settings name it (with --coordinator)
    #[arg(long, global = true, env = "RINGVAULT_CLUSTER", value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    #[command(flatten)]
    pub(crate) certificates: Certificates,
}

/// Certificates of this process among ours; all three, or none.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct Certificates {
    /// Authority that signed the certificates of coordinator, workers and clients, PEM
    #[arg(long, global = true, env = "RINGVAULT_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Own certificate, PEM
    #[arg(long, global = true, env = "RINGVAULT_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Key of --tls-cert, PEM
    #[arg(long, global = true, env = "RINGVAULT_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
}

impl Certificates {
    /// The files, where they are given.
    ///
    /// # Errors
    /// A usage error where some are missing.
    pub(crate) fn files(&self) -> Result<Option<TlsFiles>, clap::Error> {
        match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (None, None, None) => Ok(None),
            (Some(ca), Some(cert), Some(key)) => {
                Ok(Some(TlsFiles { ca: ca.clone(), cert: cert.clone(), key: key.clone() }))
            }
            _ => Err(usage("--tls-ca, --tls-cert and --tls-key belong together; give all three")),
        }
    }

    /// The flags that were given; what stands in the environment is no flag.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let flag = |name: &str, file: &Option<PathBuf>| file.is_some() && std::env::var_os(name).is_none();
        let flags = [
            ("--tls-ca", flag("RINGVAULT_TLS_CA", &self.tls_ca)),
            ("--tls-cert", flag("RINGVAULT_TLS_CERT", &self.tls_cert)),
            ("--tls-key", flag("RINGVAULT_TLS_KEY", &self.tls_key)),
        ];
        flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }
}

/// How statements are run.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Statements")]
pub(crate) struct Reading {
    /// Consistency level of reads [default: LOCAL_QUORUM]
    #[arg(long, global = true, value_parser = consistency, value_name = "CL")]
    pub(crate) read_consistency: Option<v1::Consistency>,
    /// Consistency level of writes [default: LOCAL_QUORUM]
    #[arg(long, global = true, value_parser = consistency, value_name = "CL")]
    pub(crate) write_consistency: Option<v1::Consistency>,
    /// Treat statements as idempotent; they always are
    #[arg(long, global = true)]
    pub(crate) idempotent: bool,
    /// Taken from scripts of cassandra-backup-tool and ignored: the version is negotiated
    #[arg(long, global = true, hide = true, value_name = "N")]
    pub(crate) protocol_version: Option<u8>,
}

/// How hard a job may lean on the database.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Pace")]
pub(crate) struct Lean {
    /// How hard to lean on the database [default: polite]
    #[arg(long, global = true)]
    pub(crate) pace: Option<Pace>,
    /// At most so many rows (50000, 50krows) or bytes (20MiB) a second, or both (50krows,20MiB), over all workers; none:
    /// no limit
    #[arg(long, global = true, value_parser = Rate::read, value_name = "ROWS|BYTES")]
    pub(crate) rate: Option<Rate>,
    /// Memory to aim at, such as 64M: fewer token ranges at once, then smaller chunks [default: what four ranges need]
    #[arg(long, global = true, env = "RINGVAULT_MEMORY_LIMIT", value_parser = byte_size, value_name = "SIZE")]
    pub(crate) memory_limit: Option<u64>,
    /// How long replicas that are down are waited for [default: 15m]
    #[arg(long, global = true, value_parser = span, value_name = "TIME")]
    pub(crate) patience: Option<Duration>,
}

/// How hard a job may lean on the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pace {
    /// Two ranges in flight a node, fewer when latency doubles
    Polite,
    /// As fast as the database answers
    Full,
}

impl From<Pace> for v1::Pace {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::Polite => Self::Polite,
            Pace::Full => Self::Full,
        }
    }
}

/// How to tell what happens.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Output")]
pub(crate) struct Telling {
    /// Log to standard error from this level on: error, warn, info, debug, trace [default: warn; info for coordinator
    /// and worker]
    #[arg(long, global = true, env = "RINGVAULT_LOG_LEVEL", value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Form of the log [default: text]
    #[arg(long, global = true, env = "RINGVAULT_LOG_FORMAT", value_name = "FORM")]
    pub(crate) log_format: Option<LogForm>,
    /// Send traces and metrics to this OpenTelemetry collector (OTLP over gRPC), as http://HOST:4317
    #[arg(long, global = true, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Documented JSON lines on standard output (client/cli/JSON.md)
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Form of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogForm {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}
