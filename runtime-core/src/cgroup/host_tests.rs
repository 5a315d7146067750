//! Tests on the hierarchies of the host, in groups with names of their own.
//!
//! They need root and mounted hierarchies, and say so where they are left out.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;

/// Tells a test run by another test which part is its own.
const PART: &str = "ORLOP_CGROUP_TEST_PART";

/// A path for the groups of one test; whatever happens, they and their processes are gone at its end.
struct Place {
    name: String,
    layout: Layout,
}

impl Place {
    fn on(layout: Layout) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("/orlop-test-{}-{n}", std::process::id()), layout }
    }

    fn placement(&self, below: &str) -> Placement {
        let path = format!("{}{below}", self.name);
        place(&self.layout, &OwnCgroups::default(), Some(&path), "unused", false).unwrap()
    }

    /// Surveyed and made.
    fn made(&self, below: &str) -> Placement {
        let mut placement = self.placement(below);
        placement.survey().unwrap();
        assert_eq!(placement.create(&[]).unwrap(), Created::Yes);
        placement
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let all = self.placement("");
        all.kill_all(libc::SIGKILL).unwrap();
        all.remove().unwrap();
        assert!(!all.exists());
    }
}

/// A process that is killed and reaped at the end of its test.
struct Process(Child);

impl Process {
    fn shell(script: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        Self(shell.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap())
    }

