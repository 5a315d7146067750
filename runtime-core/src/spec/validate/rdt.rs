//! `linux.intelRdt`.

use crate::spec::fault::Report;
use oci_spec::runtime::LinuxIntelRdt;

/// What resctrl keeps at its root beside the classes of service.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

pub(super) fn check(rdt: &LinuxIntelRdt, report: &mut Report) {
    if let Some(id) = rdt.clos_id().as_deref().filter(|id| *id != "/") {
        // It becomes the name of a directory of the resctrl filesystem.
        if id == "." || id == ".." || id.contains(['/', '\n']) {
            report.fault("linux.intelRdt.closID", format!("{id:?} must be \"/\" or the name of a directory"));
        } else if RESERVED.contains(&id) {
            report.fault("linux.intelRdt.closID", format!("{id:?} is a name that resctrl keeps for itself"));
        }
    }
    if let Some(schema) = rdt.l3_cache_schema().as_deref() {
        no_newline("linux.intelRdt.l3CacheSchema", schema, report);
        if !schema.starts_with("L3") {
            report.warn("linux.intelRdt.l3CacheSchema", "should start with \"L3:\"");
        }
    }
    if let Some(schema) = rdt.mem_bw_schema().as_deref() {
        no_newline("linux.intelRdt.memBwSchema", schema, report);
        if !schema.starts_with("MB:") {
            report.fault("linux.intelRdt.memBwSchema", format!("{schema:?} must start with \"MB:\""));
        }
    }
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        no_newline(&format!("linux.intelRdt.schemata[{index}]"), line, report);
    }
}

fn no_newline(at: &str, line: &str, report: &mut Report) {
    if line.contains('\n') {
        report.fault(at, "must not contain a newline");
    }
}
