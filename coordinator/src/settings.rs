//! What a coordinator is told once, at its start. Data only; [`Settings::validate`] is the one place that judges it.

use std::{collections::BTreeMap, time::Duration};

use ringvault_proto::v1;

use crate::error::{Error, Result};

/// How a coordinator behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a lease lives without a report of its worker. A worker renews at a third of it.
    pub lease_ttl: Duration,
    /// A lease whose counts stand still for this long is taken away, even if its worker reports.
    pub no_progress_timeout: Duration,
    /// Failed attempts of one assignment, or of one action on a repository, before its job fails.
    pub attempts_max: u32,
    /// Failed attempts of the first look at a cluster before its job fails: a person who mistyped a host waits for it.
    pub first_look_attempts_max: u32,
    /// Leases of one assignment that lapsed before its job fails. Generous: workers may be restarted at will.
    pub lapses_max: u32,
    /// Pause behind the first failed attempt; doubled each time, with jitter.
    pub backoff_first: Duration,
    /// Longest such pause.
    pub backoff_max: Duration,
    /// Repository profiles: name → directory or `s3://bucket/prefix`. Holds no secret.
    pub repositories: BTreeMap<String, String>,
    /// What all jobs together may ask of a cluster, by its profile. A limit that is set by a call outdoes it for good.
    pub clusters: BTreeMap<String, v1::ClusterLimits>,
    /// Unfinished jobs go on by themselves at start (a fleet's coordinator). Else they come up as INTERRUPTED, and only
    /// the same submission revives them (embedded mode).
    pub resume_jobs_on_start: bool,
    /// Workers are other processes and may have outlived us, so their leases get a full TTL at start. Else they died with
    /// this process, and their leases are released at once (embedded mode).
    pub leases_survive_restart: bool,
    /// How long after its last sign of life a failed or interrupted job may go on.
    pub resume_window: Duration,
}

impl Settings {
    /// For a long-running coordinator with workers elsewhere.
    #[must_use]
    pub fn fleet() -> Self {
        Self {
            lease_ttl: Duration::from_secs(30),
            no_progress_timeout: Duration::from_secs(300),
            attempts_max: 5,
            first_look_attempts_max: 5,
            lapses_max: 50,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            repositories: BTreeMap::new(),
            clusters: BTreeMap::new(),
            resume_jobs_on_start: true,
            leases_survive_restart: true,
            resume_window: Duration::from_secs(24 * 3600),
        }
    }

    /// For a coordinator and one worker inside the process of a command.
    #[must_use]
    pub fn embedded() -> Self {
        Self { first_look_attempts_max: 2, resume_jobs_on_start: false, leases_survive_restart: false, ..Self::fleet() }
    }

    /// Judges the settings.
    ///
    /// # Errors
    /// `Invalid`, naming the setting and its bounds.
    pub fn validate(&self) -> Result<()> {
        let second = Duration::from_secs(1);
        if self.lease_ttl < second || self.lease_ttl > Duration::from_secs(3600) {
            return Err(Error::invalid(format!("lease_ttl is {:?}; it must lie in 1 s to 1 h", self.lease_ttl)));
        }
        if self.no_progress_timeout < self.lease_ttl {
            return Err(Error::invalid("no_progress_timeout is below lease_ttl; give it several times as much"));
        }
        if self.attempts_max == 0 || self.first_look_attempts_max == 0 || self.lapses_max == 0 {
            return Err(Error::invalid("attempts_max, first_look_attempts_max and lapses_max must be at least 1"));
        }
        if self.backoff_first.is_zero() || self.backoff_first > self.backoff_max {
            return Err(Error::invalid("backoff_first must be above zero and at most backoff_max"));
        }
        for (name, location) in &self.repositories {
            if !(location.starts_with('/') || location.contains("://")) {
                return Err(Error::invalid(format!(
                    "repository profile {name:?} is {location:?}; give an absolute directory or s3://bucket/prefix"
                )));
            }
        }
        if self.clusters.keys().any(String::is_empty) {
            return Err(Error::invalid("a cluster with limits has no name; write [clusters.NAME]"));
        }
        Ok(())
    }

    /// The location behind a profile name, an absolute directory or a URL; nothing for any other text.
    #[must_use]
    pub fn location<'a>(&'a self, repository: &'a str) -> Option<&'a str> {
        let direct = repository.starts_with('/') || repository.contains("://");
        if direct { Some(repository) } else { self.repositories.get(repository).map(String::as_str) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Settings::fleet().validate().expect("fleet");
        Settings::embedded().validate().expect("embedded");
    }

    #[test]
    fn a_relative_repository_profile_is_refused_by_name() {
        let mut settings = Settings::fleet();
        settings.repositories.insert("main".into(), "backups".into());
        assert!(settings.validate().expect_err("relative").to_string().contains("\"main\""));
    }

    #[test]
    fn a_repository_is_a_profile_a_directory_or_a_url() {
        let mut settings = Settings::fleet();
        settings.repositories.insert("main".into(), "s3://b/p".into());
        assert_eq!(settings.location("main"), Some("s3://b/p"));
        assert_eq!(settings.location("/mnt/bk"), Some("/mnt/bk"));
        assert_eq!(settings.location("other"), None);
    }
}
