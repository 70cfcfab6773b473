//! Live: the `ringvault` binary as a process against real clusters. What a user is promised, promise by promise.
#![allow(missing_docs)]

mod changes;
mod fleet;
mod interrupt;
mod large;
mod refusals;
mod repository_damage;
mod round_trip;
mod storage;
mod three_nodes;

use std::process::ExitCode;

use ringvault_tests::runner::{self, Test};

fn main() -> ExitCode {
    let mut tests: Vec<Test> = Vec::new();
    // In the order of clusters: tests of equal needs share one.
    tests.extend(round_trip::tests());
    tests.extend(changes::tests());
    tests.extend(storage::tests());
    tests.extend(fleet::tests());
    tests.extend(refusals::tests());
    tests.extend(repository_damage::tests());
    tests.extend(interrupt::tests());
    tests.extend(large::tests());
    tests.extend(three_nodes::tests());
    runner::run(tests)
}
