//! "Rows": markers, statics, elements that are written by addition, lists, counters, nulls.
//!
//! What a release can't tell is asked by tombstones: a deletion at a time hides what was written at that time or before,
//! and nothing newer.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, TestCluster};
use ringvault_tests::cql::query_raw;
use ringvault_tests::oracle::{Scope, compare_tables, read_table};
use ringvault_tests::runner::TestContext;
use ringvault_tests::samples::bytes::{bigint, int};

use super::stage::{Case, Stage, own_proof};
use super::values::int_key;

pub(crate) fn cases(version: CassandraVersion) -> Vec<Case> {
    let mut cases = key_only();
    cases.extend([
        Case::new(
            "statics_come_back_once_a_partition_also_without_rows",
            [
                "CREATE TABLE KS.statics (k int, c int, s text static, m map<text, int> static, v int, PRIMARY KEY (k, c))",
                // Statics alone; rows alone; both; statics whose rows were deleted.
                "INSERT INTO KS.statics (k, s, m) VALUES (1, 'alone', {'a': 1}) USING TIMESTAMP 1000",
                "INSERT INTO KS.statics (k, c, v) VALUES (2, 1, 1) USING TIMESTAMP 1000",
                "INSERT INTO KS.statics (k, c, s, v) VALUES (3, 1, 'both', 1) USING TIMESTAMP 1000",
                "INSERT INTO KS.statics (k, c, v) VALUES (3, 2, 2) USING TIMESTAMP 2000",
                "UPDATE KS.statics USING TIMESTAMP 3000 AND TTL 86400 SET m = m + {'later': 2} WHERE k = 3",
                "INSERT INTO KS.statics (k, c, s, v) VALUES (4, 1, 'left', 1) USING TIMESTAMP 1000",
                "DELETE FROM KS.statics USING TIMESTAMP 2000 WHERE k = 4 AND c = 1",
            ],
        )
        .compares(&["statics"])
        .checks(async |stage, t| {
            let (_, after) = stage.table("statics")?;
            ensure!(after.statics.len() == 3, "{} partitions have statics", after.statics.len());
            ensure!(after.rows.len() == 3, "{} rows came back", after.rows.len());
            let query = format!("SELECT k, c FROM {} WHERE k = 1", stage.qualified("statics"));
            let rows = query_raw(t.cluster().session(), &query).await?;
            ensure!(rows.len() == 1 && rows[0][1].is_none(), "a partition of statics alone shows {rows:?}");
            Ok(())
        }),
        elements(),
        fields(),
        Case::new(
            "elements_without_any_other_cell_come_back",
            [
                "CREATE TABLE KS.bare_elements (k int PRIMARY KEY, m map<text, int>, s set<int>)",
                "UPDATE KS.bare_elements USING TIMESTAMP 100 SET m = m + {'a': 1}, s = s + {1} WHERE k = 1",
                "UPDATE KS.bare_elements USING TIMESTAMP 200 SET m = m + {'b': 2} WHERE k = 1",
            ],
        )
        .compares(&["bare_elements"]),
        lists(),
        counters(),
        nulls_stay_unwritten(),
    ]);
    if version == CassandraVersion::V5_0 {
        cases.push(exact_elements());
    } else {
        cases.push(fallback_elements());
    }
    cases.push(Case::new("the_products_own_proof_agrees_about_rows", Vec::<String>::new()).checks(own_proof));
    cases
}

/// Rows of nothing but their key: CQL tells nothing of their marker.
fn key_only() -> Vec<Case> {
    vec![
        Case::new(
            "a_row_of_only_a_key_comes_back_at_the_backups_start_and_is_declared",
            [
                "CREATE TABLE KS.key_only (k int, c int, v int, PRIMARY KEY (k, c))",
                "INSERT INTO KS.key_only (k, c) VALUES (1, 1) USING TIMESTAMP 1000",
                "INSERT INTO KS.key_only (k, c) VALUES (1, 2)",
                "INSERT INTO KS.key_only (k, c, v) VALUES (1, 3, 3) USING TIMESTAMP 1000",
                // No marker: this row ends with its last cell.
                "UPDATE KS.key_only USING TIMESTAMP 1000 SET v = 4 WHERE k = 1 AND c = 4",
            ],
        )
        .compares(&["key_only"])
        .checks(marker_at_start),
        Case::new(
            "a_row_of_only_a_key_is_kept_in_a_table_of_keys",
            [
                "CREATE TABLE KS.keys (a int, b text, PRIMARY KEY (a, b)) WITH default_time_to_live = 864000",
                "INSERT INTO KS.keys (a, b) VALUES (1, '')",
                "INSERT INTO KS.keys (a, b) VALUES (1, 'x') USING TTL 86400",
            ],
        )
        .compares(&["keys"])
        .checks(async |stage, _| stage.ensure_declared("keys", "row_markers", "")),
    ]
}

