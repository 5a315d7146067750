//! Makes the kernel look older than it is: `deny RULES PROGRAM ARGS…` executes PROGRAM with system calls taken away.
//!
//! RULES are separated by commas:
//! - the name of a call: it fails with `ENOSYS`, as on a kernel that has not got it;
//! - `5.10`: so do all calls that are younger than Linux 5.10, and what younger kernels added to older calls fails as
//!   there, so that what works under this rule makes no other use of what is new;
//! - `nosymfollow`: fsmount(2) does not know `MOUNT_ATTR_NOSYMFOLLOW` (Linux 5.14) and says `EINVAL`.
//!
//! The filter stays on PROGRAM and all that it starts, the container's program included.

use std::error::Error;
use std::ffi::CString;
use std::mem::offset_of;
use std::os::unix::ffi::OsStringExt;

use conformance::sys::install_filter;
use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, EINVAL, ENOSYS,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, seccomp_data, sock_filter,
};

/// The calls that can be named.
const CALLS: [(&str, i64); 14] = [
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("faccessat2", libc::SYS_faccessat2),
    ("fsopen", libc::SYS_fsopen),
    ("fsmount", libc::SYS_fsmount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("statx", libc::SYS_statx),
    ("uname", libc::SYS_uname),
];

/// The first call of Linux 5.11, `epoll_pwait2`: since 5.1, a call has one number on all architectures.
const FIRST_OF_5_11: i64 = 441;
/// Where x86_64 counts the calls of its x32 ABI from.
const X32: u32 = 0x4000_0000;

const CLOSE_RANGE_CLOEXEC: u32 = 4;
const MOUNT_ATTR_NOSYMFOLLOW: u32 = 0x20_0000;

/// One thing that is taken away.
enum Rule {
    /// A call.
    Call(u32),
    /// All calls from this one on.
    From(u32),
    /// Bits of the argument with this index: `EINVAL`.
    Bits { call: u32, argument: usize, bits: u32 },
}

fn number(call: i64) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn rules(word: &str) -> Result<Vec<Rule>, String> {
    let nosymfollow =
        || Rule::Bits { call: number(libc::SYS_fsmount), argument: 2, bits: MOUNT_ATTR_NOSYMFOLLOW };
    match word {
        "5.10" => {
            let cloexec =
                Rule::Bits { call: number(libc::SYS_close_range), argument: 2, bits: CLOSE_RANGE_CLOEXEC };
            Ok(vec![Rule::From(number(FIRST_OF_5_11)), nosymfollow(), cloexec])
        }
        "nosymfollow" => Ok(vec![nosymfollow()]),
        _ => match CALLS.iter().find(|(name, _)| *name == word) {
            Some((_, call)) => Ok(vec![Rule::Call(number(*call))]),
            None => Err(format!("{word}: no such rule")),
        },
    }
}

fn load(offset: usize) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, u32::try_from(offset).unwrap_or(u32::MAX), 0, 0)
}

fn instruction(code: u32, k: u32, on_true: u8, on_false: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt: on_true, jf: on_false, k }
}

fn fail(errno: i32) -> sock_filter {
    instruction(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno.unsigned_abs(), 0, 0)
}

/// The filter: each rule either ends it or falls through to the next, with the call's number loaded.
fn filter(rules: &[Rule]) -> Vec<sock_filter> {
    let jump = |test: u32, k, on_true, on_false| instruction(BPF_JMP | test | BPF_K, k, on_true, on_false);
    let load_number = load(offset_of!(seccomp_data, nr));
    let mut program = vec![load_number];
    for rule in rules {
        match rule {
            Rule::Call(call) => program.extend([jump(BPF_JEQ, *call, 0, 1), fail(ENOSYS)]),
            Rule::From(call) => {
                program.extend([jump(BPF_JGE, X32, 2, 0), jump(BPF_JGE, *call, 0, 1), fail(ENOSYS)]);
            }
            Rule::Bits { call, argument, bits } => program.extend([
                jump(BPF_JEQ, *call, 0, 4),
                // The lower half: both architectures are little-endian.
                load(offset_of!(seccomp_data, args) + argument * 8),
                jump(BPF_JSET, *bits, 0, 1),
                fail(EINVAL),
                load_number,
            ]),
        }
    }
    program.push(instruction(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0));
    program
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let given = words.next().ok_or("usage: deny RULE[,RULE…] PROGRAM ARGS…")?;
    let mut all = Vec::new();
    for word in given.to_string_lossy().split(',') {
        all.extend(rules(word)?);
    }
    let program: Result<Vec<CString>, _> = words.map(|word| CString::new(word.into_vec())).collect();
    let program = program?;
    let file = program.first().ok_or("no program to execute")?;
    install_filter(&filter(&all))?;
    nix::unistd::execvp(file, &program).map_err(|errno| format!("{}: {errno}", file.to_string_lossy()))?;
    Ok(())
}
