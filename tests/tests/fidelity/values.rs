//! "Values": cells of every type come back as the bytes that they were.

use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use futures::FutureExt as _;
use num_bigint::BigInt;
use ringvault_tests::cassandra::{CassandraVersion, TestCluster};
use ringvault_tests::cql::{Cell, qualified};
use ringvault_tests::oracle::TableSnapshot;
use ringvault_tests::oracle::read::{Cells, Kind};
use ringvault_tests::runner::TestContext;
use ringvault_tests::samples::bytes::{bigint, date, decimal, double, duration, float, int, text};
use ringvault_tests::samples::{every_type, load};

use super::stage::{Case, Stage, own_proof};

/// Partition keys of the tables here are one int; this is one of them as a snapshot's key.
pub(crate) fn int_key(value: i32) -> Vec<u8> {
    [int(4), int(value)].concat()
}

pub(crate) fn cases(version: CassandraVersion) -> Vec<Case> {
    let mut cases = vec![
        // First: it makes the keyspace anew.
        Case::new("every_type_at_any_nesting_comes_back", Vec::<String>::new())
            .made_by(|cluster, keyspace| every_type::make(cluster, keyspace, 1).boxed_local())
            .checks(every_type_comes_back),
        a_null_and_an_empty_value_differ(),
        Case::new("floats_keep_nan_infinity_and_negative_zero", Vec::<String>::new()).checks(async |stage, _| {
            let floats = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0].map(float);
            same_column(&stage, "scalars", "c_float", &floats)?;
            let doubles = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0].map(double);
            same_column(&stage, "scalars", "c_double", &doubles)
        }),
        Case::new("decimals_keep_their_scale_and_varints_their_size", Vec::<String>::new()).checks(async |stage, _| {
            let ones = [decimal(1, &BigInt::from(10)), decimal(2, &BigInt::from(100))];
            same_column(&stage, "scalars", "c_decimal", &ones)?;
            // 10^300 + 7 takes 125 bytes.
            let huge = (BigInt::from(10).pow(300) + 7_i32).to_signed_bytes_be();
            same_column(&stage, "scalars", "c_varint", &[huge, vec![0, 0, 1]])
        }),
        Case::new("durations_keep_their_three_parts", Vec::<String>::new()).checks(async |stage, _| {
            let parts = [duration(1, 2, 3), duration(-1, -2, -3), duration(14, 0, 0), duration(0, -40, 0)];
            same_column(&stage, "scalars", "c_duration", &parts)
        }),
        Case::new("dates_times_and_timestamps_keep_every_year", Vec::<String>::new()).checks(async |stage, _| {
            same_column(&stage, "scalars", "c_date", &[0, (1 << 31) - 1, 1 << 31, u32::MAX].map(date))?;
            same_column(&stage, "scalars", "c_time", &[0, 1, 86_399_999_999_999].map(bigint))?;
            let hard = [-1, -62_135_596_800_001, 253_402_300_800_000, i64::MAX, i64::MIN].map(bigint);
            same_column(&stage, "scalars", "c_timestamp", &hard)
        }),
        Case::new("addresses_of_both_kinds_come_back", Vec::<String>::new()).checks(async |stage, _| {
            let mapped = [[0; 10].as_slice(), &[255, 255, 1, 2, 3, 4]].concat();
            same_column(&stage, "scalars", "c_inet", &[vec![127, 0, 0, 1], vec![0; 16], mapped])
        }),
        Case::new("text_keeps_every_code_point", Vec::<String>::new())
            .made_by(|cluster, keyspace| every_code_point(cluster, keyspace).boxed_local())
            .compares(&["code_points"])
            .checks(async |stage, _| {
                let (_, after) = stage.table("code_points")?;
                let column = column_values(after, "t")?;
                let held: usize = column.iter().map(|value| String::from_utf8_lossy(value).chars().count()).sum();
                ensure!(held == 0x11_0000 - 0x800, "{held} code points came back");
                Ok(())
            }),
        shorter_tuples(),
        names(),
        Case::new(
            "a_column_named_like_the_reserved_key_comes_back",
            [
                r#"CREATE TABLE KS.reserved ("$" int, "$$" text, "$w" map<text, int>, "$e" int static, "w" int,
                   PRIMARY KEY ("$", "w"))"#,
                r#"INSERT INTO KS.reserved ("$", "w", "$$", "$w", "$e") VALUES (1, 2, '$', {'$': 1}, 3) USING TIMESTAMP 5"#,
                r#"UPDATE KS.reserved USING TIMESTAMP 9 SET "$$" = '$$' WHERE "$" = 1 AND "w" = 2"#,
            ],
        )
        .compares(&["reserved"]),
    ];
    if version == CassandraVersion::V5_0 {
        cases.push(Case::new("vectors_come_back", Vec::<String>::new()).compares(&["vectors"]));
    }
    cases.push(Case::new("the_products_own_proof_agrees_about_values", Vec::<String>::new()).checks(own_proof));
    cases
}

