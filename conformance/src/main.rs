//! The command: `conformance bench`.
fn main() {}
