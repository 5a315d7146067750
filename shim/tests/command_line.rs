//! The binary as containerd and an administrator meet it: exit status and where each word is written.

use orlop_shim::api::{Any, RuncOptions, RuntimeInfo};
use orlop_shim::wire::Message;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

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
    for flag in
        ["namespace", "id", "address", "publish-binary", "bundle", "socket", "debug", "info", "v", "h"]
    {
        assert!(text.contains(&format!("\n  -{flag} ")), "{flag}: {text}");
    }
}

#[test]
fn faults_go_to_standard_error_and_no_address_to_standard_output() {
    for (args, fault) in [
        (&["-namespace", "default", "-id", "c1", "-no", "start"][..], "flag provided but not defined: -no"),
        (&["-id", "c1", "start"], "shim namespace cannot be empty"),
        (&["-namespace", "default", "-id", "c1"], "standard input is no listening socket"),
    ] {
        let output = shim(args);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "containerd would take it for an address");
        let text = String::from_utf8(output.stderr).expect("the error is UTF-8");
        assert!(text.starts_with("containerd-shim-orlop-v2: ") && text.contains(fault), "{text}");
    }
}

#[test]
fn info_is_a_message_with_the_options_it_was_asked_with() {
    let options = RuncOptions { root: "/r".into(), ..RuncOptions::default() };
    let options = Any::new("containerd.runc.v1.Options", options.encode());
    let mut child = Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"))
        .arg("-info")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the shim binary starts");
    child.stdin.take().expect("a pipe").write_all(&options.encode()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let info = RuntimeInfo::decode(&output.stdout).expect("a message");
    assert_eq!(info.options, Some(options));
    let features = info.features.expect("features");
    let features: serde_json::Value = serde_json::from_slice(&features.value).expect("JSON");
    // What the CRI plugin looks for.
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    let options = features["mountOptions"].as_array().expect("a list");
    assert!(options.iter().any(|option| option == "rro"));
}

#[test]
fn a_full_disk_is_an_error_not_an_abort() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full opens");
    let output = Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"))
        .arg("-v")
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("the shim binary starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("the error is UTF-8");
    assert!(text.contains("No space left on device"), "{text}");
}
