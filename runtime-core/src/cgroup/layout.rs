//! Which control group hierarchies this host has, and where we are in them.

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use super::error::CgroupError;

/// Where every distribution mounts them.
const USUAL_PLACE: &str = "/sys/fs/cgroup";
/// Where version 2 is below the usual place, beside version 1.
const UNIFIED: &str = "unified";
const OWN_CGROUPS: &str = "/proc/self/cgroup";
const MOUNTS: &str = "/proc/self/mountinfo";
/// The inode number of a hierarchy's topmost directory.
const TOPMOST_INODE: u64 = 1;
const OWN_NAMESPACE: &str = "/proc/self/ns/cgroup";
/// The inode number of the first cgroup namespace, `CGROUP_NS_INIT_INO` of linux/nsfs.h.
const FIRST_NAMESPACE: u64 = 0xefff_fffb;

/// A mounted hierarchy, or the part of it that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyMount {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Which directory of the hierarchy is mounted there, as our cgroup namespace names it.
    pub root: String,
}

/// A mounted version 1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Hierarchy {
    /// Its controllers with commas between, or `name=` and its name, as in `/proc/PID/cgroup`.
    pub label: String,
    /// Where it is mounted.
    pub mount: HierarchyMount,
}

impl V1Hierarchy {
    /// Its controllers; none, if it only has a name.
    pub fn controllers(&self) -> impl Iterator<Item = &str> {
        controllers_of(&self.label)
    }
}

pub(super) fn controllers_of(label: &str) -> impl Iterator<Item = &str> {
    label.split(',').filter(|part| !part.is_empty() && !part.contains('='))
}

/// The hierarchies of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Version 2 alone.
    V2(HierarchyMount),
    /// Version 1, and version 2 beside it.
    Hybrid {
        /// The version 1 hierarchies.
        controllers: Vec<V1Hierarchy>,
        /// The version 2 hierarchy.
        unified: HierarchyMount,
    },
    /// Version 1 alone.
    V1(Vec<V1Hierarchy>),
    /// No hierarchy is mounted where we could see it.
    #[default]
    None,
}

impl Layout {
    /// The version 1 hierarchies.
    #[must_use]
    pub fn v1(&self) -> &[V1Hierarchy] {
        match self {
            Self::Hybrid { controllers, .. } | Self::V1(controllers) => controllers,
            Self::V2(_) | Self::None => &[],
        }
    }

    /// The version 2 hierarchy.
    #[must_use]
    pub fn v2(&self) -> Option<&HierarchyMount> {
        match self {
            Self::V2(mount) | Self::Hybrid { unified: mount, .. } => Some(mount),
            Self::V1(_) | Self::None => None,
        }
    }

    /// The layout that `/proc/self/mountinfo` shows to a process in the groups `own`.
    #[must_use]
    pub fn parse(mountinfo: &[u8], own: &OwnCgroups) -> Self {
        let mounts = cgroup_mounts(mountinfo);
        let unified = mounts.iter().filter(|m| m.version == 2).min_by_key(|m| rank(m));
        if let Some(mount) = unified.filter(|m| m.place.mount_point == Path::new(USUAL_PLACE)) {
            return Self::V2(mount.place.clone());
        }
        let mut controllers = Vec::new();
        for (label, _) in &own.v1 {
            let serves = |m: &&Mount| m.version == 1 && label.split(',').all(|part| m.has(part));
            if let Some(mount) = mounts.iter().filter(serves).min_by_key(|m| rank(m)) {
                controllers.push(V1Hierarchy { label: label.clone(), mount: mount.place.clone() });
            }
        }
        match (controllers.is_empty(), unified) {
            (true, Some(mount)) => Self::V2(mount.place.clone()),
            (false, Some(mount)) => Self::Hybrid { controllers, unified: mount.place.clone() },
            (false, None) => Self::V1(controllers),
            (true, None) => Self::None,
        }
    }
}

/// The groups that this process is in, as its cgroup namespace names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnCgroups {
    /// The label and the path of each version 1 hierarchy, mounted or not.
    pub v1: Vec<(String, String)>,
    /// The path in the version 2 hierarchy.
    pub v2: Option<String>,
}

