//! Every system call fails in turn, with the errors that its man page lists.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use conformance::harness::{Container, Output};
use libc::{
    E2BIG, EACCES, EAGAIN, EBUSY, EEXIST, EINVAL, EIO, EMFILE, ENFILE, ENODEV, ENOMEM, ENOSPC, ENOSYS, EPERM,
    EROFS, ESRCH,
};
use serde_json::Value;

use super::{
    Point, await_report, calls, can_sweep, delete_and_look, differences, full, inject_at, parse, protection,
    rich, rich_in_user_namespace, unclean,
};

/// Calls and their errors (of their man pages, and what seccomp filters of containers answer).  None for those that cannot fail, that do
/// what they are for also when they say that they failed (close), that wait for a child which is there and ours, and of which the
/// program's own start consists.
const ERRORS: &[(&[i64], &[i32])] = &[
    (
        &[
            libc::SYS_close,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_rt_sigreturn,
            libc::SYS_restart_syscall,
            libc::SYS_getpid,
            libc::SYS_gettid,
            libc::SYS_getuid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getegid,
            libc::SYS_umask,
            libc::SYS_arch_prctl,
            libc::SYS_set_tid_address,
            libc::SYS_set_robust_list,
            libc::SYS_rseq,
            libc::SYS_clock_gettime,
            libc::SYS_clock_nanosleep,
            libc::SYS_rt_sigaction,
            libc::SYS_sigaltstack,
            libc::SYS_wait4,
            libc::SYS_waitid,
        ],
        &[],
    ),
    (&MEMORY, &[ENOMEM]),
    (&[libc::SYS_read], &[EIO, EAGAIN, EINVAL]),
    (&[libc::SYS_write, libc::SYS_pwrite64], &[ENOSPC, EIO, EINVAL, EPERM]),
    // ENOENT says that there is nothing: no path to mask, no record of a container.  That is an answer, which only the kernel can give.
    (&[libc::SYS_openat, libc::SYS_openat2], &[EMFILE, EACCES, ENOMEM]),
    (&[libc::SYS_mkdir, libc::SYS_mkdirat, libc::SYS_mknodat], &[ENOSPC, EEXIST, EACCES, EROFS]),
    // EEXIST means that it is there, which is all that is wanted.
    (&[libc::SYS_symlinkat], &[ENOSPC, EACCES, EROFS]),
    (&[libc::SYS_clone3, libc::SYS_clone, libc::SYS_fork, libc::SYS_vfork], &[EAGAIN, ENOMEM, EPERM, ENOSPC]),
    (&[libc::SYS_execve, libc::SYS_execveat], &[ENOMEM, EACCES, E2BIG]),
    (
        &[libc::SYS_socket, libc::SYS_socketpair, libc::SYS_accept4, libc::SYS_dup3, libc::SYS_signalfd4],
        &[EMFILE, ENOMEM],
    ),
    (
        &[libc::SYS_pipe2, libc::SYS_memfd_create, libc::SYS_epoll_create1, libc::SYS_eventfd2],
        &[ENFILE, ENOMEM],
    ),
    (
        &[libc::SYS_mount, libc::SYS_move_mount, libc::SYS_open_tree, libc::SYS_fsmount],
        &[EPERM, ENOMEM, EBUSY],
    ),
    (&[libc::SYS_mount_setattr, libc::SYS_fsconfig], &[EPERM, EINVAL, ENOSYS]),
    (&[libc::SYS_fsopen], &[ENODEV, EPERM, ENOMEM]),
    (&[libc::SYS_umount2, libc::SYS_pivot_root], &[EBUSY, EPERM]),
    (&[libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups], &[EPERM, EAGAIN, EINVAL]),
    (&[libc::SYS_capset, libc::SYS_prctl, libc::SYS_keyctl, libc::SYS_seccomp], &[EPERM, EINVAL, ENOMEM]),
    (
        &[libc::SYS_renameat2, libc::SYS_renameat, libc::SYS_rename, libc::SYS_unlinkat, libc::SYS_rmdir],
        &[ENOSPC, EBUSY, EACCES],
    ),
    (&[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_kill], &[ESRCH, EINVAL]),
    (&[libc::SYS_getrandom], &[ENOSYS]),
    (&[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_rt_sigprocmask], &[EINVAL, ENOMEM]),
];

/// The errors of a call that the table does not have.
const OTHER_ERRORS: &[i32] = &[EPERM, ENOMEM];

const MEMORY: [i64; 6] = [
    libc::SYS_mmap,
    libc::SYS_brk,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
];

fn errors(call: i64) -> &'static [i32] {
    ERRORS.iter().find(|(calls, _)| calls.contains(&call)).map_or(OTHER_ERRORS, |(_, errors)| errors)
}

