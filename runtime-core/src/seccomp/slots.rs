//! What the table of system calls and its makers agree on: where a name stands in the hashed index, and a mark.
//!
//! Part of the build script too, which writes the table: it has to look where the crate will.

/// Four times the names there are, so that nearly every one stands in its first place.
pub(crate) const COUNT: usize = 2048;

/// Beside the number of a sub-call: it is one of `ipc(2)`, not of `socketcall(2)`.
pub(crate) const IPC: u8 = 0x80;

/// The place in which `name` is looked for first.
pub(crate) fn first(name: &str) -> usize {
    let mixed = name.bytes().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(byte));
    // The upper bits of a product depend on all of its factor.
    (mixed.wrapping_mul(0x9e37_79b9) >> 21) as usize % COUNT
}

/// Where it is looked for when another name stands in `slot`.
pub(crate) const fn next(slot: usize) -> usize {
    (slot + 1) % COUNT
}
