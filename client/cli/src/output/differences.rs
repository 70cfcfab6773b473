//! What differs between two backups, or between a backup and a cluster, as people and programs read it. A and B are the
//! two sides; rows of cells are the answer here, and stand nowhere but in it.

use ringvault_archive::{
    digest::Sums,
    merge::{Counts, Difference, DifferenceKind},
    rows::diff::{DiffReport, SegmentPair},
};
use serde::Serialize;

use super::{
    Output,
    cells::Row,
    format::{count, plural, size},
    json::{self, Kind},
    terminal,
};

/// Segments that the text names; `--json` has them all.
const SEGMENTS_MAX: usize = 20;

/// The table that is compared.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) keyspace: String,
    pub(crate) table: String,
    /// Columns of the primary key.
    pub(crate) key: Vec<String>,
}

/// What was compared so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) tables: u64,
    pub(crate) tables_differing: u64,
    segments: u64,
    segments_differing: u64,
    objects_read: u64,
    bytes_read: u64,
    rows: Option<Counts>,
}

impl Tally {
    /// Counts a table that only one side has.
    pub(crate) fn one_sided(&mut self) {
        self.tables += 1;
        self.tables_differing += 1;
    }

    /// Counts a table that was compared.
    pub(crate) fn compared(&mut self, report: &DiffReport, by_rows: bool) {
        self.tables += 1;
        if !is_equal(report, by_rows) {
            self.tables_differing += 1;
            self.segments_differing += report.differing.len() as u64;
        }
        self.segments += report.segments;
        self.objects_read += report.read.objects;
        self.bytes_read += report.read.bytes;
        if by_rows {
            *self.rows.get_or_insert_default() += report.rows;
        }
    }
}

/// Whether two tables are the same. Sums may differ by what can't be compared, as the times of lists; then rows decide.
fn is_equal(report: &DiffReport, by_rows: bool) -> bool {
    if by_rows { report.rows.is_equal() } else { report.differing.is_empty() }
}

#[derive(Serialize)]
struct TableLine<'a> {
    keyspace: &'a str,
    table: &'a str,
    equal: bool,
    only_in: Option<&'static str>,
    segments: u64,
    segments_differing: u64,
    missing: Option<u64>,
    extra: Option<u64>,
    differing: Option<u64>,
}

#[derive(Serialize)]
struct SegmentLine<'a> {
    keyspace: &'a str,
    table: &'a str,
    segment: u64,
    token_start: String,
    token_end: String,
    rows_a: u64,
    rows_b: u64,
}

#[derive(Serialize)]
struct RowLine<'a> {
    keyspace: &'a str,
    table: &'a str,
    kind: &'static str,
    token: String,
    columns: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_a: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_b: Option<u64>,
}

#[derive(Serialize)]
struct DiffLine<'a> {
    a: &'a str,
    b: &'a str,
    equal: bool,
    complete: bool,
    tables: u64,
    tables_differing: u64,
    segments: u64,
    segments_differing: u64,
    objects_read: u64,
    bytes_read: u64,
    missing: Option<u64>,
    extra: Option<u64>,
    differing: Option<u64>,
}

/// Tells of a table that only one side has; `side` is `a` or `b`.
pub(crate) fn one_sided(output: Output, keyspace: &str, table: &str, side: &'static str) {
    let line = TableLine {
        keyspace,
        table,
        equal: false,
        only_in: Some(side),
        segments: 0,
        segments_differing: 0,
        missing: None,
        extra: None,
        differing: None,
    };
    output.answer(Kind::TableDiff, &line, || {
        let other = if side == "a" { "B" } else { "A" };
        vec![format!("{keyspace}.{table}: only in {}; {other} does not hold this table", side.to_uppercase())]
    });
}

