//! Small questions to the database, mostly to its system tables: all pages, decoded, tried again a few times.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use ringvault_proto::error::Verdict;
use ringvault_runtime::{entropy::Entropy, retry::Backoff};
use scylla::{
    client::session::Session,
    deserialize::row::DeserializeRow,
    policies::load_balancing::LoadBalancingPolicy,
    response::PagingState,
    serialize::row::SerializeRow,
    statement::{Consistency, Statement},
};

use super::errors::{Error, Result, Values};

/// Rows of system tables a page.
const PAGE_ROWS: i32 = 1000;

/// Attempts of a small question; it has no position to lose.
const ATTEMPTS_MAX: u32 = 4;

/// One question.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    /// For messages: "reading the columns of shop".
    pub(crate) what: &'a str,
    /// The statement; it must be safe to repeat.
    pub(crate) cql: &'a str,
    /// Who answers; anybody where it is not told.
    pub(crate) target: Option<Arc<dyn LoadBalancingPolicy>>,
    /// `ONE` for system tables.
    pub(crate) consistency: Consistency,
}

impl<'a> Question<'a> {
    /// A question about system tables to any node.
    pub(crate) fn new(what: &'a str, cql: &'a str) -> Self {
        Self { what, cql, target: None, consistency: Consistency::One }
    }

    /// The same question to this node.
    pub(crate) fn to(mut self, target: Arc<dyn LoadBalancingPolicy>) -> Self {
        self.target = Some(target);
        self
    }

    /// Every row of the answer.
    ///
    /// # Errors
    /// What the database said last, after a few attempts where another could help.
    pub(crate) async fn ask<R>(&self, session: &Session, values: impl SerializeRow) -> Result<Vec<R>>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let mut statement = Statement::new(self.cql).with_page_size(PAGE_ROWS);
        statement.set_is_idempotent(true);
        statement.set_consistency(self.consistency);
        statement.set_load_balancing_policy(self.target.clone());
        let (backoff, entropy) = (Backoff::peer(), Entropy::from_os());
        let mut attempt = 0;
        loop {
            match self.ask_once(session, &statement, &values).await {
                Err(error) if error.kind().verdict() == Verdict::Retry && attempt + 1 < ATTEMPTS_MAX => {
                    tokio::time::sleep(backoff.pause(attempt, &entropy).min(Duration::from_secs(2))).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once<R>(&self, session: &Session, statement: &Statement, values: &impl SerializeRow) -> Result<Vec<R>>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let mut rows = Vec::new();
        let mut state = PagingState::start();
        loop {
            let (result, next) = session
                .query_single_page(statement.clone(), values, state)
                .await
                .map_err(|e| Error::of_execution(self.what, &e, Values::None))?;
            if !result.is_rows() {
                return Ok(rows); // LIST PERMISSIONS answers so where there are none
            }
            let result = result.into_rows_result().map_err(|e| Error::of_answer(self.what, e))?;
            for row in result.rows::<R>().map_err(|e| Error::of_answer(self.what, e))? {
                rows.push(row.map_err(|e| Error::of_answer(self.what, e))?);
            }
            match next.into_paging_control_flow() {
                ControlFlow::Continue(more) => state = more,
                ControlFlow::Break(()) => return Ok(rows),
            }
        }
    }
}
