//! What the benchmark's command takes, and sizes that are taken where it is told none.

use anyhow::{Context, Result, bail};

use super::data::{BenchTable, Size};
use super::measure::Setting;
use super::subjects::Subject;

/// How it is called.
pub const USAGE: &str = "usage: tests/bench/run SCENARIO [options]      or: tests/bench/run report [options] LOG...
  speed   rows a second, CPU seconds and memory beside the raw driver, DSBulk and cqlsh    --ycsb ROWS --mixed ROWS
  small   a backup of 300 small tables, and a second one without a change                  --tables N
  memory  peak memory at once and ten times the data, many partitions and one              --rows N
  polite  a steady foreground load beside a backup, and beside DSBulk                      --rows N --rate N --seconds N
  nodes   three nodes: ranges read from owners against random coordinators                 --rows N
  all     each of them
options: --runs N (5), --apart, --shared (both where it matters), --table ycsb|mixed, --only WORD, --without WORD (of a
  subject's name; both may come several times), --markdown FILE, --svg FILE, --log FILE (a JSON line a run, appended)";

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Rows a second.
    Speed,
    /// Many small tables.
    Small,
    /// Peak memory.
    Memory,
    /// A foreground load beside a backup.
    Polite,
    /// Three nodes.
    Nodes,
}

impl Scenario {
    /// All, the shortest first.
    pub const ALL: [Self; 5] = [Self::Small, Self::Memory, Self::Polite, Self::Nodes, Self::Speed];

    fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Small => "small",
            Self::Memory => "memory",
            Self::Polite => "polite",
            Self::Nodes => "nodes",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Measure these.
    Measure(Vec<Scenario>),
    /// Report what these logs hold.
    Report(Vec<String>),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What to do.
    pub task: Task,
    /// How often each is measured.
    pub runs: u32,
    /// Rows of `ycsb`.
    pub ycsb: u64,
    /// Rows of `mixed`.
    pub mixed: u64,
    /// Rows of other scenarios' tables; each has its own number otherwise.
    pub rows: Option<u64>,
    /// Small tables.
    pub tables: u64,
    /// Foreground requests a second.
    pub rate: u64,
    /// How long the foreground is alone.
    pub seconds: u64,
    /// Cores; all settings unless named.
    pub settings: Vec<Setting>,
    /// Which tables.
    pub of: Vec<BenchTable>,
    /// Words of subjects that are kept.
    pub only: Vec<String>,
    /// Words of subjects that are left out.
    pub without: Vec<String>,
    /// Where the tables go.
    pub markdown: Option<String>,
    /// Where the picture goes.
    pub svg: Option<String>,
    /// Where each run goes.
    pub log: Option<String>,
}

/// A part of a table is so many times smaller.
const PART: u64 = 4;

