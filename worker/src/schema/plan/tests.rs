use std::collections::BTreeMap;

use super::*;
use crate::schema::Release;

fn object(kind: SchemaKind, keyspace: &str, name: &str, table: Option<&str>, cql: &str) -> SchemaObject {
    SchemaObject { kind, keyspace: keyspace.into(), name: name.into(), table: table.map(Into::into), cql: cql.into() }
}

fn document() -> SchemaDocument {
    let objects = vec![
        object(
            SchemaKind::Keyspace,
            "bar",
            "bar",
            None,
            "CREATE KEYSPACE bar WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'}",
        ),
        object(
            SchemaKind::Keyspace,
            "ks",
            "ks",
            None,
            "CREATE KEYSPACE ks WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'}",
        ),
        object(SchemaKind::Type, "ks", "u", None, "CREATE TYPE ks.u (a int)"),
        object(SchemaKind::Type, "ks", "unused", None, "CREATE TYPE ks.unused (a int)"),
        object(
            SchemaKind::Function,
            "ks",
            "f(int)",
            None,
            "CREATE FUNCTION ks.f(x int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'x'",
        ),
        object(SchemaKind::Table, "bar", "a", None, "CREATE TABLE bar.a (k int PRIMARY KEY)"),
        object(
            SchemaKind::Table,
            "ks",
            "a",
            None,
            "CREATE TABLE ks.a (k int PRIMARY KEY, v frozen<u>) WITH read_repair = 'NONE'",
        ),
        object(SchemaKind::Table, "ks", "b", None, "CREATE TABLE ks.b (k int PRIMARY KEY)"),
        object(SchemaKind::Index, "ks", "a_v_idx", Some("a"), "CREATE INDEX a_v_idx ON ks.a (v)"),
        object(SchemaKind::Role, "", "r", None, "CREATE ROLE IF NOT EXISTS r WITH SUPERUSER = false AND LOGIN = false"),
        object(SchemaKind::Grant, "ks", "SELECT to r", None, "GRANT SELECT ON KEYSPACE ks TO r"),
        object(SchemaKind::Grant, "ks", "SELECT to r", Some("a"), "GRANT SELECT ON TABLE ks.a TO r"),
    ];
    SchemaDocument { keyspaces: vec!["bar".into(), "ks".into()], server_version: "5.0.6".into(), objects }
}

