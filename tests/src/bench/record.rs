//! A measured run, and the log that keeps it as a JSON line, so that a long benchmark can be done in parts.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::data::BenchTable;
use super::measure::{Setting, Taken};
use super::subjects::Subject;

/// One measured run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of the run, `YYYY-MM-DD`.
    pub date: String,
    /// Cores and processor.
    pub machine: String,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What a scenario measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scenario", rename_all = "snake_case")]
pub enum Figures {
    /// Rows a second of one subject.
    Speed(Speed),
    /// Backups of many small tables.
    Small(Small),
    /// Peak memory.
    Memory(Memory),
    /// A foreground load beside something.
    Polite(Polite),
    /// A scan of three nodes.
    Nodes(Nodes),
}

/// A subject on a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// On which cores.
    pub setting: Setting,
    /// Which table.
    pub table: BenchTable,
    /// Who.
    pub subject: Subject,
    /// Rows that were read or written.
    pub rows: u64,
    /// What the process took.
    pub taken: Taken,
    /// Seconds of it that its own report counts as work; the rest is start and end.
    pub job_s: Option<f64>,
    /// Bytes of row lines before compression, where the subject says so.
    pub encoded_bytes: Option<u64>,
}

/// Two backups of the same small tables, one behind the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Small {
    /// How many tables.
    pub tables: u64,
    /// Rows of all.
    pub rows: u64,
    /// The backup into an empty repository.
    pub first: Taken,
    /// The one behind it, of the same rows.
    pub second: Taken,
    /// Bytes that the second one stored.
    pub second_stored_bytes: u64,
    /// Chunks that the second one stored.
    pub second_chunks_new: u64,
}

/// What kind of table a memory figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A partition a row.
    Many,
    /// All rows but a few in one partition.
    One,
}

/// Which command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// `ringvault backup`.
    Backup,
    /// `ringvault restore`, with the proof.
    Restore,
}

/// Peak memory of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Which.
    pub work: Work,
    /// `--memory-limit`, if one was given.
    pub limit: Option<String>,
    /// Of what kind of table.
    pub shape: Shape,
    /// How many times the basic size.
    pub factor: u64,
    /// Rows of it.
    pub rows: u64,
    /// What it took.
    pub taken: Taken,
}

/// What runs beside the foreground load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// `ringvault backup --pace polite`.
    Polite,
    /// `ringvault backup --pace full`.
    Full,
    /// DSBulk unload.
    Dsbulk,
}

/// Latencies of a steady load, counted from when a request was due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Polite {
    /// On which cores.
    pub setting: Setting,
    /// Beside what.
    pub beside: Beside,
    /// Requests that were due a second, half of them reads.
    pub per_second: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Of reads.
    pub read_p50_ms: f64,
    /// Of reads.
    pub read_p99_ms: f64,
    /// Of writes.
    pub write_p50_ms: f64,
    /// Of writes.
    pub write_p99_ms: f64,
    /// Of what ran beside.
    pub rows_per_second: Option<f64>,
}

/// Who reads a table of three nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// The raw driver, each range from whom the driver picks.
    RawAny,
    /// The raw driver, each range from one of its owners.
    RawOwner,
    /// `ringvault backup` of values.
    Backup,
}

/// A scan of three nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// Copies of each row.
    pub replicas: u32,
    /// Who.
    pub reader: Reader,
    /// Rows that were read.
    pub rows: u64,
    /// What it took.
    pub taken: Taken,
}

/// Keeps records: in memory for the report at the end, in a file as they come.
#[derive(Debug)]
pub struct Log {
    records: Vec<Record>,
    file: Option<File>,
    date: String,
    machine: String,
}

impl Log {
    /// A log of this machine and day; with a file it is appended to that.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn open(file: Option<&str>) -> Result<Self> {
        let append = |path: &str| {
            let opened = File::options().create(true).append(true).open(path);
            opened.with_context(|| format!("open the log {path}"))
        };
        let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().context("run date")?;
        let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
        Ok(Self { records: Vec::new(), file: file.map(append).transpose()?, date, machine: machine() })
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// If the file takes nothing.
    pub fn add(&mut self, figures: Figures) -> Result<()> {
        let record = Record { date: self.date.clone(), machine: self.machine.clone(), figures };
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", serde_json::to_string(&record)?).context("append to the log")?;
        }
        self.records.push(record);
        Ok(())
    }

    /// All that were added.
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

/// The records of a log's file.
///
/// # Errors
/// If it can't be read, or a line is no record; the line is named.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read the log {}", path.display()))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("line {} of {} is no record", number + 1, path.display()))
    };
    text.lines().enumerate().map(parse).collect()
}

/// The machine in a few words.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores of {}", model.unwrap_or("an unknown processor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_line() {
        let taken = Taken { wall_s: 2.0, cpu_s: 1.0, memory_bytes: 1 << 20 };
        let small =
            Small { tables: 3, rows: 9, first: taken, second: taken, second_stored_bytes: 0, second_chunks_new: 0 };
        let speed = Speed {
            setting: Setting::Apart,
            table: BenchTable::Mixed,
            subject: Subject::RestoreTimes,
            rows: 9,
            taken,
            job_s: Some(1.5),
            encoded_bytes: None,
        };
        let directory = tempfile::tempdir().expect("room for a file");
        let path = directory.path().join("log");
        let mut log = Log::open(path.to_str()).expect("a new file opens");
        for figures in [Figures::Small(small), Figures::Speed(speed)] {
            log.add(figures).expect("a file takes lines");
        }
        assert_eq!(read(&path).expect("own lines parse"), log.records());
    }
}
