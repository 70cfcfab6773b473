//! "Schema": every object comes back as the server itself describes it, and works.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use futures::FutureExt as _;
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::cql::{query_i64, query_raw};
use ringvault_tests::oracle::schema::differences;
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::samples::bytes::{int, text};
use ringvault_tests::samples::zoo;

use super::proof::two_hundred;
use super::stage::{Case, Stage, named};

pub(crate) fn cases(version: CassandraVersion) -> Vec<Case> {
    let mut cases = vec![
        // First: it makes the keyspace anew.
        Case::new("the_whole_schema_comes_back_as_the_server_describes_it", Vec::<String>::new())
            .made_by(|cluster, keyspace| zoo::make(cluster, keyspace).boxed_local())
            .compares(&["base"])
            .checks(whole_schema),
        Case::new(
            "types_come_before_what_uses_them_at_any_depth",
            [
                // Names that sort against their order of use, and a type beside them that nothing uses.
                "CREATE TYPE KS.zz (a int)",
                "CREATE TYPE KS.yy (a frozen<zz>, b frozen<map<text, frozen<zz>>>)",
                "CREATE TYPE KS.xx (a frozen<list<frozen<tuple<frozen<yy>, int>>>>)",
                "CREATE TYPE KS.aa_lonely (\"A b\" frozen<set<frozen<xx>>>)",
                "CREATE TABLE KS.typed (k int PRIMARY KEY, x frozen<xx>, y yy)",
                "INSERT INTO KS.typed (k, x, y) VALUES (1, {a: [({a: {a: 1}, b: {'k': {a: 2}}}, 3)]}, {a: {a: 4}})",
            ],
        )
        .compares(&["typed"])
        .checks(async |stage, _| {
            for name in ["zz", "yy", "xx", "aa_lonely"] {
                same_object(&stage, &format!("types {name}"))?;
            }
            Ok(())
        }),
        functions(),
        options(version),
        Case::new(
            "static_frozen_and_reversed_clustering_come_back",
            [
                "CREATE TABLE KS.shaped (a text, b int, c frozen<list<int>>, d timestamp, e int, s text static, v int, \
                 PRIMARY KEY ((a, b), c, d, e)) WITH CLUSTERING ORDER BY (c DESC, d ASC, e DESC)",
                "INSERT INTO KS.shaped (a, b, c, d, e, s, v) VALUES ('', 0, [1, 2], 0, 1, 's', 1)",
                "INSERT INTO KS.shaped (a, b, c, d, e, s, v) VALUES ('', 0, [], 5, 2, 's', 1)",
                "INSERT INTO KS.shaped (a, b, c, d, e, s, v) VALUES ('', 0, [], 5, 3, 's', 1)",
            ],
        )
        .compares(&["shaped"])
        .checks(async |stage, t| {
            let query = format!("SELECT e FROM {} WHERE a = '' AND b = 0", stage.qualified("shaped"));
            let rows = query_raw(t.cluster().session(), &query).await?;
            ensure!(rows == [[1], [3], [2]].map(|row| row.map(|e| Some(int(e))).to_vec()), "another order: {rows:?}");
            Ok(())
        }),
        indexes(),
        Case::new(
            "a_sasi_index_answers_after_the_restore",
            [
                "CREATE TABLE KS.sasi (k int PRIMARY KEY, v text)",
                "CREATE CUSTOM INDEX sasi_v ON KS.sasi (v) USING 'org.apache.cassandra.index.sasi.SASIIndex' \
                 WITH OPTIONS = {'mode': 'CONTAINS', 'analyzer_class': \
                 'org.apache.cassandra.index.sasi.analyzer.NonTokenizingAnalyzer', 'case_sensitive': 'false'}",
                "INSERT INTO KS.sasi (k, v) VALUES (1, 'a Word within')",
                "INSERT INTO KS.sasi (k, v) VALUES (2, 'none')",
            ],
        )
        .compares(&["sasi"])
        .checks(async |stage, t| finds(&stage, &t, "sasi", "v LIKE '%word%'", 1).await),
        views(),
        Case::new("stored_ddl_names_no_table_ids", Vec::<String>::new()).checks(async |stage, _| {
            let id = stage.backup.text("backup_id")?;
            let path = stage.bench.repository().join("backups").join(id).join("schema.cql");
            let ddl = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            ensure!(ddl.contains("CREATE TABLE") && !ddl.to_lowercase().contains(" id ="), "ids stand in {ddl}");
            Ok(())
        }),
    ];
    if version == CassandraVersion::V5_0 {
        cases.push(storage_attached());
    }
    cases
}

