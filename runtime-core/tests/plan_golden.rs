//! What configurations compile to, on which hosts: each case against a file in `tests/golden`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p orlop-core --test plan_golden` writes the files anew; read the difference before
//! committing it.

use oci_spec::runtime::Process;
use orlop_core::cgroup::systemd::{Address, Manager, Systemd};
use orlop_core::cgroup::{HierarchyMount, Layout, OwnCgroups, V1Hierarchy};
use orlop_core::plan::{self, ExecTarget, HostFacts, Namespace, Options};
use orlop_core::spec;
use serde_json::{Value, json};
use std::path::Path;

const ALL_CAPABILITIES: u64 = 0x1ff_ffff_ffff;

struct Case {
    config: Value,
    facts: HostFacts,
    options: Options,
}

fn mount(point: &str) -> HierarchyMount {
    HierarchyMount { mount_point: point.into(), root: "/".into() }
}

fn v2() -> (Layout, OwnCgroups) {
    (Layout::V2(mount("/sys/fs/cgroup")), OwnCgroups::parse("0::/user.slice/session.scope\n"))
}

fn hybrid() -> (Layout, OwnCgroups) {
    let v1 = |label: &str, directory: &str| V1Hierarchy {
        label: label.into(),
        mount: mount(&format!("/sys/fs/cgroup/{directory}")),
    };
    let controllers =
        vec![v1("cpu,cpuacct", "cpu,cpuacct"), v1("devices", "devices"), v1("name=systemd", "systemd")];
    let own = OwnCgroups::parse("3:cpu,cpuacct:/\n2:devices:/user\n1:name=systemd:/user/s\n0::/user/s\n");
    (Layout::Hybrid { controllers, unified: mount("/sys/fs/cgroup/unified") }, own)
}

fn root() -> HostFacts {
    let (cgroups, own_cgroups) = v2();
    HostFacts {
        kernel: (6, 18),
        euid: 0,
        egid: 0,
        permitted: ALL_CAPABILITIES,
        bounding: ALL_CAPABILITIES,
        privileged: true,
        in_user_namespace: false,
        map_helpers: false,
        cgroups,
        own_cgroups,
        systemd: Systemd::NotAsked,
        apparmor: false,
        selinux: false,
        kcore: true,
        ignored_signals: 0,
    }
}

fn user() -> HostFacts {
    HostFacts { euid: 1000, egid: 100, permitted: 0, privileged: false, map_helpers: true, ..root() }
}

fn options() -> Options {
    Options { id: "c1".into(), bundle: "/bundle".into(), ..Options::default() }
}

fn example(rootless: Option<(u32, u32)>) -> Value {
    serde_json::to_value(spec::example(rootless)).unwrap()
}

/// Next to nothing: what is in the plan comes from the case.
fn bare(namespaces: &[&str], more: Value) -> Value {
    let namespaces: Vec<Value> = namespaces.iter().map(|n| namespace(n)).collect();
    let mut config = json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["/bin/true"], "env": ["HOME=/"]},
        "linux": {"namespaces": namespaces},
    });
    merge(&mut config, more);
    config
}

