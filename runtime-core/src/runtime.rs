//! The entry to the library: a state directory, and what is made below it.

use crate::checkpoint::request::host_mounts;
use crate::container::{Container, teardown};
use crate::error::{Error, ErrorKind};
use crate::host;
use crate::launch::inputs::{Inputs, Observer, Record};
use crate::launch::launched::Launched;
use crate::launch::listener::Agent;
use crate::launch::parent::launch;
use crate::launch::{Observe, StepEvent};
use crate::plan::{self, Options, Plan};
use crate::process::Process;
use crate::spec::{self, Loaded};
use crate::state::{ContainerDir, Known, Phase, State, StateRoot, validate_id};
use crate::status::{ContainerState, Status};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A runtime: a directory that holds the state of containers.
///
/// It keeps nothing open and has no threads; any number may be used at once, from any thread.
#[derive(Clone, Debug)]
pub struct Runtime {
    root: PathBuf,
}

/// Hears of each step of a launch; see [`CreateOptions::observer`].
pub type StepObserver = Box<dyn FnMut(&StepEvent) + Send>;

/// A bundle whose configuration was loaded: what a caller looks into before it creates a container.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    loaded: Loaded,
}

impl Bundle {
    /// Loads and validates config.json of the bundle at `path`; the current directory when empty.
    ///
    /// # Errors
    /// Every fault of the configuration at once, each with its JSON path.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let path = std::path::absolute(path).map_err(|e| {
            Error::because(ErrorKind::InvalidArgument, format!("bundle {}", path.display()), e)
        })?;
        let loaded = spec::load_file(&path.join("config.json"))?;
        Ok(Self { path, loaded })
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its configuration.
    #[must_use]
    pub fn spec(&self) -> &oci_spec::runtime::Spec {
        &self.loaded.spec
    }

    /// Whether its process has a terminal (`process.terminal`), which needs a console socket.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        self.loaded.spec.process().as_ref().and_then(oci_spec::runtime::Process::terminal).unwrap_or(false)
    }
}

/// What a container is created with, beside its bundle's config.json.
#[derive(Default)]
pub struct CreateOptions {
    /// Its id: letters, digits, `_`, `+`, `-` and `.`.
    pub id: String,
    /// The directory that holds config.json; the current directory when empty.
    pub bundle: PathBuf,
    /// The bundle, when the caller has loaded it already; `bundle` is not looked at then.
    pub loaded: Option<Bundle>,
    /// A connected Unix socket that gets the master of the pseudoterminal (`SCM_RIGHTS`): with `process.terminal`, and then always.
    pub console_socket: Option<OwnedFd>,
    /// Its stdin, stdout and stderr; the caller's when `None`.
    pub stdio: Option<[OwnedFd; 3]>,
    /// Change the root by moving a mount instead of pivot_root(2), for a host that runs from an initramfs.
    pub no_pivot: bool,
    /// Leave the container in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Pass descriptors 3 to 3+n-1 on, after those of `listen_fds`.
    pub preserve_fds: u32,
    /// Socket activation (`sd_listen_fds(3)`): so many descriptors from 3 on are passed on, and announced in the environment.
    pub listen_fds: u32,
    /// Names for them, as in `LISTEN_FDNAMES`.
    pub listen_fdnames: Option<String>,
    /// `NOTIFY_SOCKET` (`sd_notify(3)`) for the container.
    pub notify_socket: Option<PathBuf>,
    /// The container is a unit of systemd's, which makes its cgroups; `linux.cgroupsPath` is `slice:prefix:name` then.  Later
    /// operations need not be told.
    pub systemd_cgroup: bool,
    /// Do without cgroups that there is no permission for, unless `linux.cgroupsPath` asks for them: for a caller without the rights
    /// of root when `None`.
    pub rootless_cgroups: Option<bool>,
    /// How much the observer hears.
    pub observe: Observe,
    /// Hears of each step.
    pub observer: Option<StepObserver>,
}

impl std::fmt::Debug for CreateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateOptions")
            .field("id", &self.id)
            .field("bundle", &self.bundle)
            .field("no_pivot", &self.no_pivot)
            .field("preserve_fds", &self.preserve_fds)
            .finish_non_exhaustive()
    }
}

/// A bundle that was loaded and compiled.
pub(crate) struct Compiled {
    pub bundle: Bundle,
    pub plan: Plan,
}

