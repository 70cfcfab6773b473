//! Figures of a job: sums over its tables, how far it is, how fast it goes. Pure.

use std::time::Duration;

use ringvault_client::v1::{Job, JobState, TableProgress, TableState};

use super::format::{per_second, to_f64};

/// Sums over tables of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) tables: u64,
    pub(crate) tables_done: u64,
    pub(crate) rows: u64,
    pub(crate) rows_expected: u64,
    pub(crate) encoded_bytes: u64,
    pub(crate) bytes_estimated: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) chunks_new: u64,
    pub(crate) chunks_reused: u64,
    pub(crate) retries: u64,
    pub(crate) failures: u64,
    pub(crate) cells_expired: u64,
    pub(crate) rows_skipped: u64,
    pub(crate) key_only_rows: u64,
    pub(crate) estimated_cells: u64,
    pub(crate) segments: u64,
    pub(crate) segments_verified: u64,
    /// Of the last half minute or so, as the coordinator measures it.
    pub(crate) rows_per_second: u64,
    pub(crate) bytes_per_second: u64,
}

impl Totals {
    /// Over all tables of a job.
    pub(crate) fn of(job: &Job) -> Self {
        Self::of_tables(&job.tables)
    }

    /// Over these tables.
    pub(crate) fn of_tables<'a>(tables: impl IntoIterator<Item = &'a TableProgress>) -> Self {
        tables.into_iter().fold(Self::default(), |sums, table| Self {
            tables: sums.tables + 1,
            tables_done: sums.tables_done + u64::from(is_done(table)),
            rows: sums.rows + table.rows,
            rows_expected: sums.rows_expected + table.rows_expected,
            encoded_bytes: sums.encoded_bytes + table.encoded_bytes,
            bytes_estimated: sums.bytes_estimated + estimate(table),
            stored_bytes: sums.stored_bytes + table.stored_bytes,
            chunks_new: sums.chunks_new + table.chunks_new,
            chunks_reused: sums.chunks_reused + table.chunks_reused,
            retries: sums.retries + table.retries,
            failures: sums.failures + table.failures,
            cells_expired: sums.cells_expired + table.cells_expired,
            rows_skipped: sums.rows_skipped + table.rows_skipped,
            key_only_rows: sums.key_only_rows + table.key_only_rows,
            estimated_cells: sums.estimated_cells + table.estimated_cells,
            segments: sums.segments + table.segments,
            segments_verified: sums.segments_verified + table.segments_verified,
            rows_per_second: sums.rows_per_second.saturating_add(table.rows_per_second),
            bytes_per_second: sums.bytes_per_second.saturating_add(table.encoded_bytes_per_second),
        })
    }

    /// How much of the present phase is done, 0 to 1; nothing where that can't be known. Bytes that were estimated never
    /// make it whole: only the job itself knows when it is done.
    pub(crate) fn fraction(&self, state: JobState) -> Option<f64> {
        let (done, all) = match state {
            JobState::Done => return Some(1.0),
            JobState::Verifying => (self.segments_verified, self.segments),
            _ if self.tables > 0 && self.tables_done == self.tables => return Some(0.99),
            _ if self.rows_expected > 0 => (self.rows, self.rows_expected),
            _ => (self.encoded_bytes, self.bytes_estimated),
        };
        (all > 0).then(|| (to_f64(done) / to_f64(all)).min(0.99))
    }

    /// How long the rest of moving rows takes at the present rate; nothing where that can't be known.
    pub(crate) fn remaining(&self, state: JobState) -> Option<Duration> {
        let (left, rate) = if self.rows_expected > 0 {
            (self.rows_expected.saturating_sub(self.rows), self.rows_per_second)
        } else {
            (self.bytes_estimated.saturating_sub(self.encoded_bytes), self.bytes_per_second)
        };
        (state == JobState::Running && left > 0 && rate > 0).then(|| Duration::from_secs(left / rate.max(1)))
    }
}

/// Whether a table is done with the job's present phase.
pub(crate) fn is_done(table: &TableProgress) -> bool {
    table.state() == TableState::Done
}

/// Encoded bytes that a table will come to. A finished one has what it has; a running one at least that.
fn estimate(table: &TableProgress) -> u64 {
    if is_done(table) { table.encoded_bytes } else { table.bytes_estimated.max(table.encoded_bytes) }
}

