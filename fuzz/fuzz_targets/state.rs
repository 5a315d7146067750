//! The record in the state directory, from bytes of anybody's choosing: it was perhaps torn, or is another version's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_core::state::State;
use serde::Serialize;

/// The file, as far as reading depends on it.
#[derive(Serialize)]
struct Record<'a> {
    state: &'a State,
}

fuzz_target!(|bytes: &[u8]| {
    match State::from_bytes(bytes) {
        Err(reason) => assert!(!reason.is_empty()),
        // Commands read, change and save: nothing may be lost on the way.
        Ok(state) => {
            let saved = serde_json::to_vec(&Record { state: &state }).expect("a record can be saved");
            assert_eq!(State::from_bytes(&saved).as_ref(), Ok(&state));
        }
    }
});
