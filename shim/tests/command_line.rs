//! The binary as containerd and an administrator meet it: exit status and where each word is written.

use std::fs::File;
use std::process::{Command, Output};

fn shim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"))
        .args(args)
        .output()
        .expect("the shim binary starts")
}

#[test]
fn version_goes_to_standard_output() {
    let output = shim(&["-v"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("version is UTF-8");
    assert!(text.starts_with("containerd-shim-orlop-v2:\n"), "{text}");
    assert!(text.contains(concat!("Version:  ", env!("CARGO_PKG_VERSION"), "\n")), "{text}");
    assert!(output.stderr.is_empty());
}

#[test]
fn help_names_every_flag() {
    let output = shim(&["-h"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("help is UTF-8");
    assert!(text.contains("\n  -v ") && text.contains("\n  -h "), "{text}");
}

#[test]
fn start_fails_with_the_reason_and_no_address() {
    let output = shim(&["-namespace", "default", "-id", "c1", "start"]);
    assert_eq!(output.status.code(), Some(1));
    // containerd reads a socket address from standard output: there must not be one.
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).expect("the error is UTF-8");
    assert_eq!(
        text,
        "containerd-shim-orlop-v2: cannot serve \"-namespace default -id c1 start\": \
         the containerd Task service is not implemented yet\n"
    );
}

#[test]
fn a_full_disk_is_an_error_not_an_abort() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full opens");
    let output = Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"))
        .arg("-v")
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("the shim binary starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("the error is UTF-8");
    assert!(text.contains("No space left on device"), "{text}");
}
