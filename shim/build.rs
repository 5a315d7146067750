//! Where the shim starts: see `runtime-core/src/sys/libc_start.rs`.

#[path = "../runtime-core/build/libc_start.rs"]
mod libc_start;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") && libc_start::is_replaceable() {
        println!("cargo:rustc-link-arg-bins=-Wl,-u,orlop_libc_start,-e,orlop_libc_start");
    }
}
