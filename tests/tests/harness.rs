//! The harness proved by itself: every release starts, the samples load, and the oracle tells equal tables from others.
#![allow(missing_docs)]

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster, connect};
use ringvault_tests::cql::{Cell, Cells, qualified, quote};
use ringvault_tests::oracle::compare::Scope;
use ringvault_tests::oracle::read::Kind;
use ringvault_tests::oracle::{self, compare_keyspaces, compare_tables, read_keyspace, read_table};
use ringvault_tests::runner::{self, Test, TestContext};
use ringvault_tests::samples::{every_type, large, shop, zoo};

fn main() -> ExitCode {
    let mut tests = Vec::new();
    for version in CassandraVersion::ALL {
        let name = |what: &str| format!("{what}_on_{}", version.label());
        let one = || ClusterSpec::one(version);
        tests.push(Test::new(name("a_node_answers"), a_node_answers).on(one()));
        tests.push(Test::new(name("every_type_equals_itself"), every_type_equals_itself).on(one()));
        tests.push(Test::new(name("copied_rows_compare_equal"), copied_rows_compare_equal).on(one()));
        tests.push(Test::new(name("the_oracle_sees_each_difference"), the_oracle_sees_each_difference).on(one()));
        tests.push(Test::new(name("schemas_compare"), schemas_compare).on(one()));
    }
    let newest = ClusterSpec::one(CassandraVersion::V5_0);
    tests.push(Test::new("large_samples_have_their_rows", large_samples_have_their_rows).on(newest));
    let three = ClusterSpec::three(CassandraVersion::V5_0);
    tests.push(Test::new("three_nodes_hold_every_row", three_nodes_hold_every_row).on(three.clone()));
    tests.push(Test::new("a_node_goes_and_comes_back", a_node_goes_and_comes_back).on(three));
    let secured = ClusterSpec::one(CassandraVersion::V4_1).with_auth().with_tls();
    tests.push(Test::new("a_node_asks_for_tls_and_password", a_node_asks_for_tls_and_password).on(secured));
    runner::run(tests)
}

async fn a_node_answers(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let query = "SELECT release_version FROM system.local";
    let (says,) = cluster.session().query_unpaged(query, ()).await?.into_rows_result()?.single_row::<(String,)>()?;
    ensure!(says == cluster.version().release(), "it is {says}");
    Ok(())
}

async fn every_type_equals_itself(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    every_type::make(cluster, "Every", 1).await?;
    let first = read_keyspace(cluster.session(), "Every").await?;
    let again = read_keyspace(cluster.session(), "Every").await?;
    let compared = compare_keyspaces(&first, &again, Scope::ValuesAndTimes);
    t.note(format!("{} tables; {compared}", first.tables.len()));
    compared.ensure_equal()?;
    for (name, table) in &first.tables {
        ensure!(!table.rows.is_empty(), "the table {name} is empty");
    }
    let statics = &first.tables["statics"];
    ensure!(statics.statics.len() == 50 + 20 + 1, "{} partitions have statics", statics.statics.len());
    ensure!(statics.rows.len() == 20 * 30 + 30, "{} rows have clusterings", statics.rows.len());
    Ok(())
}

/// Copies every table of the sample but the counters by raw bytes and compares values.
async fn copied_rows_compare_equal(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("Copy", 1).await?;
    let tables = ["scalars", "collections", "statics", "MixedCase", "key_text", "key_composite", "keys_only"];
    for table in tables {
        if table == "MixedCase" {
            let typ =
                r#"CREATE TYPE IF NOT EXISTS "Copy"."MyType" ("$" int, "Mixed Case" text, "w" frozen<list<double>>)"#;
            cluster.run(&[typ]).await?;
        }
        let before = read_table(cluster.session(), "Every", table).await?;
        copy_values(cluster, &before, "Copy").await.with_context(|| format!("copy {table}"))?;
        let after = read_table(cluster.session(), "Copy", table).await?;
        compare_tables(&before, &after, Scope::Values).ensure_equal()?;
    }
    Ok(())
}

/// Creates the table from the snapshot's columns and writes its values.
async fn copy_values(cluster: &TestCluster, from: &oracle::TableSnapshot, keyspace: &str) -> Result<()> {
    let target = qualified(keyspace, &from.table);
    let columns: Vec<String> = from
        .columns
        .iter()
        .map(|c| format!("{} {}{}", quote(&c.name), c.cql_type, if c.kind == Kind::Static { " STATIC" } else { "" }))
        .collect();
    let names = |kind| from.columns_of(kind).iter().map(|c| quote(&c.name)).collect::<Vec<_>>();
    let mut key = format!("({})", names(Kind::Partition).join(", "));
    for clustering in names(Kind::Clustering) {
        key = format!("{key}, {clustering}");
    }
    cluster.run(&[&format!("CREATE TABLE {target} ({}, PRIMARY KEY ({key}))", columns.join(", "))]).await?;
    let key_columns = [names(Kind::Partition), names(Kind::Clustering)].concat();
    let shapes =
        [(&from.rows, key_columns, names(Kind::Regular)), (&from.statics, names(Kind::Partition), names(Kind::Static))];
    for (rows, keys, values) in shapes {
        if rows.is_empty() {
            continue;
        }
        let all = [keys.clone(), values].concat();
        let marks = vec!["?"; all.len()].join(", ");
        let insert = format!("INSERT INTO {target} ({}) VALUES ({marks})", all.join(", "));
        let insert = cluster.session().prepare(insert).await?;
        for (key, cells) in rows {
            let mut bound = key_parts(key);
            bound.extend(cells.iter().map(|cell| cell.as_ref().map(|c| c.value.to_vec()).into()));
            cluster.session().execute_unpaged(&insert, Cells(bound)).await?;
        }
    }
    Ok(())
}

