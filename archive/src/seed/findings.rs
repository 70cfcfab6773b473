//! What an import found that a person must know: what cassandra-backup-tool can't have kept, and what looks lost.

use super::value::Losses;
use crate::table::TableLayout;

/// Rows that tool asks for at once unless told otherwise.
const PAGE_ROWS: u64 = 5000;

/// What is said of every import.
pub(super) const ALWAYS: [&str; 3] = [
    "imported from cassandra-backup-tool, which keeps no writetimes and no TTLs: a restore writes all rows with the time \
     of that backup, and none of them expires",
    "cassandra-backup-tool writes null for values of zero bytes of other types than text and blob, and never reads the \
     highest token of the ring; what it left out so can't be told",
    "its schema file holds no column masks, roles or grants, nor what its driver has no word for; compare it with the \
     database's own schema",
];

/// Of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// Rows that stood there again with equal values.
    pub(super) doubles: u64,
    /// Rows of each shard.
    pub(super) shards: Vec<u64>,
    /// By column.
    pub(super) losses: Vec<Losses>,
}

impl Findings {
    /// In words.
    pub(super) fn warnings(&self, layout: &TableLayout) -> Vec<String> {
        let table = format!("{}.{}", layout.keyspace, layout.table);
        let mut warnings = Vec::new();
        if self.doubles > 0 {
            warnings.push(format!(
                "{table}: {} rows stood there more than once with equal values and were taken once (a known defect of \
                 cassandra-backup-tool)",
                self.doubles
            ));
        }
        if let Some((cut, rows)) = self.cut_shards() {
            warnings.push(format!(
                "{table}: {cut} of {} shards end at exactly {rows} rows, which looks like the first page only: with \
                 current drivers cassandra-backup-tool drops the pages behind it and reports success; compare the number \
                 of rows with the database before relying on this backup",
                self.shards.len()
            ));
        }
        if layout.counter {
            warnings.push(format!(
                "{table}: counters were kept as numbers of one moment; a restore adds them to counters of 0"
            ));
        }
        for (column, losses) in layout.columns.iter().zip(&self.losses) {
            if losses.null_tails > 0 {
                warnings.push(format!(
                    "{table}, column {:?}: {} tuples or user types end in null; whether those parts were null or absent \
                     (the type was extended later) is not kept, they are written as null",
                    column.name, losses.null_tails
                ));
            }
        }
        warnings
    }

    /// How many shards look as if they had been cut behind a page, and the rows of such a page: whole multiples of the
    /// default page, or the very same number in several shards.
    fn cut_shards(&self) -> Option<(usize, u64)> {
        let of = |rows: u64| self.shards.iter().filter(|count| **count == rows).count();
        if of(PAGE_ROWS) > 0 {
            return Some((of(PAGE_ROWS), PAGE_ROWS));
        }
        let most = *self.shards.iter().max()?;
        (most >= 100 && of(most) > 1).then(|| (of(most), most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_that_end_at_a_page_are_told() {
        let cut = |shards: &[u64]| Findings { shards: shards.to_vec(), ..Findings::default() }.cut_shards();
        assert_eq!(cut(&[5000]), Some((1, 5000)));
        assert_eq!(cut(&[5000, 4999, 5000]), Some((2, 5000)));
        assert_eq!(cut(&[1000, 1000]), Some((2, 1000)));
        assert_eq!(cut(&[1000, 999]), None);
        assert_eq!(cut(&[10, 10]), None);
        assert_eq!(cut(&[5001]), None);
        assert_eq!(cut(&[]), None);
    }
}
