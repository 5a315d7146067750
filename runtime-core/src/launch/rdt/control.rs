//! A class of service while its container runs: changing it, and reading what it uses.

use super::{IntelRdt, RdtError, Result, file_error, mounted, write_schemata};
use crate::plan;
use std::fs;
use std::path::Path;

/// Lines to change in a class of service.
pub struct Schemata<'a> {
    /// That of the L3 cache.
    pub l3: Option<&'a str>,
    /// That of the memory bandwidth.
    pub bandwidth: Option<&'a str>,
}

impl Schemata<'_> {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.l3.is_none() && self.bandwidth.is_none()
    }

    /// The lines.
    pub fn lines(&self) -> Vec<String> {
        self.l3.into_iter().chain(self.bandwidth).map(str::to_owned).collect()
    }

    /// A class of its own for a container that has none yet.
    pub fn class_of(&self, id: &str) -> plan::IntelRdt {
        plan::IntelRdt {
            clos_id: id.to_owned(),
            clos_given: false,
            container: id.to_owned(),
            schemata: self.lines(),
            monitoring: false,
        }
    }
}

/// What the hardware can do with the L3 cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheInfo {
    /// The mask of all parts, hexadecimal.
    pub cbm_mask: String,
    /// The least number of parts.
    pub min_cbm_bits: u64,
    /// The number of classes.
    pub num_closids: u64,
}

/// What the hardware can do with the memory bandwidth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthInfo {
    /// The steps, in percent.
    pub bandwidth_gran: u64,
    /// Whether the scale is linear.
    pub delay_linear: u64,
    /// The least share, in percent.
    pub min_bandwidth: u64,
    /// The number of classes.
    pub num_closids: u64,
}

/// The memory bandwidth used in one domain, in bytes since the group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthUse {
    /// To all memory.
    pub total_bytes: u64,
    /// To that of the domain itself.
    pub local_bytes: u64,
}

/// What resctrl says of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdtStats {
    /// The L3 cache, where it can be allocated.
    pub l3_cache: Option<CacheInfo>,
    /// The L3 line of the default class.
    pub l3_schema_root: String,
    /// The L3 line of the container's.
    pub l3_schema: String,
    /// The memory bandwidth, where it can be allocated.
    pub mem_bw: Option<BandwidthInfo>,
    /// The bandwidth's line of the default class.
    pub mem_bw_schema_root: String,
    /// The bandwidth's line of the container's.
    pub mem_bw_schema: String,
    /// The bandwidth used, by domain, where it is monitored.
    pub bandwidth: Vec<BandwidthUse>,
    /// The L3 cache filled, in bytes by domain, where it is monitored.
    pub llc_occupancy: Vec<u64>,
}

/// Checks that this machine can do what is asked for.
pub fn check(wanted: &Schemata<'_>) -> Result<()> {
    check_at(mounted().ok().as_deref(), wanted)
}

fn check_at(base: Option<&Path>, wanted: &Schemata<'_>) -> Result<()> {
    let can = |resource: &str| base.is_some_and(|base| base.join("info").join(resource).is_dir());
    if wanted.l3.is_some() && !can("L3") && !can("L3CODE") {
        return Err(RdtError::Disabled("Intel RDT/CAT: l3 cache schema is not enabled"));
    }
    if wanted.bandwidth.is_some() && !can("MB") {
        return Err(RdtError::Disabled("Intel RDT/MBA: memory bandwidth schema is not enabled"));
    }
    if let Some(line) = wanted.lines().into_iter().find(|line| line.contains('\n')) {
        return Err(RdtError::Line(line));
    }
    match wanted.bandwidth {
        Some(line) if !line.starts_with("MB:") => Err(RdtError::Line(line.to_owned())),
        _ => Ok(()),
    }
}

