//! Directories of cassandra-backup-tool, from outside: golden ones become the backups that they should, damaged and
//! doubtful ones are refused by name, and any rows survive in the order of tokens.

#[path = "seed/golden.rs"]
mod golden;
#[path = "seed/refusals.rs"]
mod refusals;
#[path = "seed/rows.rs"]
mod rows;
#[path = "seed/sample.rs"]
mod sample;
