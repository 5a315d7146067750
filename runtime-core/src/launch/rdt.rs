//! Intel RDT: allocation and monitoring of caches and memory bandwidth through the resctrl file system (`linux.intelRdt`).
//!
//! A *class of service* is a directory of resctrl with `schemata` (what it may use) and `tasks` (who is in it); a *monitoring
//! group* is a directory in its `mon_groups`.  The default class is the root.  How each is found, made and left follows
//! config-linux.md, "IntelRdt".
//!
//! No machine with RDT was at hand.  The tests work on a directory with the files that the kernel's `resctrl.rst`
//! describes; what was never run is the kernel's own part: that it refuses bad schemata and fills `info/last_cmd_status`.

mod control;

pub use control::{
    BandwidthInfo, BandwidthUse, CacheInfo, RdtStats, Schemata, check, enter_all, schemata_now, stats, write,
};

use crate::plan;
use crate::state::IntelRdt;
use crate::sys::Reason;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What failed: `resctrl: write /sys/fs/resctrl/c1/schemata: invalid argument (mask f0f has non-consecutive 1-bits)`.
#[derive(Debug, thiserror::Error)]
pub enum RdtError {
    /// There is no resctrl to work on.
    #[error(
        "resctrl is not mounted: linux.intelRdt needs a CPU with RDT, and `mount -t resctrl resctrl /sys/fs/resctrl`"
    )]
    NotMounted,
    /// A file could not be used.
    #[error("resctrl: {action} {}: {reason}", path.display())]
    File {
        /// `write`, `make`, ….
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why; with the kernel's explanation where it gives one.
        reason: String,
    },
    /// The hardware or the kernel cannot do it.
    #[error("{0}")]
    Disabled(&'static str),
    /// A line that is none.
    #[error("{0:?} is not a line of resctrl's schemata")]
    Line(String),
    /// The class is to be used as it is, and there is none.
    #[error("resctrl: the class of service {} does not exist, and no schemata are given to make it", .0.display())]
    NoClass(PathBuf),
    /// The class exists and allows something else.
    #[error("resctrl: the class of service {} exists with other schemata: wanted {wanted:?}, found {found:?}", path.display())]
    OtherSchemata {
        /// The class.
        path: PathBuf,
        /// The resource's line that was asked for.
        wanted: String,
        /// The resource's line in the class.
        found: String,
    },
}

type Result<T> = std::result::Result<T, RdtError>;

fn file_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> RdtError {
    move |error| RdtError::File { action, path: path.to_owned(), reason: Reason::of(&error) }
}

/// What [`apply`] will make, to be put on record before.
///
/// # Errors
/// When resctrl is not mounted.
pub fn intent(wanted: &plan::IntelRdt) -> Result<Option<IntelRdt>> {
    Ok(Some(survey(&mounted()?, wanted)))
}

/// Makes what is missing, and puts the process `pid` into it.
///
/// # Errors
/// When resctrl is not mounted, the class is not what the configuration says, or the kernel refuses.
pub fn apply(wanted: &plan::IntelRdt, pid: i32) -> Result<IntelRdt> {
    apply_at(&mounted()?, wanted, pid)
}

/// Puts one more process of the container into its groups.
///
/// # Errors
/// When the kernel refuses.
pub fn join(group: &IntelRdt, pid: i32) -> Result<()> {
    let clos = &group.clos_path;
    if !clos.is_dir() {
        // Removed meanwhile, or unmounted: the container's own processes are not in it any more either.
        return Ok(());
    }
    // Where the kernel tells why it refuses; a class other than the root lies directly below it.
    let base = clos.parent().filter(|base| base.join("info").is_dir()).unwrap_or(clos);
    enter(base, clos, pid)?;
    group.monitoring_path.as_deref().map_or(Ok(()), |monitoring| enter(base, monitoring, pid))
}

/// Removes what was made for the container.  The processes in it fall back to the group above.
///
/// # Errors
/// When something is there and cannot be removed.
pub fn remove(group: &IntelRdt) -> Result<()> {
    if let Some(path) = &group.monitoring_path {
        remove_group(path)?;
    }
    if group.created_by_us { remove_group(&group.clos_path) } else { Ok(()) }
}

fn remove_group(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        r => r.map_err(file_error("remove", path)),
    }
}

/// Where the whole of resctrl is mounted.
fn mounted() -> Result<PathBuf> {
    let path = Path::new("/proc/self/mountinfo");
    let table = fs::read(path).map_err(file_error("read", path))?;
    find_mount(&table).ok_or(RdtError::NotMounted)
}