impl OwnCgroups {
    /// Reads the form of `/proc/PID/cgroup`; lines of another form are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut own = Self::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(number), Some(label), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            match (number, label) {
                ("0", "") => own.v2 = Some(path.to_owned()),
                (_, "") => {}
                _ => own.v1.push((label.to_owned(), path.to_owned())),
            }
        }
        own
    }

    /// The path in the version 1 hierarchy of this label.
    #[must_use]
    pub fn v1_path(&self, label: &str) -> Option<&str> {
        self.v1.iter().find(|(l, _)| l == label).map(|(_, path)| path.as_str())
    }
}

/// Finds the hierarchies and our place in them.
///
/// Where they are mounted as nearly everywhere, the list of mounts, long where many containers run, is not read.
///
/// # Errors
/// [`CgroupError::Io`] if the files in `/proc` cannot be read.
pub fn detect() -> Result<(Layout, OwnCgroups), CgroupError> {
    let own = OwnCgroups::parse(&String::from_utf8_lossy(&read(OWN_CGROUPS)?));
    let layout = match usual_here(&own) {
        Some(layout) => layout,
        None => Layout::parse(&read(MOUNTS)?, &own),
    };
    Ok((layout, own))
}

/// [`usual`] of this host.
///
/// In another cgroup namespace than the first the topmost directory has another name than `/`, which the list of mounts tells.
fn usual_here(own: &OwnCgroups) -> Option<Layout> {
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata(OWN_NAMESPACE).ok()?.ino() != FIRST_NAMESPACE {
        return None;
    }
    usual(own, |path| Topmost::at(&Path::new(USUAL_PLACE).join(path)))
}

/// The topmost directory of a hierarchy.
#[derive(Clone, Copy)]
struct Topmost {
    version: u8,
    device: u64,
}

impl Topmost {
    /// What is mounted at `path`, if it is a whole hierarchy.  With another directory than the topmost mounted there, the
    /// list of mounts must tell which one it is.
    fn at(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let version = match statfs(path).ok()?.filesystem_type() {
            CGROUP_SUPER_MAGIC => 1,
            CGROUP2_SUPER_MAGIC => 2,
            _ => return None,
        };
        let stat = std::fs::metadata(path).ok()?;
        (stat.ino() == TOPMOST_INODE).then(|| Self { version, device: stat.dev() })
    }
}

/// The layout, if all hierarchies are where systemd, and everybody after it, mounts them: version 2 alone at the usual place,
/// or those of version 1 below it by their labels, and version 2, if it has ever been mounted, in `unified`.
///
/// `at` tells what is mounted below the usual place.
fn usual(own: &OwnCgroups, at: impl Fn(&str) -> Option<Topmost>) -> Option<Layout> {
    let whole = |name: &str| HierarchyMount {
        mount_point: if name.is_empty() { USUAL_PLACE.into() } else { Path::new(USUAL_PLACE).join(name) },
        root: "/".to_owned(),
    };
    if let Some(found) = at("") {
        return (found.version == 2).then(|| Layout::V2(whole("")));
    }
    let unified = at(UNIFIED);
    // Version 2 is somewhere else, or a part of it is there, or what is there is something else.
    if own.v1.is_empty() || unified.map_or(own.v2.is_some(), |found| found.version != 2) {
        return None;
    }
    let mut devices = Vec::with_capacity(own.v1.len());
    let mut controllers = Vec::with_capacity(own.v1.len());
    for (label, _) in &own.v1 {
        let name = label.strip_prefix("name=").unwrap_or(label);
        // A hierarchy may be named `..`.
        let found = at(name).filter(|found| found.version == 1 && !name.starts_with('.'))?;
        // The same hierarchy by two names: one of them is not what it is called.
        if devices.contains(&found.device) {
            return None;
        }
        devices.push(found.device);
        controllers.push(V1Hierarchy { label: label.clone(), mount: whole(name) });
    }
    Some(match unified {
        Some(_) => Layout::Hybrid { controllers, unified: whole(UNIFIED) },
        None => Layout::V1(controllers),
    })
}