async fn marker_at_start(stage: Rc<Stage>, t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let started = stage.started_us()?;
    let table = stage.qualified("key_only");
    let shows = async |c: i32| -> Result<bool> {
        let query = format!("SELECT k FROM {table} WHERE k = 1 AND c = {c}");
        Ok(!query_raw(cluster.session(), &query).await?.is_empty())
    };
    for c in [1, 2] {
        for (time, there) in [(started - 1, true), (started, false)] {
            let delete = format!("DELETE FROM {table} USING TIMESTAMP {time} WHERE k = 1 AND c = {c}");
            cluster.run(&[&delete]).await?;
            ensure!(shows(c).await? == there, "row {c}: its marker is not of the backup's start {started} µs");
        }
    }
    // What has a cell has its marker at that cell's time, or none: nothing newer keeps it.
    cluster.run(&[&format!("DELETE FROM {table} USING TIMESTAMP 1000 WHERE k = 1 AND c = 3")]).await?;
    ensure!(!shows(3).await?, "a marker newer than its row's cells");
    let shown = stage.shown_table("key_only")?;
    ensure!(shown["key_only_rows"] == 2, "show counts otherwise: {shown}");
    stage.ensure_declared("key_only", "row_markers", "")
}

/// The trap: an assignment at 200 would hide what was added at 100.
fn elements() -> Case {
    Case::new(
        "an_assignment_does_not_hide_elements_that_were_added_before",
        [
            "CREATE TABLE KS.elements (k int PRIMARY KEY, v int, m map<text, int>, s set<int>, st set<text>)",
            "INSERT INTO KS.elements (k, v) VALUES (1, 1) USING TIMESTAMP 200",
            "UPDATE KS.elements USING TIMESTAMP 100 SET m = m + {'at 100': 1}, s = s + {1} WHERE k = 1",
            "UPDATE KS.elements USING TIMESTAMP 200 SET m = m + {'at 200': 2}, s = s + {2} WHERE k = 1",
            "UPDATE KS.elements USING TIMESTAMP 300 AND TTL 86400 SET m = m + {'expires': 3}, s = s + {3} WHERE k = 1",
            // An assignment, and an element below its deletion that stays hidden.
            "INSERT INTO KS.elements (k, m, s) VALUES (2, {'assigned': 1}, {1}) USING TIMESTAMP 200",
            "UPDATE KS.elements USING TIMESTAMP 100 SET m = m + {'hidden': 9}, s = s + {9} WHERE k = 2",
            "UPDATE KS.elements USING TIMESTAMP 250 SET m = m + {'added': 2} WHERE k = 2",
            // Elements of equal time and different expiry.
            "UPDATE KS.elements USING TIMESTAMP 100 SET m = m + {'for ever': 1} WHERE k = 3",
            "UPDATE KS.elements USING TIMESTAMP 100 AND TTL 86400 SET m = m + {'a day': 1} WHERE k = 3",
            "UPDATE KS.elements USING TIMESTAMP 100 AND TTL 172800 SET m = m + {'two days': 1} WHERE k = 3",
        ],
    )
    .compares(&["elements"])
}

fn fields() -> Case {
    Case::new(
        "fields_of_a_type_come_back_by_their_own_times_also_static_ones",
        [
            "CREATE TYPE KS.place (street text, number int, tags frozen<set<text>>)",
            "CREATE TABLE KS.fields (k int, c int, u place, su place static, v int, PRIMARY KEY (k, c))",
            "INSERT INTO KS.fields (k, c, v, u) VALUES (1, 1, 1, {street: 's', number: 1, tags: {'t'}}) USING TIMESTAMP 200",
            "UPDATE KS.fields USING TIMESTAMP 300 SET u.number = 2 WHERE k = 1 AND c = 1",
            "INSERT INTO KS.fields (k, c, v) VALUES (1, 2, 1) USING TIMESTAMP 500",
            "UPDATE KS.fields USING TIMESTAMP 100 SET u.street = 'old' WHERE k = 1 AND c = 2",
            "UPDATE KS.fields USING TIMESTAMP 200 AND TTL 86400 SET u.number = 3 WHERE k = 1 AND c = 2",
            "UPDATE KS.fields USING TIMESTAMP 100 SET su.street = 'static' WHERE k = 1",
            "UPDATE KS.fields USING TIMESTAMP 200 SET su.number = 4 WHERE k = 1",
            // A field that was there and went.
            "INSERT INTO KS.fields (k, c, u) VALUES (2, 1, {street: 'x', number: 1}) USING TIMESTAMP 100",
            "UPDATE KS.fields USING TIMESTAMP 200 SET u.street = null WHERE k = 2 AND c = 1",
        ],
    )
    .compares(&["fields"])
}

