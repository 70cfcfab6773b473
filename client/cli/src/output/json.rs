//! JSON lines. The form is documented in client/cli/JSON.md and only ever grows within one version.

use std::time::Duration;

use ringvault_client::{
    state,
    v1::{Job, JobSpec, JobState, TableProgress},
};
use serde::Serialize;

use super::{
    board::Limits,
    fidelity::{Fidelity, FidelityLine},
    terminal,
    totals::{Speed, Totals, table_fraction},
};
use crate::requests::Subject;

/// Version of the lines.
const SCHEMA: u32 = 1;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Note,
    Warning,
    Error,
    Submitted,
    Progress,
    Summary,
    Interrupted,
    Plan,
    /// A `backup` of `list`.
    BackupListed,
    /// A `backup` of `show`.
    BackupShown,
    VerifyProgress,
    Finding,
    Verified,
    TableDiff,
    SegmentDiff,
    RowDiff,
    Diff,
    Row,
    ImportProgress,
    Imported,
    Job,
    Worker,
    Cluster,
}

impl Kind {
    /// The line's `type`.
    fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Submitted => "submitted",
            Self::Progress => "progress",
            Self::Summary => "summary",
            Self::Interrupted => "interrupted",
            Self::Plan => "plan",
            Self::BackupListed | Self::BackupShown => "backup",
            Self::VerifyProgress => "verify_progress",
            Self::Finding => "finding",
            Self::Verified => "verified",
            Self::TableDiff => "table_diff",
            Self::SegmentDiff => "segment_diff",
            Self::RowDiff => "row_diff",
            Self::Diff => "diff",
            Self::Row => "row",
            Self::ImportProgress => "import_progress",
            Self::Imported => "imported",
            Self::Job => "job",
            Self::Worker => "worker",
            Self::Cluster => "cluster",
        }
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    schema: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// Prints one line.
pub(crate) fn print<T: Serialize>(kind: Kind, body: &T) {
    terminal::say(text(kind, body));
}

/// One line, without its end.
pub(crate) fn text<T: Serialize>(kind: Kind, body: &T) -> String {
    let line = Line { schema: SCHEMA, kind: kind.word(), body };
    serde_json::to_string(&line).expect("records have string keys and finite numbers")
}

/// Adds a `row` line: a row line as it stands in the archive, within a line of ours.
pub(crate) fn row_line(text: &mut Vec<u8>, keyspace: &str, table: &str, token: &str, line: &[u8]) {
    #[derive(Serialize)]
    struct Row<'a> {
        keyspace: &'a str,
        table: &'a str,
        token: &'a str,
    }
    with_raw(text, Kind::Row, &Row { keyspace, table, token }, &[("row", Some(line))]);
}

/// Adds a line whose last members are JSON already, which is not parsed and written anew.
pub(crate) fn with_raw<T: Serialize>(text: &mut Vec<u8>, kind: Kind, body: &T, raw: &[(&str, Option<&[u8]>)]) {
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
    pub(crate) trace_id: &'a str,
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
    pub(crate) failures: u64,
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
            failures: totals.failures,
            cells_expired: totals.cells_expired,
            rows_skipped: totals.rows_skipped,
            key_only_rows: totals.key_only_rows,
            estimated_cells: totals.estimated_cells,
            segments: totals.segments,
            segments_verified: totals.segments_verified,
        }
    }
}

/// One table of a job.
#[derive(Debug, Serialize)]
pub(crate) struct TableFigures<'a> {
    keyspace: &'a str,
    table: &'a str,
    state: &'static str,
    shards: u64,
    shards_done: u64,
    fraction: f64,
    remaining_ms: Option<u64>,
    rows_per_second: u64,
    bytes_per_second: u64,
    #[serde(flatten)]
    figures: Figures,
    /// What is approximate of it; in the last lines of a job, not in each about its progress.
    #[serde(flatten)]
    fidelity: Option<FidelityLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored_as: Option<Place<'a>>,
}

