//! Live: a coordinator and workers as processes on one node. What operators of a fleet are promised, promise by promise.
#![allow(missing_docs)]

mod observability;
mod python;
mod security;

use std::process::ExitCode;

use ringvault_tests::runner::{self, Test};

fn main() -> ExitCode {
    let mut tests: Vec<Test> = Vec::new();
    tests.extend(observability::tests());
    tests.extend(security::tests());
    tests.extend(python::tests());
    runner::run(tests)
}
