use super::*;
use crate::plan::{Device, IdMaps, Mount, Planned};
use crate::sys::MountAttr;

fn mount(destination: &CStr, source: MountSource) -> ChildStep {
    ChildStep::Mount(Mount {
        source,
        destination: destination.to_owned(),
        plain_destination: false,
        attributes: MountAttr::default(),
        recursive_attributes: MountAttr::default(),
        propagation: Vec::new(),
        copy_up: false,
        label: None,
        late_read_only: false,
    })
}

/// Everything that concerns CRIU once, and what does not.
fn plan() -> Plan {
    let host = vec![
        HostStep::OpenNamespace { slot: 0, kind: Namespace::Network, path: c"/run/netns/x".to_owned() },
        HostStep::OpenNamespace { slot: 1, kind: Namespace::Uts, path: c"/proc/9/ns/uts".to_owned() },
        HostStep::OpenTree { slot: 0, source: c"/srv/tree".to_owned(), recursive: true, idmap: None },
    ];
    let device = |bind| Device { path: c"/dev/x".to_owned(), mode: 0, dev: 0, uid: 0, gid: 0, bind };
    let tmpfs = MountSource::New { fstype: c"tmpfs".to_owned(), params: Vec::new(), or_bind: None };
    let child = vec![
        mount(c"/dev", tmpfs),
        mount(c"/data", MountSource::Bind { path: c"/srv/data".to_owned(), recursive: false }),
        mount(c"/tree", MountSource::Tree { slot: 0 }),
        ChildStep::Device(device(false)),
        ChildStep::Device(Device { path: c"/dev/y".to_owned(), ..device(true) }),
        ChildStep::Mask { path: c"/proc/keys".to_owned() },
    ];
    Plan {
        host: host.into_iter().map(|step| Planned { step, origin: "x".into() }).collect(),
        child: child.into_iter().map(|step| Planned { step, origin: "x".into() }).collect(),
        ..Plan::default()
    }
}

/// What a request without any option asks for.
fn plain(log: &str) -> CriuOptions {
    CriuOptions {
        images_dir_fd: Some(5),
        log_level: 4,
        log_file: log.into(),
        notify_scripts: true,
        root: "/r".into(),
        manage_cgroups: true,
        manage_cgroups_mode: Some(6),
        empty_ns: 0x4000_0000,
        orphan_pts_master: true,
        config_file: "/etc/criu/runc.conf".into(),
        ..CriuOptions::default()
    }
}

fn dumped(
    options: &CheckpointOptions,
    annotations: &[(&str, &str)],
    facts: &DumpFacts,
) -> (i32, CriuOptions) {
    let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let request = dump(options, Path::new("/r"), &annotations, facts).unwrap();
    (request.kind, request.options.unwrap())
}

#[test]
fn a_plain_dump() {
    let facts = DumpFacts { pid: 42, images: 5, ..DumpFacts::default() };
    let expected = CriuOptions { pid: 42, ..plain("dump.log") };
    assert_eq!(dumped(&CheckpointOptions::default(), &[], &facts), (kind::DUMP, expected));
}

#[test]
fn what_is_the_hosts_is_external_to_a_dump() {
    let facts = DumpFacts {
        pid: 42,
        images: 5,
        work: Some(6),
        mounts: vec![("/real/data".into(), "/data".into())],
        namespaces: vec![(Namespace::Network, 7), (Namespace::Pid, 8)],
        files: vec!["file[1c:2f]".into()],
        freezer: Some("/cg/f".into()),
    };
    let (_, options) = dumped(&CheckpointOptions::default(), &[], &facts);
    let expected = ["mnt[/real/data]:/data", "net[7]:extRootNetNS", "pid[8]:extRootPidNS", "file[1c:2f]"];
    assert_eq!(options.external, expected);
    assert_eq!((options.work_dir_fd, options.freeze_cgroup.as_str()), (Some(6), "/cg/f"));
}

/// Each setting that both have, with what is asked for then beside what is `plain`.
fn each_setting(plain: impl Fn() -> CriuOptions) -> Vec<(CriuSettings, CriuOptions)> {
    let none = CriuSettings::default;
    let mut all = vec![
        (CriuSettings { tcp_established: true, ..none() }, CriuOptions { tcp_established: true, ..plain() }),
        (CriuSettings { link_remap: true, ..none() }, CriuOptions { link_remap: true, ..plain() }),
        (CriuSettings { ext_unix_sk: true, ..none() }, CriuOptions { ext_unix_sk: true, ..plain() }),
        (CriuSettings { shell_job: true, ..none() }, CriuOptions { shell_job: true, ..plain() }),
        (CriuSettings { file_locks: true, ..none() }, CriuOptions { file_locks: true, ..plain() }),
        (CriuSettings { auto_dedup: true, ..none() }, CriuOptions { auto_dedup: true, ..plain() }),
        (CriuSettings { lazy_pages: true, ..none() }, CriuOptions { lazy_pages: true, ..plain() }),
    ];
    for (manage_cgroups, mode) in [
        (ManageCgroups::Ignore, 0),
        (ManageCgroups::Soft, 3),
        (ManageCgroups::Full, 4),
        (ManageCgroups::Strict, 5),
    ] {
        let asked = CriuOptions { manage_cgroups_mode: Some(mode), ..plain() };
        all.push((CriuSettings { manage_cgroups, ..none() }, asked));
    }
    all
}

