//! The tests, by what they are about.

mod features;
mod groups;
mod hooks;
mod identity;
mod linux;
mod mounts;
mod namespaces;
mod network;
mod operations;
mod options;
mod process;
mod properties;
mod root;
mod seccomp;
mod state;

use super::case::Case;

const GROUPS: [&[Case]; 15] = [
    state::CASES,
    operations::CASES,
    hooks::CASES,
    properties::CASES,
    root::CASES,
    mounts::CASES,
    options::CASES,
    process::CASES,
    identity::CASES,
    linux::CASES,
    namespaces::CASES,
    network::CASES,
    groups::CASES,
    seccomp::CASES,
    features::CASES,
];

/// All tests.
pub fn all() -> impl Iterator<Item = &'static Case> {
    GROUPS.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;

    const FILES: [&str; 6] = [
        "runtime.md",
        "runtime-linux.md",
        "config.md",
        "config-linux.md",
        "features.md",
        "features-linux.md",
    ];

    #[test]
    fn each_has_a_name_of_its_own_and_a_place() {
        let mut names = BTreeSet::new();
        for case in all() {
            assert!(names.insert(case.name), "{} is there twice", case.name);
            let plain = |character: char| character.is_ascii_alphanumeric() || character == '-';
            assert!(case.name.chars().all(plain), "{}", case.name);
            let (file, section) = case.section.split_once('#').expect("a section");
            assert!(FILES.contains(&file) && !section.is_empty(), "{}: {}", case.name, case.section);
            assert!(!case.demand.is_empty() && !case.demand.ends_with('.'), "{}: {}", case.name, case.demand);
        }
    }
}
