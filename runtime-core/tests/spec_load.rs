//! What is accepted: repairs, warnings, bounds, and the files that are no config at all.

use orlop_core::spec::{Loaded, MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, example, load, load_file};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A sound config with `process` and `linux` replaced by what is given.
fn config(process: &Value, linux: &Value) -> Value {
    let mut config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["sh"] },
        "linux": linux,
    });
    for (key, value) in process.as_object().unwrap() {
        config["process"][key] = value.clone();
    }
    config
}

fn accept(config: &Value) -> Loaded {
    load(config.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}\n{config:#}"))
}

fn refuse(bytes: &[u8]) -> String {
    load(bytes).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn our_examples_load_without_a_warning() {
    for rootless in [None, Some((1000, 1000))] {
        for config in [example(rootless), example(rootless).with_cgroup_namespace()] {
            let loaded = accept(&serde_json::to_value(config).unwrap());
            assert_eq!(loaded.warnings, [""; 0]);
        }
    }
}

#[test]
fn any_version_1_is_accepted() {
    for version in ["1.0.0", "1.0.0-rc1", "1.0.2-dev", "1.2.0+dev", "1.3.0", "1.4.0", "1.99.0-rc.1"] {
        let mut config = config(&json!({}), &json!({}));
        config["ociVersion"] = version.into();
        accept(&config);
    }
}

#[test]
fn unknown_properties_are_ignored() {
    let mut config = config(&json!({"future": {"x": [1, null]}}), &json!({"future": "a\0b"}));
    config["future"] = json!({"process": 5});
    assert_eq!(accept(&config).warnings, [""; 0]);
}

#[test]
fn a_missing_user_is_root_with_a_warning() {
    let mut config = config(&json!({}), &json!({}));
    config["process"].as_object_mut().unwrap().remove("user");
    let loaded = accept(&config);
    assert_eq!(loaded.warnings, ["process.user: missing: the process runs as uid 0, gid 0"]);
    let process = loaded.spec.process().as_ref().unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
}

#[test]
fn unknown_capabilities_are_dropped_with_a_warning() {
    let loaded = accept(&config(
        &json!({"capabilities": {"bounding": ["CAP_KILL", "CAP_FUTURE", "CAP_CHOWN"], "permitted": ["CAP_X"]}}),
        &json!({}),
    ));
    assert_eq!(
        loaded.warnings,
        [
            "process.capabilities.bounding[1]: unknown capability \"CAP_FUTURE\": not granted",
            "process.capabilities.permitted[0]: unknown capability \"CAP_X\": not granted",
        ]
    );
    let sets = loaded.spec.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(sets.bounding().as_ref().unwrap().len(), 2);
    assert_eq!(sets.permitted().as_ref().unwrap().len(), 0);
}

#[test]
fn pids_without_a_limit_is_no_limit_and_0_is_one() {
    let pids = |pids: Value| {
        let loaded = accept(&config(&json!({}), &json!({"resources": {"pids": pids}})));
        loaded.spec.linux().as_ref().unwrap().resources().as_ref().unwrap().pids().map(|pids| pids.limit())
    };
    assert_eq!(pids(json!({"limit": null})), None);
    assert_eq!(pids(json!({})), None);
    assert_eq!(pids(json!({"limit": 0})), Some(0));
    assert_eq!(pids(json!({"limit": -1})), Some(-1));
    assert_eq!(pids(json!({"limit": 32771})), Some(32771));
}

#[test]
fn a_huge_page_limit_above_i64_is_kept_exactly() {
    let limits = json!([{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": u64::MAX}]);
    let loaded = accept(&config(&json!({}), &json!({"resources": {"hugepageLimits": limits}})));
    assert_eq!(loaded.extras.hugepage_limits.into_iter().collect::<Vec<_>>(), [(1, u64::MAX)]);
    let resources = loaded.spec.linux().as_ref().unwrap().resources().clone().unwrap();
    assert_eq!(resources.hugepage_limits().as_ref().unwrap()[1].limit(), i64::MAX);
}

#[test]
fn null_is_absent() {
    let loaded = accept(&config(
        &json!({"env": null, "rlimits": null, "capabilities": {"bounding": null}, "user": {"uid": 1, "gid": 2, "umask": null},
            "terminal": null, "apparmorProfile": null}),
        &json!({"namespaces": [{"type": "mount", "path": null}], "sysctl": null, "devices": null,
            "resources": {"devices": [{"allow": true, "type": null, "major": null, "access": null}], "memory": null}}),
    ));
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn the_spelling_of_scheduler_flags_is_the_specs() {
    let flags = json!(["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_PARAMS"]);
    let loaded =
        accept(&config(&json!({"scheduler": {"policy": "SCHED_OTHER", "flags": flags}}), &json!({})));
    let scheduler = loaded.spec.process().as_ref().unwrap().scheduler().clone().unwrap();
    assert_eq!(scheduler.flags().as_ref().unwrap().len(), 3);
    let go = json!({"scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"]}});
    accept(&config(&go, &json!({})));
}

#[test]
fn an_empty_cpu_list_is_none() {
    let loaded = accept(&config(&json!({"execCPUAffinity": {"initial": "", "final": "0-3,7"}}), &json!({})));
    let affinity = loaded.spec.process().as_ref().unwrap().exec_cpu_affinity().clone().unwrap();
    assert_eq!(
        (affinity.initial().as_deref(), affinity.cpu_affinity_final().as_deref()),
        (None, Some("0-3,7"))
    );
}

#[test]
fn an_empty_seccomp_section_is_none() {
    for seccomp in [json!({}), json!({"syscalls": []}), json!({"architectures": ["SCMP_ARCH_X86"]})] {
        let loaded = accept(&config(&json!({}), &json!({"seccomp": seccomp})));
        assert_eq!(
            loaded.warnings,
            ["linux.seccomp: has neither defaultAction nor syscalls: no filter is installed"]
        );
        assert!(loaded.spec.linux().as_ref().unwrap().seccomp().is_none());
    }
}

#[test]
fn other_platforms_are_ignored_with_a_warning_even_when_malformed() {
    let sections = [
        json!({"solaris": {"milestone": "x"}, "windows": {}, "vm": {"kernel": {"path": "/k"}}, "zos": {}}),
        json!({"solaris": 1, "windows": {"layerFolders": 2}, "vm": {}, "zos": []}),
    ];
    for section in sections {
        let mut config = config(&json!({"commandLine": "x"}), &json!({}));
        for (key, value) in section.as_object().unwrap() {
            config[key] = value.clone();
        }
        config["process"]["user"]["username"] = "x".into();
        let mut warnings = accept(&config).warnings;
        warnings.sort_unstable();
        assert_eq!(
            warnings,
            [
                "process.commandLine: is for another platform than Linux: ignored",
                "process.user.username: is for another platform than Linux: ignored",
                "solaris: is for another platform than Linux: ignored",
                "vm: is for another platform than Linux: ignored",
                "windows: is for another platform than Linux: ignored",
                "zos: is for another platform than Linux: ignored",
            ]
        );
    }
}

#[test]
fn what_may_surprise_is_warned_about() {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let mut config = config(
        &json!({}),
        &json!({
            "namespaces": [{"type": "user", "path": "/proc/1/ns/user"}],
            "uidMappings": map, "gidMappings": map,
            "intelRdt": {"l3CacheSchema": "x"},
        }),
    );
    config["mounts"] = json!([
        {"destination": "proc", "type": "proc"},
        {"destination": "/x", "source": "/x", "options": ["bind"], "uidMappings": map, "gidMappings": map},
    ]);
    assert_eq!(
        accept(&config).warnings,
        [
            "mounts[0].destination: \"proc\" is relative, which is deprecated: taken relative to /",
            "mounts[1].uidMappings: neither idmap nor ridmap is in the options: taken as idmap",
            "linux.uidMappings: not written: the user namespace that is joined has its own",
            "linux.gidMappings: not written: the user namespace that is joined has its own",
            "linux.intelRdt.l3CacheSchema: should start with \"L3:\"",
        ]
    );
}

#[test]
fn everything_of_1_3_is_accepted() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 2000, "size": 65536}]);
    let process = json!({
        "terminal": true, "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1, "gid": 1, "umask": 63, "additionalGids": [5, 6]},
        "env": ["A=", "B=c=d"], "oomScoreAdj": -1000,
        "scheduler": {"policy": "SCHED_DEADLINE", "runtime": 10000, "deadline": 20000},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": u64::MAX}],
        "apparmorProfile": "p", "selinuxLabel": "l", "noNewPrivileges": false,
    });
    let linux = json!({
        "namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/a"}, {"type": "ipc"}, {"type": "uts"},
            {"type": "mount"}, {"type": "user"}, {"type": "cgroup"}, {"type": "time"}],
        "uidMappings": map, "gidMappings": map,
        "timeOffsets": {"monotonic": {"secs": -172_800, "nanosecs": 999_999_999}, "boottime": {"secs": 604_800}},
        "devices": [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0},
            {"type": "b", "path": "/dev/sda", "major": 8, "minor": 0, "fileMode": 0o60660}, {"type": "p", "path": "/dev/p"}],
        "netDevices": {"eth0": {"name": "container_eth0"}, "eth1": {}, "eth2": {"name": "net%d"}, "eth3": {"name": "net%d"}},
        "sysctl": {"net.core.somaxconn": "256", "kernel/shmmax": "1", "fs.mqueue.msg_max": "5", "kernel.domainname": "x"},
        "intelRdt": {"closID": "guaranteed_group", "l3CacheSchema": "L3:0=7f0", "memBwSchema": "MB:0=20",
            "schemata": ["L3:0=7f0;1=1f", "MB:0=20;1=70"], "enableMonitoring": true},
        "memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "2-3", "flags": ["MPOL_F_STATIC_NODES"]},
        "rootfsPropagation": "rslave", "mountLabel": "m", "cgroupsPath": "system.slice:runc:a",
        "personality": {"domain": "LINUX32", "flags": []},
        "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/s", "listenerMetadata": "m",
            "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 5, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]},
    });
    let mut config = config(&process, &linux);
    config["hostname"] = "h".into();
    config["domainname"] = "d".into();
    config["mounts"] =
        json!([{"destination": "/x", "type": "none", "source": "x", "options": ["rbind", "ridmap"]}]);
    config["hooks"] =
        json!({"createRuntime": [{"path": "/bin/x", "args": ["x"], "env": ["A=b"], "timeout": 5}]});
    config["annotations"] = json!({"a.b/c": ""});
    assert_eq!(accept(&config).warnings, [""; 0]);
}