/// How much of a table is done, 0 to 1, of the phase that `state` names.
pub(crate) fn table_fraction(table: &TableProgress, state: JobState) -> f64 {
    let (done, all) = match state {
        _ if is_done(table) => return 1.0,
        JobState::Verifying => (table.segments_verified, table.segments),
        _ if table.rows_expected > 0 => (table.rows, table.rows_expected),
        _ => (table.encoded_bytes, estimate(table)),
    };
    if all == 0 { 0.0 } else { (to_f64(done) / to_f64(all)).min(0.99) }
}

/// How fast a job went, from its first report in this process on; what an earlier run did is not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    first: Option<(Duration, Totals)>,
}

/// What this process saw of a job: how long, and how fast it went over all of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Speed {
    pub(crate) elapsed: Duration,
    pub(crate) rows_per_second: u64,
    pub(crate) bytes_per_second: u64,
}

impl Meter {
    /// The speed up to `now` (any monotonic clock, always the same).
    pub(crate) fn measure(&mut self, now: Duration, totals: &Totals) -> Speed {
        let (began, first) = *self.first.get_or_insert((now, *totals));
        let elapsed = now.saturating_sub(began);
        Speed {
            elapsed,
            rows_per_second: per_second(totals.rows.saturating_sub(first.rows), elapsed),
            bytes_per_second: per_second(totals.encoded_bytes.saturating_sub(first.encoded_bytes), elapsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u64, bytes: u64, estimated: u64, done: bool) -> TableProgress {
        TableProgress {
            state: if done { TableState::Done } else { TableState::Running }.into(),
            rows,
            encoded_bytes: bytes,
            bytes_estimated: estimated,
            ..Default::default()
        }
    }

    #[test]
    fn a_finished_table_corrects_its_estimate() {
        let job = Job { tables: vec![table(10, 100, 900, true), table(5, 50, 200, false)], ..Default::default() };
        let totals = Totals::of(&job);
        assert_eq!((totals.bytes_estimated, totals.tables, totals.tables_done), (300, 2, 1));
        assert_eq!(totals.fraction(JobState::Running), Some(0.5));
        assert_eq!(totals.fraction(JobState::Done), Some(1.0));
    }

    #[test]
    fn an_estimate_that_was_too_low_never_shows_100_percent_early() {
        let job = Job { tables: vec![table(10, 500, 100, false)], ..Default::default() };
        assert_eq!(Totals::of(&job).fraction(JobState::Running), Some(0.99));
        assert_eq!(Totals::default().fraction(JobState::Running), None);
    }

    #[test]
    fn what_an_earlier_run_did_does_not_make_this_one_faster() {
        let mut meter = Meter::default();
        let kept = Totals { rows: 1_000_000, encoded_bytes: 1_000, bytes_estimated: 5_000, ..Default::default() };
        assert_eq!(meter.measure(Duration::from_secs(100), &kept).rows_per_second, 0);
        let later = Totals { rows: 1_000_500, encoded_bytes: 3_000, ..kept };
        let speed = meter.measure(Duration::from_secs(105), &later);
        assert_eq!((speed.rows_per_second, speed.bytes_per_second), (100, 400));
    }

    #[test]
    fn what_is_left_follows_from_the_present_rate_of_all_tables() {
        let running = |rate| TableProgress { encoded_bytes_per_second: rate, ..table(5, 100, 600, false) };
        let totals = Totals::of_tables(&[running(30), running(20)]);
        assert_eq!(totals.remaining(JobState::Running), Some(Duration::from_secs(20)));
        assert_eq!(totals.remaining(JobState::Paused), None);
        let exact = Totals { rows: 10, rows_expected: 110, rows_per_second: 50, ..totals };
        assert_eq!(exact.remaining(JobState::Running), Some(Duration::from_secs(2)));
        assert_eq!(Totals::default().remaining(JobState::Running), None);
    }

    #[test]
    fn a_table_is_whole_only_when_it_is_done() {
        assert!((table_fraction(&table(5, 900, 100, false), JobState::Running) - 0.99).abs() < 1e-9);
        assert!((table_fraction(&table(5, 0, 0, true), JobState::Verifying) - 1.0).abs() < 1e-9);
        let checked = TableProgress { segments: 8, segments_verified: 2, ..table(5, 5, 5, false) };
        assert!((table_fraction(&checked, JobState::Verifying) - 0.25).abs() < 1e-9);
    }
}
