//! Settings of the long-running processes: a TOML file, the environment and flags, in ascending weight. The environment
//! comes with the flags (clap). Data only; unknown keys are errors.
//!
//! - [`coordinator`], [`worker`]: what each is told
//! - here: what both have, and how every process tells what it does ([`telemetry`])

mod coordinator;
mod worker;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ringvault_client::TlsFiles;
use ringvault_runtime::telemetry::{LogFormat, Telemetry};
use serde::{Deserialize, de::DeserializeOwned};

pub(crate) use self::{
    coordinator::CoordinatorSettings,
    worker::{ClusterSection, SLOTS, WorkerSettings},
};
use crate::arguments::{
    Cli, Command,
    common::{Certificates, LogForm, Telling},
    usage,
};

/// A long-running process and what it is told.
#[derive(Debug)]
pub(crate) enum Process {
    Coordinator(Box<CoordinatorSettings>),
    Worker(Box<WorkerSettings>),
}

impl Process {
    /// The process that a command line starts; nothing for a command that ends by itself.
    ///
    /// # Errors
    /// A usage error that names the setting.
    pub(crate) fn read(cli: &Cli) -> anyhow::Result<Option<Self>> {
        Ok(match &cli.command {
            Command::Coordinator(flags) => {
                Some(Self::Coordinator(Box::new(CoordinatorSettings::read(flags, &cli.common.fleet.certificates)?)))
            }
            Command::Worker(flags) if flags.action.is_none() => {
                Some(Self::Worker(Box::new(WorkerSettings::read(flags, &cli.common)?)))
            }
            _ => None,
        })
    }
}

/// How a process tells what it does: flags and environment, else its file, else as it is usual.
pub(crate) fn telemetry(process: Option<&Process>, telling: &Telling) -> Telemetry {
    let (service_name, instance, section, usual_level) = match process {
        Some(Process::Coordinator(settings)) => {
            ("ringvault-coordinator", settings.listen.to_string(), settings.telemetry.clone(), "info")
        }
        Some(Process::Worker(settings)) => {
            ("ringvault-worker", settings.name.clone(), settings.telemetry.clone(), "info")
        }
        None => ("ringvault-client", String::new(), TelemetrySection::default(), "warn"),
    };
    // A long-running process answers nothing: --json is about its log.
    let json = (process.is_some() && telling.json).then_some(LogForm::Json);
    let format = match telling.log_format.or(json).or(section.log_format) {
        Some(LogForm::Json) => LogFormat::Json,
        Some(LogForm::Text) | None => LogFormat::Text,
    };
    let otlp_endpoint = telling.otlp_endpoint.clone().or(section.otlp_endpoint);
    Telemetry {
        level: telling.log_level.clone().or(section.log_level).unwrap_or_else(|| usual_level.to_owned()),
        format,
        otlp_endpoint: otlp_endpoint.filter(|url| !url.is_empty()),
        prometheus: section.metrics_listen,
        service_name,
        instance,
    }
}

/// A `[telemetry]` section; `metrics_listen` holds the flag where one is given.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetrySection {
    otlp_endpoint: Option<String>,
    metrics_listen: Option<SocketAddr>,
    log_level: Option<String>,
    log_format: Option<LogForm>,
}

impl TelemetrySection {
    /// With an address of flag or environment instead of its own.
    fn with_metrics(self, metrics_listen: Option<SocketAddr>) -> Self {
        Self { metrics_listen: metrics_listen.or(self.metrics_listen), ..self }
    }
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

    fn told(file: &str, line: &str) -> Telemetry {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("c.toml");
        std::fs::write(&path, format!("state_dir = \"/s\"\n{file}")).expect("written");
        let config = path.to_str().expect("UTF-8");
        let words = ["ringvault", "coordinator", "--config", config].into_iter().chain(line.split_whitespace());
        let cli = Cli::read(words).expect(line);
        let process = Process::read(&cli).expect("good settings");
        telemetry(process.as_ref(), &cli.common.telling)
    }

    #[test]
    fn what_a_process_tells_stands_in_its_file_and_a_flag_wins() {
        let file = "[telemetry]\notlp_endpoint = \"http://o:4317\"\nmetrics_listen = \"127.0.0.1:9100\"\n\
                    log_format = \"json\"\nlog_level = \"debug\"";
        let by_file = told(file, "");
        assert_eq!(by_file.otlp_endpoint.as_deref(), Some("http://o:4317"));
        assert_eq!(by_file.prometheus.map(|address| address.port()), Some(9100));
        assert_eq!((by_file.level.as_str(), by_file.format), ("debug", LogFormat::Json));
        let by_flag = told(
            file,
            "--otlp-endpoint http://p:1 --metrics-listen 127.0.0.1:2 --log-format text --log-level warn --json",
        );
        assert_eq!(by_flag.otlp_endpoint.as_deref(), Some("http://p:1"));
        assert_eq!(by_flag.prometheus.map(|address| address.port()), Some(2));
        assert_eq!((by_flag.level.as_str(), by_flag.format), ("warn", LogFormat::Text));
        let usual = told("", "");
        assert_eq!((usual.level.as_str(), usual.format, usual.prometheus), ("info", LogFormat::Text, None));
        assert_eq!((usual.service_name, usual.instance.as_str()), ("ringvault-coordinator", "127.0.0.1:7077"));
        assert_eq!(told("", "--json").format, LogFormat::Json);
    }

    #[test]
    fn a_command_tells_as_a_client_and_an_empty_endpoint_is_none() {
        let cli = Cli::read(["ringvault", "list", "/bk", "--otlp-endpoint", "", "--json"]).expect("parses");
        assert!(Process::read(&cli).expect("nothing to read").is_none());
        let told = telemetry(None, &cli.common.telling);
        assert_eq!((told.service_name, told.level.as_str()), ("ringvault-client", "warn"));
        assert_eq!((told.otlp_endpoint, told.format), (None, LogFormat::Text));
    }
}