/// `pid`, or `pid=/path` to join.
fn namespace(text: &str) -> Value {
    match text.split_once('=') {
        Some((typ, path)) => json!({"type": typ, "path": path}),
        None => json!({"type": text}),
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn case(config: Value) -> Case {
    Case { config, facts: root(), options: options() }
}

impl Case {
    fn on(mut self, facts: HostFacts) -> Self {
        self.facts = facts;
        self
    }

    fn on_hybrid(mut self) -> Self {
        (self.facts.cgroups, self.facts.own_cgroups) = hybrid();
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    fn check(&self, name: &str) {
        let loaded = match spec::load(self.config.to_string().as_bytes()) {
            Ok(loaded) => loaded,
            Err(error) => panic!("{name}: the loader refuses what the compiler should see: {error}"),
        };
        let text = match plan::compile(&loaded, &self.facts, &self.options) {
            Ok(plan) => plan.render_text(),
            Err(error) => format!("{error}\n"),
        };
        compare(name, &text);
    }
}

fn compare(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let difference = expected.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        expected == text,
        "{} differs, first: {difference:?}\n--- the plan is now:\n{text}",
        file.display()
    );
}

const MAPS: [u32; 3] = [0, 100_000, 65536];

fn maps(lines: &[[u32; 3]]) -> Value {
    lines.iter().map(|[c, h, s]| json!({"containerID": c, "hostID": h, "size": s})).collect()
}

fn mapped(uid: &[[u32; 3]], gid: &[[u32; 3]]) -> Value {
    json!({"linux": {"uidMappings": maps(uid), "gidMappings": maps(gid)}})
}

fn with_mounts(mounts: Value) -> Value {
    Value::Object([("mounts".to_owned(), mounts)].into_iter().collect())
}

#[test]
fn the_example_on_a_version_2_host() {
    case(example(None)).check("example_v2");
}

#[test]
fn the_example_on_a_hybrid_host() {
    case(example(None)).on_hybrid().check("example_hybrid");
}

#[test]
fn the_example_created_and_started_later() {
    case(example(None)).with(|o| o.detach_start = true).check("example_create");
}

#[test]
fn the_rootless_example() {
    case(example(Some((1000, 100)))).on(user()).check("example_rootless");
}

#[test]
fn the_rootless_example_on_a_hybrid_host() {
    case(example(Some((1000, 100)))).on(user()).on_hybrid().check("example_rootless_hybrid");
}

#[test]
fn rootless_with_ranges() {
    let lines = [[0, 1000, 1], [1, 100_000, 65536]];
    let gids = [[0, 100, 1], [1, 100_000, 65536]];
    let config = || bare(&["user", "mount", "pid"], mapped(&lines, &gids));
    case(config()).on(user()).check("rootless_helpers");
    case(config()).on(HostFacts { map_helpers: false, ..user() }).check("rootless_no_helpers");
    let mut groups = bare(&["user", "mount"], mapped(&[[0, 1000, 1]], &[[0, 100, 1]]));
    groups["process"]["user"]["additionalGids"] = json!([0]);
    case(groups).on(user()).check("rootless_groups");
    case(bare(&["mount"], json!({}))).on(user()).check("rootless_no_user_namespace");
}

#[test]
fn a_user_without_root_inside() {
    let mut config = bare(&["user", "mount"], mapped(&[[1000, 1000, 1]], &[[100, 100, 1]]));
    config["process"]["user"] = json!({"uid": 1000, "gid": 100});
    case(config).on(user()).check("rootless_keep_id");
}

#[test]
fn a_user_namespace_made_by_root() {
    let mounts = with_mounts(json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "rw"]},
        {"destination": "/one", "source": "/srv/one", "options": ["bind", "ro", "nosuid", "rshared"]},
    ]));
    let mut config = bare(&["user", "mount", "pid"], mapped(&[MAPS], &[MAPS]));
    merge(&mut config, mounts);
    config["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
    config["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NPROC", "soft": 1, "hard": 18_446_744_073_709_551_615_u64}]);
    case(config).check("user_namespace");
}

#[test]
fn namespaces_that_are_joined() {
    let pid = bare(&["mount", "pid=/proc/7/ns/pid", "network=/run/netns/a", "uts"], json!({"hostname": "h"}));
    case(pid).check("join_pid");
    case(bare(&["mount", "pid", "ipc=/i", "network=/n", "time=/t"], json!({}))).check("join_without_stage");
    case(bare(&["user=/u", "mount", "network=/n", "cgroup=/c"], json!({}))).check("join_user");
    let new_user = bare(&["user", "mount", "network=/n", "cgroup"], mapped(&[MAPS], &[MAPS]));
    case(new_user).check("join_before_new_user");
    case(bare(&["mount=/m", "pid"], json!({}))).check("join_mount");
}

#[test]
fn no_namespaces() {
    case(bare(&[], json!({}))).check("no_namespaces");
    let mut refused = bare(&["pid"], with_mounts(json!([{"destination": "/x", "type": "tmpfs"}])));
    merge(&mut refused, json!({"root": {"readonly": true}, "linux": {"rootfsPropagation": "slave"}}));
    case(refused).check("no_mount_namespace");
}

