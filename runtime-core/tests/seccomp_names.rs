//! The table of system calls against libseccomp's.

mod seccomp;

use libseccomp::{ScmpArch, ScmpSyscall};
use orlop_core::seccomp::{Machine, compile};
use seccomp::{AARCH64, ARM, Call, X32_BIT, X86, X86_64, interpret};
use serde_json::json;

/// Where the two tables differ, and who is right: see docs/seccomp.md.
const DIFFERENT: [(&str, ScmpArch); 0] = [];

#[test]
fn every_name_of_libseccomp_has_its_number() {
    let machines = [
        (ScmpArch::X8664, Machine::X86_64, X86_64, 0),
        (ScmpArch::X86, Machine::X86_64, X86, 0),
        (ScmpArch::X32, Machine::X86_64, X86_64, X32_BIT),
        (ScmpArch::Aarch64, Machine::Aarch64, AARCH64, 0),
        (ScmpArch::Arm, Machine::Aarch64, ARM, 0),
    ];
    let mut wrong = Vec::new();
    let mut names = 0;
    for (oracle, machine, arch, base) in machines {
        for number in (0..700).chain(0xf_0000..0xf_0008) {
            let number: u32 = base + number;
            let syscall = ScmpSyscall::from_raw_syscall(number.cast_signed());
            let Ok(name) = syscall.get_name_by_arch(oracle) else { continue };
            names += 1;
            let profile = serde_json::from_value(json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"],
                "syscalls": [{"names": [&name], "action": "SCMP_ACT_ALLOW"}],
            }));
            let filter = compile(&profile.expect("a profile"), machine).expect("it compiles");
            let verdict = interpret(&filter.program, &Call { arch, number, args: [0; 6] }).0;
            if verdict != 0x7fff_0000 && !DIFFERENT.contains(&(name.as_str(), oracle)) {
                wrong.push(format!("{name} {number:#x} {oracle:?}"));
            }
        }
    }
    assert!(names > 1500, "{names}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
