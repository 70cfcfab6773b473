//! The clusters and repositories that a worker reaches: resolved by profile, opened once, shared by all its slots.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use ringvault_archive::repository::{Location, Repository};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    ids::JobId,
    v1,
};
use ringvault_runtime::clock::Clock;
use tokio::sync::Mutex;

use crate::{
    cql::{cluster::Cluster, pace::Pace, profile::ClusterProfile},
    settings::Settings,
};

/// Opened places by name. The maps are small, and opening is rare: one async lock around each.
#[derive(Debug)]
pub(crate) struct Places {
    worker: String,
    cluster_profiles: BTreeMap<String, ClusterProfile>,
    repository_profiles: BTreeMap<String, String>,
    clusters: Mutex<BTreeMap<String, Arc<Cluster>>>,
    repositories: Mutex<BTreeMap<String, Arc<Repository>>>,
    paces: std::sync::Mutex<VecDeque<(String, Arc<Pace>)>>,
}

/// Jobs whose pace is remembered. Beyond it the oldest that nothing uses is forgotten, and would learn anew.
const PACES_MAX: usize = 64;

impl Places {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            worker: settings.name.clone(),
            cluster_profiles: settings
                .clusters
                .iter()
                .map(|(name, profile)| (name.clone(), settings.near(profile)))
                .collect(),
            repository_profiles: settings.repositories.clone(),
            clusters: Mutex::default(),
            repositories: Mutex::default(),
            paces: std::sync::Mutex::default(),
        }
    }

    /// The cluster of this profile, connected.
    ///
    /// # Errors
    /// `NotFound` for a profile that this worker does not have; what connecting returns.
    pub(crate) async fn cluster(&self, profile: &str) -> Result<Arc<Cluster>, Failure> {
        let settings = self.cluster_profiles.get(profile).ok_or_else(|| {
            let known: Vec<&str> = self.cluster_profiles.keys().map(String::as_str).collect();
            let message = format!("worker {} knows no cluster {profile:?}, only {}", self.worker, known.join(", "));
            Failure::new(ErrorKind::NotFound, message)
        })?;
        let mut clusters = self.clusters.lock().await;
        if let Some(cluster) = clusters.get(profile) {
            return Ok(cluster.clone());
        }
        let cluster = Arc::new(Cluster::connect(settings).await?);
        clusters.insert(profile.to_owned(), cluster.clone());
        Ok(cluster)
    }

    /// The repository of this profile or at this location.
    ///
    /// # Errors
    /// What opening returns.
    pub(crate) async fn repository(&self, name: &str) -> Result<Arc<Repository>, Failure> {
        let mut repositories = self.repositories.lock().await;
        if let Some(repository) = repositories.get(name) {
            return Ok(repository.clone());
        }
        let location = self.repository_profiles.get(name).map_or(name, String::as_str);
        let location: Location = location.parse()?;
        let repository = Arc::new(Repository::open(&location).await?);
        repositories.insert(name.to_owned(), repository.clone());
        Ok(repository)
    }

    /// How hard a job leans on its cluster: one pace for all of its work here, so that its limits hold for the worker. An
    /// assignment says what is allowed now, as later reports do.
    pub(crate) fn pace(&self, job_id: &str, allowance: &v1::Allowance, clock: &Arc<dyn Clock>) -> Arc<Pace> {
        let mut paces = self.paces();
        if let Some((_, pace)) = paces.iter().find(|(job, _)| job == job_id) {
            pace.allow(allowance);
            return pace.clone();
        }
        if paces.len() >= PACES_MAX
            && let Some(idle) = paces.iter().position(|(_, pace)| Arc::strong_count(pace) == 1)
        {
            paces.remove(idle);
        }
        let pace = Pace::new(allowance, clock.clone());
        paces.push_back((job_id.to_owned(), pace.clone()));
        pace
    }

    /// What a job may ask of its cluster from now on.
    pub(crate) fn allow(&self, allowance: &v1::Allowance) {
        if let Some((_, pace)) = self.paces().iter().find(|(job, _)| *job == allowance.job_id) {
            pace.allow(allowance);
        }
    }

    fn paces(&self) -> std::sync::MutexGuard<'_, VecDeque<(String, Arc<Pace>)>> {
        self.paces.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Answers a probe: what stands in the nonce object of the job.
    pub(crate) async fn prove(&self, probe: v1::Probe) -> v1::Proof {
        match self.read_nonce(&probe).await {
            Ok(nonce) => v1::Proof { job_id: probe.job_id, nonce, failure: None },
            Err(failure) => {
                // A place that could not be read may be mounted later: it must be opened anew then.
                self.repositories.lock().await.remove(&probe.repository);
                let message = format!(
                    "worker {} does not see {}: {}; is it a shared mount?",
                    self.worker, probe.repository, failure.message
                );
                let failure = Failure::new(failure.kind, message);
                v1::Proof { job_id: probe.job_id, nonce: String::new(), failure: Some(failure.into()) }
            }
        }
    }

    async fn read_nonce(&self, probe: &v1::Probe) -> Result<String, Failure> {
        let job: JobId =
            probe.job_id.parse().map_err(|_| Failure::new(ErrorKind::Invalid, "the probe names no job"))?;
        let repository = self.repository(&probe.repository).await?;
        Ok(repository.read_probe(&job).await?)
    }
}

#[cfg(test)]
mod tests {
    use ringvault_runtime::clock::ManualClock;

    use super::*;

    fn places() -> Places {
        let profile = ClusterProfile::of_hosts(["h"]);
        Places::new(&Settings {
            name: "w".into(),
            slots: 1,
            memory_bytes_max: None,
            data_center: "eu".into(),
            clusters: [("c".to_owned(), profile)].into(),
            repositories: BTreeMap::new(),
        })
    }

    #[test]
    fn a_job_keeps_its_pace_as_long_as_something_uses_it_and_a_little_longer() {
        let (places, clock) = (places(), Arc::new(ManualClock::at(0)) as Arc<dyn Clock>);
        let pace = |n: usize| places.pace(&format!("job{n}"), &v1::Allowance::default(), &clock);
        let used = pace(0);
        let forgotten = Arc::downgrade(&pace(1));
        for n in 2..=PACES_MAX {
            pace(n);
        }
        assert!(Arc::ptr_eq(&used, &pace(0)));
        assert!(forgotten.upgrade().is_none());
        assert!(Arc::ptr_eq(&pace(2), &pace(2)));
    }

    #[test]
    fn the_workers_data_centre_is_near_in_its_clusters() {
        let profile = &places().cluster_profiles["c"];
        assert_eq!((profile.local_dc.as_deref(), profile.near_dc.as_deref()), (None, Some("eu")));
    }
}
