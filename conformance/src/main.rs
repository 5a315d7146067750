//! The command: `conformance bench` compares runtimes, `conformance hot` finds the functions that a run needs; the tests are run by `cargo test`.

mod bench;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let outcome = match words.next().as_ref().and_then(|word| word.to_str()) {
        Some("bench") => bench::main(words.collect()),
        Some("hot") => bench::hot::main(words.collect()),
        Some("--help" | "-h" | "help") => {
            print!("{}", bench::USAGE);
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{}", bench::USAGE);
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
