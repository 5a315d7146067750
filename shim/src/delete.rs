//! `delete`: removes what a shim that died has left of a container.

use crate::api::{DeleteResponse, Timestamp};
use crate::args::Args;
use crate::options::Options;
use crate::service::ROOT_FILE;
use crate::shim::sigkill;
use crate::wire::Message;
use crate::{address, mounts};
use orlop_core::{ErrorKind, Runtime};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the shim has put the container's state.
fn root(bundle: &Path, namespace: &str) -> PathBuf {
    let recorded = fs::read_to_string(bundle.join(ROOT_FILE)).ok().map(PathBuf::from);
    // A bundle is written to by root alone; still, what is not ours to follow is not followed.
    recorded.filter(|root| root.is_absolute()).unwrap_or_else(|| Options::default().state_root(namespace))
}

/// Removes the socket of a shim that is no more.
fn clear_socket(bundle: &Path) {
    let Ok(text) = fs::read_to_string(bundle.join("address")) else { return };
    let path = Path::new(text.trim().trim_start_matches("unix://")).to_owned();
    // Others of the pod may be served there still.
    if matches!(address::dial(&path), Err(nix::Error::ECONNREFUSED)) {
        address::remove(&path);
    }
}

/// Kills the container, unmounts its root file system, forgets it; what containerd is to be told of its end.
///
/// What cannot be removed is logged, and the rest is done: containerd calls once, and removes the bundle whatever it is told, with
/// all that is mounted in it still.
#[must_use]
pub fn delete(args: &Args) -> Vec<u8> {
    let bundle = if args.bundle.is_empty() { PathBuf::from(".") } else { PathBuf::from(&args.bundle) };
    let runtime = Runtime::new(root(&bundle, &args.namespace));
    let mut pid = 0;
    let removed = runtime.open(&args.id).and_then(|container| {
        pid = container.pid();
        container.delete(true)
    });
    if let Err(e) = removed
        && e.kind() != ErrorKind::NotFound
    {
        log::error!("delete {}: {e}", args.id);
    }
    mounts::unmount_all(&bundle.join("rootfs"));
    clear_socket(&bundle);
    let response = DeleteResponse {
        pid: pid.unsigned_abs(),
        exit_status: 128 + sigkill().unsigned_abs(),
        exited_at: Some(Timestamp::now()),
    };
    response.encode()
}
