//! `linux.devices`.

use super::strings;
use crate::spec::fault::Report;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType};
use std::path::Path;

/// The kernel's `dev_t` has 12 bits for the major number and 20 for the minor.
const MAX_MAJOR: i64 = (1 << 12) - 1;
const MAX_MINOR: i64 = (1 << 20) - 1;

pub(super) fn check(linux: &Linux, report: &mut Report) {
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        let at = format!("linux.devices[{index}]");
        if device.path().as_os_str().is_empty() {
            report.fault(format!("{at}.path"), "required");
        } else {
            strings::absolute(|| format!("{at}.path"), device.path(), report);
        }
        if device.path() == Path::new("/") {
            report.fault(format!("{at}.path"), "\"/\" is the container's root directory");
        }
        if device.typ() == LinuxDeviceType::A {
            report.fault(format!("{at}.type"), "\"a\" is not one of c, b, u, p");
        } else if device.typ() != LinuxDeviceType::P {
            number(&at, "major", device.major(), MAX_MAJOR, report);
            number(&at, "minor", device.minor(), MAX_MINOR, report);
        }
        file_mode(&at, device, report);
        for (key, id) in [("uid", device.uid()), ("gid", device.gid())] {
            if id == Some(u32::MAX) {
                report.fault(format!("{at}.{key}"), "4294967295 is no id");
            }
        }
    }
}

fn number(at: &str, key: &str, value: i64, max: i64, report: &mut Report) {
    if !(0..=max).contains(&value) {
        report.fault(format!("{at}.{key}"), format!("{value} is not between 0 and {max}"));
    }
}

/// Permission bits; the type's own bits may stand beside them, as stat(2) gives them to engines.
fn file_mode(at: &str, device: &LinuxDevice, report: &mut Report) {
    let Some(mode) = device.file_mode() else { return };
    let own_type = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => libc::S_IFCHR,
    };
    let file_type = mode & libc::S_IFMT;
    if mode > (libc::S_IFMT | 0o7777) {
        report.fault(
            format!("{at}.fileMode"),
            format!("{mode} is more than a file mode can be (is it in decimal?)"),
        );
    } else if file_type != 0 && file_type != own_type {
        report.fault(
            format!("{at}.fileMode"),
            format!("{mode} (octal {mode:o}) is the mode of another type of file"),
        );
    }
}
