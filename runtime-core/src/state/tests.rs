//! Tests on real directories, with several threads and processes at one container.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::*;

/// A directory of this test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("orlop-state-{}-{n}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn root(&self) -> StateRoot {
        StateRoot::open(&self.0.join("run")).unwrap()
    }

    fn state_file(&self, id: &str) -> PathBuf {
        self.0.join("run").join(id).join(STATE_FILE)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn sample(id: &str) -> State {
    let mut state = State::new(id, Path::new("/b\u{e9}/undle"));
    state.annotations.insert("a.b/c".into(), "\u{0}\n\"".into());
    state.net_devices.push(NetDevice { host_name: "eth9".into(), container_name: "eth0".into() });
    state.set_init(i32::try_from(std::process::id()).unwrap());
    state
}

#[test]
fn ids() {
    for good in ["a", "A-b_c+d.e", "...", "-", &"x".repeat(1024)] {
        validate_id(good).unwrap();
    }
    for (bad, why) in [
        ("", "cannot be empty"),
        (".", "name directories"),
        ("..", "name directories"),
        ("a/b", "only letters"),
        ("a b", "only letters"),
        ("a\n", "only letters"),
        ("a\0", "only letters"),
        ("\u{e4}", "only letters"),
        (&"x".repeat(1025), "longer than 1024"),
    ] {
        let error = validate_id(bad).unwrap_err().to_string();
        assert!(error.starts_with("invalid container ID format: ") && error.contains(why), "{error}");
    }
}

#[test]
fn a_new_root_is_private() {
    let scratch = Scratch::new();
    let path = scratch.0.join("a/b");
    StateRoot::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o1700);
    fs::write(scratch.0.join("file"), "").unwrap();
    let error = StateRoot::open(&scratch.0.join("file")).unwrap_err().to_string();
    assert!(error.starts_with("open ") && error.contains("/file: not a directory"), "{error}");
}

#[test]
fn a_record_that_is_known_is_not_read_again() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let container = root.reserve("c1").unwrap();
    let text = container.save_text(&sample("c1")).unwrap();
    let mut other = sample("c1");
    other.annotations.insert("of".into(), "what is in memory".into());
    let known = |text: &[u8]| Some(Known { text: text.to_vec(), state: other.clone() });
    assert_eq!(container.load_known(known(&text)).unwrap().as_ref(), Some(&other));
    // Somebody has changed it since.
    let mut changed = sample("c1");
    changed.annotations.insert("of".into(), "the disk".into());
    container.save(&changed).unwrap();
    assert_eq!(container.load_known(known(&text)).unwrap(), Some(changed));
}

#[test]
fn a_life() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let error = root.open_container("c1").unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "container does not exist: \"c1\"");

    let container = root.reserve("c1").unwrap();
    assert_eq!(container.load().unwrap(), None, "killed before the first record");
    let state = sample("c1");
    container.save(&state).unwrap();
    assert_eq!(container.load().unwrap().as_ref(), Some(&state));
    assert!(matches!(state.init(), ProcState::Alive(_)));
    assert!(!container.start_socket_exists());
    std::os::unix::net::UnixListener::bind(container.path().join(START_SOCKET)).unwrap();
    assert!(container.start_socket_exists());
    fs::create_dir_all(container.path().join("deep/er")).unwrap();
    fs::write(container.path().join("deep/er/file"), "x").unwrap();
    std::os::unix::fs::symlink("/", container.path().join("link")).unwrap();
    drop(container);

    let error = root.reserve("c1").unwrap_err().to_string();
    assert_eq!(error, "container with given ID already exists: \"c1\"");
    root.reserve("b2").unwrap();
    fs::create_dir(scratch.0.join("run/not an id")).unwrap();
    fs::write(scratch.0.join("run/file"), "").unwrap();
    assert_eq!(root.ids().unwrap(), ["b2", "c1"]);

    root.open_container("c1").unwrap().remove().unwrap();
    assert_eq!(root.ids().unwrap(), ["b2"]);
    assert!(root.open_shared("c1").unwrap_err().is_not_found());
}