impl Compiled {
    /// The root file system, absolute.
    pub(crate) fn rootfs(&self) -> PathBuf {
        let root = self.bundle.loaded.spec.root().as_ref();
        root.map_or_else(PathBuf::new, |root| self.bundle.path.join(root.path()))
    }
}

impl Runtime {
    /// A runtime whose state lies below `root`: `/run/orlop`, say.  It is created when the first container is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The state directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What [`Runtime::create`] would do; changes nothing, and needs no privileges.
    ///
    /// # Errors
    /// As for [`Runtime::create`], of the configuration.
    pub fn plan(&self, mut options: CreateOptions) -> Result<Plan, Error> {
        compile(&mut options, true).map(|c| c.plan)
    }

    /// Makes a container, up to the execution of its program: state *created*.
    ///
    /// The container's process is a child of the caller; [`Container::start`] may be called by another process.
    ///
    /// # Errors
    /// When the configuration is wrong, the id is taken, or the kernel refuses a step.  Nothing is left then.
    pub fn create(&self, mut options: CreateOptions) -> Result<Container, Error> {
        let compiled = compile(&mut options, true)?;
        let (dir, state, launched) = self.launch(&compiled, &mut options, true)?;
        let container = Container::new(&self.root, &dir, &state, Some(launched.child));
        drop(dir);
        Ok(container)
    }

    /// Makes a container and runs its program.
    ///
    /// # Errors
    /// As for [`Runtime::create`], and when the program cannot be executed.
    pub fn run(&self, mut options: CreateOptions) -> Result<(Container, Process), Error> {
        let compiled = compile(&mut options, false)?;
        let (dir, mut state, launched) = self.launch(&compiled, &mut options, false)?;
        let started = self.start_launched(&compiled, &mut options, &dir, &mut state, launched);
        match started {
            Ok((process, text)) => {
                let container = Container::new(&self.root, &dir, &state, None);
                Ok((container.knowing(Known { text, state }), process))
            }
            Err(e) => {
                teardown(dir, &state);
                Err(e)
            }
        }
    }

