//! Waits until every node has built the indexes and views that stand behind the data.
//!
//! Nodes note it in `system."IndexInfo"` (whose `table_name` holds a keyspace) and `system.built_views`, in every release. A login
//! that may not read them gets a warning instead of a wait: the server builds on by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::error::ErrorKind;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    cql::{
        Cluster,
        errors::{Error, Result},
        rows::Question,
        topology,
    },
    schema::ident,
};

/// First pause between two looks; it grows to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest wait during which not one more index or view of a node is built: one of a large table takes hours.
const SILENCE_MAX: Duration = Duration::from_secs(6 * 3600);
/// Most names that a message lists.
const NAMES_LISTED_MAX: usize = 8;

/// What is to be built on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Index,
    View,
}

impl What {
    fn of(kind: SchemaKind) -> Option<Self> {
        match kind {
            SchemaKind::Index => Some(Self::Index),
            SchemaKind::View => Some(Self::View),
            SchemaKind::Keyspace
            | SchemaKind::Type
            | SchemaKind::Function
            | SchemaKind::Aggregate
            | SchemaKind::Table
            | SchemaKind::Trigger
            | SchemaKind::Role
            | SchemaKind::Membership
            | SchemaKind::Grant => None,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::View => "view",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Index => "indexes",
            Self::View => "views",
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Index => "system.\"IndexInfo\"",
            Self::View => "system.built_views",
        }
    }

    fn cql(self) -> String {
        let (name, keyspace) = match self {
            Self::Index => ("index_name", "table_name"),
            Self::View => ("view_name", "keyspace_name"),
        };
        format!("SELECT {name} FROM {} WHERE {keyspace} = ?", self.table())
    }
}

/// Names by keyspace and kind.
type Names = BTreeMap<(String, What), BTreeSet<String>>;

/// Waits; gives warnings about what can't be seen.
pub(super) async fn wait(
    cluster: &Cluster,
    objects: &[SchemaObject],
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<Vec<String>> {
    let mut wanted = Names::new();
    for object in objects {
        if let Some(what) = What::of(object.kind) {
            wanted.entry((object.keyspace.clone(), what)).or_default().insert(object.name.clone());
        }
    }
    let mut warnings = Vec::new();
    let (mut pause, begun) = (PAUSE_FIRST, Instant::now());
    let (mut left_before, mut last_progress) = (usize::MAX, begun);
    while !wanted.is_empty() {
        let nodes = cluster.nodes();
        let mut missing: BTreeMap<(What, String), usize> = BTreeMap::new();
        let up: Vec<Uuid> = nodes.iter().filter(|node| node.up).map(|node| node.host_id).collect();
        for ((keyspace, what), names) in wanted.clone() {
            match missing_on(cluster, &up, &keyspace, what, &names).await {
                Ok(found) => {
                    missing
                        .extend(found.into_iter().map(|(name, nodes)| ((what, format!("{keyspace}.{name}")), nodes)));
                }
                Err(error) if error.kind() == ErrorKind::Invalid || error.kind() == ErrorKind::NotFound => {
                    warnings.push(unseen(cluster, what, &keyspace, &names, &error));
                    wanted.remove(&(keyspace, what));
                }
                Err(error) => return Err(error),
            }
        }
        let left: usize = missing.values().sum();
        if left == 0 {
            let down: Vec<String> = nodes.iter().filter(|n| !n.up).map(|n| n.address.ip().to_string()).collect();
            if !wanted.is_empty() && !down.is_empty() {
                warnings.push(format!(
                    "nodes that are down build their indexes and views when they start: {}",
                    down.join(", ")
                ));
            }
            break;
        }
        if left < left_before {
            (left_before, last_progress) = (left, Instant::now());
        }
        let state = shown(&missing, up.len());
        if last_progress.elapsed() > SILENCE_MAX {
            return Err(Error::unavailable(format!(
                "building {state} made no progress for {} hours; look at nodetool compactionstats and the nodes' logs, then run the same \
                 command again to wait on",
                SILENCE_MAX.as_secs() / 3600
            )));
        }
        tell(format!("building {state}, for {} min", begun.elapsed().as_secs() / 60));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    tell(String::new());
    Ok(warnings)
}

/// On how many of the nodes each of these is not built; those that are built everywhere are left out.
async fn missing_on(
    cluster: &Cluster,
    nodes: &[Uuid],
    keyspace: &str,
    what: What,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, usize>> {
    let mut missing = BTreeMap::new();
    for node in nodes {
        let asks = format!("asking node {node} which {} it has built", what.plural());
        let cql = what.cql();
        let question = Question::new(&asks, &cql).to(topology::only(*node));
        let built: Vec<(String,)> = match question.ask(cluster.session(), (keyspace,)).await {
            Ok(rows) => rows,
            // a node that just went away is asked again, or counted as down
            Err(error) if error.kind() == ErrorKind::Unavailable || error.kind() == ErrorKind::Overloaded => Vec::new(),
            Err(error) => return Err(error),
        };
        let built: BTreeSet<String> = built.into_iter().map(|(name,)| name).collect();
        for name in names.difference(&built) {
            *missing.entry(name.clone()).or_default() += 1;
        }
    }
    Ok(missing)
}

fn shown(missing: &BTreeMap<(What, String), usize>, nodes: usize) -> String {
    let one = |((what, name), on): (&(What, String), &usize)| {
        format!("{} {name} (on {} of {nodes} nodes)", what.noun(), nodes.saturating_sub(*on))
    };
    let mut parts: Vec<String> = missing.iter().take(NAMES_LISTED_MAX).map(one).collect();
    if missing.len() > NAMES_LISTED_MAX {
        parts.push(format!("{} more", missing.len() - NAMES_LISTED_MAX));
    }
    parts.join(", ")
}

fn unseen(cluster: &Cluster, what: What, keyspace: &str, names: &BTreeSet<String>, error: &Error) -> String {
    let role = cluster.profile().username.as_deref().unwrap_or("this login");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!(
        "whether the {} {} of keyspace {keyspace} are built can't be seen; the server builds them by itself ({error}). To wait for \
         them: GRANT SELECT ON {} TO {}",
        what.plural(),
        names.join(", "),
        what.table(),
        ident::shown(role)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_yet_is_told_with_its_nodes() {
        let mut missing = BTreeMap::from([((What::Index, "ks.i".to_owned()), 1), ((What::View, "ks.v".to_owned()), 3)]);
        assert_eq!(shown(&missing, 3), "index ks.i (on 2 of 3 nodes), view ks.v (on 0 of 3 nodes)");
        missing.extend((0..10).map(|number| ((What::View, format!("ks.w{number}")), 1)));
        assert!(shown(&missing, 3).ends_with(", 4 more"), "{}", shown(&missing, 3));
    }

    #[test]
    fn index_info_names_keyspaces_as_tables() {
        assert_eq!(What::Index.cql(), "SELECT index_name FROM system.\"IndexInfo\" WHERE table_name = ?");
        assert_eq!(What::View.cql(), "SELECT view_name FROM system.built_views WHERE keyspace_name = ?");
    }
}
