//! The benchmark runs, at toy sizes: a line for each subject, nothing about its figures. It starts its own Cassandra 5.0.
#![allow(missing_docs)]

use std::process::Command;

use ringvault_tests::bench::record;
use ringvault_tests::bench::subjects::Subject;
use ringvault_tests::product;

#[test]
fn the_benchmark_has_a_line_for_each_subject() {
    let ringvault = product::binary().expect("ringvault is built");
    let directory = tempfile::tempdir().expect("room for files");
    let (log, picture) = (directory.path().join("log"), directory.path().join("picture.svg"));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.args(["speed", "--shared", "--runs", "1", "--ycsb", "4000", "--mixed", "4000", "--table", "mixed"]);
    bench.arg("--log").arg(&log).arg("--svg").arg(&picture);
    let said = bench.env("RINGVAULT_BIN", ringvault).output().expect("the benchmark starts");
    let (text, complaint) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{text}\n{complaint}");
    let picture = std::fs::read_to_string(picture).expect("there is a picture");
    for subject in Subject::ALL {
        assert!(text.contains(&format!("\n| {} | ", subject.name())), "no line of {}:\n{text}", subject.name());
        assert!(picture.contains(subject.name()), "no bar of {}", subject.name());
    }
    assert_eq!(record::read(&log).expect("its log is read").len(), Subject::ALL.len());
}