/// Those of them to try with a shim, each of which costs a life: all, or the first.
pub(super) fn errors_of_a_shim(call: i64) -> &'static [i32] {
    let all = errors(call);
    if full() { all } else { &all[..all.len().min(1)] }
}

/// Whether nothing but its end can be expected of a program that this happens to: it has no memory.
pub(super) fn is_memory(call: i64) -> bool {
    MEMORY.contains(&call)
}

/// The points to try: all, or of each call of each half the first, the middle and the last one.
fn choose(points: &[Point], thorough: bool) -> Vec<(Point, i32)> {
    let mut chosen = Vec::new();
    if full() {
        for point in points {
            chosen.extend(errors(point.call).iter().map(|errno| (point.clone(), *errno)));
        }
        return chosen;
    }
    let mut of = BTreeMap::<(&str, i64), Vec<&Point>>::new();
    for point in points {
        of.entry((&point.half, point.call)).or_default().push(point);
    }
    for points in of.values() {
        let mut places = vec![0, points.len() / 2, points.len() - 1];
        places.dedup();
        for (n, place) in places.into_iter().enumerate() {
            let point = points[place];
            let errors = errors(point.call);
            // Two each of `run`; of the others, which do much the same, the one and the other in turn.
            let errors = if thorough {
                &errors[..errors.len().min(2)]
            } else {
                errors.get(n % 2..=n % 2).unwrap_or(errors)
            };
            chosen.extend(errors.iter().map(|errno| (point.clone(), *errno)));
        }
    }
    chosen
}

/// What is swept: how a container comes to the operation, the operation, and what is right after it has succeeded.
struct Sweep<'a> {
    name: &'a str,
    container: Container,
    prepare: &'a dyn Fn(&mut Container),
    words: Vec<String>,
    judge: &'a dyn Fn(&Container, &Output) -> Option<String>,
}

