//! containerd-shim-orlop-v2
fn main() {}
