//! The probe: a small static program that is the whole content of a test container's root file system.
//!
//! Without arguments it prints what it sees, for people; `probe report --json` says everything, for tests; and
//! the other verbs do the small things a shell would be needed for.  A link to it named like a verb acts as that.

mod attacks;
mod burden;
mod parse;
mod pretty;
mod report;
mod verbs;

use std::path::Path;
use std::process::exit;

fn main() {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let called = words.next().unwrap_or_default();
    let args: Vec<String> = words.collect();
    let name =
        Path::new(&called).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if let Some(status) = verbs::run(&name, &args) {
        exit(status);
    }
    let Some((verb, rest)) = args.split_first() else {
        print!("{}", pretty::render(&report::gather(&[])));
        exit(0);
    };
    exit(verbs::run(verb, rest).unwrap_or_else(|| {
        eprintln!("probe: no such verb: {verb}");
        eprintln!("verbs: {}", verbs::NAMES.join(" "));
        2
    }));
}
