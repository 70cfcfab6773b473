//! What is measured, as command lines.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::data::{BenchTable, Size};
use super::rivals;
use super::yardstick::Yardstick;

/// The keyspace that subjects write into.
pub const TARGET: &str = "bench_target";
/// Memory of DSBulk's virtual machine.
const DSBULK_HEAP: &str = "-Xmx1g";

/// Something that reads or writes a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The raw driver.
    Raw(Yardstick),
    /// `ringvault backup` of values.
    BackupValues,
    /// The same with gzip.
    BackupGzip,
    /// `ringvault backup` with writetimes and expiries.
    BackupTimes,
    /// `ringvault restore --no-verify` of values.
    RestoreValues,
    /// The same with original times.
    RestoreTimes,
    /// `ringvault restore` with original times, and the proof.
    RestoreVerified,
    /// DSBulk to JSON.
    DsbulkUnload,
    /// DSBulk from that.
    DsbulkLoad,
    /// cqlsh's COPY TO.
    CqlshCopy,
}

impl Subject {
    /// All, in the order in which they run: who writes comes behind who read.
    pub const ALL: [Self; 13] = [
        Self::Raw(Yardstick::Scan),
        Self::BackupValues,
        Self::BackupGzip,
        Self::Raw(Yardstick::ScanTimes),
        Self::BackupTimes,
        Self::DsbulkUnload,
        Self::CqlshCopy,
        Self::Raw(Yardstick::WriteSingle),
        Self::Raw(Yardstick::WriteBatched),
        Self::RestoreValues,
        Self::RestoreTimes,
        Self::RestoreVerified,
        Self::DsbulkLoad,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw(Yardstick::Scan | Yardstick::ScanAny | Yardstick::ScanOwner) => "raw driver, scan",
            Self::Raw(Yardstick::ScanTimes) => "raw driver, scan with times",
            Self::Raw(Yardstick::WriteSingle) => "raw driver, a row a request",
            Self::Raw(Yardstick::WriteBatched) => "raw driver, batches",
            Self::BackupValues => "ringvault backup, values, zstd",
            Self::BackupGzip => "ringvault backup, values, gzip",
            Self::BackupTimes => "ringvault backup with times, zstd",
            Self::RestoreValues => "ringvault restore, values, no proof",
            Self::RestoreTimes => "ringvault restore with times, no proof",
            Self::RestoreVerified => "ringvault restore with times and proof",
            Self::DsbulkUnload => "DSBulk unload, JSON",
            Self::DsbulkLoad => "DSBulk load, JSON",
            Self::CqlshCopy => "cqlsh COPY TO",
        }
    }

    /// What its rows a second are compared with: the faster one of these.
    pub fn yardsticks(self) -> &'static [Self] {
        match self {
            Self::Raw(Yardstick::Scan | Yardstick::ScanAny | Yardstick::ScanOwner)
            | Self::BackupValues
            | Self::BackupGzip
            | Self::DsbulkUnload
            | Self::CqlshCopy => &[Self::Raw(Yardstick::Scan)],
            Self::Raw(Yardstick::ScanTimes) | Self::BackupTimes => &[Self::Raw(Yardstick::ScanTimes)],
            Self::Raw(Yardstick::WriteSingle | Yardstick::WriteBatched)
            | Self::RestoreValues
            | Self::RestoreTimes
            | Self::RestoreVerified
            | Self::DsbulkLoad => &[Self::Raw(Yardstick::WriteSingle), Self::Raw(Yardstick::WriteBatched)],
        }
    }

    /// Whether it fills [`TARGET`], which must be empty before.
    pub fn writes(self) -> bool {
        self.yardsticks().contains(&Self::Raw(Yardstick::WriteBatched))
    }

    /// Which table it meets.
    pub fn size(self) -> Size {
        let slow = [Self::DsbulkUnload, Self::CqlshCopy].contains(&self);
        if slow || self.writes() { Size::Part } else { Size::Whole }
    }

    /// Whose files it reads: what must have run on its table before.
    pub fn reads_files_of(self) -> Option<Self> {
        match self {
            Self::RestoreValues => Some(Self::BackupValues),
            Self::RestoreTimes | Self::RestoreVerified => Some(Self::BackupTimes),
            Self::DsbulkLoad => Some(Self::DsbulkUnload),
            Self::Raw(_)
            | Self::BackupValues
            | Self::BackupGzip
            | Self::BackupTimes
            | Self::DsbulkUnload
            | Self::CqlshCopy => None,
        }
    }
}

/// Where the subjects find each other's files, and the node.
#[derive(Clone, Debug)]
pub struct Place {
    /// Theirs alone.
    pub directory: PathBuf,
    /// The `ringvault` binary.
    pub ringvault: PathBuf,
    /// The benchmark's own binary, for yardsticks.
    pub own: PathBuf,
    /// The nodes, comma-separated.
    pub host: String,
    /// Its CQL port.
    pub port: u16,
}

