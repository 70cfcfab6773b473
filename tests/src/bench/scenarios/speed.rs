//! Rows a second, CPU seconds and memory of everybody on both tables, in turns.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Bench, ensure_rows, fill, keyspace, remove, say};
use crate::bench::data::{BenchTable, Size};
use crate::bench::measure::{Ran, Setting, measure};
use crate::bench::record::{Figures, Log, Speed};
use crate::bench::settle;
use crate::bench::subjects::{Place, Subject, TARGET};
use crate::bench::yardstick::Yardstick;
use crate::cassandra::{CassandraVersion, ClusterSpec, TestCluster};

pub(super) async fn run(bench: &Bench<'_>, log: &mut Log) -> Result<()> {
    let options = bench.options;
    let subjects = options.subjects();
    ensure!(!subjects.is_empty(), "no subject's name holds one of the words of --only, or --without leaves none");
    let cluster = TestCluster::start(ClusterSpec::one(CassandraVersion::V5_0)).await?;
    let place = bench.place(&cluster);
    for table in options.of_tables() {
        for size in [Size::Whole, Size::Part] {
            if subjects.iter().any(|subject| subject.size() == size) {
                fill(&cluster, table, table.keyspace(size), 1, options.rows_of(table, size)).await?;
            }
        }
    }
    let turns = Turns { cluster: &cluster, place: &place };
    for setting in options.settings_or(&Setting::ALL) {
        setting.pin_servers().await?;
        for table in options.of_tables() {
            for subject in &subjects {
                let rows = |size| options.rows_of(table, size);
                turns.prepare(setting, table, *subject, &rows).await?;
            }
        }
        for turn in 1..=options.runs {
            for table in options.of_tables() {
                for subject in &subjects {
                    let rows = options.rows_of(table, subject.size());
                    let ran = turns.one(setting, table, *subject, rows).await?;
                    say(&format!(
                        "{} {} run {turn}: {}: {:.1} s, {:.0} rows/s",
                        setting.name(),
                        table.name(),
                        subject.name(),
                        ran.taken.wall_s,
                        rows as f64 / ran.taken.wall_s
                    ));
                    log.add(Figures::Speed(Speed {
                        setting,
                        table,
                        subject: *subject,
                        rows,
                        taken: ran.taken,
                        job_s: ran.figure("elapsed_ms").map(|ms| ms as f64 / 1e3),
                        encoded_bytes: ran.figure("encoded_bytes").filter(|bytes| *bytes > 0),
                    }))?;
                }
            }
        }
    }
    Ok(())
}

struct Turns<'a> {
    cluster: &'a TestCluster,
    place: &'a Place,
}

impl Turns<'_> {
    /// What a subject's files come from, and a first look at its table, unmeasured: fetches rivals, warms the server up.
    async fn prepare(
        &self,
        setting: Setting,
        table: BenchTable,
        subject: Subject,
        rows: &impl Fn(Size) -> u64,
    ) -> Result<()> {
        if subject == Subject::Raw(Yardstick::Scan) {
            self.read(setting, table, subject, rows(subject.size())).await?;
        }
        let Some(source) = subject.reads_files_of() else { return Ok(()) };
        let made = self.place.makes(source, table.keyspace(subject.size())).context("a source makes files")?;
        if made.exists() {
            return Ok(());
        }
        let words = self.place.words(source, table, table.keyspace(subject.size()), rows(subject.size()))?;
        measure(setting, &words, &self.place.directory).await.map(drop)
    }

    async fn one(&self, setting: Setting, table: BenchTable, subject: Subject, rows: u64) -> Result<Ran> {
        if !subject.writes() {
            return self.read(setting, table, subject, rows).await;
        }
        keyspace(self.cluster, TARGET, 1).await?;
        self.cluster.run(&[&table.create(TARGET)]).await?;
        settle::quiet(self.cluster).await?;
        let ran = self.read(setting, table, subject, rows).await?;
        self.cluster.drop_keyspace(TARGET).await?;
        settle::quiet(self.cluster).await?;
        Ok(ran)
    }

    /// Runs a subject and looks whether it moved all rows: by its own figure, or by the lines that it wrote.
    async fn read(&self, setting: Setting, table: BenchTable, subject: Subject, rows: u64) -> Result<Ran> {
        let keyspace = table.keyspace(subject.size());
        let makes = self.place.makes(subject, keyspace);
        if let Some(older) = &makes {
            remove(older)?;
        }
        let words = self.place.words(subject, table, keyspace, rows)?;
        let ran = measure(setting, &words, &self.place.directory).await?;
        match subject {
            Subject::DsbulkLoad => {} // fails by its exit code if a row does
            Subject::DsbulkUnload | Subject::CqlshCopy => {
                let heads = u64::from(subject == Subject::CqlshCopy);
                let lines = lines(&makes.context("it makes files")?)?;
                ensure!(lines == rows + heads, "{} wrote {lines} lines of {rows} rows", subject.name());
            }
            Subject::Raw(_)
            | Subject::BackupValues
            | Subject::BackupGzip
            | Subject::BackupTimes
            | Subject::RestoreValues
            | Subject::RestoreTimes
            | Subject::RestoreVerified => ensure_rows(&ran, rows, subject.name())?,
        }
        Ok(ran)
    }
}

/// Lines of a file, or of all files of a directory. No value of the tables holds a line feed.
fn lines(path: &Path) -> Result<u64> {
    let files = match path.is_dir() {
        true => std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?,
        false => vec![path.to_path_buf()],
    };
    let mut lines = 0;
    for file in files {
        let mut file = BufReader::with_capacity(1 << 20, std::fs::File::open(&file)?);
        loop {
            let block = file.fill_buf()?;
            if block.is_empty() {
                break;
            }
            lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
            let read = block.len();
            file.consume(read);
        }
    }
    Ok(lines)
}
