use ringvault_archive::schema::SchemaObject;

use super::*;
use crate::schema::{
    features::Target,
    model::{ColumnModel, ColumnRole, IndexModel, TableModel, TypeModel},
};

fn document() -> SchemaDocument {
    let object = |kind, name: &str, table: Option<&str>, cql: &str| SchemaObject {
        kind,
        keyspace: "ks".into(),
        name: name.into(),
        table: table.map(Into::into),
        cql: cql.into(),
    };
    SchemaDocument {
        keyspaces: vec!["ks".into()],
        server_version: "5.0.6".into(),
        objects: vec![
            object(SchemaKind::Keyspace, "ks", None, "CREATE KEYSPACE ks WITH replication = {}"),
            object(SchemaKind::Type, "u", None, "CREATE TYPE ks.u (a int)"),
            object(SchemaKind::Table, "a", None, "CREATE TABLE ks.a (k int PRIMARY KEY, v frozen<u>)"),
            object(SchemaKind::Table, "b", None, "CREATE TABLE ks.b (k int PRIMARY KEY)"),
            object(SchemaKind::Index, "by_v", Some("a"), "CREATE INDEX by_v ON ks.a (v)"),
        ],
    }
}

fn column(name: &str, role: ColumnRole, cql_type: &str) -> ColumnModel {
    let position = if role == ColumnRole::PartitionKey { 0 } else { -1 };
    ColumnModel { name: name.into(), role, position, cql_type: cql_type.into(), descending: false }
}

/// Tables with a key and columns of these names.
fn live(tables: &[&str], columns: &[&str], field: &str) -> KeyspaceModel {
    let table = |name: &&str| {
        let mut all = vec![column("k", ColumnRole::PartitionKey, "int")];
        all.extend(columns.iter().map(|name| column(name, ColumnRole::Regular, "frozen<u>")));
        TableModel { name: (*name).into(), columns: all, ..TableModel::default() }
    };
    KeyspaceModel {
        name: "ks".into(),
        tables: tables.iter().map(table).collect(),
        types: vec![TypeModel { name: "u".into(), fields: vec![("a".into(), field.into())] }],
        ..KeyspaceModel::default()
    }
}

fn work(tables: &[&str]) -> v1::ApplySchema {
    let column = |name: &str, kind: v1::ColumnKind, cql_type: &str| v1::Column {
        name: name.into(),
        kind: kind.into(),
        r#type: cql_type.into(),
        reversed: false,
    };
    let table = |name: &&str| v1::InspectedTable {
        table: Some(v1::TableName { keyspace: "ks".into(), table: (*name).into() }),
        columns: vec![
            column("k", v1::ColumnKind::PartitionKey, "int"),
            column("v", v1::ColumnKind::Regular, "frozen<u>"),
        ],
        ..Default::default()
    };
    let whole = tables.is_empty();
    let expected = if whole { ["a", "b"].iter().map(table).collect() } else { tables.iter().map(table).collect() };
    v1::ApplySchema { keyspaces: vec!["ks".into()], whole, expected, ..Default::default() }
}

fn check(work: &v1::ApplySchema, live: &KeyspaceModel) -> Result<Vec<String>> {
    let plan = Plan::new(work, &document(), &Target::default())?;
    standing(work, &plan, "ks", Some(live))
}

fn refusal(work: &v1::ApplySchema, live: &KeyspaceModel) -> String {
    check(work, live).expect_err("refused").to_string()
}

#[test]
fn tables_that_stand_there_are_a_conflict_that_names_the_ways_out() {
    let error = check(&work(&[]), &live(&["b", "z"], &["v"], "int")).expect_err("b stands there");
    assert_eq!(error.kind(), ringvault_proto::error::ErrorKind::Conflict);
    assert!(error.to_string().starts_with("keyspace ks already has b; restore with --drop"), "{error}");
    assert!(error.to_string().contains("--keyspace-as"), "{error}");
}

#[test]
fn an_existing_keyspace_without_those_tables_is_used_as_it_is() {
    assert!(check(&work(&["a"]), &live(&["b"], &["v"], "int")).expect("fine").is_empty());
}

#[test]
fn a_drop_warns_of_tables_that_the_backup_does_not_hold() {
    let all = v1::ApplySchema { drop: true, ..work(&[]) };
    let warnings = check(&all, &live(&["a", "z"], &["v"], "text")).expect("fine");
    assert_eq!(warnings, ["dropping keyspace ks takes tables along that the backup does not hold: z"]);
    let one = v1::ApplySchema { drop: true, ..work(&["a"]) };
    assert!(check(&one, &live(&["a", "z"], &["v"], "int")).expect("only a is dropped").is_empty());
}

