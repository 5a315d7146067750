//! What is said between us and `criu swrk`: the messages of CRIU's `images/rpc.proto`, by their numbers, as far as they serve
//! containers.

use std::fmt;

/// Kinds of requests (`criu_req_type`).
pub mod kind {
    #![allow(missing_docs)]
    pub const DUMP: i32 = 1;
    pub const RESTORE: i32 = 2;
    pub const PRE_DUMP: i32 = 4;
    pub const NOTIFY: i32 = 6;
    pub const FEATURE_CHECK: i32 = 9;
    pub const VERSION: i32 = 10;
}

crate::message! {
    /// A request, and the answer to a notification.
    Request { kind: i32 = 1, options: Option<CriuOptions> = 2, notify_success: bool = 3, keep_open: bool = 4, features: Option<Features> = 5 }
    /// `criu_opts`.
    CriuOptions {
        images_dir_fd: Option<i32> = 1, pid: i32 = 2, leave_running: bool = 3, ext_unix_sk: bool = 4,
        tcp_established: bool = 5, evasive_devices: bool = 6, shell_job: bool = 7, file_locks: bool = 8,
        log_level: i32 = 9, log_file: String = 10, page_server: Option<PageServer> = 11, notify_scripts: bool = 12,
        root: String = 13, parent_img: String = 14, track_mem: bool = 15, auto_dedup: bool = 16,
        work_dir_fd: Option<i32> = 17, link_remap: bool = 18, manage_cgroups: bool = 24,
        cgroup_roots: Vec<CgroupRoot> = 25, rst_sibling: bool = 26, inherit_fd: Vec<InheritFd> = 27,
        manage_cgroups_mode: Option<i32> = 34, external: Vec<String> = 37, empty_ns: u32 = 38,
        join_ns: Vec<JoinNamespace> = 39, freeze_cgroup: String = 44, tcp_skip_in_flight: bool = 46,
        lazy_pages: bool = 48, orphan_pts_master: bool = 50, config_file: String = 51, lsm_profile: String = 53,
        lsm_mount_context: String = 63
    }
    /// `criu_page_server_info`.
    PageServer { address: String = 1, port: i32 = 2 }
    /// `cgroup_root`: the groups of a hierarchy are restored below this one.
    CgroupRoot { controller: String = 1, path: String = 2 }
    /// `inherit_fd`: what the images know by `key` is CRIU's descriptor `fd`.
    InheritFd { key: String = 1, fd: Option<i32> = 2 }
    /// `join_namespace`.
    JoinNamespace { kind: String = 1, file: String = 2 }
    /// `criu_features`.
    Features { mem_track: bool = 1, lazy_pages: bool = 2 }
    /// An answer, or a notification.
    Response {
        kind: i32 = 1, success: bool = 2, notify: Option<Notify> = 5, error: i32 = 7, features: Option<Features> = 8,
        message: String = 9, version: Option<VersionAnswer> = 10
    }
    /// `criu_notify`: CRIU waits until it is answered.
    Notify { script: String = 1, pid: i32 = 2 }
    /// `criu_version`.
    VersionAnswer { major: i32 = 1, minor: i32 = 2, sublevel: i32 = 4 }
}

/// A version of CRIU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub i32, pub i32, pub i32);

impl From<VersionAnswer> for Version {
    fn from(answer: VersionAnswer) -> Self {
        Self(answer.major, answer.minor, answer.sublevel)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, sublevel) = self;
        write!(f, "{major}.{minor}")?;
        if *sublevel > 0 { write!(f, ".{sublevel}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message as _;

    #[test]
    fn what_must_be_there_is_sent_even_when_it_is_zero() {
        // Standard input is descriptor 0, and "ignore" is mode 0.
        let inherited = InheritFd { key: "pipe:[7]".into(), fd: Some(0) };
        assert_eq!(inherited.encode(), b"\x0a\x08pipe:[7]\x10\x00");
        let options = CriuOptions { manage_cgroups_mode: Some(0), ..CriuOptions::default() };
        assert_eq!(options.encode(), [0x90, 0x02, 0x00]);
    }

    #[test]
    fn an_answer_of_criu_is_understood() {
        // As CRIU 4.2.1 answers VERSION: type, success, and a message with a name that is passed over.
        let bytes = b"\x08\x0a\x10\x01\x52\x08\x08\x04\x10\x02\x20\x01\x32\x00";
        let response = Response::decode(bytes).unwrap();
        assert!(response.success && response.kind == kind::VERSION);
        assert_eq!(Version::from(response.version.unwrap()), Version(4, 2, 1));
        assert_eq!(Version(3, 16, 0).to_string(), "3.16");
        assert_eq!(Version(4, 2, 1).to_string(), "4.2.1");
        assert!(Version(3, 9, 9) < Version(3, 16, 0));
    }
}
