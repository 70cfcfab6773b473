//! Calls about workers and clusters.

use ringvault_proto::v1;

use super::{ATTEMPTS_MAX, CALL_TIMEOUT, Client, present};
use crate::Result;

impl Client {
    /// The workers that attend now.
    ///
    /// # Errors
    /// `Unavailable` where the coordinator can't be reached.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// for worker in client.workers().await? {
    ///     println!("{}: {} of {} slots busy; {}", worker.name, worker.slots_busy, worker.slots, worker.notes.join("; "));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn workers(&self) -> Result<Vec<v1::Worker>> {
        let answer = self
            .call("list workers", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let mut admin = self.admin.clone();
                async move { admin.list_workers(v1::ListWorkersRequest {}).await }
            })
            .await?;
        Ok(answer.workers)
    }

    /// Lets a worker finish what it holds and take no more; with `undo` it takes work again. `worker` is its id, or its
    /// name where only one attends under it. Returns at once: look at `slots_busy` of [`Client::workers`] for the end.
    ///
    /// # Errors
    /// `NotFound` where no such worker attends, `Conflict` where several have the name, `Invalid` without the role admin.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// let worker = client.drain_worker("worker-7", false).await?;
    /// assert!(worker.draining);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain_worker(&self, worker: &str, undo: bool) -> Result<v1::Worker> {
        let answer = self
            .call("drain the worker", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let (mut admin, worker) = (self.admin.clone(), worker.to_owned());
                async move { admin.drain_worker(v1::DrainWorkerRequest { worker, undo }).await }
            })
            .await?;
        present("worker", answer.worker)
    }

    /// The clusters that workers can reach or that have limits, with what is leased of them now.
    ///
    /// # Errors
    /// `Unavailable` where the coordinator can't be reached.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// for cluster in client.clusters().await? {
    ///     println!("{}: {} leases by {} workers", cluster.name, cluster.leases, cluster.workers);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clusters(&self) -> Result<Vec<v1::Cluster>> {
        let answer = self
            .call("list clusters", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let mut admin = self.admin.clone();
                async move { admin.list_clusters(v1::ListClustersRequest {}).await }
            })
            .await?;
        Ok(answer.clusters)
    }

    /// Sets all limits of a cluster: what all jobs and workers together may ask of it. They count at once and across
    /// restarts; 0 means no limit.
    ///
    /// # Errors
    /// `Invalid` for a name that is none, or without the role admin.
    ///
    /// ```no_run
    /// # async fn example(client: ringvault_client::Client) -> ringvault_client::Result<()> {
    /// use ringvault_client::v1::ClusterLimits;
    ///
    /// let limits = ClusterLimits { rows_per_second_max: 100_000, requests_per_node_max: 2, ..Default::default() };
    /// client.set_cluster_limits("prod", limits).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_cluster_limits(&self, cluster: &str, limits: v1::ClusterLimits) -> Result<v1::Cluster> {
        let answer = self
            .call("set the limits of the cluster", ATTEMPTS_MAX, CALL_TIMEOUT, || {
                let request = v1::SetClusterLimitsRequest { cluster: cluster.to_owned(), limits: Some(limits) };
                let mut admin = self.admin.clone();
                async move { admin.set_cluster_limits(request).await }
            })
            .await?;
        present("cluster", answer.cluster)
    }
}