#[test]
fn each_option_of_a_dump_is_asked_for() {
    let facts = DumpFacts { pid: 42, images: 5, ..DumpFacts::default() };
    let plain = || CriuOptions { pid: 42, ..plain("dump.log") };
    let check = |options: CheckpointOptions, expected: CriuOptions| {
        assert_eq!(dumped(&options, &[], &facts), (kind::DUMP, expected), "{options:?}");
    };
    let none = CheckpointOptions::default;
    for (criu, expected) in each_setting(plain) {
        check(CheckpointOptions { criu, ..none() }, expected);
    }
    check(
        CheckpointOptions { leave_running: true, ..none() },
        CriuOptions { leave_running: true, ..plain() },
    );
    check(
        CheckpointOptions { tcp_skip_in_flight: true, ..none() },
        CriuOptions { tcp_skip_in_flight: true, ..plain() },
    );
    check(
        CheckpointOptions { page_server: Some(("::1".into(), 27)), ..none() },
        CriuOptions { page_server: Some(PageServer { address: "::1".into(), port: 27 }), ..plain() },
    );
    check(
        CheckpointOptions { parent_path: Some("../parent".into()), ..none() },
        CriuOptions { parent_img: "../parent".into(), track_mem: true, ..plain() },
    );
    let pre = CheckpointOptions { pre_dump: true, ..none() };
    assert_eq!(dumped(&pre, &[], &facts), (kind::PRE_DUMP, plain()));
}

#[test]
fn an_annotation_names_the_configuration_file() {
    let facts = DumpFacts::default();
    let file = |annotations: &[(&str, &str)]| {
        dumped(&CheckpointOptions::default(), annotations, &facts).1.config_file
    };
    assert_eq!(file(&[("org.criu.config", "/x")]), "/x");
    assert_eq!(file(&[("org.criu.config", "")]), "");
    assert_eq!(file(&[("other", "/x")]), "/etc/criu/runc.conf");
}

fn facts() -> RestoreFacts<'static> {
    RestoreFacts {
        images: 5,
        work: None,
        root: Path::new("/r"),
        descriptors: vec!["file[1c:2f]".into(), "/dev/null".into(), "pipe:[2]".into()],
        inherited: vec![("extRootNetNS", 4)],
        cgroups: vec![("cpu".into(), "/a".into()), (String::new(), "/b".into())],
    }
}

fn restored(options: &RestoreOptions) -> CriuOptions {
    let request = restore(options, &plan(), &BTreeMap::new(), &facts()).unwrap();
    assert_eq!(request.kind, kind::RESTORE);
    request.options.unwrap()
}

fn plain_restore() -> CriuOptions {
    let inherit = |key: &str, fd| InheritFd { key: key.into(), fd: Some(fd) };
    let root = |controller: &str, path: &str| CgroupRoot { controller: controller.into(), path: path.into() };
    let external =
        ["mnt[/data]:/srv/data", "mnt[/tree]:/srv/tree", "mnt[/dev/y]:/dev/y", "mnt[/dev/null]:/dev/null"];
    CriuOptions {
        evasive_devices: true,
        rst_sibling: true,
        external: external.map(str::to_owned).into(),
        inherit_fd: vec![inherit("file[1c:2f]", 0), inherit("pipe:[2]", 2), inherit("extRootNetNS", 4)],
        cgroup_roots: vec![root("cpu", "/a"), root("", "/b")],
        join_ns: vec![JoinNamespace { kind: "uts".into(), file: "/proc/9/ns/uts".into() }],
        ..plain("restore.log")
    }
}

#[test]
fn a_restore_is_told_where_everything_is() {
    assert_eq!(restored(&RestoreOptions::default()), plain_restore());
}

#[test]
fn each_option_of_a_restore_is_asked_for() {
    let none = RestoreOptions::default;
    let check = |options: RestoreOptions, expected: CriuOptions| {
        assert_eq!(restored(&options), expected, "{options:?}");
    };
    let plain = plain_restore;
    for (criu, expected) in each_setting(plain) {
        check(RestoreOptions { criu, ..none() }, expected);
    }
    check(
        RestoreOptions { lsm_profile: Some("apparmor:x".into()), ..none() },
        CriuOptions { lsm_profile: "apparmor:x".into(), ..plain() },
    );
    check(
        RestoreOptions { lsm_mount_context: Some("a:b:c".into()), ..none() },
        CriuOptions { lsm_mount_context: "a:b:c".into(), ..plain() },
    );
}

#[test]
fn what_criu_cannot_do_is_refused() {
    let mut mapped = plan();
    let HostStep::OpenTree { idmap, .. } = &mut mapped.host[2].step else { panic!() };
    *idmap = Some((IdMaps::default(), false));
    let expected = "mount /tree: CRIU knows nothing of mounts with mapped ids (idmap)";
    let refused = restore(&RestoreOptions::default(), &mapped, &BTreeMap::new(), &facts()).unwrap_err();
    assert_eq!(refused.to_string(), expected);
    // So that a dump refuses them too, they are on record.
    let recorded = host_mounts(&mapped);
    let names: Vec<_> = recorded.iter().map(|mount| (mount.destination.as_str(), mount.mapped)).collect();
    assert_eq!(names, [("/data", false), ("/tree", true), ("/dev/y", false)]);
    assert_eq!(refuse_mapped("/tree", true).unwrap_err().to_string(), expected);
    let mut joined = plan();
    let HostStep::OpenNamespace { kind, .. } = &mut joined.host[1].step else { panic!() };
    *kind = Namespace::Cgroup;
    let refused = restore(&RestoreOptions::default(), &joined, &BTreeMap::new(), &facts()).unwrap_err();
    assert!(refused.to_string().starts_with("linux.namespaces: CRIU cannot restore into a cgroup"));
}
