//! `process.apparmorProfile`, `process.selinuxLabel` and `linux.mountLabel`, where a kernel has the module: `conformance/vm/run v2
//! labels` and `conformance/vm/run selinux labels`.

#[allow(dead_code)] // These tests need little of what is shared.
mod criu;

use std::fs;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use conformance::harness::{Container, eventually, require_program, require_root, skip};
use serde_json::json;

/// A shell in a root file system that can be written to.
fn with_shell(container: &mut Container, script: &str) {
    container.lend_busybox("box", &["sh", "cat", "grep", "sleep"]);
    container.config["root"]["readonly"] = json!(false);
    container.config["process"]["env"] = json!(["PATH=/box"]);
    container.args(&["sh", "-c", script]);
}

/// A profile in the kernel for the time of a test.
struct Profile(String);

impl Profile {
    /// Which lets everything be done but the writing of `/denied`; nothing where AppArmor, or what loads a profile, is missing.
    fn load() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !enabled.is_ok_and(|text| text.starts_with('Y')) {
            skip("needs AppArmor");
            return None;
        }
        if !require_root() || !require_program("apparmor_parser") {
            return None;
        }
        let name = format!("orlop-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n\
             file,\n capability,\n network,\n mount,\n umount,\n signal,\n ptrace,\n unix,\n deny /denied w,\n}}\n"
        );
        let profile = Self(name);
        profile.parser("--add", &text);
        Some(profile)
    }

    fn parser(&self, action: &str, text: &str) {
        let file = std::env::temp_dir().join(&self.0);
        fs::write(&file, text).expect("a file of our own");
        let done =
            Command::new("apparmor_parser").args([action, "--skip-cache", "--quiet"]).arg(&file).status();
        fs::remove_file(&file).expect("our own file");
        assert!(done.expect("it can be executed").success(), "apparmor_parser {action}");
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove", &format!("profile {} {{}}\n", self.0));
    }
}

/// "apparmorProfile (string, OPTIONAL) specifies the name of the AppArmor profile for the process."
#[test]
fn a_profile_of_apparmor_confines() {
    let Some(profile) = Profile::load() else { return };
    for no_new_privileges in [false, true] {
        let mut container = Container::new();
        container.config["process"]["apparmorProfile"] = json!(profile.0);
        container.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let script = "cat /proc/self/attr/current; echo 1 >/allowed && cat /allowed; (echo 1 >/denied) 2>/dev/null || echo no";
        with_shell(&mut container, script);
        assert_eq!(container.run().ok().stdout, format!("{} (enforce)\n1\nno\n", profile.0));
        assert!(!container.rootfs("denied").exists());
    }
}

/// As runc has it: `exec` without a profile of its own gets the container's.
#[test]
fn what_is_executed_later_is_confined_too() {
    let (Some(profile), Some(other)) = (Profile::load(), Profile::load()) else { return };
    let mut container = Container::new();
    container.config["process"]["apparmorProfile"] = json!(profile.0);
    with_shell(&mut container, "sleep 1000");
    container.create().ok();
    container.runtime(&["start", &container.id]).ok();
    let current = |flags: &[&str]| {
        let words = [&["exec"], flags, &[&container.id, "cat", "/proc/self/attr/current"]].concat();
        container.runtime(&words).ok().stdout
    };
    assert_eq!(current(&[]), format!("{} (enforce)\n", profile.0));
    assert_eq!(current(&["--apparmor", &other.0]), format!("{} (enforce)\n", other.0));
    container.delete(&["--force"]).ok();
}

#[test]
fn a_profile_that_is_not_loaded_is_an_error() {
    let Some(profile) = Profile::load() else { return };
    let name = profile.0.clone();
    drop(profile);
    let mut container = Container::new();
    container.config["process"]["apparmorProfile"] = json!(name);
    container.run().fails_with("process.apparmorProfile");
    assert_eq!(container.left_behind(), [""; 0]);
}

/// `restore --lsm-profile`: instead of the one that it had.
#[test]
fn a_restored_container_can_have_another_profile() {
    let (Some(profile), Some(other)) = (Profile::load(), Profile::load()) else { return };
    let Some(mut subject) = criu::Subject::new() else { return };
    subject.container.config["process"]["apparmorProfile"] = json!(profile.0);
    subject.run("echo >/tmp/begun; while sleep 0.1; do cat /proc/$$/attr/current >/tmp/current; done");
    let confined_by = |subject: &criu::Subject, profile: &Profile| {
        let expected = format!("{} (enforce)\n", profile.0);
        eventually(&expected, || subject.read("current") == expected);
    };
    confined_by(&subject, &profile);
    subject.checkpoint(&[]);
    subject.restore(&["--lsm-profile", &format!("apparmor:{}", other.0)]);
    confined_by(&subject, &other);
}

/// Everything is allowed but that a container writes to files of type `secret_t`.
const POLICY: &str = "
(handleunknown allow) (mls false) (policycap nnp_nosuid_transition)
(class process (transition dyntransition)) (class file (write)) (class dir (reparent)) (classorder (process file dir))
(sid kernel) (sid security) (sid unlabeled) (sidorder (kernel security unlabeled))
(sensitivity s0) (sensitivityorder (s0))
(user u) (userlevel u (s0)) (userrange u ((s0) (s0))) (role r) (userrole u r) (role object_r) (userrole u object_r)
(type host_t) (type container_t) (type shared_t) (type secret_t)
(roletype r host_t) (roletype r container_t)
(roletype object_r host_t) (roletype object_r shared_t) (roletype object_r secret_t)
(sidcontext kernel (u r host_t ((s0) (s0))))
(sidcontext security (u r host_t ((s0) (s0))))
(sidcontext unlabeled (u r host_t ((s0) (s0))))
(fsuse trans mqueue (u object_r host_t ((s0) (s0))))
(allow host_t self (process (transition dyntransition)))
(allow host_t container_t (process (transition dyntransition)))
(typeattribute any) (typeattributeset any (host_t container_t shared_t secret_t)) (allow any any (dir (reparent)))
(allow host_t any (file (write))) (allow container_t host_t (file (write))) (allow container_t shared_t (file (write)))
";

