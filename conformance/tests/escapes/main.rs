//! Attacks on a container runtime: the known escapes of runc, crun, youki and libcontainer, and variants of our own.
//!
//! Each test sets up what the attacker controls (the image, a volume, the process in the container), lets the runtime do its work, and
//! looks whether the attacker has got what it must not have.  What is attacked are files of the test itself, and copies.
//! `docs/escapes.md` lists them; `scripts/escapes RUNTIME…` runs them against other runtimes and says which attack succeeds where.
#![allow(missing_docs)]

mod entering;

use conformance::harness::Container;

/// Fails a test because an attack has succeeded; `scripts/escapes` tells it from other failures by its first word.
#[macro_export]
macro_rules! breach {
    ($($what:tt)*) => { panic!("BREACH: {}", format_args!($($what)*)) };
}

/// Gives a container capabilities besides those that it has.
fn add_capabilities(container: &mut Container, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        let list =
            container.config["process"]["capabilities"][set].as_array_mut().expect("a set of capabilities");
        list.extend(names.iter().map(|name| serde_json::json!(name)));
    }
}
