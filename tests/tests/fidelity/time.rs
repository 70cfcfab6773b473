//! "Time": writetimes and expiries, absolute, of every cell.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::cql::{query_i64, query_raw};
use ringvault_tests::oracle::{Scope, compare_tables, read_table};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::stage::{Case, named, own_proof, run};

pub(crate) fn cases(version: CassandraVersion) -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "cells_of_one_row_keep_their_own_times_and_expiries",
            [
                "CREATE TABLE KS.mixed (k int, c int, a text, b text, d int, e int, f frozen<list<int>>, PRIMARY KEY (k, c))",
                "INSERT INTO KS.mixed (k, c, a, b, d) VALUES (1, 1, 'a', 'b', 1) USING TIMESTAMP 1000",
                "UPDATE KS.mixed USING TIMESTAMP 2000 AND TTL 86400 SET e = 2 WHERE k = 1 AND c = 1",
                "UPDATE KS.mixed USING TIMESTAMP 1000 AND TTL 172800 SET d = 3 WHERE k = 1 AND c = 1",
                "UPDATE KS.mixed USING TIMESTAMP 3000 SET f = [1] WHERE k = 1 AND c = 1",
                "UPDATE KS.mixed USING TIMESTAMP -7 SET a = 'before 1970' WHERE k = 1 AND c = 2",
                "UPDATE KS.mixed USING TIMESTAMP 253402300800000000 SET a = 'after 9999' WHERE k = 1 AND c = 3",
                "INSERT INTO KS.mixed (k, c, a, b) VALUES (2, 1, 'x', 'y')",
                "UPDATE KS.mixed USING TTL 86400 SET a = 'no marker' WHERE k = 3 AND c = 1",
            ],
        )
        .compares(&["mixed"]),
        Case::new(
            "a_cell_that_never_expires_stays_so_under_a_default_ttl",
            [
                "CREATE TABLE KS.defaults (k int PRIMARY KEY, a text, b text, m map<text, int>) \
                 WITH default_time_to_live = 864000",
                "INSERT INTO KS.defaults (k, a, b) VALUES (1, 'default', 'default')",
                "INSERT INTO KS.defaults (k, a, b) VALUES (2, 'for ever', 'for ever') USING TTL 0",
                "UPDATE KS.defaults USING TTL 0 SET a = 'mixed' WHERE k = 3",
                "UPDATE KS.defaults SET b = 'default' WHERE k = 3",
                "UPDATE KS.defaults USING TTL 60000 SET b = 'own' WHERE k = 4",
            ],
        )
        .compares(&["defaults"]),
        Case::new(
            "the_later_expiry_wins_at_an_equal_timestamp",
            [
                "CREATE TABLE KS.later (k int PRIMARY KEY, v text)",
                "INSERT INTO KS.later (k, v) VALUES (1, 'v') USING TIMESTAMP 1000 AND TTL 86400",
            ],
        )
        .compares(&["later"])
        .checks(async |stage, t| {
            // Written again, with a TTL that is computed anew: the same cell, no other value, no earlier end.
            let (before, _) = stage.table("later")?;
            let shorter = format!("INSERT INTO {} (k, v) VALUES (1, 'v') USING TIMESTAMP 1000 AND TTL 3600", stage.qualified("later"));
            t.cluster().run(&[&shorter]).await?;
            stage.bench.restore(&stage.keyspace, &["--if-exists", "append", "--tables", "later"]).await?;
            let again = read_table(t.cluster().session(), &stage.keyspace, "later").await?;
            compare_tables(before, &again, Scope::ValuesAndTimes).ensure_equal()
        }),
        Case::new(
            "ttls_of_list_elements_may_be_zero_bytes_long",
            [
                "CREATE TABLE KS.list_ttls (k int PRIMARY KEY, l list<int>, m map<int, int>)",
                "UPDATE KS.list_ttls USING TIMESTAMP 1000 SET l = l + [1], m = m + {1: 1} WHERE k = 1",
                "UPDATE KS.list_ttls USING TIMESTAMP 1000 AND TTL 86400 SET l = l + [2], m = m + {2: 2} WHERE k = 1",
            ],
        )
        .compares(&["list_ttls"])
        .checks(async |stage, t| {
            if t.cluster().version() != CassandraVersion::V5_0 {
                t.note("before 5.0 no TTL of an element can be asked for: the list's values were compared");
                return Ok(());
            }
            let query = format!("SELECT ttl(m) FROM {} WHERE k = 1", stage.qualified("list_ttls"));
            let rows = query_raw(t.cluster().session(), &query).await?;
            ensure!(rows[0][0].as_ref().map(Vec::len).is_some_and(|length| length < 4 + 2 * 8), "{rows:?}");
            Ok(())
        }),
    ];
    if version != CassandraVersion::V5_0 {
        cases.push(frozen_before_5());
    }
    cases.push(Case::new("the_products_own_proof_agrees_about_times", Vec::<String>::new()).checks(own_proof));
    cases
}