/// Where a restore writes a table, if elsewhere.
#[derive(Debug, Serialize)]
pub(crate) struct Place<'a> {
    keyspace: &'a str,
    table: &'a str,
}

/// The tables of a job that runs.
pub(crate) fn tables(job: &Job) -> Vec<TableFigures<'_>> {
    job.tables.iter().map(|progress| table(progress, job.state())).collect()
}

/// The tables of a job with what is approximate of them.
pub(crate) fn tables_with_fidelity(job: &Job) -> Vec<TableFigures<'_>> {
    let fidelity = |progress| Some(Fidelity::of(progress).line());
    let with = |progress| TableFigures { fidelity: fidelity(progress), ..table(progress, job.state()) };
    job.tables.iter().map(with).collect()
}

fn table(table: &TableProgress, state: JobState) -> TableFigures<'_> {
    let name = table.table.as_ref();
    let totals = Totals::of_tables([table]);
    TableFigures {
        keyspace: name.map_or("", |name| &name.keyspace),
        table: name.map_or("", |name| &name.table),
        state: state::table_word(table.state()),
        shards: table.shards,
        shards_done: table.shards_done,
        fraction: table_fraction(table, state),
        remaining_ms: totals.remaining(state).map(ms),
        rows_per_second: totals.rows_per_second,
        bytes_per_second: totals.bytes_per_second,
        figures: (&totals).into(),
        fidelity: None,
        restored_as: table.target.as_ref().map(|name| Place { keyspace: &name.keyspace, table: &name.table }),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How a running job stands.
#[derive(Debug, Serialize)]
pub(crate) struct Progress<'a> {
    job_id: &'a str,
    state: &'static str,
    stage: &'a str,
    elapsed_ms: u64,
    fraction: Option<f64>,
    remaining_ms: Option<u64>,
    rows_per_second: u64,
    bytes_per_second: u64,
    leases: u32,
    workers: u32,
    #[serde(flatten)]
    figures: Figures,
    tables: Vec<TableFigures<'a>>,
}

impl<'a> Progress<'a> {
    pub(crate) fn of(job: &'a Job, totals: &Totals, speed: &Speed) -> Self {
        Self {
            job_id: &job.job_id,
            state: state::word(job.state()),
            stage: &job.stage,
            elapsed_ms: ms(speed.elapsed),
            fraction: totals.fraction(job.state()),
            remaining_ms: totals.remaining(job.state()).map(ms),
            rows_per_second: totals.rows_per_second,
            bytes_per_second: totals.bytes_per_second,
            leases: job.leases,
            workers: job.workers,
            figures: totals.into(),
            tables: tables(job),
        }
    }
}

/// A job as the commands about jobs tell it.
#[derive(Debug, Serialize)]
pub(crate) struct JobLine<'a> {
    job_id: &'a str,
    work: &'a str,
    keyspace: String,
    keyspace_as: &'a str,
    repository: &'a str,
    cluster: &'a str,
    state: &'static str,
    stage: &'a str,
    fraction: Option<f64>,
    backup_id: &'a str,
    submitted_unix_ms: u64,
    started_unix_ms: u64,
    finished_unix_ms: u64,
    leases: u32,
    workers: u32,
    priority: &'static str,
    pace: &'static str,
    workers_max: u32,
    ranges_max: u32,
    rows_per_second_max: u64,
    bytes_per_second_max: u64,
    idempotency_key: &'a str,
    trace_id: &'a str,
    failure: Option<&'a str>,
    warnings: &'a [String],
    mismatches: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tables: Vec<TableFigures<'a>>,
}