/// The lines of a class as they are, of the resources that are to be changed.
pub fn schemata_now(group: &IntelRdt, wanted: &Schemata<'_>) -> Result<Vec<String>> {
    let path = group.clos_path.join("schemata");
    let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
    let resource = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
    let changed: Vec<String> = wanted.lines().iter().map(|line| resource(line)).collect();
    Ok(text
        .lines()
        .filter(|line| changed.contains(&resource(line)))
        .map(|line| line.trim().to_owned())
        .collect())
}

/// Changes lines of a class, in one call.
pub fn write(group: &IntelRdt, lines: &[String]) -> Result<()> {
    write_schemata(base_of(group), &group.clos_path, lines)
}

/// Where resctrl is mounted, of a class: it, or the directory above.
fn base_of(group: &IntelRdt) -> &Path {
    let class = &group.clos_path;
    if class.join("info").is_dir() { class } else { class.parent().unwrap_or(class) }
}

/// Puts all threads of the processes into a class: those too that are made meanwhile by one that is not in it yet.
pub fn enter_all(group: &IntelRdt, processes: impl Fn() -> Vec<i32>) -> Result<()> {
    let base = base_of(group);
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let mut any = false;
        for thread in processes().into_iter().flat_map(threads) {
            if seen.insert(thread) {
                any = true;
                match super::enter(base, &group.clos_path, thread) {
                    // It has ended.
                    Err(_) if !Path::new(&format!("/proc/{thread}")).exists() => {}
                    result => result?,
                }
            }
        }
        if !any {
            return Ok(());
        }
    }
}

fn threads(pid: i32) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Reads what resctrl says of a container.
pub fn stats(group: &IntelRdt) -> Result<RdtStats> {
    let base = base_of(group);
    let mut stats = RdtStats::default();
    let info =
        |file: &str| fs::read_to_string(base.join("info").join(file)).unwrap_or_default().trim().to_owned();
    let number = |file: &str| info(file).parse().unwrap_or(0);
    let schemata = |class: &Path| {
        let path = class.join("schemata");
        fs::read_to_string(&path).map_err(file_error("read", &path))
    };
    let (root, own) = (schemata(base)?, schemata(&group.clos_path)?);
    let line = |text: &str, resource: &str| {
        let found = text.lines().map(str::trim).find(|line| line.starts_with(resource));
        found.unwrap_or_default().to_owned()
    };
    if base.join("info/L3").is_dir() {
        stats.l3_cache = Some(CacheInfo {
            cbm_mask: info("L3/cbm_mask"),
            min_cbm_bits: number("L3/min_cbm_bits"),
            num_closids: number("L3/num_closids"),
        });
        (stats.l3_schema_root, stats.l3_schema) = (line(&root, "L3"), line(&own, "L3"));
    }
    if base.join("info/MB").is_dir() {
        stats.mem_bw = Some(BandwidthInfo {
            bandwidth_gran: number("MB/bandwidth_gran"),
            delay_linear: number("MB/delay_linear"),
            min_bandwidth: number("MB/min_bandwidth"),
            num_closids: number("MB/num_closids"),
        });
        (stats.mem_bw_schema_root, stats.mem_bw_schema) = (line(&root, "MB"), line(&own, "MB"));
    }
    if let Some(monitoring) = &group.monitoring_path {
        read_monitors(&monitoring.join("mon_data"), &mut stats);
    }
    Ok(stats)
}