fn table(keyspace: &str, name: &str, cql_type: &str) -> v1::InspectedTable {
    let column =
        |name: &str, cql_type: &str| v1::Column { name: name.into(), r#type: cql_type.into(), ..Default::default() };
    v1::InspectedTable {
        table: Some(v1::TableName { keyspace: keyspace.into(), table: name.into() }),
        columns: vec![column("k", "int"), column("v", cql_type)],
        ..Default::default()
    }
}

fn work() -> v1::ApplySchema {
    v1::ApplySchema { keyspaces: vec!["ks".into()], whole: true, ..Default::default() }
}

fn target() -> Target {
    Target { release: Some(Release { major: 5, minor: 0 }), ..Target::default() }
}

fn plan(work: &v1::ApplySchema) -> Result<Plan> {
    Plan::new(work, &document(), &target())
}

fn refusal(change: impl Fn(&mut v1::ApplySchema)) -> String {
    let mut work = work();
    change(&mut work);
    plan(&work).expect_err("refused").message
}

fn names(plan: &Plan) -> Vec<String> {
    plan.objects.iter().map(|object| format!("{}.{}", object.keyspace, object.name)).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

#[test]
fn whole_keyspaces_bring_everything_but_roles() {
    let both = v1::ApplySchema { keyspaces: vec!["bar".into(), "ks".into()], ..work() };
    assert_eq!(
        names(&plan(&both).expect("fine")),
        ["bar.bar", "ks.ks", "ks.u", "ks.unused", "ks.f(int)", "bar.a", "ks.a", "ks.b", "ks.a_v_idx"]
    );
}

#[test]
fn chosen_tables_bring_what_they_need() {
    let some = v1::ApplySchema {
        keyspaces: vec!["bar".into(), "ks".into()],
        whole: false,
        expected: vec![table("ks", "a", "frozen<u>")],
        with_roles: true,
        ..work()
    };
    assert_eq!(
        names(&plan(&some).expect("fine")),
        ["bar.bar", "ks.ks", "ks.u", "ks.a", "ks.a_v_idx", ".r", "ks.SELECT to r"]
    );
    let unknown = v1::ApplySchema { whole: false, expected: vec![table("ks", "zz", "int")], ..work() };
    assert!(plan(&unknown).expect_err("refused").message.contains("no table zz"));
}

#[test]
fn everything_speaks_of_the_target_by_its_names() {
    let work = v1::ApplySchema {
        keyspace_as: "Neu".into(),
        table_as: map(&[("a", "c")]),
        replication: map(&[("class", "SimpleStrategy"), ("replication_factor", "1")]),
        expected: vec![table("ks", "a", "frozen<u>"), table("ks", "b", "int")],
        with_roles: true,
        ..work()
    };
    let plan = plan(&work).expect("fine");
    assert_eq!(plan.keyspaces, ["Neu"]);
    assert_eq!(plan.renamed, BTreeSet::from(["c".to_owned()]));
    assert_eq!(plan.tables.iter().map(shown).collect::<Vec<_>>(), ["Neu.c", "Neu.b"]);
    let cql: Vec<&str> = plan.objects.iter().map(|object| object.cql.as_str()).collect();
    assert_eq!(
        cql,
        [
            "CREATE KEYSPACE \"Neu\" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'}",
            "CREATE TYPE \"Neu\".u (a int)",
            "CREATE TYPE \"Neu\".unused (a int)",
            "CREATE FUNCTION \"Neu\".f(x int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'x'",
            "CREATE TABLE \"Neu\".c (k int PRIMARY KEY, v frozen<u>) WITH read_repair = 'NONE'",
            "CREATE TABLE \"Neu\".b (k int PRIMARY KEY)",
            "CREATE INDEX a_v_idx ON \"Neu\".c (v)",
            "CREATE ROLE IF NOT EXISTS r WITH SUPERUSER = false AND LOGIN = false",
            "GRANT SELECT ON KEYSPACE \"Neu\" TO r",
            "GRANT SELECT ON TABLE \"Neu\".c TO r",
        ]
    );
}

#[test]
fn what_the_target_does_not_know_is_told_by_its_new_name() {
    let work = v1::ApplySchema { keyspace_as: "neu".into(), ..work() };
    let old = Target { release: Some(Release { major: 3, minor: 11 }), ..Target::default() };
    let plan = Plan::new(&work, &document(), &old).expect("fine");
    assert_eq!(plan.changes, ["table neu.a: Cassandra 3.11 has no option read_repair = 'NONE', left out"]);
}

#[test]
fn wishes_that_contradict_each_other_are_refused() {
    use v1::IfExists;
    assert!(refusal(|w| (w.schema_only, w.data_only) = (true, true)).contains("--data-only exclude"));
    assert!(refusal(|w| (w.drop, w.data_only) = (true, true)).contains("--drop"));
    assert!(refusal(|w| (w.with_roles, w.data_only) = (true, true)).contains("--with-roles"));
    assert!(refusal(|w| (w.schema_only, w.if_exists) = (true, IfExists::Truncate.into())).contains("truncate"));
    assert!(refusal(|w| w.replication = map(&[("dc1", "3")])).contains("no class"));
    assert!(refusal(|w| w.data_center_as = map(&[("eu", "us")])).contains("data centre eu"));
    assert!(
        refusal(|w| (w.keyspaces, w.keyspace_as) = (vec!["bar".into(), "ks".into()], "x".into()))
            .contains("one by one")
    );
    assert!(refusal(|w| w.keyspaces = vec!["other".into()]).contains("it holds bar, ks"));
    assert!(refusal(|w| w.keyspaces.clear()).contains("names no keyspace"));
    let mut counter = table("ks", "a", "counter");
    counter.counter = true;
    assert!(
        refusal(|w| (w.expected, w.if_exists) = (vec![counter.clone()], IfExists::Append.into()))
            .contains("counters can't be appended")
    );
    let mut without = document();
    without.objects.retain(|object| object.kind < SchemaKind::Role);
    let roles = v1::ApplySchema { with_roles: true, ..work() };
    assert!(Plan::new(&roles, &without, &target()).expect_err("refused").message.contains("holds no roles"));
}

#[test]
fn new_names_must_be_names_and_belong_to_one_thing_each() {
    assert!(refusal(|w| w.keyspace_as = "system_auth".into()).contains("keyspace of the server"));
    assert!(refusal(|w| w.keyspace_as = "a b".into()).contains("can't be the name"));
    assert!(refusal(|w| w.keyspace_as = "x".repeat(49)).contains("can't be the name"));
    assert!(refusal(|w| w.table_as = map(&[("a", "")])).contains("can't be the name"));
    assert!(refusal(|w| w.table_as = map(&[("zz", "x")])).contains("renames zz"));
    assert!(refusal(|w| w.table_as = map(&[("a", "b")])).contains("two tables would be called b"));
    let swapped = v1::ApplySchema { table_as: map(&[("a", "b"), ("b", "a")]), ..work() };
    assert!(plan(&swapped).is_ok());
}
