//! Live: directories as cassandra-backup-tool writes them, made by Python's driver from real tables, come back by `import`
//! and `restore`, compared cell by cell with the tables that they were made from.
#![allow(missing_docs)]

mod comes_back;
mod refusals;
mod seed_tool;

use std::process::ExitCode;

use ringvault_tests::runner::{self, Test};

fn main() -> ExitCode {
    let mut tests: Vec<Test> = Vec::new();
    tests.extend(comes_back::tests());
    tests.extend(refusals::tests());
    runner::run(tests)
}
