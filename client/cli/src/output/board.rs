//! The board of a job: what it does, how far and how fast it is, and a table with a line for each keyspace and table. The
//! same for `job watch` on a terminal, where it is bounded and redrawn, and for `job show`, where it is whole. Pure.

use std::collections::BTreeMap;

use ringvault_client::{
    state,
    v1::{Job, JobSpec, JobState, TableProgress, TableState, job_spec::Work},
};

use super::{
    format::{age, count, percent, plural, size, span, table, to_f64},
    totals::{Totals, table_fraction},
};
use crate::requests::Subject;

/// Characters of the bar.
const BAR_CHARS: usize = 20;
/// Lines of what a job says of itself.
const STAGE_LINES_MAX: usize = 3;
/// Columns in the order in which they are given up where the terminal is too narrow.
const GIVEN_UP: [&str; 4] = [">encoded", ">retries", ">failures", ">rows/s"];
/// The table's columns; `>`: aligned to the right.
const HEADERS: [&str; 9] = ["table", "state", ">%", ">rows", ">encoded", ">rows/s", ">left", ">retries", ">failures"];

/// Everything about a job that runs, in so many lines and characters at most.
pub(crate) fn live(job: &Job, rows_max: usize, columns_max: usize) -> Vec<String> {
    let totals = Totals::of(job);
    let mut lines = vec![headline(job), progress(job, &totals)];
    lines.push(workers(job));
    lines.extend(wrapped(&job.stage, columns_max));
    // Header, one table, the number of the others, and the total are the least that says anything.
    let left = rows_max.saturating_sub(lines.len() + 1);
    if !job.tables.is_empty() && left >= 4 {
        lines.push(String::new());
        lines.extend(fitted(job, left, columns_max));
    }
    lines.truncate(rows_max);
    lines.iter().map(|line| cut(line, columns_max)).collect()
}

/// The table of a job, whole.
pub(crate) fn whole(job: &Job) -> Vec<String> {
    let rows: Vec<Vec<String>> = chosen(job, usize::MAX).iter().map(|line| cells(job, line)).collect();
    table(&HEADERS, &rows)
}

/// Who works on a job, and what it is limited to.
pub(crate) fn limits(job: &Job) -> String {
    let spec = job.spec.as_ref();
    let mut parts = vec![format!("priority {}", state::priority_word(spec.map(JobSpec::priority).unwrap_or_default()))];
    let limits = spec.map(Limits::of).unwrap_or_default();
    parts.push(state::pace_word(limits.pace).to_owned());
    if limits.rows_per_second_max > 0 {
        parts.push(format!("at most {} rows/s", count(limits.rows_per_second_max)));
    }
    if limits.bytes_per_second_max > 0 {
        parts.push(format!("at most {}/s", size(limits.bytes_per_second_max)));
    }
    if limits.workers_max > 0 {
        parts.push(format!("at most {}", plural(limits.workers_max.into(), "worker")));
    }
    if limits.ranges_max > 0 {
        parts.push(format!("at most {}", plural(limits.ranges_max.into(), "range")));
    }
    parts.join(", ")
}

/// What a job is limited to; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) pace: ringvault_client::v1::Pace,
    pub(crate) rows_per_second_max: u64,
    pub(crate) bytes_per_second_max: u64,
    pub(crate) workers_max: u32,
    pub(crate) ranges_max: u32,
}

impl Limits {
    /// Of a job's specification, which holds them as they are now.
    pub(crate) fn of(spec: &JobSpec) -> Self {
        let (pace, rows_per_second_max, bytes_per_second_max) = match &spec.work {
            Some(Work::Backup(work)) => (work.pace(), work.rows_per_second_max, work.bytes_per_second_max),
            Some(Work::Restore(work)) => (work.pace(), work.rows_per_second_max, work.bytes_per_second_max),
            Some(Work::Verify(work)) => (work.pace(), work.rows_per_second_max, work.bytes_per_second_max),
            None => Default::default(),
        };
        let (workers_max, ranges_max) = (spec.workers_max, spec.ranges_max);
        Self { pace, rows_per_second_max, bytes_per_second_max, workers_max, ranges_max }
    }
}

fn headline(job: &Job) -> String {
    let subject = Subject::of(job);
    let cluster = if subject.cluster.is_empty() { String::new() } else { format!(", cluster {}", subject.cluster) };
    format!("{}  {} of {}{cluster}  ({})", state::word(job.state()), subject.work, subject.what(), job.job_id)
}

