//! All at once, with what it costs told and what comes out judged.
//!
//! `RINGVAULT_SCALE_SHARDS=1000000 cargo test --workspace --release --lib scale:: -- --nocapture` measures; the
//! numbers are told on standard error. Time is never judged here.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{Process, TABLES, WORKERS};

/// Shards where nobody asks for more.
const SHARDS: u64 = 20_000;

/// Resident memory of this process, where the system tells it, in MiB.
fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Time that this process was on a processor, where the system tells it.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name: state, ten numbers, then the hundredths of a second in user and system mode.
    let times = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Duration::from_millis(times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// A stretch of work that is measured.
struct Stretch {
    begun: Instant,
    processor: Duration,
}

impl Stretch {
    fn begin() -> Self {
        Self { begun: Instant::now(), processor: processor_time() }
    }

    fn tell(self, what: &str, count: u64) {
        let (took, processor) = (self.begun.elapsed(), processor_time().saturating_sub(self.processor));
        let rate = |time: Duration| count * 1000 / u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let line = format!(
            "{what}: {count} in {took:.2?} ({}/s), of it {processor:.2?} on a processor ({}/s); memory {} MiB",
            rate(took),
            rate(processor),
            memory_mib()
        );
        writeln!(std::io::stderr(), "{line}").expect("standard error is open");
    }
}

#[test]
fn a_thousand_workers_share_very_many_shards_of_a_job() {
    let asked: u64 = std::env::var("RINGVAULT_SCALE_SHARDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SHARDS);
    let shards = asked.next_multiple_of(TABLES);
    let dir = tempfile::tempdir().expect("a directory");
    let mut process = Process::open(dir.path(), shards);
    process.look_around(shards);
    let stretch = Stretch::begin();
    process.plan();
    stretch.tell("shards planned", shards);
    process.begin();
    assert_eq!(process.held.len(), WORKERS);
    process.report();
    let rounds = (shards / WORKERS as u64 / 2).clamp(1, 50);
    let stretch = Stretch::begin();
    let mut granted = 0;
    for round in 0..rounds {
        granted += process.take_turns();
        if round % 5 == 0 {
            process.report();
        }
    }
    stretch.tell("grants, each with its completion, and reports of all", granted);
    let stretch = Stretch::begin();
    let job = process.job();
    let figures = process.core.figures(process.now);
    stretch.tell("looks at the job and at all figures", 1);
    let all: u64 = job.tables.iter().map(|table| table.shards).sum();
    let done: u64 = job.tables.iter().map(|table| table.shards_done).sum();
    assert_eq!((all, figures.leases, u64::from(job.workers)), (shards, WORKERS as u64, WORKERS as u64));
    assert!(done >= granted - WORKERS as u64 && done < shards, "{done} of {shards}");
    drop(process);
    let stretch = Stretch::begin();
    let process = Process::open(dir.path(), shards);
    stretch.tell("shards loaded at a restart", shards);
    assert_eq!(process.job().tables.iter().map(|table| table.shards_done).sum::<u64>(), done);
}