/// Every table of the sample that no other case here looks at.
async fn every_type_comes_back(stage: Rc<Stage>, t: TestContext) -> Result<()> {
    let own = ["nulls", "code_points", "shorter", "Order", "reserved"];
    let (mut tables, mut rows) = (0, 0);
    for name in stage.before.tables.keys().filter(|name| !own.contains(&name.as_str())) {
        stage.ensure_equal(name)?;
        tables += 1;
        rows += stage.before.tables[name].rows.len();
    }
    ensure!(tables > 25, "{tables} tables were compared");
    t.note(format!("{tables} tables, {rows} rows"));
    Ok(())
}

fn a_null_and_an_empty_value_differ() -> Case {
    Case::new(
        "a_null_and_an_empty_value_differ",
        [
            "CREATE TABLE KS.nulls (k int PRIMARY KEY, i int, u uuid, t text, b blob, ts timestamp, d double, v varint, \
             bo boolean, ip inet)",
            "INSERT INTO KS.nulls (k, i, u, t, b, ts, d, v, bo, ip) VALUES (1, blobAsInt(0x), blobAsUuid(0x), '', 0x, \
             blobAsTimestamp(0x), blobAsDouble(0x), blobAsVarint(0x), blobAsBoolean(0x), blobAsInet(0x))",
            "INSERT INTO KS.nulls (k, i, u, t, b, ts, d, v, bo, ip) VALUES (2, null, null, null, null, null, null, \
             null, null, null)",
            "INSERT INTO KS.nulls (k) VALUES (3)",
        ],
    )
    .compares(&["nulls"])
    .checks(async |stage, _| {
        let (_, after) = stage.table("nulls")?;
        let row = |k: i32| after.rows.get(&int_key(k)).with_context(|| format!("row {k} is missing"));
        let empty = |cells: &Cells| cells.iter().all(|cell| cell.as_ref().is_some_and(|cell| cell.value.is_empty()));
        ensure!(empty(row(1)?), "an empty value is no longer empty: {:?}", row(1)?);
        for k in [2, 3] {
            ensure!(row(k)?.iter().all(Option::is_none), "a null of row {k} is no longer null: {:?}", row(k)?);
        }
        Ok(())
    })
}

/// Rows of 64 Ki code points each, without the surrogates, which are no characters; ASCII once more in its own column.
async fn every_code_point(cluster: &TestCluster, keyspace: &str) -> Result<()> {
    let table = qualified(keyspace, "code_points");
    cluster.run(&[&format!("CREATE TABLE {table} (plane int PRIMARY KEY, t text, a ascii)")]).await?;
    let ascii: String = (0..128_u8).map(char::from).collect();
    let rows = (0..17_u32).map(|plane| {
        let points: String = (plane << 16..(plane + 1) << 16).filter_map(char::from_u32).collect();
        let own = if plane == 0 { Cell::Raw(text(&ascii)) } else { Cell::Unset };
        vec![Cell::Raw(int(plane.cast_signed())), Cell::Raw(text(&points)), own]
    });
    load(cluster.session(), &format!("INSERT INTO {table} (plane, t, a) VALUES (?, ?, ?)"), rows).await.map(drop)
}

