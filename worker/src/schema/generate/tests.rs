use std::collections::BTreeSet;

use super::*;
use crate::schema::model::{ColumnModel, ColumnRole, Options, TableModel, TableOptions, ViewModel};

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn column(name: &str, role: ColumnRole, position: i32, cql_type: &str, descending: bool) -> ColumnModel {
    ColumnModel { name: name.into(), role, position, cql_type: cql_type.into(), descending }
}

fn table_options() -> TableOptions {
    TableOptions {
        bloom_filter_fp_chance: Some(0.01),
        caching: Some(options(&[("keys", "ALL"), ("rows_per_partition", "NONE")])),
        comment: Some("it's; a comment".into()),
        crc_check_chance: Some(1.0),
        default_time_to_live: Some(0),
        speculative_retry: Some("99PERCENTILE".into()),
        cdc: Some(false),
        ..TableOptions::default()
    }
}

fn orders() -> TableModel {
    TableModel {
        name: "Orders".into(),
        flags: BTreeSet::from(["compound".to_owned()]),
        columns: vec![
            column("value", ColumnRole::Regular, -1, "frozen<\"Price\">", false),
            column("at", ColumnRole::Clustering, 1, "timestamp", true),
            column("order", ColumnRole::Clustering, 0, "int", false),
            column("shop", ColumnRole::PartitionKey, 1, "text", false),
            column("Region", ColumnRole::PartitionKey, 0, "text", false),
            column("owner", ColumnRole::Static, -1, "text", false),
        ],
        options: table_options(),
        ..TableModel::default()
    }
}

fn only(keyspace: &KeyspaceModel, kind: SchemaKind) -> String {
    let objects = objects(keyspace).expect("fine");
    let found: Vec<_> = objects.into_iter().filter(|object| object.kind == kind).collect();
    assert_eq!(found.len(), 1);
    found[0].cql.clone()
}

#[test]
fn a_table_has_its_columns_key_order_statics_and_options() {
    let keyspace = KeyspaceModel { name: "shop".into(), tables: vec![orders()], ..Default::default() };
    assert_eq!(
        only(&keyspace, SchemaKind::Table),
        r#"CREATE TABLE shop."Orders" (
    "Region" text,
    shop text,
    "order" int,
    at timestamp,
    owner text static,
    value frozen<"Price">,
    PRIMARY KEY (("Region", shop), "order", at)
) WITH CLUSTERING ORDER BY ("order" ASC, at DESC)
    AND bloom_filter_fp_chance = 0.01
    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}
    AND comment = 'it''s; a comment'
    AND crc_check_chance = 1.0
    AND default_time_to_live = 0
    AND speculative_retry = '99PERCENTILE'"#
    );
}

#[test]
fn a_keyspace_names_its_replication_with_the_class_first() {
    let keyspace = KeyspaceModel {
        name: "Shop".into(),
        replication: options(&[("class", "NetworkTopologyStrategy"), ("DC1", "3")]),
        durable_writes: true,
        ..Default::default()
    };
    assert_eq!(
        only(&keyspace, SchemaKind::Keyspace),
        r#"CREATE KEYSPACE "Shop" WITH replication = {'class': 'NetworkTopologyStrategy', 'DC1': '3'} AND durable_writes = true"#
    );
}

#[test]
fn types_functions_and_aggregates_are_written_as_cql_takes_them() {
    let keyspace = KeyspaceModel {
        name: "ks".into(),
        types: vec![TypeModel {
            name: "Price".into(),
            fields: vec![("a b".into(), "int".into()), ("c".into(), "text".into())],
        }],
        functions: vec![FunctionModel {
            name: "f".into(),
            argument_names: vec!["x".into(), "Y".into()],
            argument_types: vec!["frozen<map<int, frozen<\"Price\">>>".into(), "int".into()],
            body: "return 1; // it's".into(),
            called_on_null_input: true,
            language: "java".into(),
            return_type: "frozen<\"Price\">".into(),
        }],
        aggregates: vec![AggregateModel {
            name: "g".into(),
            argument_types: vec!["int".into()],
            state_func: "F".into(),
            state_type: "frozen<tuple<int, int>>".into(),
            final_func: Some("h".into()),
            initcond: Some("(0, 0)".into()),
        }],
        ..Default::default()
    };
    assert_eq!(only(&keyspace, SchemaKind::Type), "CREATE TYPE ks.\"Price\" (\n    \"a b\" int,\n    c text\n)");
    assert_eq!(
        only(&keyspace, SchemaKind::Function),
        "CREATE FUNCTION ks.f(x map<int, \"Price\">, \"Y\" int)\n    CALLED ON NULL INPUT\n    RETURNS \"Price\"\n    LANGUAGE java\n    AS $$return 1; // it's$$"
    );
    assert_eq!(
        only(&keyspace, SchemaKind::Aggregate),
        "CREATE AGGREGATE ks.g(int)\n    SFUNC \"F\"\n    STYPE tuple<int, int>\n    FINALFUNC h\n    INITCOND (0, 0)"
    );
}

