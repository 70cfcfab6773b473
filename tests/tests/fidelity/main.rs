//! Live: every trap that a logical backup of Cassandra falls into, a named test each, on every release where it applies;
//! and one backup on another release, topology, name.
//!
//! - [`lines`]: the list of traps and which tests stand for them
//! - [`stage`]: many cases on one keyspace, one backup, one restore
//! - [`values`], [`rows`], [`time`], [`schema`]: those cases
//! - [`proof`], [`reading`], [`refusals`]: what takes a keyspace of its own
//! - [`bare`]: nodes with permissions, and with little switched on
//! - [`across`], [`three`], [`transforms`]: elsewhere and otherwise
//!
//! Nothing here knows how Ringvault reads or writes: rows are compared raw, and what CQL can't show is asked by
//! tombstones.
#![allow(missing_docs)]

mod across;
mod bare;
mod lines;
mod proof;
mod reading;
mod refusals;
mod ring;
mod rows;
mod schema;
mod stage;
mod three;
mod time;
mod transforms;
mod values;

use std::process::ExitCode;
use std::rc::Rc;

use ringvault_tests::cassandra::CassandraVersion::{self, V3_11, V4_0, V4_1, V5_0};
use ringvault_tests::runner::{self, Test};

fn main() -> ExitCode {
    let handover = Rc::default();
    let mut tests: Vec<Test> = Vec::new();
    // One cluster a release. What is left for another release comes before what takes it: 3.11 → 5.0 → 4.0, 4.1.
    for version in [V3_11, V5_0, V4_0, V4_1] {
        tests.extend(of_release(version, &handover));
    }
    tests.extend(three::tests(&handover));
    tests.extend(CassandraVersion::ALL.map(refusals::other_partitioner));
    tests.insert(0, lines::test(&tests));
    runner::run(tests)
}

fn of_release(version: CassandraVersion, handover: &Rc<across::Handover>) -> Vec<Test> {
    let mut tests = Vec::new();
    let [clock_begins, clock_looks, clock_ends] = time::clock(version);
    tests.extend(reading::tests(version));
    tests.push(clock_begins);
    tests.extend(across::tests(version, handover));
    tests.extend(stage::area(version, "FidValues", values::cases(version)).1);
    tests.extend(stage::area(version, "fid_rows", rows::cases(version)).1);
    tests.push(clock_looks);
    tests.extend(stage::area(version, "fid_time", time::cases(version)).1);
    let (schemas, of_schema) = stage::area(version, "fid_schema", schema::cases(version));
    tests.extend(of_schema);
    tests.push(clock_ends);
    tests.extend(schema::tests(version));
    tests.extend(proof::tests(version));
    tests.extend(refusals::tests(version));
    if matches!(version, V3_11 | V5_0) {
        tests.extend(transforms::tests(version));
    }
    tests.extend(bare::tests(version, &schemas, handover));
    tests
}
