//! What the engine does not do yet.

use super::Fault;
use oci_spec::runtime::Spec;

/// The properties of `spec` that the engine cannot give effect to yet: seccomp filters.
#[must_use]
pub fn unsupported(spec: &Spec) -> Vec<Fault> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let message = "seccomp filters are not supported yet".to_owned();
    seccomp.map(|_| Fault { path: "linux.seccomp".to_owned(), message }).into_iter().collect()
}