#[test]
fn a_body_with_dollars_becomes_a_quoted_text() {
    let function =
        FunctionModel { name: "f".into(), body: "it's $$".into(), language: "javascript".into(), ..Default::default() };
    let keyspace = KeyspaceModel { name: "ks".into(), functions: vec![function], ..Default::default() };
    assert!(only(&keyspace, SchemaKind::Function).ends_with("AS 'it''s $$'"));
}

#[test]
fn indexes_views_and_triggers_come_behind_the_tables() {
    let index = |name: &str, kind: &str, pairs| IndexModel {
        table: "Orders".into(),
        name: name.into(),
        kind: kind.into(),
        options: options(pairs),
    };
    let mut by_owner = orders();
    by_owner.name = "by_value".into();
    by_owner.columns.retain(|column| column.role != ColumnRole::Static);
    by_owner.options = TableOptions { comment: Some(String::new()), ..Default::default() };
    let keyspace = KeyspaceModel {
        name: "shop".into(),
        tables: vec![orders()],
        indexes: vec![
            index("i", "COMPOSITES", &[("target", "values(m)")]),
            index(
                "S",
                "CUSTOM",
                &[
                    ("target", "value"),
                    ("class_name", "org.apache.cassandra.index.sasi.SASIIndex"),
                    ("mode", "CONTAINS"),
                ],
            ),
        ],
        views: vec![ViewModel {
            table: by_owner,
            base: "Orders".into(),
            all_columns: false,
            where_clause: "\"Region\" IS NOT NULL AND shop = 'a;b'".into(),
        }],
        triggers: vec![TriggerModel { table: "Orders".into(), name: "tr".into(), class: "com.example.T".into() }],
        ..Default::default()
    };
    let objects = objects(&keyspace).expect("fine");
    let cql: Vec<&str> = objects[2..].iter().map(|object| object.cql.as_str()).collect();
    assert_eq!(
        cql,
        [
            r#"CREATE INDEX i ON shop."Orders" (values(m))"#,
            r#"CREATE CUSTOM INDEX "S" ON shop."Orders" (value) USING 'org.apache.cassandra.index.sasi.SASIIndex' WITH OPTIONS = {'mode': 'CONTAINS'}"#,
            r#"CREATE MATERIALIZED VIEW shop.by_value AS
    SELECT "Region", shop, "order", at, value
    FROM shop."Orders"
    WHERE "Region" IS NOT NULL AND shop = 'a;b'
    PRIMARY KEY (("Region", shop), "order", at)
    WITH CLUSTERING ORDER BY ("order" ASC, at DESC)
    AND comment = ''"#,
            r#"CREATE TRIGGER tr ON shop."Orders" USING 'com.example.T'"#,
        ]
    );
    assert!(objects[2..].iter().all(|object| object.table.as_deref() == Some("Orders")));
}

#[test]
fn compact_storage_is_refused_by_name() {
    let mut table = orders();
    table.flags = BTreeSet::from(["dense".to_owned(), "compound".to_owned()]);
    let keyspace = KeyspaceModel { name: "shop".into(), tables: vec![table], ..Default::default() };
    assert!(objects(&keyspace).expect_err("refused").message.contains("COMPACT STORAGE"));
    assert!(objects(&keyspace).expect_err("refused").message.contains("Orders"));
}
