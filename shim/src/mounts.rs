//! The root file system, which containerd describes as mounts and the shim makes.

use crate::api::Mount;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use orlop_core::sys::Reason;
use std::path::{Path, PathBuf};

/// The kernel takes one page of data.
const MAX_DATA: usize = 4095;

/// Flags by their names in fstab; `true` sets them.
const FLAGS: [(&str, MsFlags, bool); 26] = [
    ("async", MsFlags::MS_SYNCHRONOUS, false),
    ("atime", MsFlags::MS_NOATIME, false),
    ("bind", MsFlags::MS_BIND, true),
    ("dev", MsFlags::MS_NODEV, false),
    ("diratime", MsFlags::MS_NODIRATIME, false),
    ("dirsync", MsFlags::MS_DIRSYNC, true),
    ("exec", MsFlags::MS_NOEXEC, false),
    ("mand", MsFlags::MS_MANDLOCK, true),
    ("noatime", MsFlags::MS_NOATIME, true),
    ("nodev", MsFlags::MS_NODEV, true),
    ("nodiratime", MsFlags::MS_NODIRATIME, true),
    ("noexec", MsFlags::MS_NOEXEC, true),
    ("nomand", MsFlags::MS_MANDLOCK, false),
    ("norelatime", MsFlags::MS_RELATIME, false),
    ("nostrictatime", MsFlags::MS_STRICTATIME, false),
    ("nosuid", MsFlags::MS_NOSUID, true),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC), true),
    ("relatime", MsFlags::MS_RELATIME, true),
    ("remount", MsFlags::MS_REMOUNT, true),
    ("ro", MsFlags::MS_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, false),
    ("strictatime", MsFlags::MS_STRICTATIME, true),
    ("suid", MsFlags::MS_NOSUID, false),
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("loud", MsFlags::MS_SILENT, false),
    ("silent", MsFlags::MS_SILENT, true),
];
const PROPAGATION: [(&str, MsFlags); 8] = [
    ("private", MsFlags::MS_PRIVATE),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("shared", MsFlags::MS_SHARED),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("slave", MsFlags::MS_SLAVE),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("unbindable", MsFlags::MS_UNBINDABLE),
    ("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
];

/// Options taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    flags: MsFlags,
    propagation: Option<MsFlags>,
    data: Vec<String>,
}

fn parse(options: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed { flags: MsFlags::empty(), propagation: None, data: Vec::new() };
    for option in options {
        if let Some((_, flag, set)) = FLAGS.iter().find(|(name, ..)| name == option) {
            parsed.flags.set(*flag, *set);
        } else if let Some((_, flags)) = PROPAGATION.iter().find(|(name, _)| name == option) {
            parsed.propagation = Some(*flags);
        } else if option == "loop" || option.starts_with("X-containerd.") {
            return Err(format!(
                "mount option {option:?} is not supported: the snapshotter must attach the device itself"
            ));
        } else if !matches!(option.as_str(), "" | "defaults") {
            parsed.data.push(option.clone());
        }
    }
    Ok(parsed)
}

/// The directory that the layers of a long overlay have in common, and the options with paths relative to it: many layers
/// fit in a page only so.
fn relative_layers(data: &[String]) -> Option<(PathBuf, Vec<String>)> {
    let index = data.iter().position(|option| option.starts_with("lowerdir="))?;
    let layers: Vec<&str> = data[index].strip_prefix("lowerdir=")?.split(':').collect();
    let first = layers.first()?;
    let mut common = first.rfind('/')?;
    for layer in &layers {
        while !layer.as_bytes().starts_with(first.get(..=common)?.as_bytes()) {
            common = first.get(..common)?.rfind('/')?;
        }
    }
    let base = first.get(..=common)?;
    let short: Vec<&str> = layers.iter().map(|layer| layer.get(base.len()..).unwrap_or_default()).collect();
    if base == "/" || short.iter().any(|layer| layer.is_empty()) {
        return None;
    }
    let mut options = data.to_vec();
    options[index] = format!("lowerdir={}", short.join(":"));
    Some((PathBuf::from(base), options))
}

