//! JSON lines. The form is documented in client/cli/JSON.md and only ever grows within one version.

use ringvault_client::{
    state,
    v1::{Job, TableProgress},
};
use serde::Serialize;

use super::{
    fidelity::{Fidelity, FidelityLine},
    terminal,
    totals::{Speed, Totals},
};
use crate::requests::Subject;

/// Version of the lines.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Line<'a, T> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// Prints one line.
pub(crate) fn print<T: Serialize>(kind: &str, body: &T) {
    terminal::say(text(kind, body));
}

fn text<T: Serialize>(kind: &str, body: &T) -> String {
    serde_json::to_string(&Line { v: VERSION, kind, body }).expect("records have string keys and finite numbers")
}

/// Adds a `row` line: a row line as it stands in the archive, within a line of ours.
pub(crate) fn row_line(text: &mut Vec<u8>, keyspace: &str, table: &str, token: &str, line: &[u8]) {
    #[derive(Serialize)]
    struct Row<'a> {
        keyspace: &'a str,
        table: &'a str,
        token: &'a str,
    }
    with_raw(text, "row", &Row { keyspace, table, token }, &[("row", Some(line))]);
}

/// Adds a line whose last members are JSON already, which is not parsed and written anew.
pub(crate) fn with_raw<T: Serialize>(text: &mut Vec<u8>, kind: &str, body: &T, raw: &[(&str, Option<&[u8]>)]) {
    let head = self::text(kind, body);
    text.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    for (name, json) in raw {
        text.extend_from_slice(format!(",\"{name}\":").as_bytes());
        text.extend_from_slice(json.map_or(b"null", |json| json.trim_ascii_end()));
    }
    text.extend_from_slice(b"}\n");
}

#[derive(Serialize)]
pub(crate) struct Note<'a> {
    pub(crate) message: &'a str,
}

#[derive(Serialize)]
pub(crate) struct ErrorLine<'a> {
    pub(crate) kind: &'a str,
    pub(crate) message: &'a str,
    pub(crate) exit_code: u8,
}

/// A job was accepted, or goes on.
#[derive(Debug, Serialize)]
pub(crate) struct Submitted<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) resumed: bool,
    pub(crate) started_unix_ms: u64,
    pub(crate) rows_kept: u64,
    pub(crate) bytes_kept: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watch_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cancel_command: Option<String>,
}

/// Figures of a job or of one of its tables.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) rows: u64,
    pub(crate) rows_expected: u64,
    pub(crate) encoded_bytes: u64,
    pub(crate) bytes_estimated: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) chunks_new: u64,
    pub(crate) chunks_reused: u64,
    pub(crate) retries: u64,
    pub(crate) cells_expired: u64,
    pub(crate) rows_skipped: u64,
    pub(crate) key_only_rows: u64,
    pub(crate) estimated_cells: u64,
    pub(crate) segments: u64,
    pub(crate) segments_verified: u64,
}

impl From<&Totals> for Figures {
    fn from(totals: &Totals) -> Self {
        Self {
            rows: totals.rows,
            rows_expected: totals.rows_expected,
            encoded_bytes: totals.encoded_bytes,
            bytes_estimated: totals.bytes_estimated,
            stored_bytes: totals.stored_bytes,
            chunks_new: totals.chunks_new,
            chunks_reused: totals.chunks_reused,
            retries: totals.retries,
            cells_expired: totals.cells_expired,
            rows_skipped: totals.rows_skipped,
            key_only_rows: totals.key_only_rows,
            estimated_cells: totals.estimated_cells,
            segments: totals.segments,
            segments_verified: totals.segments_verified,
        }
    }
}

impl From<&TableProgress> for Figures {
    fn from(table: &TableProgress) -> Self {
        Self {
            rows: table.rows,
            rows_expected: table.rows_expected,
            encoded_bytes: table.encoded_bytes,
            bytes_estimated: table.bytes_estimated,
            stored_bytes: table.stored_bytes,
            chunks_new: table.chunks_new,
            chunks_reused: table.chunks_reused,
            retries: table.retries,
            cells_expired: table.cells_expired,
            rows_skipped: table.rows_skipped,
            key_only_rows: table.key_only_rows,
            estimated_cells: table.estimated_cells,
            segments: table.segments,
            segments_verified: table.segments_verified,
        }
    }
}

/// One table of a job.
#[derive(Debug, Serialize)]
pub(crate) struct TableFigures<'a> {
    pub(crate) keyspace: &'a str,
    pub(crate) table: &'a str,
    pub(crate) shards: u64,
    pub(crate) shards_done: u64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// What is approximate of it; in the last lines of a job, not in each about its progress.
    #[serde(flatten)]
    pub(crate) fidelity: Option<FidelityLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restored_as: Option<Place<'a>>,
}

