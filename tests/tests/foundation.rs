//! Foundation.
fn main() {}
