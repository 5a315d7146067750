//! What a client asks of the runtime beside config.json: the options messages of `io.containerd.runc.v2`.

use crate::api::{Any, LinuxCreateOptions, RuncOptions, RuntimeOptions};
use crate::wire::{Message, WireError};
use orlop_core::sys::Reason;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Where the state of containers lies when the options name no root.
const ROOT: &str = "/run/containerd/orlop";

/// The options that have an effect in-process.  `binary_name` names a program that this shim does not run, `criu_path` one that is
/// looked for in `PATH`, and `task_api_address` a task service that is not this one: they are told in the log and have none.
/// `criu_image_path` is for containerd, which sends what it finds there as the images to create from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Change the root by moving a mount.
    pub no_pivot_root: bool,
    /// Leave the container in the shim's session keyring.
    pub no_new_keyring: bool,
    /// A cgroup for the shim itself.
    pub shim_cgroup: String,
    /// The owner of pipes and terminals, as root of a user namespace needs it.
    pub io_owner: (u32, u32),
    /// Where the state lies; below it is a directory for every namespace.
    pub root: String,
    /// Control groups by systemd.
    pub systemd_cgroup: bool,
    /// Where CRIU's log of a restore goes; with the images when empty.
    pub criu_work_path: String,
    /// What was asked for without effect.
    pub without_effect: Vec<String>,
}

