//! orlop
fn main() {}
