//! config.json, from bytes of anybody's choosing: loading ends in a spec or in faults, never in a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_core::spec;

fuzz_target!(|bytes: &[u8]| {
    match spec::load(bytes) {
        Ok(loaded) => {
            // Not a word of the config may forge a line of the log.
            assert!(loaded.warnings.iter().all(|warning| one_line(warning)), "{:?}", loaded.warnings);
            assert!(spec::unsupported(&loaded.spec).iter().all(|fault| one_line(&fault.to_string())));
        }
        Err(error) => {
            assert!(!error.faults.is_empty());
            assert!(error.faults.iter().all(|fault| one_line(&fault.to_string())), "{:?}", error.faults);
        }
    }
});

fn one_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}