/// What the comparison of [`elements`] holds on 5.0, once more by hand: the oracle could be blind.
fn exact_elements() -> Case {
    Case::new("each_element_has_its_own_time_and_expiry", Vec::<String>::new()).checks(async |stage, t| {
        let query =
            format!("SELECT writetime(m), writetime(s), ttl(m) FROM {} WHERE k = 1", stage.qualified("elements"));
        let rows = query_raw(t.cluster().session(), &query).await?;
        let row = rows.first().context("the row is there")?;
        // In the order of the keys: 'at 100', 'at 200', 'expires'.
        let times = ringvault_tests::samples::bytes::list(&[100, 200, 300].map(bigint));
        ensure!(row[0] == Some(times.clone()) && row[1] == Some(times), "other times: {row:?}");
        let tail = row[2].as_ref().and_then(|ttls| ttls.last_chunk::<4>()).context("a TTL of the last element")?;
        ensure!((80_000..=86_400).contains(&i32::from_be_bytes(*tail)), "the last element's TTL is {tail:?}");
        Ok(())
    })
}

/// Before 5.0 a collection is written at its row's newest time; the report says so.
fn fallback_elements() -> Case {
    Case::new("unreadable_element_times_fall_back_to_the_rows_newest_and_are_declared", Vec::<String>::new()).checks(
        async |stage, t| {
            let cluster = t.cluster();
            let table = stage.qualified("elements");
            let map = async || query_raw(cluster.session(), &format!("SELECT m FROM {table} WHERE k = 1")).await;
            cluster.run(&[&format!("DELETE m FROM {table} USING TIMESTAMP 199 WHERE k = 1")]).await?;
            let row = map().await?;
            ensure!(row[0][0] == stage_map(&stage)?, "an element is older than its row's newest cell: {row:?}");
            cluster.run(&[&format!("DELETE m FROM {table} USING TIMESTAMP 200 WHERE k = 1")]).await?;
            ensure!(map().await?[0][0].is_none(), "elements are newer than their row's newest cell");
            for column in ["m", "s"] {
                stage.ensure_declared("elements", "column_times", column)?;
            }
            let shown = stage.shown_table("elements")?;
            ensure!(shown["estimated_cells"].as_u64() > Some(0), "no cell counts as estimated: {shown}");
            Ok(())
        },
    )
}

fn stage_map(stage: &Stage) -> Result<Option<Vec<u8>>> {
    let (before, _) = stage.table("elements")?;
    let at = before.columns_of(ringvault_tests::oracle::read::Kind::Regular).iter().position(|c| c.name == "m");
    let cells = before.rows.get(&int_key(1)).context("the row was there")?;
    Ok(cells[at.context("a column m")?].as_ref().map(|cell| cell.value.to_vec()))
}

fn lists() -> Case {
    let mut statements = vec![
        "CREATE TABLE KS.lists (k int PRIMARY KEY, l list<int>, v int)".to_owned(),
        "INSERT INTO KS.lists (k, l, v) VALUES (1, [1, 2, 1], 1) USING TIMESTAMP 1000".to_owned(),
        "UPDATE KS.lists USING TIMESTAMP 2000 SET l = l + [3], v = 2 WHERE k = 1".to_owned(),
        "UPDATE KS.lists USING TIMESTAMP 1500 SET l = [0] + l WHERE k = 1".to_owned(),
        "INSERT INTO KS.lists (k, l) VALUES (2, [7, 7]) USING TIMESTAMP 1000 AND TTL 86400".to_owned(),
    ];
    statements.extend((10..60).map(|k| format!("INSERT INTO KS.lists (k, l, v) VALUES ({k}, [{k}, 1], 0)")));
    Case::new("a_list_does_not_double_however_often_it_is_written", statements)
        .compares(&["lists"])
        .checks(lists_do_not_double)
}

