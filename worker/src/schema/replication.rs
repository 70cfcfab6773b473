//! Where a restored keyspace is kept: the backup's replication, the user's, or the backup's with other names of data centres.

use std::collections::BTreeSet;

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::v1;

use super::{Result, ident::map_literal, invalid, model::Options, statement::Statement};

/// The keyspace with the replication that the work asks for; other objects as they are.
///
/// # Errors
/// `Invalid` where two data centres would become one.
pub fn placed(object: SchemaObject, work: &v1::ApplySchema) -> Result<SchemaObject> {
    if object.kind != SchemaKind::Keyspace || (work.replication.is_empty() && work.data_center_as.is_empty()) {
        return Ok(object);
    }
    let statement = Statement::parse(&object.cql)?;
    let replication = if work.replication.is_empty() {
        mapped(&object.name, &statement.replication().unwrap_or_default(), work)?
    } else {
        work.replication.clone()
    };
    Ok(SchemaObject { cql: with_replication(&statement, &replication), ..object })
}

/// A data centre that no keyspace of the backup names is a mistake.
///
/// # Errors
/// `Invalid`, naming it and those that there are.
pub fn check_used(work: &v1::ApplySchema, objects: &[SchemaObject]) -> Result<()> {
    let mut known = BTreeSet::new();
    for object in objects.iter().filter(|object| object.kind == SchemaKind::Keyspace) {
        known.extend(data_centers(&Statement::parse(&object.cql)?.replication().unwrap_or_default()));
    }
    let mut wanted = work.data_center_as.keys();
    match wanted.find(|name| !known.contains(*name)) {
        None => Ok(()),
        Some(name) if known.is_empty() => Err(invalid(format!(
            "--map-dc names data centre {name}, but the backup's keyspaces are not replicated by data centre; give --replication"
        ))),
        Some(name) => Err(invalid(format!(
            "--map-dc names data centre {name}, which no keyspace of the backup is replicated to; they are replicated to {}",
            known.into_iter().collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn data_centers(replication: &Options) -> Vec<String> {
    let by_data_center = replication.get("class").is_some_and(|class| class.ends_with("NetworkTopologyStrategy"));
    let names = replication.keys().filter(|key| by_data_center && *key != "class" && *key != "replication_factor");
    names.cloned().collect()
}

fn mapped(keyspace: &str, replication: &Options, work: &v1::ApplySchema) -> Result<Options> {
    let named = data_centers(replication);
    let mut mapped = Options::new();
    for (key, value) in replication {
        let new = work.data_center_as.get(key).filter(|_| named.contains(key)).unwrap_or(key);
        if new.is_empty() {
            return Err(invalid(format!("--map-dc gives data centre {key} an empty name")));
        }
        if mapped.insert(new.clone(), value.clone()).is_some() {
            return Err(invalid(format!(
                "--map-dc makes two data centres of keyspace {keyspace} to {new}; give --replication with the factor that it should have"
            )));
        }
    }
    Ok(mapped)
}

fn with_replication(statement: &Statement<'_>, replication: &Options) -> String {
    let class = replication.iter().filter(|(key, _)| *key == "class");
    let rest = replication.iter().filter(|(key, _)| *key != "class");
    let replication = format!("replication = {}", map_literal(class.chain(rest)));
    let clauses = statement.clauses();
    let others = clauses.iter().filter(|clause| clause.name != "replication").map(|clause| clause.text.to_owned());
    let clauses: Vec<String> = [replication].into_iter().chain(others).collect();
    format!("{} WITH {}", statement.head(), clauses.join(" AND "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn keyspace() -> SchemaObject {
        SchemaObject {
            kind: SchemaKind::Keyspace,
            keyspace: "ks".into(),
            name: "ks".into(),
            table: None,
            cql: "CREATE KEYSPACE ks WITH replication = {'class': 'NetworkTopologyStrategy', 'DC1': '3', 'dc2': '2'}  AND durable_writes = false;".into(),
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
    }

    fn placed_by(work: &v1::ApplySchema) -> Result<String> {
        placed(keyspace(), work).map(|object| object.cql)
    }

    #[test]
    fn a_replication_that_is_given_stands_instead_of_the_backups() {
        let work = v1::ApplySchema {
            replication: map(&[("replication_factor", "1"), ("class", "SimpleStrategy")]),
            ..Default::default()
        };
        assert_eq!(
            placed_by(&work).expect("fine"),
            "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'} AND durable_writes = false"
        );
        assert_eq!(placed_by(&v1::ApplySchema::default()).expect("fine"), keyspace().cql);
    }

    #[test]
    fn data_centres_get_their_new_names_also_in_a_swap() {
        let work = |pairs: &[(&str, &str)]| v1::ApplySchema { data_center_as: map(pairs), ..Default::default() };
        let swapped = placed_by(&work(&[("DC1", "dc2"), ("dc2", "eu")])).expect("fine");
        assert!(
            swapped.contains("{'class': 'NetworkTopologyStrategy', 'dc2': '3', 'eu': '2'} AND durable_writes"),
            "{swapped}"
        );
        let message = placed_by(&work(&[("DC1", "dc2")])).expect_err("one for two").message;
        assert!(message.contains("two data centres of keyspace ks to dc2"), "{message}");
        assert!(placed_by(&work(&[("DC1", "")])).is_err());
        let message = check_used(&work(&[("eu", "x")]), &[keyspace()]).expect_err("unknown").message;
        assert!(message.contains("data centre eu") && message.contains("DC1, dc2"), "{message}");
        assert!(check_used(&work(&[("dc2", "x")]), &[keyspace()]).is_ok());
    }
}