impl Place {
    fn path(&self, parts: &[&str]) -> String {
        parts.iter().fold(self.directory.clone(), |path, part| path.join(part)).display().to_string()
    }

    /// The directory of a kind of files of a keyspace.
    pub fn repository(&self, keyspace: &str, kind: &str) -> String {
        self.path(&[&format!("{keyspace}-{kind}")])
    }

    /// What a subject makes, and must not find when it runs again.
    pub fn makes(&self, subject: Subject, keyspace: &str) -> Option<PathBuf> {
        let name = match subject {
            Subject::BackupValues => "values",
            Subject::BackupGzip => "gzip",
            Subject::BackupTimes => "times",
            Subject::DsbulkUnload => "dsbulk",
            Subject::CqlshCopy => "csv",
            _ => return None,
        };
        Some(Path::new(&self.repository(keyspace, name)).to_path_buf())
    }

    /// The command line of a subject on the table of so many rows in a keyspace.
    ///
    /// # Errors
    /// If a rival can't be fetched.
    pub fn words(&self, subject: Subject, table: BenchTable, keyspace: &str, rows: u64) -> Result<Vec<String>> {
        let backup = |kind: &str, more: &[&str]| self.backup(keyspace, kind, &[&["--pace", "full"], more].concat());
        let restore = |kind: &str, more: &[&str]| self.restore(keyspace, kind, &[&["--data-only"], more].concat());
        Ok(match subject {
            Subject::Raw(yardstick) => {
                let keyspace = if subject.writes() { TARGET } else { keyspace };
                self.raw(yardstick, table, keyspace, rows)
            }
            Subject::BackupValues => backup("values", &["--values-only"]),
            Subject::BackupGzip => backup("gzip", &["--values-only", "--compression", "gzip"]),
            Subject::BackupTimes => backup("times", &[]),
            Subject::RestoreValues => restore("values", &["--no-verify"]),
            Subject::RestoreTimes => restore("times", &["--no-verify"]),
            Subject::RestoreVerified => restore("times", &[]),
            Subject::DsbulkUnload => self.dsbulk("unload", keyspace, table, keyspace)?,
            Subject::DsbulkLoad => self.dsbulk("load", TARGET, table, keyspace)?,
            Subject::CqlshCopy => {
                let file = self.repository(keyspace, "csv");
                let copy = format!("COPY {keyspace}.{} TO '{file}' WITH HEADER = true", table.name());
                let cqlsh = rivals::cqlsh()?.display().to_string();
                strings(&[&cqlsh, &self.host, &self.port.to_string(), "-e", &copy])
            }
        })
    }

    /// The command line of a yardstick.
    pub fn raw(&self, yardstick: Yardstick, table: BenchTable, keyspace: &str, rows: u64) -> Vec<String> {
        let (own, node) = (self.own.display().to_string(), format!("{}:{}", self.host, self.port));
        strings(&[&own, "yardstick", yardstick.name(), table.name(), &node, keyspace, &rows.to_string()])
    }

    /// A command line of Ringvault with the options that reach the node.
    pub fn ringvault(&self, words: &[&str], more: &[&str]) -> Vec<String> {
        let mut all = vec![self.ringvault.display().to_string()];
        all.extend(strings(words));
        all.extend(strings(&["--hosts", &self.host, "--port", &self.port.to_string(), "--json"]));
        all.extend(strings(more));
        all
    }

    /// `ringvault backup` of a keyspace into the repository of a kind.
    pub fn backup(&self, keyspace: &str, kind: &str, more: &[&str]) -> Vec<String> {
        self.ringvault(&["backup", keyspace, &self.repository(keyspace, kind), "--fresh"], more)
    }

    /// `ringvault restore` of it into [`TARGET`].
    pub fn restore(&self, keyspace: &str, kind: &str, more: &[&str]) -> Vec<String> {
        let words = ["restore", keyspace, &self.repository(keyspace, kind), "--keyspace-as", TARGET, "--fresh"];
        self.ringvault(&[&words[..], &["--pace", "full"]].concat(), more)
    }

    fn dsbulk(&self, what: &str, keyspace: &str, table: BenchTable, files_of: &str) -> Result<Vec<String>> {
        let jars = rivals::dsbulk()?.join("*").display().to_string();
        let (url, logs) = (self.repository(files_of, "dsbulk"), self.path(&["dsbulk-logs"]));
        let main = "com.datastax.oss.dsbulk.runner.DataStaxBulkLoader";
        let java = ["java", DSBULK_HEAP, "-cp", &jars, main, what, "-c", "json", "-url", &url];
        let names = ["-k", keyspace, "-t", table.name(), "-h", &self.host, "-port", &self.port.to_string()];
        let logs = ["-logDir", &logs, "-verbosity", "0"];
        Ok([strings(&java), strings(&names), strings(&logs)].concat())
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
