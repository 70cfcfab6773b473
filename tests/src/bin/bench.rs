//! The benchmark. `tests/bench/run` builds it with optimizations and starts it.
#![allow(clippy::print_stdout)] // it talks to a person

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ringvault_tests::bench::data::{BenchTable, Writing, write};
use ringvault_tests::bench::measure::{Setting, measure};
use ringvault_tests::bench::report::{Measured, markdown, svg};
use ringvault_tests::bench::subjects::{Place, Subject, TARGET};
use ringvault_tests::bench::yardstick::{Yardstick, run as run_yardstick};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::product;

const USAGE: &str =
    "usage: bench [--runs N] [--ycsb ROWS] [--mixed ROWS] [--apart] [--shared] [--svg FILE] [--only WORD]...
  5 runs, 2,000,000 and 3,000,000 rows, both settings unless told; --only keeps subjects whose names hold one of the
  words, and their yardsticks";

#[derive(Debug)]
struct Options {
    runs: u32,
    rows: BTreeMap<&'static str, u64>,
    settings: Vec<Setting>,
    svg: Option<String>,
    only: Vec<String>,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self> {
        let rows = BTreeMap::from([("ycsb", 2_000_000), ("mixed", 3_000_000)]);
        let mut options = Self { runs: 5, rows, settings: Vec::new(), svg: None, only: Vec::new() };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--runs" => options.runs = value()?.parse().context(USAGE)?,
                "--ycsb" => drop(options.rows.insert("ycsb", value()?.parse().context(USAGE)?)),
                "--mixed" => drop(options.rows.insert("mixed", value()?.parse().context(USAGE)?)),
                "--apart" => options.settings.push(Setting::Apart),
                "--shared" => options.settings.push(Setting::Shared),
                "--svg" => options.svg = Some(value()?.clone()),
                "--only" => options.only.push(value()?.clone()),
                _ => bail!("unknown word {word}\n{USAGE}"),
            }
        }
        if options.settings.is_empty() {
            options.settings = vec![Setting::Apart, Setting::Shared];
        }
        Ok(options)
    }

    /// Those that were asked for, their yardsticks, and whose files they read.
    fn subjects(&self) -> Vec<Subject> {
        let named =
            |subject: &Subject| self.only.is_empty() || self.only.iter().any(|w| subject.name().contains(w.as_str()));
        let wanted: Vec<Subject> = Subject::ALL.into_iter().filter(named).collect();
        let needed = |subject: &Subject| match subject {
            Subject::RestoreValues => Some(Subject::BackupValues),
            Subject::RestoreTimes | Subject::RestoreVerified => Some(Subject::BackupTimes),
            Subject::DsbulkLoad => Some(Subject::DsbulkUnload),
            _ => None,
        };
        let keeps = |subject: &Subject| {
            wanted.iter().any(|w| w == subject || w.yardstick() == *subject || needed(w) == Some(*subject))
        };
        Subject::ALL.into_iter().filter(keeps).collect()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, yardstick, table, node, keyspace, rows] = arguments.as_slice()
        && first == "yardstick"
    {
        let table = BenchTable::ALL.into_iter().find(|known| known.name() == table).context("no such table")?;
        let done = run_yardstick(Yardstick::of(yardstick)?, table, node, keyspace, rows.parse()?).await?;
        println!("{done} rows");
        return Ok(());
    }
    let options = Options::read(&arguments)?;
    let ringvault = product::binary().context("build ringvault")?.to_path_buf();
    println!("{} of {}", machine(), ringvault.display());
    let cluster = TestCluster::start(ClusterSpec::one(CassandraVersion::V5_0)).await?;
    let directory = tempfile::Builder::new().prefix("ringvault-bench-").tempdir()?;
    let place = Place {
        directory: directory.path().to_path_buf(),
        ringvault,
        own: std::env::current_exe()?,
        host: cluster.hosts(),
        port: cluster.port(),
    };
    fill(&cluster, &options).await?;
    let mut measured = Vec::new();
    for setting in &options.settings {
        setting.pin_servers().await?;
        for turn in 0..options.runs {
            for table in BenchTable::ALL {
                for subject in options.subjects() {
                    let rows = options.rows[table.name()];
                    let run = one(&cluster, &place, *setting, table, subject, rows).await?;
                    println!(
                        "{} {} run {}: {} {:.1} s, {:.0} rows/s",
                        setting.name(),
                        table.name(),
                        turn + 1,
                        subject.name(),
                        run.taken.wall_s,
                        rows as f64 / run.taken.wall_s
                    );
                    measured.push(run);
                }
            }
        }
    }
    println!("{}", markdown(&measured, &options.rows));
    if let Some(file) = &options.svg {
        std::fs::write(file, svg(&measured)).with_context(|| format!("write {file}"))?;
    }
    Ok(())
}

async fn fill(cluster: &TestCluster, options: &Options) -> Result<()> {
    for table in BenchTable::ALL {
        let begun = Instant::now();
        keyspace(cluster, table.keyspace()).await?;
        cluster.run(&[&table.create(table.keyspace())]).await?;
        let rows =
            write(cluster.session(), table, table.keyspace(), options.rows[table.name()], Writing::Batched).await?;
        println!("{rows} rows of {} made in {:.0} s", table.name(), begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn keyspace(cluster: &TestCluster, name: &str) -> Result<()> {
    cluster.fresh_keyspace(name, 1).await?;
    // the disk of a test machine is not what is measured
    cluster.run(&[&format!("ALTER KEYSPACE {name} WITH durable_writes = false")]).await
}

async fn one(
    cluster: &TestCluster,
    place: &Place,
    setting: Setting,
    table: BenchTable,
    subject: Subject,
    rows: u64,
) -> Result<Measured> {
    if subject.writes() {
        keyspace(cluster, TARGET).await?;
        cluster.run(&[&table.create(TARGET)]).await?;
    }
    if let Some(leftovers) = place.leftovers(subject, table) {
        remove(&leftovers)?;
    }
    let words = place.words(subject, table, rows)?;
    let taken = measure(setting, &words, &place.directory).await?;
    Ok(Measured { setting, table, subject, rows, taken })
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The machine in a few words.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let date =
        Command::new("date").arg("+%Y-%m-%d").output().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    format!("{}, {cores} cores of {}", date.unwrap_or_default(), model.unwrap_or("an unknown processor"))
}
