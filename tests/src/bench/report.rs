//! Medians and ratios of recorded runs.
//!
//! - [`medians`]: of each subject, setting and table; what is compared with what
//! - [`markdown`]: tables for people; [`svg`]: rows a second as bars

mod markdown;
mod medians;
mod svg;

pub use markdown::markdown;
pub use svg::svg;

use std::collections::BTreeSet;

use super::record::Record;

/// When and where: dates from first to last, and each machine.
fn origin(records: &[Record]) -> String {
    let dates: BTreeSet<&str> = records.iter().map(|record| record.date.as_str()).collect();
    let machines: BTreeSet<&str> = records.iter().map(|record| record.machine.as_str()).collect();
    let when = match (dates.first(), dates.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (first, _) => first.copied().unwrap_or("never").to_owned(),
    };
    format!("{when}, {}", machines.into_iter().collect::<Vec<_>>().join(" and "))
}

/// A number of rows a second, in thousands.
fn thousands(rows: f64) -> String {
    match rows {
        rows if rows >= 99_500.0 => format!("{:.0}k", rows / 1e3),
        rows if rows >= 1_000.0 => format!("{:.1}k", rows / 1e3),
        rows => format!("{rows:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::BenchTable;
    use super::super::measure::{Setting, Taken};
    use super::super::record::{Beside, Figures, Memory, Nodes, Polite, Reader, Shape, Small, Speed, Work};
    use super::super::subjects::Subject;
    use super::super::yardstick::Yardstick;
    use super::*;

    fn record(figures: Figures) -> Record {
        Record { date: "2026-01-31".to_owned(), machine: "2 cores of a <fast> one".to_owned(), figures }
    }

    fn taken(wall_s: f64) -> Taken {
        Taken { wall_s, cpu_s: wall_s / 2.0, memory_bytes: 40 << 20 }
    }

    /// A million rows in so many seconds, half a gigabyte.
    pub(super) fn speed(subject: Subject, wall_s: f64) -> Record {
        let (setting, table) = (Setting::Shared, BenchTable::Ycsb);
        let (job_s, encoded_bytes) = (Some(wall_s - 1.0), Some(500_000_000));
        record(Figures::Speed(Speed {
            setting,
            table,
            subject,
            rows: 1_000_000,
            taken: taken(wall_s),
            job_s,
            encoded_bytes,
        }))
    }

    #[test]
    fn every_subject_has_its_line_in_table_and_picture() {
        let records: Vec<Record> = Subject::ALL.into_iter().map(|subject| speed(subject, 20.0)).collect();
        let (text, picture) = (markdown(&records), svg(&records));
        for subject in Subject::ALL {
            assert!(text.contains(&format!("\n| {} | 50.0k", subject.name())), "{text}");
            assert!(picture.contains(&format!(">{}</text>", subject.name())), "{picture}");
        }
        assert!(text.starts_with("Measured 2026-01-31, 2 cores of a <fast> one.\n"), "{text}");
        assert!(picture.contains("a &lt;fast&gt; one"), "{picture}");
    }

    #[test]
    fn shares_and_ratios_are_those_of_medians() {
        let raw = Subject::Raw(Yardstick::Scan);
        let ours = [20.0, 40.0, 25.0].map(|wall_s| speed(Subject::BackupValues, wall_s));
        let others = [speed(raw, 20.0), speed(Subject::DsbulkUnload, 100.0)];
        let text = markdown(&[&ours[..], &others[..]].concat());
        assert!(text.contains("| ringvault backup, values, zstd | 40.0k (80 %) | 12.5 | 25.0 | 1.0 | 40 |"), "{text}");
        assert!(text.contains("| ringvault backup, values, zstd : DSBulk unload, JSON | 4.00× |"), "{text}");
        assert!(!text.contains("less than"), "{text}");
        assert!(markdown(&[speed(raw, 2.0)]).contains("1 of 1 medians hold runs of less than 10 s"));
    }

    #[test]
    fn the_other_scenarios_have_their_sections() {
        let small = Small {
            tables: 300,
            rows: 30_000,
            first: taken(6.0),
            second: taken(5.0),
            second_stored_bytes: 0,
            second_chunks_new: 0,
        };
        let memory = |work, limit: Option<&str>, rows| {
            let limit = limit.map(ToOwned::to_owned);
            Figures::Memory(Memory { work, limit, shape: Shape::One, factor: 1, rows, taken: taken(9.0) })
        };
        let nodes =
            |reader, wall_s| Figures::Nodes(Nodes { replicas: 3, reader, rows: 1_000_000, taken: taken(wall_s) });
        let polite = Polite {
            setting: Setting::Shared,
            beside: Beside::Full,
            per_second: 400,
            answered: 4000,
            failed: 0,
            read_p50_ms: 1.0,
            read_p99_ms: 9.5,
            write_p50_ms: 0.5,
            write_p99_ms: 8.0,
            rows_per_second: Some(120_000.0),
        };
        let figures = [
            Figures::Small(small),
            memory(Work::Backup, None, 300_000),
            memory(Work::Restore, Some("64M"), 300_000),
            Figures::Polite(polite),
            nodes(Reader::RawAny, 10.0),
            nodes(Reader::RawOwner, 8.0),
            nodes(Reader::Backup, 16.0),
        ];
        let text = markdown(&figures.map(record));
        assert!(text.contains("300 tables with 30000 rows takes 6.0 s (3.0 s of CPU)"), "{text}");
        assert!(text.contains("| 300k rows, one partition | 40 | – | – | 40 |"), "{text}");
        assert!(text.contains("`--pace full`, shared | 120k | 1.0 | 9.5 | 0.5 | 8.0 | 0 |"), "{text}");
        assert!(text.contains("| RF 3 | 100k | 125k (1.25×) | 62.5k (0.62×) | 1 |"), "{text}");
    }
}
