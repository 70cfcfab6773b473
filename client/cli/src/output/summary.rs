//! What an ended job comes to: figures, warnings, and the command to run next.

use std::time::Duration;

use ringvault_client::{
    state,
    v1::{Job, JobState, Plan, job_spec::Work},
};
use serde::Serialize;

use super::{
    fidelity::{self, Fidelity},
    format::{age, count, plural, size, span, table},
    json::{self, Figures, TableFigures},
    totals::{Speed, Totals},
};
use crate::{exit::Exit, requests::Subject};

/// Mismatching segments and warnings that the text names; `--json` has them all.
const NAMED_MAX: usize = 20;

/// The last line of a job, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'a> {
    work: &'a str,
    job_id: &'a str,
    state: &'static str,
    exit_code: u8,
    keyspace: String,
    keyspace_as: &'a str,
    repository: &'a str,
    backup_id: &'a str,
    started_unix_ms: u64,
    finished_unix_ms: u64,
    elapsed_ms: u64,
    rows_per_second: u64,
    bytes_per_second: u64,
    rows_kept: u64,
    bytes_kept: u64,
    tables_count: u64,
    #[serde(flatten)]
    figures: Figures,
    tables: Vec<TableFigures<'a>>,
    warnings: &'a [String],
    mismatches: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_command: Option<&'a str>,
}

/// The record of an ended job.
pub(crate) fn record<'a>(job: &'a Job, speed: &Speed, exit: Exit, restore_command: Option<&'a str>) -> Summary<'a> {
    let subject = Subject::of(job);
    let totals = Totals::of(job);
    Summary {
        work: subject.work,
        job_id: &job.job_id,
        state: state::word(job.state()),
        exit_code: exit as u8,
        keyspace: subject.keyspaces,
        keyspace_as: subject.keyspace_as,
        repository: subject.repository,
        backup_id: &job.backup_id,
        started_unix_ms: job.started_unix_ms,
        finished_unix_ms: job.finished_unix_ms,
        elapsed_ms: u64::try_from(speed.elapsed.as_millis()).unwrap_or(u64::MAX),
        rows_per_second: speed.rows_per_second,
        bytes_per_second: speed.bytes_per_second,
        rows_kept: job.rows_kept,
        bytes_kept: job.bytes_kept,
        tables_count: totals.tables,
        figures: (&totals).into(),
        tables: json::tables_with_fidelity(job),
        warnings: &job.warnings,
        mismatches: &job.mismatches,
        restore_command,
    }
}

/// The same for people.
pub(crate) fn text(job: &Job, speed: &Speed, restore_command: Option<&str>) -> Vec<String> {
    let subject = Subject::of(job);
    let totals = Totals::of(job);
    let mut lines = vec![headline(job, &subject)];
    if totals.tables == 0 && job.state() != JobState::Done {
        lines.extend(named("warning", &job.warnings));
        return lines; // it ended before there was anything to count
    }
    lines.extend(work_done(&subject, &totals, job));
    let pace = match speed.rows_per_second {
        0 => String::new(), // nothing was moved: compared, or over in no time
        rows => format!(" ({} rows/s, {}/s)", count(rows), size(speed.bytes_per_second)),
    };
    lines.push(format!("  time      {}{pace}", span(speed.elapsed)));
    if job.rows_kept > 0 {
        lines.push(format!("  kept      {} of an earlier run", plural(job.rows_kept, "row")));
    }
    if totals.rows_skipped > 0 {
        let skipped = plural(totals.rows_skipped, "row");
        lines.push(format!("  skipped   {skipped} not written: outside what was chosen, or there already"));
    }
    if totals.cells_expired > 0 {
        lines.push(format!("  expired   {} not written: their time had come", plural(totals.cells_expired, "cell")));
    }
    if totals.retries > 0 {
        lines.push(format!("  retries   {}", count(totals.retries)));
    }
    if job.state() == JobState::Done && !is_schema_only(job) {
        lines.extend(fidelity::in_short(job).map(|text| format!("  fidelity  {text}")));
    }
    lines.extend(named("warning", &job.warnings));
    lines.extend(named("mismatch", &job.mismatches));
    if let Some(command) = restore_command {
        lines.push("restore it with (--drop replaces a keyspace that exists):".to_owned());
        lines.push(format!("  {command}"));
    }
    lines
}