/// One directory for each domain.
fn read_monitors(dir: &Path, stats: &mut RdtStats) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut domains: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    domains.sort();
    for domain in domains {
        let number = |file: &str| fs::read_to_string(domain.join(file)).ok()?.trim().parse().ok();
        if let Some(total_bytes) = number("mbm_total_bytes") {
            let local_bytes = number("mbm_local_bytes").unwrap_or(0);
            stats.bandwidth.push(BandwidthUse { total_bytes, local_bytes });
        }
        stats.llc_occupancy.extend(number("llc_occupancy"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Resctrl;
    use super::*;

    fn group(resctrl: &Resctrl, monitoring: bool) -> IntelRdt {
        let clos_path = resctrl.class("gold", "    MB:0= 30;1= 100\n    L3:0=ff;1=fffff\n");
        let monitoring_path = monitoring.then(|| clos_path.join("mon_groups/c1"));
        IntelRdt { clos_path, created_by_us: true, monitoring_path }
    }

    #[test]
    fn only_the_lines_that_are_given_change_and_can_be_set_back() {
        let resctrl = Resctrl::new("update");
        let group = group(&resctrl, false);
        let wanted = Schemata { l3: Some("L3:0=f"), bandwidth: None };
        let before = schemata_now(&group, &wanted).unwrap();
        assert_eq!(before, ["L3:0=ff;1=fffff"]);
        let both = Schemata { l3: Some("L3:0=f"), bandwidth: Some("MB:0=20") };
        write(&group, &both.lines()).unwrap();
        assert_eq!(resctrl.read("gold/schemata").lines().take(2).collect::<Vec<_>>(), ["L3:0=f", "MB:0=20"]);
    }

    #[test]
    fn what_the_machine_cannot_do_is_refused_in_runcs_words() {
        let resctrl = Resctrl::new("refuse");
        let l3 = Schemata { l3: Some("L3:0=f"), bandwidth: None };
        let bandwidth = |line| Schemata { l3: None, bandwidth: Some(line) };
        let text = |base, wanted: &Schemata<'_>| check_at(base, wanted).unwrap_err().to_string();
        assert_eq!(text(None, &l3), "Intel RDT/CAT: l3 cache schema is not enabled");
        assert_eq!(text(Some(resctrl.base()), &l3), "Intel RDT/CAT: l3 cache schema is not enabled");
        assert_eq!(text(None, &bandwidth("MB:0=1")), "Intel RDT/MBA: memory bandwidth schema is not enabled");
        assert!(text(Some(resctrl.base()), &bandwidth("0=1")).contains("not a line"));
        assert!(text(Some(resctrl.base()), &bandwidth("MB:0=1\nL3:0=f")).contains("not a line"));
        check_at(Some(resctrl.base()), &bandwidth("MB:0=1")).unwrap();
    }

    #[test]
    fn the_figures() {
        let resctrl = Resctrl::new("figures");
        let group = group(&resctrl, true);
        let domain = group.monitoring_path.clone().unwrap().join("mon_data/mon_L3_00");
        fs::create_dir_all(&domain).unwrap();
        for (file, text) in [("mbm_total_bytes", "9\n"), ("mbm_local_bytes", "4\n"), ("llc_occupancy", "7\n")]
        {
            fs::write(domain.join(file), text).unwrap();
        }
        let stats = stats(&group).unwrap();
        assert_eq!(stats.mem_bw, Some(BandwidthInfo { bandwidth_gran: 10, ..BandwidthInfo::default() }));
        assert_eq!(stats.mem_bw_schema, "MB:0= 30;1= 100");
        assert_eq!(stats.mem_bw_schema_root, "MB:0= 100;1= 100");
        assert_eq!((stats.l3_cache, stats.l3_schema.as_str()), (None, ""));
        assert_eq!(stats.bandwidth, [BandwidthUse { total_bytes: 9, local_bytes: 4 }]);
        assert_eq!(stats.llc_occupancy, [7]);
    }

    #[test]
    fn every_thread_of_every_process_enters() {
        let resctrl = Resctrl::new("threads");
        let group = group(&resctrl, false);
        let own = i32::try_from(std::process::id()).unwrap();
        enter_all(&group, || vec![own]).unwrap();
        // A plain file keeps only the last write at its start; that there is one, of a thread of ours, is what shows.
        let entered = resctrl.read("gold/tasks");
        let thread: i32 = entered.lines().next().unwrap().parse().unwrap();
        assert!(Path::new(&format!("/proc/{own}/task/{thread}")).exists() || thread > own, "{entered}");
    }
}
