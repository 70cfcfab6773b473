//! What the target is: release, settings, data centres.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    cql::{
        Cluster,
        errors::{Error, Result},
        rows::Question,
        system_schema, topology,
    },
    schema::{Release, features::Target},
};

/// Reads it; the lowest release among the nodes counts.
pub(super) async fn read(cluster: &Cluster) -> Result<Target> {
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for node in cluster.nodes() {
        *nodes.entry(node.data_center).or_default() += 1;
    }
    let version = cluster.versions().0;
    let mut target = Target {
        release: Some(Release { major: version.major, minor: version.minor }),
        scylla: cluster.is_scylla(),
        settings: BTreeMap::new(),
        nodes,
    };
    if !target.scylla && version >= system_schema::DESCRIBES_SINCE {
        let cql = "SELECT name, value FROM system_views.settings";
        let question = Question::new("reading the server's settings", cql).to(topology::only(any_host(cluster)?));
        match question.ask::<(String, Option<String>)>(cluster.session(), ()).await {
            // a setting without a value is at its default, which is more than not to be told any
            Ok(rows) => {
                target.settings = rows.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
            }
            // an ordinary role may not read them; the server refuses later what it does not do
            Err(error) => tracing::debug!(%error, "the server's settings can't be read"),
        }
    }
    Ok(target)
}

/// Whether servers that tell no settings run functions. The statement contradicts itself, so it never creates anything; a server
/// says that functions are off before it says that.
pub(super) async fn probe_functions(cluster: &Cluster, target: &mut Target) -> Result<()> {
    if target.scylla || !target.settings.is_empty() {
        return Ok(());
    }
    let cql = "CREATE OR REPLACE FUNCTION IF NOT EXISTS system_traces.rv_probe (a int) CALLED ON NULL INPUT RETURNS int \
               LANGUAGE java AS 'return a;'";
    let question =
        Question::new("asking whether the server runs functions", cql).to(topology::only(any_host(cluster)?));
    let Err(error) = question.ask::<scylla::value::Row>(cluster.session(), ()).await else { return Ok(()) };
    let text = error.to_string().to_lowercase();
    let known = if text.contains("user-defined functions are disabled") {
        "false"
    } else if text.contains("cannot use both") {
        "true"
    } else {
        return Ok(()); // it may not create any, or says something new: nothing is known
    };
    target.settings.insert("enable_user_defined_functions".to_owned(), known.to_owned());
    Ok(())
}

/// A node to speak to.
pub(super) fn any_host(cluster: &Cluster) -> Result<Uuid> {
    let hosts = cluster.connected(cluster.local_dc());
    hosts.first().copied().ok_or_else(|| Error::unavailable(format!("no node of {} is connected", cluster.local_dc())))
}
