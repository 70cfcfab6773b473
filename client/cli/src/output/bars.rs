//! Progress bars on a terminal: one for the whole job, one for each table at work, never more than fit on a screen.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringvault_client::{
    state,
    v1::{Job, TableProgress},
};

use super::{
    format::{count, size, span, to_f64},
    totals::{Speed, Totals, is_done, table_fraction},
};

/// Bars of single tables at once; the total bar tells how many more there are.
const TABLE_BARS_MAX: usize = 8;
/// Steps of a full bar.
const STEPS: u64 = 1_000;
/// Widest name in front of a bar, in characters.
const NAME_CHARS_MAX: usize = 24;

/// The bars of one job.
#[derive(Debug)]
pub(crate) struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    tables: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// Bars on standard error.
    pub(crate) fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        let total =
            screen.add(ProgressBar::new(STEPS).with_style(style("{prefix:24} {bar:24} {percent:>3}%  {wide_msg}")));
        total.enable_steady_tick(Duration::from_millis(250));
        Self { screen, total, tables: BTreeMap::new() }
    }

    /// A line above the bars.
    pub(crate) fn line(&self, text: &str) {
        let _ = self.screen.println(text);
    }

    /// Shows how the job stands.
    pub(crate) fn show(&mut self, job: &Job, totals: &Totals, speed: &Speed) {
        let at_work: Vec<&TableProgress> = job.tables.iter().filter(|table| is_at_work(table)).collect();
        let shown = &at_work[..at_work.len().min(TABLE_BARS_MAX)];
        self.drop_others(shown);
        for table in shown {
            self.show_table(table, job);
        }
        self.total.set_prefix(state::word(job.state()));
        self.total.set_position(steps(totals.fraction(job.state()).unwrap_or(0.0)));
        self.total.set_message(total_text(job, totals, speed, at_work.len() - shown.len()));
    }

    /// Takes the bars away.
    pub(crate) fn clear(&self) {
        let _ = self.screen.clear();
    }

    fn drop_others(&mut self, shown: &[&TableProgress]) {
        let stays = |name: &str| shown.iter().any(|table| table_name(table) == name);
        let gone: Vec<String> = self.tables.keys().filter(|name| !stays(name)).cloned().collect();
        for bar in gone.iter().filter_map(|name| self.tables.remove(name)) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }

    fn show_table(&mut self, table: &TableProgress, job: &Job) {
        let name = table_name(table);
        let bar = self.tables.entry(name.to_owned()).or_insert_with(|| {
            let bar = ProgressBar::new(STEPS).with_style(style("{prefix:24} {bar:24} {percent:>3}%  {wide_msg}"));
            bar.set_prefix(shortened(name).into_owned());
            self.screen.insert_before(&self.total, bar)
        });
        bar.set_position(steps(table_fraction(table, job.state())));
        bar.set_message(format!("{} rows  {}", count(table.rows), size(table.encoded_bytes)));
    }
}

fn is_at_work(table: &TableProgress) -> bool {
    !is_done(table) && (table.rows > 0 || table.encoded_bytes > 0 || table.shards_done > 0)
}

fn table_name(table: &TableProgress) -> &str {
    table.table.as_ref().map_or("", |name| name.table.as_str())
}

fn total_text(job: &Job, totals: &Totals, speed: &Speed, more: usize) -> String {
    let mut parts = vec![format!("{} rows", count(totals.rows)), size(totals.encoded_bytes)];
    if speed.rows_per_second > 0 {
        parts.push(format!("{} rows/s", count(speed.rows_per_second)));
    }
    if let Some(remaining) = speed.remaining {
        parts.push(format!("about {} left", span(remaining)));
    }
    if totals.tables > 0 {
        parts.push(format!("{}/{} tables", totals.tables_done, totals.tables));
    }
    if more > 0 {
        parts.push(format!("{more} more at work"));
    }
    if !job.stage.is_empty() {
        parts.push(job.stage.clone());
    }
    parts.join("  ")
}

fn steps(fraction: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 0 and STEPS
    let steps = (fraction.clamp(0.0, 1.0) * to_f64(STEPS)) as u64;
    steps
}

fn shortened(name: &str) -> Cow<'_, str> {
    if name.chars().count() <= NAME_CHARS_MAX {
        return Cow::Borrowed(name);
    }
    let kept: String = name.chars().take(NAME_CHARS_MAX - 1).collect();
    Cow::Owned(format!("{kept}…"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a fixed template").progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use ringvault_client::v1::TableName;

    use super::*;

    #[test]
    fn a_hundred_tables_make_no_more_bars_than_fit() {
        let table = |n: u32| TableProgress {
            table: Some(TableName { keyspace: "k".into(), table: format!("t{n}") }),
            shards: 2,
            rows: 1,
            ..Default::default()
        };
        let mut job = Job { tables: (0..100).map(table).collect(), ..Default::default() };
        let mut bars = Bars::new();
        bars.screen.set_draw_target(ProgressDrawTarget::hidden());
        bars.show(&job, &Totals::of(&job), &Speed::default());
        assert_eq!(bars.tables.len(), TABLE_BARS_MAX);
        assert!(bars.total.message().contains("92 more at work"), "{}", bars.total.message());
        job.tables.iter_mut().take(98).for_each(|table| table.shards_done = 2);
        bars.show(&job, &Totals::of(&job), &Speed::default());
        assert_eq!(bars.tables.keys().collect::<Vec<_>>(), ["t98", "t99"]);
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ä".repeat(30)).chars().count(), NAME_CHARS_MAX);
    }
}
