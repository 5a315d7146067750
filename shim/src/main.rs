//! `containerd-shim-orlop-v2`: the place where containerd's shim protocol meets [`orlop_core`].
//!
//! What is here answers what an administrator and containerd ask of any shim binary before they use it: `-v`
//! and `-h`. The Task service is not written yet, and every other invocation says so and fails, so that
//! containerd reports the reason instead of waiting for a socket that never comes.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

const NAME: &str = "containerd-shim-orlop-v2";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Version,
    Help,
    /// Anything that would need the Task service: `start`, `delete`, or serving.
    Serve,
}

/// Finds the first `-v` or `-h`; Go's flag package, whose rules containerd's own shims follow, takes one or
/// two dashes.
fn parse(args: impl Iterator<Item = OsString>) -> Request {
    for arg in args {
        match arg.to_str() {
            Some("-v" | "--v" | "-version" | "--version") => return Request::Version,
            Some("-h" | "--h" | "-help" | "--help") => return Request::Help,
            _ => {}
        }
    }
    Request::Serve
}

fn version(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{NAME}:")?;
    writeln!(out, "  Version:  {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  Engine:   orlop-core {}", env!("CARGO_PKG_VERSION"))
}

fn help(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Usage: {NAME} [-v | -h]\n")?;
    writeln!(out, "  -v  print the version and exit")?;
    writeln!(out, "  -h  print this help and exit\n")?;
    writeln!(out, "The containerd Task service is not implemented yet: use runc or crun as the runtime of")?;
    writeln!(out, "containerd's io.containerd.runc.v2 shim, or `orlop` itself through its BinaryName option.")
}

fn refuse(out: &mut impl Write, args: &[OsString]) -> io::Result<()> {
    let shown: Vec<_> = args.iter().map(|arg| OsStr::to_string_lossy(arg)).collect();
    writeln!(
        out,
        "{NAME}: cannot serve \"{}\": the containerd Task service is not implemented yet",
        shown.join(" ")
    )
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let written = match parse(args.iter().cloned()) {
        Request::Version => version(&mut io::stdout().lock()),
        Request::Help => help(&mut io::stdout().lock()),
        Request::Serve => {
            // The exit status carries the refusal even when nobody reads standard error.
            let _ = refuse(&mut io::stderr().lock(), &args);
            return ExitCode::FAILURE;
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{NAME}: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(args: &[&str]) -> Request {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn flags_are_found_anywhere_and_with_one_or_two_dashes() {
        assert_eq!(request(&["-v"]), Request::Version);
        assert_eq!(request(&["-namespace", "k8s.io", "--version"]), Request::Version);
        assert_eq!(request(&["--help"]), Request::Help);
    }

    #[test]
    fn what_containerd_sends_is_not_mistaken_for_a_flag() {
        assert_eq!(request(&[]), Request::Serve);
        assert_eq!(request(&["-namespace", "k8s.io", "-id", "c1", "start"]), Request::Serve);
    }
}