/// Has the kernel follow [`POLICY`]: the whole machine, so this is for one that is thrown away.
fn require_selinux() -> bool {
    static LOADED: Once = Once::new();
    if std::env::var("ORLOP_MACHINE").as_deref() != Ok("selinux") {
        skip("needs a machine of its own, with SELinux and without a policy");
        return false;
    }
    if !require_root() || !require_program("secilc") {
        return false;
    }
    LOADED.call_once(|| {
        let directory = std::env::temp_dir();
        let (source, policy) = (directory.join("policy.cil"), directory.join("policy"));
        fs::write(&source, POLICY).expect("a file of our own");
        // A version that kernels of some years ago take too.
        let made = Command::new("secilc")
            .args(["--policyvers", "31", "--filecontext", "/dev/null", "--output"])
            .args([&policy, &source])
            .status();
        assert!(made.expect("it can be executed").success(), "secilc");
        let mounted =
            Command::new("mount").args(["-t", "selinuxfs", "selinuxfs", "/sys/fs/selinux"]).status();
        assert!(mounted.expect("mount can be executed").success(), "selinuxfs");
        let policy = fs::read(policy).expect("what secilc has written");
        fs::write("/sys/fs/selinux/load", policy).expect("a policy that the kernel takes");
        fs::write("/sys/fs/selinux/enforce", "1").expect("it can be enforced");
    });
    true
}

/// "selinuxLabel (string, OPTIONAL) specifies the SELinux label for the process."
#[test]
fn a_label_of_selinux_is_the_processs() {
    if !require_selinux() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["selinuxLabel"] = json!("u:r:container_t");
    let report = container.report();
    assert_eq!(report["security"]["label"], "u:r:container_t");
    // Or programs of that label could not use it.
    assert_eq!(report["security"]["session_keyring"]["label"], "u:r:container_t");
}

/// "mountLabel (string, OPTIONAL) will set the SELinux context for the mounts in the container."
#[test]
fn a_label_of_mounts_is_that_of_the_files_in_them() {
    if !require_selinux() {
        return;
    }
    for (label, written) in [("u:object_r:shared_t", "yes\n"), ("u:object_r:secret_t", "no\n")] {
        let mut container = Container::new();
        container.config["process"]["selinuxLabel"] = json!("u:r:container_t");
        container.config["linux"]["mountLabel"] = json!(label);
        container.mount("/made", "tmpfs", "tmpfs", &[]);
        let script = "(echo 1 >/made/f) 2>/dev/null; grep -q 1 /made/f && echo yes || echo no; grep -c context= /proc/mounts >&2";
        with_shell(&mut container, script);
        let output = container.run().ok();
        assert_eq!(output.stdout, written, "{label}");
        assert_ne!(output.stderr, "0\n", "{label}");
    }
}

#[test]
fn what_is_executed_later_has_the_containers_label_or_its_own() {
    if !require_selinux() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["selinuxLabel"] = json!("u:r:container_t");
    with_shell(&mut container, "sleep 1000");
    container.create().ok();
    container.runtime(&["start", &container.id]).ok();
    let current = |flags: &[&str]| {
        let words = [&["exec"], flags, &[&container.id, "cat", "/proc/self/attr/current"]].concat();
        container.runtime(&words).ok().stdout.trim_end_matches('\0').to_owned()
    };
    assert_eq!(current(&[]), "u:r:container_t");
    assert_eq!(current(&["--process-label", "u:r:host_t"]), "u:r:host_t");
    container.delete(&["--force"]).ok();
}

#[test]
fn a_label_that_the_policy_has_not_is_an_error() {
    if !require_selinux() {
        return;
    }
    // That of mounts is an option of theirs.
    for (place, label, told) in
        [("process", "selinuxLabel", "process.selinuxLabel"), ("linux", "mountLabel", "context=u:r:nobody_t")]
    {
        let mut container = Container::new();
        container.config[place][label] = json!("u:r:nobody_t");
        container.run().fails_with(told);
        assert_eq!(container.left_behind(), [""; 0]);
    }
}

/// `restore --lsm-mount-context`: instead of the one that they had.  (Debian's CRIU knows no labels of processes.)
#[test]
fn restored_mounts_can_have_another_label() {
    if !require_selinux() {
        return;
    }
    let Some(mut subject) = criu::Subject::new() else { return };
    subject.container.config["linux"]["mountLabel"] = json!("u:object_r:shared_t");
    subject.run("while sleep 0.1; do cat /proc/mounts >/tmp/mounts; done");
    let labelled = |subject: &criu::Subject, label: &str| {
        let shown = format!("context={label}");
        eventually(label, || {
            subject.read("mounts").lines().any(|line| line.contains(" /dev ") && line.contains(&shown))
        });
    };
    labelled(&subject, "u:object_r:shared_t");
    subject.checkpoint(&[]);
    subject.restore(&["--lsm-mount-context", "u:object_r:host_t"]);
    labelled(&subject, "u:object_r:host_t");
}