#[test]
fn mount_options() {
    let tmpfs = |destination: &str, options: Value| json!({"destination": destination, "type": "tmpfs", "source": "t", "options": options});
    let config = bare(
        &["mount"],
        with_mounts(json!([
            tmpfs("/a", json!(["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "sync", "dirsync", "lazytime"])),
            tmpfs("relative/../b", json!(["rslave", "unbindable", "mode=700,size=1m", "uid=1", "tmpcopyup", "silent", "iversion"])),
            {"destination": "/c", "type": "none", "source": "/srv", "options": ["bind", "rro", "rnosuid", "rnoatime", "nosymfollow", "size=1m", "sync"]},
            {"destination": "/d", "type": "bind", "source": "../x", "options": ["rw", "exec", "relatime", "private"]},
            {"destination": "/e", "type": "ext4", "source": "/dev/vdb", "options": ["ro", "iversion", "data=ordered"]},
            {"destination": "/f", "type": "overlay", "source": "overlay", "options": ["lowerdir=/l1:/l2", "upperdir=/u", "workdir=/w"]},
            {"destination": "/a", "options": ["remount", "ro", "nosuid", "rprivate"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/dev", "options": ["remount", "ro", "noexec"]},
            {"destination": "/a", "type": "tmpfs", "options": ["remount", "size=5m,nr_inodes=9", "lazytime", "async", "dirsync"]},
            {"destination": "/b", "options": ["remount", "bind", "nodev", "size=5m"]},
            {"destination": "/c", "type": "ext4", "options": ["remount", "rw", "iversion"]},
            {"destination": "/proc/uptime", "type": "bind", "source": "/lxcfs/uptime", "options": ["bind"]},
        ])),
    );
    case(config).check("mount_options");
}

#[test]
fn mounts_that_are_refused() {
    let config = bare(
        &["mount"],
        with_mounts(json!([
            {"destination": "/proc", "type": "tmpfs", "source": "t"},
            {"destination": "/proc/../proc/sys", "source": "/x", "options": ["bind"]},
            {"destination": "//", "type": "tmpfs", "source": "t"},
            {"destination": "/a", "source": "/x", "options": ["bind", "tmpcopyup"]},
            {"destination": "/b", "options": ["remount", "=x", "lazytime"]},
            {"destination": "/c", "type": "tmpfs", "options": ["=x", format!("k={}", "v".repeat(256))]},
            {"destination": "/d", "source": "/x", "options": ["bind", "idmap"], "uidMappings": maps(&[MAPS]), "gidMappings": maps(&[MAPS])},
        ])),
    );
    let old = HostFacts { kernel: (5, 10), ..root() };
    case(config).on(old).check("mounts_refused");
}

#[test]
fn long_overlays() {
    let layers: Vec<String> = (0..20).map(|n| format!("/var/lib/layers/{n:032}")).collect();
    let options = json!([format!("lowerdir={}", layers.join(":"))]);
    let config =
        bare(&["mount"], with_mounts(json!([{"destination": "/o", "type": "overlay", "options": options}])));
    case(config.clone()).check("overlay_long");
    case(config).on(HostFacts { kernel: (6, 1), ..root() }).check("overlay_long_old_kernel");
}

#[test]
fn id_mapped_mounts() {
    let mounts = with_mounts(json!([
        {"destination": "/a", "source": "/x", "options": ["bind", "idmap"], "uidMappings": maps(&[[0, 5, 1]]), "gidMappings": maps(&[[0, 6, 1]])},
        {"destination": "/b", "source": "/x", "options": ["rbind", "ridmap"]},
    ]));
    let mut config = bare(&["user", "mount"], mapped(&[MAPS], &[MAPS]));
    merge(&mut config, mounts.clone());
    case(config).check("idmap");
    let mut joined = bare(&["user=/u", "mount"], json!({}));
    merge(&mut joined, mounts);
    case(joined).check("idmap_joined");
}

#[test]
fn cgroup_mounts() {
    let mount = |options: Value, typ: &str| {
        with_mounts(json!([{"destination": "/cg", "type": typ, "source": "cgroup", "options": options}]))
    };
    let config = |namespaces: &[&str], typ: &str| {
        let mut config = bare(namespaces, mount(json!(["ro", "nosuid", "nsdelegate"]), typ));
        config["linux"]["cgroupsPath"] = json!("/pod/c1");
        config
    };
    case(config(&["mount", "cgroup"], "cgroup")).check("cgroup_v2_namespace");
    case(config(&["mount"], "cgroup")).check("cgroup_v2_bind");
    case(config(&["mount", "cgroup"], "cgroup")).on_hybrid().check("cgroup_hybrid_namespace");
    case(config(&["mount", "cgroup"], "cgroup2")).on_hybrid().check("cgroup2_on_hybrid");
    let mut none = case(config(&["mount"], "cgroup"));
    none.facts.cgroups = Layout::None;
    none.check("cgroup_none");
    let mut outside = config(&["mount"], "cgroup");
    outside["linux"]["cgroupsPath"] = json!("/");
    case(outside).check("cgroup_path_refused");
}

/// What systemd is told of a container: with rules for devices that it has words for, and with others, on both versions.
#[test]
fn units() {
    let config = |devices: Value| {
        let mut all = vec![json!({"allow": false, "access": "rwm"})];
        all.extend(devices.as_array().cloned().unwrap_or_default());
        let resources = json!({"devices": all, "memory": {"limit": 67_108_864}, "pids": {"limit": 9}});
        bare(&["mount"], json!({"linux": {"resources": resources, "cgroupsPath": "a-b.slice:p:n"}}))
    };
    let in_unit = |case: Case| {
        let mut case = case.with(|options| options.systemd_cgroup = true);
        let own = OwnCgroups { v1: vec![], v2: Some("/".to_owned()) };
        let address = Address::Direct("/run/systemd/private".into());
        case.facts.systemd = Systemd::Found(Manager { address, user: false, own });
        case
    };
    let sayable = json!([{"allow": true, "type": "b", "major": 8, "access": "rw"}]);
    let not = json!([{"allow": true, "type": "c", "minor": 7, "access": "r"}]);
    in_unit(case(config(sayable.clone()))).check("unit_v2");
    in_unit(case(config(not.clone()))).check("unit_v2_no_words");
    let mut v1 = config(sayable);
    v1["linux"]["resources"]["memory"] = json!({});
    v1["linux"]["resources"]["pids"] = json!({"limit": 0});
    in_unit(case(v1.clone())).on_hybrid().check("unit_hybrid");
    v1["linux"]["resources"]["devices"] = not;
    in_unit(case(v1)).on_hybrid().check("unit_hybrid_no_words");
}

#[test]
fn read_only_file_systems_that_hold_others() {
    let config = bare(
        &["mount"],
        with_mounts(json!([
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "noexec"]},
            {"destination": "/a", "type": "tmpfs", "source": "t", "options": ["ro"]},
            {"destination": "/ab", "type": "tmpfs", "source": "t", "options": ["ro"]},
            {"destination": "/a/b", "type": "tmpfs", "source": "t"},
        ])),
    );
    case(config).check("late_read_only");
}

#[test]
fn devices() {
    let list = json!({"linux": {"devices": [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 1, "gid": 2},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0},
    ], "resources": {"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": true, "type": "b", "major": -1},
    ]}}});
    let mut config = bare(&["mount"], list.clone());
    case(config.clone()).check("devices");
    merge(&mut config, json!({"mounts": [{"destination": "/dev/", "source": "/dev", "options": ["rbind"]}]}));
    case(config).check("devices_dev_bound");
    let mut in_user_namespace = bare(&["user", "mount"], mapped(&[[0, 1000, 1]], &[[0, 100, 1]]));
    merge(&mut in_user_namespace, list);
    case(in_user_namespace).on(user()).check("devices_rootless");
}

