//! Calls of a shim that come at an odd time, or are about what has failed: each is answered, and each end is told, in order.

use std::fs::File;

use conformance::harness::{Container, eventually};
use nix::sys::stat::Mode;
use orlop_shim::api::{CloseIoRequest, KillRequest, ProcessRequest, WaitResponse};
use orlop_shim::wire::Message;
use serde_json::json;

use super::shim::{Answer, Bundle, Failure, Served};
use super::{can_sweep, rich};

/// A shim with a container, and a reader of its output; nothing where it cannot be tried.
struct Stage {
    /// Goes first: who takes its events waits for its end.
    shim: Served,
    bundle: Bundle,
    _reader: File,
}

impl Stage {
    fn of(container: impl FnOnce() -> Container) -> Option<Self> {
        let bundle = can_sweep().then(|| Bundle::of(container()))?;
        let reader = File::options().read(true).write(true).open(&bundle.stdout).expect("our own fifo");
        let mut shim = bundle.serve(&[]);
        bundle.create(&mut shim).expect("it is created");
        Some(Self { bundle, shim, _reader: reader })
    }

    fn process(&self, exec_id: &str) -> ProcessRequest {
        ProcessRequest { id: self.bundle.container.id.clone(), exec_id: exec_id.to_owned() }
    }

    fn kill(&self, exec_id: &str) -> KillRequest {
        let id = self.bundle.container.id.clone();
        KillRequest { id, exec_id: exec_id.to_owned(), signal: 9, ..KillRequest::default() }
    }

    fn start(&mut self) {
        let init = self.process("");
        self.shim.call("Start", &init).expect("it is started");
    }

    /// How a process has ended, by the answer to a call of Wait.
    fn status(&mut self, stream: u32) -> u32 {
        let answer = self.shim.answer("Wait", stream).expect("it ends");
        WaitResponse::decode(&answer).expect("an answer").exit_status
    }

    fn end(mut self) {
        self.bundle.die(&mut self.shim).expect("it can be ended");
        self.shim.end();
        assert_eq!(self.bundle.delete_and_look(), None);
    }
}

fn refused(answer: Answer) -> String {
    match answer {
        Err(Failure::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_hook_that_fails_at_start_ends_the_task() {
    let container = || {
        let mut container = rich();
        container.config["hooks"]["poststart"] = json!([{ "path": "/bin/false" }]);
        container
    };
    let Some(mut stage) = Stage::of(container) else { return };
    let init = stage.process("");
    let waited = stage.shim.send("Wait", &init);
    let why = refused(stage.shim.call("Start", &init));
    assert!(why.contains("poststart"), "{why}");
    assert_eq!(stage.status(waited), 137);
    eventually("its end is told", || stage.bundle.told().contains(&"/tasks/exit ".to_owned()));
    stage.shim.call("Delete", &init).expect("what has ended can be deleted");
    stage.end();
}

#[test]
fn stdin_that_is_closed_during_the_launch_ends() {
    let Some(mut stage) = Stage::of(rich) else { return };
    stage.start();
    let stdin = stage.bundle.directory().join("stdin");
    nix::unistd::mkfifo(&stdin, Mode::S_IRWXU).expect("our own fifo");
    stage.bundle.exec_of(&mut stage.shim, &["probe", "cat"], &stdin.to_string_lossy()).expect("added");
    let process = stage.process("e");
    let started = stage.shim.send("Start", &process);
    let close = CloseIoRequest { id: process.id.clone(), exec_id: process.exec_id.clone(), stdin: true };
    stage.shim.call("CloseIO", &close).expect("it is closed");
    stage.shim.answer("Start", started).expect("it is launched");
    let waited = stage.shim.send("Wait", &process);
    assert_eq!(stage.status(waited), 0);
    stage.end();
}

#[test]
fn who_waits_for_what_is_never_launched_is_told() {
    let Some(mut stage) = Stage::of(rich) else { return };
    stage.start();
    stage.bundle.exec_of(&mut stage.shim, &["/nowhere"], "").expect("added");
    let process = stage.process("e");
    let waited = stage.shim.send("Wait", &process);
    refused(stage.shim.call("Start", &process));
    refused(stage.shim.answer("Wait", waited));
    stage.shim.call("Delete", &process).expect("it is deleted");
    // Nor is one that nobody starts.
    stage.bundle.exec(&mut stage.shim).expect("added");
    let waited = stage.shim.send("Wait", &process);
    stage.shim.call("Delete", &process).expect("it is deleted");
    refused(stage.shim.answer("Wait", waited));
    stage.end();
}

#[test]
fn a_kill_during_the_launch_comes_after_it() {
    let Some(mut stage) = Stage::of(rich) else { return };
    stage.start();
    stage.bundle.exec_of(&mut stage.shim, &["probe", "sleep", "300"], "").expect("added");
    let (process, kill) = (stage.process("e"), stage.kill("e"));
    let started = stage.shim.send("Start", &process);
    stage.shim.call("Kill", &kill).expect("it is killed");
    stage.shim.answer("Start", started).expect("it was launched");
    let waited = stage.shim.send("Wait", &process);
    assert_eq!(stage.status(waited), 137);
    stage.end();
}

/// Without a pid namespace of its own no kernel sees to it.
#[test]
fn the_end_of_the_first_process_is_the_last_that_is_told() {
    let container = || {
        let mut container = rich();
        container.no_namespace("pid");
        container
    };
    let Some(mut stage) = Stage::of(container) else { return };
    stage.start();
    stage.bundle.exec_of(&mut stage.shim, &["probe", "sleep", "300"], "").expect("added");
    let (init, process) = (stage.process(""), stage.process("e"));
    stage.shim.call("Start", &process).expect("it is started");
    let waited = ["", "e"].map(|exec_id| stage.shim.send("Wait", &stage.process(exec_id)));
    let kill = stage.kill("");
    stage.shim.call("Kill", &kill).expect("the first is killed");
    assert_eq!(waited.map(|stream| stage.status(stream)), [137, 137]);
    let exits = || -> Vec<String> {
        stage.bundle.told().into_iter().filter(|topic| topic.starts_with("/tasks/exit")).collect()
    };
    eventually("both ends are told", || exits().len() == 2);
    assert_eq!(exits(), ["/tasks/exit e", "/tasks/exit "]);
    stage.shim.call("Delete", &init).expect("it is deleted");
    stage.end();
}