impl Sweep<'_> {
    fn sweep(mut self) {
        (self.prepare)(&mut self.container);
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let points = calls(&self.container, &words);
        if let Some(wrong) = delete_and_look(&self.container) {
            panic!("{}: without a fault: {wrong}", self.name);
        }
        let chosen = choose(&points, self.name == "run");
        let (mut failed, mut wrong) = (0, Vec::new());
        for (point, errno) in &chosen {
            (self.prepare)(&mut self.container);
            let by = inject_at(point, &["--errno", &errno.to_string()]);
            let by: Vec<&str> = by.iter().map(String::as_str).collect();
            let output = self.container.runtime_by(&by, &words);
            let what = format!(
                "{} call {} number {} with {:?}",
                point.half,
                point.call,
                point.at,
                nix::errno::Errno::from_raw(*errno)
            );
            failed += usize::from(!output.status.success());
            if !is_memory(point.call)
                && let Some(why) = unclean(&output)
            {
                wrong.push(format!("{what}: {why}"));
            }
            if output.status.success()
                && let Some(why) = (self.judge)(&self.container, &output)
            {
                wrong.push(format!("{what}: {why}"));
            }
            if let Some(why) = delete_and_look(&self.container) {
                wrong.push(format!("{what}: {why} (the command said: {})", output.stderr.trim()));
            }
        }
        let all = points.len();
        println!(
            "{}: {} faults at {all} calls: {failed} failed, the others were borne",
            self.name,
            chosen.len()
        );
        assert!(chosen.len() > 20, "{}: only {} points", self.name, chosen.len());
        assert!(wrong.is_empty(), "{}: {} wrong:\n{}", self.name, wrong.len(), wrong.join("\n"));
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const REPORT: [&str; 5] = ["probe", "report", "--json", "net.ipv4.ip_forward", "kernel.shm_rmid_forced"];

/// What is wrong when what ran, which made `report`, is not protected as usual.
fn less_protected(usual: &Value, report: &Value) -> Option<String> {
    let differences = differences(usual, &protection(report));
    (!differences.is_empty()).then(|| format!("it runs with other protection: {}", differences.join("; ")))
}

fn sweep_run(name: &str, mut container: Container) {
    container.args(&REPORT);
    let usual = protection(&container.run().json());
    let bundle = container.directory().to_string_lossy().into_owned();
    let words = strings(&["run", "--bundle", &bundle, &container.id]);
    let judge = |_: &Container, output: &Output| match parse(&output.stdout) {
        Some(report) => less_protected(&usual, &report),
        None => Some("it succeeded, and nothing ran".to_owned()),
    };
    Sweep { name, container, prepare: &|_| {}, words, judge: &judge }.sweep();
}

#[test]
fn faults_of_run() {
    if can_sweep() {
        sweep_run("run", rich());
    }
}

#[test]
fn faults_of_run_in_a_user_namespace() {
    if can_sweep() {
        sweep_run("run in a user namespace", rich_in_user_namespace());
    }
}

/// Report, and sleep on.
fn reporter(container: &mut Container) {
    let mut words = vec!["probe", "seq", "--"];
    words.extend(&REPORT[1..]);
    words.extend(["--", "sleep", "300"]);
    container.args(&words);
}

/// The file in which the output of the container's process appears: of the command before `back` others.
fn output_of(container: &Container, back: usize) -> PathBuf {
    container.output_file(back)
}

/// Whether its process ends in a moment, if it has not: its descriptors are closed before it is a zombie.
fn stops(container: &Container) -> bool {
    for _ in 0..250 {
        if container.state()["status"] == "stopped" {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// `create`, and `start` after it: what was created is protected as it is without a fault.
#[test]
fn faults_of_create() {
    if !can_sweep() {
        return;
    }
    let mut container = rich();
    reporter(&mut container);
    container.create().ok();
    container.runtime(&["start", &container.id]).ok();
    let usual = protection(&await_report(&output_of(&container, 1)));
    container.delete(&["--force"]).ok();
    let bundle = container.directory().to_string_lossy().into_owned();
    let words = strings(&["create", "--bundle", &bundle, &container.id]);
    let judge = |container: &Container, _: &Output| {
        let started = container.runtime(&["start", &container.id]);
        // A call of the process that waits for `start`, after `create` has ended: then it has ended, and that is said.
        if !started.status.success() && stops(container) {
            return None;
        }
        if !started.status.success() {
            return Some(format!("created, but start says {}", started.stderr.trim()));
        }
        let report = await_report(&output_of(container, 1));
        less_protected(&usual, &report)
    };
    Sweep { name: "create", container, prepare: &|_| {}, words, judge: &judge }.sweep();
}

#[test]
fn faults_of_start() {
    if !can_sweep() {
        return;
    }
    let mut container = rich();
    reporter(&mut container);
    let words = strings(&["start", &container.id]);
    let prepare = |container: &mut Container| {
        container.create().ok();
    };
    let judge = |container: &Container, _: &Output| {
        await_report(&output_of(container, 1));
        let status = container.status();
        (status != "running").then(|| format!("started, and it is {status}"))
    };
    Sweep { name: "start", container, prepare: &prepare, words, judge: &judge }.sweep();
}

/// A running container.
fn running(container: &mut Container) {
    container.launch(&["probe", "sleep", "300"]);
}

#[test]
fn faults_of_exec() {
    if !can_sweep() {
        return;
    }
    let mut container = rich();
    running(&mut container);
    let mut words = vec!["exec", &container.id];
    words.extend(REPORT);
    let words = strings(&words);
    let usual = {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        protection(&container.runtime(&words).json())
    };
    container.delete(&["--force"]).ok();
    let judge = |_: &Container, output: &Output| match parse(&output.stdout) {
        Some(report) => less_protected(&usual, &report),
        None => Some("it succeeded, and nothing ran".to_owned()),
    };
    Sweep { name: "exec", container, prepare: &running, words, judge: &judge }.sweep();
}

#[test]
fn faults_of_pause_resume_update_kill_and_delete() {
    if !can_sweep() {
        return;
    }
    let nothing = |_: &Container, _: &Output| None;
    let paused = |container: &mut Container| {
        running(container);
        container.runtime(&["pause", &container.id]).ok();
    };
    let status = |wanted: &'static str| {
        move |container: &Container, _: &Output| {
            let status = container.status();
            (status != wanted).then(|| format!("it succeeded, and the container is {status}"))
        }
    };
    let sweep = |name,
                 flags: &[&str],
                 prepare: &dyn Fn(&mut Container),
                 judge: &dyn Fn(&Container, &Output) -> Option<String>| {
        let container = rich();
        let mut words = strings(&[name]);
        words.extend(strings(flags));
        words.push(container.id.clone());
        if name == "kill" {
            words.push("KILL".to_owned());
        }
        Sweep { name, container, prepare, words, judge }.sweep();
    };
    sweep("pause", &[], &running, &status("paused"));
    sweep("resume", &[], &paused, &status("running"));
    sweep("update", &["--pids-limit", "50"], &running, &nothing);
    sweep("kill", &[], &running, &nothing);
    let gone = |container: &Container, _: &Output| {
        let left = container.left_behind();
        (!left.is_empty()).then(|| format!("it succeeded, and left {}", left.join("; ")))
    };
    sweep("delete", &["--force"], &running, &gone);
}
