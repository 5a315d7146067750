//! Writes the table of system calls: every name that Linux has on one of our architectures, with its numbers.
//!
//! Done while building, so that the binaries hold one sorted table without pointers: a table of string slices
//! would have to be relocated at every start, and its pages would be private memory of every process.

#[path = "src/seccomp/slots.rs"]
mod slots;

use std::collections::BTreeMap;
use std::ffi::c_long;
use std::fmt::Write;
use std::path::Path;
use syscall_numbers::{aarch64, arm, x32, x86, x86_64};

/// The order of the columns, `seccomp::abi::Abi` as a number.
const ABIS: usize = 5;

/// No such call.
const ABSENT: u32 = u32::MAX;

/// The bit that marks a call of x32; the table is without it.
const X32_BIT: c_long = 0x4000_0000;

/// Beyond every number that a table has, and that it will have for long.
const END: c_long = 4096;

/// What the tables of `syscall-numbers` lack or have under the kernel's inner names (`clock_gettime32` and the like):
/// names as the kernel's headers and libseccomp have them.  The test `seccomp_names` compares the result with libseccomp.
const MISSING: [(usize, &[(&str, u32)]); 2] = [
    (
        1,
        &[
            ("getrlimit", 76),
            ("gettimeofday", 78),
            ("settimeofday", 79),
            ("timer_settime", 260),
            ("timer_gettime", 261),
            ("timer_getoverrun", 262),
            ("timer_delete", 263),
            ("clock_settime", 264),
            ("clock_gettime", 265),
            ("clock_getres", 266),
            ("clock_nanosleep", 267),
            ("mq_unlink", 278),
            ("mq_timedsend", 279),
            ("mq_timedreceive", 280),
            ("mq_notify", 281),
            ("mq_getsetattr", 282),
            ("timerfd_settime", 325),
            ("timerfd_gettime", 326),
        ],
    ),
    (
        4,
        &[
            ("gettimeofday", 78),
            ("settimeofday", 79),
            ("timer_settime", 258),
            ("timer_gettime", 259),
            ("clock_settime", 262),
            ("clock_gettime", 263),
            ("clock_getres", 264),
            ("clock_nanosleep", 265),
            ("arm_fadvise64_64", 270),
            ("arm_sync_file_range", 341),
            ("timerfd_settime", 353),
            ("timerfd_gettime", 354),
            // Beside the common numbering: `__ARM_NR_BASE` in ARM's unistd.h.
            ("breakpoint", 0x000f_0001),
            ("cacheflush", 0x000f_0002),
            ("usr26", 0x000f_0003),
            ("usr32", 0x000f_0004),
            ("set_tls", 0x000f_0005),
            ("get_tls", 0x000f_0006),
        ],
    ),
];

/// What x86 makes by `socketcall(2)` as well, with the `SYS_*` of linux/net.h that is its first argument.
const BY_SOCKETCALL: [(&str, u8); 20] = [
    ("accept", 5),
    ("accept4", 18),
    ("bind", 2),
    ("connect", 3),
    ("getpeername", 7),
    ("getsockname", 6),
    ("getsockopt", 15),
    ("listen", 4),
    ("recv", 10),
    ("recvfrom", 12),
    ("recvmmsg", 19),
    ("recvmsg", 17),
    ("send", 9),
    ("sendmmsg", 20),
    ("sendmsg", 16),
    ("sendto", 11),
    ("setsockopt", 14),
    ("shutdown", 13),
    ("socket", 1),
    ("socketpair", 8),
];

/// What x86 makes by `ipc(2)` as well, with the number of linux/ipc.h that is its first argument.
const BY_IPC: [(&str, u8); 12] = [
    ("msgctl", 14),
    ("msgget", 13),
    ("msgrcv", 12),
    ("msgsnd", 11),
    ("semctl", 3),
    ("semget", 2),
    ("semop", 1),
    ("semtimedop", 4),
    ("shmat", 21),
    ("shmctl", 24),
    ("shmdt", 22),
    ("shmget", 23),
];

/// How `name` can be made as well, as `Entry::sub_call` has it.
fn sub_call(name: &str) -> u8 {
    let among =
        |calls: &[(&str, u8)]| calls.iter().find(|(other, _)| *other == name).map(|(_, number)| *number);
    among(&BY_SOCKETCALL).or_else(|| among(&BY_IPC).map(|number| number | slots::IPC)).unwrap_or(0)
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/seccomp/slots.rs");
    let mut calls: BTreeMap<&str, [u32; ABIS]> = BTreeMap::new();
    type NameOf = fn(c_long) -> Option<&'static str>;
    let tables: [(NameOf, c_long); ABIS] = [
        (x86_64::sys_call_name, 0),
        (x86::sys_call_name, 0),
        (x32::sys_call_name, X32_BIT),
        (aarch64::sys_call_name, 0),
        (arm::sys_call_name, 0),
    ];
    for (abi, (name_of, base)) in tables.into_iter().enumerate() {
        for number in 0..END {
            if let Some(name) = name_of(base + number) {
                calls.entry(name).or_insert([ABSENT; ABIS])[abi] = u32::try_from(number).expect("small");
            }
        }
    }
    for (abi, names) in MISSING {
        for (name, number) in names {
            calls.entry(name).or_insert([ABSENT; ABIS])[abi] = *number;
        }
    }
    let directory = std::env::var_os("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&directory).join("syscalls.rs"), render(&calls)).expect("cargo made it");
}

fn render(calls: &BTreeMap<&str, [u32; ABIS]>) -> String {
    let mut names = String::new();
    let mut entries = String::new();
    let mut slots = [0_u16; slots::COUNT];
    assert!(calls.len() * 2 < slots.len(), "a search ends at an empty slot, and soon");
    for (index, (name, numbers)) in calls.iter().enumerate() {
        let _ = writeln!(
            entries,
            "    Entry {{ start: {}, len: {}, sub_call: {:#x}, numbers: {numbers:?} }},",
            names.len(),
            name.len(),
            sub_call(name)
        );
        names.push_str(name);
        let mut slot = slots::first(name);
        while slots[slot] != 0 {
            slot = slots::next(slot);
        }
        slots[slot] = u16::try_from(index + 1).expect("few names");
    }
    format!(
        "static NAMES: &str = {names:?};\nstatic ENTRIES: [Entry; {}] = [\n{entries}];\nstatic SLOTS: [u16; {}] = {slots:?};\n",
        calls.len(),
        slots.len()
    )
}
