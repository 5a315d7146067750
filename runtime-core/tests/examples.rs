//! The examples of the documentation, run with real containers, as root and as an ordinary user.
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../examples/capture.rs"]
mod capture;
mod common;
#[allow(dead_code)]
#[path = "../examples/event_loop.rs"]
mod event_loop;
#[allow(dead_code)]
#[path = "../examples/exec.rs"]
mod exec;
#[allow(dead_code)]
#[path = "../examples/lifecycle.rs"]
mod lifecycle;
#[allow(dead_code)]
#[path = "../examples/threads.rs"]
mod threads;

use common::{PROGRAM, Scratch};
use orlop_core::Status;

fn scratch(name: &str, args: &[&str]) -> Scratch {
    let scratch = Scratch::new(name);
    scratch.bundle(args, |_| {});
    scratch
}

fn containers_from_several_threads() {
    let s = scratch("threads", &["exit", "3"]);
    assert_eq!(threads::run(s.runtime.root(), &s.path.join("bundle")).unwrap(), [3; 4]);
}

fn output_through_a_pipe() {
    let s = scratch("capture", &["echo", "hello", "world"]);
    let seen = capture::run(s.runtime.root(), &s.path.join("bundle")).unwrap();
    assert_eq!(seen, ("hello world\n".to_owned(), 0));
}

fn several_in_one_poll_loop() {
    let s = scratch("loop", &["exit", "5"]);
    let mut ended = event_loop::run(s.runtime.root(), &s.path.join("bundle")).unwrap();
    ended.sort();
    assert_eq!(ended, ["loop-0", "loop-1", "loop-2"].map(|id| (id.to_owned(), 5)));
}

fn from_create_to_delete() {
    let s = scratch("lifecycle", &["forever"]);
    let seen = lifecycle::run(s.runtime.root(), &s.path.join("bundle")).unwrap();
    assert_eq!(seen, [Status::Created, Status::Running, Status::Stopped]);
}

fn another_process_inside() {
    let s = scratch("exec", &["forever"]);
    let code = exec::run(s.runtime.root(), &s.path.join("bundle"), &[PROGRAM, "exit", "7"]).unwrap();
    assert_eq!(code, 7);
    let error = exec::run(s.runtime.root(), &s.path.join("bundle"), &["/nowhere"]).unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
    assert!(s.runtime.list().unwrap().is_empty());
}

fn main() {
    common::main(&[
        ("containers_from_several_threads", containers_from_several_threads),
        ("output_through_a_pipe", output_through_a_pipe),
        ("several_in_one_poll_loop", several_in_one_poll_loop),
        ("from_create_to_delete", from_create_to_delete),
        ("another_process_inside", another_process_inside),
    ]);
}