/// The first mount of the root of a resctrl in a mountinfo table (`proc_pid_mountinfo(5)`).
fn find_mount(table: &[u8]) -> Option<PathBuf> {
    table.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b' ');
        let (root, place) = (fields.nth(3)?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"resctrl" && root == b"/").then(|| unescape(place))
    })
}

/// A path of mountinfo, where space, tab, newline and backslash are three octal digits after a backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|_| *first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// Paths, and what is ours of them: only a class that bears the container's name is, and only if it was not there.  A class that
/// the configuration names is shared with others, whoever made it.
fn survey(base: &Path, wanted: &plan::IntelRdt) -> IntelRdt {
    let clos_path = if wanted.clos_id == "/" { base.to_owned() } else { base.join(&wanted.clos_id) };
    let created_by_us = !wanted.clos_given && !clos_path.exists();
    let monitoring_path = wanted.monitoring.then(|| clos_path.join("mon_groups").join(&wanted.container));
    IntelRdt { clos_path, created_by_us, monitoring_path }
}

fn apply_at(base: &Path, wanted: &plan::IntelRdt, pid: i32) -> Result<IntelRdt> {
    let group = survey(base, wanted);
    let class = &group.clos_path;
    if class.exists() && wanted.clos_given {
        compare(base, class, &wanted.schemata)?;
    } else if wanted.clos_given && wanted.schemata.is_empty() {
        return Err(RdtError::NoClass(class.clone()));
    } else {
        make(base, class)?;
        if let Err(error) = write_schemata(base, class, &wanted.schemata) {
            // Not left behind half made, for others to find; it was not there before.
            if wanted.clos_given || group.created_by_us {
                let _ = fs::remove_dir(class);
            }
            return Err(error);
        }
    }
    // The class first: a monitoring group takes only processes of its class.
    enter(base, class, pid)?;
    if let Some(monitoring) = &group.monitoring_path {
        make(base, monitoring)?;
        enter(base, monitoring, pid)?;
    }
    Ok(group)
}

fn make(base: &Path, path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        // Of a container of the same name that was not taken down.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        r => r.map_err(|error| explained(base, "make", path, error)),
    }
}

fn enter(base: &Path, group: &Path, pid: i32) -> Result<()> {
    write_file(base, &group.join("tasks"), &format!("{pid}\n"))
}

/// Writes all lines in one call: the kernel then applies all of them or none.
fn write_schemata(base: &Path, class: &Path, schemata: &[String]) -> Result<()> {
    if schemata.is_empty() {
        return Ok(());
    }
    let text: String = schemata.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    write_file(base, &class.join("schemata"), &text)
}

fn write_file(base: &Path, path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let opened = fs::OpenOptions::new().write(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| explained(base, "write", path, error))
}

/// The error with what the kernel says about the last command.
fn explained(base: &Path, action: &'static str, path: &Path, error: io::Error) -> RdtError {
    let status = fs::read_to_string(base.join("info/last_cmd_status")).unwrap_or_default();
    match file_error(action, path)(error) {
        RdtError::File { action, path, reason } if !matches!(status.trim(), "" | "ok") => {
            RdtError::File { action, path, reason: format!("{reason} ({})", status.trim()) }
        }
        plain => plain,
    }
}

/// A resource's share for each of its domains, as written.
type Shares<'a> = BTreeMap<&'a str, &'a str>;

/// `L3:0=ff;1=f` taken apart; `None` for a line of another form.
fn parse(line: &str) -> Option<(&str, Shares<'_>)> {
    let (resource, domains) = line.trim().split_once(':')?;
    let shares = domains.split(';').map(|domain| {
        let (id, share) = domain.split_once('=')?;
        Some((id.trim(), share.trim()))
    });
    Some((resource.trim(), shares.collect::<Option<_>>()?))
}

/// Checks that an existing class allows what is asked for, line by line, in the domains that are named.
fn compare(base: &Path, class: &Path, schemata: &[String]) -> Result<()> {
    if schemata.is_empty() {
        return Ok(());
    }
    let path = class.join("schemata");
    let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
    let there: BTreeMap<_, _> =
        text.lines().filter_map(|line| parse(line).map(|(name, shares)| (name, (shares, line)))).collect();
    for wanted in schemata.iter().flat_map(|lines| lines.lines()) {
        let parsed = parse(wanted);
        let found = parsed.as_ref().and_then(|(resource, _)| there.get(resource));
        let same = match (&parsed, found) {
            (Some((resource, shares)), Some((others, _))) => shares.iter().all(|(domain, share)| {
                others.get(domain).is_some_and(|other| same_share(base, resource, share, other))
            }),
            _ => false,
        };
        if !same {
            let found = found.map_or("", |(_, line)| line.trim()).to_owned();
            return Err(RdtError::OtherSchemata { path: class.to_owned(), wanted: wanted.to_owned(), found });
        }
    }
    Ok(())
}