/// Where a restore writes a table, if elsewhere.
#[derive(Debug, Serialize)]
pub(crate) struct Place<'a> {
    keyspace: &'a str,
    table: &'a str,
}

/// The tables of a job that runs.
pub(crate) fn tables(job: &Job) -> Vec<TableFigures<'_>> {
    job.tables.iter().map(table).collect()
}

/// The tables of a job with what is approximate of them.
pub(crate) fn tables_with_fidelity(job: &Job) -> Vec<TableFigures<'_>> {
    let with = |progress| TableFigures { fidelity: Some(Fidelity::of(progress).line()), ..table(progress) };
    job.tables.iter().map(with).collect()
}

fn table(table: &TableProgress) -> TableFigures<'_> {
    let name = table.table.as_ref();
    TableFigures {
        keyspace: name.map_or("", |name| &name.keyspace),
        table: name.map_or("", |name| &name.table),
        shards: table.shards,
        shards_done: table.shards_done,
        figures: table.into(),
        fidelity: None,
        restored_as: table.target.as_ref().map(|name| Place { keyspace: &name.keyspace, table: &name.table }),
    }
}

/// How a running job stands.
#[derive(Debug, Serialize)]
pub(crate) struct Progress<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) state: &'static str,
    pub(crate) stage: &'a str,
    pub(crate) elapsed_ms: u64,
    pub(crate) fraction: Option<f64>,
    pub(crate) remaining_ms: Option<u64>,
    pub(crate) rows_per_second: u64,
    pub(crate) bytes_per_second: u64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) tables: Vec<TableFigures<'a>>,
}

impl<'a> Progress<'a> {
    pub(crate) fn of(job: &'a Job, totals: &Totals, speed: &Speed) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            job_id: &job.job_id,
            state: state::word(job.state()),
            stage: &job.stage,
            elapsed_ms: ms(speed.elapsed),
            fraction: totals.fraction(job.state()),
            remaining_ms: speed.remaining.map(ms),
            rows_per_second: speed.rows_per_second,
            bytes_per_second: speed.bytes_per_second,
            figures: totals.into(),
            tables: tables(job),
        }
    }
}

/// A job of `job list` and `job show`.
#[derive(Debug, Serialize)]
pub(crate) struct JobLine<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) work: &'a str,
    pub(crate) keyspace: String,
    pub(crate) keyspace_as: &'a str,
    pub(crate) repository: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) state: &'static str,
    pub(crate) stage: &'a str,
    pub(crate) backup_id: &'a str,
    pub(crate) submitted_unix_ms: u64,
    pub(crate) started_unix_ms: u64,
    pub(crate) finished_unix_ms: u64,
    pub(crate) failure: Option<&'a str>,
    pub(crate) warnings: &'a [String],
    pub(crate) mismatches: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tables: Vec<TableFigures<'a>>,
}

impl<'a> JobLine<'a> {
    pub(crate) fn of(job: &'a Job) -> Self {
        let subject = Subject::of(job);
        Self {
            job_id: &job.job_id,
            work: subject.work,
            keyspace: subject.keyspaces,
            keyspace_as: subject.keyspace_as,
            repository: subject.repository,
            cluster: subject.cluster,
            state: state::word(job.state()),
            stage: &job.stage,
            backup_id: &job.backup_id,
            submitted_unix_ms: job.submitted_unix_ms,
            started_unix_ms: job.started_unix_ms,
            finished_unix_ms: job.finished_unix_ms,
            failure: job.failure.as_ref().map(|failure| failure.message.as_str()),
            warnings: &job.warnings,
            mismatches: &job.mismatches,
            tables: tables_with_fidelity(job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_version_and_type_first() {
        let line = text("note", &Note { message: "a \"quoted\" word" });
        assert_eq!(line, r#"{"v":1,"type":"note","message":"a \"quoted\" word"}"#);
    }

    #[test]
    fn a_row_stands_in_its_line_as_it_stands_in_the_archive() {
        let mut text = Vec::new();
        row_line(&mut text, "shop", "a", "-5", b"{\"k\":1.50}\n");
        let want =
            "{\"v\":1,\"type\":\"row\",\"keyspace\":\"shop\",\"table\":\"a\",\"token\":\"-5\",\"row\":{\"k\":1.50}}\n";
        assert_eq!(String::from_utf8(text).expect("UTF-8"), want);
    }

    #[test]
    fn a_line_holds_no_line_feed() {
        let job = Job { stage: "two\nlines".to_owned(), ..Job::default() };
        assert!(!text("job", &JobLine::of(&job)).contains('\n'));
    }
}
