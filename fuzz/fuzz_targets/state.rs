//! The record in the state directory, from bytes of anybody's choosing: it was perhaps torn, or is another version's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_core::state::State;

fuzz_target!(|bytes: &[u8]| {
    if let Err(reason) = State::from_bytes(bytes) {
        assert!(!reason.is_empty());
    }
});