/// Whether two shares mean the same: masks are hexadecimal, written with or without leading zeros; bandwidth is decimal and was
/// rounded up to the hardware's steps when it was set.
fn same_share(base: &Path, resource: &str, wanted: &str, found: &str) -> bool {
    if !matches!(resource, "MB" | "SMBA") {
        let mask = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        return mask(wanted).is_some() && mask(wanted) == mask(found);
    }
    let step = fs::read_to_string(base.join("info").join(resource).join("bandwidth_gran"));
    let step: u64 = step.ok().and_then(|step| step.trim().parse().ok()).filter(|step| *step > 0).unwrap_or(1);
    let steps = |text: &str| text.parse::<u64>().ok().map(|share| share.div_ceil(step));
    steps(wanted).is_some() && steps(wanted) == steps(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like resctrl to a reader.
    pub(super) struct Resctrl(PathBuf);

    impl Resctrl {
        pub(super) fn new(name: &str) -> Self {
            let base = std::env::temp_dir().join(format!("orlop-resctrl-{name}-{}", std::process::id()));
            fs::create_dir_all(base.join("info/MB")).unwrap();
            fs::write(base.join("info/MB/bandwidth_gran"), "10\n").unwrap();
            fs::write(base.join("info/last_cmd_status"), "ok\n").unwrap();
            Self::fill(&base);
            Self(base)
        }

        /// The files that the kernel puts into a new class.
        fn fill(class: &Path) {
            fs::create_dir_all(class.join("mon_groups")).unwrap();
            fs::write(class.join("schemata"), "    MB:0= 100;1= 100\n    L3:0=fffff;1=fffff\n").unwrap();
            fs::write(class.join("tasks"), "").unwrap();
        }

        pub(super) fn base(&self) -> &Path {
            &self.0
        }

        pub(super) fn class(&self, name: &str, schemata: &str) -> PathBuf {
            let class = self.0.join(name);
            Self::fill(&class);
            fs::write(class.join("schemata"), schemata).unwrap();
            class
        }

        pub(super) fn read(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).unwrap()
        }

        fn apply(&self, wanted: &plan::IntelRdt) -> std::result::Result<IntelRdt, String> {
            let hide = |e: RdtError| e.to_string().replace(self.0.to_str().unwrap(), "/R");
            apply_at(&self.0, wanted, 42).map_err(hide)
        }
    }

    impl Drop for Resctrl {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn wanted(clos: Option<&str>, schemata: &[&str], monitoring: bool) -> plan::IntelRdt {
        plan::IntelRdt {
            clos_id: clos.unwrap_or("c1").to_owned(),
            clos_given: clos.is_some(),
            container: "c1".to_owned(),
            schemata: schemata.iter().map(|line| (*line).to_owned()).collect(),
            monitoring,
        }
    }

    #[test]
    fn a_given_class_without_schemata_must_exist() {
        let resctrl = Resctrl::new("given");
        let class = resctrl.class("gold", "L3:0=f\n");
        let group = resctrl.apply(&wanted(Some("gold"), &[], false)).unwrap();
        assert_eq!(group, IntelRdt { clos_path: class, created_by_us: false, monitoring_path: None });
        assert_eq!(resctrl.read("gold/tasks"), "42\n");
        assert_eq!(resctrl.read("gold/schemata"), "L3:0=f\n", "not written");
        let error = resctrl.apply(&wanted(Some("silver"), &[], false)).unwrap_err();
        assert_eq!(
            error,
            "resctrl: the class of service /R/silver does not exist, and no schemata are given to make it"
        );
        assert!(!resctrl.0.join("silver").exists());
    }

    #[test]
    fn an_existing_class_must_have_the_schemata() {
        let resctrl = Resctrl::new("compare");
        resctrl.class("gold", "    MB:0=  30;1= 100\n    L3:0=000ff;1=fffff\n");
        // Masks as numbers, bandwidth in the steps of the hardware, only the domains that are named.
        resctrl.apply(&wanted(Some("gold"), &["L3:0=ff", "MB:0=25"], false)).unwrap();
        let error = resctrl.apply(&wanted(Some("gold"), &["L3:0=ff", "MB:0=35"], false)).unwrap_err();
        assert_eq!(
            error,
            "resctrl: the class of service /R/gold exists with other schemata: wanted \"MB:0=35\", found \"MB:0=  30;1= 100\""
        );
        for other in ["L3:0=f", "L3:2=ff", "L2:0=ff", "L3", "L3:0", "L3:0=xyz"] {
            resctrl.apply(&wanted(Some("gold"), &[other], false)).unwrap_err();
        }
    }

    #[test]
    fn the_root_is_the_default_class() {
        let resctrl = Resctrl::new("root");
        let group = resctrl.apply(&wanted(Some("/"), &[], true)).unwrap_err();
        // The kernel would have put a tasks file into the new group; that we looked for it there is the point.
        assert_eq!(group, "resctrl: write /R/mon_groups/c1/tasks: no such file or directory");
        assert_eq!(resctrl.read("tasks"), "42\n");
        let survey = survey(&resctrl.0, &wanted(Some("/"), &[], true));
        assert_eq!(survey.monitoring_path, Some(resctrl.0.join("mon_groups/c1")));
        remove(&survey).unwrap();
        assert!(!resctrl.0.join("mon_groups/c1").exists());
        assert!(resctrl.0.exists());
    }

    #[test]
    fn a_class_of_our_own_is_made_and_removed() {
        let resctrl = Resctrl::new("own");
        let survey = survey(&resctrl.0, &wanted(None, &["L3:0=f"], false));
        assert!(survey.created_by_us);
        // A plain directory has no schemata when it is new: the failure shows what comes next, and nothing is left.
        fs::write(resctrl.0.join("info/last_cmd_status"), "mask f0f has non-consecutive 1-bits\n").unwrap();
        let error = resctrl.apply(&wanted(None, &["L3:0=f"], false)).unwrap_err();
        assert_eq!(
            error,
            "resctrl: write /R/c1/schemata: no such file or directory (mask f0f has non-consecutive 1-bits)"
        );
        assert!(!resctrl.0.join("c1").exists());
        fs::create_dir(&survey.clos_path).unwrap();
        remove(&survey).unwrap();
        assert!(!resctrl.0.join("c1").exists());
        remove(&survey).unwrap();
    }

    #[test]
    fn schemata_are_written_in_one_piece() {
        let resctrl = Resctrl::new("write");
        // Left by a container of the same name: taken over, and not counted as ours.
        resctrl.class("c1", "");
        let group = resctrl.apply(&wanted(None, &["L3:0=f;1=f", "MB:0=20"], false)).unwrap();
        assert!(!group.created_by_us);
        assert_eq!(resctrl.read("c1/schemata"), "L3:0=f;1=f\nMB:0=20\n");
    }

    #[test]
    fn one_more_process_joins_the_same_groups() {
        let resctrl = Resctrl::new("join");
        resctrl.class("c1", "");
        let monitoring = resctrl.0.join("c1/mon_groups/c1");
        fs::create_dir_all(&monitoring).unwrap();
        fs::write(monitoring.join("tasks"), "").unwrap();
        let clos_path = resctrl.0.join("c1");
        let group = IntelRdt { clos_path, created_by_us: false, monitoring_path: Some(monitoring) };
        join(&group, 43).unwrap();
        assert_eq!(resctrl.read("c1/tasks"), "43\n");
        assert_eq!(resctrl.read("c1/mon_groups/c1/tasks"), "43\n");
        // One that is gone holds nobody.
        join(&IntelRdt { clos_path: resctrl.0.join("gone"), ..group }, 44).unwrap();
        assert_eq!(resctrl.read("c1/tasks"), "43\n");
    }

    #[test]
    fn the_mount_is_found_among_others() {
        let table = b"22 1 0:20 / /sys rw shared:7 - sysfs sysfs rw\n\
            40 22 0:33 /c1 /mnt/part rw - resctrl resctrl rw\n\
            41 22 0:33 / /sys/fs/res\\040ctrl rw,nosuid shared:8 master:2 - resctrl resctrl rw\n";
        assert_eq!(find_mount(table), Some(PathBuf::from("/sys/fs/res ctrl")));
        assert_eq!(find_mount(b"22 1 0:20 / /sys rw - sysfs resctrl rw\n"), None);
        assert_eq!(find_mount(b""), None);
    }
}
