//! The kernel takes what the compiler makes; and what does not fit is refused with words.
//!
//! A filter is loaded in a process that is thrown away: on one thread, which makes no call after that, so that not
//! even a filter that kills for everything hides the answer.

mod seccomp;

use oci_spec::runtime::LinuxSeccomp;
use orlop_core::seccomp::{BpfProgram, MAX_INSTRUCTIONS, Machine, compile};
use seccomp::{Call, X86_64, check, decode, interpret, profile};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// Tells this program, run again, what to load: the bytes of a program as hexadecimal digits.
const PROGRAM: &str = "ORLOP_TEST_SECCOMP_PROGRAM";

const TAKEN: i32 = 42;
const REFUSED: i32 = 43;

/// Not a test by itself: what the others run in a process of its own.
#[test]
fn thrown_away() {
    static ANSWER: AtomicU8 = AtomicU8::new(0);
    let Ok(digits) = std::env::var(PROGRAM) else { return };
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    let program = decode(&bytes);
    std::thread::spawn(move || {
        let loaded = seccompiler::apply_filter(&program);
        ANSWER.store(if loaded.is_ok() { 1 } else { 2 }, Ordering::SeqCst);
        // Ending the thread would be a call.
        loop {
            std::hint::spin_loop();
        }
    });
    let answer = loop {
        match ANSWER.load(Ordering::SeqCst) {
            0 => std::thread::sleep(std::time::Duration::from_micros(100)),
            answer => break answer,
        }
    };
    std::process::exit(if answer == 1 { TAKEN } else { REFUSED });
}

fn load(program: &BpfProgram) -> i32 {
    let bytes = program.iter().flat_map(|op| {
        let (code, k) = (op.code.to_ne_bytes(), op.k.to_ne_bytes());
        [code[0], code[1], op.jt, op.jf, k[0], k[1], k[2], k[3]]
    });
    let digits: String = bytes.map(|byte| format!("{byte:02x}")).collect();
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "thrown_away", "--nocapture"])
        .env(PROGRAM, digits)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("it runs again");
    status.code().unwrap_or(-1)
}

fn parse(profile: Value) -> LinuxSeccomp {
    serde_json::from_value(profile).expect("a profile")
}

/// A profile in which every system call of x86 has a fate of its own.
fn all_different() -> LinuxSeccomp {
    let names = (0..450_i32).filter_map(|number| {
        let call = libseccomp::ScmpSyscall::from_raw_syscall(number);
        call.get_name_by_arch(libseccomp::ScmpArch::X8664).ok()
    });
    let rules: Vec<_> = names
        .enumerate()
        .map(|(index, name)| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": index + 2}))
        .collect();
    parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}))
}

/// A profile with `count` conditions on one call.
fn many_conditions(count: u32) -> LinuxSeccomp {
    let args = |value: u32| json!([{"index": 1, "value": u64::from(value) << 32 | 5, "op": "SCMP_CMP_EQ"}]);
    let rules: Vec<_> = (0..count)
        .map(|value| json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": value % 4000, "args": args(value)}))
        .collect();
    parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
}

#[test]
fn the_kernel_takes_every_filter() {
    let everything = |action: &str| parse(json!({"defaultAction": action}));
    let profiles = [
        profile("docker"),
        profile("containerd"),
        profile("podman"),
        everything("SCMP_ACT_ALLOW"),
        // Nothing can be done under these two, not even exit_group(2).
        everything("SCMP_ACT_KILL_PROCESS"),
        everything("SCMP_ACT_ERRNO"),
        all_different(),
        many_conditions(500),
    ];
    for profile in profiles {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let program = compile(&profile, machine).expect("it compiles").program;
            check(&program);
            assert_eq!(load(&program), TAKEN, "{} instructions", program.len());
        }
    }
    // So that a loader that always says yes is noticed.
    let mut broken = compile(&profile("docker"), Machine::X86_64).expect("it compiles").program;
    broken.pop();
    assert_eq!(load(&broken), REFUSED);
}

#[test]
fn jumps_may_be_long() {
    let different = all_different();
    let program = compile(&different, Machine::X86_64).expect("it compiles").program;
    assert!(program.len() > 700, "{} instructions", program.len());
    for (index, rule) in different.syscalls().iter().flatten().enumerate() {
        let number = seccomp::oracle::number(&rule.names()[0], libseccomp::ScmpArch::X8664);
        let call = Call { arch: X86_64, number: number.expect("it has one"), args: [0; 6] };
        let errno = u32::try_from(index).expect("few") + 2;
        assert_eq!(interpret(&program, &call).0, 0x0005_0000 | errno, "{:?}", rule.names());
    }
    let conditions = compile(&many_conditions(500), Machine::X86_64).expect("it compiles").program;
    for value in 0..500_u32 {
        let args = [0, u64::from(value) << 32 | 5, 0, 0, 0, 0];
        let verdict = interpret(&conditions, &Call { arch: X86_64, number: 16, args }).0;
        assert_eq!(verdict, 0x0005_0000 | value, "{value}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for count in [3000, 20_000] {
        let faults = compile(&many_conditions(count), Machine::X86_64).expect_err("it is too long");
        let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [format!(
                "linux.seccomp.syscalls: needs a filter of more than {MAX_INSTRUCTIONS} instructions, the most that Linux takes"
            )]
        );
    }
}

#[test]
fn a_filter_can_be_read() {
    let profile = parse(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["read", "write", "close", "nonesuch"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        ],
    }));
    let filter = compile(&profile, Machine::X86_64).expect("it compiles");
    assert_eq!(filter.unknown, ["nonesuch"]);
    let text = filter.describe().join("\n");
    let start = "x86_64:\n  read (0) to write (1): allow\n  open (2): errno 1 (EPERM)\n  close (3): allow\n  stat (4) to ";
    assert!(text.starts_with(start), "{text}");
    let personality = "
  personality (135):
    if arg0.high == 0x0:
      if arg0.low == 0x8:
        allow
      else:
        errno 1 (EPERM)
    else:
      errno 1 (EPERM)
  ustat (136) to ";
    assert!(text.contains(personality), "{text}");
    assert!(text.contains("errno 38 (ENOSYS)"), "{text}");
    assert!(text.ends_with("every other architecture: kill the thread"), "{text}");
}
