//! The rules of runtime-spec 1.3.0 for Linux that need nothing but the config itself.

mod devices;
mod hooks;
mod linux;
mod mounts;
mod namespaces;
mod numa;
mod process;
mod rdt;
pub(super) mod resources;
mod scheduling;
mod seccomp;
mod strings;

use super::fault::{Report, member};
use namespaces::Namespaces;
use oci_spec::runtime::{Process, Spec};

/// The warning for a section that belongs to another platform.
pub(super) const FOREIGN: &str = "is for another platform than Linux: ignored";

/// The kernel's `__NEW_UTS_LEN`.
const MAX_UTS_NAME: usize = 64;

/// Checks everything; `bytes` are the JSON that `spec` came from.
pub(super) fn validate(spec: &Spec, bytes: &[u8], report: &mut Report) {
    version(spec.version(), report);
    foreign(spec, report);
    match spec.root() {
        None => report.fault("root", "required"),
        Some(root) if root.path().as_os_str().is_empty() => report.fault("root.path", "required"),
        Some(_) => {}
    }
    let namespaces = Namespaces::of(spec);
    mounts::check(spec, &namespaces, report);
    match spec.process() {
        None => report.fault("process", "required to create a container"),
        Some(process) => self::process(process, report),
    }
    uts_name("hostname", spec.hostname().as_deref(), &namespaces, report);
    uts_name("domainname", spec.domainname().as_deref(), &namespaces, report);
    if let Some(hooks) = spec.hooks() {
        hooks::check(hooks, report);
    }
    for key in spec.annotations().iter().flatten().map(|(key, _)| key).filter(|key| key.is_empty()) {
        report.fault(member("annotations", key), "an annotation's key must not be empty");
    }
    linux::check(spec, &namespaces, report);
    strings::check_nul(spec, bytes, report);
}

/// Whether the check that reports at `path` looks at the namespaces.
pub(super) fn rests_on_namespaces(path: &str) -> bool {
    [
        "hostname",
        "domainname",
        "mounts[",
        "process.user",
        "linux.uidMappings",
        "linux.gidMappings",
        "linux.timeOffsets",
        "linux.sysctl",
        "linux.netDevices",
        "linux.maskedPaths",
        "linux.readonlyPaths",
    ]
    .iter()
    .any(|start| path.starts_with(start))
}

fn version(version: &str, report: &mut Report) {
    if version.is_empty() {
        return report.fault("ociVersion", "required");
    }
    match semver_major(version) {
        Some("1") => {}
        Some("0") => report
            .fault("ociVersion", format!("{version:?} is older than 1.0.0, the oldest that is supported")),
        Some(major) => report
            .fault("ociVersion", format!("version {major} of the specification is not supported, only 1")),
        None => {
            report
                .fault("ociVersion", format!("{version:?} is not a SemVer 2.0.0 version such as \"1.3.0\""));
        }
    }
}

/// The major version, when `version` has the form that SemVer 2.0.0 gives.
fn semver_major(version: &str) -> Option<&str> {
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let identifier = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let numeric = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    let no_leading_zero = |id: &str| id == "0" || !id.starts_with('0');
    let pre_identifier = |id: &str| identifier(id) && (!numeric(id) || no_leading_zero(id));
    let mut numbers = core.split('.');
    let (major, minor, patch) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let core_ok = numbers.next().is_none()
        && [major, minor, patch].into_iter().all(|n| numeric(n) && no_leading_zero(n));
    let ok = core_ok
        && pre.is_none_or(|pre| pre.split('.').all(pre_identifier))
        && build.is_none_or(|build| build.split('.').all(identifier));
    ok.then_some(major)
}

/// `process`, of a configuration or by itself.
pub(super) fn process(process: &Process, report: &mut Report) {
    process::check(process, "process", report);
}

fn foreign(spec: &Spec, report: &mut Report) {
    let sections = [
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
    ];
    for (name, _) in sections.into_iter().filter(|(_, present)| *present) {
        report.warn(name, FOREIGN);
    }
}

fn uts_name(path: &str, name: Option<&str>, namespaces: &Namespaces, report: &mut Report) {
    let Some(name) = name else { return };
    if !namespaces.has_uts() {
        report.fault(path, "needs a uts namespace in linux.namespaces: it would change the host's");
    }
    if name.len() > MAX_UTS_NAME {
        report.fault(path, format!("is {} bytes long, more than the kernel's {MAX_UTS_NAME}", name.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::semver_major;

    #[test]
    fn semver() {
        for (version, major) in [
            ("1.3.0", Some("1")),
            ("1.0.0-rc5", Some("1")),
            ("1.0.0-rc5-dev", Some("1")),
            ("1.2.0+dev", Some("1")),
            ("1.99.7-alpha.1.x+b.01", Some("1")),
            ("10.0.0", Some("10")),
            ("1.0", None),
            ("1.0.0.0", None),
            ("01.0.0", None),
            ("1.0.00", None),
            ("1.0.0-", None),
            ("1.0.0-01", None),
            ("1.0.0+", None),
            ("1.0.x", None),
            ("v1.0.0", None),
            (" 1.0.0", None),
        ] {
            assert_eq!(semver_major(version), major, "{version}");
        }
    }
}