async fn lists_do_not_double(stage: Rc<Stage>, t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    // The server's habit, without which none of this was needed.
    let table = stage.qualified("lists");
    for _ in 0..2 {
        let insert = format!("INSERT INTO {table} (k, l) VALUES (-1, [1, 2]) USING TIMESTAMP 1000");
        cluster.run(&[&insert]).await?;
    }
    let doubled = query_raw(cluster.session(), &format!("SELECT l FROM {table} WHERE k = -1")).await?;
    ensure!(doubled[0][0].as_ref().map(Vec::len) == Some(4 + 4 * 8), "this server does not double: {doubled:?}");
    cluster.run(&[&format!("DELETE FROM {table} WHERE k = -1")]).await?;
    let (before, _) = stage.table("lists")?;
    for mode in ["append", "only-missing", "append"] {
        stage.bench.restore(&stage.keyspace, &["--if-exists", mode, "--tables", "lists"]).await?;
        let again = read_table(cluster.session(), &stage.keyspace, "lists").await?;
        compare_tables(before, &again, Scope::Values).ensure_equal().with_context(|| format!("after {mode}"))?;
    }
    stage.ensure_declared("lists", "list_times", "l")
}

fn counters() -> Case {
    Case::new(
        "counters_come_back_by_value_and_a_null_is_not_zero",
        [
            "CREATE TABLE KS.counters (k int, c int, hits counter, misses counter, total counter static, \
             PRIMARY KEY (k, c))",
            "UPDATE KS.counters SET hits = hits + 5 WHERE k = 1 AND c = 1",
            "UPDATE KS.counters SET hits = hits - 12, misses = misses + 9223372036854775807 WHERE k = 1 AND c = 2",
            "UPDATE KS.counters SET misses = misses + 3 WHERE k = 1 AND c = 3",
            "UPDATE KS.counters SET misses = misses - 3 WHERE k = 1 AND c = 3",
            "UPDATE KS.counters SET total = total - 1 WHERE k = 2",
        ],
    )
    .compares(&["counters"])
    .checks(async |stage, t| {
        let query = format!("SELECT hits, misses FROM {} WHERE k = 1", stage.qualified("counters"));
        let rows = query_raw(t.cluster().session(), &query).await?;
        let expected =
            [vec![Some(bigint(5)), None], vec![Some(bigint(-12)), Some(bigint(i64::MAX))], vec![None, Some(bigint(0))]];
        ensure!(rows == expected, "other counters: {rows:?}");
        // Counted up twice is wrong, so a target that holds counters is refused, before any write.
        let run = stage.bench.try_restore(&stage.keyspace, &["--if-exists", "append", "--tables", "counters"]).await?;
        run.refused(1, &["conflict", "invalid"], &["counter"])?;
        let again = query_raw(t.cluster().session(), &query).await?;
        ensure!(again == expected, "a refused restore changed counters: {again:?}");
        stage.ensure_declared("counters", "counter_times", "")
    })
}

/// A null that is bound is a tombstone: it would hide older cells that come later, by repair or another restore.
fn nulls_stay_unwritten() -> Case {
    Case::new(
        "a_null_is_left_unset_and_leaves_no_tombstone",
        [
            "CREATE TYPE KS.pair (a int, b int)",
            "CREATE TABLE KS.unset_cells (k int, c int, v int, w text, m map<text, int>, l list<int>, u pair, s int static, \
             PRIMARY KEY (k, c))",
            "INSERT INTO KS.unset_cells (k, c, v) VALUES (1, 1, 1) USING TIMESTAMP 1000",
        ],
    )
    .compares(&["unset_cells"])
    .checks(async |stage, t| older_cells_show(&stage, t.cluster()).await)
}

async fn older_cells_show(stage: &Stage, cluster: &TestCluster) -> Result<()> {
    let table = stage.qualified("unset_cells");
    let update = format!(
        "UPDATE {table} USING TIMESTAMP 500 SET w = 'w', m = m + {{'a': 1}}, l = l + [1], u.a = 1 WHERE k = 1 AND c = 1"
    );
    let fixed = format!("UPDATE {table} USING TIMESTAMP 500 SET s = 1 WHERE k = 1");
    cluster.run(&[&update, &fixed]).await?;
    let rows =
        query_raw(cluster.session(), &format!("SELECT w, m, l, u, s FROM {table} WHERE k = 1 AND c = 1")).await?;
    let hidden: Vec<usize> = rows[0].iter().enumerate().filter(|(_, cell)| cell.is_none()).map(|(at, _)| at).collect();
    ensure!(hidden.is_empty(), "tombstones hide older cells of w, m, l, u, s at {hidden:?}");
    ensure!(rows[0][4] == Some(int(1)), "a static of another value");
    Ok(())
}
