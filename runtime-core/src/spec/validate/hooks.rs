//! `hooks`: programs run at fixed points of the container's life.

use super::strings;
use crate::spec::fault::Report;
use oci_spec::runtime::{Hook, Hooks};

pub(super) fn check(hooks: &Hooks, report: &mut Report) {
    // Deprecated, yet part of the spec, and what Docker and nvidia-container-toolkit write.
    #[allow(deprecated)]
    let prestart = hooks.prestart();
    let kinds = [
        ("prestart", prestart),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (kind, hooks) in kinds {
        for (index, hook) in hooks.iter().flatten().enumerate() {
            check_one(&format!("hooks.{kind}[{index}]"), hook, report);
        }
    }
}

fn check_one(at: &str, hook: &Hook, report: &mut Report) {
    strings::absolute(|| format!("{at}.path"), hook.path(), report);
    strings::environment(&format!("{at}.env"), hook.env().as_deref(), report);
    if let Some(timeout) = hook.timeout().filter(|timeout| *timeout <= 0) {
        report.fault(format!("{at}.timeout"), format!("{timeout} must be greater than 0"));
    }
}
