//! What several runs of one thing come to.

use crate::bench::data::BenchTable;
use crate::bench::measure::Setting;
use crate::bench::record::{Figures, Record, Speed};
use crate::bench::subjects::Subject;
use crate::bench::yardstick::Yardstick;

/// The middle one; of an even number, the mean of both in the middle. Not a number without any.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (half, even) = (values.len() / 2, values.len().is_multiple_of(2));
    match values.get(half) {
        None => f64::NAN,
        Some(upper) if even => f64::midpoint(values[half - 1], *upper),
        Some(middle) => *middle,
    }
}

/// One subject on one table in one setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) setting: Setting,
    pub(super) table: BenchTable,
    pub(super) subject: Subject,
    pub(super) runs: usize,
    pub(super) rows_per_second: f64,
    pub(super) cpu_s_per_million: f64,
    pub(super) cpu_s_per_gb: Option<f64>,
    pub(super) start_and_end_s: Option<f64>,
    pub(super) memory_mib: f64,
    /// The shortest of its runs.
    pub(super) wall_s_min: f64,
}

/// All lines, in the order of subjects.
pub(super) fn lines(records: &[Record]) -> Vec<Line> {
    let speeds: Vec<&Speed> = records
        .iter()
        .filter_map(|record| match &record.figures {
            Figures::Speed(speed) => Some(speed),
            Figures::Small(_) | Figures::Memory(_) | Figures::Polite(_) | Figures::Nodes(_) => None,
        })
        .collect();
    let places = Setting::ALL.into_iter().flat_map(|setting| BenchTable::ALL.map(|table| (setting, table)));
    let every = places.flat_map(|(setting, table)| Subject::ALL.map(|subject| (setting, table, subject)));
    every.filter_map(|(setting, table, subject)| line(&speeds, setting, table, subject)).collect()
}

fn line(speeds: &[&Speed], setting: Setting, table: BenchTable, subject: Subject) -> Option<Line> {
    let is = |run: &&&Speed| (run.setting, run.table, run.subject) == (setting, table, subject);
    let runs: Vec<&Speed> = speeds.iter().filter(is).copied().collect();
    let some = |values: Vec<f64>| (!values.is_empty()).then(|| median(values));
    let per_gb = |run: &&Speed| Some(run.taken.cpu_s * 1e9 / run.encoded_bytes? as f64);
    (!runs.is_empty()).then(|| Line {
        setting,
        table,
        subject,
        runs: runs.len(),
        rows_per_second: median(runs.iter().map(|run| run.rows as f64 / run.taken.wall_s)),
        cpu_s_per_million: median(runs.iter().map(|run| run.taken.cpu_s * 1e6 / run.rows.max(1) as f64)),
        cpu_s_per_gb: some(runs.iter().filter_map(per_gb).collect()),
        start_and_end_s: some(runs.iter().filter_map(|run| Some((run.taken.wall_s - run.job_s?).max(0.0))).collect()),
        memory_mib: median(runs.iter().map(|run| run.taken.memory_bytes as f64 / f64::from(1 << 20))),
        wall_s_min: runs.iter().map(|run| run.taken.wall_s).fold(f64::INFINITY, f64::min),
    })
}

/// Rows a second over those of the fastest of others, in the same setting on the same table.
pub(super) fn ratio(lines: &[Line], line: &Line, others: &[Subject]) -> Option<f64> {
    let place = (line.setting, line.table);
    let compared =
        lines.iter().filter(|other| (other.setting, other.table) == place && others.contains(&other.subject));
    let best = compared.map(|other| other.rows_per_second).max_by(f64::total_cmp)?;
    Some(line.rows_per_second / best)
}

/// Ringvault's subjects and the rivals that do the same.
pub(super) const RIVALRIES: [(Subject, Subject); 6] = [
    (Subject::BackupValues, Subject::DsbulkUnload),
    (Subject::BackupValues, Subject::CqlshCopy),
    (Subject::BackupTimes, Subject::DsbulkUnload),
    (Subject::RestoreValues, Subject::DsbulkLoad),
    (Subject::RestoreTimes, Subject::RestoreValues),
    (Subject::RestoreVerified, Subject::RestoreTimes),
];

/// Whether a subject is a yardstick.
pub(super) fn is_raw(subject: Subject) -> bool {
    matches!(subject, Subject::Raw(Yardstick::Scan | Yardstick::ScanTimes))
        || matches!(subject, Subject::Raw(Yardstick::WriteSingle | Yardstick::WriteBatched))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::speed;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_ones() {
        assert_eq!((median([9.0, 1.0, 2.0]), median([4.0, 1.0, 2.0, 9.0])), (2.0, 3.0));
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_restore_is_held_against_the_faster_way_to_write() {
        let records = [
            speed(Subject::Raw(Yardstick::WriteSingle), 10.0),
            speed(Subject::Raw(Yardstick::WriteBatched), 5.0),
            speed(Subject::RestoreValues, 10.0),
        ];
        let lines = lines(&records);
        assert_eq!(ratio(&lines, &lines[2], lines[2].subject.yardsticks()), Some(0.5));
        assert_eq!(ratio(&lines, &lines[2], &[Subject::DsbulkLoad]), None);
    }

    #[test]
    fn seconds_a_gigabyte_and_at_both_ends_come_from_what_a_run_says_of_itself() {
        let lines = lines(&[speed(Subject::BackupValues, 4.0)]);
        // 2 CPU seconds for half a gigabyte; 3 of the 4 seconds were work
        assert_eq!((lines[0].cpu_s_per_gb, lines[0].start_and_end_s), (Some(4.0), Some(1.0)));
    }
}
