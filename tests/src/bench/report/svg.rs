//! Rows a second as bars: a block a table, a column a setting, all bars of a block on one scale.

use std::fmt::Write as _;

use super::medians::{Line, is_raw, lines, ratio};
use super::{origin, thousands};
use crate::bench::data::BenchTable;
use crate::bench::measure::Setting;
use crate::bench::record::Record;
use crate::bench::subjects::Subject;

const LABELS: f64 = 262.0;
const COLUMN: f64 = 320.0;
/// Of a column; the figure stands behind its bar.
const BAR: f64 = 225.0;
const ROW: f64 = 19.0;

/// The picture; every text in it is ours and needs no escapes.
#[must_use]
pub fn svg(records: &[Record]) -> String {
    let lines = lines(records);
    let settings: Vec<Setting> =
        Setting::ALL.into_iter().filter(|setting| lines.iter().any(|line| line.setting == *setting)).collect();
    let mut body = String::new();
    let mut y = 24.0;
    for table in BenchTable::ALL {
        let of: Vec<Line> = lines.iter().filter(|line| line.table == table).copied().collect();
        if !of.is_empty() {
            block(&mut body, &mut y, table, &of, &settings);
        }
    }
    let foot = escaped(&format!("rows a second; medians; % of what the raw driver reaches; {}", origin(records)));
    let _ = writeln!(body, "<text x=\"12\" y=\"{y:.0}\" class=\"foot\">{foot}</text>");
    let (width, height) = (LABELS + COLUMN * settings.len().max(1) as f64 + 12.0, y + 14.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>Rows a second of Ringvault, the raw driver, DSBulk and cqlsh</title>\n\
         <style>text{{font:12px sans-serif;fill:#212529}} .head{{font-weight:bold;font-size:13px}} \
         .foot{{font-size:10px;fill:#6c757d}} .ours{{fill:#1d6fa5}} .raw{{fill:#adb5bd}} .rival{{fill:#e09f3e}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn block(body: &mut String, y: &mut f64, table: BenchTable, of: &[Line], settings: &[Setting]) {
    let most = of.iter().map(|line| line.rows_per_second).fold(1.0, f64::max);
    let _ = writeln!(body, "<text x=\"12\" y=\"{y:.0}\" class=\"head\">{}</text>", table.described());
    *y += ROW;
    for (column, setting) in settings.iter().enumerate() {
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{y:.0}\" class=\"foot\">{}</text>",
            start(column),
            explained(*setting)
        );
    }
    *y += 6.0;
    for subject in Subject::ALL {
        if !of.iter().any(|line| line.subject == subject) {
            continue;
        }
        let base = *y + 13.0;
        let _ = writeln!(body, "<text x=\"12\" y=\"{base:.0}\">{}</text>", subject.name());
        for (column, setting) in settings.iter().enumerate() {
            let Some(line) = of.iter().find(|line| (line.subject, line.setting) == (subject, *setting)) else {
                continue;
            };
            let (x, length) = (start(column), (BAR * line.rows_per_second / most).max(1.0));
            let share = ratio(of, line, subject.yardsticks()).filter(|_| !is_raw(subject));
            let share = share.map(|share| format!(" · {:.0} %", share * 100.0)).unwrap_or_default();
            let _ = writeln!(
                body,
                "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"{:.0}\" class=\"{}\"/>\
                 <text x=\"{:.0}\" y=\"{base:.0}\">{}{share}</text>",
                *y + 2.0,
                ROW - 5.0,
                class(subject),
                x + length + 5.0,
                thousands(line.rows_per_second)
            );
        }
        *y += ROW;
    }
    *y += 26.0;
}

fn start(column: usize) -> f64 {
    LABELS + COLUMN * column as f64
}

fn explained(setting: Setting) -> &'static str {
    match setting {
        Setting::Apart => "apart: server and client on a core each",
        Setting::Shared => "shared: server and client on both cores",
    }
}

fn class(subject: Subject) -> &'static str {
    match subject {
        Subject::Raw(_) => "raw",
        Subject::DsbulkUnload | Subject::DsbulkLoad | Subject::CqlshCopy => "rival",
        Subject::BackupValues
        | Subject::BackupGzip
        | Subject::BackupTimes
        | Subject::RestoreValues
        | Subject::RestoreTimes
        | Subject::RestoreVerified => "ours",
    }
}

/// A processor's name may hold anything.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
