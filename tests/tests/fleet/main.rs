//! Live: a coordinator and workers as processes on one node. What operators of a fleet are promised, promise by promise.
#![allow(missing_docs)]

mod asking;
mod faster;
mod leaving;
mod observability;
mod pausing;
mod python;
mod rates;
mod security;
mod sharing;
mod support;

use std::process::ExitCode;

use ringvault_tests::runner::{self, Test};

fn main() -> ExitCode {
    let mut tests: Vec<Test> = Vec::new();
    tests.extend(asking::tests());
    tests.extend(sharing::tests());
    tests.extend(rates::tests());
    tests.extend(faster::tests());
    tests.extend(pausing::tests());
    tests.extend(leaving::tests());
    tests.extend(observability::tests());
    tests.extend(security::tests());
    tests.extend(python::tests());
    runner::run(tests)
}
