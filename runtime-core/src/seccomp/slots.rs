//! Where a name stands in the hashed index of the system calls.
//!
//! Part of the build script too, which writes that index: it has to look where the crate will.

/// Four times the names there are, so that nearly every one stands in its first place.
pub(crate) const COUNT: usize = 2048;

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
