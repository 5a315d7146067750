//! Orlop's engine: loads an OCI bundle, compiles it to a plan, and launches the container.
//!
//! A *bundle* is a directory with a `config.json` of the OCI runtime specification and a root file system.  [`Runtime`] makes
//! [`Container`]s of bundles and keeps their state in a directory; [`Process`] is what a caller waits for.
//!
//! # What would be done
//!
//! [`Runtime::plan`] needs no privileges and changes nothing:
//!
//! ```
//! use orlop_core::{CreateOptions, ErrorKind, Runtime, spec};
//!
//! let bundle = std::env::temp_dir().join(format!("orlop-doc-{}", std::process::id()));
//! std::fs::create_dir_all(bundle.join("rootfs"))?;
//! let user = nix::unistd::geteuid();
//! let rootless = (!user.is_root()).then(|| (user.as_raw(), nix::unistd::getegid().as_raw()));
//! let mut config = serde_json::to_value(spec::example(rootless))?;
//! config["process"]["terminal"] = false.into();
//! std::fs::write(bundle.join("config.json"), config.to_string())?;
//!
//! let runtime = Runtime::new(bundle.join("state"));
//! let options = || CreateOptions { id: "doc".into(), bundle: bundle.clone(), ..CreateOptions::default() };
//! assert!(runtime.plan(options())?.render_text().contains("/proc"));
//!
//! // A configuration that is wrong is refused with the place of every fault.
//! config["process"]["cwd"] = "not/absolute".into();
//! std::fs::write(bundle.join("config.json"), config.to_string())?;
//! let error = runtime.plan(options()).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::InvalidConfig);
//! assert!(error.to_string().contains("process.cwd"));
//! # std::fs::remove_dir_all(&bundle)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A container from start to end
//!
//! ```no_run
//! use orlop_core::{CreateOptions, Runtime};
//!
//! let runtime = Runtime::new("/run/orlop");
//! let options = CreateOptions { id: "one".into(), bundle: "/srv/one".into(), ..CreateOptions::default() };
//! let (container, process) = runtime.run(options)?;
//! println!("ended with {}", process.wait()?.code());
//! container.delete(false)?;
//! # Ok::<(), orlop_core::Error>(())
//! ```
//!
//! The folder `examples` has complete programs, which the tests run: `threads` (containers from several threads), `capture`
//! (its output through a pipe), `event_loop` (several containers, one poll loop), `lifecycle` (create, start, kill, delete),
//! `exec` (another process in a container).
//!
//! # What it does not do
//!
//! The library is a guest in the program that calls it:
//!
//! - It changes nothing process-wide: no working directory, umask, signal mask or handler, limit, environment variable,
//!   subreaper setting.  What the container needs is set in the container's process.
//! - It starts no thread and keeps no descriptor open, but those of the [`Container`] and the [`Process`] that it returns.
//!   Every call may be made from any thread.
//! - It does not wait for children that it has not made.  The container's process is a child of the caller, and who reaps it
//!   is up to the caller: [`Process::wait`], or never.
//!   Dropping a [`Process`] neither ends nor reaps it.
//! - It does not protect the program's own binary from a container that runs as the host's root: that means to run the
//!   program anew, which is not for a library to decide.  A program with such containers calls
//!   [`protect::reexec_if_needed`] first in its `main`.
//! - It has no daemon, pulls no image, and sets up no network.
//!
//! # What it needs of its host program
//!
//! - A program that ignores `SIGCHLD`, or waits for *any* child, takes exit statuses away from their owners: then
//!   [`Process::wait`] is an error.  What the library runs for itself (hooks, `newuidmap`) raises no `SIGCHLD`.
//! - Descriptors of the caller do not reach the container, close-on-exec or not, but for stdin, stdout and stderr and those
//!   counted in [`CreateOptions::preserve_fds`] and [`CreateOptions::listen_fds`].
//! - A created container that is not started waits for ever, even when its creator ends: [`Runtime::open`] finds it again, in
//!   any process that uses the same state directory, and [`Container::delete`] removes it.
//!
//! # Errors
//!
//! There is one [`Error`].  [`Error::kind`] is for the program, its text for people: one line, in which the causes are told
//! already.  A launch that fails leaves nothing behind; what can not be removed stays on record, and `delete` tries again.

pub mod cgroup;
mod checkpoint;
mod container;
pub mod doctor;
mod error;
mod exec;
mod features;
mod helper;
pub mod host;
pub mod idmapped;
mod launch;
pub mod plan;
mod process;
pub mod protect;
mod runtime;
pub mod seccomp;
pub mod spec;
pub mod state;
mod status;
pub mod sys;
pub mod wire;

pub use checkpoint::{CheckpointOptions, CriuInfo, CriuSettings, ManageCgroups, RestoreOptions, criu};
pub use container::{Container, Update};
pub use error::{Error, ErrorKind};
pub use exec::ExecOptions;
pub use features::{Features, features};
pub use helper::{Helper, receive_descriptor};
pub use launch::rdt::{BandwidthInfo, BandwidthUse, CacheInfo, RdtStats};
pub use launch::{Half, Observe, StepEvent};
pub use process::{ExitStatus, Process};
pub use runtime::{Bundle, CreateOptions, Runtime, StepObserver};
pub use status::{ContainerState, OCI_VERSION, Status};
