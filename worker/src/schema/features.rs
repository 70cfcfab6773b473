//! What a schema needs of a server, held against what the server is known to offer. Pure.

use std::collections::BTreeMap;

mod times;

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::v1;

pub use times::check_times;

use super::{Release, Result, invalid, lex::Kind, model::Options, statement::Statement};

/// What is known of the target.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Its release.
    pub release: Option<Release>,
    /// It is ScyllaDB.
    pub scylla: bool,
    /// `system_views.settings`; empty where they can't be read.
    pub settings: BTreeMap<String, String>,
    /// Nodes of each data centre.
    pub nodes: BTreeMap<String, usize>,
}

/// Checks that the target can hold `objects`; gives warnings about what can't be known.
///
/// # Errors
/// `Invalid`, naming the first object that it can't hold, and what to do.
pub fn check(objects: &[SchemaObject], target: &Target) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    // roles and grants are no CREATE statements of a keyspace, and every server has them
    for object in objects.iter().filter(|object| object.kind < SchemaKind::Role) {
        let statement = Statement::parse(&object.cql)?;
        if let Some(warning) = check_one(object, &statement, target)? {
            warnings.push(warning);
        }
    }
    warnings.dedup();
    Ok(warnings)
}

fn check_one(object: &SchemaObject, statement: &Statement<'_>, target: &Target) -> Result<Option<String>> {
    let release = target.release.unwrap_or(Release { major: 0, minor: 0 });
    let older_than_5 = !target.scylla && !release.is_at_least(5, 0);
    let name = &object.name;
    if older_than_5 && statement.has_vectors() {
        return Err(invalid(format!(
            "{name} has a vector, which Cassandra {release} does not know; restore to 5.0 or later, or leave it out with --tables"
        )));
    }
    if matches!(object.kind, SchemaKind::Table | SchemaKind::View) && older_than_5 && name.len() > 48 {
        return Err(invalid(format!(
            "the name {name} is longer than the 48 characters that Cassandra {release} takes; give another with --table-as"
        )));
    }
    match object.kind {
        SchemaKind::Table | SchemaKind::Type => {
            if (older_than_5 || target.scylla) && statement.has_masks() {
                let server = if target.scylla { "ScyllaDB".to_owned() } else { format!("Cassandra {release}") };
                return Err(invalid(format!(
                    "{name} has a masked column, which {server} does not know; restore to Cassandra 5.0 or later, or leave it out with --tables"
                )));
            }
            if statement.clauses().iter().any(|clause| clause.name == "compact") {
                return Err(invalid(format!(
                    "table {name} was made WITH COMPACT STORAGE, which CQL shows other than it is stored; leave it out with --tables"
                )));
            }
            Ok(None)
        }
        SchemaKind::View => switched_on(
            target,
            "materialized views",
            &["enable_materialized_views", "materialized_views_enabled"],
            name,
        )
        .map(|()| None),
        SchemaKind::Function => check_function(name, statement, target, release),
        SchemaKind::Index => check_index(name, statement, target, release).map(|()| None),
        SchemaKind::Trigger if target.scylla => Err(invalid(format!(
            "{name} is a trigger, which ScyllaDB does not have; leave its table out with --tables"
        ))),
        SchemaKind::Trigger => Ok(Some(format!(
            "trigger {name} needs its class on every node of the target; without it the restore fails at its end"
        ))),
        SchemaKind::Keyspace
        | SchemaKind::Aggregate
        | SchemaKind::Role
        | SchemaKind::Membership
        | SchemaKind::Grant => Ok(None),
    }
}