#[test]
fn everything_of_a_process() {
    let mut config = bare(
        &["mount"],
        json!({"linux": {
            "personality": {"domain": "LINUX32"},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1,3", "flags": ["MPOL_F_STATIC_NODES"]},
            "mountLabel": "system_u:object_r:container_file_t:s0:c1,c2",
        }, "root": {"readonly": true}, "mounts": [
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/mq", "type": "mqueue", "source": "mqueue"},
        ]}),
    );
    config["process"] = json!({
        "terminal": true,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1000, "gid": 1000, "umask": 0o77, "additionalGids": [5, 6]},
        "args": ["sh", "-c", "a b"],
        "env": ["PATH=/bin:/usr/bin", "A=1", "A=2"],
        "cwd": "/work/./here",
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_SYS_RESOURCE"],
            "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL", "CAP_SYS_RESOURCE"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "noNewPrivileges": true,
        "apparmorProfile": "acme",
        "selinuxLabel": "system_u:system_r:container_t:s0:c1,c2",
        "oomScoreAdj": -500,
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    });
    let lacking = ALL_CAPABILITIES & !(1 << 24);
    let facts = HostFacts { apparmor: true, selinux: true, permitted: lacking, bounding: lacking, ..root() };
    case(config.clone()).on(facts).check("process");
    case(config).check("process_without_labels");
}