#[test]
fn readers_do_not_wait_and_see_whole_records() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let container = root.reserve("c").unwrap();
    let mut state = sample("c");
    container.save(&state).unwrap();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // The lock is held all the while: a reader that waited for it would never end.
            for _ in 0..300 {
                assert_eq!(root.open_shared("c").unwrap().load().unwrap().unwrap().id, "c");
            }
            done.store(1, Ordering::Release);
        });
        for n in 0.. {
            state.annotations.insert("n".into(), "x".repeat(n % 5000));
            container.save(&state).unwrap();
            if done.load(Ordering::Acquire) == 1 {
                break;
            }
        }
    });
}

#[test]
fn one_of_many_reserves() {
    let scratch = Scratch::new();
    for round in 0..50 {
        let id = format!("c{round}");
        let barrier = Barrier::new(8);
        let won = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let root = scratch.root();
                    barrier.wait();
                    match root.reserve(&id) {
                        Ok(container) => {
                            won.fetch_add(1, Ordering::Relaxed);
                            container.save(&sample(&id)).unwrap();
                        }
                        Err(error) => assert!(matches!(error, StateError::AlreadyExists { .. }), "{error}"),
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 1);
    }
}

/// Creators and deleters of one id at once: never two in possession of it, and never an error but that it is there
/// or is not.
#[test]
fn creating_against_deleting() {
    const CREATORS: usize = 4;
    const EACH: usize = 50;
    let scratch = Scratch::new();
    let inside = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    let alone = || {
        assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0, "two have the lock");
        thread::yield_now();
        inside.fetch_sub(1, Ordering::AcqRel);
    };
    let create = || {
        let root = scratch.root();
        let mut created = 0;
        while created < EACH {
            match root.reserve("c") {
                Ok(container) => {
                    alone();
                    assert_eq!(container.load().unwrap(), None, "somebody else's record");
                    container.save(&sample("c")).unwrap();
                    created += 1;
                }
                Err(StateError::AlreadyExists { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        finished.fetch_add(1, Ordering::Release);
    };
    let delete = || {
        let root = scratch.root();
        while finished.load(Ordering::Acquire) < CREATORS {
            match root.open_container("c") {
                Ok(container) => {
                    alone();
                    container.remove().unwrap();
                }
                Err(StateError::NotFound { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CREATORS {
            scope.spawn(create);
            scope.spawn(delete);
        }
    });
}

#[test]
fn a_command_waits_for_the_one_before_and_finds_the_container_gone() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let first = root.reserve("c").unwrap();
    let late = AtomicUsize::new(0);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            let result = scratch.root().open_container("c");
            late.store(1, Ordering::Release);
            result.map(drop)
        });
        thread::sleep(Duration::from_millis(30));
        assert_eq!(late.load(Ordering::Acquire), 0, "it did not wait");
        first.remove().unwrap();
        assert!(second.join().unwrap().unwrap_err().is_not_found());
    });
}

#[test]
fn the_lock_ends_although_a_child_shares_it() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let container = root.reserve("c").unwrap();
    // Given as its standard input, the child has a duplicate of the locked open file.
    let shared = container.dir_fd().try_clone_to_owned().unwrap();
    let mut child = Command::new("/bin/sleep").arg("30").stdin(Stdio::from(shared)).spawn().unwrap();
    drop(container);
    let opened = root.open_container("c");
    child.kill().unwrap();
    child.wait().unwrap();
    opened.unwrap();
}