fn check_function(name: &str, statement: &Statement<'_>, target: &Target, release: Release) -> Result<Option<String>> {
    let language = statement.between("language", &["as"]).first().map(|token| token.value()).unwrap_or_default();
    let java = language == "java";
    if target.scylla && java {
        return Err(invalid(format!(
            "function {name} is written in Java, which ScyllaDB does not run; restore chosen tables with --tables"
        )));
    }
    let names = ["enable_user_defined_functions", "user_defined_functions_enabled"];
    switched_on(target, "user-defined functions", &names, name)?;
    // CASSANDRA-18252
    if !java && !target.scylla && release.is_at_least(5, 0) {
        return Err(invalid(format!(
            "function {name} is written in {language}, which Cassandra {release} does not run; restore chosen tables with --tables"
        )));
    }
    if !java {
        let names = ["enable_scripted_user_defined_functions", "scripted_user_defined_functions_enabled"];
        switched_on(target, "scripted user-defined functions", &names, name)?;
    }
    let unknown = !target.scylla && !release.is_at_least(4, 0) && !target.settings.contains_key(names[0]);
    Ok(unknown.then(|| {
        "whether user-defined functions are enabled can't be read from this server; check enable_user_defined_functions in its cassandra.yaml"
            .to_owned()
    }))
}

fn check_index(name: &str, statement: &Statement<'_>, target: &Target, release: Release) -> Result<()> {
    let Some(class) = statement.index_class() else { return Ok(()) };
    let attached = class.eq_ignore_ascii_case("sai") || class.ends_with("StorageAttachedIndex");
    if attached && target.scylla {
        return Err(invalid(format!(
            "index {name} is storage-attached (SAI), which ScyllaDB does not have; leave its table out with --tables"
        )));
    }
    if attached && !release.is_at_least(5, 0) {
        return Err(invalid(format!(
            "index {name} is storage-attached (SAI), which Cassandra {release} does not know; restore to 5.0 or later"
        )));
    }
    // 5.0 makes files of their names
    let odd = statement.index_target().iter().find(|token| token.kind == Kind::QuotedName && !is_word(&token.value()));
    if let Some(column) = odd.filter(|_| !target.scylla && release.is_at_least(5, 0)) {
        return Err(invalid(format!(
            "index {name} is of column {}, whose name is not of letters, digits and underscores alone, which Cassandra {release} refuses for \
             custom indexes; drop the index before the backup, or restore chosen tables with --tables",
            column.text
        )));
    }
    if class.ends_with("SASIIndex") {
        if target.scylla {
            return Err(invalid(format!(
                "index {name} is of class SASI, which ScyllaDB does not have; restore to Cassandra"
            )));
        }
        return switched_on(target, "SASI indexes", &["enable_sasi_indexes", "sasi_indexes_enabled"], name);
    }
    Ok(())
}

