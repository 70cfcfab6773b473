//! How a cluster is reached: the data of a cluster profile, checked before anything is opened.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::errors::{Error, Result};

/// The port where CQL is spoken unless a profile says otherwise.
pub const CQL_PORT: u16 = 9042;

/// How long a request may take unless a profile says otherwise. Cassandra's own range read timeout is 10 s.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A text that no message, log or debug output shows.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A named cluster of a worker's settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterProfile {
    /// Contact points: `host`, `host:port`, `[v6]:port`.
    pub hosts: Vec<String>,
    /// For hosts that name no port.
    #[serde(default = "cql_port")]
    pub port: u16,
    /// Role to log in as; without one no login is tried.
    #[serde(default)]
    pub username: Option<String>,
    /// Its password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The data centre that answers; found by itself where it is not named.
    #[serde(default)]
    pub local_dc: Option<String>,
    /// The data centre that answers where none is named and the cluster has this one: where the worker stands.
    #[serde(skip)]
    pub near_dc: Option<String>,
    /// Longest wait for one answer, in seconds; fractions are allowed.
    #[serde(default = "request_timeout", rename = "timeout_s", deserialize_with = "seconds")]
    pub request_timeout: Duration,
    /// Encrypted connections; without it they are plain.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
}

/// TLS towards the database nodes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the authorities that sign the nodes' certificates.
    #[serde(default)]
    pub ca_cert: Option<PathBuf>,
    /// PEM file of this client's certificate chain.
    #[serde(default)]
    pub client_cert: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// Whether the nodes' certificates are checked: signed by the authority, and made for the node's IP address or for
    /// one of the profile's host names.
    #[serde(default = "yes")]
    pub verify: bool,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { ca_cert: None, client_cert: None, client_key: None, verify: true }
    }
}

impl ClusterProfile {
    /// A profile of these hosts, everything else by default.
    pub fn of_hosts(hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            hosts: hosts.into_iter().map(Into::into).collect(),
            port: CQL_PORT,
            username: None,
            password: None,
            password_file: None,
            local_dc: None,
            near_dc: None,
            request_timeout: REQUEST_TIMEOUT,
            tls: None,
        }
    }

    /// Checks what can be checked without a connection.
    ///
    /// # Errors
    /// `Invalid`, with what to change.
    pub fn validate(&self) -> Result<()> {
        if self.hosts.iter().all(|host| host.trim().is_empty()) {
            return Err(Error::invalid("a cluster needs at least one host; give --hosts, or hosts in its profile"));
        }
        for host in &self.hosts {
            self.contact_point(host)?;
        }
        if self.port == 0 {
            return Err(Error::invalid("port 0 can't be connected to; CQL's usual port is 9042"));
        }
        if self.password.is_some() && self.password_file.is_some() {
            return Err(Error::invalid("both password and password_file are given; keep one"));
        }
        let with_password = self.password.is_some() || self.password_file.is_some();
        match &self.username {
            Some(username) if !with_password => {
                return Err(Error::invalid(format!(
                    "no password for username {username}; give one by the environment, a file or --password"
                )));
            }
            None if with_password => return Err(Error::invalid("a password is given, but no username")),
            _ => {}
        }
        if self.request_timeout < Duration::from_millis(100) {
            return Err(Error::invalid("a request timeout below 0.1 s can't work; give --timeout in seconds"));
        }
        self.tls.as_ref().map_or(Ok(()), TlsSettings::validate)
    }

    /// `host:port` of every contact point.
    ///
    /// # Errors
    /// `Invalid` for a host that is neither a name nor an address.
    pub fn contact_points(&self) -> Result<Vec<String>> {
        self.hosts.iter().filter(|host| !host.trim().is_empty()).map(|host| self.contact_point(host)).collect()
    }

    fn contact_point(&self, host: &str) -> Result<String> {
        let host = host.trim();
        let bad = || {
            Error::invalid(format!("host {host:?} is not a name or an address, with or without :port, as in db1:9042"))
        };
        if host.contains("://") || host.contains(char::is_whitespace) || host.contains(',') {
            return Err(bad());
        }
        if host.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(format!("[{host}]:{}", self.port));
        }
        let behind_bracket = host.rfind(']').map_or(0, |end| end + 1);
        match host[behind_bracket..].split_once(':') {
            None => Ok(format!("{host}:{}", self.port)),
            Some((name, port)) => {
                let port = port.parse::<u16>().ok().filter(|&port| port > 0).ok_or_else(bad)?;
                Ok(format!("{}{name}:{port}", &host[..behind_bracket]))
            }
        }
    }

    /// Role and password, read from the password file if need be.
    ///
    /// # Errors
    /// `Invalid` where the file can't be read.
    pub fn login(&self) -> Result<Option<(String, Secret)>> {
        let Some(username) = self.username.clone() else { return Ok(None) };
        let password = match (&self.password, &self.password_file) {
            (Some(password), _) => password.clone(),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).map_err(|e| {
                    Error::invalid(format!("the password file {} can't be read: {e}", path.display())).caused_by(e)
                })?;
                Secret::new(text.lines().next().unwrap_or_default())
            }
            (None, None) => Secret::default(),
        };
        Ok(Some((username, password)))
    }
}

