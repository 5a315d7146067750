//! Where containers are recorded when `--root` does not say.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use orlop_core::sys::Reason;

use crate::failure::Failure;

const SYSTEM: &str = "/run/orlop";
const NAME: &str = "orlop";

/// The state root for this caller.
///
/// An ordinary user's lies in `$XDG_RUNTIME_DIR`; without one, in `/run/user/UID` where login has made that, and
/// else in `/tmp/orlop-UID`, which is used only if it is a directory of ours that nobody else can enter.
///
/// # Errors
/// No such place is ours.
pub fn default_root() -> Result<PathBuf, Failure> {
    let uid = geteuid().as_raw();
    let runtime_dir = env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_absolute());
    if uid == 0 {
        return Ok(root_of_root(runtime_dir, in_user_namespace));
    }
    if let Some(dir) = runtime_dir {
        return Ok(Path::new(&dir).join(NAME));
    }
    let login = PathBuf::from(format!("/run/user/{uid}"));
    if is_private(&login, uid) {
        return Ok(login.join(NAME));
    }
    let last = PathBuf::from(format!("/tmp/{NAME}-{uid}"));
    // Whether it was made now or is there already, what counts is what it is.
    let made = DirBuilder::new().mode(0o700).create(&last);
    if is_private(&last, uid) {
        return Ok(last);
    }
    let why = made.err().map_or_else(String::new, |error| format!(" ({})", Reason::of(&error)));
    Err(Failure::new(format!(
        "no place to record containers in: XDG_RUNTIME_DIR is not set, and {} is not a private directory of user {uid}{why}; \
         set XDG_RUNTIME_DIR or give --root",
        last.display()
    )))
}

/// Root of a user namespace cannot write to the host's /run: it is an ordinary user to the host, and has that
/// user's runtime directory, unless it logged in as root in there.
fn root_of_root(runtime_dir: Option<OsString>, in_user_namespace: impl Fn() -> bool) -> PathBuf {
    match runtime_dir {
        Some(dir) if env::var_os("USER").is_none_or(|user| user != "root") && in_user_namespace() => {
            Path::new(&dir).join(NAME)
        }
        _ => PathBuf::from(SYSTEM),
    }
}

/// The initial user namespace maps every id to itself.
fn in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| maps_less_than_all(&map))
}

fn maps_less_than_all(map: &str) -> bool {
    !map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// A directory, not a link to one, that belongs to `uid` and that nobody else can enter.
fn is_private(path: &Path, uid: u32) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == uid && meta.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_namespace_is_told_from_a_container() {
        assert!(!maps_less_than_all("         0          0 4294967295\n"));
        assert!(maps_less_than_all("         0       1000          1\n"));
        assert!(maps_less_than_all("0 1000 1\n1 100000 65536\n"));
    }

    #[test]
    fn root_keeps_to_run_outside_a_user_namespace() {
        let dir = || Some(OsString::from("/x"));
        assert_eq!(root_of_root(dir(), || false), Path::new(SYSTEM));
        assert_eq!(root_of_root(None, || true), Path::new(SYSTEM));
    }

    #[test]
    fn a_directory_is_private_only_if_nobody_else_can_enter_it() {
        let base = env::temp_dir().join(format!("orlop-root-{}", std::process::id()));
        let uid = geteuid().as_raw();
        DirBuilder::new().mode(0o700).create(&base).unwrap();
        assert!(is_private(&base, uid));
        assert!(!is_private(&base, uid + 1), "it belongs to somebody else");
        let link = base.join("link");
        std::os::unix::fs::symlink(&base, &link).unwrap();
        assert!(!is_private(&link, uid), "a link is never followed");
        let open = base.join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        assert!(!is_private(&open, uid));
        fs::remove_dir_all(&base).unwrap();
    }
}
