//! How a running job is shown: bars on a terminal, a line every few seconds elsewhere, JSON lines with `--json`.

use std::{io::IsTerminal, time::Duration};

use ringvault_client::{
    state,
    v1::{Job, JobState},
};
use ringvault_runtime::clock::{Clock, SystemClock};

use super::{
    Output,
    bars::Bars,
    format::{count, percent, size, span},
    json, terminal,
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

#[derive(Debug)]
enum Form {
    Bars(Box<Bars>),
    Lines,
    Json,
}

impl Reporter {
    /// The form that fits where the output goes.
    pub(crate) fn new(output: Output) -> Self {
        let form = if output.json {
            Form::Json
        } else if std::io::stderr().is_terminal() {
            Form::Bars(Box::new(Bars::new()))
        } else {
            Form::Lines
        };
        Self { form, clock: SystemClock::new(), meter: Meter::default(), warnings_told: 0, last: None }
    }

    /// A line for a person, while progress goes on.
    pub(crate) fn note(&self, text: &str) {
        match &self.form {
            Form::Bars(bars) => bars.line(text),
            Form::Lines => terminal::tell(text),
            Form::Json => json::print("note", &json::Note { message: text }),
        }
    }

    /// Shows how the job stands; tells each warning once.
    pub(crate) fn show(&mut self, job: &Job) {
        let now = self.clock.now();
        let totals = Totals::of(job);
        let speed = self.meter.measure(now, &totals, job.state());
        self.tell_warnings(job);
        let due = self.is_due(now, job);
        match &mut self.form {
            Form::Bars(bars) => bars.show(job, &totals, &speed),
            // How it ended is the summary's to tell.
            Form::Lines if due && !state::has_ended(job.state()) => terminal::tell(line(job, &totals, &speed)),
            Form::Json if due => json::print("progress", &json::Progress::of(job, &totals, &speed)),
            Form::Lines | Form::Json => {}
        }
    }

    /// Ends the show and gives the speed of the whole.
    pub(crate) fn finish(mut self, job: &Job) -> Speed {
        if let Form::Bars(bars) = &self.form {
            bars.clear();
        }
        self.meter.measure(self.clock.now(), &Totals::of(job), job.state())
    }

    /// Takes the bars away, for an end without a job to show.
    pub(crate) fn clear(&self) {
        if let Form::Bars(bars) = &self.form {
            bars.clear();
        }
    }

    fn tell_warnings(&mut self, job: &Job) {
        let new = job.warnings.get(self.warnings_told..).unwrap_or_default();
        for warning in new {
            match &self.form {
                Form::Json => json::print("warning", &json::Note { message: warning }),
                _ => self.note(&format!("warning: {warning}")),
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

/// One plain line about a running job.
fn line(job: &Job, totals: &Totals, speed: &Speed) -> String {
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
    if speed.rows_per_second > 0 && job.state() == JobState::Running {
        parts.push(format!("{} rows/s", count(speed.rows_per_second)));
        parts.push(format!("{}/s", size(speed.bytes_per_second)));
    }
    if let Some(remaining) = speed.remaining {
        parts.push(format!("about {} left", span(remaining)));
    }
    if totals.retries > 0 {
        parts.push(format!("{} retries", count(totals.retries)));
    }
    if !job.stage.is_empty() {
        parts.push(job.stage.clone());
    }
    format!("{}: {}", state::word(job.state()), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use ringvault_client::v1::TableProgress;

    use super::*;

    #[test]
    fn a_plain_line_says_how_far_how_fast_and_how_long() {
        let table = TableProgress {
            shards: 4,
            shards_done: 1,
            rows: 1_200_000,
            encoded_bytes: 25 << 20,
            bytes_estimated: 100 << 20,
            ..Default::default()
        };
        let job = Job { state: JobState::Running.into(), tables: vec![table], ..Default::default() };
        let speed = Speed {
            elapsed: Duration::from_secs(60),
            rows_per_second: 20_000,
            bytes_per_second: 1 << 20,
            remaining: Some(Duration::from_secs(185)),
        };
        assert_eq!(
            line(&job, &Totals::of(&job), &speed),
            "running: 1,200,000 rows (25%), 25.0 MiB, 0 of 1 tables, 20,000 rows/s, 1.0 MiB/s, about 3 min 05 s left"
        );
    }
}