/// Tells what comparing a table came to: with `by_rows` its rows were counted, without only segments.
pub(crate) fn table(output: Output, compared: &Compared, report: &DiffReport, by_rows: bool) {
    let Compared { keyspace, table, .. } = compared;
    let equal = is_equal(report, by_rows);
    let differing: &[SegmentPair] = if equal { &[] } else { &report.differing };
    let counts = by_rows.then_some(report.rows);
    if output.json {
        for pair in differing {
            json::print(Kind::SegmentDiff, &segment_line(keyspace, table, pair));
        }
        let line = TableLine {
            keyspace,
            table,
            equal,
            only_in: None,
            segments: report.segments,
            segments_differing: differing.len() as u64,
            missing: counts.map(|counts| counts.missing),
            extra: counts.map(|counts| counts.extra),
            differing: counts.map(|counts| counts.differing),
        };
        json::print(Kind::TableDiff, &line);
        return;
    }
    table_text(compared, report, equal, counts).iter().for_each(terminal::say);
}

fn table_text(compared: &Compared, report: &DiffReport, equal: bool, counts: Option<Counts>) -> Vec<String> {
    let Compared { keyspace, table, .. } = compared;
    let segments = plural(report.segments, "segment");
    if equal {
        return vec![format!("{keyspace}.{table}: equal ({segments})")];
    }
    let differing = count(report.differing.len() as u64);
    let differ = if report.differing.len() == 1 { "differs" } else { "differ" };
    let rows = counts.map(|counts| format!(": {}", in_words(counts))).unwrap_or_default();
    let mut lines = vec![format!("{keyspace}.{table}: {differing} of {segments} {differ}{rows}")];
    if counts.is_none() {
        let segment = |pair: &SegmentPair| {
            let (a, b) = (plural(lines_of(&pair.left), "row"), plural(lines_of(&pair.right), "row"));
            format!("  segment {} ({}, {}]: {a} in A, {b} in B", pair.segment, pair.range.start(), pair.range.end())
        };
        lines.extend(report.differing.iter().take(SEGMENTS_MAX).map(segment));
        let more = report.differing.len().saturating_sub(SEGMENTS_MAX);
        if more > 0 {
            lines.push(format!("  … and {} more (--json names them all)", count(more as u64)));
        }
    }
    lines
}

fn segment_line<'a>(keyspace: &'a str, table: &'a str, pair: &SegmentPair) -> SegmentLine<'a> {
    SegmentLine {
        keyspace,
        table,
        segment: pair.segment,
        token_start: pair.range.start().to_string(),
        token_end: pair.range.end().to_string(),
        rows_a: lines_of(&pair.left),
        rows_b: lines_of(&pair.right),
    }
}

fn lines_of(sums: &Sums) -> u64 {
    sums.rows + sums.static_rows
}

fn in_words(counts: Counts) -> String {
    let Counts { missing, extra, differing, .. } = counts;
    format!("{} changed, {} only in A, {} only in B", plural(differing, "row"), count(missing), count(extra))
}

/// Tells of one row that differs.
pub(crate) fn row(output: Output, compared: &Compared, difference: &Difference) {
    if output.json {
        let mut text = Vec::new();
        row_json(&mut text, compared, difference);
        terminal::write(&text);
    } else {
        row_text(compared, difference).iter().for_each(terminal::say);
    }
}

fn row_json(text: &mut Vec<u8>, compared: &Compared, difference: &Difference) {
    let (kind, rows) = match difference.kind {
        DifferenceKind::Missing => ("missing", None),
        DifferenceKind::Extra => ("extra", None),
        DifferenceKind::Changed => ("changed", None),
        DifferenceKind::TooMany { left, right } => ("too_many", Some((left, right))),
    };
    let line = RowLine {
        keyspace: &compared.keyspace,
        table: &compared.table,
        kind,
        token: difference.token.to_string(),
        columns: &difference.columns,
        rows_a: rows.map(|(left, _)| left),
        rows_b: rows.map(|(_, right)| right),
    };
    let raw = [("a", difference.left.as_deref()), ("b", difference.right.as_deref())];
    json::with_raw(text, Kind::RowDiff, &line, &raw);
}

