//! The conformance suite itself (`conformance run`): the runtime under test passes all of it, and a runtime that does not is found out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conformance::harness::{Kind, eventually, kind, probe_path, runtime_path, skip};

fn suite(words: &[&str]) -> Output {
    let own = std::env::current_exe().expect("the running test has a path");
    // Tests live in `deps`, programs one directory up; or all in one place.
    let found = own.ancestors().skip(1).take(2).map(|place| place.join("conformance"));
    let program = found.into_iter().find(|file| file.is_file()).expect("the conformance program is built");
    let mut command = Command::new(program);
    command.args(words).env("ORLOP_PROBE", probe_path().canonicalize().expect("the probe is built"));
    command.output().expect("it can be executed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The names of the tests of a run that failed.
fn failed(tap: &str) -> Vec<&str> {
    let points = tap.lines().filter_map(|line| line.strip_prefix("not ok "));
    points.filter_map(|line| line.split(' ').nth(2)).collect()
}

#[test]
fn the_runtime_passes_every_test() {
    if kind() != Kind::Other {
        skip("runc and crun do not pass all: docs/conformance.md says what");
        return;
    }
    let runtime = runtime_path();
    let output = suite(&["run", "--strict", "--runtime", &runtime.to_string_lossy()]);
    let tap = text(&output.stdout);
    assert!(output.status.success(), "{tap}\n{}", text(&output.stderr));
    assert_eq!(failed(&tap), [""; 0], "{tap}");
    let passed = tap.lines().filter(|line| line.starts_with("ok ") && !line.contains("# SKIP")).count();
    // Most need nothing that an ordinary user has not.
    assert!(passed >= 120, "{passed} passed:\n{tap}");
}

/// A directory with a script in place of the runtime.
struct Broken(PathBuf);

impl Broken {
    /// The runtime with `change` before it: lines of shell, in which `$command` is the operation.
    fn new(name: &str, change: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("orlop-broken-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory of our own");
        let runtime = runtime_path().canonicalize().expect("the runtime is built");
        // Global arguments are `--root DIR`; the operation comes third.
        let script = format!(
            "#!/bin/sh\nruntime='{}'\ncommand=$3\n{change}\nexec \"$runtime\" \"$@\"\n",
            runtime.display()
        );
        let path = directory.join("broken");
        // Written by another process: one that is forked meanwhile would keep our descriptor open for writing, and the script
        // could not be executed ("text file busy").
        let status =
            Command::new("sh").args(["-c", "printf %s \"$1\" >\"$2\"", "sh", &script]).arg(&path).status();
        assert!(status.expect("sh can be executed").success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
        Self(directory)
    }

    fn run(&self, filter: &str) -> Output {
        self.run_with(&["--filter", filter])
    }

    fn run_with(&self, more: &[&str]) -> Output {
        let path: &Path = &self.0.join("broken");
        suite(&[&["run", "--runtime", &path.to_string_lossy()], more].concat())
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The control: a runtime that forgets one thing fails the test of that, and no other.
#[test]
fn a_runtime_that_forgets_annotations_is_found_out() {
    let broken = Broken::new(
        "annotations",
        "if [ \"$command\" = state ]; then
             said=$(\"$runtime\" \"$@\") || exit 1
             printf '%s\\n' \"$said\" | sed 's/com.example.key/com.example.lost/'
             exit
         fi",
    );
    let output = broken.run("state");
    let tap = text(&output.stdout);
    assert_eq!(failed(&tap), ["state-annotations"], "{tap}");
    assert_eq!(output.status.code(), Some(1), "{tap}");
}

/// An error that is passed off as success.
#[test]
fn a_runtime_that_kills_nothing_is_found_out() {
    let broken = Broken::new("kill", "if [ \"$command\" = kill ] && [ \"$5\" = TERM ]; then exit 0; fi");
    let output = broken.run("kill-stopped");
    assert_eq!(failed(&text(&output.stdout)), ["kill-stopped"], "{}", text(&output.stdout));
}

/// A SHOULD does not fail the run, but where that is asked for.
#[test]
fn a_should_that_is_not_met_is_told() {
    // Without /proc no unknown capability is looked at; the config is changed before the runtime reads it.
    let broken = Broken::new(
        "should",
        "if [ \"$command\" = create ]; then sed -i 's/\"size=64k\"/\"size=128k\"/' \"$5/config.json\"; fi",
    );
    let output = broken.run("mounts-data");
    assert_eq!(failed(&text(&output.stdout)), ["mounts-data"], "{}", text(&output.stdout));
    assert!(output.status.success());
    assert!(!broken.run_with(&["--strict", "--filter", "mounts-data"]).status.success());
}

/// A test that hangs is ended, and what it started is cleared away.
#[test]
fn a_runtime_that_hangs_is_ended() {
    // A number that no other process sleeps for.
    let time = format!("600.{}", std::process::id());
    let broken = Broken::new("hangs", &format!("if [ \"$command\" = start ]; then exec sleep {time}; fi"));
    let output = broken.run_with(&["--timeout", "2", "--filter", "start-runs-args"]);
    let tap = text(&output.stdout);
    assert_eq!(failed(&tap), ["start-runs-args"], "{tap}");
    assert!(tap.contains("took longer than 2 s"), "{tap}");
    eventually("the process of the broken runtime is gone", || {
        let processes = fs::read_dir("/proc").expect("procfs").flatten();
        !processes
            .into_iter()
            .any(|entry| text(&fs::read(entry.path().join("cmdline")).unwrap_or_default()).contains(&time))
    });
}

#[test]
fn the_list_has_citations() {
    let output = suite(&["run", "--list", "--filter", "hooks-order"]);
    let list = text(&output.stdout);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(
        list.lines().all(|line| line.contains("MUST") && line.contains("config.md#posix-platform-hooks")),
        "{list}"
    );
}

/// The forms that other programs read.
#[test]
fn junit_and_the_matrix_are_written() {
    let runtime = runtime_path();
    let runtime = runtime.to_string_lossy();
    let output = suite(&["run", "--format", "junit", "--filter", "query-", "--runtime", &runtime]);
    let xml = text(&output.stdout);
    assert!(xml.contains("tests=\"2\" failures=\"0\"") && xml.ends_with("</testsuite>\n"), "{xml}");
    let directory = Broken::new("matrix", "");
    let (markdown, html) = (directory.0.join("m.md"), directory.0.join("m.html"));
    let own = format!("one={runtime}");
    let other = format!("two={}", directory.0.join("broken").display());
    let words =
        ["matrix", "--cgroup-view", "host", "--filter", "query-", "--runtime", &own, "--runtime", &other];
    let files = ["--markdown", &markdown.to_string_lossy(), "--html", &html.to_string_lossy()];
    let output = suite(&[&words[..], &files[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let markdown = fs::read_to_string(markdown).expect("it was written");
    assert!(markdown.contains("| query-unknown | query-state | MUST | pass | pass |"), "{markdown}");
    assert!(fs::read_to_string(html).expect("it was written").contains("<td class=\"pass\">pass</td>"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for words in
        [&["run", "--filter", "no such test"][..], &["run", "--bogus"], &["run", "--runtime", "/nowhere"]]
    {
        assert!(!suite(words).status.success(), "{words:?}");
    }
}