pub(crate) fn tests(version: CassandraVersion) -> Vec<Test> {
    let name = "an_unrelated_schema_change_during_a_backup_disturbs_nothing";
    vec![Test::new(named(name, version), unrelated_changes).on(ClusterSpec::one(version))]
}

async fn whole_schema(stage: Rc<Stage>, t: TestContext) -> Result<()> {
    let found = differences(&stage.schema_before, &stage.schema_after);
    ensure!(found.is_empty(), "system_schema differs:\n{}", found.join("\n"));
    let Some((before, after)) = &stage.described else {
        t.note("3.11 has no DESCRIBE: compared by system_schema only");
        return Ok(());
    };
    for statement in before {
        ensure!(after.contains(statement), "DESCRIBE no longer shows:\n{statement}\nbut:\n{}", after.join("\n"));
    }
    ensure!(before.len() == after.len(), "DESCRIBE shows more than before:\n{}", after.join("\n"));
    t.note(format!("{} statements of DESCRIBE", after.len()));
    Ok(())
}

/// One object of `system_schema`, as its key begins.
fn same_object(stage: &Stage, key: &str) -> Result<()> {
    let find = |schema: &ringvault_tests::oracle::schema::Schema| -> Vec<_> {
        schema.iter().filter(|(name, _)| name.starts_with(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let (before, after) = (find(&stage.schema_before), find(&stage.schema_after));
    ensure!(!before.is_empty(), "there never was {key}");
    ensure!(before == after, "{key} was {before:?} and is {after:?}");
    Ok(())
}

/// So many rows for a condition.
async fn finds(stage: &Stage, t: &TestContext, table: &str, condition: &str, rows: usize) -> Result<()> {
    let query = format!("SELECT * FROM {} WHERE {condition}", stage.qualified(table));
    let found = query_raw(t.cluster().session(), &query).await?;
    ensure!(found.len() == rows, "{} rows and not {rows} by {condition}", found.len());
    Ok(())
}

fn functions() -> Case {
    Case::new(
        "functions_with_semicolons_and_quotes_and_aggregates_work_after_the_restore",
        [
            "CREATE FUNCTION KS.odd (a text, \"B_c\" text) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS \
             $$ String s = \"a;b'c\\\"d\"; if (a == null) { return s; } return a + ';' + s; $$",
            "CREATE FUNCTION KS.\"Quoted\" (a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS \
             'char c = ''x''; return a + 1;'",
            "CREATE FUNCTION KS.add_up (state int, v int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS \
             'return v == null ? state : (Integer) (state + v);'",
            "CREATE FUNCTION KS.as_text (state int) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS \
             $$ return \"sum: \" + state; $$",
            "CREATE AGGREGATE KS.spelled (int) SFUNC add_up STYPE int FINALFUNC as_text INITCOND 0",
            "CREATE TABLE KS.called (k int PRIMARY KEY, v int, t text)",
            "INSERT INTO KS.called (k, v, t) VALUES (1, 20, 't')",
            "INSERT INTO KS.called (k, v) VALUES (2, 22)",
        ],
    )
    .compares(&["called"])
    .checks(async |stage, t| {
        let table = stage.qualified("called");
        let session = t.cluster().session();
        let name = |function: &str| ringvault_tests::cql::qualified(&stage.keyspace, function);
        let query = format!("SELECT {}(t, t), {}(v) FROM {table} WHERE k = 1", name("odd"), name("Quoted"));
        let rows = query_raw(session, &query).await?;
        ensure!(rows == [vec![Some(text("t;a;b'c\"d")), Some(int(21))]], "functions answer {rows:?}");
        let rows = query_raw(session, &format!("SELECT {}(v) FROM {table}", name("spelled"))).await?;
        ensure!(rows == [vec![Some(text("sum: 42"))]], "the aggregate answers {rows:?}");
        for object in ["functions odd", "functions Quoted", "functions add_up", "aggregates spelled"] {
            // Sorted by more than the name: the kind and the name begin the key somewhere in it.
            let (kind, name) = object.split_once(' ').context("kind and name")?;
            let there = stage.schema_after.keys().any(|key| key.starts_with(kind) && key.contains(name));
            ensure!(there, "{object} is gone");
        }
        Ok(())
    })
}

/// Every option that a release knows, at another value than its default.
fn options(version: CassandraVersion) -> Case {
    use CassandraVersion::{V3_11, V4_0, V4_1, V5_0};
    let mut with = vec![
        "comment = 'it''s; a \"comment\" -- of /* many */ $$ marks\nand lines'",
        "bloom_filter_fp_chance = 0.2",
        "caching = {'keys': 'NONE', 'rows_per_partition': '7'}",
        "compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'HOURS', \
         'compaction_window_size': '3', 'min_threshold': '5'}",
        "compression = {'class': 'SnappyCompressor', 'chunk_length_in_kb': '8'}",
        "crc_check_chance = 0.25",
        "default_time_to_live = 7654321",
        "gc_grace_seconds = 4321",
        "max_index_interval = 999",
        "min_index_interval = 99",
        "memtable_flush_period_in_ms = 3600001",
        "cdc = true",
    ];
    if version == V3_11 {
        with.extend([
            "speculative_retry = 'NONE'",
            "read_repair_chance = 0.125",
            "dclocal_read_repair_chance = 0.0625",
        ]);
    }
    if matches!(version, V4_0 | V4_1 | V5_0) {
        with.extend(["speculative_retry = 'NEVER'", "additional_write_policy = '77p'", "read_repair = 'NONE'"]);
    }
    if version == V5_0 {
        with.extend(["allow_auto_snapshot = false", "incremental_backups = false"]);
    }
    let create = format!("CREATE TABLE KS.optioned (k int PRIMARY KEY, v int) WITH {}", with.join(" AND "));
    Case::new(
        "table_options_comments_and_the_cdc_flag_come_back",
        [create, "INSERT INTO KS.optioned (k, v) VALUES (1, 1)".to_owned()],
    )
    .compares(&["optioned"])
    .checks(async |stage, _| same_object(&stage, "tables optioned"))
}

fn indexes() -> Case {
    let mut statements: Vec<String> = [
        "CREATE TABLE KS.indexed (k int, c int, s text static, v text, m map<text, int>, st set<int>, l list<int>, \
         f frozen<list<int>>, PRIMARY KEY (k, c))",
        "CREATE INDEX indexed_v ON KS.indexed (v)",
        "CREATE INDEX \"Indexed_C\" ON KS.indexed (c)",
        "CREATE INDEX indexed_keys ON KS.indexed (KEYS(m))",
        "CREATE INDEX indexed_entries ON KS.indexed (ENTRIES(m))",
        "CREATE INDEX indexed_set ON KS.indexed (st)",
        "CREATE INDEX indexed_list ON KS.indexed (VALUES(l))",
        "CREATE INDEX indexed_full ON KS.indexed (FULL(f))",
        "CREATE INDEX indexed_static ON KS.indexed (s)",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    statements.extend((0..60).map(|i| {
        format!(
            "INSERT INTO KS.indexed (k, c, s, v, m, st, l, f) VALUES ({i}, {}, 's {}', 'v {}', {{'m': {i}, 'k{i}': 1}}, \
             {{{i}, 100}}, [{i}, 7], [{}])",
            i % 2,
            i % 4,
            i % 5,
            i % 3
        )
    }));
    Case::new("secondary_indexes_of_every_kind_answer_after_the_restore", statements).compares(&["indexed"]).checks(
        async |stage, t| {
            for (condition, rows) in [
                ("v = 'v 3'", 12),
                ("c = 1", 30),
                ("m CONTAINS KEY 'k7'", 1),
                ("m['m'] = 8", 1),
                ("st CONTAINS 100", 60),
                ("l CONTAINS 9", 1),
                ("f = [2]", 20),
                ("s = 's 1'", 15),
            ] {
                finds(&stage, &t, "indexed", condition, rows).await?;
            }
            Ok(())
        },
    )
}

fn views() -> Case {
    let mut statements: Vec<String> = [
        "CREATE TABLE KS.viewed (k int, c int, v int, w text, PRIMARY KEY (k, c))",
        "CREATE MATERIALIZED VIEW KS.\"By v\" AS SELECT * FROM KS.viewed WHERE v IS NOT NULL AND k IS NOT NULL \
         AND c IS NOT NULL PRIMARY KEY (v, k, c) WITH CLUSTERING ORDER BY (k DESC, c ASC) AND comment = 'mine'",
        "CREATE MATERIALIZED VIEW KS.some_of_it AS SELECT k, c, v FROM KS.viewed WHERE k = 3 AND v IS NOT NULL \
         AND c IS NOT NULL PRIMARY KEY (v, k, c)",
    ]
    .map(|statement| statement.replace("\"By v\"", "\"By_v\""))
    .to_vec();
    statements.extend((0..60).map(|i| {
        format!("INSERT INTO KS.viewed (k, c, v, w) VALUES ({i}, {i}, {}, 'w {i}') USING TIMESTAMP 1000", i % 6)
    }));
    Case::new("a_view_shows_its_base_after_the_restore_and_is_never_dumped", statements).compares(&["viewed"]).checks(
        async |stage, t| {
            let session = t.cluster().session();
            for (view, rows) in [("By_v", 60), ("some_of_it", 1)] {
                let query = format!("SELECT count(*) FROM {}", stage.qualified(view));
                let found = query_i64(session, &query).await?;
                ensure!(found == rows, "the view {view} shows {found} of {rows} rows");
                let dumped = stage
                    .bench
                    .files("data")?
                    .into_iter()
                    .any(|(name, _)| name.contains("y_v/") || name.contains(view));
                ensure!(!dumped, "rows of the view {view} are stored");
                same_object(&stage, &format!("views {view}"))?;
            }
            let times = format!("SELECT writetime(w) FROM {} WHERE v = 3 AND k = 3 AND c = 3", stage.qualified("By_v"));
            ensure!(query_i64(session, &times).await? == 1000, "a row of the view has another time");
            Ok(())
        },
    )
}

fn storage_attached() -> Case {
    let mut statements: Vec<String> = [
        "CREATE TABLE KS.attached (k int PRIMARY KEY, n int, t text, e vector<float, 2>, m map<text, text>)",
        "CREATE INDEX attached_n ON KS.attached (n) USING 'sai'",
        "CREATE CUSTOM INDEX attached_t ON KS.attached (t) USING 'StorageAttachedIndex' \
         WITH OPTIONS = {'case_sensitive': 'false', 'normalize': 'true'}",
        "CREATE INDEX attached_e ON KS.attached (e) USING 'sai' WITH OPTIONS = {'similarity_function': 'euclidean'}",
        "CREATE INDEX attached_m ON KS.attached (ENTRIES(m)) USING 'sai'",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    statements.extend((0..40).map(|i| {
        format!(
            "INSERT INTO KS.attached (k, n, t, e, m) VALUES ({i}, {i}, 'Text {}', [{i}, 1], {{'k': 'v{i}'}})",
            i % 4
        )
    }));
    Case::new("storage_attached_indexes_answer_after_the_restore", statements).compares(&["attached"]).checks(
        async |stage, t| {
            finds(&stage, &t, "attached", "n > 29", 10).await?;
            finds(&stage, &t, "attached", "t = 'text 1'", 10).await?;
            finds(&stage, &t, "attached", "m['k'] = 'v7'", 1).await?;
            let query = format!("SELECT k FROM {} ORDER BY e ANN OF [7.1, 1] LIMIT 1", stage.qualified("attached"));
            let rows = query_raw(t.cluster().session(), &query).await?;
            ensure!(rows == [vec![Some(int(7))]], "the nearest is {rows:?}");
            Ok(())
        },
    )
}

/// Tables come and go in another keyspace while a backup reads: each change is a new schema version on every node.
async fn unrelated_changes(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let before = two_hundred(cluster, "fid_calm").await?;
    cluster.fresh_keyspace("fid_busy", 1).await?;
    let bench = Workbench::new(cluster)?;
    let words = bench.backup_words("fid_calm", &[]);
    let mut backup = bench.start(&ringvault_tests::product::as_strs(&words))?;
    let mut changes = 0;
    while !backup.ended()? {
        let create = format!("CREATE TABLE fid_busy.t{changes} (k int PRIMARY KEY)");
        cluster.run(&[&create]).await?;
        changes += 1;
    }
    let backup = backup.wait(std::time::Duration::from_secs(60)).await?.expect(0)?;
    ensure!(changes > 0, "nothing changed meanwhile");
    ensure!(backup.figure("rows")? == before.rows.len() as u64, "other rows: {backup}");
    t.note(format!("{changes} tables came meanwhile"));
    cluster.drop_keyspace("fid_busy").await?;
    cluster.drop_keyspace("fid_calm").await
}
