//! Medians and ratios, as a table in Markdown and a picture in SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::data::BenchTable;
use super::measure::{Setting, Taken};
use super::subjects::Subject;

/// One measured run.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// On which cores.
    pub setting: Setting,
    /// Which table.
    pub table: BenchTable,
    /// Who.
    pub subject: Subject,
    /// Rows that were read or written.
    pub rows: u64,
    /// What it took.
    pub taken: Taken,
}

/// Medians of one subject.
#[derive(Clone, Copy, Debug)]
struct Line {
    subject: Subject,
    runs: usize,
    rows_per_second: f64,
    cpu_s_per_million: f64,
    memory_mib: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn lines(measured: &[Measured], setting: Setting, table: BenchTable) -> Vec<Line> {
    let of = |subject: Subject| {
        let runs: Vec<&Measured> =
            measured.iter().filter(|run| (run.setting, run.table, run.subject) == (setting, table, subject)).collect();
        let figure = |of: fn(&Measured) -> f64| median(runs.iter().map(|run| of(run)).collect());
        (!runs.is_empty()).then(|| Line {
            subject,
            runs: runs.len(),
            rows_per_second: figure(|run| run.rows as f64 / run.taken.wall_s),
            cpu_s_per_million: figure(|run| run.taken.cpu_s * 1e6 / run.rows as f64),
            memory_mib: figure(|run| run.taken.memory_bytes as f64 / f64::from(1 << 20)),
        })
    };
    Subject::ALL.into_iter().filter_map(of).collect()
}

/// Rows a second of each subject over those of its yardstick.
fn ratios(lines: &[Line]) -> BTreeMap<&'static str, f64> {
    let speed = |subject: Subject| lines.iter().find(|line| line.subject == subject).map(|line| line.rows_per_second);
    let ratio = |line: &Line| Some((line.subject.name(), line.rows_per_second / speed(line.subject.yardstick())?));
    lines.iter().filter_map(ratio).collect()
}

/// The figures as a table in Markdown, one a setting and table.
#[must_use]
pub fn markdown(measured: &[Measured], rows: &BTreeMap<&'static str, u64>) -> String {
    let mut text = String::new();
    for (setting, table) in groups() {
        let lines = lines(measured, setting, table);
        if lines.is_empty() {
            continue;
        }
        let ratios = ratios(&lines);
        let rows = rows.get(table.name()).copied().unwrap_or_default();
        let _ = writeln!(text, "\n{} rows of `{}`, {}:\n", rows, table.name(), setting.name());
        let _ = writeln!(text, "| | rows/s | of its yardstick | CPU s a million rows | peak MiB | runs |");
        let _ = writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: |");
        for line in lines {
            let ratio = ratios.get(line.subject.name()).copied().unwrap_or(f64::NAN);
            let _ = writeln!(
                text,
                "| {} | {:.0} | {ratio:.2} | {:.1} | {:.0} | {} |",
                line.subject.name(),
                line.rows_per_second,
                line.cpu_s_per_million,
                line.memory_mib,
                line.runs
            );
        }
    }
    text
}

/// The rows a second as bars.
#[must_use]
pub fn svg(measured: &[Measured]) -> String {
    const BAR: u32 = 18;
    const WIDTH: f64 = 420.0;
    let mut body = String::new();
    let mut y = 10;
    for (setting, table) in groups() {
        let lines = lines(measured, setting, table);
        let Some(most) = lines.iter().map(|line| line.rows_per_second).max_by(f64::total_cmp) else { continue };
        y += 24;
        let _ =
            writeln!(body, "<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{}, {}</text>", table.name(), setting.name());
        for line in lines {
            let name = line.subject.name();
            let color = if name.starts_with("ringvault") { "#2a6f97" } else { "#adb5bd" };
            let length = WIDTH * line.rows_per_second / most;
            let middle = y + BAR;
            let _ = writeln!(body, "<text x=\"10\" y=\"{middle}\">{name}</text>");
            let _ = writeln!(
                body,
                "<rect x=\"290\" y=\"{}\" width=\"{length:.0}\" height=\"{}\" fill=\"{color}\"/>",
                middle - 12,
                BAR - 4
            );
            let end = 296.0 + length;
            let _ = writeln!(body, "<text x=\"{end:.0}\" y=\"{middle}\">{:.0}</text>", line.rows_per_second);
            y += BAR;
        }
        y += 8;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        y + 16
    )
}

fn groups() -> impl Iterator<Item = (Setting, BenchTable)> {
    let settings = [Setting::Apart, Setting::Shared];
    settings.into_iter().flat_map(|setting| BenchTable::ALL.into_iter().map(move |table| (setting, table)))
}
