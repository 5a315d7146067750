//! Invariant I1: the compiler makes no system call and reads no file.  A rule of the repository, held by reading it.

use std::path::Path;

/// What reaches the kernel or the file system.  Of `crate::sys` the types may be used, and the numbers.
const FORBIDDEN: [&str; 14] = [
    "std::fs",
    "std::process",
    "std::net",
    "std::env",
    "std::thread",
    "std::time",
    "std::io",
    "nix::",
    "File::",
    "unsafe",
    "SystemTime",
    "Instant::",
    ".exists()",
    "canonicalize(",
];

const ALLOWED_OF_SYS: [&str; 4] = ["MountAttr", "SchedAttr", "StringVector", "attr"];

/// The names that a line takes from `crate::sys`.
fn names_of_sys(line: &str) -> Vec<String> {
    let Some((_, rest)) = line.split_once("crate::sys") else { return Vec::new() };
    let names = rest.trim_start_matches("::").trim_start_matches('{');
    names
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

fn faults(file: &str, text: &str) -> Vec<String> {
    // Tests of a module come last in it, and may do what they need.
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut faults = Vec::new();
    for (number, line) in code.lines().enumerate() {
        // The names of paths and strings, `std::os::unix`, are pure.
        let line = line.split("//").next().unwrap_or_default().replace("std::os::unix::ffi", "");
        let line = line.as_str();
        let mut fault = |what: &str| faults.push(format!("{file}:{}: {what}: {line}", number + 1));
        FORBIDDEN.iter().filter(|word| line.contains(**word)).for_each(|word| fault(word));
        if line.contains("crate::sys") {
            let names = names_of_sys(line);
            if names.is_empty() || names.iter().any(|name| !ALLOWED_OF_SYS.contains(&name.as_str())) {
                fault("more of crate::sys than types");
            }
        }
        // Reads /proc.
        if line.contains("cgroup::detect") || line.contains("host::gather(") {
            fault("asks the host");
        }
    }
    faults
}

#[test]
fn the_compiler_is_pure() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan");
    let mut all = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with("_tests.rs") {
            continue;
        }
        assert!(path.is_file(), "a folder in src/plan: read it too");
        all.extend(faults(&name, &std::fs::read_to_string(&path).unwrap()));
        files += 1;
    }
    assert!(files > 20, "{files} files only");
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_rule_finds_what_it_forbids() {
    for line in [
        "use std::fs;",
        "let x = nix::unistd::getuid();",
        "use crate::sys;",
        "use crate::sys::{self, MountAttr};",
        "crate::sys::open()",
        "path.exists()",
    ] {
        assert_eq!(faults("x", line).len(), 1, "{line}");
    }
    for line in ["use crate::sys::{MountAttr, attr};", "// std::fs is not used", "use std::path::Path;"] {
        assert_eq!(faults("x", line), [""; 0], "{line}");
    }
}
