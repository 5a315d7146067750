//! Orlop's engine: loads an OCI bundle, compiles it to a plan, and launches the container.

pub mod cgroup;
mod container;
mod error;
mod exec;
pub mod host;
mod launch;
pub mod plan;
mod process;
pub mod protect;
mod runtime;
pub mod spec;
pub mod state;
mod status;
pub mod sys;

pub use container::Container;
pub use error::{Error, ErrorKind};
pub use exec::ExecOptions;
pub use launch::{Half, Observe, StepEvent};
pub use process::{ExitStatus, Process};
pub use runtime::{Bundle, CreateOptions, Runtime, StepObserver};
pub use status::{ContainerState, OCI_VERSION, Status};
