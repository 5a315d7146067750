//! How long the filters are, what they cost each call, and how long they take to make, beside libseccomp's.
//!
//! `cargo test --release -p orlop-core --test seccomp_figures -- --nocapture` prints the table.

mod seccomp;

use oci_spec::runtime::{Arch, LinuxSeccomp};
use orlop_core::seccomp::{Machine, compile, sock_filter};
use seccomp::{Call, X32_BIT, X86, X86_64, check, interpret, oracle};
use std::time::{Duration, Instant};

/// The mean and the most instructions over all calls that the architectures of the profile have.
fn cost(program: &[sock_filter], archs: &[Arch]) -> (f64, usize) {
    let (mut sum, mut most, mut calls) = (0, 0, 0_u32);
    for arch in archs {
        let (audit, base, oracle) = match arch {
            Arch::ScmpArchX86 => (X86, 0, libseccomp::ScmpArch::X86),
            Arch::ScmpArchX32 => (X86_64, X32_BIT, libseccomp::ScmpArch::X32),
            _ => (X86_64, 0, libseccomp::ScmpArch::X8664),
        };
        for number in (0..600).map(|number| base + number) {
            let syscall = libseccomp::ScmpSyscall::from_raw_syscall(number.cast_signed());
            if syscall.get_name_by_arch(oracle).is_ok() {
                let steps = interpret(program, &Call { arch: audit, number, args: [0; 6] }).1;
                (sum, most, calls) = (sum + steps, most.max(steps), calls + 1);
            }
        }
    }
    (f64::from(u32::try_from(sum).expect("few")) / f64::from(calls), most)
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..50).map(|_| once(&mut work)).min().unwrap_or_default()
}

fn with(profile: &LinuxSeccomp, archs: &[Arch]) -> LinuxSeccomp {
    let mut profile = profile.clone();
    profile.set_architectures(Some(archs.to_vec()));
    profile
}

#[test]
fn the_engines_profiles_are_small_and_cheap() {
    println!("| profile, architectures | | instructions | per call, mean | most | compile |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for name in ["docker", "containerd", "podman"] {
        let three = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
        for archs in [&three[..1], &three[..]] {
            let profile = with(&seccomp::profile(name), archs);
            let ours = compile(&profile, Machine::X86_64).expect("it compiles").program;
            check(&ours);
            let (mean, most) = cost(&ours, archs);
            let time = fastest(|| drop(compile(&profile, Machine::X86_64)));
            println!(
                "| {name}, {} | orlop | {} | {mean:.1} | {most} | {} µs |",
                archs.len(),
                ours.len(),
                time.as_micros()
            );
            for (optimise, what) in [(false, "libseccomp"), (true, "libseccomp, tree")] {
                let theirs = oracle::compile(&profile, Machine::X86_64, optimise).expect("it compiles");
                let (mean, most) = cost(&theirs, archs);
                let time = fastest(|| drop(oracle::compile(&profile, Machine::X86_64, optimise)));
                println!("| | {what} | {} | {mean:.1} | {most} | {} µs |", theirs.len(), time.as_micros());
            }
            assert!(mean <= 15.0, "{name}: {mean} instructions per call");
            assert!(archs.len() > 1 || ours.len() <= 260, "{name}: {} instructions", ours.len());
            // Without optimisation, time says nothing.
            assert!(cfg!(debug_assertions) || time < Duration::from_micros(500), "{name}: {time:?}");
        }
    }
}