#[test]
fn a_type_that_differs_and_stays_is_a_conflict() {
    let message = refusal(&work(&[]), &live(&[], &[], "text"));
    assert!(message.contains("type ks.u stands in the target and differs"), "{message}");
}

#[test]
fn tables_may_stand_with_more_columns_where_the_user_says_what_becomes_of_them() {
    for mode in [IfExists::Append, IfExists::Truncate, IfExists::OnlyMissing] {
        let work = v1::ApplySchema { if_exists: mode.into(), ..work(&["a"]) };
        assert!(check(&work, &live(&["a"], &["v"], "int")).expect("the same columns").is_empty());
        assert!(check(&work, &live(&["a"], &["v", "w"], "int")).expect("more columns").is_empty());
        let message = refusal(&work, &live(&["a"], &["w"], "int"));
        assert!(message.contains("can't take the backup's rows: it has no column \"v\""), "{message}");
    }
    let rows_alone = v1::ApplySchema { data_only: true, ..work(&["a"]) };
    assert!(check(&rows_alone, &live(&["a"], &["v", "w"], "text")).expect("types are the table's").is_empty());
    assert!(refusal(&rows_alone, &live(&["b"], &["v"], "int")).contains("no table ks.a"));
    let plan = Plan::new(&rows_alone, &document(), &Target::default()).expect("fine");
    assert!(standing(&rows_alone, &plan, "ks", None).is_err(), "no keyspace, no tables");
}

#[test]
fn an_index_of_another_table_is_in_the_way_unless_its_table_is_dropped() {
    let index = |table: &str| IndexModel {
        name: "by_v".into(),
        table: table.into(),
        options: [("target".to_owned(), "v".to_owned())].into(),
        ..IndexModel::default()
    };
    let with = |table: &str| KeyspaceModel { indexes: vec![index(table)], ..live(&["a", "z"], &["v"], "int") };
    let drop = v1::ApplySchema { drop: true, ..work(&["a"]) };
    assert!(
        refusal(&drop, &with("z"))
            .contains("index ks.by_v stands in the target and differs: it is an index of table z")
    );
    assert!(check(&drop, &with("a")).expect("it goes with its table").is_empty());
    let mut renamed = v1::ApplySchema { drop: true, ..work(&["a"]) };
    renamed.table_as.insert("a".into(), "c".into());
    let mut plan = Plan::new(&renamed, &document(), &Target::default()).expect("fine");
    let live = Live::from([("ks".to_owned(), with("a"))]);
    assert_eq!(free_names(&renamed, &mut plan, &live).expect("fine").len(), 1);
    assert!(standing(&renamed, &plan, "ks", live.get("ks")).expect("c_by_v is free").is_empty());
}

#[test]
fn before_rows_are_written_every_table_must_take_them() {
    let checked = |work: &v1::ApplySchema, live: KeyspaceModel| {
        let plan = Plan::new(work, &document(), &Target::default()).expect("fine");
        check_tables(work, &plan, &Live::from([("ks".to_owned(), live)])).map_err(|error| error.to_string())
    };
    assert_eq!(checked(&work(&["a"]), live(&["a"], &["v"], "int")), Ok(()));
    assert!(checked(&work(&["a"]), live(&["a"], &["v", "w"], "int")).expect_err("more columns").contains("\"w\""));
    assert!(checked(&work(&["a"]), live(&["b"], &["v"], "int")).expect_err("no a").contains("not there"));
    let append = v1::ApplySchema { if_exists: IfExists::Append.into(), ..work(&["a"]) };
    assert_eq!(checked(&append, live(&["a"], &["v", "w"], "int")), Ok(()));
}

#[test]
fn only_the_scratch_keyspace_of_a_rehearsal_is_ever_scrapped() {
    let named = |name: &str| v1::ApplySchema { keyspace_as: name.into(), ..work(&[]) };
    for name in ["", "ks", "rv_rehearsal", "rv_rehearsal_", "xrv_rehearsal_1", "RV_REHEARSAL_1"] {
        assert!(scratch_keyspace(&named(name)).is_err(), "{name}");
    }
    assert_eq!(scratch_keyspace(&named("rv_rehearsal_7k3f")).expect("a scratch keyspace"), "rv_rehearsal_7k3f");
}