#[test]
fn everything_around_a_process() {
    let hook = |path: &str| json!([{"path": path, "args": ["x"], "env": ["A=b"], "timeout": 5}]);
    let config = bare(
        &["mount", "network", "uts", "time", "ipc"],
        json!({
            "hostname": "h", "domainname": "d",
            "hooks": {"prestart": hook("/p"), "createRuntime": hook("/r"), "createContainer": hook("/c"),
                "startContainer": hook("/s"), "poststart": hook("/ps"), "poststop": [{"path": "/po"}]},
            "linux": {
                "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "5", "net/ipv4/conf/eth0.1/forwarding": "0"},
                "timeOffsets": {"boottime": {"secs": -3, "nanosecs": 5}, "monotonic": {"secs": 7}},
                "netDevices": {"eth1": {}, "eth0": {"name": "lan"}},
                "intelRdt": {"closID": "gold", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L3:0=ff"], "enableMonitoring": true},
                "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc//sys/"],
            },
        }),
    );
    case(config).check("around");
    // The process is put into a class of the container's name, with what the kernel gives to a new one.
    case(bare(&["mount"], json!({"linux": {"intelRdt": {}}}))).check("rdt_empty");
}

#[test]
fn propagation() {
    for kind in ["shared", "rshared", "slave", "rprivate", "unbindable"] {
        let config = bare(&["mount"], json!({"linux": {"rootfsPropagation": kind}}));
        case(config).check(&format!("propagation_{kind}"));
    }
}

#[test]
fn what_the_command_line_adds() {
    let config = bare(&["mount", "pid"], json!({}));
    let all = |o: &mut Options| {
        o.no_pivot = true;
        o.no_new_keyring = true;
        o.preserve_fds = 2;
        o.listen_fds = 3;
        o.listen_fdnames = Some("a:b:c".into());
        o.notify_socket = Some("/run/notify-c1/notify.sock".into());
    };
    let case = case(config).with(all);
    case.check("options");
    let loaded = spec::load(case.config.to_string().as_bytes()).unwrap();
    let plan = plan::compile(&loaded, &case.facts, &case.options).unwrap();
    let env: Vec<String> =
        plan.program.env.strings().map(|s| String::from_utf8_lossy(s).into_owned()).collect();
    assert_eq!(
        env,
        [
            "HOME=/",
            "LISTEN_FDS=3",
            "LISTEN_PID=1",
            "LISTEN_FDNAMES=a:b:c",
            "NOTIFY_SOCKET=/run/notify/notify.sock"
        ]
    );
}