fn read(path: &str) -> Result<Vec<u8>, CgroupError> {
    crate::host::slurp(path)
        .map_err(|e| CgroupError::io("read", Path::new(path), Errno::from_raw(e.raw_os_error().unwrap_or(0))))
}

/// A mounted hierarchy, with the options that tell which one.
struct Mount {
    version: u8,
    place: HierarchyMount,
    options: String,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|o| o == option)
    }
}

/// The order in which mounts of one hierarchy are preferred: below the usual place, then whole ones.
fn rank(mount: &Mount) -> (bool, bool) {
    (!mount.place.mount_point.starts_with(USUAL_PLACE), mount.place.root != "/")
}

/// One line of the list of mounts (`proc_pid_mountinfo(5)`), its text as it stands there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Line<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    root: &'a [u8],
    mount_point: &'a [u8],
    fs_type: &'a [u8],
    options: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b' ');
        let (id, parent, root) = (fields.next()?, fields.next()?, fields.nth(1)?);
        let mount_point = fields.next()?;
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let (fs_type, options) = (fields.next()?, fields.nth(1)?);
        Some(Self { id, parent, root, mount_point, fs_type, options })
    }

    fn mount(&self) -> Option<Mount> {
        let version = match self.fs_type {
            b"cgroup" => 1,
            b"cgroup2" => 2,
            _ => return None,
        };
        let place = HierarchyMount {
            mount_point: PathBuf::from(std::ffi::OsString::from_vec(unescape(self.mount_point))),
            root: String::from_utf8_lossy(&unescape(self.root)).into_owned(),
        };
        Some(Mount { version, place, options: String::from_utf8_lossy(self.options).into_owned() })
    }
}

fn cgroup_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let lines: Vec<Line<'_>> = mountinfo.split(|&b| b == b'\n').filter_map(Line::parse).collect();
    let hierarchies: Vec<(Line<'_>, Mount)> = lines.iter().filter_map(|l| Some((*l, l.mount()?))).collect();
    // Of the many mounts of a busy host only those at or above a hierarchy's can hide it.
    let above = |l: &Line<'_>| hierarchies.iter().any(|(h, _)| covers(l.mount_point, h.mount_point));
    let relevant: Vec<Line<'_>> = lines.iter().copied().filter(above).collect();
    hierarchies.into_iter().filter(|(line, _)| !is_hidden(*line, &relevant)).map(|(_, mount)| mount).collect()
}

/// Whether the path `upper` is `lower` or above it.
fn covers(upper: &[u8], lower: &[u8]) -> bool {
    let upper = upper.strip_suffix(b"/").unwrap_or(upper);
    lower.strip_prefix(upper).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Whether another mount lies over a mount, or over the way to it.
///
/// On the way down from the topmost mount, each is left at the mount point of the next.  One that is mounted on the
/// same mount at or above that point is met first.
fn is_hidden(line: Line<'_>, mounts: &[Line<'_>]) -> bool {
    let mut below = line;
    let mut on = line;
    // As many steps as there are mounts at most, should the list be of a shape that none can have.
    for _ in 0..=mounts.len() {
        let meets = |m: &Line<'_>| {
            m.parent == on.id && m.id != on.id && m.id != below.id && covers(m.mount_point, below.mount_point)
        };
        if mounts.iter().any(meets) {
            return true;
        }
        let Some(parent) = mounts.iter().find(|m| m.id == on.parent && m.id != on.id) else { return false };
        below = on;
        on = *parent;
    }
    false
}