impl TlsSettings {
    fn validate(&self) -> Result<()> {
        if self.verify && self.ca_cert.is_none() {
            return Err(Error::invalid(
                "TLS needs the authority that signed the nodes' certificates: give --ca-cert, or --ssl-no-verify to check nothing",
            ));
        }
        match (&self.client_cert, &self.client_key) {
            (Some(_), None) => Err(Error::invalid("a client certificate is given without its key; give --client-key")),
            (None, Some(_)) => Err(Error::invalid("a client key is given without its certificate; give --client-cert")),
            _ => Ok(()),
        }
    }
}

fn cql_port() -> u16 {
    CQL_PORT
}

fn request_timeout() -> Duration {
    REQUEST_TIMEOUT
}

fn yes() -> bool {
    true
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_reads_from_its_shortest_form() {
        let profile: ClusterProfile = serde_json::from_str(r#"{"hosts":["db1"],"timeout_s":1.5}"#).expect("profile");
        assert_eq!(profile.contact_points().expect("fine"), ["db1:9042"]);
        assert_eq!(profile.request_timeout, Duration::from_millis(1500));
        assert!(profile.validate().is_ok());
    }

    #[test]
    fn hosts_may_name_a_port_and_be_of_either_address_family() {
        let profile = ClusterProfile::of_hosts(["db1:9142", "10.0.0.1", "::1", "[::1]:9", "[fe80::1]"]);
        let points = profile.contact_points().expect("fine");
        assert_eq!(points, ["db1:9142", "10.0.0.1:9042", "[::1]:9042", "[::1]:9", "[fe80::1]:9042"]);
        for bad in ["http://db1", "db1:0", "db1:x", "a,b", "a b"] {
            assert!(ClusterProfile::of_hosts([bad]).validate().is_err(), "{bad}");
        }
    }

    #[test]
    fn half_a_login_and_half_a_client_identity_are_refused() {
        let mut profile = ClusterProfile::of_hosts(["h"]);
        profile.username = Some("bk".into());
        assert!(profile.validate().is_err());
        profile.password = Some(Secret::new("x"));
        assert!(profile.validate().is_ok());
        profile.tls = Some(TlsSettings::default());
        assert!(profile.validate().is_err());
        profile.tls = Some(TlsSettings { verify: false, client_cert: Some("c".into()), ..TlsSettings::default() });
        assert!(profile.validate().is_err());
        profile.username = None;
        assert!(profile.validate().is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mut profile = ClusterProfile::of_hosts(["h"]);
        profile.password = Some(Secret::new("hunter2"));
        assert!(!format!("{profile:?}").contains("hunter2"));
    }
}
