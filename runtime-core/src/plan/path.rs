//! Paths as text: cleaned, joined, never looked up.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The absolute path that `path` names below `/`, with `.`, `..` and repeated slashes resolved by text alone, as the
/// container's root has no above.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// The path for the kernel.
pub(super) fn c_path(path: &Path) -> CString {
    // The loader refuses NUL bytes in every string; a bundle's path cannot hold any.
    let bytes: Vec<u8> = path.as_os_str().as_bytes().iter().copied().filter(|b| *b != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_paths_stay_below_the_root() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("a/b", "/a/b"),
            ("/a//./b/", "/a/b"),
            ("/a/../../b", "/b"),
            ("../..", "/"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(expected), "{path:?}");
        }
    }
}
