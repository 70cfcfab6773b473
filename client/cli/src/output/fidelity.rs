//! The fidelity report: what of a table is exact, what is approximate, and why. Nothing approximate is silent.

use ringvault_client::v1::{Approximation, Job, TableProgress, approximation::What};
use serde::Serialize;

use super::format::plural;

/// What is known of one table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fidelity<'a> {
    approximations: &'a [Approximation],
    /// Rows of which nothing but the key is there, and cells whose times could not be read; nothing before they are
    /// counted.
    counted: Option<(u64, u64)>,
}

/// The same for programs, beside a table's figures.
#[derive(Debug, Serialize)]
pub(crate) struct FidelityLine<'a> {
    exact: bool,
    approximations: Vec<ApproximationLine<'a>>,
}

#[derive(Debug, Serialize)]
struct ApproximationLine<'a> {
    what: &'static str,
    column: &'a str,
    note: &'a str,
}

impl<'a> Fidelity<'a> {
    /// Of a table whose rows are not read yet.
    pub(crate) fn expected(approximations: &'a [Approximation]) -> Self {
        Self { approximations, counted: None }
    }

    /// Of rows that were read.
    pub(crate) fn counted(approximations: &'a [Approximation], key_only_rows: u64, estimated_cells: u64) -> Self {
        Self { approximations, counted: Some((key_only_rows, estimated_cells)) }
    }

    /// Of a table of a job.
    pub(crate) fn of(table: &'a TableProgress) -> Self {
        Self::counted(&table.approximations, table.key_only_rows, table.estimated_cells)
    }

    /// Whether values, writetimes and expiries all came along as they are.
    pub(crate) fn is_exact(self) -> bool {
        self.applying().next().is_none() && self.counted.is_none_or(|counts| counts == (0, 0))
    }

    /// What is approximate. Row markers are invisible in every table; they matter where a row has nothing else.
    fn applying(self) -> impl Iterator<Item = &'a Approximation> {
        let matters = move |approximation: &&Approximation| match approximation.what() {
            What::RowMarkers => self.counted.is_some_and(|(key_only_rows, _)| key_only_rows > 0),
            _ => true,
        };
        self.approximations.iter().filter(matters)
    }

    /// For programs: whatever the server can't tell, also what does not matter for these rows.
    pub(crate) fn line(self) -> FidelityLine<'a> {
        let line = |approximation: &'a Approximation| ApproximationLine {
            what: word(approximation.what()),
            column: &approximation.column,
            note: &approximation.note,
        };
        FidelityLine { exact: self.is_exact(), approximations: self.approximations.iter().map(line).collect() }
    }

    /// For people: the table's name and `exact`, or a line for each thing that is approximate.
    fn text(self, name: &str) -> Vec<String> {
        if self.is_exact() {
            return vec![format!("  {name}: exact")];
        }
        let counts = match self.counted {
            Some((rows, cells)) if rows + cells > 0 => {
                let rows = (rows > 0).then(|| format!("{} of a key only", plural(rows, "row")));
                let cells = (cells > 0).then(|| format!("{} with estimated times", plural(cells, "cell")));
                format!(" ({})", [rows, cells].into_iter().flatten().collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        };
        let mut lines = vec![format!("  {name}: approximate{counts}")];
        lines.extend(self.applying().map(|approximation| {
            let column = match approximation.column.as_str() {
                "" => String::new(),
                column => format!("{column}: "),
            };
            let note = if approximation.note.is_empty() { meaning(approximation.what()) } else { &approximation.note };
            format!("    {column}{note}")
        }));
        lines
    }
}

/// The report of several tables, for people.
pub(crate) fn report<'a>(tables: impl Iterator<Item = (String, Fidelity<'a>)>) -> Vec<String> {
    let mut lines = vec!["fidelity: values are exact in every table; of times".to_owned()];
    lines.extend(tables.flat_map(|(name, fidelity)| fidelity.text(&name)));
    lines
}

/// One line about a job: how many tables are exact, and which are not.
pub(crate) fn in_short(job: &Job) -> Option<String> {
    const NAMED_MAX: usize = 4;
    let not: Vec<&TableProgress> = job.tables.iter().filter(|table| !Fidelity::of(table).is_exact()).collect();
    if job.tables.is_empty() {
        return None;
    }
    if not.is_empty() {
        return Some("values and times of all tables are exact".to_owned());
    }
    let mut names: Vec<String> = not.iter().take(NAMED_MAX).map(|table| super::table_name(job, table)).collect();
    if not.len() > NAMED_MAX {
        names.push(format!("{} more", not.len() - NAMED_MAX));
    }
    Some(format!(
        "all values are exact; times are approximate in {} of {}: {} (`ringvault show` says why)",
        not.len(),
        plural(job.tables.len() as u64, "table"),
        names.join(", ")
    ))
}

/// What is approximate, as `--json` names it.
fn word(what: What) -> &'static str {
    match what {
        What::Unspecified => "unspecified",
        What::RowMarkers => "row_markers",
        What::ColumnTimes => "column_times",
        What::ElementTimes => "element_times",
        What::ListTimes => "list_times",
        What::CounterTimes => "counter_times",
        What::AllTimes => "all_times",
    }
}

/// What it means, where nobody left a note.
fn meaning(what: What) -> &'static str {
    match what {
        What::Unspecified => "something that this program has no word for; a newer one wrote it",
        What::RowMarkers => "rows without other cells come back with the backup's start as their writetime",
        What::ColumnTimes => "the server tells no times of it; the row's newest and latest stand in",
        What::ElementTimes => "only the newest writetime and the latest expiry of its elements are known",
        What::ListTimes => "comes back whole, at its newest time",
        What::CounterTimes => "counters have no times that could be set",
        What::AllTimes => "writetimes and expiries were left out as asked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approximation(what: What, column: &str) -> Approximation {
        Approximation { what: what.into(), column: column.into(), note: String::new() }
    }

    #[test]
    fn row_markers_matter_where_a_row_has_nothing_else() {
        let known = [approximation(What::RowMarkers, "")];
        assert!(Fidelity::expected(&known).is_exact());
        assert!(Fidelity::counted(&known, 0, 0).is_exact());
        assert!(!Fidelity::counted(&known, 1, 0).is_exact());
        assert!(!Fidelity::counted(&[], 0, 1).is_exact());
    }

    #[test]
    fn every_table_stands_in_the_report_and_says_what_and_why() {
        let known = [approximation(What::RowMarkers, ""), approximation(What::ListTimes, "tags")];
        let tables = [
            ("shop.a".to_owned(), Fidelity::counted(&known[..1], 0, 0)),
            ("shop.b".to_owned(), Fidelity::counted(&known, 2, 5)),
            ("shop.c".to_owned(), Fidelity::expected(&known)),
        ];
        assert_eq!(
            report(tables.into_iter()).join("\n"),
            "fidelity: values are exact in every table; of times\n\
             \x20 shop.a: exact\n\
             \x20 shop.b: approximate (2 rows of a key only, 5 cells with estimated times)\n\
             \x20   rows without other cells come back with the backup's start as their writetime\n\
             \x20   tags: comes back whole, at its newest time\n\
             \x20 shop.c: approximate\n\
             \x20   tags: comes back whole, at its newest time"
        );
    }

    #[test]
    fn programs_hear_of_everything_that_the_server_cannot_tell() {
        let known = [approximation(What::RowMarkers, "")];
        let line = serde_json::to_value(Fidelity::counted(&known, 0, 0).line()).expect("JSON");
        assert_eq!(line["exact"], true);
        assert_eq!(line["approximations"][0]["what"], "row_markers");
    }
}
