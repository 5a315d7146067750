//! A seccomp profile of anybody's choosing: it compiles to a program that the kernel takes, or is refused with words.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_spec::runtime::LinuxSeccomp;
use orlop_core::seccomp::{MAX_INSTRUCTIONS, Machine, compile};
use std::sync::atomic::{AtomicU8, Ordering};

fuzz_target!(|bytes: &[u8]| {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(bytes) else { return };
    for machine in [Machine::X86_64, Machine::Aarch64] {
        match compile(&profile, machine) {
            Ok(filter) => {
                assert!(!filter.program.is_empty() && filter.program.len() <= MAX_INSTRUCTIONS);
                // A pure function.
                assert_eq!(compile(&profile, machine).as_ref(), Ok(&filter));
                assert!(filter.describe().iter().all(|line| !line.contains(char::is_control)));
                assert!(taken(&filter.program), "the kernel refuses {:?}", filter.program);
            }
            Err(faults) => {
                assert!(!faults.is_empty());
                assert!(faults.iter().all(|fault| !fault.to_string().contains(char::is_control)));
            }
        }
    }
});

const TAKEN: u8 = 1;
const REFUSED: u8 = 2;

/// Loads the program in a child, which makes no call after that and is killed.
fn taken(program: &[seccompiler::sock_filter]) -> bool {
    // SAFETY: a new mapping, shared with the child, of one page.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: the page is zeroed, aligned, and lives until it is unmapped below.
    let answer = unsafe { &*page.cast::<AtomicU8>() };
    // SAFETY: the fuzzer has one thread, so the child may do what it likes.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let loaded = seccompiler::apply_filter(program).is_ok();
        answer.store(if loaded { TAKEN } else { REFUSED }, Ordering::SeqCst);
        loop {
            std::hint::spin_loop();
        }
    }
    while answer.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let taken = answer.load(Ordering::SeqCst) == TAKEN;
    // SAFETY: the child is ours and not waited for yet; nothing refers to the page any more.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        libc::munmap(page, 4096);
    }
    taken
}