/// What was moved and compared.
fn work_done(subject: &Subject<'_>, totals: &Totals, job: &Job) -> Vec<String> {
    let tables = plural(totals.tables, "table");
    if is_schema_only(job) {
        return vec![format!("  schema    of {tables}; no rows were asked for")];
    }
    let verified = match totals.segments_verified {
        0 => "  verified  not read back".to_owned(),
        some => format!("  verified  {} read back and compared", plural(some, "segment")),
    };
    if subject.work == "verify" {
        return vec![verified];
    }
    let rows = format!("  rows      {} in {tables}", count(totals.rows));
    let encoded = format!("  bytes     {} encoded", size(totals.encoded_bytes));
    if subject.work == "backup" {
        let chunks = format!("  chunks    {} new, {} reused", count(totals.chunks_new), count(totals.chunks_reused));
        return vec![rows, format!("{encoded}, {} stored new", size(totals.stored_bytes)), chunks];
    }
    vec![rows, encoded, verified]
}

fn is_schema_only(job: &Job) -> bool {
    let work = job.spec.as_ref().and_then(|spec| spec.work.as_ref());
    matches!(work, Some(Work::Restore(spec)) if spec.schema_only)
}

fn headline(job: &Job, subject: &Subject<'_>) -> String {
    let (id, what) = (&job.backup_id, subject.what());
    let into = match subject.keyspace_as {
        "" => String::new(),
        name => format!(" as {name}"),
    };
    let is = if what.starts_with("keyspace ") { "is" } else { "are" };
    match (subject.work, job.state()) {
        ("backup", JobState::Done) => format!("backup {id} of {what} is complete"),
        ("restore", JobState::Done) => format!("{what} {is} restored{into} from backup {id}"),
        ("verify", JobState::Done) => format!("{what}{into} {is} what backup {id} holds"),
        ("rehearse", JobState::Done) => {
            let share = match subject.sample_per_million {
                0 => "all of it".to_owned(),
                sample => format!("a sample of {}%", f64::from(sample) / 10_000.0),
            };
            format!("the restore of backup {id} was rehearsed: {share} was written, compared and dropped again")
        }
        ("verify", _) if !job.mismatches.is_empty() => format!("{what}{into}: not what backup {id} holds"),
        (work, state) => format!("{work} of {what}{into}: {}", state::word(state)),
    }
}

fn named(word: &str, texts: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = texts.iter().take(NAMED_MAX).map(|text| format!("  {word}: {text}")).collect();
    if texts.len() > NAMED_MAX {
        lines.push(format!("  … and {} more (--json names them all)", count((texts.len() - NAMED_MAX) as u64)));
    }
    lines
}

/// What to say of a job that goes on from an earlier run.
pub(crate) fn resuming(job: &Job, now_unix_ms: u64) -> String {
    let work = Subject::of(job).work;
    let totals = Totals::of(job);
    let ago = age(Duration::from_millis(now_unix_ms.saturating_sub(job.started_unix_ms)));
    let rows = if job.rows_kept > 0 { job.rows_kept } else { totals.rows };
    let kept = match totals.chunks_new + totals.chunks_reused {
        0 => plural(rows, "row"),
        chunks => format!("{} ({})", plural(rows, "row"), plural(chunks, "chunk")),
    };
    format!("resuming the {work} started {ago} ago: {kept} are kept; --fresh starts over")
}

/// The plan of a backup, for people.
pub(crate) fn plan(plan: &Plan) -> Vec<String> {
    let name = |table: &ringvault_client::v1::TablePlan| {
        table.table.as_ref().map_or_else(String::new, |name| format!("{}.{}", name.keyspace, name.table))
    };
    let row = |table: &ringvault_client::v1::TablePlan| {
        let segments = 1_u64.checked_shl(table.grid_exponent).unwrap_or(u64::MAX);
        vec![
            name(table),
            size(table.bytes_estimated),
            count(table.partitions_estimated),
            table.estimated_by.clone(),
            count(segments),
            count(table.shards.into()),
            if table.parent_backup_id.is_empty() { "-".to_owned() } else { table.parent_backup_id.clone() },
        ]
    };
    let rows: Vec<Vec<String>> = plan.tables.iter().map(row).collect();
    let headers = ["table", ">size", ">partitions", "estimated by", ">segments", ">shards", "parent"];
    let mut lines = vec![format!("cluster {}, version {}", plan.cluster_name, plan.server_version)];
    lines.extend(table(&headers, &rows));
    let bytes = plan.tables.iter().map(|table| table.bytes_estimated).fold(0, u64::saturating_add);
    lines.push(format!("{} in all, about; unchanged segments of a parent are not stored again", size(bytes)));
    lines.push(String::new());
    let fidelity = |table| (name(table), Fidelity::expected(&table.approximations));
    lines.extend(fidelity::report(plan.tables.iter().map(fidelity)));
    lines
}

#[cfg(test)]
mod tests {
    use ringvault_client::{
        Client,
        v1::{Approximation, BackupSpec, RestoreSpec, TableName, TableProgress, VerifySpec, approximation::What},
    };

    use super::*;

