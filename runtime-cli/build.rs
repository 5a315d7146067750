//! Where the program starts: see `runtime-core/src/sys/entry.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,-u,orlop_start,-e,orlop_start");
    }
}