/// `━━━━━━━╸             42%  1,234 of 3,000 rows  1.0 MiB  20,000 rows/s  1.0 MiB/s  about 3 min 05 s left  …`
fn progress(job: &Job, totals: &Totals) -> String {
    let state = job.state();
    let fraction = totals.fraction(state);
    let mut parts = vec![bar(fraction.unwrap_or(0.0)), fraction.map_or_else(|| "  -".to_owned(), percent)];
    if totals.tables == 0 {
        return format!("  {}", parts.join(" "));
    }
    if state == JobState::Verifying {
        parts.push(format!("{} of {} segments", count(totals.segments_verified), count(totals.segments)));
    } else {
        let of = if totals.rows_expected > 0 { format!(" of {}", count(totals.rows_expected)) } else { String::new() };
        parts.push(format!("{}{of} rows", count(totals.rows)));
        parts.push(size(totals.encoded_bytes));
    }
    if totals.rows_per_second > 0 {
        parts.push(format!("{} rows/s", count(totals.rows_per_second)));
        parts.push(format!("{}/s", size(totals.bytes_per_second)));
    }
    parts.extend(totals.remaining(state).map(|left| format!("about {} left", span(left))));
    parts.push(format!("{} of {} tables", count(totals.tables_done), count(totals.tables)));
    format!("  {}", parts.join("  "))
}

fn bar(fraction: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 0 and BAR_CHARS
    let full = (fraction.clamp(0.0, 1.0) * to_f64(BAR_CHARS as u64)) as usize;
    let tip = if full < BAR_CHARS { "╸" } else { "" };
    format!("{:<BAR_CHARS$}", format!("{}{tip}", "━".repeat(full)))
}

/// Who works, and how it is limited.
fn workers(job: &Job) -> String {
    let at_work = plural(job.workers.into(), "worker");
    format!("  {} at {at_work}; {}", plural(job.leases.into(), "range"), limits(job))
}

