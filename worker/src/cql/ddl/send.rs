//! Sends DDL to one node, so that no two coordinators race each other's schema, and tries again what may be repeated.

use std::time::Duration;

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::{error::Verdict, v1};
use ringvault_runtime::{entropy::Entropy, retry::Backoff};
use scylla::statement::Statement as CqlStatement;
use uuid::Uuid;

use super::{
    checks::{differs, noun},
    target,
};
use crate::{
    cql::{
        Cluster,
        cluster::NodesInOrder,
        errors::{Error, Result, Values},
        system_schema,
    },
    schema::{
        adapt,
        compare::{self, Columns, Standing},
        model::KeyspaceModel,
        plan::Plan,
    },
};

/// Attempts of one statement.
const ATTEMPTS_MAX: u32 = 5;
/// Longest wait for one statement: a TRUNCATE waits for every replica.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(150);
/// Longest wait for all nodes to hold the same schema.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Statements to one node, and what came of them.
pub(crate) struct Ddl<'a> {
    pub(crate) cluster: &'a Cluster,
    host: Uuid,
    pub(crate) result: v1::ApplyResult,
}

impl<'a> Ddl<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self { cluster, host: target::any_host(cluster)?, result: v1::ApplyResult::default() })
    }

    /// Creates what doesn't stand there.
    pub(super) async fn create(&mut self, objects: &[SchemaObject], plan: &Plan) -> Result<()> {
        for keyspace in &plan.keyspaces {
            let mut live = system_schema::read(self.cluster, keyspace).await?;
            for object in objects.iter().filter(|object| object.keyspace == *keyspace) {
                self.create_one(object, plan, &mut live).await?;
            }
        }
        Ok(())
    }

    async fn create_one(&mut self, object: &SchemaObject, plan: &Plan, live: &mut Option<KeyspaceModel>) -> Result<()> {
        let mut cql = object.cql.clone();
        let mut attempt = 0;
        loop {
            match found(object, live.as_ref(), plan)? {
                Standing::Equal => return Ok(()),
                Standing::Different(how) => return Err(differs(object, &how)),
                Standing::Absent => {}
            }
            let what = format!("creating {} {}", noun(object.kind), object.name);
            let Err(error) = self.once(&what, &cql).await else {
                self.result.statements += 1;
                if object.kind == SchemaKind::Keyspace {
                    *live = system_schema::read(self.cluster, &object.keyspace).await?;
                }
                return Ok(());
            };
            // what a node's own configuration lacks can't be known before
            if names_unknown_memtable(&error) {
                let without = adapt::without_option(&cql, "memtable")?;
                if without != cql {
                    let note = "the target's configuration has no memtable of that name; its default stands instead";
                    self.result.warnings.push(format!(
                        "{} {}.{}: {note}",
                        noun(object.kind),
                        object.keyspace,
                        object.name
                    ));
                    cql = without;
                    continue;
                }
            }
            // somebody may have been faster, or the answer was lost: what stands there now decides
            let before = live.take();
            *live = system_schema::read(self.cluster, &object.keyspace).await?;
            if before != *live && found(object, live.as_ref(), plan)? != Standing::Absent {
                continue;
            }
            attempt += 1;
            pause(error, attempt).await?;
        }
    }

    /// A statement that may be repeated.
    pub(crate) async fn run(&mut self, what: &str, cql: &str) -> Result<()> {
        let mut attempt = 0;
        while let Err(error) = self.once(what, cql).await {
            attempt += 1;
            pause(error, attempt).await?;
        }
        self.result.statements += 1;
        Ok(())
    }

    async fn once(&self, what: &str, cql: &str) -> Result<()> {
        let mut statement = CqlStatement::new(cql);
        let nodes = NodesInOrder::policy(vec![self.host], self.cluster.local_dc().into());
        statement.set_load_balancing_policy(Some(nodes));
        statement.set_request_timeout(Some(STATEMENT_TIMEOUT));
        let answer = self.cluster.session().query_unpaged(statement, ()).await;
        answer.map(|_| ()).map_err(|error| Error::of_execution(what, &error, Values::None))
    }

    /// Waits until all nodes hold the same schema.
    pub(super) async fn agree(&self) -> Result<()> {
        let what = "waiting until all nodes hold the schema";
        let agreed = tokio::time::timeout(AGREEMENT_TIMEOUT, self.cluster.session().await_schema_agreement()).await;
        match agreed {
            Ok(Ok(_version)) => Ok(()),
            Ok(Err(error)) => {
                Err(Error::unavailable(format!("{what} failed: {error}; check nodetool describecluster")))
            }
            Err(_elapsed) => Err(Error::of_elapsed(what, AGREEMENT_TIMEOUT)),
        }
    }
}

/// What stands under the object's name; a table may have more columns, which was checked where it matters.
fn found(object: &SchemaObject, live: Option<&KeyspaceModel>, plan: &Plan) -> Result<Standing> {
    let Some(live) = live else { return Ok(Standing::Absent) };
    let standing = compare::standing(object, live, &plan.tables)?;
    let wanted = plan.tables_of(&live.name).find(|table| table.table.as_ref().is_some_and(|n| n.table == object.name));
    if let (SchemaKind::Table, Standing::Different(_), Some(wanted), Some(table)) =
        (object.kind, &standing, wanted, live.table(&object.name))
        && compare::table_difference(wanted, table, Columns::More).is_none()
    {
        return Ok(Standing::Equal);
    }
    Ok(standing)
}

fn names_unknown_memtable(error: &Error) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("memtable") && text.contains("configuration")
}

/// Waits before another attempt, or gives the error back where none is due.
async fn pause(error: Error, attempt: u32) -> Result<()> {
    if error.kind().verdict() != Verdict::Retry || attempt >= ATTEMPTS_MAX {
        return Err(error);
    }
    tracing::debug!(%error, attempt, "a DDL statement will be tried again");
    tokio::time::sleep(Backoff::peer().pause(attempt + 2, &Entropy::from_os())).await;
    Ok(())
}
