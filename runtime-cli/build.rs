//! Where the program starts: see `runtime-core/src/sys/entry.rs` and `sys/libc_start.rs`; and what lies beside what in it.

use std::path::PathBuf;

#[path = "../runtime-core/build/libc_start.rs"]
mod libc_start;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=hot-functions.txt");
    println!("cargo::rustc-check-cfg=cfg(own_libc_start)");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,-u,orlop_start,-e,orlop_start");
        let replaced = libc_start::is_replaceable();
        if replaced {
            println!("cargo::rustc-cfg=own_libc_start");
        }
        let next = if replaced { "orlop_libc_start" } else { "_start" };
        println!("cargo:rustc-link-arg-bins=-Wl,-u,{next},--defsym=orlop_next={next}");
        // What a run executes lies together, so that it pages in and is charged for that alone.  The names carry hashes of
        // the compiler's: those that do not fit any more have no effect (scripts/hot-functions makes new ones).
        let order = std::path::absolute("hot-functions.txt").expect("a working directory");
        println!("cargo:rustc-link-arg-bins=-Wl,--symbol-ordering-file={}", order.display());
        println!("cargo:rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
        // Which of them fit, scripts/check-hot-functions finds out from the linker's map, since the program itself is stripped.
        if std::env::var("PROFILE").as_deref() == Ok("release") {
            let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
            let beside_the_program = out.ancestors().nth(3).expect("release/build/orlop-HASH/out");
            let map = beside_the_program.join("orlop.map");
            println!("cargo:rustc-link-arg-bin=orlop=-Wl,--no-demangle,-Map={}", map.display());
        }
    }
}