/// Some releases tell times of frozen collections, some don't: whatever the server allows must come back exactly, and
/// what it refuses must be declared.
fn frozen_before_5() -> Case {
    Case::new(
        "times_of_frozen_collections_are_kept_where_the_server_tells_them_else_declared",
        [
            "CREATE TABLE KS.frozen (k int PRIMARY KEY, f frozen<list<int>>, g frozen<map<text, int>>, v int)",
            "INSERT INTO KS.frozen (k, f, g, v) VALUES (1, [1], {'a': 1}, 1) USING TIMESTAMP 1000",
            "UPDATE KS.frozen USING TIMESTAMP 2000 AND TTL 86400 SET f = [2] WHERE k = 1",
        ],
    )
    .compares(&["frozen"])
    .checks(async |stage, t| {
        let query = format!("SELECT writetime(f) FROM {}", stage.qualified("frozen"));
        let told = t.cluster().session().query_unpaged(query, ()).await.is_ok();
        t.note(if told { "this release tells them" } else { "this release refuses them" });
        let declared = stage.ensure_declared("frozen", "column_times", "f").is_ok();
        ensure!(told != declared, "told by the server: {told}, declared as approximate: {declared}");
        Ok(())
    })
}

/// Cells that end while the backup lies in the repository. Made first, looked at last: other tests run meanwhile.
pub(crate) struct Clock {
    made: OnceCell<Result<Rc<Kept>, String>>,
    /// When it was restored.
    restored: std::cell::OnceCell<Instant>,
}

struct Kept {
    bench: Workbench,
    /// When the first cells have ended.
    ended: Instant,
}

/// Long enough for a backup on a busy machine.
const SHORT_S: u64 = 20;
const DEFAULT_TTL_S: u64 = 12;

/// The first, the middle and the last test of a release.
pub(crate) fn clock(version: CassandraVersion) -> [Test; 3] {
    let clock = Rc::new(Clock { made: OnceCell::new(), restored: std::cell::OnceCell::new() });
    let test = |sentence, step: fn(Rc<Clock>, TestContext) -> LocalBoxFuture<'static, Result<()>>| {
        let clock = Rc::clone(&clock);
        Test::new(named(sentence, version), move |t| step(Rc::clone(&clock), t)).on(ClusterSpec::one(version))
    };
    [
        test("an_expiring_cell_is_stored_with_its_absolute_end", |clock, t| {
            async move { clock.kept(&t).await.map(drop) }.boxed_local()
        }),
        test("a_cell_that_ended_meanwhile_is_skipped_and_counted", |clock, t| {
            async move { clock.look(t).await }.boxed_local()
        }),
        test("a_row_of_only_a_key_gets_its_tables_default_ttl", |clock, t| {
            async move { clock.end(t).await }.boxed_local()
        }),
    ]
}

impl Clock {
    async fn kept(&self, t: &TestContext) -> Result<Rc<Kept>> {
        let make = async || Self::make(t).await.map(Rc::new).map_err(|error| format!("{error:#}"));
        self.made.get_or_init(make).await.clone().map_err(|error| anyhow::anyhow!("{error}"))
    }

