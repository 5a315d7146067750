//! Where the shim starts: see `runtime-core/src/sys/libc_start.rs`.

#[path = "../runtime-core/build/libc_start.rs"]
mod libc_start;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if libc_start::is_replaceable() {
        // An entry that is not there would be none to the linker; a symbol that is to have its value is an error.
        println!(
            "cargo:rustc-link-arg-bins=-Wl,-u,orlop_libc_start,--defsym=orlop_next=orlop_libc_start,-e,orlop_next"
        );
    }
}
