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

/// Jobs whose pace is remembered; the oldest is forgotten first and would start anew.
const PACES_MAX: usize = 64;

impl Places {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            worker: settings.name.clone(),
            cluster_profiles: settings.clusters.clone(),
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

    /// How hard the assignment's job leans on its cluster: one pace for all of the job's work here, so that its limits on
    /// ranges in flight hold for the worker. An assignment with a rate of its own has a pace of its own.
    pub(crate) fn pace(&self, assignment: &v1::Assignment, clock: &Arc<dyn Clock>) -> Arc<Pace> {
        let allowance = assignment.allowance.clone().unwrap_or_default();
        let (rows, bytes) = (allowance.rows_per_second_max, allowance.bytes_per_second_max);
        let fresh = || Pace::new(allowance.pace(), rows, bytes, clock.clone());
        if rows > 0 || bytes > 0 {
            return fresh();
        }
        let mut paces = self.paces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, pace)) = paces.iter().find(|(job, _)| *job == assignment.job_id) {
            return pace.clone();
        }
        if paces.len() == PACES_MAX {
            paces.pop_front();
        }
        let pace = fresh();
        paces.push_back((assignment.job_id.clone(), pace.clone()));
        pace
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
