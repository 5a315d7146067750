//! BPF programs that decide over the devices of a cgroup (`bpf(2)`, `BPF_PROG_TYPE_CGROUP_DEVICE`, Linux 4.15).

#![allow(unsafe_code)]

use super::{Call, Fd, Result, call, fd, own};
use core::mem::size_of;
use std::os::fd::OwnedFd;

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is used here.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The head of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// Loads a program of 64-bit instructions (`struct bpf_insn`).
///
/// # Errors
/// Those of `bpf(2)`; `EINVAL` and `EACCES` when the verifier refuses it.
pub fn bpf_load_device_program(instructions: &[u64]) -> Result<OwnedFd> {
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(b"orlop_devices") {
        *to = *from;
    }
    let attr = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name: name,
        ..Load::default()
    };
    // SAFETY: `attr` is of the size passed and points to `insn_cnt` instructions and a NUL-terminated licence, all alive.
    unsafe { call!(Call::Bpf, SYS_bpf, PROG_LOAD, &raw const attr, size_of::<Load>()) }.map(fd).map(own)
}

/// Attaches a program to the cgroup v2 directory `cgroup`; with `BPF_F_ALLOW_MULTI` (2) beside those that are there.
///
/// # Errors
/// Those of `bpf(2)`.
pub fn bpf_attach_device_program(cgroup: Fd, program: Fd, flags: u32) -> Result<()> {
    let attr = Attach {
        target_fd: cgroup.0.cast_unsigned(),
        attach_bpf_fd: program.0.cast_unsigned(),
        attach_type: CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: 0,
    };
    // SAFETY: `attr` is of the size passed and holds numbers only.
    unsafe { call!(Call::Bpf, SYS_bpf, PROG_ATTACH, &raw const attr, size_of::<Attach>()) }.map(drop)
}