    fn job() -> Job {
        let spec = Client::backup(BackupSpec { keyspaces: vec!["shop".into()], ..Default::default() });
        let table = TableProgress {
            rows: 1_200_000,
            chunks_new: 30,
            chunks_reused: 4,
            encoded_bytes: 3 << 30,
            stored_bytes: 1 << 30,
            ..Default::default()
        };
        Job {
            spec: Some(spec),
            state: JobState::Done.into(),
            backup_id: "20261122T145053Z-7k3f".into(),
            started_unix_ms: 1_000_000,
            rows_kept: 1_200_000,
            tables: vec![table],
            warnings: vec!["node 10.0.0.3 was down for 2 min".into()],
            ..Default::default()
        }
    }

    #[test]
    fn a_finished_backup_tells_its_figures_and_how_to_restore_it() {
        let speed = Speed { elapsed: Duration::from_secs(185), rows_per_second: 6_486, bytes_per_second: 17 << 20 };
        let text = text(&job(), &speed, Some("ringvault restore shop /bk --backup 20261122T145053Z-7k3f")).join("\n");
        assert_eq!(
            text,
            "backup 20261122T145053Z-7k3f of keyspace shop is complete\n\
             \x20 rows      1,200,000 in 1 table\n\
             \x20 bytes     3.0 GiB encoded, 1.0 GiB stored new\n\
             \x20 chunks    30 new, 4 reused\n\
             \x20 time      3 min 05 s (6,486 rows/s, 17.0 MiB/s)\n\
             \x20 kept      1,200,000 rows of an earlier run\n\
             \x20 fidelity  values and times of all tables are exact\n\
             \x20 warning: node 10.0.0.3 was down for 2 min\n\
             restore it with (--drop replaces a keyspace that exists):\n\
             \x20 ringvault restore shop /bk --backup 20261122T145053Z-7k3f"
        );
    }

    fn restored(change: impl FnOnce(&mut RestoreSpec)) -> Job {
        let mut spec = RestoreSpec { keyspaces: vec!["shop".into()], ..Default::default() };
        change(&mut spec);
        let table = TableProgress {
            table: Some(TableName { keyspace: "shop".into(), table: "orders".into() }),
            rows: 90,
            rows_skipped: 1_200,
            cells_expired: 7,
            segments_verified: 16,
            approximations: vec![Approximation { what: What::ListTimes.into(), ..Default::default() }],
            ..Default::default()
        };
        Job { spec: Some(Client::restore(spec)), tables: vec![table], ..job() }
    }

    fn told(job: &Job) -> String {
        text(&Job { rows_kept: 0, warnings: vec![], ..job.clone() }, &Speed::default(), None).join("\n")
    }

    #[test]
    fn a_restore_tells_what_it_left_out_and_what_is_approximate() {
        assert_eq!(
            told(&restored(|spec| spec.keyspace_as = "copy".into())),
            "keyspace shop is restored as copy from backup 20261122T145053Z-7k3f\n\
             \x20 rows      90 in 1 table\n\
             \x20 bytes     0 B encoded\n\
             \x20 verified  16 segments read back and compared\n\
             \x20 time      0.0 s\n\
             \x20 skipped   1,200 rows not written: outside what was chosen, or there already\n\
             \x20 expired   7 cells not written: their time had come\n\
             \x20 fidelity  all values are exact; times are approximate in 1 of 1 table: orders (`ringvault show` says why)"
        );
    }

    #[test]
    fn a_rehearsal_and_a_comparison_say_what_they_proved() {
        let said = told(&restored(|spec| (spec.rehearsal, spec.sample_per_million) = (true, 10_000)));
        assert!(said.contains("rehearsed: a sample of 1% was written, compared and dropped again"), "{said}");
        let spec = VerifySpec { keyspaces: vec!["shop".into(), "u_*".into()], ..Default::default() };
        let mut job = Job { spec: Some(Client::verify(spec)), ..restored(|_| ()) };
        let said = told(&job);
        assert!(said.starts_with("keyspaces shop,u_* are what backup 20261122T145053Z-7k3f holds"), "{said}");
        assert!(!said.contains("rows      "), "{said}");
        job.state = JobState::Failed.into();
        job.mismatches = vec!["shop.orders segment 7".into()];
        let said = told(&job);
        assert!(said.starts_with("keyspaces shop,u_*: not what backup"), "{said}");
        assert!(said.contains("mismatch: shop.orders segment 7"), "{said}");
    }

    #[test]
    fn a_job_that_goes_on_says_how_old_it_is_and_what_is_kept() {
        let said = resuming(&job(), 1_000_000 + 12 * 60_000);
        assert_eq!(
            said,
            "resuming the backup started 12 min ago: 1,200,000 rows (34 chunks) are kept; --fresh starts over"
        );
    }
}
