//! The runtime, or the process it makes, is killed: before every system call, and at random times under load.

use std::time::Duration;

use conformance::harness::Container;

use super::{calls, can_sweep, choose, delete_and_look, full, inject_at, rich};

/// Of the points every so manieth, beginning at another one each time.
const STEP: usize = 9;

fn sweep(name: &str, mut container: Container, prepare: &dyn Fn(&mut Container), words: &[&str]) {
    prepare(&mut container);
    let id = container.id.clone();
    let words: Vec<&str> = words.iter().map(|word| if *word == "ID" { id.as_str() } else { word }).collect();
    let points = calls(&container, &words);
    assert_eq!(delete_and_look(&container), None, "{name}: without a kill");
    let chosen = choose(&points, STEP);
    let mut wrong = Vec::new();
    for point in &chosen {
        prepare(&mut container);
        let by = inject_at(point, &["--kill"]);
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        // How it ends is the kill's doing; that it ends, the injector sees to.
        let output = container.runtime_by(&by, &words);
        let what = format!("{name}: {} killed before call {} number {}", point.half, point.call, point.at);
        if output.stderr.contains("inject: hung") {
            wrong.push(format!("{what}: it hung"));
        }
        if let Some(why) = delete_and_look(&container) {
            wrong.push(format!("{what}: {why}"));
        }
    }
    println!("{name}: killed at {} of {} calls, {} left something", chosen.len(), points.len(), wrong.len());
    assert!(!chosen.is_empty(), "{name}: no points");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn running(container: &mut Container) {
    container.launch(&["probe", "sleep", "300"]);
}

fn created(container: &mut Container) {
    container.args(&["probe", "sleep", "300"]);
    container.create().ok();
}

fn nothing(container: &mut Container) {
    container.args(&["probe", "true"]);
}

#[test]
fn kills_of_run_create_and_start() {
    if !can_sweep() {
        return;
    }
    let bundle = |container: &Container| container.directory().to_string_lossy().into_owned();
    let container = rich();
    let place = bundle(&container);
    sweep("run", container, &nothing, &["run", "--bundle", &place, "ID"]);
    let container = rich();
    let place = bundle(&container);
    sweep("create", container, &nothing, &["create", "--bundle", &place, "ID"]);
    sweep("start", rich(), &created, &["start", "ID"]);
}

#[test]
fn kills_of_exec_update_pause_resume_kill_and_delete() {
    if !can_sweep() {
        return;
    }
    sweep("exec", rich(), &running, &["exec", "ID", "probe", "true"]);
    sweep("update", rich(), &running, &["update", "--pids-limit", "50", "ID"]);
    sweep("pause", rich(), &running, &["pause", "ID"]);
    let paused = |container: &mut Container| {
        running(container);
        container.runtime(&["pause", &container.id]).ok();
    };
    sweep("resume", rich(), &paused, &["resume", "ID"]);
    sweep("delete of what is paused", rich(), &paused, &["delete", "--force", "ID"]);
    sweep("kill", rich(), &running, &["kill", "ID", "KILL"]);
    sweep("delete", rich(), &running, &["delete", "--force", "ID"]);
}

/// Containers are made, entered and deleted side by side, and the runtime is killed at times that nobody has chosen.
#[test]
fn kills_at_random_times_under_load() {
    if !can_sweep() {
        return;
    }
    let rounds = if full() { 200 } else { 25 };
    let killed: usize = std::thread::scope(|scope| {
        let worker = |seed: u64| scope.spawn(move || under_load(seed, rounds));
        let workers: Vec<_> = (0..4).map(worker).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker ends")).sum()
    });
    println!("under load: {killed} of {} killed, nothing left", 4 * rounds);
    assert!(killed > rounds, "hardly any was killed: {killed}");
}

fn under_load(seed: u64, rounds: usize) -> usize {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
    let mut container = rich();
    container.args(&["probe", "sleep", "300"]);
    let bundle = container.directory().to_string_lossy().into_owned();
    let mut killed = 0;
    // How long each command may live, in microseconds: shorter after one that had ended by itself, longer after one
    // that was killed, so that the kills fall into its life on a fast machine as on a loaded one.
    let mut longest = [10_000_u64; 5];
    for round in 0..rounds {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let id = container.id.clone();
        let commands: [&[&str]; 5] = [
            &["run", "--detach", "--bundle", &bundle, &id],
            &["create", "--bundle", &bundle, &id],
            &["exec", &id, "probe", "true"],
            &["pause", &id],
            &["delete", "--force", &id],
        ];
        let command = commands[round % 5];
        let longest = &mut longest[round % 5];
        if round % 5 > 1 {
            let _ = container.runtime(&["run", "--detach", "--bundle", &bundle, &id]);
        }
        let running = container.spawn(command);
        std::thread::sleep(Duration::from_micros(random % *longest));
        let was_killed = running.kill_now();
        *longest = if was_killed { *longest * 3 / 2 } else { (*longest / 2).max(200) };
        killed += usize::from(was_killed);
        if let Some(why) = delete_and_look(&container) {
            panic!("{command:?} killed: {why}");
        }
    }
    killed
}
