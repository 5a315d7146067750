//! config.md, "process.terminal" and "consoleSize"; config-linux.md on `/dev/console`; runc's console socket.

use std::fs::{self, File};

use conformance::harness::{
    ConsoleSocket, Container, Foreground, beyond_runc, eventually, is_root, require_root,
};
use nix::sys::termios::LocalFlags;
use serde_json::{Value, json};

fn with_terminal(args: &[&str]) -> Container {
    let mut container = Container::new();
    container.config["process"]["terminal"] = json!(true);
    container.args(args);
    container
}

/// Creates and starts a container whose terminal comes by a socket; returns what it shows.
#[track_caller]
fn shown(container: &Container) -> String {
    let socket = ConsoleSocket::new(container.directory());
    container.create_with(&["--console-socket", &socket.path.to_string_lossy()]).ok();
    let mut console = socket.console();
    container.runtime(&["start", &container.id]).ok();
    console.finish().to_owned()
}

#[track_caller]
fn report(container: &mut Container) -> Value {
    container.args(&["probe", "report", "--json"]);
    let text = shown(container);
    container.delete(&["--force"]).ok();
    fs::remove_file(container.directory().join("console.sock")).expect("our own file");
    serde_json::from_str(text.trim_end()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A foreground `run` in a terminal of 30 rows and 100 columns.
fn foreground(container: &Container, output: Option<File>) -> Foreground {
    container.runtime(&["--version"]).ok(); // writes config.json
    Foreground::start(container.command(&["run", &container.id]), 30, 100, output)
}

#[test]
fn the_three_streams_are_the_terminal() {
    let report = report(&mut with_terminal(&[]));
    for stream in ["stdin", "stdout", "stderr"] {
        assert_eq!(report["terminal"][stream]["isatty"], true, "{stream}");
    }
    let open: Vec<_> =
        report["descriptors"].as_array().expect("a list").iter().map(|fd| fd["fd"].clone()).collect();
    assert_eq!(open, [0, 1, 2], "{}", report["descriptors"]);
}

/// "/dev/console is set up if terminal is enabled in the config by bind mounting the pseudoterminal pty to
/// /dev/console."
#[test]
fn the_console_is_the_terminal() {
    let report = report(&mut with_terminal(&[]));
    let devices = report["devices"].as_array().expect("a list");
    let console = devices.iter().find(|device| device["path"] == "/dev/console").expect("a console");
    assert_eq!((&console["type"], &console["major"]), (&json!("c"), &json!(136)));
    assert_eq!(
        report["mounts"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one["destination"] == "/dev/console")
            .count(),
        1
    );
}

/// The terminal is one of the container's own instance of devpts, so that ttyname works inside.
#[test]
fn the_terminal_has_a_name_inside() {
    let report = report(&mut with_terminal(&[]));
    let name = report["terminal"]["stdin"]["name"].as_str().unwrap_or_default().to_owned();
    assert!(name == "/dev/pts/0" || name == "/dev/console", "{name}");
}

/// "consoleSize (object, OPTIONAL) specifies the console size in characters of the terminal."
#[test]
fn the_console_has_the_configs_size() {
    let mut container = with_terminal(&[]);
    container.config["process"]["consoleSize"] = json!({ "height": 41, "width": 123 });
    let report = report(&mut container);
    assert_eq!(report["terminal"]["stdin"]["rows"], 41);
    assert_eq!(report["terminal"]["stdin"]["columns"], 123);
}

#[test]
fn the_console_size_is_nothing_without_a_terminal() {
    let mut container = Container::new();
    container.config["process"]["consoleSize"] = json!({ "height": 41, "width": 123 });
    assert_eq!(container.report()["terminal"]["stdin"]["isatty"], false);
}

/// It is the controlling terminal of the container's session.
#[test]
fn the_terminal_controls_the_session() {
    let container = with_terminal(&["probe", "open-rw", "/dev/tty"]);
    assert_eq!(shown(&container).trim_end(), "ok");
}

#[test]
fn what_is_typed_arrives() {
    let container = with_terminal(&["probe", "cat"]);
    let socket = ConsoleSocket::new(container.directory());
    container.create_with(&["--console-socket", &socket.path.to_string_lossy()]).ok();
    let mut console = socket.console();
    container.runtime(&["start", &container.id]).ok();
    console.send("hello\n\x04");
    // Once by the echo, once by cat.
    let text = console.finish().replace('\r', "");
    assert_eq!(text.matches("hello\n").count(), 2, "{text:?}");
}

#[test]
fn the_interrupt_key_sends_a_signal() {
    let container = with_terminal(&["probe", "trap", "INT"]);
    let socket = ConsoleSocket::new(container.directory());
    container.create_with(&["--console-socket", &socket.path.to_string_lossy()]).ok();
    let mut console = socket.console();
    container.runtime(&["start", &container.id]).ok();
    console.expect("ready");
    console.send("\x03");
    console.expect("SIGINT");
}

/// The terminal belongs to the container's user, who could not open it again otherwise.
#[test]
fn the_terminal_belongs_to_the_containers_user() {
    if !require_root() {
        return;
    }
    let mut container = with_terminal(&[]);
    container.config["process"]["user"] = json!({ "uid": 1001, "gid": 1002 });
    container.args(&["probe", "seq", "--", "stat", "/dev/pts/0", "--", "open-rw", "/dev/tty"]);
    let text = shown(&container).replace('\r', "");
    let (line, rest) = text.split_once('\n').expect("two lines");
    let stat: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(stat["uid"], 1001);
    assert_eq!(rest, "ok\n");
}

#[test]
fn no_console_socket_is_an_error_for_create() {
    let container = with_terminal(&["probe", "true"]);
    container.create().fails_with("console");
    container.assert_clean();
}

#[test]
fn no_console_socket_is_an_error_for_a_detached_run() {
    let container = with_terminal(&["probe", "true"]);
    container.run_with(&["--detach"]).fails_with("console");
    container.assert_clean();
}

#[test]
fn a_console_socket_without_a_terminal_is_an_error() {
    let container = Container::new();
    let socket = ConsoleSocket::new(container.directory());
    container.create_with(&["--console-socket", &socket.path.to_string_lossy()]).fails_with("console");
    container.assert_clean();
}

#[test]
fn a_console_socket_nobody_listens_on_is_an_error() {
    let container = with_terminal(&["probe", "true"]);
    let path = container.directory().join("nobody.sock");
    container.create_with(&["--console-socket", &path.to_string_lossy()]).fails_with("nobody.sock");
    container.assert_clean();
}

/// In the foreground the runtime copies between its own terminal and the container's; one of the two, not both and
/// not neither, makes a new line of a line feed.
#[test]
fn a_foreground_run_shows_what_is_written() {
    let container = with_terminal(&["probe", "echo", "hi"]);
    let (status, text) = foreground(&container, None).wait();
    assert_eq!(status.code(), Some(0), "{text:?}");
    assert_eq!(text, "hi\r\n");
}

/// crun fails here.  ONLCR is off inside (crun leaves it on), so that the file has what the program wrote.
#[test]
fn a_foreground_run_may_write_to_a_file() {
    let container = with_terminal(&["probe", "echo", "hi"]);
    let path = container.directory().join("shown");
    let file = File::create(&path).expect("our own file");
    let (status, text) = foreground(&container, Some(file)).wait();
    assert_eq!(status.code(), Some(0), "{text:?}");
    assert_eq!(fs::read_to_string(path).expect("our own file"), "hi\n");
}

#[test]
fn a_foreground_run_returns_the_status() {
    let container = with_terminal(&["probe", "exit", "9"]);
    assert_eq!(foreground(&container, None).wait().0.code(), Some(9));
}

/// A program that ends at once has its last words shown all the same.
#[test]
fn nothing_is_lost_at_the_end() {
    let container = with_terminal(&["probe", "cat", "/etc/long"]);
    let text: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    fs::write(container.rootfs("etc/long"), &text).expect("our own file");
    let (_, seen) = foreground(&container, None).wait();
    assert_eq!(seen, text.replace('\n', "\r\n"));
}

/// While the container runs the outer terminal is raw; afterwards it is as it was before.
#[test]
fn the_outer_terminal_is_restored() {
    let container = with_terminal(&["probe", "trap", "INT"]);
    let mut running = foreground(&container, None);
    running.console.expect("ready");
    let cooked = LocalFlags::ICANON | LocalFlags::ECHO;
    assert!(!running.settings().local_flags.intersects(cooked), "raw while it runs");
    running.console.send("\x03");
    running.console.expect("SIGINT");
    eventually("the terminal is as it was", || running.settings().local_flags.contains(cooked));
    assert!(running.wait().0.success());
}

#[test]
fn a_foreground_run_has_the_size_of_the_outer_terminal() {
    if beyond_runc("it sets the size when the program may already have asked") {
        return;
    }
    let container = with_terminal(&["probe", "report", "--json"]);
    let (_, text) = foreground(&container, None).wait();
    let report: Value =
        serde_json::from_str(text.trim_end()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(report["terminal"]["stdin"]["rows"], 30);
    assert_eq!(report["terminal"]["stdin"]["columns"], 100);
}

#[test]
fn a_new_size_is_handed_on() {
    if beyond_runc("the late first size may be taken for the new one") {
        return;
    }
    let container = with_terminal(&["probe", "seq", "--", "trap", "WINCH", "--", "report", "--json"]);
    let mut running = foreground(&container, None);
    running.console.expect("ready");
    running.console.resize(33, 77);
    running.console.expect("SIGWINCH");
    let (_, text) = running.wait();
    let line = text.lines().find(|line| line.starts_with('{')).expect("the report");
    let report: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(report["terminal"]["stdin"]["rows"], 33);
    assert_eq!(report["terminal"]["stdin"]["columns"], 77);
}

#[test]
fn a_foreground_run_hands_the_interrupt_key_on() {
    let container = with_terminal(&["probe", "trap", "INT"]);
    let mut running = foreground(&container, None);
    running.console.expect("ready");
    running.console.send("\x03");
    let (status, text) = running.wait();
    assert_eq!(status.code(), Some(0), "{text:?}");
    assert!(text.contains("SIGINT"), "{text:?}");
}

#[test]
fn a_terminal_works_in_a_user_namespace() {
    let mut container =
        if is_root() { Container::as_user(conformance::harness::NOBODY) } else { Container::new() };
    container.config["process"]["terminal"] = json!(true);
    container.args(&["probe", "echo", "hi"]);
    let (status, text) = foreground(&container, None).wait();
    assert_eq!(status.code(), Some(0), "{text:?}");
    assert_eq!(text, "hi\r\n");
}