/// The snapshot's key is a sequence of length and bytes.
fn key_parts(mut key: &[u8]) -> Vec<Cell> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = key.split_first_chunk::<4>() {
        let (part, behind) = rest.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(Cell::Raw(part.to_vec()));
        key = behind;
    }
    parts
}

async fn the_oracle_sees_each_difference(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("differ", 1).await?;
    let create = "CREATE TABLE differ.t (pk int, ck int, s text static, v int, w text, PRIMARY KEY (pk, ck))";
    let row = "INSERT INTO differ.t (pk, ck, s, v, w) VALUES (1, 1, 's', 1, '') USING TIMESTAMP 1000";
    let second = "INSERT INTO differ.t (pk, ck, v) VALUES (1, 2, 1) USING TIMESTAMP 1000";
    let expiring = "INSERT INTO differ.t (pk, ck, v) VALUES (1, 9, 1) USING TIMESTAMP 1000 AND TTL 1000";
    cluster.run(&[create, row, second, expiring]).await?;
    let mut before = read_table(cluster.session(), "differ", "t").await?;
    for (change, says) in [
        ("UPDATE differ.t USING TIMESTAMP 2000 SET v = 1 WHERE pk = 1 AND ck = 1", "was written at"),
        ("UPDATE differ.t USING TIMESTAMP 1000 AND TTL 5000 SET v = 1 WHERE pk = 1 AND ck = 9", "expired at"),
        ("UPDATE differ.t USING TIMESTAMP 3000 SET v = 2 WHERE pk = 1 AND ck = 1", "and is 0x00000002"),
        ("DELETE w FROM differ.t WHERE pk = 1 AND ck = 1", "and is null"),
        ("DELETE s FROM differ.t WHERE pk = 1", "statics of the partition"),
        ("INSERT INTO differ.t (pk, ck) VALUES (1, 3)", "is new"),
        ("DELETE FROM differ.t WHERE pk = 1 AND ck = 2", "is missing"),
    ] {
        cluster.run(&[change]).await?;
        let after = read_table(cluster.session(), "differ", "t").await?;
        let compared = compare_tables(&before, &after, Scope::ValuesAndTimes);
        let named = compared.to_string();
        ensure!(compared.differences == 1 && named.contains(says), "after {change}: {named}");
        before = after;
    }
    Ok(())
}

async fn schemas_compare(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    zoo::make(cluster, "zoo").await?;
    let before = oracle::schema::read(cluster.session(), "zoo").await?;
    let same = oracle::schema::read(cluster.session(), "zoo").await?;
    ensure!(oracle::schema::differences(&before, &same).is_empty(), "equal schemas differ");
    cluster.run(&["ALTER TABLE zoo.base WITH gc_grace_seconds = 1", "DROP INDEX zoo.by_word"]).await?;
    let after = oracle::schema::read(cluster.session(), "zoo").await?;
    let found = oracle::schema::differences(&before, &after);
    ensure!(found.len() == 2, "two differences, found {found:#?}");
    cluster.drop_keyspace("zoo").await
}

async fn large_samples_have_their_rows(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    large::keyspace(cluster, "large", 1).await?;
    let rows = if t.long { 1_000_000 } else { 20_000 };
    for wide in [true, false] {
        let begun = std::time::Instant::now();
        let name = if wide { "wide" } else { "many" };
        if wide {
            large::wide_partition(cluster, "large", rows).await?;
        } else {
            large::many_partitions(cluster, "large", rows).await?;
        }
        let loaded = begun.elapsed().as_secs_f64();
        let read = read_table(cluster.session(), "large", name).await?;
        let all = begun.elapsed().as_secs_f64();
        ensure!(read.rows.len() as u64 == rows, "{name} has {} rows", read.rows.len());
        let written = rows as f64 / loaded;
        t.note(format!("{name}: {written:.0} rows/s written, {:.0} rows/s compared", rows as f64 / (all - loaded)));
    }
    let begun = std::time::Instant::now();
    let tables = shop::make(cluster, "shop", 1, if t.long { 100 } else { 5 }).await?;
    let snapshot = read_keyspace(cluster.session(), "shop").await?;
    for (table, rows) in &tables {
        let read = snapshot.tables[table].rows.len() as u64;
        ensure!(read == *rows, "{table} has {read} of {rows} rows");
    }
    t.note(format!("shop: {} rows, {:.1} s", snapshot.rows(), begun.elapsed().as_secs_f64()));
    cluster.drop_keyspace("large").await?;
    cluster.drop_keyspace("shop").await
}

async fn three_nodes_hold_every_row(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    for replication_factor in [3] {
        every_type::make(cluster, "every", replication_factor).await?;
        let first = read_keyspace(cluster.session(), "every").await?;
        let again = read_keyspace(cluster.session(), "every").await?;
        compare_keyspaces(&first, &again, Scope::ValuesAndTimes).ensure_equal()?;
    }
    cluster.drop_keyspace("every").await
}

async fn a_node_goes_and_comes_back(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.kill_node(2);
    let gone = connect(&[cluster.address(2)], None, None).await;
    ensure!(gone.is_err(), "a killed node still answers");
    cluster.restart_node(2).await
}

async fn a_node_asks_for_tls_and_password(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let address = ["127.0.0.1".to_owned()];
    let plain = connect(&address, Some(("cassandra", "cassandra")), None).await;
    ensure!(plain.is_err(), "it speaks without TLS");
    let certificates = cluster.certificates();
    let wrong = connect(&address, Some(("cassandra", "wrong")), certificates).await;
    ensure!(wrong.is_err(), "it takes a wrong password");
    let nobody = connect(&address, None, certificates).await;
    ensure!(nobody.is_err(), "it takes no password");
    Ok(())
}