    fn sleeping() -> Self {
        Self(Command::new("/bin/sleep").arg("60").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn signal_that_ended_it(&mut self) -> Option<i32> {
        self.0.wait().unwrap().signal()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The layouts to test on: the host's, and each version by itself as far as it has both.
fn layouts() -> Vec<Layout> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root may make control groups");
        return Vec::new();
    }
    let (layout, _) = detect().unwrap();
    let mut all = match &layout {
        Layout::None => {
            eprintln!("skipped: no control group hierarchy is mounted");
            return Vec::new();
        }
        Layout::Hybrid { controllers, unified } => {
            vec![Layout::V1(controllers.clone()), Layout::V2(unified.clone())]
        }
        Layout::V1(_) | Layout::V2(_) => Vec::new(),
    };
    all.push(layout);
    all
}

fn places() -> impl Iterator<Item = Place> {
    layouts().into_iter().map(Place::on)
}

/// The groups that the kernel says a process is in.
fn groups_of(pid: i32) -> OwnCgroups {
    OwnCgroups::parse(&fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap())
}

/// Whether a process has a handler for a signal.
fn catches(pid: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:\t")).unwrap();
    u64::from_str_radix(caught, 16).unwrap() & 1 << (signal - 1) != 0
}

fn until(what: &str, mut test: impl FnMut() -> bool) {
    let started = Instant::now();
    while !test() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_group_in_every_hierarchy_and_nothing_after() {
    for place in places() {
        let placement = place.made("/parent/leaf");
        let mut process = Process::sleeping();
        placement.join(process.pid()).unwrap();
        let expected = format!("{}/parent/leaf", place.name);
        let seen = groups_of(process.pid());
        for hierarchy in place.layout.v1() {
            assert_eq!(seen.v1_path(&hierarchy.label), Some(expected.as_str()), "{}", hierarchy.label);
        }
        if place.layout.v2().is_some() {
            assert_eq!(seen.v2.as_deref(), Some(expected.as_str()));
        }
        assert_eq!(placement.v2_fd().unwrap().is_some(), place.layout.v2().is_some());
        assert_eq!(placement.procs(true).unwrap(), [process.pid()]);
        assert!(!placement.is_frozen().unwrap());

        let error = placement.remove_within(Duration::from_millis(5)).unwrap_err();
        assert!(error.to_string().contains(&format!("by process(es) {}", process.pid())), "{error}");
        placement.kill_all(libc::SIGKILL).unwrap();
        assert_eq!(process.signal_that_ended_it(), Some(libc::SIGKILL));
        placement.remove().unwrap();
        for group in placement.groups() {
            let top = group.mount_point.join(place.name.trim_start_matches('/'));
            assert!(!top.exists(), "{}", top.display());
        }
        placement.remove().unwrap();
        placement.kill_all(libc::SIGKILL).unwrap();
        assert!(placement.procs(true).unwrap().is_empty() && !placement.exists());
    }
}

#[test]
fn a_process_puts_itself_in() {
    for place in places() {
        let placement = place.made("/c");
        let files = placement.task_files().unwrap();
        assert_eq!(files.len(), place.layout.v1().len());
        for (file, group) in files.into_iter().zip(placement.groups()) {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "echo 0; read go"]).stdin(Stdio::piped()).stdout(file);
            let process = Process(shell.spawn().unwrap());
            until("inside", || files::pids_in(&group.path).unwrap() == [process.pid()]);
        }
        placement.remove().unwrap();
    }
}

#[test]
fn parents_that_were_there_stay() {
    for place in places() {
        let parents = place.placement("/a");
        for group in parents.groups() {
            fs::create_dir_all(&group.path).unwrap();
        }
        place.made("/a/b").remove().unwrap();
        assert!(parents.groups().iter().all(|g| g.path.exists()), "not ours to remove");
        place.made("/a/b/c").remove().unwrap();
        assert!(parents.groups().iter().all(|g| g.path.exists()), "not ours to remove");
        assert!(!place.placement("/a/b").exists());
        for group in parents.groups() {
            fs::remove_dir(&group.path).unwrap();
        }
    }
}

#[test]
fn parents_made_for_containers_go_with_the_last() {
    for place in places() {
        let first = place.made("/a/b");
        let second = place.made("/a/c");
        first.remove().unwrap();
        assert!(place.placement("/a").groups().iter().all(|g| g.path.exists()), "the other's parent");
        second.remove().unwrap();
        assert!(!place.placement("/a").exists(), "nobody else's");
    }
}

/// Between looking and making, another container's end may have taken the parents away.
#[test]
fn parents_that_go_meanwhile_are_made_again() {
    for place in places() {
        let first = place.made("/a/b");
        let mut second = place.placement("/a/c");
        second.survey().unwrap();
        first.remove().unwrap();
        assert!(!place.placement("/a").exists());
        second.create(&[]).unwrap();
        assert!(second.exists());
        second.remove().unwrap();
        assert!(!place.placement("/a").exists());
    }
}

#[test]
fn a_group_of_others_is_refused_before_it_can_be_recorded() {
    for place in places() {
        let theirs = place.made("/x/sub");
        let process = Process::sleeping();
        theirs.join(process.pid()).unwrap();
        let error = place.placement("/x").survey().unwrap_err().to_string();
        assert!(error.starts_with("container's cgroup is not empty: 1 process(es) found in "), "{error}");
        let error = place.placement("/x").create(&[]).unwrap_err();
        assert!(matches!(error, CgroupError::NotEmpty { count: 1, .. }), "{error}");
        drop(process);
        // Left empty by a container that was not deleted whole.
        let mut again = place.placement("/x");
        again.survey().unwrap();
        again.create(&[]).unwrap();
        again.remove().unwrap();
        assert!(!theirs.exists());
    }
}

#[test]
fn groups_and_processes_inside_go_too() {
    for place in places() {
        let placement = place.made("/c");
        let mut processes = Vec::new();
        for below in ["/c", "/c/one", "/c/one/two", "/c/three"] {
            let inner = place.made(below);
            processes.push(Process::sleeping());
            inner.join(processes.last().unwrap().pid()).unwrap();
        }
        assert_eq!(placement.procs(false).unwrap().len(), 1);
        assert_eq!(placement.procs(true).unwrap().len(), 4);
        placement.kill_all(libc::SIGKILL).unwrap();
        placement.remove().unwrap();
        for process in &mut processes {
            assert_eq!(process.signal_that_ended_it(), Some(libc::SIGKILL));
        }
        assert!(!placement.exists());
    }
}

#[test]
fn a_frozen_container_dies() {
    for place in places() {
        let placement = place.made("/c");
        let mut process = Process::sleeping();
        placement.join(process.pid()).unwrap();
        placement.freeze().unwrap();
        assert!(placement.is_frozen().unwrap());
        placement.thaw().unwrap();
        assert!(!placement.is_frozen().unwrap());
        // By every freezer there is, as somebody else may have done it.
        for group in placement.groups() {
            let (file, value) =
                if group.is_v2() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
            if group.is_v2() || group.has("freezer") {
                fs::write(group.path.join(file), value).unwrap();
            }
        }
        until("frozen", || placement.is_frozen().unwrap());
        placement.kill_all(libc::SIGKILL).unwrap();
        assert_eq!(process.signal_that_ended_it(), Some(libc::SIGKILL));
        placement.remove().unwrap();
    }
}

#[test]
fn a_signal_to_a_frozen_container_leaves_it_frozen() {
    for place in places() {
        let placement = place.made("/c");
        // With a handler: without one the kernel ends a process frozen by version 2 at once.
        let mut process = Process::shell("trap 'exit 7' TERM; read go");
        placement.join(process.pid()).unwrap();
        until("the handler", || catches(process.pid(), libc::SIGTERM));
        placement.freeze().unwrap();
        placement.kill_all(libc::SIGTERM).unwrap();
        assert!(placement.is_frozen().unwrap());
        std::thread::sleep(Duration::from_millis(20));
        assert!(process.0.try_wait().unwrap().is_none());
        placement.thaw().unwrap();
        assert_eq!(process.0.wait().unwrap().code(), Some(7));
        placement.remove().unwrap();
    }
}

#[test]
fn a_signal_reaches_all_and_they_run_on() {
    for place in places() {
        let placement = place.made("/c");
        let mut process = Process::shell("read go; sleep 60 & trap 'exit 7' USR1; while :; do wait; done");
        // The shell waits for its input, so that all that it starts is in the group.
        placement.join(process.pid()).unwrap();
        placement.kill_all(0).unwrap();
        assert!(!placement.is_frozen().unwrap(), "thawed after the signal");
        drop(process.0.stdin.take());
        until("the handler and the child", || {
            catches(process.pid(), libc::SIGUSR1) && placement.procs(true).unwrap().len() == 2
        });
        placement.kill_all(libc::SIGUSR1).unwrap();
        assert_eq!(process.0.wait().unwrap().code(), Some(7), "it ran its handler");
        until("all gone", || placement.procs(true).unwrap().is_empty());
        placement.remove().unwrap();
    }
}

#[test]
fn removal_waits_for_the_dying() {
    for place in places() {
        let placement = place.made("/c");
        let process = Process::shell("read go; sleep 0.2");
        placement.join(process.pid()).unwrap();
        let started = Instant::now();
        let mut process = process;
        drop(process.0.stdin.take());
        placement.remove().unwrap();
        assert!(started.elapsed() > Duration::from_millis(100) && !placement.exists());
    }
}

#[test]
fn one_that_makes_processes_all_the_time_is_killed_whole() {
    for place in places() {
        let placement = place.made("/c");
        // So that a test that fails does not bring down the machine.
        if let Some(pids) = placement.v1("pids") {
            fs::write(pids.path.join("pids.max"), "2000").unwrap();
        }
        let script =
            "read go; f() { while :; do sleep 5 & sleep 0.001; wait -n 2>/dev/null; done; }; f & f & f & f";
        let mut process = Process::shell(script);
        placement.join(process.pid()).unwrap();
        drop(process.0.stdin.take());
        until("many", || placement.procs(true).unwrap().len() > 10);
        placement.kill_all(libc::SIGKILL).unwrap();
        placement.remove().unwrap();
        assert_eq!(process.signal_that_ended_it(), Some(libc::SIGKILL));
    }
}

#[test]
fn devices_are_denied_and_permitted() {
    let deny =
        DeviceRule { allow: false, kind: DeviceKind::All, major: None, minor: None, access: Access::ALL };
    let mut rules = vec![deny];
    rules.extend(DEFAULT_DEVICES);
    for place in places() {
        let placement = place.made("/c");
        let Some(group) = placement.v1("devices") else { continue };
        placement.apply_devices(&rules).unwrap();
        let list = fs::read_to_string(group.path.join("devices.list")).unwrap();
        let mut listed: Vec<&str> = list.lines().collect();
        let mut expected = DeviceLists::new(&rules).unwrap().lines();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);

        // The kernel's log is device 1:11, which no rule permits.
        let script = "read go; echo x > /dev/null && head -c1 /dev/zero | wc -c; : < /dev/kmsg";
        let mut process = Process(
            Command::new("/bin/sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        placement.join(process.pid()).unwrap();
        drop(process.0.stdin.take());
        let (mut out, mut err) = (String::new(), String::new());
        std::io::Read::read_to_string(process.0.stdout.as_mut().unwrap(), &mut out).unwrap();
        std::io::Read::read_to_string(process.0.stderr.as_mut().unwrap(), &mut err).unwrap();
        assert_eq!(out, "1\n");
        assert!(err.contains("/dev/kmsg") && err.contains("Operation not permitted"), "{err}");
        drop(process);
        placement.remove().unwrap();
    }
}

#[test]
fn all_devices_but_one() {
    let all =
        DeviceRule { allow: true, kind: DeviceKind::All, major: None, minor: None, access: Access::ALL };
    let but = DeviceRule {
        allow: false,
        kind: DeviceKind::Char,
        major: Some(1),
        minor: Some(11),
        access: Access::READ,
    };
    for place in places() {
        let placement = place.made("/c");
        let Some(group) = placement.v1("devices") else { continue };
        placement.apply_devices(&[all, but]).unwrap();
        let list = fs::read_to_string(group.path.join("devices.list")).unwrap();
        assert_eq!(list, "a *:* rwm\n", "the kernel lists only the default here");
        let mut process = Process(
            Command::new("/bin/sh")
                .args(["-c", "read go; : < /dev/kmsg"])
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        placement.join(process.pid()).unwrap();
        drop(process.0.stdin.take());
        assert!(!process.0.wait().unwrap().success());
        placement.remove().unwrap();
    }
}

/// On version 2 the rules are a BPF program, which the verifier accepts and the kernel asks.
#[test]
fn a_device_program_decides_over_a_group_of_version_2() {
    let Some(Layout::V2(mount)) = layouts().into_iter().find(|l| matches!(l, Layout::V2(_))) else { return };
    let place = Place::on(Layout::V2(mount));
    let placement = place.made("/c");
    placement.apply_devices(DEFAULT_DEVICES).unwrap();
    for (device, opens) in [("/dev/null", true), ("/dev/kmsg", false)] {
        let mut process = Process(
            Command::new("/bin/sh")
                .args(["-c", &format!("read go; : < {device}")])
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        placement.join(process.pid()).unwrap();
        drop(process.0.stdin.take());
        assert_eq!(process.0.wait().unwrap().success(), opens, "{device}");
    }
    placement.remove().unwrap();
}

#[test]
fn needs_are_met_or_named() {
    for place in places() {
        let mut placement = place.placement("/c");
        placement.survey().unwrap();
        let need = Need { controller: "nosuch", config_path: "linux.resources.nosuch" };
        let error = placement.create(&[need]).unwrap_err().to_string();
        assert!(
            error.starts_with("linux.resources.nosuch: the nosuch cgroup controller is needed"),
            "{error}"
        );
        let present = place.layout.v1().iter().flat_map(V1Hierarchy::controllers).next();
        if let Some(controller) = present {
            placement.create(&[Need { controller, config_path: "x" }]).unwrap();
        }
        placement.remove().unwrap();
    }
}

/// What is handed down above the test's own groups is what the host hands down anyway; where it hands down nothing,
/// the test has no place to be.
#[test]
fn a_controller_of_version_2_is_handed_down() {
    for place in places() {
        let Some(mount) = place.layout.v2() else { continue };
        let handed = fs::read_to_string(mount.mount_point.join("cgroup.subtree_control")).unwrap();
        let Some(controller) = handed.split_whitespace().next() else {
            eprintln!("skipped: {} hands no controller down", mount.mount_point.display());
            continue;
        };
        let mut placement = place.placement("/a/b");
        placement.survey().unwrap();
        placement.create(&[Need { controller, config_path: "x" }]).unwrap();
        let has = fs::read_to_string(placement.v2().unwrap().path.join("cgroup.controllers")).unwrap();
        assert_eq!(has.trim(), controller, "this one and no other");
        placement.remove().unwrap();
    }
}

/// Runs a test of this program again, as another user or in other namespaces.
fn run_part(mut command: Command, test: &str) {
    let name = format!("cgroup::host_tests::{test}");
    let out = command.args(["--exact", &name, "--nocapture"]).env(PART, "1").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn an_ordinary_user_goes_without() {
    if std::env::var_os(PART).is_none() {
        if layouts().is_empty() {
            return;
        }
        // The program lies where only root may go: it is given as an open file.
        let program = fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let mut command = Command::new("/proc/self/fd/0");
        command.stdin(program).uid(65534).gid(65534);
        return run_part(command, "an_ordinary_user_goes_without");
    }
    let (layout, own) = detect().unwrap();
    let id = format!("orlop-test-{}", std::process::id());
    let mut placement = place(&layout, &own, None, &id, true).unwrap();
    placement.survey().unwrap();
    assert_eq!(placement.create(&[]).unwrap(), Created::None);
    assert!(placement.groups().is_empty());
    placement.apply_devices(DEFAULT_DEVICES).unwrap();

    let mut limited = place(&layout, &own, None, &id, true).unwrap();
    let need = Need { controller: "memory", config_path: "linux.resources.memory" };
    let error = limited.create(&[need]).unwrap_err().to_string();
    assert!(error.starts_with("linux.resources.memory: ") && error.contains("no permission"), "{error}");

    let path = format!("/{id}");
    let mut explicit = place(&layout, &own, Some(&path), &id, true).unwrap();
    let error = explicit.create(&[]).unwrap_err();
    assert!(error.is_permission() && error.to_string().starts_with("mkdir "), "{error}");
}

#[test]
fn version_2_at_the_usual_place_is_known_without_the_list_of_mounts() {
    if std::env::var_os(PART).is_none() {
        if layouts().is_empty() {
            return;
        }
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["-m", "/bin/sh", "-c", "mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\""]);
        command.arg(std::env::current_exe().unwrap());
        return run_part(command, "version_2_at_the_usual_place_is_known_without_the_list_of_mounts");
    }
    let (layout, own) = detect().unwrap();
    let expected = HierarchyMount { mount_point: "/sys/fs/cgroup".into(), root: "/".into() };
    assert_eq!(layout, Layout::V2(expected));
    assert_eq!(Layout::parse(&fs::read("/proc/self/mountinfo").unwrap(), &own), layout, "as the list has it");
    assert!(Path::new("/sys/fs/cgroup/cgroup.procs").exists());
}

/// The topmost directories are there, but our namespace does not call them `/`: taken so, a container would come to lie beside its
/// caller's groups, free of their limits.
#[test]
fn in_a_cgroup_namespace_the_list_of_mounts_tells() {
    if std::env::var_os(PART).is_none() {
        if layouts().is_empty() {
            return;
        }
        // In a group of our own, so that the namespace begins below the top of the hierarchy.
        let (layout, _) = detect().unwrap();
        let v1 = layout.v1().iter().find(|h| !h.label.contains("cpuset")).map(|h| &h.mount);
        let mount = layout.v2().or(v1).expect("a hierarchy");
        let group = mount.mount_point.join(format!("orlop-test-namespace-{}", std::process::id()));
        fs::create_dir(&group).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 0 >\"$0/cgroup.procs\" && exec unshare -C -m \"$@\""]).arg(&group);
        command.arg(std::env::current_exe().unwrap());
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run_part(command, "in_a_cgroup_namespace_the_list_of_mounts_tells");
        }));
        fs::remove_dir(&group).unwrap();
        return ran.unwrap();
    }
    let (layout, own) = detect().unwrap();
    assert_eq!(layout, Layout::parse(&fs::read("/proc/self/mountinfo").unwrap(), &own));
    let mut roots = layout.v1().iter().map(|h| &h.mount).chain(layout.v2()).map(|mount| mount.root.as_str());
    assert!(roots.any(|root| root != "/"), "{layout:?}");
}
