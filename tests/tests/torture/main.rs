//! Live: what nobody wrote by hand. Keyspaces made from numbers, processes killed at any moment, schemas that change and
//! repositories that are damaged while someone relies on them.
//!
//! `RINGVAULT_TORTURE_SEED=…` runs the one seed that a failure names, or a range of them (`3..9`).
#![allow(missing_docs)]

mod altered;
mod damaged;
mod differences;
mod generated;
mod hidden;
mod killed;

use std::process::ExitCode;

use ringvault_tests::runner::{self, Test};

fn main() -> ExitCode {
    let mut tests: Vec<Test> = Vec::new();
    // In the order of clusters: tests of equal needs share one.
    tests.extend(generated::tests());
    tests.extend(hidden::tests());
    tests.extend(altered::tests());
    tests.extend(differences::tests());
    tests.extend(damaged::tests());
    tests.extend(killed::tests());
    runner::run(tests)
}