/// Each value of `expected` that is not, at the same path, in `got`.
fn lost(expected: &Value, got: &Value, path: &str) -> Vec<String> {
    match (expected, got) {
        (Value::Object(members), Value::Object(_)) => {
            members.iter().flat_map(|(key, value)| lost(value, &got[key], &format!("{path}/{key}"))).collect()
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| lost(item, &others[index], &format!("{path}/{index}")))
            .collect(),
        _ if expected == got => Vec::new(),
        _ => vec![format!("{path}: {expected} became {got}")],
    }
}

#[test]
fn no_property_of_the_spec_is_lost_on_the_way() {
    let full: Value = serde_json::from_str(include_str!("spec_full.json")).unwrap();
    let mut config = serde_json::to_value(example(None)).unwrap();
    for (key, value) in full.as_object().unwrap() {
        let part = config.as_object_mut().unwrap().entry(key.clone()).or_insert(json!({}));
        match value {
            Value::Object(members) => members.iter().for_each(|(key, value)| part[key] = value.clone()),
            other => *part = other.clone(),
        }
    }
    let loaded = accept(&config);
    assert_eq!(
        lost(&full, &serde_json::to_value(&loaded.spec).unwrap(), ""),
        [
            // In `Extras`.
            "/linux/resources/hugepageLimits/0/limit: 18446744073709551615 became 9223372036854775807",
            // oci-spec's spelling of the same.
            "/process/scheduler/flags/1: \"SCHED_FLAG_DL_OVERRUN\" became \"SCHED_FLAG_D_L_OVERRUN\"",
        ]
    );
}