/// Written before a type grew, and tuples written short.
fn shorter_tuples() -> Case {
    Case::new(
        "tuples_and_types_keep_fewer_fields_than_they_have_now",
        [
            "CREATE TYPE KS.growing (a int)",
            "CREATE TABLE KS.shorter (k int PRIMARY KEY, t tuple<int, text, int>, f frozen<growing>, g growing, \
             l list<frozen<growing>>, m map<text, frozen<growing>>, s frozen<set<frozen<tuple<int, int>>>>)",
            "INSERT INTO KS.shorter (k, t, f, g, l, m, s) \
             VALUES (1, (1, 'a'), {a: 1}, {a: 1}, [{a: 1}], {'k': {a: 1}}, {(1, 2)})",
            "ALTER TYPE KS.growing ADD b text",
            "INSERT INTO KS.shorter (k, t, f, g, l, m) \
             VALUES (2, (1, 'a', null), {a: 1, b: null}, {a: null, b: 'x'}, [{a: 1}], {'k': {a: 1, b: ''}})",
        ],
    )
    .compares(&["shorter"])
    .checks(async |stage, _| {
        let (_, after) = stage.table("shorter")?;
        let lengths = |k: i32, name: &str| -> Result<usize> {
            let columns = after.columns_of(Kind::Regular);
            let at = columns.iter().position(|column| column.name == name).context("a column")?;
            let cell = after.rows.get(&int_key(k)).and_then(|cells| cells[at].as_ref()).context("a cell")?;
            Ok(cell.value.len())
        };
        ensure!(lengths(1, "t")? == 8 + 5 && lengths(2, "t")? == 8 + 5 + 4, "a short tuple has grown or shrunk");
        ensure!(lengths(1, "f")? == 8 && lengths(2, "f")? == 12, "a frozen type has grown or shrunk");
        Ok(())
    })
}

fn names() -> Case {
    Case::new(
        "quoted_mixed_case_and_reserved_names_come_back",
        [
            r#"CREATE TYPE KS."Select" ("from" int, "$" text, "a.b" frozen<list<int>>)"#,
            r#"CREATE TABLE KS."Order" ("select" int, "From" text, "ключ; -- ""x""" int, "*" frozen<"Select">,
               "order by" map<text, frozen<"Select">>, "ORDER BY" int static, PRIMARY KEY ("select", "From"))
               WITH CLUSTERING ORDER BY ("From" DESC)"#,
            r#"INSERT INTO KS."Order" ("select", "From", "ключ; -- ""x""", "*", "order by", "ORDER BY")
               VALUES (1, 'f', 2, {"from": 1, "$": '$', "a.b": [1]}, {'k': {"from": 2}}, 7)"#,
            r#"CREATE INDEX "By_it" ON KS."Order" ("ключ; -- ""x""")"#,
        ],
    )
    .compares(&["Order"])
    .checks(async |stage, t| {
        let query = format!("SELECT * FROM {} WHERE \"ключ; -- \"\"x\"\"\" = 2", stage.qualified("Order"));
        let rows = ringvault_tests::cql::query_raw(t.cluster().session(), &query).await?;
        ensure!(rows.len() == 1, "{} rows by an index of odd names", rows.len());
        Ok(())
    })
}

/// Values of a regular column, without nulls.
fn column_values(table: &TableSnapshot, name: &str) -> Result<BTreeSet<Vec<u8>>> {
    let columns = table.columns_of(Kind::Regular);
    let at = columns.iter().position(|column| column.name == name).with_context(|| format!("no column {name}"))?;
    Ok(table.rows.values().filter_map(|cells| cells[at].as_ref()).map(|cell| cell.value.to_vec()).collect())
}

/// The column holds the same values as before, and these hard ones are among them.
fn same_column(stage: &Stage, table: &str, name: &str, hard: &[Vec<u8>]) -> Result<()> {
    let (before, after) = stage.table(table)?;
    let (before, after) = (column_values(before, name)?, column_values(after, name)?);
    for value in hard {
        ensure!(before.contains(value), "the sample lacks {} in {name}", hex::encode(value));
        ensure!(after.contains(value), "{} is lost from {name}", hex::encode(value));
    }
    ensure!(before == after, "{name} of {table} holds other values");
    Ok(())
}
