//! The shim's `start` is killed, and its calls fail: no shim is left that containerd does not know of, and the next `start` works.

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitStatus;

use conformance::harness::eventually;
use nix::errno::Errno;

use super::faults::{errors_of_a_shim, is_memory};
use super::shim::Bundle;
use super::{Point, can_sweep, choose, inject, inject_at, read_points};

/// Of the points every so manieth, beginning at another one each time.
const STEP: usize = 9;

/// How a `start` has ended, and whether containerd has its answer.
struct Started {
    status: ExitStatus,
    answered: bool,
}

fn start(bundle: &Bundle, by: &[String]) -> Started {
    let answer = bundle.directory().join("answer");
    let socket = bundle.socket();
    let words = ["-socket", &socket.to_string_lossy(), "start"];
    let mut command = bundle.command(by, &words);
    command.stdout(File::create(&answer).expect("our own file"));
    let status = command.status().expect("the shim can be started");
    let address = format!("unix://{}", socket.display());
    Started { status, answered: fs::read_to_string(answer).expect("our own file") == address }
}

/// What is wrong after a `start`, for which containerd does what it does: it calls a shim of which it was told, and asks it to end.
fn judge(bundle: &Bundle, started: &Started, may_be_killed: bool) -> Option<String> {
    let said = bundle.said();
    let mut wrong = Vec::new();
    for bad in ["inject: hung", "panicked"] {
        if said.contains(bad) {
            wrong.push(format!("{bad}: {said}"));
        }
    }
    if !may_be_killed && started.status.code().is_none_or(|code| code >= 128) {
        wrong.push(format!("it was ended by a signal, {}: {said}", started.status));
    }
    if started.status.success() {
        if !started.answered {
            return Some("it has succeeded without an answer".to_owned());
        }
        let why = bundle.shut_down().err();
        // A shim that was killed before it ran may not quite be gone when `start` tells it; that is as if it were killed later.
        wrong.extend(why.filter(|_| !may_be_killed).map(|why| format!("the shim cannot be called: {why}")));
    }
    // It ends by itself, or was never there.
    wrong.extend(bundle.container.left_behind());
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// A `start` after it, as of the same container once more, finds nothing in its way; nor does `delete`, which is for its shim.
fn next(bundle: &Bundle) -> Option<String> {
    let started = start(bundle, &[]);
    if !started.status.success() {
        return Some(format!("the next start fails, {}: {}", started.status, bundle.said()));
    }
    let wrong = judge(bundle, &started, false).or_else(|| bundle.delete_and_look());
    wrong.map(|why| format!("the next start: {why}"))
}

/// The calls of a `start`, in order.
fn points(bundle: &Bundle) -> Vec<Point> {
    let list = bundle.directory().join("calls");
    let started = start(bundle, &inject(&["--calls", &list.to_string_lossy()]));
    assert!(started.status.success(), "without a fault: {}", bundle.said());
    assert_eq!(judge(bundle, &started, false), None, "without a fault");
    read_points(&list)
}

fn begin(bundle: &Bundle) {
    fs::write(bundle.directory().join("stderr"), "").expect("our own file");
    let _ = fs::remove_file(bundle.directory().join("address"));
}

#[test]
fn kills_of_the_shims_start() {
    if !can_sweep() {
        return;
    }
    let bundle = Bundle::new();
    let points = points(&bundle);
    let chosen = choose(&points, STEP);
    let (mut unknown, mut wrong) = (0, Vec::new());
    for point in &chosen {
        begin(&bundle);
        let mut started = start(&bundle, &inject_at(point, &["--kill"]));
        let what = format!("{} killed before call {} number {}", point.half, point.call, point.at);
        if started.answered && !started.status.success() && Path::new(&bundle.socket()).exists() {
            // Only the end of `start` itself was left: the shim waits for a call that does not come, and would for ten minutes.
            let known = || bundle.shut_down().is_ok() || !bundle.socket().exists();
            eventually(&format!("{what}: a shim whose start has answered can be called, or ends"), known);
            unknown += 1;
            started.answered = false;
        }
        let why = judge(&bundle, &started, true).or_else(|| next(&bundle));
        wrong.extend(why.map(|why| format!("{what}: {why}")));
    }
    println!(
        "the shim's start: killed at {} of {} calls, {unknown} after it had answered, {} left something",
        chosen.len(),
        points.len(),
        wrong.len()
    );
    assert!(!chosen.is_empty(), "no points");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn faults_of_the_shims_start() {
    if !can_sweep() {
        return;
    }
    let bundle = Bundle::new();
    let points = points(&bundle);
    let (mut tried, mut failed, mut wrong) = (0, 0, Vec::new());
    // Of many calls nothing is listed that could go wrong.
    for point in choose(&points, STEP / 3) {
        for errno in errors_of_a_shim(point.call) {
            begin(&bundle);
            let started = start(&bundle, &inject_at(point, &["--errno", &errno.to_string()]));
            tried += 1;
            failed += usize::from(!started.status.success());
            let errno = Errno::from_raw(*errno);
            let what = format!("{} call {} number {} with {errno:?}", point.half, point.call, point.at);
            let why = judge(&bundle, &started, is_memory(point.call)).or_else(|| next(&bundle));
            wrong.extend(why.map(|why| format!("{what}: {why}")));
        }
    }
    println!(
        "the shim's start: {tried} faults at {} calls: {failed} failed, the others were borne; {} left something",
        points.len(),
        wrong.len()
    );
    assert!(tried > 10, "hardly a fault");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
