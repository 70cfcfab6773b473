//! A row of counters: what the backup holds, what the table holds, and what must be added. Pure.
//!
//! A counter is never set, only added to. A null counter is not 0: adding 0 makes a null one 0, so nothing is added where the
//! backup holds null.

use ringvault_archive::{
    row::{DecodedRow, LineKind},
    table::{ColumnRole, TableLayout},
    token,
};

use crate::cql::errors::{Error, Result};

/// One line of a counter table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CounterRow {
    pub(super) kind: LineKind,
    pub(super) token: i64,
    /// Raw cells of the partition key, and of the clustering columns for a row.
    pub(super) key: Vec<Vec<u8>>,
    /// What each counter of this kind of line should be.
    pub(super) target: Vec<Option<i64>>,
}

impl CounterRow {
    /// Indexes of all counter columns of a counter table.
    pub(super) fn columns_of(layout: &TableLayout) -> Vec<usize> {
        (0..layout.columns.len()).filter(|&index| !layout.columns[index].role.is_key()).collect()
    }

    /// The counters of a line; nothing where all are null.
    ///
    /// # Errors
    /// `Corrupt` for a line without its key, or with a counter that is not eight bytes.
    pub(super) fn of(row: &DecodedRow, layout: &TableLayout, counters: &[usize]) -> Result<Option<Self>> {
        let kind = row.kind();
        let damaged = |what: &str| {
            Error::from(ringvault_archive::Error::corrupt(format!(
                "a row of {}.{} in the backup {what}; run ringvault verify on the backup",
                layout.keyspace, layout.table
            )))
        };
        let (mut key, mut partition_key) = (Vec::new(), Vec::new());
        for (index, column) in layout.columns.iter().enumerate() {
            let wanted = column.role == ColumnRole::PartitionKey
                || (kind == LineKind::Row && column.role == ColumnRole::Clustering);
            if wanted {
                let cell = row.cell(index).ok_or_else(|| damaged("has no complete primary key"))?.to_vec();
                if column.role == ColumnRole::PartitionKey {
                    partition_key.push(cell.clone());
                }
                key.push(cell);
            }
        }
        let role = if kind == LineKind::Row { ColumnRole::Regular } else { ColumnRole::Static };
        let mut target = Vec::new();
        for &index in counters.iter().filter(|&&index| layout.columns[index].role == role) {
            let cell = row.cell(index).map(|cell| {
                <[u8; 8]>::try_from(cell)
                    .map(i64::from_be_bytes)
                    .map_err(|_| damaged("has a counter that is not 8 bytes"))
            });
            target.push(cell.transpose()?);
        }
        if target.iter().all(Option::is_none) {
            return Ok(None);
        }
        Ok(Some(Self { kind, token: token::token_of(&partition_key).0, key, target }))
    }

    pub(super) fn bytes(&self) -> usize {
        self.key.iter().map(Vec::len).sum::<usize>() + 32 * self.target.len()
    }

    /// Whether a counter stands there that is another than the backup's.
    pub(super) fn is_another(&self, current: &[Option<i64>]) -> bool {
        current
            .iter()
            .enumerate()
            .any(|(index, current)| current.is_some() && *current != self.target.get(index).copied().flatten())
    }

    /// What to add to each counter, given what it is; nothing where nothing is missing.
    pub(super) fn missing(&self, current: &[Option<i64>]) -> Option<Vec<Option<i64>>> {
        let add: Vec<Option<i64>> = self
            .target
            .iter()
            .enumerate()
            .map(|(index, target)| {
                let current = current.get(index).copied().flatten();
                target.filter(|_| *target != current).map(|target| target.wrapping_sub(current.unwrap_or(0)))
            })
            .collect();
        add.iter().any(Option::is_some).then_some(add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: &[Option<i64>]) -> CounterRow {
        CounterRow { kind: LineKind::Row, token: 0, key: Vec::new(), target: target.to_vec() }
    }

    #[test]
    fn what_is_added_is_the_difference_and_a_null_counter_is_not_zero() {
        let counters = row(&[Some(5), Some(0), None, Some(-3), Some(i64::MIN)]);
        let empty = counters.missing(&[]).expect("fine");
        assert_eq!(empty, [Some(5), Some(0), None, Some(-3), Some(i64::MIN)]);
        let partly = counters.missing(&[Some(7), None, Some(4), Some(-3), Some(1)]).expect("fine");
        assert_eq!(partly, [Some(-2), Some(0), None, None, Some(i64::MAX)]);
    }

    #[test]
    fn equal_counters_need_nothing() {
        assert_eq!(row(&[Some(5), None]).missing(&[Some(5), None]), None);
        assert!(!row(&[Some(5), None]).is_another(&[Some(5), None]));
        assert!(!row(&[Some(5), None]).is_another(&[]));
    }

    #[test]
    fn a_counter_that_counts_elsewhere_is_another() {
        assert!(row(&[Some(5), None]).is_another(&[Some(6), None]));
        assert!(row(&[Some(5), None]).is_another(&[None, Some(0)]));
    }
}