/// A regular file's text, to a bound: whoever waited for anything else would hold up all containers.
fn read_file(path: &str) -> io::Result<Vec<u8>> {
    const LONGEST: u64 = 1 << 20;
    let no_wait = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

impl Options {
    /// The options in a message of any of the types that containerd and its clients send.
    ///
    /// # Errors
    /// A type or a message that is not understood.
    pub fn from_any(any: Option<&Any>) -> Result<Self, String> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else { return Ok(Self::default()) };
        let broken = |e: WireError| format!("options of type {}: {e}", any.type_url);
        match any.type_name() {
            "containerd.runc.v1.Options" => {
                Ok(Self::from_runc(RuncOptions::decode(&any.value).map_err(broken)?))
            }
            "containerd.linux.runc.CreateOptions" => {
                let sent = LinuxCreateOptions::decode(&any.value).map_err(broken)?;
                // They are of checkpoints, and asked for once more with one.
                let for_checkpoints = [
                    ("open_tcp", sent.open_tcp),
                    ("external_unix_sockets", sent.external_unix_sockets),
                    ("file_locks", sent.file_locks),
                    ("empty_namespaces", !sent.empty_namespaces.is_empty()),
                    ("cgroups_mode", !sent.cgroups_mode.is_empty()),
                ];
                let without_effect = for_checkpoints.iter().filter(|(_, given)| *given);
                Ok(Self {
                    no_pivot_root: sent.no_pivot_root,
                    no_new_keyring: sent.no_new_keyring,
                    shim_cgroup: sent.shim_cgroup,
                    io_owner: (sent.io_uid, sent.io_gid),
                    criu_work_path: sent.criu_work_path,
                    without_effect: without_effect.map(|(name, _)| (*name).to_owned()).collect(),
                    ..Self::default()
                })
            }
            "runtimeoptions.v1.Options" => {
                let sent = RuntimeOptions::decode(&any.value).map_err(broken)?;
                let body = match (sent.config_body.is_empty(), sent.config_path.is_empty()) {
                    (true, false) => read_file(&sent.config_path).map_err(|e| {
                        let why = Reason::of(&e);
                        format!("read the runtime's configuration {}: {why}", sent.config_path)
                    })?,
                    _ => sent.config_body,
                };
                Self::from_toml(&String::from_utf8_lossy(&body))
            }
            other => Err(format!("unsupported option type {other:?}")),
        }
    }

    fn from_runc(sent: RuncOptions) -> Self {
        let mut without_effect = Vec::new();
        for (name, value) in [
            ("binary_name", &sent.binary_name),
            ("criu_path", &sent.criu_path),
            ("task_api_address", &sent.task_api_address),
        ] {
            if !value.is_empty() {
                without_effect.push(format!("{name}={value}"));
            }
        }
        Self {
            no_pivot_root: sent.no_pivot_root,
            no_new_keyring: sent.no_new_keyring,
            shim_cgroup: sent.shim_cgroup,
            io_owner: (sent.io_uid, sent.io_gid),
            root: sent.root,
            systemd_cgroup: sent.systemd_cgroup,
            criu_work_path: sent.criu_work_path,
            without_effect,
        }
    }

    /// The table `options` of a runtime in the CRI plugin's configuration, which containerd passes on as text to runtimes whose
    /// options it does not know: keys with a flag, a number or a string.
    fn from_toml(text: &str) -> Result<Self, String> {
        let mut sent = RuncOptions::default();
        let mut unknown = Vec::new();
        for line in
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '[']))
        {
            let fault = || format!("the runtime's configuration: {line:?} is not understood");
            let (key, value) = line.split_once('=').ok_or_else(fault)?;
            let (key, value) = (key.trim().trim_matches('"'), value.trim());
            let text = || value.trim_matches(['"', '\'']).to_owned();
            let flag = || value.parse::<bool>().map_err(|_| fault());
            let number = || value.parse::<u32>().map_err(|_| fault());
            match key {
                "NoPivotRoot" => sent.no_pivot_root = flag()?,
                "NoNewKeyring" => sent.no_new_keyring = flag()?,
                "SystemdCgroup" => sent.systemd_cgroup = flag()?,
                "IoUid" => sent.io_uid = number()?,
                "IoGid" => sent.io_gid = number()?,
                "ShimCgroup" => sent.shim_cgroup = text(),
                "Root" => sent.root = text(),
                "BinaryName" => sent.binary_name = text(),
                "CriuImagePath" => sent.criu_image_path = text(),
                "CriuWorkPath" => sent.criu_work_path = text(),
                _ => unknown.push(line.to_owned()),
            }
        }
        let mut options = Self::from_runc(sent);
        options.without_effect.append(&mut unknown);
        Ok(options)
    }

    /// Where the state of the containers of a namespace lies.
    #[must_use]
    pub fn state_root(&self, namespace: &str) -> PathBuf {
        let root = if self.root.is_empty() { ROOT } else { &self.root };
        PathBuf::from(root).join(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(name: &str, message: &impl Message) -> Any {
        Any::new(name, message.encode())
    }

    #[test]
    fn options_of_every_type_are_read() {
        let runc = RuncOptions {
            root: "/r".into(),
            io_uid: 5,
            binary_name: "crun".into(),
            criu_path: "/c".into(),
            criu_work_path: "/w".into(),
            ..RuncOptions::default()
        };
        let options = Options::from_any(Some(&any("containerd.runc.v1.Options", &runc))).unwrap();
        assert_eq!((options.io_owner, options.state_root("n")), ((5, 0), PathBuf::from("/r/n")));
        assert_eq!(options.without_effect, ["binary_name=crun", "criu_path=/c"]);
        assert_eq!(options.criu_work_path, "/w");
        let linux = LinuxCreateOptions { io_gid: 7, no_pivot_root: true, ..LinuxCreateOptions::default() };
        let name = "type.googleapis.com/containerd.linux.runc.CreateOptions";
        let options = Options::from_any(Some(&any(name, &linux))).unwrap();
        assert!(options.no_pivot_root && options.io_owner == (0, 7));
        let body = b"# of the CRI plugin\nSystemdCgroup = false\nRoot = \"/x\"\nWhat = 1\n".to_vec();
        let cri = RuntimeOptions { config_body: body, ..RuntimeOptions::default() };
        let options = Options::from_any(Some(&any("runtimeoptions.v1.Options", &cri))).unwrap();
        assert_eq!(
            (options.root.as_str(), &options.without_effect[..]),
            ("/x", &["What = 1".to_owned()][..])
        );
        assert_eq!(
            Options::from_any(None).unwrap().state_root("n"),
            PathBuf::from("/run/containerd/orlop/n")
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let unknown = Any::new("a.B", Vec::new());
        assert!(Options::from_any(Some(&unknown)).unwrap_err().contains("unsupported option type \"a.B\""));
        let broken = Any::new("containerd.runc.v1.Options", vec![0xff]);
        assert!(Options::from_any(Some(&broken)).is_err());
        let cri =
            RuntimeOptions { config_body: b"SystemdCgroup = maybe".to_vec(), ..RuntimeOptions::default() };
        assert!(Options::from_any(Some(&any("runtimeoptions.v1.Options", &cri))).is_err());
    }
}