#[test]
fn duplicate_keys_are_refused() {
    let good = config(&json!({}), &json!({})).to_string();
    for (from, to, path) in [
        (r#""cwd":"/""#, r#""cwd":"/","cwd":"/tmp""#, "process.cwd"),
        (r#""path":"rootfs""#, r#""path":"rootfs","path":"other""#, "root.path"),
        (r#""root":"#, r#""root":{"path":"/"},"root":"#, "root"),
    ] {
        let twice = good.replacen(from, to, 1);
        assert_ne!(twice, good);
        assert_eq!(refuse(twice.as_bytes()), format!("invalid config.json: {path}: occurs more than once"));
    }
}

#[test]
fn of_duplicate_keys_in_a_map_of_data_the_last_counts() {
    let text = config(&json!({}), &json!({})).to_string();
    let text = text.replacen('{', r#"{"annotations":{"a":"1","a":"2"},"#, 1);
    let loaded = load(text.as_bytes()).unwrap();
    assert_eq!(loaded.spec.annotations().as_ref().unwrap()["a"], "2");
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    for (text, message) in [
        ("", "config.json is not valid JSON: EOF while parsing a value at line 1 column 0"),
        ("{\n  \"a\": }", "config.json is not valid JSON: expected value at line 2 column 8"),
        ("{\"a\": 1,}", "config.json is not valid JSON: trailing comma at line 1 column 9"),
        ("{} x", "config.json is not valid JSON: trailing characters at line 1 column 4"),
        ("[]", "config.json must be a JSON object, not an array"),
        (" \n[]", "config.json must be a JSON object, not an array"),
        ("null", "config.json must be a JSON object, not null"),
        ("\"x\"", "config.json must be a JSON object, not a string"),
    ] {
        assert_eq!(refuse(text.as_bytes()), message, "{text:?}");
    }
    assert!(refuse(b"{\"hostname\": \"\xff\"}").starts_with("config.json is not valid JSON: "));
    assert!(refuse(b"\xef\xbb\xbf{}").starts_with("config.json is not valid JSON: "));
}

#[test]
fn depth_and_size_are_bounded() {
    for (open, key) in [("[", ""), ("{\"a\":", ""), ("[", "\"x\":")] {
        let deep = format!("{{{key}{}", open.repeat(1_000_000));
        assert!(refuse(deep.as_bytes()).starts_with("config.json is not valid JSON: "));
    }
    let large = vec![b' '; MAX_CONFIG_BYTES + 1];
    assert_eq!(
        refuse(&large),
        "config.json is 16777217 bytes, more than the 16777216 (16 MiB) that are accepted"
    );
    let many = format!("{{\"linux\":{{\"devices\":[{}{{}}]}}}}", "{},".repeat(MAX_CONFIG_VALUES));
    assert_eq!(
        refuse(many.as_bytes()),
        "config.json holds more than 250000 values, the most that is accepted"
    );
}

#[test]
fn many_type_faults_end_in_time() {
    let mounts: Vec<Value> = (0..20_000).map(|_| json!({"destination": 5})).collect();
    let mut config = config(&json!({}), &json!({}));
    config["mounts"] = mounts.into();
    let error = load(config.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.faults[0].path, "mounts[0].destination");
}

#[test]
fn as_many_faults_of_form_as_of_meaning_end_in_time() {
    let devices: Vec<Value> = (0..20_000).map(|_| json!({"type": "c", "path": "x"})).collect();
    let error = load(config(&json!({}), &json!({ "devices": devices })).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.faults.len(), 60_000);
    assert_eq!(error.faults.last().unwrap().path, "linux.devices[19999].path");
}

/// A directory of its own for a test, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("orlop-spec-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refuse_file(path: &Path) -> String {
    load_file(path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn files_that_are_no_config_are_refused() {
    let dir = Scratch::new("files");
    let shown = dir.0.display();

    let missing = refuse_file(&dir.join("config.json"));
    assert_eq!(missing, format!("JSON specification file {shown}/config.json not found"));
    assert_eq!(refuse_file(&dir.0), format!("{shown} is not a regular file"));
    assert_eq!(refuse_file(Path::new("/dev/zero")), "/dev/zero is not a regular file");
    assert_eq!(refuse_file(&dir.join("a/b")), format!("JSON specification file {shown}/a/b not found"));

    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(refuse_file(&fifo), format!("{shown}/fifo is not a regular file"));

    let large = dir.join("large");
    fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
    assert_eq!(
        refuse_file(&large),
        format!("{shown}/large is 67108864 bytes, more than the 16777216 (16 MiB) that are accepted")
    );

    let own = dir.join("own");
    fs::write(&own, config(&json!({}), &json!({})).to_string()).unwrap();
    assert_eq!(load_file(&own).unwrap().warnings, [""; 0]);
    std::os::unix::fs::symlink(&own, dir.join("link")).unwrap();
    load_file(&dir.join("link")).unwrap();
}

/// `orlop spec` is to mean what `runc spec` means; what differs is named here.
#[test]
fn our_examples_mean_what_runcs_do() {
    for (flag, ours) in [(None, example(None)), (Some("--rootless"), example(Some((0, 0))))] {
        let dir = Scratch::new(if flag.is_some() { "runc-rootless" } else { "runc" });
        let made = std::process::Command::new("runc").arg("spec").args(flag).current_dir(&dir.0).status();
        if made.is_err() {
            eprintln!("SKIP our_examples_mean_what_runcs_do: no runc on this machine");
            return;
        }
        let text = fs::read(dir.join("config.json")).unwrap();
        let mut theirs: Value = serde_json::from_slice(&text).unwrap();
        if nix::unistd::getuid().as_raw() != 0 && flag.is_some() {
            theirs["linux"]["uidMappings"][0]["hostID"] = 0.into();
            theirs["linux"]["gidMappings"][0]["hostID"] = 0.into();
        }
        theirs["ociVersion"] = "1.3.0".into();
        theirs["hostname"] = "orlop".into();
        // Not inheritable, so never granted.  Later versions of runc leave it out.
        theirs["process"]["capabilities"].as_object_mut().unwrap().remove("ambient");
        // runc adds it where cgroup v2 is all there is; so does the command, with `with_cgroup_namespace`.
        theirs["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "cgroup");
        assert_eq!(serde_json::to_value(ours).unwrap(), theirs);
        load(&text).unwrap();
    }
}

#[test]
fn removed_properties_of_intel_rdt_are_warned_of() {
    let mut config = serde_json::to_value(example(None)).unwrap();
    config["linux"]["intelRdt"] = serde_json::json!({"enableCMT": true, "enableMBM": true});
    let loaded = load(config.to_string().as_bytes()).unwrap();
    let words = "ignored: runtime-spec 1.3 has enableMonitoring in its place";
    for path in ["linux.intelRdt.enableCMT", "linux.intelRdt.enableMBM"] {
        assert!(loaded.warnings.contains(&format!("{path}: {words}")), "{:?}", loaded.warnings);
    }
}
