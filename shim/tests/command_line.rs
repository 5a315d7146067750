//! The binary as containerd and an administrator meet it: exit status and where each word is written.

use nix::mount::{MsFlags, mount};
use orlop_shim::api::{
    Any, BootstrapParams, BootstrapResult, DeleteResponse, Extension, RuncOptions, RuntimeInfo,
};
use orlop_shim::wire::Message;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
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
    assert!(text.contains("no space left on device"), "{text}");
}

/// A bundle with a configuration that `start` can read.
fn bundle(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("orlop-start-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).expect("a directory");
    fs::write(path.join("config.json"), "{}").expect("a file");
    path
}

/// `start` in `bundle`, with `SCHED_CORE` as given.
fn start(bundle: &Path, sched_core: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"))
        .args(["-namespace", "test", "-id", "c1", "-address", "/no/containerd", "-socket"])
        .arg(bundle.join("s"))
        .arg("start")
        .current_dir(bundle)
        .env("SCHED_CORE", sched_core)
        .stdin(Stdio::null())
        .output()
        .expect("the shim binary starts")
}

/// Ends the shim that `start` has left.
fn end(bundle: &Path) {
    let pid = fs::read_to_string(bundle.join("shim.pid")).expect("the shim's pid");
    let pid = nix::unistd::Pid::from_raw(pid.parse().expect("a number"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
}

#[test]
fn core_scheduling_is_asked_for_before_the_shim_is() {
    let bundle = bundle("cores");
    // An empty value is none, as for containerd's own.
    let output = start(&bundle, "");
    assert!(output.status.success(), "{output:?}");
    end(&bundle);
    let _ = fs::remove_file(bundle.join("s"));
    let output = start(&bundle, "1");
    if output.status.success() {
        end(&bundle);
    } else {
        // Not every kernel can, nor every processor.
        let text = String::from_utf8(output.stderr).expect("the error is UTF-8");
        let errno = ["invalid argument", "no such device"];
        let known =
            errno.iter().any(|errno| text.ends_with(&format!("enable sched core support: {errno}\n")));
        assert!(known, "{text}");
        assert!(!bundle.join("s").exists(), "nobody serves there");
    }
    let _ = fs::remove_dir_all(&bundle);
}

/// `start` in `bundle` as a containerd calls it that has set `MAX_SHIM_VERSION` so, with `input`; where the shim serves, as it was
/// answered.
fn bootstrap(bundle: &Path, max_version: Option<&str>, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"));
    command
        .args(["-namespace", "test", "-id", "c1", "-address", "/no/containerd", "-socket"])
        .arg(bundle.join("s"))
        .arg("start")
        .current_dir(bundle)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env_remove("MAX_SHIM_VERSION");
    if let Some(version) = max_version {
        command.env("MAX_SHIM_VERSION", version);
    }
    let mut child = command.spawn().expect("the shim binary starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    std::os::unix::net::UnixStream::connect(bundle.join("s")).expect("it serves");
    end(bundle);
    // Whether it removes its socket depends on when the signal comes; it must not be that of the next.
    let pid = fs::read_to_string(bundle.join("shim.pid")).expect("the shim's pid");
    for _ in 0..3000 {
        if fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |text| text.is_empty()) {
            let _ = fs::remove_file(bundle.join("s"));
            return output.stdout;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the shim has not ended within a minute");
}

#[test]
fn each_containerd_gets_its_form_of_the_answer() {
    let bundle = bundle("forms");
    let address = format!("unix://{}", bundle.join("s").display());
    let options = Any::new("containerd.runc.v1.Options", RuncOptions::default().encode());
    // 1.x
    assert_eq!(bootstrap(&bundle, None, &options.encode()), address.as_bytes());
    // 1.7 to 2.2
    let json: serde_json::Value =
        serde_json::from_slice(&bootstrap(&bundle, Some("3"), &options.encode())).expect("JSON");
    assert_eq!(json, serde_json::json!({"version": 3, "address": address, "protocol": "ttrpc"}));
    // 2.3
    let params = BootstrapParams {
        instance_id: "c1".into(),
        namespace: "test".into(),
        containerd_ttrpc_address: "/no/containerd.ttrpc".into(),
        containerd_grpc_address: "/no/containerd".into(),
        extensions: vec![Extension { value: Some(options) }],
        ..BootstrapParams::default()
    };
    let answer = bootstrap(&bundle, Some("3"), &params.encode());
    let result = BootstrapResult::decode(&answer).expect("a message");
    assert_eq!((result.version, result.address, result.protocol), (3, address, "ttrpc".to_owned()));
    let _ = fs::remove_dir_all(&bundle);
}

/// The container cannot be removed; what can be is, and containerd has its answer, for it does not come back.
#[test]
fn delete_does_what_it_can() {
    let bundle = bundle("delete");
    let (root, rootfs, socket) = (bundle.join("root"), bundle.join("rootfs"), bundle.join("s"));
    fs::create_dir_all(root.join("c1")).expect("a directory");
    fs::write(root.join("c1/state.json"), "no record").expect("a file");
    fs::write(bundle.join("orlop-root"), root.to_str().expect("UTF-8")).expect("a file");
    fs::create_dir(&rootfs).expect("a directory");
    // Of a shim that is gone.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    fs::write(bundle.join("address"), format!("unix://{}", socket.display())).expect("a file");
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        mount(Some("orlop-test"), &rootfs, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a mount");
    } else {
        eprintln!("SKIP 1: the mount of a container that cannot be removed: needs root");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"))
        .args(["-namespace", "test", "-id", "c1", "-address", "/no/containerd", "-bundle"])
        .arg(&bundle)
        .arg("delete")
        .output()
        .expect("the shim binary starts");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(DeleteResponse::decode(&output.stdout).expect("an answer").exit_status, 137);
    let text = String::from_utf8(output.stderr).expect("the error is UTF-8");
    assert!(text.contains("level=error") && text.contains("delete c1: "), "{text}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc is mounted");
    assert!(!mounts.contains(rootfs.to_str().expect("UTF-8")), "{mounts}");
    assert!(!socket.exists());
    fs::remove_dir_all(&bundle).expect("nothing is mounted there");
}