/// Every resource that both versions know.
fn resources() -> Value {
    let device = |rate: u64| json!([{"major": 8, "minor": 0, "rate": rate}]);
    json!({
        "memory": {"limit": 67_108_864, "reservation": 1_048_576, "swap": 134_217_728, "kernel": -1,
            "kernelTCP": -1, "disableOOMKiller": false, "useHierarchy": true, "checkBeforeUpdate": true},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "burst": 1000, "cpus": "0-1", "mems": "0",
            "idle": 0},
        "pids": {"limit": 100},
        "blockIO": {"weight": 100, "weightDevice": [{"major": 8, "minor": 0, "weight": 200}],
            "throttleReadBpsDevice": device(1), "throttleWriteBpsDevice": device(2),
            "throttleReadIOPSDevice": device(3), "throttleWriteIOPSDevice": device(4)},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10_000}},
    })
}

/// Those that version 1 alone knows.
fn resources_of_version_1() -> Value {
    json!({
        "memory": {"kernel": 5, "kernelTCP": 6, "swappiness": 10, "disableOOMKiller": true},
        "cpu": {"realtimeRuntime": 1000, "realtimePeriod": 1_000_000},
        "network": {"classID": 1_048_577, "priorities": [{"name": "eth0", "priority": 500}]},
    })
}

const CONTROLLERS: [&str; 9] =
    ["cpu,cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb", "net_cls,net_prio", "rdma", "devices"];

/// A host with these controllers on version 1, and perhaps version 2 beside it.
fn with_controllers(labels: &[&str], unified: bool) -> HostFacts {
    let v1 =
        |label: &str| V1Hierarchy { label: label.into(), mount: mount(&format!("/sys/fs/cgroup/{label}")) };
    let controllers = labels.iter().map(|label| v1(label)).collect();
    let own: String = labels.iter().map(|label| format!("1:{label}:/\n")).collect();
    let cgroups = match unified {
        true => Layout::Hybrid { controllers, unified: mount("/sys/fs/cgroup/unified") },
        false => Layout::V1(controllers),
    };
    HostFacts { cgroups, own_cgroups: OwnCgroups::parse(&format!("{own}0::/\n")), ..root() }
}

#[test]
fn every_limit() {
    let limited = |resources: &Value| {
        let linux = json!({"cgroupsPath": "/x", "resources": resources});
        bare(&["mount"], Value::Object([("linux".to_owned(), linux)].into_iter().collect()))
    };
    let mut all = resources();
    case(limited(&all)).check("limits_v2");
    merge(&mut all, json!({"unified": {"memory.high": "1", "io.max": "8:0 rbps=1\n8:16 rbps=2"}}));
    case(limited(&all)).check("limits_v2_unified");
    merge(&mut all, resources_of_version_1());
    case(limited(&all)).check("limits_v2_refused");
    all["unified"] = json!({"hugetlb.1GB.max": "0"});
    case(limited(&all)).on(with_controllers(&CONTROLLERS[..5], true)).check("limits_hybrid_refused");
    let network = all.as_object_mut().and_then(|all| all.remove("network"));
    case(limited(&all)).on(with_controllers(&CONTROLLERS[..5], true)).check("limits_hybrid");
    all["network"] = network.unwrap();
    case(limited(&all)).on(with_controllers(&CONTROLLERS, false)).check("limits_v1_refused");
    all["unified"] = json!({});
    case(limited(&all)).on(with_controllers(&CONTROLLERS, false)).check("limits_v1");
    let none = HostFacts { cgroups: Layout::None, own_cgroups: OwnCgroups::default(), ..root() };
    case(limited(&resources())).on(none).check("limits_none");
}

