//! Fuzzing of every decoder of stored bytes, round trips of whole tables, and damage to every byte of a repository.
//!
//! Inputs follow from numbers: a failure names its seed, and `RINGVAULT_FUZZ_SEED=…` with the test's name runs it again.
//! In the long form (`RINGVAULT_LONG=1`) each decoder is fuzzed for ten minutes; `RINGVAULT_FUZZ_SECONDS` sets another
//! time. Inputs worth keeping stand in `corpus/`; each run replays them first.

#[path = "fuzz/damage.rs"]
mod damage;
#[path = "fuzz/documents.rs"]
mod documents;
#[path = "fuzz/engine.rs"]
mod engine;
#[path = "fuzz/examples.rs"]
mod examples;
#[path = "fuzz/lines.rs"]
mod lines;
#[path = "fuzz/packed.rs"]
mod packed;
#[allow(dead_code)]
#[path = "repository/sample.rs"]
mod sample;
#[path = "fuzz/seed_files.rs"]
mod seed_files;
#[allow(dead_code)]
#[path = "seed/sample.rs"]
mod seed_sample;
#[path = "fuzz/tables.rs"]
mod tables;
#[allow(dead_code)]
#[path = "row/types.rs"]
mod types;
