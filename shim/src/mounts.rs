//! The root file system, which containerd describes as mounts and the shim makes.

use crate::api::Mount;
use crate::idmapped;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use orlop_core::sys::{self, Fd, LoopFlags, Reason};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// The source is a file, to be attached to a loop device.
    file: bool,
    data: Vec<String>,
}

fn parse(options: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed { flags: MsFlags::empty(), propagation: None, file: false, data: Vec::new() };
    for option in options {
        if let Some((_, flag, set)) = FLAGS.iter().find(|(name, ..)| name == option) {
            parsed.flags.set(*flag, *set);
        } else if let Some((_, flags)) = PROPAGATION.iter().find(|(name, _)| name == option) {
            parsed.propagation = Some(*flags);
        } else if option.starts_with("X-containerd.") {
            return Err(format!(
                "mount option {option:?} is not supported: containerd has to see to it itself"
            ));
        } else {
            match option.as_str() {
                "loop" => parsed.file = true,
                "" | "defaults" => {}
                _ => parsed.data.push(option.clone()),
            }
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

/// Where a mount goes: on the root, or on a place inside it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    rootfs: &'a Path,
    inside: &'a str,
}

impl<'a> Place<'a> {
    /// The root file system's own place.
    pub(crate) const fn rootfs(self) -> &'a Path {
        self.rootfs
    }

    /// Calls with a path of the place as it is now, with all that is mounted there; links that are in the root file system do not
    /// lead out of it.
    pub(crate) fn with<T>(self, call: impl FnOnce(&Path) -> nix::Result<T>) -> nix::Result<T> {
        if matches!(self.inside, "" | "/") {
            return call(self.rootfs);
        }
        let root = open(self.rootfs, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let place = openat2(&root, self.inside, how)?;
        call(Path::new(&format!("/proc/self/fd/{}", place.as_raw_fd())))
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inside = Path::new(self.inside.trim_start_matches('/'));
        write!(f, "{}", self.rootfs.join(inside).display())
    }
}

/// Calls mount(2), from the directory `base` if there is one.
fn call(
    base: Option<&Path>,
    m: &Mount,
    source: &Path,
    target: &Path,
    flags: MsFlags,
    data: &str,
) -> nix::Result<()> {
    let data = (!data.is_empty()).then_some(data);
    if let Some(base) = base {
        // A working directory of this thread's own: the others work in `/`.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?;
        nix::unistd::chdir(base)?;
    }
    let mounted = mount(Some(source), target, Some(m.kind.as_str()), flags, data);
    if base.is_some() {
        // What else the thread does is done in `/`.
        let _ = nix::unistd::chdir("/");
    }
    mounted
}

/// How often another may be faster to use the loop device that was free.
const ATTEMPTS: u32 = 100;

/// A loop device with `file` attached to it, open; it is let go of by the kernel when nobody has it open or mounted.
fn attach(file: &str, flags: LoopFlags) -> Result<(OwnedFd, PathBuf), String> {
    let failed = |what: &str, path: &Path, e: Reason| format!("{what} {}: {e}", path.display());
    let access = if flags.read_only { OFlag::O_RDONLY } else { OFlag::O_RDWR } | OFlag::O_CLOEXEC;
    let opened = |path: &Path, access| {
        open(path, access, Mode::empty()).map_err(|e| failed("open", path, Reason::from(e)))
    };
    let backing = opened(Path::new(file), access)?;
    let control = Path::new("/dev/loop-control");
    let control_fd = opened(control, OFlag::O_RDWR | OFlag::O_CLOEXEC)?;
    for attempt in 1.. {
        let number = sys::free_loop_device(Fd::from(&control_fd));
        let number = number.map_err(|e| failed("find a free loop device by", control, e.reason()))?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = opened(&path, access)?;
        match sys::attach_to_loop_device(Fd::from(&device), Fd::from(&backing), file.as_bytes(), flags) {
            Ok(()) => return Ok((device, path)),
            Err(e) if e.errno == nix::Error::EBUSY as i32 && attempt < ATTEMPTS => {
                // A little later each time: else those who race for devices meet again and again.
                std::thread::sleep(Duration::from_millis(attempt.into()));
            }
            Err(e) => return Err(failed("attach a file to", &path, e.reason())),
        }
    }
    Err(format!("{file}: no loop device"))
}

/// Options that fit into what mount(2) takes, and the directory that they are relative to.
fn fit(m: &Mount, options: &[String]) -> Result<(Option<PathBuf>, String), nix::Error> {
    let mut data = options.join(",");
    let mut base = None;
    if data.len() > MAX_DATA
        && m.kind == "overlay"
        && let Some((directory, options)) = relative_layers(options)
    {
        data = options.join(",");
        base = Some(directory);
    }
    if data.len() > MAX_DATA { Err(nix::Error::E2BIG) } else { Ok((base, data)) }
}

fn mount_one(m: &Mount, place: Place<'_>) -> Result<(), String> {
    let failed = |what: &str, e: nix::Error| {
        format!("{what} {} ({}) at {place}: {}", m.source, m.kind, Reason::from(e))
    };
    let mut parsed = parse(&m.options)?;
    let maps = idmapped::maps(&mut parsed.data)?;
    if let (Some(maps), "overlay") = (&maps, m.kind.as_str()) {
        // Of an overlay it is the layers that are mapped.
        let mounted = idmapped::overlay(place, &parsed.data, parsed.flags, maps);
        return mounted.map_err(|e| format!("mount overlay with mapped ids at {place}: {e}"));
    }
    let mut device = None;
    if parsed.file {
        let before = parsed.data.len();
        parsed.data.retain(|option| option != "direct-io");
        let direct_io = parsed.data.len() < before;
        let read_only = parsed.flags.contains(MsFlags::MS_RDONLY);
        device = Some(attach(&m.source, LoopFlags { read_only, direct_io })?);
    }
    let source = device.as_ref().map_or(Path::new(&m.source), |(_, path)| path);
    let (base, data) = fit(m, &parsed.data).map_err(|e| failed("mount options are too long for", e))?;
    let mount = |flags| place.with(|target| call(base.as_deref(), m, source, target, flags, &data));
    mount(parsed.flags).map_err(|e| failed("mount", e))?;
    let change = |flags| place.with(|target| call(None, m, source, target, flags, ""));
    // A bind takes no other flags: they come with a second call.
    let others = parsed.flags.difference(MsFlags::MS_BIND | MsFlags::MS_REC);
    if parsed.flags.contains(MsFlags::MS_BIND) && !others.is_empty() {
        let again = parsed.flags.difference(MsFlags::MS_REC) | MsFlags::MS_REMOUNT;
        change(again).map_err(|e| failed("remount", e))?;
    }
    if let Some(flags) = parsed.propagation {
        change(flags).map_err(|e| failed("set the propagation of", e))?;
    }
    maps.map_or(Ok(()), |maps| idmapped::cover(place, &maps))
}

/// Makes the mounts of a root file system at `rootfs`, in their order; those with a target on that place inside it, which has to
/// be there.
///
/// # Errors
/// One cannot be made; none is left then.
pub fn mount_all(mounts: &[Mount], rootfs: &Path) -> Result<(), String> {
    for m in mounts {
        if let Err(e) = mount_one(m, Place { rootfs, inside: &m.target }) {
            unmount_all(rootfs);
            return Err(e);
        }
    }
    Ok(())
}

/// Takes down whatever is mounted at `rootfs`, and below it.
pub fn unmount_all(rootfs: &Path) {
    let Ok(rootfs) = rootfs.canonicalize() else { return };
    // The last ones first: they may lie on others.
    for point in mount_points_below(&rootfs).into_iter().rev() {
        unmount(&point);
    }
}

fn unmount(point: &Path) {
    match umount2(point, MntFlags::UMOUNT_NOFOLLOW) {
        // Somebody looks at it still; it goes when he does.
        Err(nix::Error::EBUSY) => {
            if let Err(e) = umount2(point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH) {
                log::warn!("unmount {}: {}", point.display(), Reason::from(e));
            }
        }
        Err(e) => log::warn!("unmount {}: {}", point.display(), Reason::from(e)),
        Ok(()) => {}
    }
}

/// The mount points at and below a path, in the order in which they were mounted, of which there may be several at one place.
fn mount_points_below(top: &Path) -> Vec<PathBuf> {
    let Ok(info) = std::fs::read("/proc/thread-self/mountinfo") else { return Vec::new() };
    let points = info.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(unescape).filter(|point| point.starts_with(top)).collect()
}

/// Blanks and the like are written as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::new();
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let byte = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    pub(crate) fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn options_are_flags_or_data() {
        let parsed = parse(&strings(&["ro", "rbind", "nosuid", "suid", "rslave", "upperdir=/u"])).unwrap();
        assert_eq!(parsed.flags, MsFlags::MS_RDONLY | MsFlags::MS_BIND | MsFlags::MS_REC);
        assert_eq!(parsed.propagation, Some(MsFlags::MS_SLAVE | MsFlags::MS_REC));
        assert_eq!(parsed.data, ["upperdir=/u"]);
        assert!(parse(&strings(&["X-containerd.mkfs.fs=ext4"])).unwrap_err().contains("X-containerd"));
    }

    /// Told past the capture of output, in the form that `scripts/test` counts.
    pub(crate) fn skip(why: &str) {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = std::io::stderr().write_all(format!("SKIP 1: {test}: {why}\n").as_bytes());
    }

    /// A directory, in a mount namespace that is this test's thread's own; none for an ordinary user.
    pub(crate) fn own_world(name: &str) -> Option<PathBuf> {
        if !nix::unistd::geteuid().is_root() {
            skip("needs root");
            return None;
        }
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let path = std::env::temp_dir().join(format!("orlop-mounts-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("rootfs")).unwrap();
        // An overlay cannot lie on an overlay, which the directory may be on.
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        std::fs::create_dir(path.join("rootfs")).unwrap();
        Some(path)
    }

    pub(crate) fn the(kind: &str, source: &Path, target: &str, options: &[&str]) -> Mount {
        let source = source.to_str().unwrap().to_owned();
        Mount { kind: kind.to_owned(), source, target: target.to_owned(), options: strings(options) }
    }

    pub(crate) fn leave(world: &Path) {
        umount2(world, MntFlags::empty()).unwrap();
        std::fs::remove_dir_all(world).unwrap();
    }

    #[test]
    fn a_file_is_mounted_by_a_loop_device_which_goes_with_the_mount() {
        let Some(world) = own_world("loop") else { return };
        if !Path::new("/dev/loop-control").exists() {
            skip("there are no loop devices here");
            return leave(&world);
        }
        let (image, content, rootfs) = (world.join("image"), world.join("content"), world.join("rootfs"));
        std::fs::create_dir(&content).unwrap();
        std::fs::write(content.join("file"), "inside").unwrap();
        let made = std::process::Command::new("mke2fs")
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(["-q", "-t", "ext4", "-d", content.to_str().unwrap(), image.to_str().unwrap(), "4M"])
            .status();
        if !made.is_ok_and(|status| status.success()) {
            skip("mke2fs does not make an image here");
            return leave(&world);
        }
        for (options, read_only) in [(&["loop"][..], false), (&["ro", "loop", "direct-io"], true)] {
            mount_all(&[the("ext4", &image, "", options)], &rootfs).unwrap();
            let info = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let line = info.lines().find(|line| line.contains("orlop-mounts-loop") && line.contains("ext4"));
            let number =
                line.unwrap().split("/dev/loop").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            let device = PathBuf::from(format!("/sys/block/loop{number}"));
            let told = |file: &str| std::fs::read_to_string(device.join(file)).unwrap_or_default();
            assert_eq!(std::fs::read_to_string(rootfs.join("file")).unwrap(), "inside");
            assert_eq!(std::fs::write(rootfs.join("new"), "x").is_err(), read_only, "{options:?}");
            assert_eq!(told("ro").trim(), if read_only { "1" } else { "0" });
            assert_eq!(told("loop/autoclear").trim(), "1");
            let backing = told("loop/backing_file");
            assert!(backing.trim().ends_with("/image"), "{backing}");
            unmount_all(&rootfs);
            assert!(!rootfs.join("file").exists());
            // The kernel lets go of it by itself; somebody else may have it by then.
            let mut tries = 0;
            while told("loop/backing_file") == backing && tries < 1000 {
                std::thread::sleep(Duration::from_millis(10));
                tries += 1;
            }
            assert_ne!(told("loop/backing_file"), backing);
        }
        let missing = mount_all(&[the("ext4", &world.join("none"), "", &["loop"])], &rootfs).unwrap_err();
        assert!(missing.ends_with("/none: no such file or directory"), "{missing}");
        leave(&world);
    }

    #[test]
    fn a_place_inside_is_found_inside() {
        let Some(world) = own_world("target") else { return };
        let (rootfs, lower, data) = (world.join("rootfs"), world.join("lower"), world.join("data"));
        for directory in [&lower.join("srv/real"), &data, &world.join("outside")] {
            std::fs::create_dir_all(directory).unwrap();
        }
        std::fs::write(data.join("file"), "data").unwrap();
        // A link of the image that would lead out of it, were it followed from here.
        std::os::unix::fs::symlink("/srv/real", lower.join("link")).unwrap();
        std::os::unix::fs::symlink(world.join("outside"), lower.join("out")).unwrap();
        let root = the("bind", &lower, "", &["rbind"]);
        mount_all(&[root.clone(), the("bind", &data, "/link", &["rbind", "ro"])], &rootfs).unwrap();
        assert_eq!(std::fs::read_to_string(rootfs.join("srv/real/file")).unwrap(), "data");
        let refused = std::fs::write(rootfs.join("srv/real/new"), "x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::Error::EROFS as i32), "ro holds for a place inside too");
        std::fs::write(rootfs.join("srv/new"), "x").unwrap();
        unmount_all(&rootfs);
        assert!(mount_points_below(&rootfs).is_empty());
        assert!(!lower.join("srv/real/file").exists());
        // What is not there, and what is not inside, is no place; nothing is left of the others then.
        for target in ["/out", "/none"] {
            let error =
                mount_all(&[root.clone(), the("bind", &data, target, &["rbind"])], &rootfs).unwrap_err();
            assert!(error.ends_with(&format!("{target}: no such file or directory")), "{error}");
            assert!(mount_points_below(&rootfs).is_empty());
        }
        leave(&world);
    }

    #[test]
    fn more_layers_than_fit_in_a_page_are_mounted() {
        let Some(world) = own_world("layers") else { return };
        let layers: Vec<PathBuf> = (0..60).map(|n| world.join(format!("{n}{}", "-".repeat(50)))).collect();
        for (layer, n) in layers.iter().zip(0..) {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join(format!("file{n}")), "x").unwrap();
        }
        let rootfs = world.join("rootfs");
        let list = layers.iter().map(|layer| layer.to_str().unwrap()).collect::<Vec<_>>().join(":");
        assert!(list.len() > MAX_DATA);
        let lower = format!("lowerdir={list}");
        mount_all(&[the("overlay", Path::new("overlay"), "", &[&lower])], &rootfs).unwrap();
        for n in [0, 59] {
            assert!(rootfs.join(format!("file{n}")).exists(), "{n}");
        }
        assert_eq!(std::env::current_dir().unwrap(), Path::new("/"), "the thread's own");
        unmount_all(&rootfs);
        let long = format!("lowerdir=/{}", "x".repeat(5000));
        let error = mount_all(&[the("overlay", Path::new("overlay"), "", &[&long])], &rootfs).unwrap_err();
        assert!(error.starts_with("mount options are too long for overlay"), "{error}");
        leave(&world);
    }

    #[test]
    fn mount_points_are_read_as_they_are() {
        assert_eq!(unescape(b"/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(
            mount_points_below(Path::new("/proc")).first().map(PathBuf::as_path),
            Some(Path::new("/proc"))
        );
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