    /// The container `id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(&self, id: &str) -> Result<Container, Error> {
        Container::open(&self.root, id)
    }

    /// The states of all containers, by id.  One that cannot be read is an error in its place.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn list(&self) -> Result<Vec<Result<ContainerState, Error>>, Error> {
        let Some(root) = StateRoot::open_existing(&self.root)? else { return Ok(Vec::new()) };
        let ids = root.ids()?;
        let states = ids.iter().map(|id| self.open(id).and_then(|c| c.state()));
        // Removed between the two looks: it is not there.
        Ok(states.filter(|s| !matches!(s, Err(e) if e.kind() == ErrorKind::NotFound)).collect())
    }

    fn launch(
        &self,
        compiled: &Compiled,
        options: &mut CreateOptions,
        detach_start: bool,
    ) -> Result<(ContainerDir, State, Launched), Error> {
        check_console(compiled.bundle.has_terminal(), options.console_socket.is_some())?;
        let dir = StateRoot::open(&self.root)?.reserve(&options.id)?;
        let mut state = new_state(compiled, options);
        let mut observer = options.observer.take();
        let inputs = Inputs {
            console_socket: options.console_socket.as_ref().map(AsFd::as_fd),
            stdio: options.stdio.as_ref().map(|fds| fds.each_ref().map(AsFd::as_fd)),
            preserve_fds: options.preserve_fds + options.listen_fds,
            observe: options.observe,
            start_at_once: !detach_start
                && options.observe == Observe::No
                && observer.is_none()
                && state.start_container.is_empty(),
            observer: observer.as_mut().map(|o| &mut **o as &mut Observer<'_>),
            ..Inputs::default()
        };
        let record = Record { dir: &dir, state: &mut state };
        let result = launch(&compiled.plan, Some(record), inputs);
        options.observer = observer;
        // The child has its own copies; ours would keep a terminal or a pipe open.
        options.console_socket = None;
        options.stdio = None;
        match result {
            Ok(launched) => Ok((dir, state, launched)),
            Err(e) => {
                teardown(dir, &state);
                Err(e)
            }
        }
    }

    /// Runs the program of what was launched: its process, and the text of the last record.
    fn start_launched(
        &self,
        compiled: &Compiled,
        options: &mut CreateOptions,
        dir: &ContainerDir,
        state: &mut State,
        launched: Launched,
    ) -> Result<(Process, Vec<u8>), Error> {
        crate::container::run_start_hooks(state, &launched.child)?;
        // Where nothing had to be done first, its execve is under way beside us.
        state.phase = Phase::Running;
        let text = dir.save_text(state)?;
        let mut launched = launched;
        if let Some(listener) = &compiled.plan.listener {
            let pid = launched.child.pid;
            let agent = Agent::connect(listener, state, Status::Creating, pid);
            launched.agent = Some(agent.inspect_err(|_| launched.end())?);
        }
        let lockstep = options.observe == Observe::Lockstep;
        let observer = options.observer.as_mut().map(|o| &mut **o as &mut Observer<'_>);
        let child = launched.start(&compiled.plan, state.cgroup.as_ref(), observer, lockstep)?;
        crate::container::run_poststart(state, &child)?;
        Ok((Process::new(child), text))
    }
}

fn compile(options: &mut CreateOptions, detach_start: bool) -> Result<Compiled, Error> {
    let compiled = compile_silently(options, detach_start)?;
    compiled.plan.warnings.iter().for_each(|warning| tell(warning));
    Ok(compiled)
}

/// As [`compile`], where the warnings have been told when the container was made.
pub(crate) fn compile_silently(options: &mut CreateOptions, detach_start: bool) -> Result<Compiled, Error> {
    validate_id(&options.id)?;
    check_preserved(options.preserve_fds.saturating_add(options.listen_fds))?;
    let bundle = match options.loaded.take() {
        Some(bundle) => bundle,
        None => Bundle::load(&options.bundle)?,
    };
    let facts = host::gather(&bundle.loaded.spec, options.systemd_cgroup)?;
    let plan_options = Options {
        id: options.id.clone(),
        bundle: bundle.path.clone(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: options.preserve_fds,
        listen_fds: options.listen_fds,
        listen_fdnames: options.listen_fdnames.clone(),
        notify_socket: options.notify_socket.clone(),
        detach_start,
        no_ready: false,
        systemd_cgroup: options.systemd_cgroup,
        rootless_cgroups: options.rootless_cgroups,
    };
    let plan = plan::compile(&bundle.loaded, &facts, &plan_options)?;
    Ok(Compiled { bundle, plan })
}

/// Logs a warning of the plan.
fn tell(warning: &str) {
    // `runc spec` itself writes ambient capabilities that cannot be had, and runc says nothing of it: neither do we, on
    // the terminal of everybody who runs such a bundle.
    if warning.starts_with("process.capabilities.ambient:") {
        log::debug!("{warning}");
    } else {
        log::warn!("{warning}");
    }
}

/// A terminal has a master, which somebody must get.
pub(crate) fn check_console(terminal: bool, socket: bool) -> Result<(), Error> {
    let message = match (terminal, socket) {
        (true, false) => "the process has a terminal, and no console socket to send it to is given",
        (false, true) => "a console socket is given, and the process has no terminal to send to it",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// Descriptors to be passed on must be there before anything else takes their numbers.
pub(crate) fn check_preserved(count: u32) -> Result<(), Error> {
    for n in (3..).take(count.try_into().unwrap_or(usize::MAX)) {
        if !crate::sys::is_open(crate::sys::Fd(n)) {
            let message = format!("preserve-fds: descriptor {n} is not open");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    }
    Ok(())
}

pub(crate) fn new_state(compiled: &Compiled, options: &CreateOptions) -> State {
    let spec = &compiled.bundle.loaded.spec;
    let mut state = State::new(&options.id, &compiled.bundle.path);
    state.oci_version = spec.version().clone();
    state.rootfs = compiled.rootfs();
    state.annotations = spec.annotations().clone().unwrap_or_default().into_iter().collect();
    state.rootless = !nix::unistd::geteuid().is_root();
    if let Some(hooks) = spec.hooks() {
        state.start_container = hooks.start_container().clone().unwrap_or_default();
        state.poststart = hooks.poststart().clone().unwrap_or_default();
        state.poststop = hooks.poststop().clone().unwrap_or_default();
    }
    state.exec.process = spec.process().clone();
    state.exec.no_new_keyring = options.no_new_keyring;
    if let Some(linux) = spec.linux() {
        state.exec.namespaces = linux.namespaces().clone().unwrap_or_default();
        state.resources = linux.resources().clone();
    }
    let own_pids =
        state.exec.namespaces.iter().any(|n| n.typ() == oci_spec::runtime::LinuxNamespaceType::Pid);
    state.host_pid_namespace = !own_pids;
    // CRIU serves nobody but the host's root.
    if !state.rootless {
        state.host_mounts = host_mounts(&compiled.plan);
    }
    state
}