/// Groups of version 1 are made while the process is at work: what takes memory waits for them, network devices for a namespace that
/// is there; and into a user namespace the process takes their files along.
#[test]
fn groups_made_beside_the_process() {
    let v1 = || with_controllers(&CONTROLLERS[..2], false);
    let mounts = with_mounts(json!([
        {"destination": "/a", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/b", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
    ]));
    case(bare(&["mount", "network"], mounts)).on(v1()).check("beside");
    let devices = json!({"linux": {"netDevices": {"eth1": {}}}});
    case(bare(&["mount", "network"], devices)).on(v1()).check("beside_devices");
    case(bare(&["user", "mount"], mapped(&[MAPS], &[MAPS]))).on(v1()).check("beside_user");
}

/// config-linux.md, "Cgroup ownership".
#[test]
fn a_group_is_given_to_the_user_of_a_user_namespace() {
    let config = |namespaces: &[&str], options: &[&str]| {
        let entry = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options});
        let mut config = bare(namespaces, mapped(&[MAPS], &[MAPS]));
        merge(&mut config, with_mounts(json!([entry])));
        config["process"]["user"]["uid"] = json!(7);
        config
    };
    let given = |config: Value, facts: HostFacts| {
        let loaded = spec::load(config.to_string().as_bytes()).unwrap();
        let text = plan::compile(&loaded, &facts, &options()).unwrap().render_text();
        text.lines().find_map(|line| line.split_once("GiveCgroup ")).map(|(_, what)| what.to_owned())
    };
    let all = ["user", "mount", "cgroup"];
    assert_eq!(given(config(&all, &["rw"]), root()).as_deref(), Some("to uid 100007  # mounts[0]"));
    assert_eq!(given(config(&all, &["nosuid", "ro"]), root()), None);
    assert_eq!(given(config(&["user", "mount"], &[]), root()), None);
    let (cgroups, own_cgroups) = hybrid();
    assert_eq!(given(config(&all, &[]), HostFacts { cgroups, own_cgroups, ..root() }), None);
}

fn exec(process: Value, target: &ExecTarget, facts: &HostFacts, name: &str) {
    let process: Process = serde_json::from_value(process).unwrap();
    let text = match plan::compile_exec(&process, target, facts, &options()) {
        Ok(plan) => plan.render_text(),
        Err(error) => format!("{error}\n"),
    };
    compare(name, &text);
}

#[test]
fn another_process() {
    let process = json!({
        "terminal": true, "user": {"uid": 1, "gid": 2, "additionalGids": [3]}, "cwd": "/w", "args": ["id"],
        "env": ["PATH=/bin"], "oomScoreAdj": 5, "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}],
        "execCPUAffinity": {"initial": "0-1", "final": "2"}, "noNewPrivileges": true,
    });
    let all = ExecTarget {
        namespaces: Namespace::ALL.to_vec(),
        cgroup: true,
        capabilities: Some(
            serde_json::from_value(json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]})).unwrap(),
        ),
        ..ExecTarget::default()
    };
    exec(process.clone(), &all, &root(), "exec");
    exec(process.clone(), &ExecTarget { setgroups_denied: true, ..all }, &user(), "exec_groups_denied");
    let few = ExecTarget {
        namespaces: vec![Namespace::Network, Namespace::Uts],
        root: Some("/bundle/rootfs".into()),
        no_new_keyring: true,
        ..ExecTarget::default()
    };
    exec(process, &few, &root(), "exec_chroot");
}

/// `--rootless` is about the permission for cgroups, whoever we are: left to who we are, root insists on them.
#[test]
fn cgroups_without_permission() {
    let config = bare(&["mount"], json!({}));
    let dropped = |facts: HostFacts, asked: Option<bool>| {
        let case = case(config.clone()).on(facts).with(|options| options.rootless_cgroups = asked);
        let loaded = spec::load(case.config.to_string().as_bytes()).expect("it loads");
        let plan = plan::compile(&loaded, &case.facts, &case.options).expect("it compiles");
        let placement = plan.host.iter().find_map(|planned| match &planned.step {
            plan::HostStep::CreateCgroup { placement, .. } => Some(placement),
            _ => None,
        });
        let recorded = serde_json::to_value(placement.expect("it has cgroups")).expect("it is recorded");
        recorded["rootless"].as_bool().expect("a flag")
    };
    for (asked, of_root, of_user) in
        [(None, false, true), (Some(true), true, true), (Some(false), false, false)]
    {
        assert_eq!(dropped(root(), asked), of_root, "{asked:?}");
        let namespaced = || HostFacts { in_user_namespace: true, ..root() };
        assert_eq!(dropped(namespaced(), asked), of_user, "{asked:?}");
    }
}