/// Whether a name is one of `\w{1,48}`.
fn is_word(name: &str) -> bool {
    name.len() <= 48 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Refuses where one of the settings says that the feature is off; silence counts as on.
fn switched_on(target: &Target, feature: &str, names: &[&str], object: &str) -> Result<()> {
    let off = names.iter().find(|name| target.settings.get(**name).is_some_and(|value| value == "false"));
    match off {
        None => Ok(()),
        Some(setting) => Err(invalid(format!(
            "{object} needs {feature}, which are off in the target; set {setting}: true in cassandra.yaml of every node and restart them"
        ))),
    }
}

/// Checks that a keyspace of this replication can live in the target and be written at this consistency level; gives
/// warnings where it has fewer nodes than replicas.
///
/// # Errors
/// `Invalid`, naming the data centres that are missing and those that exist, or the one with too few nodes.
pub fn check_replication(
    keyspace: &str,
    replication: &Options,
    consistency: v1::Consistency,
    target: &Target,
) -> Result<Vec<String>> {
    let factors = factors(replication, target);
    let missing: Vec<&str> =
        factors.iter().filter(|(dc, _)| !target.nodes.contains_key(*dc)).map(|(dc, _)| dc.as_str()).collect();
    if !missing.is_empty() {
        let existing: Vec<&str> = target.nodes.keys().map(String::as_str).collect();
        return Err(invalid(format!(
            "keyspace {keyspace} is replicated to data centre {}, which the target does not have; it has {}: give them other names with \
             --map-dc, or another replication with --replication",
            missing.join(", "),
            existing.join(", ")
        )));
    }
    let mut warnings = Vec::new();
    for (dc, factor) in &factors {
        let nodes = target.nodes.get(dc).copied().unwrap_or(0);
        let needed = match consistency {
            v1::Consistency::All => *factor,
            v1::Consistency::Any | v1::Consistency::One | v1::Consistency::LocalOne => 1,
            v1::Consistency::Two => 2.min(*factor),
            v1::Consistency::Three => 3.min(*factor),
            v1::Consistency::Unspecified
            | v1::Consistency::Quorum
            | v1::Consistency::LocalQuorum
            | v1::Consistency::EachQuorum => factor / 2 + 1,
        };
        if nodes < needed {
            return Err(invalid(format!(
                "keyspace {keyspace} keeps {factor} replicas in {dc}, which has {nodes} nodes: no write at this consistency level can \
                 succeed; give a replication that fits with --replication, or choose --write-consistency ONE"
            )));
        }
        if nodes < *factor {
            warnings.push(format!("keyspace {keyspace} keeps {factor} replicas in {dc}, which has {nodes} nodes"));
        }
    }
    Ok(warnings)
}

/// Replicas of each data centre, where the strategy tells them.
fn factors(replication: &Options, target: &Target) -> BTreeMap<String, usize> {
    let class = replication.get("class").map(String::as_str).unwrap_or_default();
    let number =
        |text: &String| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<usize>().ok();
    let everywhere = replication.get("replication_factor").and_then(number);
    if class.ends_with("SimpleStrategy") {
        // one ring for all: only a single data centre's count of nodes says anything
        let only = target.nodes.keys().next().filter(|_| target.nodes.len() == 1);
        return only.and_then(|dc| Some((dc.clone(), everywhere?))).into_iter().collect();
    }
    if !class.ends_with("NetworkTopologyStrategy") {
        return BTreeMap::new();
    }
    let named = replication.iter().filter(|(key, _)| *key != "class" && *key != "replication_factor");
    let mut factors: BTreeMap<String, usize> =
        everywhere.map(|factor| target.nodes.keys().map(|dc| (dc.clone(), factor)).collect()).unwrap_or_default();
    factors.extend(named.filter_map(|(dc, factor)| Some((dc.clone(), number(factor)?))));
    factors.retain(|_, factor| *factor > 0);
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(release: &str, settings: &[(&str, &str)], nodes: &[(&str, usize)]) -> Target {
        Target {
            release: Some(Release::of(release)),
            scylla: false,
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            nodes: nodes.iter().map(|(dc, count)| ((*dc).to_owned(), *count)).collect(),
        }
    }

    fn refusal(cql: &str, target: &Target) -> Option<String> {
        let statement = Statement::parse(cql).expect("fine");
        let object = SchemaObject {
            kind: statement.kind,
            keyspace: "ks".into(),
            name: statement.name,
            table: statement.table,
            cql: cql.into(),
        };
        check(&[object], target).err().map(|failure| failure.message)
    }

    #[test]
    fn what_an_older_release_does_not_know_is_refused_before_any_write() {
        let old = target("4.1.10", &[], &[]);
        assert!(
            refusal("CREATE TABLE ks.t (k int PRIMARY KEY, v vector<float, 3>)", &old)
                .expect("fine")
                .contains("vector")
        );
        assert!(refusal("CREATE CUSTOM INDEX i ON ks.t (v) USING 'sai'", &old).expect("fine").contains("SAI"));
        assert_eq!(refusal("CREATE TABLE ks.t (k int PRIMARY KEY, vector int)", &old), None);
        assert_eq!(
            refusal("CREATE TABLE ks.t (k int PRIMARY KEY, v vector<float, 3>)", &target("5.0.6", &[], &[])),
            None
        );
    }

    #[test]
    fn what_is_switched_off_is_refused_with_the_setting_that_helps() {
        let view = "CREATE MATERIALIZED VIEW ks.v AS SELECT * FROM ks.t WHERE a IS NOT NULL PRIMARY KEY (a)";
        let off = target("4.0.18", &[("enable_materialized_views", "false")], &[]);
        assert!(refusal(view, &off).expect("fine").contains("set enable_materialized_views: true"));
        assert_eq!(refusal(view, &target("4.0.18", &[("enable_materialized_views", "true")], &[])), None);
        assert_eq!(refusal(view, &target("4.0.18", &[], &[])), None);
    }

    fn replication(pairs: &[(&str, &str)], consistency: v1::Consistency, target: &Target) -> Result<Vec<String>> {
        let replication = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        check_replication("ks", &replication, consistency, target)
    }

    #[test]
    fn a_missing_data_centre_is_named_with_those_that_exist() {
        let one = target("5.0.6", &[], &[("dc1", 3)]);
        let nts = [("class", "org.apache.cassandra.locator.NetworkTopologyStrategy"), ("dc1", "3"), ("eu", "3")];
        let message = replication(&nts, v1::Consistency::LocalQuorum, &one).expect_err("refused").message;
        assert!(message.contains("data centre eu") && message.contains("it has dc1"), "{message}");
        assert_eq!(replication(&nts[..2], v1::Consistency::LocalQuorum, &one).expect("fine").len(), 0);
    }

    #[test]
    fn too_few_nodes_for_the_consistency_level_are_refused_and_for_the_factor_warned_of() {
        let nts = [("class", "NetworkTopologyStrategy"), ("dc1", "3")];
        let two = target("5.0.6", &[], &[("dc1", 2)]);
        assert_eq!(replication(&nts, v1::Consistency::LocalQuorum, &two).expect("fine").len(), 1);
        assert!(replication(&nts, v1::Consistency::All, &two).is_err());
        let simple = [("class", "SimpleStrategy"), ("replication_factor", "3")];
        assert!(replication(&simple, v1::Consistency::Quorum, &target("5.0.6", &[], &[("dc1", 1)])).is_err());
    }

    #[test]
    fn what_one_kind_of_server_does_not_have_is_refused_by_name() {
        let scylla = Target { scylla: true, ..target("3.0.8", &[], &[]) };
        let masked = "CREATE TABLE ks.t (k int PRIMARY KEY, v text MASKED WITH DEFAULT)";
        let script = "CREATE FUNCTION ks.f(x int) CALLED ON NULL INPUT RETURNS int LANGUAGE javascript AS 'x'";
        let vector = "CREATE FUNCTION ks.f(x vector<float, 3>) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'x'";
        let compact = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH COMPACT STORAGE AND comment = ''";
        for (cql, target, word) in [
            (masked, target("4.1.10", &[], &[]), "masked"),
            (masked, scylla.clone(), "masked"),
            ("CREATE CUSTOM INDEX i ON ks.t (v) USING 'StorageAttachedIndex'", scylla.clone(), "SAI"),
            ("CREATE TRIGGER t ON ks.t USING 'x.Y'", scylla, "trigger"),
            (script, target("5.0.6", &[], &[]), "javascript"),
            (
                "CREATE CUSTOM INDEX i ON ks.t (values(\"a b\")) USING 'org.apache.cassandra.index.sasi.SASIIndex'",
                target("5.0.6", &[], &[]),
                "column \"a b\"",
            ),
            (vector, target("4.0.18", &[], &[]), "vector"),
            (compact, target("3.11.19", &[], &[]), "COMPACT STORAGE"),
        ] {
            let message = refusal(cql, &target).expect(cql);
            assert!(message.contains(word), "{message}");
        }
        assert_eq!(refusal(masked, &target("5.0.6", &[], &[])), None);
        assert_eq!(refusal("CREATE TABLE ks.t (k int PRIMARY KEY, masked int)", &target("4.0.18", &[], &[])), None);
        assert_eq!(refusal(script, &target("4.0.18", &[], &[])), None);
    }
}
