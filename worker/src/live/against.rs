//! Segments of a backup compared with what a table holds of them: by their sums where those say enough, else row by row.
//!
//! What is expected is what a restore by the same rules sends: chosen rows, without what has ended by now, with the times
//! that it gives them. Times that the table's server can't tell don't count.

use std::{ops::ControlFlow, sync::Arc};

use ringvault_archive::{
    digest::Sums,
    merge::{Comparison, Counts, Difference, Merge, Rule, merge},
    repository::Repository,
    rows::{Now, ObjectsRead, StoredRows, choice::RowChoice},
    sent::Sent,
    table::TableLayout,
};
use ringvault_proto::{
    error::Failure,
    token::TokenRange,
    v1::{self, IfExists},
};
use ringvault_runtime::tasks::Tasks;

use super::rows::LiveRows;
use crate::cql::scan::TableScan;

/// Looks at rows that differ before they count as different: a row may be written, or a cell may end, between the looks
/// at both sides.
const LOOKS_MAX: usize = 2;

/// A stored table and a living one.
#[derive(Clone)]
pub(crate) struct Against {
    pub(crate) repository: Arc<Repository>,
    pub(crate) scan: TableScan,
    pub(crate) tasks: Tasks,
    layout: Arc<TableLayout>,
    sent: Sent,
    now: Now,
    comparison: Comparison,
    by_times: bool,
    by_rule: Rule,
}

impl Against {
    /// `table` is as the backup has it, `scan` reads the table that its rows went to. `untold`: what the backup's own
    /// server could not tell, where rows are compared that no restore has written from it.
    ///
    /// # Errors
    /// `Invalid` for rules that can't be followed, `Conflict` where the tables can't be compared.
    pub(crate) fn new(
        repository: &Arc<Repository>,
        layout: &Arc<TableLayout>,
        scan: &TableScan,
        (tasks, now): (&Tasks, Now),
        rules: &v1::RowRules,
        (values_only, untold): (bool, &[v1::Approximation]),
    ) -> Result<Self, Failure> {
        // Expiries count also where no times are compared: what has ended is not expected.
        let sent = Sent::new(layout, rules, false)?;
        let by_times = !values_only && sent.keeps_writetimes();
        let by_rule = match rules.if_exists() {
            IfExists::Append => Rule::Among,
            IfExists::OnlyMissing => Rule::LeftAlone,
            IfExists::Unspecified | IfExists::Fail | IfExists::Truncate => Rule::Same,
        };
        let comparison = Comparison::new(layout, scan.layout())?.by(by_rule);
        let comparison = match by_times {
            true => comparison.untold(scan.approximations()).untold(untold),
            false => comparison.values_only(),
        };
        Ok(Self {
            repository: repository.clone(),
            scan: scan.clone(),
            tasks: tasks.clone(),
            layout: layout.clone(),
            sent,
            now,
            comparison,
            by_times,
            by_rule,
        })
    }

    /// The same, of these rows only.
    pub(crate) fn choosing(mut self, choice: RowChoice) -> Self {
        self.sent = self.sent.choosing(choice);
        self
    }

    /// Whether equal sums prove that rows of these tokens are equal, and are likely enough to be looked at first.
    pub(crate) fn sums_say_enough(&self, range: TokenRange) -> bool {
        self.by_rule == Rule::Same && self.sent.choice().covers(range)
    }

    /// Whether sums of the same rows are equal.
    pub(crate) fn same(&self, expected: &Sums, found: &Sums) -> bool {
        (expected.rows, expected.static_rows, expected.values) == (found.rows, found.static_rows, found.values)
            && (!self.by_times || expected.times == found.times)
    }

    /// Compares the rows of a range, which these chunks hold, row by row.
    ///
    /// # Errors
    /// `Corrupt` where a chunk is not what was written; what reading the table fails with.
    pub(crate) async fn rows(
        &self,
        range: TokenRange,
        chunks: &[v1::Chunk],
        told: impl FnMut(Difference) -> ControlFlow<()> + Send,
    ) -> Result<(Counts, ObjectsRead), Failure> {
        let choice = self.sent.choice();
        let stored = StoredRows::of_chunks(&self.repository, &self.layout, chunks.to_vec(), choice.clone());
        let mut stored = stored.as_sent(self.sent.clone(), self.now.clone());
        let mut live = LiveRows::new(&self.scan, &self.tasks, range, choice);
        let counts = merge(Merge::new(self.comparison.clone()), &mut stored, &mut live, told).await?;
        Ok((counts, stored.read()))
    }

    /// The same, once more where something differs.
    ///
    /// # Errors
    /// As [`Against::rows`].
    pub(crate) async fn count(&self, range: TokenRange, chunks: &[v1::Chunk]) -> Result<Counts, Failure> {
        let mut counts = Counts::default();
        for _ in 0..LOOKS_MAX {
            (counts, _) = self.rows(range, chunks, |_| ControlFlow::Continue(())).await?;
            if counts.is_equal() {
                break;
            }
        }
        Ok(counts)
    }
}
