//! Many cases on one keyspace: their tables are made, backed up, dropped and restored together; then each case looks at
//! its own tables and reports under its own name.
//!
//! A case whose statements fail, fails alone. A restore that reports a mismatch is no end either: each case then shows
//! what of its own differs.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::future::LocalBoxFuture;
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::cql::quote;
use ringvault_tests::oracle::{KeyspaceSnapshot, Scope, TableSnapshot, compare_tables, read_keyspace, schema};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};
use serde_json::Value;
use tokio::sync::OnceCell;

type Check = Box<dyn Fn(Rc<Stage>, TestContext) -> LocalBoxFuture<'static, Result<()>>>;
type Make = Box<dyn for<'a> Fn(&'a TestCluster, &'a str) -> LocalBoxFuture<'a, Result<()>>>;

/// One line of the reference, or a part of it, as a test.
pub(crate) struct Case {
    sentence: &'static str,
    statements: Vec<String>,
    make: Option<Make>,
    tables: Vec<&'static str>,
    check: Option<Check>,
}

impl Case {
    /// Statements name their keyspace `KS`.
    pub(crate) fn new<S: Into<String>>(sentence: &'static str, statements: impl IntoIterator<Item = S>) -> Self {
        let statements = statements.into_iter().map(Into::into).collect();
        Self { sentence, statements, make: None, tables: Vec::new(), check: None }
    }

    /// What is made by code, before the statements.
    pub(crate) fn made_by(
        mut self,
        make: impl for<'a> Fn(&'a TestCluster, &'a str) -> LocalBoxFuture<'a, Result<()>> + 'static,
    ) -> Self {
        self.make = Some(Box::new(make));
        self
    }

    /// Tables that must be equal after the restore, times included.
    pub(crate) fn compares(mut self, tables: &[&'static str]) -> Self {
        self.tables = tables.to_vec();
        self
    }

    /// A further check, after the comparison.
    pub(crate) fn checks<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(Rc<Stage>, TestContext) -> Fut + 'static,
        Fut: Future<Output = Result<()>> + 'static,
    {
        self.check = Some(Box::new(move |stage, t| Box::pin(check(stage, t))));
        self
    }
}

/// A keyspace that was backed up, dropped and restored.
pub(crate) struct Stage {
    /// Its name, unquoted.
    pub(crate) keyspace: String,
    /// Where the repository lies.
    pub(crate) bench: Workbench,
    /// The command that backed it up.
    pub(crate) backup: Run,
    /// The command that restored it; it may have found a mismatch.
    pub(crate) restore: Run,
    /// As the tables were.
    pub(crate) before: KeyspaceSnapshot,
    /// As they are.
    pub(crate) after: KeyspaceSnapshot,
    /// As the schema was.
    pub(crate) schema_before: schema::Schema,
    /// As it is.
    pub(crate) schema_after: schema::Schema,
    /// DESCRIBE before and after, where the server has it.
    pub(crate) described: Option<(Vec<String>, Vec<String>)>,
    /// `show` of the backup.
    pub(crate) shown: Value,
    broken: BTreeMap<&'static str, String>,
}

impl Stage {
    async fn make(cluster: &TestCluster, keyspace: &str, cases: &[Case]) -> Result<Self> {
        cluster.fresh_keyspace(keyspace, 1).await?;
        let mut broken = BTreeMap::new();
        for case in cases {
            if let Err(error) = prepare(cluster, keyspace, case).await {
                broken.insert(case.sentence, format!("{error:#}"));
            }
        }
        cluster.session().await_schema_agreement().await?;
        let before = read_keyspace(cluster.session(), keyspace).await?;
        let schema_before = schema::read(cluster.session(), keyspace).await?;
        let described_before = describe(cluster, keyspace).await?;
        let bench = Workbench::new(cluster)?;
        let backup = bench.backup(keyspace, &[]).await?;
        cluster.drop_keyspace(keyspace).await?;
        let restore = bench.try_restore(keyspace, &[]).await?;
        ensure!(matches!(restore.code, Some(0 | 3)), "{restore}");
        let after = read_keyspace(cluster.session(), keyspace).await.context("read the restored keyspace")?;
        let schema_after = schema::read(cluster.session(), keyspace).await?;
        let described = describe(cluster, keyspace).await?.and_then(|after| Some((described_before?, after)));
        let shown = bench.run(&["show", &bench.repository_argument()]).await?.expect(0)?.line("backup")?;
        let keyspace = keyspace.to_owned();
        Ok(Self {
            keyspace,
            bench,
            backup,
            restore,
            before,
            after,
            schema_before,
            schema_after,
            described,
            shown,
            broken,
        })
    }

    /// A table as it was and as it is.
    pub(crate) fn table(&self, name: &str) -> Result<(&TableSnapshot, &TableSnapshot)> {
        let find = |snapshot: &'_ KeyspaceSnapshot| snapshot.tables.contains_key(name);
        ensure!(find(&self.before), "the table {name} was never made");
        ensure!(find(&self.after), "the table {name} is missing after the restore: {}", self.restore);
        Ok((&self.before.tables[name], &self.after.tables[name]))
    }

    /// Whether a table is what it was, times included.
    pub(crate) fn ensure_equal(&self, table: &str) -> Result<String> {
        let (before, after) = self.table(table)?;
        ensure!(!before.rows.is_empty() || !before.statics.is_empty(), "the table {table} was empty");
        let compared = compare_tables(before, after, Scope::ValuesAndTimes);
        compared.ensure_equal()?;
        Ok(format!("{table}: {compared}"))
    }

