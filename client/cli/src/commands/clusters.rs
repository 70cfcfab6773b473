//! `ringvault cluster`

use ringvault_client::v1::{Cluster, ClusterLimits};
use serde::Serialize;

use super::Context;
use crate::{
    arguments::{
        clusters::{ClusterAction, ClusterChange},
        values::Rate,
    },
    exit::Exit,
    output::{
        format::{count, size, table},
        json::{self, Kind},
        terminal,
    },
    requests::failed,
};

#[derive(Serialize)]
struct ClusterLine<'a> {
    name: &'a str,
    workers: u32,
    slots: u32,
    leases: u32,
    rows_per_second_max: u64,
    bytes_per_second_max: u64,
    ranges_max: u32,
    requests_per_node_max: u32,
}

/// Lists clusters or changes the limits of one.
pub(super) async fn run(context: &Context, action: &ClusterAction) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let clusters = client.clusters().await.map_err(failed)?;
    let clusters = match action {
        ClusterAction::List => clusters,
        ClusterAction::Limit { name, change } => {
            let cluster = clusters.iter().find(|cluster| cluster.name == *name);
            let limits = cluster.and_then(|cluster| cluster.limits).unwrap_or_default();
            let limits = changed(limits, *change, context.common.lean.rate);
            vec![client.set_cluster_limits(name, limits).await.map_err(failed)?]
        }
    };
    if context.output.json {
        clusters.iter().for_each(|cluster| json::print(Kind::Cluster, &line(cluster)));
    } else {
        text(&clusters).iter().for_each(terminal::say);
    }
    Ok(Exit::Done)
}

/// The limits that stand afterwards. A rate is changed as a whole: rows and bytes.
fn changed(limits: ClusterLimits, change: ClusterChange, rate: Option<Rate>) -> ClusterLimits {
    let (rows_per_second_max, bytes_per_second_max) = match rate {
        Some(rate) => Rate::limits(Some(rate)),
        None => (limits.rows_per_second_max, limits.bytes_per_second_max),
    };
    ClusterLimits {
        rows_per_second_max,
        bytes_per_second_max,
        ranges_max: change.ranges.unwrap_or(limits.ranges_max),
        requests_per_node_max: change.requests_per_node.unwrap_or(limits.requests_per_node_max),
    }
}

fn line(cluster: &Cluster) -> ClusterLine<'_> {
    let limits = cluster.limits.unwrap_or_default();
    ClusterLine {
        name: &cluster.name,
        workers: cluster.workers,
        slots: cluster.slots,
        leases: cluster.leases,
        rows_per_second_max: limits.rows_per_second_max,
        bytes_per_second_max: limits.bytes_per_second_max,
        ranges_max: limits.ranges_max,
        requests_per_node_max: limits.requests_per_node_max,
    }
}

fn text(clusters: &[Cluster]) -> Vec<String> {
    if clusters.is_empty() {
        return vec!["no clusters: no worker attends (see `ringvault worker list`)".to_owned()];
    }
    let or_dash = |limit: u64, text: &dyn Fn(u64) -> String| if limit == 0 { "-".to_owned() } else { text(limit) };
    let row = |cluster: &Cluster| {
        let limits = cluster.limits.unwrap_or_default();
        vec![
            cluster.name.clone(),
            count(cluster.workers.into()),
            count(cluster.slots.into()),
            count(cluster.leases.into()),
            or_dash(limits.rows_per_second_max, &count),
            or_dash(limits.bytes_per_second_max, &|bytes| format!("{}/s", size(bytes))),
            or_dash(limits.ranges_max.into(), &count),
            or_dash(limits.requests_per_node_max.into(), &count),
        ]
    };
    let headers = [
        "cluster",
        ">workers",
        ">slots",
        ">leases",
        ">rows/s max",
        ">bytes/s max",
        ">ranges max",
        ">requests/node max",
    ];
    table(&headers, &clusters.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(Kind, String)> {
    vec![(Kind::Cluster, json::text(Kind::Cluster, &line(&Cluster::default())))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_the_other_limits() {
        let limits = ClusterLimits { rows_per_second_max: 5, ranges_max: 3, ..Default::default() };
        let change = ClusterChange { requests_per_node: Some(2), ..Default::default() };
        let want = ClusterLimits { requests_per_node_max: 2, ..limits };
        assert_eq!(changed(limits, change, None), want);
        let change = ClusterChange { ranges: Some(0), ..Default::default() };
        let rate = Rate::read("1MiB").expect("a rate");
        let want = ClusterLimits { bytes_per_second_max: 1 << 20, ..Default::default() };
        assert_eq!(changed(limits, change, Some(rate)), want);
    }

    #[test]
    fn clusters_are_listed_with_limits_and_a_dash_where_there_is_none() {
        let limits = ClusterLimits { bytes_per_second_max: 1 << 20, ..Default::default() };
        let cluster = Cluster { name: "prod".into(), limits: Some(limits), workers: 2, slots: 8, leases: 5 };
        let lines = text(&[cluster]);
        let words: Vec<&str> = lines[1].split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        assert_eq!(words, ["prod", "2", "8", "5", "-", "1.0 MiB/s", "-", "-"]);
        assert!(text(&[])[0].contains("worker list"));
    }
}
