//! The benchmark. `tests/bench/run` builds it with optimizations and starts it.
#![allow(clippy::print_stdout)] // it talks to a person

use std::path::Path;

use anyhow::{Context, Result};
use ringvault_tests::bench::data::BenchTable;
use ringvault_tests::bench::options::{Options, Task};
use ringvault_tests::bench::record::{self, Log, Record};
use ringvault_tests::bench::report::{markdown, svg};
use ringvault_tests::bench::scenarios::Bench;
use ringvault_tests::bench::yardstick::{Yardstick, run as run_yardstick};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, yardstick, table, node, keyspace, rows] = arguments.as_slice()
        && first == "yardstick"
    {
        let table = BenchTable::ALL.into_iter().find(|known| known.name() == table).context("no such table")?;
        println!("{}", run_yardstick(Yardstick::of(yardstick)?, table, node, keyspace, rows.parse()?).await?);
        return Ok(());
    }
    let options = Options::read(&arguments)?;
    let records = match &options.task {
        Task::Report(logs) => {
            let read = logs.iter().map(|log| record::read(Path::new(log))).collect::<Result<Vec<_>>>();
            read?.concat()
        }
        Task::Measure(scenarios) => {
            let bench = Bench::new(&options)?;
            let mut log = Log::open(options.log.as_deref())?;
            for scenario in scenarios {
                bench.run(*scenario, &mut log).await?;
            }
            log.records().to_vec()
        }
    };
    report(&options, &records)
}

fn report(options: &Options, records: &[Record]) -> Result<()> {
    let text = markdown(records);
    println!("{text}");
    for (file, text) in [(&options.markdown, text), (&options.svg, svg(records))] {
        if let Some(file) = file {
            std::fs::write(file, text).with_context(|| format!("write {file}"))?;
        }
    }
    Ok(())
}
