//! Micro-benchmarks of what a coordinator decides, each with its commits in the journal: a plan, a round of leases of a
//! thousand workers, their reports, a look at a job.
//! `cargo bench --workspace --features ringvault-coordinator/bench --bench core` measures.
#![allow(missing_docs)]

use divan::{Bencher, counter::ItemsCount};
use ringvault_coordinator::scale::{Process, WORKERS};
use tempfile::TempDir;

fn main() {
    divan::main();
}

/// A job of so many shards in a new journal, before its plan.
fn process(shards: u64) -> (Process, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut process = Process::open(dir.path(), shards);
    process.look_around(shards);
    (process, dir)
}

/// The same while everybody works.
fn at_work(shards: u64) -> (Process, TempDir) {
    let (mut process, dir) = process(shards);
    process.plan();
    process.begin();
    (process, dir)
}

#[divan::bench(args = [1_600, 16_000, 160_000], sample_count = 5, sample_size = 1)]
fn shards_planned(bencher: Bencher<'_, '_>, shards: u64) {
    let bencher = bencher.counter(ItemsCount::new(shards)).with_inputs(|| process(shards));
    bencher.bench_local_refs(|(process, _)| process.plan());
}

#[divan::bench(args = [16_000, 160_000], sample_count = 10, sample_size = 1)]
fn leases_completed_and_granted(bencher: Bencher<'_, '_>, shards: u64) {
    let (mut process, _dir) = at_work(shards);
    bencher.counter(ItemsCount::new(WORKERS)).bench_local(|| process.take_turns());
}

#[divan::bench(args = [16_000, 160_000], sample_count = 10, sample_size = 1)]
fn reports(bencher: Bencher<'_, '_>, shards: u64) {
    let (mut process, _dir) = at_work(shards);
    bencher.counter(ItemsCount::new(WORKERS)).bench_local(|| process.report());
}

#[divan::bench(args = [16_000, 160_000], sample_count = 10, sample_size = 1)]
fn looks_at_a_job(bencher: Bencher<'_, '_>, shards: u64) {
    let (process, _dir) = at_work(shards);
    bencher.bench_local(|| process.job());
}
