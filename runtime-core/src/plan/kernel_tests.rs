//! Whether this kernel takes what the compiler writes: each new file system of a plan is made, and dropped unattached.

use super::{ChildStep, FsParam, Mount, MountSource, Options, compile};
use crate::sys::{self, Fd, Result};
use crate::{host, spec};

fn make(mount: &Mount) -> Result<()> {
    let MountSource::New { fstype, params, .. } = &mount.source else { return Ok(()) };
    let fs = sys::fsopen(fstype)?;
    let made = configure(fs, params).and_then(|()| sys::fsmount(fs, mount.attributes.set));
    sys::close(fs);
    made.map(sys::close)
}

fn configure(fs: Fd, params: &[FsParam]) -> Result<()> {
    for param in params {
        match param {
            FsParam::Flag(key) => sys::fsconfig_set_flag(fs, key)?,
            FsParam::String(key, value) => sys::fsconfig_set_string(fs, key, value)?,
        }
    }
    sys::fsconfig_create(fs)
}

#[test]
fn the_kernel_takes_every_new_file_system() {
    let facts = host::gather(&oci_spec::runtime::Spec::default(), false).unwrap();
    if facts.euid != 0 || !facts.privileged {
        println!("skipped: making file systems needs CAP_SYS_ADMIN");
        return;
    }
    let mut config = serde_json::to_value(spec::example(None)).unwrap();
    // So that cgroups are new mounts, not bound ones.
    config["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({"type": "cgroup"}));
    let rich = serde_json::json!({
        "destination": "/t", "type": "tmpfs", "source": "tmpfs",
        "options": ["ro", "sync", "dirsync", "lazytime", "noatime", "nodiratime", "mode=1777,size=64k", "uid=1,gid=2"],
    });
    config["mounts"].as_array_mut().unwrap().push(rich);
    let loaded = spec::load(config.to_string().as_bytes()).unwrap();
    let options = Options { id: "kernel-test".into(), bundle: "/nowhere".into(), ..Options::default() };
    let plan = compile(&loaded, &facts, &options).unwrap();
    let mut made = 0;
    for planned in &plan.child {
        if let ChildStep::Mount(mount) = &planned.step {
            make(mount).unwrap_or_else(|e| panic!("{}: {mount:?}: {e}", planned.origin));
            made += 1;
        }
    }
    assert!(made >= 8, "{made} file systems only");
}