impl<'a> JobLine<'a> {
    pub(crate) fn of(job: &'a Job) -> Self {
        let subject = Subject::of(job);
        let limits = job.spec.as_ref().map(Limits::of).unwrap_or_default();
        Self {
            job_id: &job.job_id,
            work: subject.work,
            keyspace: subject.keyspaces,
            keyspace_as: subject.keyspace_as,
            repository: subject.repository,
            cluster: subject.cluster,
            state: state::word(job.state()),
            stage: &job.stage,
            fraction: Totals::of(job).fraction(job.state()),
            backup_id: &job.backup_id,
            submitted_unix_ms: job.submitted_unix_ms,
            started_unix_ms: job.started_unix_ms,
            finished_unix_ms: job.finished_unix_ms,
            leases: job.leases,
            workers: job.workers,
            priority: state::priority_word(job.spec.as_ref().map(JobSpec::priority).unwrap_or_default()),
            pace: state::pace_word(limits.pace),
            workers_max: limits.workers_max,
            ranges_max: limits.ranges_max,
            rows_per_second_max: limits.rows_per_second_max,
            bytes_per_second_max: limits.bytes_per_second_max,
            idempotency_key: &job.idempotency_key,
            trace_id: &job.trace_id,
            failure: job.failure.as_ref().map(|failure| failure.message.as_str()),
            warnings: &job.warnings,
            mismatches: &job.mismatches,
            tables: tables_with_fidelity(job),
        }
    }
}

/// A line of every kind that is printed here or for a job, with all that it may hold.
#[cfg(test)]
pub(crate) fn samples() -> Vec<(Kind, String)> {
    use ringvault_client::v1::{Approximation, TableName};
    let table = TableProgress {
        approximations: vec![Approximation::default()],
        target: Some(TableName::default()),
        ..TableProgress::default()
    };
    let job = Job { tables: vec![table], ..Job::default() };
    let submitted = Submitted {
        job_id: "j",
        resumed: false,
        started_unix_ms: 1,
        rows_kept: 0,
        bytes_kept: 0,
        trace_id: "",
        watch_command: Some(String::new()),
        cancel_command: Some(String::new()),
    };
    let (totals, speed) = (Totals::of(&job), Speed::default());
    let summary = super::summary::record(&job, &speed, crate::exit::Exit::Done, Some("ringvault restore"));
    let mut row = Vec::new();
    row_line(&mut row, "k", "t", "0", b"{\"k\":1}");
    let note = Note { message: "m" };
    vec![
        (Kind::Note, text(Kind::Note, &note)),
        (Kind::Warning, text(Kind::Warning, &note)),
        (Kind::Error, text(Kind::Error, &ErrorLine { kind: "usage", message: "m", exit_code: 2 })),
        (Kind::Submitted, text(Kind::Submitted, &submitted)),
        (Kind::Progress, text(Kind::Progress, &Progress::of(&job, &totals, &speed))),
        (Kind::Summary, text(Kind::Summary, &summary)),
        (Kind::Row, String::from_utf8_lossy(&row).into_owned()),
        (Kind::Job, text(Kind::Job, &JobLine::of(&job))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_version_and_type_first() {
        let line = text(Kind::Note, &Note { message: "a \"quoted\" word" });
        assert_eq!(line, r#"{"schema":1,"type":"note","message":"a \"quoted\" word"}"#);
    }

    #[test]
    fn a_row_stands_in_its_line_as_it_stands_in_the_archive() {
        let mut text = Vec::new();
        row_line(&mut text, "shop", "a", "-5", b"{\"k\":1.50}\n");
        let want = "{\"schema\":1,\"type\":\"row\",\"keyspace\":\"shop\",\"table\":\"a\",\"token\":\"-5\",\"row\":{\"k\":1.50}}\n";
        assert_eq!(String::from_utf8(text).expect("UTF-8"), want);
    }

    #[test]
    fn a_line_holds_no_line_feed() {
        let job = Job { stage: "two\nlines".to_owned(), ..Job::default() };
        assert!(!text(Kind::Job, &JobLine::of(&job)).contains('\n'));
    }
}
