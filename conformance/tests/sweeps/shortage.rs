//! Something runs out: descriptors, space for the state, memory; and signals interrupt every call that they can.

use conformance::harness::Container;

use super::{can_sweep, delete_and_look, differences, inject, parse, protection, rich, unclean};

/// Runs the container by way of `prefix`; what is wrong with how it went.
fn try_run(container: &Container, prefix: &[&str], usual: &serde_json::Value) -> (bool, Option<String>) {
    let bundle = container.directory().to_string_lossy().into_owned();
    let output = container.runtime_by(prefix, &["run", "--bundle", &bundle, &container.id]);
    let mut wrong = unclean(&output);
    if output.status.success() {
        wrong = match parse(&output.stdout) {
            None => Some("it succeeded, and nothing ran".to_owned()),
            Some(report) => {
                let differences = differences(usual, &protection(&report));
                (!differences.is_empty()).then(|| differences.join("; "))
            }
        };
    }
    (output.status.success(), wrong.or_else(|| delete_and_look(container)))
}

fn reporter() -> (Container, serde_json::Value) {
    let mut container = rich();
    container.args(&["probe", "report", "--json", "net.ipv4.ip_forward"]);
    let usual = protection(&container.run().json());
    (container, usual)
}

/// With every limit on descriptors from none to enough.
#[test]
fn descriptors_run_out() {
    if !can_sweep() {
        return;
    }
    let (container, usual) = reporter();
    let (mut ran, mut wrong) = (0, Vec::new());
    for limit in 3..=64 {
        let script = format!("ulimit -S -n {limit}; exec \"$@\"");
        let (success, why) = try_run(&container, &["sh", "-c", &script, "sh"], &usual);
        ran += usize::from(success);
        wrong.extend(why.map(|why| format!("{limit} descriptors: {why}")));
    }
    println!("descriptors: 62 limits, {ran} were enough");
    assert!(ran > 0, "64 descriptors are enough");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The state directory is on a file system that is full sooner or later: by inodes, and by bytes.
#[test]
fn space_for_the_state_runs_out() {
    if !can_sweep() {
        return;
    }
    let (container, usual) = reporter();
    let state = container.state_root().to_string_lossy().into_owned();
    let (mut tried, mut ran, mut wrong) = (0, 0, Vec::new());
    let inodes = (1..=12).map(|n| format!("nr_inodes={n}"));
    let bytes = (0..=12).map(|pages| format!("size={},nr_inodes=100", (pages + 1) * 4096));
    for options in inodes.chain(bytes) {
        // In a mount namespace of its own, in which the container is deleted too: its state goes away with it.
        let script = format!(
            "mount -t tmpfs -o {options} none {state}; \"$@\"; st=$?; \"$1\" --root {state} delete --force {} || exit 99; exit $st",
            container.id
        );
        let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        let (success, why) = try_run(&container, &prefix, &usual);
        tried += 1;
        ran += usize::from(success);
        wrong.extend(why.map(|why| format!("{options}: {why}")));
    }
    println!("space for the state: {tried} sizes, {ran} were enough");
    assert!(ran > 0 && ran < tried, "{ran} of {tried} ran");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A signal interrupts every other call that can be interrupted: nothing may come of it.
#[test]
fn signals_interrupt() {
    if !can_sweep() {
        return;
    }
    let (mut container, usual) = reporter();
    let by = inject(&["--interrupt"]);
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    let (success, why) = try_run(&container, &by, &usual);
    assert!(success && why.is_none(), "run: success {success}, {why:?}");
    container.args(&["probe", "sleep", "300"]);
    let bundle = container.directory().to_string_lossy().into_owned();
    let id = container.id.clone();
    let commands: [&[&str]; 8] = [
        &["create", "--bundle", &bundle, &id],
        &["start", &id],
        &["exec", &id, "probe", "true"],
        &["pause", &id],
        &["resume", &id],
        &["update", "--pids-limit", "50", &id],
        &["kill", &id, "KILL"],
        &["delete", "--force", &id],
    ];
    for words in commands {
        let output = container.runtime_by(&by, words);
        assert!(output.status.success(), "interrupted: {output}");
    }
}
