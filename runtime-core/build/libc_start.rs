//! Whether the start of the C library that is linked is one that `src/sys/libc_start.rs` can stand in for: a part of the build
//! scripts of the programs, and of the test that looks at what came of it.

use std::path::PathBuf;
use std::process::Command;

/// `libc-start.o` of the static C libraries that it was written for, by length and checksum.
const KNOWN: [(usize, u64); 1] = [
    // glibc 2.36 of Debian 12
    (23_344, 0x857a_1bb2_fccf_6884),
];

/// Asked by a build script: of the target it is run for.
pub fn is_replaceable() -> bool {
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    // Another machine's library is not where this one's compiler looks, nor is one for which another linker is named.
    let is_here =
        std::env::var("HOST") == std::env::var("TARGET") && std::env::var_os("RUSTC_LINKER").is_none();
    is_static && is_here && is_known()
}

/// Whether this machine's static C library is one of those.
pub fn is_known() -> bool {
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
