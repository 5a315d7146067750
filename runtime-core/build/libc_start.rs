//! Whether the start of the C library that is linked is one that `src/sys/libc_start.rs` can stand in for: a part of the build
//! scripts of the programs.

use std::path::PathBuf;
use std::process::Command;

/// `libc-start.o` of the static C libraries that it was written for, by length and checksum.
const KNOWN: [(usize, u64); 1] = [
    // glibc 2.36 of Debian 12
    (23_344, 0x857a_1bb2_fccf_6884),
];

/// Whether it is, for the target that a build script is run for.
pub fn is_replaceable() -> bool {
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let features = of_target("FEATURE");
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    is_static && of_target("ARCH") == "x86_64" && of_target("ENV") == "gnu" && is_here() && is_known()
}

/// Whether the library that is linked is the one that this machine's compiler names: not another machine's, nor where flags may lead
/// the linker elsewhere.
fn is_here() -> bool {
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut flags = flags.split('\x1f');
    let elsewhere =
        |flag: &str| flag.starts_with("-L") || flag.contains("linker=") || flag.contains("sysroot");
    std::env::var("HOST") == std::env::var("TARGET")
        && std::env::var_os("RUSTC_LINKER").is_none()
        && !flags.any(elsewhere)
}

/// Whether this machine's static C library is one of those.
fn is_known() -> bool {
    libc_start().is_some_and(|object| KNOWN.contains(&(object.len(), checksum(&object))))
}

/// `libc-start.o` out of `libc.a`, which is an ar(5) archive.
fn libc_start() -> Option<Vec<u8>> {
    let found = Command::new("cc").arg("-print-file-name=libc.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim_end());
    let archive = std::fs::read(&path).ok()?;
    println!("cargo:rerun-if-changed={}", path.display());
    let mut rest = archive.strip_prefix(b"!<arch>\n")?;
    while let Some((header, after)) = rest.split_at_checked(60) {
        let length: usize = std::str::from_utf8(&header[48..58]).ok()?.trim_end().parse().ok()?;
        if header.starts_with(b"libc-start.o/") {
            return after.get(..length).map(<[u8]>::to_vec);
        }
        // Members begin at even addresses.
        rest = after.get(length.next_multiple_of(2)..)?;
    }
    None
}

/// FNV-1a of 64 bits: it tells apart what nobody has made alike.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