impl Options {
    /// Reads the words of a command line, without the program's name.
    ///
    /// # Errors
    /// If a word is unknown or a value is missing; holds the usage.
    pub fn read(arguments: &[String]) -> Result<Self> {
        let (first, rest) = arguments.split_first().with_context(|| USAGE.to_owned())?;
        let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.name() == first);
        let task = match (first.as_str(), scenario) {
            (_, Some(scenario)) => Task::Measure(vec![scenario]),
            ("all", None) => Task::Measure(Scenario::ALL.to_vec()),
            ("report", None) => Task::Report(Vec::new()),
            (unknown, None) => bail!("no scenario {unknown}\n{USAGE}"),
        };
        let mut options = Self::of(task);
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            let mut number = || {
                let text = value()?;
                text.parse::<u64>().with_context(|| format!("{word} {text}: want a number\n{USAGE}"))
            };
            match word.as_str() {
                "--runs" => options.runs = u32::try_from(number()?)?,
                "--ycsb" => options.ycsb = number()?,
                "--mixed" => options.mixed = number()?,
                "--rows" => options.rows = Some(number()?),
                "--tables" => options.tables = number()?,
                "--rate" => options.rate = number()?,
                "--seconds" => options.seconds = number()?,
                "--apart" => options.settings.push(Setting::Apart),
                "--shared" => options.settings.push(Setting::Shared),
                "--table" => options.of.push(table(value()?)?),
                "--only" => options.only.push(value()?.clone()),
                "--without" => options.without.push(value()?.clone()),
                "--markdown" => options.markdown = Some(value()?.clone()),
                "--svg" => options.svg = Some(value()?.clone()),
                "--log" => options.log = Some(value()?.clone()),
                other => match &mut options.task {
                    Task::Report(logs) if !other.starts_with('-') => logs.push(other.to_owned()),
                    Task::Report(_) | Task::Measure(_) => bail!("unknown word {other}\n{USAGE}"),
                },
            }
        }
        if options.task == Task::Report(Vec::new()) {
            bail!("report needs logs\n{USAGE}");
        }
        Ok(options)
    }

    fn of(task: Task) -> Self {
        Self {
            task,
            runs: 5,
            ycsb: 2_000_000,
            mixed: 3_000_000,
            rows: None,
            tables: 300,
            rate: 400,
            seconds: 30,
            settings: Vec::new(),
            of: Vec::new(),
            only: Vec::new(),
            without: Vec::new(),
            markdown: None,
            svg: None,
            log: None,
        }
    }

    /// Rows of a table.
    pub fn rows_of(&self, table: BenchTable, size: Size) -> u64 {
        let rows = match table {
            BenchTable::Ycsb => self.ycsb,
            BenchTable::Mixed => self.mixed,
        };
        match size {
            Size::Whole => rows,
            Size::Part => (rows / PART).max(1),
        }
    }

    /// Tables that were named, or all.
    pub fn of_tables(&self) -> Vec<BenchTable> {
        if self.of.is_empty() { BenchTable::ALL.to_vec() } else { self.of.clone() }
    }

    /// Settings that were named, or these.
    pub fn settings_or(&self, otherwise: &[Setting]) -> Vec<Setting> {
        if self.settings.is_empty() { otherwise.to_vec() } else { self.settings.clone() }
    }

    /// Subjects that were asked for, and their yardsticks.
    pub fn subjects(&self) -> Vec<Subject> {
        let has = |words: &[String], subject: Subject| words.iter().any(|word| subject.name().contains(word.as_str()));
        let wants =
            |subject: Subject| (self.only.is_empty() || has(&self.only, subject)) && !has(&self.without, subject);
        let wanted: Vec<Subject> = Subject::ALL.into_iter().filter(|subject| wants(*subject)).collect();
        let keeps = |subject: &Subject| wanted.iter().any(|w| w == subject || w.yardsticks().contains(subject));
        Subject::ALL.into_iter().filter(keeps).collect()
    }
}

fn table(name: &str) -> Result<BenchTable> {
    let found = BenchTable::ALL.into_iter().find(|table| table.name() == name);
    found.with_context(|| format!("no table {name}\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::super::yardstick::Yardstick;
    use super::*;

    fn read(line: &str) -> Result<Options> {
        Options::read(&line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_subject_brings_its_yardsticks() {
        let words = ["speed", "--only", "DSBulk load", "--runs", "2"].map(ToOwned::to_owned);
        let options = Options::read(&words).expect("known words");
        let raw = |yardstick| Subject::Raw(yardstick);
        let want = [raw(Yardstick::WriteSingle), raw(Yardstick::WriteBatched), Subject::DsbulkLoad];
        assert_eq!(options.subjects(), want);
        assert_eq!(options.runs, 2);
    }

    #[test]
    fn what_is_left_out_stays_out() {
        let options = read("speed --without DSBulk --without cqlsh").expect("known words");
        assert_eq!(options.subjects().len(), Subject::ALL.len() - 3);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_usage() {
        for line in ["", "quick", "speed --runs", "speed --runs many", "speed words", "report", "report --table x"] {
            let refused = read(line).expect_err(line);
            assert!(format!("{refused:#}").contains("usage: "), "{line}: {refused:#}");
        }
    }

    #[test]
    fn logs_stand_between_options() {
        let options = read("report a --svg s b").expect("known words");
        assert_eq!(options.task, Task::Report(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(options.svg.as_deref(), Some("s"));
    }
}