fn row_text(compared: &Compared, difference: &Difference) -> Vec<String> {
    let name = format!("{}.{}", compared.keyspace, compared.table);
    let (left, right) = (line_text(difference.left.as_deref()), line_text(difference.right.as_deref()));
    match difference.kind {
        DifferenceKind::Missing => vec![format!("- {name} {}", left.unwrap_or_default())],
        DifferenceKind::Extra => vec![format!("+ {name} {}", right.unwrap_or_default())],
        DifferenceKind::TooMany { left, right } => vec![format!(
            "~ {name}: the partition of token {} differs, with too many rows to compare one by one: {} in A, {} in B",
            difference.token,
            count(left),
            count(right)
        )],
        DifferenceKind::Changed => {
            let (Some(a), Some(b)) = (&left, &right) else {
                let held = left.or(right).unwrap_or_default();
                return vec![format!("~ {name} {held}: changed; the other side's row was not kept")];
            };
            let (a, b) = (Row::of(a), Row::of(b));
            let mut lines = vec![format!("~ {name} {}", a.key(&compared.key))];
            lines.extend(difference.columns.iter().map(|column| cell_text(column, &a, &b)));
            lines
        }
    }
}

/// `total: 10 → 12`, or the times where the value is the same.
fn cell_text(column: &str, a: &Row<'_>, b: &Row<'_>) -> String {
    const NULL: &str = "null";
    let (old, new) = (a.value(column).unwrap_or(NULL), b.value(column).unwrap_or(NULL));
    if old != new {
        return format!("    {column}: {old} → {new}");
    }
    format!("    {column}: {old}, {} → {}", a.times(column), b.times(column))
}

fn line_text(line: Option<&[u8]>) -> Option<String> {
    line.map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
}

/// Tells what it all came to; gives whether the sides are equal.
pub(crate) fn verdict(output: Output, (a, b): (&str, &str), tally: &Tally, complete: bool) -> bool {
    let equal = tally.tables_differing == 0;
    let line = DiffLine {
        a,
        b,
        equal,
        complete,
        tables: tally.tables,
        tables_differing: tally.tables_differing,
        segments: tally.segments,
        segments_differing: tally.segments_differing,
        objects_read: tally.objects_read,
        bytes_read: tally.bytes_read,
        missing: tally.rows.map(|counts| counts.missing),
        extra: tally.rows.map(|counts| counts.extra),
        differing: tally.rows.map(|counts| counts.differing),
    };
    output.answer(Kind::Diff, &line, || vec![verdict_text((a, b), tally, complete)]);
    equal
}

fn verdict_text((a, b): (&str, &str), tally: &Tally, complete: bool) -> String {
    let read = format!("{} of rows read, {}", plural(tally.objects_read, "object"), size(tally.bytes_read));
    if tally.tables_differing == 0 {
        return format!("{a} and {b} hold the same: {}, {read}", plural(tally.tables, "table"));
    }
    let (differing, of) = (count(tally.tables_differing), plural(tally.tables, "table"));
    let rows = tally.rows.map(|counts| format!(", {}", in_words(counts))).unwrap_or_default();
    let cut = if complete { "" } else { "; stopped at --limit, there may be more" };
    format!("{a} and {b} differ in {differing} of {of}{rows}; {read}{cut}")
}

#[cfg(test)]
pub(crate) fn samples() -> Vec<(Kind, String)> {
    let table = TableLine {
        keyspace: "k",
        table: "t",
        equal: false,
        only_in: None,
        segments: 1,
        segments_differing: 1,
        missing: None,
        extra: None,
        differing: None,
    };
    let segment = SegmentLine {
        keyspace: "k",
        table: "t",
        segment: 1,
        token_start: "0".to_owned(),
        token_end: "1".to_owned(),
        rows_a: 1,
        rows_b: 2,
    };
    let row = RowLine {
        keyspace: "k",
        table: "t",
        kind: "too_many",
        token: "1".to_owned(),
        columns: &[],
        rows_a: Some(1),
        rows_b: Some(2),
    };
    let mut row_text = Vec::new();
    json::with_raw(&mut row_text, Kind::RowDiff, &row, &[("a", Some(b"{\"k\":1}")), ("b", None)]);
    let diff = DiffLine {
        a: "a",
        b: "b",
        equal: false,
        complete: true,
        tables: 1,
        tables_differing: 1,
        segments: 1,
        segments_differing: 1,
        objects_read: 1,
        bytes_read: 1,
        missing: None,
        extra: None,
        differing: None,
    };
    vec![
        (Kind::TableDiff, json::text(Kind::TableDiff, &table)),
        (Kind::SegmentDiff, json::text(Kind::SegmentDiff, &segment)),
        (Kind::RowDiff, String::from_utf8_lossy(&row_text).into_owned()),
        (Kind::Diff, json::text(Kind::Diff, &diff)),
    ]
}

