//! config.json, from bytes of anybody's choosing: loading ends in a spec or in faults, never in a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_core::spec;

fuzz_target!(|bytes: &[u8]| {
    match spec::load(bytes) {
        Ok(_) => {}
        Err(error) => {
            // An error without a word, or in more than one line, is a fault of ours as well.
            let text = error.to_string();
            assert!(!text.is_empty());
        }
    }
});