/// Undoes the escapes of the list of mounts: a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        let value = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        out.push(value.unwrap_or(first));
        rest = if value.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "\
22 1 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";
    const HYBRID: &str = "\
31 22 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw
33 31 0:30 / /sys/fs/cgroup/systemd rw,relatime shared:11 master:3 - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/net\\040cls rw,relatime - cgroup cgroup rw,net_cls
36 27 0:33 /docker/abc /mnt/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
";
    const OWN: &str =
        "5:net_cls:/\n4:cpu,cpuacct:/user:s\n3:memory:/x\n1:name=systemd:/init.scope\n0::/init.scope\n";

    fn mount(point: &str, root: &str) -> HierarchyMount {
        HierarchyMount { mount_point: point.into(), root: root.into() }
    }

    fn v1(label: &str, point: &str, root: &str) -> V1Hierarchy {
        V1Hierarchy { label: label.into(), mount: mount(point, root) }
    }

    #[test]
    fn own_groups() {
        let own = OwnCgroups::parse(OWN);
        assert_eq!(own.v2.as_deref(), Some("/init.scope"));
        assert_eq!(own.v1_path("cpu,cpuacct"), Some("/user:s"), "a path may hold colons");
        assert_eq!(own.v1_path("name=systemd"), Some("/init.scope"));
        assert_eq!(own.v1_path("cpu"), None);
        assert_eq!(OwnCgroups::parse("x\n1:\n2::/anonymous\n"), OwnCgroups::default());
    }

    #[test]
    fn version_2_alone() {
        let own = OwnCgroups::parse("0::/user.slice\n");
        assert_eq!(Layout::parse(V2.as_bytes(), &own), Layout::V2(mount("/sys/fs/cgroup", "/")));
    }

    #[test]
    fn hybrid_with_shared_controllers_and_a_named_hierarchy() {
        let layout = Layout::parse(HYBRID.as_bytes(), &OwnCgroups::parse(OWN));
        let expected = Layout::Hybrid {
            controllers: vec![
                v1("net_cls", "/sys/fs/cgroup/net cls", "/"),
                v1("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/"),
                v1("name=systemd", "/sys/fs/cgroup/systemd", "/"),
            ],
            unified: mount("/sys/fs/cgroup/unified", "/"),
        };
        assert_eq!(layout, expected, "memory is not mounted, and the usual place goes first");
        assert_eq!(layout.v1()[1].controllers().collect::<Vec<_>>(), ["cpu", "cpuacct"]);
        assert_eq!(layout.v1()[2].controllers().count(), 0);
    }

    #[test]
    fn version_1_alone_also_elsewhere_and_in_part() {
        let text = "36 31 0:33 /docker/abc /mnt/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        let layout = Layout::parse(text.as_bytes(), &OwnCgroups::parse(OWN));
        assert_eq!(layout, Layout::V1(vec![v1("cpu,cpuacct", "/mnt/cpu", "/docker/abc")]));
    }

    #[test]
    fn a_hidden_mount_does_not_count() {
        let text = format!("{V2}40 30 0:50 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n");
        assert_eq!(Layout::parse(text.as_bytes(), &OwnCgroups::parse(OWN)), Layout::None);
    }

    #[test]
    fn what_lies_over_the_way_there_hides_it() {
        let own = OwnCgroups::parse(OWN);
        // The root is often mounted, and listed, after what was moved below it.
        let root = "27 1 254:0 / / rw - ext4 /dev/vda rw\n22 27 0:20 / /sys rw - sysfs sysfs rw\n";
        let hybrid = format!("{HYBRID}{root}");
        assert!(matches!(Layout::parse(hybrid.as_bytes(), &own), Layout::Hybrid { .. }));
        let over = format!("{hybrid}50 31 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(Layout::parse(over.as_bytes(), &own), Layout::V2(mount("/sys/fs/cgroup", "/")));
        // Over /sys itself everything below it goes; that elsewhere stays.
        let over = format!("{hybrid}50 22 0:60 / /sys rw - sysfs sysfs rw\n");
        let left = vec![v1("cpu,cpuacct", "/mnt/cpu", "/docker/abc")];
        assert_eq!(Layout::parse(over.as_bytes(), &own), Layout::V1(left));
        // A name that only begins the same hides nothing.
        let beside = format!("{hybrid}50 22 0:60 / /sys/fs/cg rw - tmpfs tmpfs rw\n");
        assert_eq!(Layout::parse(beside.as_bytes(), &own), Layout::parse(hybrid.as_bytes(), &own));
        let circle = "1 2 0:1 / /c rw - cgroup2 cgroup2 rw\n2 1 0:1 / /c rw - cgroup2 cgroup2 rw\n";
        let _ = Layout::parse(circle.as_bytes(), &own);
    }

    /// What is at these names below the usual place.
    fn world<'a>(found: &'a [(&'a str, u8, u64)]) -> impl Fn(&str) -> Option<Topmost> + 'a {
        move |name| {
            let (_, version, device) = found.iter().find(|(at, ..)| *at == name)?;
            Some(Topmost { version: *version, device: *device })
        }
    }

    #[test]
    fn where_everybody_mounts_them() {
        let own = OwnCgroups::parse(OWN);
        assert_eq!(usual(&own, world(&[("", 2, 1)])), Some(Layout::V2(mount("/sys/fs/cgroup", "/"))));
        let all = [("net_cls", 1, 1), ("cpu,cpuacct", 1, 2), ("memory", 1, 3), ("systemd", 1, 4)];
        let v1 = vec![
            v1("net_cls", "/sys/fs/cgroup/net_cls", "/"),
            v1("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/"),
            v1("memory", "/sys/fs/cgroup/memory", "/"),
            v1("name=systemd", "/sys/fs/cgroup/systemd", "/"),
        ];
        let without_v2 = OwnCgroups { v2: None, ..own.clone() };
        assert_eq!(usual(&without_v2, world(&all)), Some(Layout::V1(v1.clone())));
        assert_eq!(usual(&own, world(&all)), None, "version 2 is elsewhere");
        let unified = [&all[..], &[("unified", 2, 5)]].concat();
        let hybrid = Layout::Hybrid { controllers: v1, unified: mount("/sys/fs/cgroup/unified", "/") };
        assert_eq!(usual(&own, world(&unified)), Some(hybrid));
    }

    #[test]
    fn otherwise_the_list_of_mounts_tells() {
        let own = OwnCgroups::parse(OWN);
        let all = [("net_cls", 1, 1), ("cpu,cpuacct", 1, 2), ("memory", 1, 3), ("systemd", 1, 4)];
        assert_eq!(usual(&own, world(&all[1..])), None, "one is elsewhere, or in part");
        assert_eq!(usual(&own, world(&[])), None);
        assert_eq!(usual(&OwnCgroups::default(), world(&[])), None);
        let twice = [("net_cls", 1, 1), ("cpu,cpuacct", 1, 2), ("memory", 1, 2), ("systemd", 1, 4)];
        assert_eq!(usual(&own, world(&twice)), None, "one is not what it is called");
        let other = [("net_cls", 1, 1), ("cpu,cpuacct", 2, 2), ("memory", 1, 3), ("systemd", 1, 4)];
        assert_eq!(usual(&own, world(&other)), None);
        assert_eq!(usual(&own, world(&[("", 1, 1)])), None, "one hierarchy of version 1 in the place of all");
        let taken = [&all[..], &[("unified", 1, 5)]].concat();
        assert_eq!(usual(&own, world(&taken)), None, "something of version 1 in the place of version 2");
        let upwards = OwnCgroups::parse("1:name=..:/\n");
        assert_eq!(usual(&upwards, world(&[("..", 1, 1)])), None);
    }

    #[test]
    fn both_ways_agree_about_this_host() {
        let own = OwnCgroups::parse(&String::from_utf8_lossy(&read(OWN_CGROUPS).unwrap()));
        if let Some(layout) = usual_here(&own) {
            assert_eq!(layout, Layout::parse(&read(MOUNTS).unwrap(), &own));
        }
    }

    #[test]
    fn odd_lines_are_passed_over() {
        let text = "\n1\n1 2 3 / /x\n1 2 3 / /x rw - cgroup\n1 2 3 / /y rw - cgroup cgroup\n\\";
        assert_eq!(Layout::parse(text.as_bytes(), &OwnCgroups::parse(OWN)), Layout::None);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(b"a\\040b\\134c"), b"a b\\c");
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\999\\777"), b"\\999\\777");
    }

    #[test]
    fn this_host_is_read() {
        let (layout, own) = detect().unwrap();
        for hierarchy in layout.v1() {
            assert!(hierarchy.mount.mount_point.join("cgroup.procs").exists());
            assert!(own.v1_path(&hierarchy.label).is_some());
        }
        if let Some(v2) = layout.v2() {
            assert!(v2.mount_point.join("cgroup.procs").exists());
        }
    }
}
