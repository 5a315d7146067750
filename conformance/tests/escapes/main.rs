//! Attacks on a container runtime: the known escapes of runc, crun, youki and libcontainer, and variants of our own.
//!
//! Each test sets up what the attacker controls (the image, a volume, the process in the container), lets the runtime do its work, and
//! looks whether the attacker has got what it must not have.  What is attacked are files of the test itself, and copies.
//! `docs/escapes.md` lists them; `scripts/escapes RUNTIME…` runs them against other runtimes and says which attack succeeds where.
#![allow(missing_docs)]

mod binary;
mod descriptors;
mod devices;
mod entering;
mod mounts;
mod privileges;
mod procfs;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use conformance::harness::Container;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Fails a test because an attack has succeeded; `scripts/escapes` tells it from other failures by its first word.
#[macro_export]
macro_rules! breach {
    ($($what:tt)*) => { panic!("BREACH: {}", format_args!($($what)*)) };
}

/// Gives a container capabilities besides those that it has.
fn add_capabilities(container: &mut Container, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        let list =
            container.config["process"]["capabilities"][set].as_array_mut().expect("a set of capabilities");
        list.extend(names.iter().map(|name| serde_json::json!(name)));
    }
}

/// A directory of the host that is none of the container's, with files an attacker would like to read, replace or fill.
struct Victim {
    path: PathBuf,
}

impl Victim {
    const SECRET: &'static str = "of the host";

    fn new(container: &Container) -> Self {
        let path = PathBuf::from(container.host_directory("victim"));
        for name in ["file", "ptmx", "null", "console"] {
            fs::write(path.join(name), Self::SECRET).expect("a file of our own");
        }
        Self { path }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Fails when anything in it is not as it was.
    fn assert_untouched(&self) {
        let mut names: Vec<_> =
            fs::read_dir(&self.path).expect("our own directory").flatten().map(|e| e.file_name()).collect();
        names.sort();
        if names != ["console", "file", "null", "ptmx"] {
            breach!("the host's directory has now {names:?}");
        }
        for name in names {
            let path = self.path.join(&name);
            let kind = fs::symlink_metadata(&path).expect("our own file").file_type();
            if !kind.is_file() {
                breach!("{} of the host is now {kind:?}", name.display());
            }
            let text = fs::read_to_string(&path).expect("our own file");
            if text != Self::SECRET {
                breach!("{} of the host was written: {text:?}", name.display());
            }
        }
    }
}

/// Exchanges two names all the time, as another container would that shares the directory, while `work` is done.
fn while_swapping<T>(a: &Path, b: &Path, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // What is gone at this moment may come back.
                let _ = renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE);
            }
        });
        // Also when the work panics, or the scope would wait for ever.
        let _stop = StopAtEnd(&stop);
        work()
    })
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often a race is run: `ORLOP_RACES`, or a number for every day.
fn races() -> usize {
    std::env::var("ORLOP_RACES").ok().and_then(|n| n.parse().ok()).unwrap_or(30)
}

/// Puts a link at a place of the image, in place of what is there.
fn link_in_image(container: &Container, place: &str, target: impl AsRef<Path>) {
    let path = container.rootfs(place);
    let _ = fs::remove_dir(&path);
    let _ = fs::remove_file(&path);
    symlink(target, path).expect("a link in a directory of our own");
}