/// What happens now, over a few lines: why a job waits is the last it says.
fn wrapped(stage: &str, columns_max: usize) -> Vec<String> {
    let mut lines = vec![String::from(" ")];
    for word in stage.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        let full = line + 1 + word.chars().count() > columns_max && line > 1;
        if full && lines.len() < STAGE_LINES_MAX {
            lines.push(String::from(" "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}

/// A line of the table.
#[derive(Debug)]
enum Line<'a> {
    /// All tables of a keyspace, where there are several keyspaces.
    Keyspace(&'a str, Vec<&'a TableProgress>),
    Table(&'a TableProgress, Named),
    /// Tables that do not fit.
    More(Vec<&'a TableProgress>),
    Total,
}

/// How a table is called in its line.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// The only keyspace need not be said.
    Bare,
    /// Below its keyspace.
    Below,
}

/// The lines of a table of at most `rows_max` lines, header not counted: what failed and what runs first, then what
/// waits, then what is done; grouped by keyspace where there are several.
fn chosen(job: &Job, rows_max: usize) -> Vec<Line<'_>> {
    let mut tables: Vec<&TableProgress> = job.tables.iter().collect();
    tables.sort_by(|a, b| (rank(a), name(a)).cmp(&(rank(b), name(b))));
    let mut keyspaces: BTreeMap<&str, Vec<&TableProgress>> = BTreeMap::new();
    tables.iter().for_each(|table| keyspaces.entry(name(table).0).or_default().push(table));
    let several = keyspaces.len() > 1;
    let all = tables.len() + if several { keyspaces.len() } else { 0 } + 1;
    // One line for those that don't fit, one for the total.
    let room = if all <= rows_max { usize::MAX } else { rows_max.saturating_sub(2) };

    let mut groups: Vec<(&str, Vec<&TableProgress>)> = Vec::new();
    let (mut used, mut shown) = (0, 0);
    for table in &tables {
        let group = groups.iter().position(|(keyspace, _)| *keyspace == name(table).0);
        let cost = 1 + usize::from(several && group.is_none());
        if used + cost > room {
            break;
        }
        used += cost;
        shown += 1;
        match group {
            Some(group) => groups[group].1.push(table),
            None => groups.push((name(table).0, vec![table])),
        }
    }
    let mut lines = Vec::new();
    for (keyspace, members) in groups {
        if several {
            lines.extend(keyspaces.remove(keyspace).map(|all| Line::Keyspace(keyspace, all)));
        }
        let named = if several { Named::Below } else { Named::Bare };
        lines.extend(members.into_iter().map(|table| Line::Table(table, named)));
    }
    if shown < tables.len() {
        lines.push(Line::More(tables.split_off(shown)));
    }
    lines.push(Line::Total);
    lines
}

fn rank(table: &TableProgress) -> u8 {
    match table.state() {
        TableState::Failed => 0,
        TableState::Running => 1,
        TableState::Waiting | TableState::Unspecified => 2,
        TableState::Done => 3,
    }
}

fn name(table: &TableProgress) -> (&str, &str) {
    table.table.as_ref().map_or(("", ""), |name| (&name.keyspace, &name.table))
}

/// The state of several tables: that of the one that matters most.
fn state_of(tables: &[&TableProgress]) -> TableState {
    let has = |state| tables.iter().any(|table| table.state() == state);
    let all_done = tables.iter().all(|table| table.state() == TableState::Done);
    match () {
        () if has(TableState::Failed) => TableState::Failed,
        () if has(TableState::Running) => TableState::Running,
        () if all_done => TableState::Done,
        () => TableState::Waiting,
    }
}

/// `… 30 more: 20 waiting, 10 done`
fn more(tables: &[&TableProgress]) -> String {
    let of = |state: TableState| {
        let number = tables.iter().filter(|table| table.state() == state).count() as u64;
        (number > 0).then(|| format!("{} {}", count(number), state::table_word(state)))
    };
    let states =
        [TableState::Failed, TableState::Running, TableState::Waiting, TableState::Done, TableState::Unspecified];
    let states: Vec<String> = states.into_iter().filter_map(of).collect();
    format!("… {} more: {}", count(tables.len() as u64), states.join(", "))
}

fn cells(job: &Job, line: &Line<'_>) -> Vec<String> {
    let of = |name: String, state: &str, fraction: Option<f64>, totals: &Totals| {
        vec![
            name,
            state.to_owned(),
            fraction.map_or_else(|| "-".to_owned(), percent),
            count(totals.rows),
            size(totals.encoded_bytes),
            or_dash(totals.rows_per_second, count),
            totals.remaining(job.state()).map_or_else(|| "-".to_owned(), age),
            count(totals.retries),
            count(totals.failures),
        ]
    };
    match line {
        Line::Keyspace(keyspace, tables) => {
            let totals = Totals::of_tables(tables.iter().copied());
            let name = format!("{keyspace} ({}/{})", totals.tables_done, totals.tables);
            let state = state_of(tables);
            let fraction = if state == TableState::Done { Some(1.0) } else { totals.fraction(job.state()) };
            of(name, state::table_word(state), fraction, &totals)
        }
        Line::Table(table, named) => {
            let name = match named {
                Named::Bare => name(table).1.to_owned(),
                Named::Below => format!("  {}", name(table).1),
            };
            let fraction = Some(table_fraction(table, job.state()));
            of(name, state::table_word(table.state()), fraction, &Totals::of_tables([*table]))
        }
        Line::More(tables) => vec![more(tables)],
        Line::Total => {
            let totals = Totals::of(job);
            let name = format!("total ({}/{})", totals.tables_done, totals.tables);
            of(name, state::word(job.state()), totals.fraction(job.state()), &totals)
        }
    }
}

fn or_dash(number: u64, text: impl Fn(u64) -> String) -> String {
    if number == 0 { "-".to_owned() } else { text(number) }
}

/// The table in a space of its own: fewer lines where they are too many, fewer columns where they are too wide.
fn fitted(job: &Job, rows_max: usize, columns_max: usize) -> Vec<String> {
    let lines = chosen(job, rows_max.saturating_sub(1));
    let mut headers = HEADERS.to_vec();
    let mut rows: Vec<Vec<String>> = lines.iter().map(|line| cells(job, line)).collect();
    let mut given_up = GIVEN_UP.iter();
    loop {
        let drawn = drawn(&headers, &rows);
        let wide = drawn.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let Some(gone) = given_up.next().filter(|_| wide > columns_max) else { return drawn };
        let Some(at) = headers.iter().position(|header| header == gone) else { continue };
        headers.remove(at);
        rows.iter_mut().filter(|row| row.len() > at).for_each(|row| drop(row.remove(at)));
    }
}

/// The table, whose line about the rest is as wide as it likes and widens no column.
fn drawn(headers: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let (whole, rest): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(|row| row.len() > 1);
    let mut lines = table(headers, &whole);
    let last = lines.len() - 1;
    rest.into_iter().flatten().for_each(|text| lines.insert(last, text));
    lines
}

fn cut(line: &str, columns_max: usize) -> String {
    if line.chars().count() <= columns_max {
        return line.to_owned();
    }
    let kept: String = line.chars().take(columns_max.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests;