/// Calls mount(2), from the directory `base` if there is one.
fn call(base: Option<&Path>, m: &Mount, target: &Path, flags: MsFlags, data: &str) -> nix::Result<()> {
    let data = (!data.is_empty()).then_some(data);
    if let Some(base) = base {
        // A working directory of this thread's own: the others work in `/`.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?;
        nix::unistd::chdir(base)?;
    }
    let mounted = mount(Some(m.source.as_str()), target, Some(m.kind.as_str()), flags, data);
    if base.is_some() {
        // What else the thread does is done in `/`.
        let _ = nix::unistd::chdir("/");
    }
    mounted
}

fn mount_one(m: &Mount, target: &Path) -> Result<(), String> {
    let failed = |what: &str, e: nix::Error| {
        format!("{what} {} ({}) at {}: {}", m.source, m.kind, target.display(), Reason::from(e))
    };
    let parsed = parse(&m.options)?;
    let mut data = parsed.data.join(",");
    let mut base = None;
    if data.len() > MAX_DATA
        && m.kind == "overlay"
        && let Some((directory, options)) = relative_layers(&parsed.data)
    {
        data = options.join(",");
        base = Some(directory);
    }
    if data.len() > MAX_DATA {
        return Err(failed("mount options are too long for", nix::Error::E2BIG));
    }
    call(base.as_deref(), m, target, parsed.flags, &data).map_err(|e| failed("mount", e))?;
    // A bind takes no other flags: they come with a second call.
    let others = parsed.flags.difference(MsFlags::MS_BIND | MsFlags::MS_REC);
    if parsed.flags.contains(MsFlags::MS_BIND) && !others.is_empty() {
        let again = parsed.flags.difference(MsFlags::MS_REC) | MsFlags::MS_REMOUNT;
        call(None, m, target, again, "").map_err(|e| failed("remount", e))?;
    }
    match parsed.propagation {
        Some(flags) => call(None, m, target, flags, "").map_err(|e| failed("set the propagation of", e)),
        None => Ok(()),
    }
}

/// Makes the mounts of a root file system at `rootfs`.
///
/// # Errors
/// One cannot be made; none is left then.
pub fn mount_all(mounts: &[Mount], rootfs: &Path) -> Result<(), String> {
    for m in mounts {
        let made = if m.target.is_empty() || m.target == "/" {
            mount_one(m, rootfs)
        } else {
            Err(format!(
                "mount of {} at {}: a place inside the root file system is not supported",
                m.source, m.target
            ))
        };
        if let Err(e) = made {
            unmount_all(rootfs);
            return Err(e);
        }
    }
    Ok(())
}

/// Takes down whatever is mounted at `rootfs`.
pub fn unmount_all(rootfs: &Path) {
    loop {
        match umount2(rootfs, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Somebody looks at it still; it goes when he does.
            Err(nix::Error::EBUSY) => {
                if umount2(rootfs, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH).is_err() {
                    return;
                }
            }
            // Nothing is mounted there.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn options_are_flags_or_data() {
        let parsed = parse(&strings(&["ro", "rbind", "nosuid", "suid", "rslave", "upperdir=/u"])).unwrap();
        assert_eq!(parsed.flags, MsFlags::MS_RDONLY | MsFlags::MS_BIND | MsFlags::MS_REC);
        assert_eq!(parsed.propagation, Some(MsFlags::MS_SLAVE | MsFlags::MS_REC));
        assert_eq!(parsed.data, ["upperdir=/u"]);
        assert!(parse(&strings(&["loop"])).unwrap_err().contains("\"loop\""));
    }

    #[test]
    fn long_lists_of_layers_become_relative() {
        let data = strings(&["workdir=/w", "lowerdir=/var/lib/s/12/fs:/var/lib/s/1/fs:/var/lib/s/123/fs"]);
        let (base, options) = relative_layers(&data).unwrap();
        assert_eq!(base, Path::new("/var/lib/s"));
        assert_eq!(options, ["workdir=/w", "lowerdir=12/fs:1/fs:123/fs"]);
        assert_eq!(relative_layers(&strings(&["lowerdir=/a:/b"])), None, "nothing but the root in common");
        assert_eq!(relative_layers(&strings(&["size=1m"])), None);
    }
}