#[cfg(test)]
mod tests {
    use ringvault_archive::rows::ObjectsRead;
    use ringvault_proto::token::{Token, TokenRange};

    use super::*;

    fn compared() -> Compared {
        Compared { keyspace: "shop".into(), table: "orders".into(), key: vec!["id".into(), "n".into()] }
    }

    fn difference(kind: DifferenceKind, left: Option<&str>, right: Option<&str>) -> Difference {
        let bytes = |line: Option<&str>| line.map(|line| format!("{line}\n").into_bytes());
        Difference {
            kind,
            token: Token(-7),
            key: None,
            columns: vec!["total".into(), "tag".into()],
            left: bytes(left),
            right: bytes(right),
        }
    }

    const OLD: &str = r#"{"id":7,"n":1,"tag":"x","total":10.50,"$":{"w":5}}"#;
    const NEW: &str = r#"{"id":7,"n":1,"tag":"x","total":12,"$":{"w":6}}"#;

    fn report() -> DiffReport {
        let pair = SegmentPair {
            segment: 3,
            range: TokenRange::new(Token(-10), Token(20)).expect("not empty"),
            left: Sums { rows: 4, static_rows: 1, ..Sums::default() },
            right: Sums { rows: 4, ..Sums::default() },
        };
        DiffReport {
            segments: 16,
            differing: vec![pair],
            read: ObjectsRead { objects: 2, bytes: 3 << 10 },
            rows: Counts { left: 5, right: 4, missing: 1, extra: 0, differing: 2, fallen_behind: 0 },
        }
    }

    #[test]
    fn a_changed_row_shows_its_key_and_each_cell_before_and_after() {
        let text = row_text(&compared(), &difference(DifferenceKind::Changed, Some(OLD), Some(NEW)));
        assert_eq!(
            text,
            [r#"~ shop.orders {"id":7,"n":1}"#, "    total: 10.50 → 12", "    tag: \"x\", written 5 → written 6"]
        );
        assert_eq!(
            row_text(&compared(), &difference(DifferenceKind::Missing, Some(OLD), None)),
            [format!("- shop.orders {OLD}")]
        );
        let text = row_text(&compared(), &difference(DifferenceKind::TooMany { left: 9, right: 1000 }, None, None));
        assert!(text[0].contains("9 in A, 1,000 in B"), "{text:?}");
    }

    #[test]
    fn a_row_that_differs_is_json_with_both_lines_as_they_stand() {
        let mut text = Vec::new();
        row_json(&mut text, &compared(), &difference(DifferenceKind::Changed, Some(OLD), None));
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.ends_with(&format!(",\"a\":{OLD},\"b\":null}}\n")), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((value["type"].as_str(), value["token"].as_str()), (Some("row_diff"), Some("-7")));
    }

    #[test]
    fn a_table_tells_its_segments_or_its_rows() {
        let report = report();
        let lines = table_text(&compared(), &report, false, None);
        let want = ["shop.orders: 1 of 16 segments differs", "  segment 3 (-10, 20]: 5 rows in A, 4 rows in B"];
        assert_eq!(lines, want);
        let lines = table_text(&compared(), &report, false, Some(report.rows));
        assert_eq!(lines, ["shop.orders: 1 of 16 segments differs: 2 rows changed, 1 only in A, 0 only in B"]);
    }

    #[test]
    fn sums_that_differ_by_what_cannot_be_compared_are_no_difference() {
        let mut tally = Tally::default();
        let same = DiffReport { rows: Counts { left: 5, right: 5, ..Counts::default() }, ..report() };
        tally.compared(&same, true);
        assert_eq!((tally.tables, tally.tables_differing, tally.segments_differing), (1, 0, 0));
        tally.compared(&report(), false);
        assert_eq!((tally.tables_differing, tally.segments_differing), (1, 1));
        let text = verdict_text(("A1", "B1"), &tally, true);
        assert!(text.starts_with("A1 and B1 differ in 1 of 2 tables") && text.contains("4 objects"), "{text}");
    }
}
