//! The command: `conformance run` tests a runtime, `conformance matrix` several side by side, `conformance bench` compares their
//! speed, `conformance hot` finds the functions that a run needs; the tests of Orlop itself are run by `cargo test`.

mod bench;
mod pages;
mod suite;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let outcome = match words.next().as_ref().and_then(|word| word.to_str()) {
        Some("run") => suite::run(words.collect()),
        Some("matrix") => suite::matrix(words.collect()),
        Some(suite::CASE) => suite::case(&words.collect::<Vec<_>>()),
        Some("bench") => bench::main(words.collect()),
        Some("hot") => bench::hot::main(words.collect()),
        Some("--help" | "-h" | "help") => {
            print!("{}\n{}", suite::USAGE, bench::USAGE);
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{}\n{}", suite::USAGE, bench::USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}