#[test]
fn what_a_killed_runtime_leaves_can_be_deleted() {
    let scratch = Scratch::new();
    let root = scratch.root();
    // After mkdir.
    fs::create_dir(scratch.0.join("run/c")).unwrap();
    let container = root.open_container("c").unwrap();
    assert_eq!(container.load().unwrap(), None);
    // While the first record is written, and while a later one is.
    fs::write(container.path().join("state.json.new"), "{\"state\":{\"ver").unwrap();
    assert_eq!(container.load().unwrap(), None);
    container.save(&sample("c")).unwrap();
    fs::write(container.path().join("state.json.new"), "{").unwrap();
    assert_eq!(container.load().unwrap().unwrap().id, "c");
    // While it is removed: the record goes last.
    fs::remove_file(scratch.state_file("c")).unwrap();
    assert_eq!(container.load().unwrap(), None);
    container.remove().unwrap();
    assert!(root.ids().unwrap().is_empty());
}

#[test]
fn what_a_crash_of_the_machine_leaves() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let container = root.reserve("c").unwrap();
    container.save(&sample("c")).unwrap();
    let path = scratch.state_file("c");
    let text = fs::read_to_string(&path).unwrap();

    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["boot_id"] = "11111111-2222-3333-4444-555555555555".into();
    fs::write(&path, value.to_string()).unwrap();
    let state = container.load().unwrap().unwrap();
    // On tmpfs a record cannot be of another boot.
    let tmpfs = nix::sys::statfs::statfs(&path).unwrap().filesystem_type() == nix::sys::statfs::TMPFS_MAGIC;
    assert_eq!(state.pid.is_none() && state.net_devices.is_empty() && state.phase == Phase::Stopping, !tmpfs);
    assert_eq!((state.id.as_str(), state.annotations.len()), ("c", 1));

    for torn in [String::new(), "\0".repeat(4096)] {
        fs::write(&path, torn).unwrap();
        assert_eq!(container.load().unwrap(), None);
    }
}

#[test]
fn records_that_are_none() {
    let scratch = Scratch::new();
    let container = scratch.root().reserve("c").unwrap();
    for (text, why) in [
        ("{", "EOF"),
        ("[]", "expected"),
        ("{}", "missing field `state`"),
        ("{\"state\":{}}", "it has no version"),
        ("{\"state\":{\"version\":1}}", "it has no id"),
        ("{\"state\":{\"version\":1,\"id\":7}}", "invalid type"),
        ("{\"state\":{\"version\":2,\"id\":\"c\"}}", "newer orlop"),
        ("{\"state\":{\"version\":9,\"id\":{\"new\":true}}}", "newer orlop"),
        (
            "{\"state\":{\"version\":1,\"id\":\"c\",\"cgroup\":{\"groups\":[{\"mountPoint\":\"/c\",\"path\":\"/c\"}],\"rootless\":false,\"explicit\":false}}}",
            "not a group below",
        ),
    ] {
        fs::write(scratch.state_file("c"), text).unwrap();
        let error = container.load().unwrap_err().to_string();
        assert!(error.contains("/run/c/state.json: ") && error.contains(why), "{text}: {error}");
    }
    // Neither may end in an overflow of the stack.
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(State::from_bytes(format!("{{\"state\":{{\"unknown\":{nested}}}}}").as_bytes()).is_err());
    assert!(State::from_bytes(format!("{{\"state\":{{\"version\":{nested}}}}}").as_bytes()).is_err());
    assert!(State::from_bytes(nested.as_bytes()).is_err());
    // Of another build of the same version: fields it does not know, and without those it does.
    let text = "{\"state\":{\"version\":1,\"id\":\"c\",\"later\":[1]},\"more\":0}";
    assert_eq!(State::from_bytes(text.as_bytes()).unwrap().id, "c");
}

#[test]
fn links_are_not_followed() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let container = root.reserve("c").unwrap();
    let outside = scratch.0.join("outside");
    fs::write(&outside, "mine").unwrap();
    std::os::unix::fs::symlink(&outside, container.path().join("state.json.new")).unwrap();
    assert!(container.save(&sample("c")).is_err());
    std::os::unix::fs::symlink(&outside, container.path().join(STATE_FILE)).unwrap();
    assert!(container.load().is_err());
    std::os::unix::fs::symlink(&scratch.0, scratch.0.join("run/l")).unwrap();
    assert!(root.open_container("l").is_err());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
}