    /// `"keyspace"."table"`.
    pub(crate) fn qualified(&self, table: &str) -> String {
        ringvault_tests::cql::qualified(&self.keyspace, table)
    }

    /// What `show` says of a table.
    pub(crate) fn shown_table(&self, table: &str) -> Result<Value> {
        let tables = self.shown["tables"].as_array().context("show lists no tables")?;
        let found = tables.iter().find(|entry| entry["table"] == table);
        found.cloned().with_context(|| format!("show does not name {table}: {}", self.shown))
    }

    /// The fidelity report names this approximation (`row_markers`, `column_times`, …) of a table, of this column.
    pub(crate) fn ensure_declared(&self, table: &str, what: &str, column: &str) -> Result<()> {
        let shown = self.shown_table(table)?;
        let declared = shown["approximations"].as_array().cloned().unwrap_or_default();
        let found = declared.iter().any(|entry| entry["what"] == what && entry["column"] == column);
        ensure!(found, "show does not declare {what} of \"{column}\" in {table}: {shown}");
        Ok(())
    }

    /// When the backup began, in µs: the writetime of what has none.
    pub(crate) fn started_us(&self) -> Result<i64> {
        let started = i64::try_from(self.backup.figure("started_unix_ms")?)?;
        Ok(started * 1000)
    }
}

async fn prepare(cluster: &TestCluster, keyspace: &str, case: &Case) -> Result<()> {
    if let Some(make) = &case.make {
        make(cluster, keyspace).await?;
    }
    run(cluster, keyspace, &case.statements).await
}

/// Runs statements that name their keyspace `KS`.
pub(crate) async fn run<S: AsRef<str>>(cluster: &TestCluster, keyspace: &str, statements: &[S]) -> Result<()> {
    for statement in statements {
        let named = statement.as_ref().replace("KS.", &format!("{}.", quote(keyspace)));
        cluster.run(&[&named]).await?;
    }
    Ok(())
}

/// `DESCRIBE KEYSPACE`, statement by statement, sorted, without ids; `None` before 4.0.
async fn describe(cluster: &TestCluster, keyspace: &str) -> Result<Option<Vec<String>>> {
    if cluster.version() == CassandraVersion::V3_11 {
        return Ok(None);
    }
    let query = format!("DESCRIBE KEYSPACE {}", quote(keyspace));
    let rows = ringvault_tests::cql::query_raw(cluster.session(), &query).await?;
    let mut all: Vec<String> = Vec::new();
    for row in rows {
        let text = row.last().cloned().flatten().context("a row of DESCRIBE holds a statement")?;
        all.push(String::from_utf8(text)?);
    }
    all.sort();
    Ok(Some(all))
}

/// Cases of one keyspace on one cluster; the first test that runs makes the stage for all.
pub(crate) struct Area {
    keyspace: &'static str,
    cases: Vec<Case>,
    made: OnceCell<Result<Rc<Stage>, String>>,
}

impl Area {
    /// The stage, made now if it is not there.
    pub(crate) async fn stage(&self, t: &TestContext) -> Result<Rc<Stage>> {
        let cluster: &Arc<TestCluster> = t.cluster();
        let make = async || match Stage::make(cluster, self.keyspace, &self.cases).await {
            Ok(stage) => Ok(Rc::new(stage)),
            Err(error) => Err(format!("{error:#}")),
        };
        let made = self.made.get_or_init(make).await;
        made.clone().map_err(|error| anyhow!("the keyspace {} of all its cases: {error}", self.keyspace))
    }

    /// The stage, if a test before made it.
    pub(crate) fn stage_made(&self) -> Option<Rc<Stage>> {
        self.made.get()?.as_ref().ok().cloned()
    }

    async fn check(&self, number: usize, t: TestContext) -> Result<()> {
        let case = &self.cases[number];
        let stage = self.stage(&t).await?;
        if let Some(error) = stage.broken.get(case.sentence) {
            bail!("its tables could not be made: {error}");
        }
        for table in &case.tables {
            stage.ensure_equal(table)?;
        }
        match &case.check {
            Some(check) => check(stage, t).await,
            None => Ok(()),
        }
    }
}

/// A sentence on a release, as a test's name.
pub(crate) fn named(sentence: &str, version: CassandraVersion) -> String {
    format!("{sentence}_on_{}", version.label())
}

/// A test a case, all on one node of this release.
pub(crate) fn area(version: CassandraVersion, keyspace: &'static str, cases: Vec<Case>) -> (Rc<Area>, Vec<Test>) {
    let names: Vec<&'static str> = cases.iter().map(|case| case.sentence).collect();
    let area = Rc::new(Area { keyspace, cases, made: OnceCell::new() });
    let tests = names.iter().enumerate().map(|(number, sentence)| {
        let area = Rc::clone(&area);
        let body = move |t| {
            let area = Rc::clone(&area);
            async move { area.check(number, t).await }
        };
        Test::new(named(sentence, version), body).on(ClusterSpec::one(version))
    });
    let tests = tests.collect();
    (area, tests)
}

/// What the product said of its restore, against what the oracle sees: an exit code 0 and every segment compared.
pub(crate) async fn own_proof(stage: Rc<Stage>, _: TestContext) -> Result<()> {
    let restore = &stage.restore;
    ensure!(restore.code == Some(0), "the restore reports a mismatch: {restore}");
    ensure!(restore.figure("segments_verified")? > 0, "nothing was read back: {restore}");
    Ok(())
}
