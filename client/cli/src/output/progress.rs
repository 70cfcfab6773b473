//! How a running job is shown: its board on a terminal, a line every few seconds elsewhere, JSON lines with `--json`.

use std::time::Duration;

use ringvault_client::{
    state,
    v1::{Job, JobState},
};
use ringvault_runtime::clock::{Clock, SystemClock};

use super::{
    Output, board,
    format::{count, percent, size, span},
    json::{self, Kind},
    terminal,
    totals::{Meter, Speed, Totals},
};

/// Pause between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Pause between JSON lines.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// Shows one job.
#[derive(Debug)]
pub(crate) struct Reporter {
    form: Form,
    clock: SystemClock,
    meter: Meter,
    warnings_told: usize,
    last: Option<(Duration, JobState, String)>,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Board,
    Lines,
    Json,
}

impl Reporter {
    /// The form that fits where the output goes.
    pub(crate) fn new(output: Output) -> Self {
        let form = if output.json {
            Form::Json
        } else if terminal::size().is_some() {
            Form::Board
        } else {
            Form::Lines
        };
        Self { form, clock: SystemClock::new(), meter: Meter::default(), warnings_told: 0, last: None }
    }

    /// Shows how the job stands; tells each warning once.
    pub(crate) fn show(&mut self, job: &Job) {
        let now = self.clock.now();
        let totals = Totals::of(job);
        let speed = self.meter.measure(now, &totals);
        self.tell_warnings(job);
        let due = self.is_due(now, job);
        match self.form {
            Form::Board => draw(job),
            // How it ended is the summary's to tell.
            Form::Lines if due && !state::has_ended(job.state()) => terminal::tell(line(job, &totals)),
            Form::Json if due => json::print(Kind::Progress, &json::Progress::of(job, &totals, &speed)),
            Form::Lines | Form::Json => {}
        }
    }

    /// Ends the show and gives the speed of the whole.
    pub(crate) fn finish(mut self, job: &Job) -> Speed {
        self.clear();
        self.meter.measure(self.clock.now(), &Totals::of(job))
    }

    /// Takes the board away, for an end without a job to show.
    pub(crate) fn clear(&self) {
        if matches!(self.form, Form::Board) {
            terminal::redraw(Vec::new());
        }
    }

    fn tell_warnings(&mut self, job: &Job) {
        let new = job.warnings.get(self.warnings_told..).unwrap_or_default();
        for warning in new {
            match self.form {
                Form::Json => json::print(Kind::Warning, &json::Note { message: warning }),
                Form::Board | Form::Lines => terminal::tell(format!("warning: {warning}")),
            }
        }
        self.warnings_told = job.warnings.len();
    }

    /// Whether a line is due: some time has passed, or the job does something else now.
    fn is_due(&mut self, now: Duration, job: &Job) -> bool {
        let every = if matches!(self.form, Form::Json) { JSON_EVERY } else { LINE_EVERY };
        let due = match &self.last {
            None => true,
            Some((at, state, stage)) => {
                *state != job.state() || now.saturating_sub(*at) >= every || (stage != &job.stage && stage.is_empty())
            }
        };
        if due {
            self.last = Some((now, job.state(), job.stage.clone()));
        }
        due
    }
}

/// The board, as large as the terminal is now: one row and one column stay free, so that nothing scrolls or wraps.
fn draw(job: &Job) {
    let (rows, columns) = terminal::size().unwrap_or((24, 80));
    terminal::redraw(board::live(job, rows.saturating_sub(1), columns.saturating_sub(1)));
}

/// One plain line about a running job.
fn line(job: &Job, totals: &Totals) -> String {
    let mut parts = Vec::new();
    let share = totals.fraction(job.state()).map(|fraction| format!(" ({})", percent(fraction))).unwrap_or_default();
    if job.state() == JobState::Verifying {
        parts.push(format!("{} of {} segments{share}", count(totals.segments_verified), count(totals.segments)));
    } else if totals.tables > 0 {
        let of = if totals.rows_expected > 0 { format!(" of {}", count(totals.rows_expected)) } else { String::new() };
        parts.push(format!("{}{of} rows{share}", count(totals.rows)));
        parts.push(size(totals.encoded_bytes));
        parts.push(format!("{} of {} tables", totals.tables_done, totals.tables));
    }
    if totals.rows_per_second > 0 {
        parts.push(format!("{} rows/s", count(totals.rows_per_second)));
        parts.push(format!("{}/s", size(totals.bytes_per_second)));
    }
    if let Some(remaining) = totals.remaining(job.state()) {
        parts.push(format!("about {} left", span(remaining)));
    }
    if totals.retries > 0 {
        parts.push(format!("{} retries", count(totals.retries)));
    }
    if totals.failures > 0 {
        parts.push(format!("{} failures", count(totals.failures)));
    }
    if !job.stage.is_empty() {
        parts.push(job.stage.clone());
    }
    format!("{}: {}", state::word(job.state()), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use ringvault_client::v1::{TableProgress, TableState};

    use super::*;

    #[test]
    fn a_plain_line_says_how_far_how_fast_and_how_long() {
        let table = TableProgress {
            state: TableState::Running.into(),
            rows: 1_200_000,
            encoded_bytes: 25 << 20,
            bytes_estimated: 100 << 20,
            rows_per_second: 20_000,
            encoded_bytes_per_second: 1 << 20,
            failures: 3,
            ..Default::default()
        };
        let job = Job { state: JobState::Running.into(), tables: vec![table], ..Default::default() };
        assert_eq!(
            line(&job, &Totals::of(&job)),
            "running: 1,200,000 rows (25%), 25.0 MiB, 0 of 1 tables, 20,000 rows/s, 1.0 MiB/s, about 1 min 15 s left, \
             3 failures"
        );
    }
}
