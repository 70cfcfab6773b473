//! The row line, from outside: golden lines, round trips of every type at any nesting, damaged lines.

#[path = "row/damage.rs"]
mod damage;
#[path = "row/golden.rs"]
mod golden;
#[path = "row/lines.rs"]
mod lines;
#[path = "row/roundtrip.rs"]
mod roundtrip;
#[path = "row/types.rs"]
mod types;