    async fn make(t: &TestContext) -> Result<Kept> {
        let cluster = t.cluster();
        cluster.fresh_keyspace("fid_clock", 1).await?;
        let tables = [
            "CREATE TABLE KS.ends (k int, c int, a text, b text, s text static, PRIMARY KEY (k, c))",
            &format!("CREATE TABLE KS.keys (k int PRIMARY KEY) WITH default_time_to_live = {DEFAULT_TTL_S}"),
        ];
        run(cluster, "fid_clock", &tables).await?;
        let ended = Instant::now() + Duration::from_secs(SHORT_S + 2);
        let short = |what: &str| format!("{what} USING TIMESTAMP 1000 AND TTL {SHORT_S}");
        let rows = [
            // A whole row, a cell of a row, a static, all short; a long one.
            short("INSERT INTO KS.ends (k, c, a) VALUES (1, 1, 'short')"),
            "INSERT INTO KS.ends (k, c, a) VALUES (1, 2, 'stays') USING TIMESTAMP 1000".to_owned(),
            format!("UPDATE KS.ends USING TTL {SHORT_S} SET b = 'short' WHERE k = 1 AND c = 2"),
            format!("UPDATE KS.ends USING TTL {SHORT_S} SET s = 'short' WHERE k = 2"),
            "INSERT INTO KS.ends (k, c, a) VALUES (3, 1, 'long') USING TTL 86400".to_owned(),
            "INSERT INTO KS.keys (k) VALUES (1)".to_owned(),
        ];
        run(cluster, "fid_clock", &rows).await?;
        let bench = Workbench::new(cluster)?;
        let backup = bench.backup("fid_clock", &[]).await?;
        ensure!(Instant::now() < ended, "the backup took so long that nothing short was left to read");
        ensure!(backup.figure("rows")? == 4, "four rows were there: {backup}");
        Ok(Kept { bench, ended })
    }

    async fn look(&self, t: TestContext) -> Result<()> {
        let cluster = t.cluster();
        let kept = self.kept(&t).await?;
        tokio::time::sleep_until(kept.ended).await;
        let session = cluster.session();
        run(cluster, "fid_clock", &["INSERT INTO KS.ends (k, c, a) VALUES (9, 9, 'read before the drop')"]).await?;
        let before = read_table(session, "fid_clock", "ends").await?;
        cluster.drop_keyspace("fid_clock").await?;
        let restore = kept.bench.restore("fid_clock", &[]).await?;
        ensure!(restore.figure("cells_expired")? == 3, "three cells had ended: {restore}");
        run(cluster, "fid_clock", &["INSERT INTO KS.ends (k, c, a) VALUES (9, 9, 'read before the drop')"]).await?;
        let after = read_table(session, "fid_clock", "ends").await?;
        // Row 9 has two times of writing: only values are its business.
        compare_tables(&before, &after, Scope::Values).ensure_equal()?;
        let left = query_i64(session, "SELECT count(*) FROM fid_clock.ends").await?;
        ensure!(left == 3, "{left} rows are left");
        let ttl = query_raw(session, "SELECT ttl(a) FROM fid_clock.ends WHERE k = 3 AND c = 1").await?;
        let ttl = ttl[0][0].as_deref().and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_be_bytes(*bytes));
        let passed = i32::try_from(SHORT_S)?;
        ensure!(ttl.is_some_and(|ttl| ttl <= 86_400 - passed), "its end moved: {ttl:?} s are left");
        let keys = query_i64(session, "SELECT count(*) FROM fid_clock.keys").await?;
        ensure!(keys == 1, "a row of only a key did not come back");
        self.restored.set(Instant::now()).ok();
        Ok(())
    }

    async fn end(&self, t: TestContext) -> Result<()> {
        if self.restored.get().is_none() {
            self.look(t.clone()).await?;
        }
        let restored = self.restored.get().context("set above")?;
        tokio::time::sleep_until(*restored + Duration::from_secs(DEFAULT_TTL_S + 1)).await;
        let keys = query_i64(t.cluster().session(), "SELECT count(*) FROM fid_clock.keys").await?;
        ensure!(keys == 0, "a row of only a key outlives its table's default TTL");
        t.cluster().drop_keyspace("fid_clock").await
    }
}
