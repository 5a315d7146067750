//! The command line of `conformance bench`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Failure;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// Help text.
pub const USAGE: &str = "\
usage: conformance bench [options]

  --runtime NAME=PATH[,GLOBAL-ARG…]  a runtime to measure, with further global arguments (may be repeated;
                                     default: the orlop beside this program, and runc and crun from PATH)
  --operation NAME                   run, create, start, exec, delete, state, list, pause, resume, kill or all (may be repeated;
                                     default: all, but none when --growth is given); the container of all but run sleeps,
                                     delete is delete --force, and those after it are measured on the first bundle only
  --bundle NAME                      plain, docker-like or docker-seccomp (may be repeated; default: all)
  --rounds N                         measured rounds (default 30)
  --warm-up N                        rounds before that, not measured (default 3)
  --growth NAME                      memory: what created and running containers hold; at-once: 64 of run and of start at
                                     once; containers: run with 0, 100 and 1,000 containers created before; mounts: run
                                     with 10, 1,000 and 5,000 mounts more on the host; rest: run of docker-like when nothing
                                     was run for 0, 10 and 100 ms before; or all (may be repeated)
  --growth-rounds N                  measured rounds of that (default 9)
  --cgroup-view auto|host|v1         v1: run everything in a mount namespace of its own in which the v2 hierarchy of
                                     a hybrid host is not seen, because crun refuses one that holds controllers;
                                     host: as it is; auto (default): v1 where crun would refuse, else host
  --with-resources                   give the plain bundle memory, cpu and pids limits too
  --seccomp FILE                     give every runtime the seccomp object in FILE (linux.seccomp)
  --json FILE                        also write the figures as JSON
  --docs DIR                         also put the figures into DIR/benchmarks.md, between its markers, and plots of them into
                                     DIR/benchmarks/OPERATION.svg
  --shim FILE                        with --docs: also put the table of conformance/engines/bench-shim in FILE there
  --dir DIR                          where bundles are made for the time (default: the system's)
  --state DIR                        where the runtimes keep their state meanwhile (default: /run or /dev/shm, whichever is a tmpfs)

Markdown goes to standard output.  Needs root.  The floor is always measured beside the runtimes.

       conformance hot --runtime NAME=PATH [--bundle NAME] [--seccomp FILE]

Prints the functions that a run of the program, which must have its symbols, executes: see scripts/hot-functions.
";

/// One program to be measured.
#[derive(Clone)]
pub struct Contender {
    /// The name in the tables.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// Global arguments before the sub-command.
    pub global: Vec<OsString>,
    /// The floor has a command line of its own.
    pub floor: bool,
}

/// The command that is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// A whole life of `true`.
    Run,
    /// Of a container that sleeps.
    Create,
    /// Of a created one.
    Start,
    /// `true` in a running container.
    Exec,
    /// By force, of a running one.
    Delete,
    /// Of a running one.
    State,
    /// Of a single container, a running one.
    List,
    /// Of a running one.
    Pause,
    /// Of a paused one.
    Resume,
    /// SIGKILL to a running one.
    Kill,
}

impl Operation {
    const ALL: [Self; 10] = [
        Self::Run,
        Self::Create,
        Self::Start,
        Self::Exec,
        Self::Delete,
        Self::State,
        Self::List,
        Self::Pause,
        Self::Resume,
        Self::Kill,
    ];

    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Create => "create",
            Self::Start => "start",
            Self::Exec => "exec",
            Self::Delete => "delete",
            Self::State => "state",
            Self::List => "list",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Kill => "kill",
        }
    }

    /// Whether it only asks or signals, so that it is the same with every bundle.
    pub const fn is_small(self) -> bool {
        matches!(self, Self::State | Self::List | Self::Pause | Self::Resume | Self::Kill)
    }
}

/// What is measured beside single commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// What containers hold.
    Memory,
    /// Many at once.
    AtOnce,
    /// Among many containers.
    Containers,
    /// Among many mounts.
    Mounts,
    /// After a rest.
    Rest,
}

impl Growth {
    const ALL: [Self; 5] = [Self::Memory, Self::AtOnce, Self::Containers, Self::Mounts, Self::Rest];

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::AtOnce => "at-once",
            Self::Containers => "containers",
            Self::Mounts => "mounts",
            Self::Rest => "rest",
        }
    }
}

/// How often something is done by the clock.
pub struct Rounds {
    /// Rounds before, besides a first one that tells whether it can be done at all.
    pub warm_up: usize,
    /// Measured rounds.
    pub counted: usize,
}

/// Which cgroup hierarchies the measured programs see.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CgroupView {
    /// v1 where crun would refuse the host's layout.
    Auto,
    /// As it is.
    Host,
    /// Without the v2 hierarchy of a hybrid host.
    V1,
}

/// All of it.
pub struct Options {
    /// The runtimes, then the floor.
    pub contenders: Vec<Contender>,
    /// What is timed.
    pub operations: Vec<Operation>,
    /// Names of bundles.
    pub bundles: Vec<String>,
    /// Of every operation.
    pub rounds: Rounds,
    /// Which hierarchies are seen.
    pub view: CgroupView,
    /// What is measured beside the operations.
    pub growth: Vec<Growth>,
    /// Of that; half as many of what is done at once.
    pub growth_rounds: Rounds,
    /// Limits for all.
    pub resources: bool,
    /// A seccomp profile for all.
    pub seccomp: Option<PathBuf>,
    /// Where figures go as JSON.
    pub json: Option<PathBuf>,
    /// The directory whose `benchmarks.md` and pictures are written anew.
    pub docs: Option<PathBuf>,
    /// A table of `conformance/engines/bench-shim`, which goes there too.
    pub shim: Option<PathBuf>,
    /// Where temporary files are made.
    pub dir: PathBuf,
    /// Where the runtimes keep their state.
    pub state: PathBuf,
    /// The probe: the program of containers that sleep.
    pub probe: PathBuf,
}

/// The bundles there are: next to nothing; as Docker makes it, with limits; the same with Docker's default seccomp profile.
const BUNDLES: [&str; 3] = ["plain", "docker-like", "docker-seccomp"];

fn failure(text: impl Into<String>) -> Failure {
    Failure(text.into())
}

/// Looks a program up in PATH.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

fn contender(text: &str) -> Result<Contender, Failure> {
    let (name, rest) =
        text.split_once('=').ok_or_else(|| failure(format!("--runtime {text}: want NAME=PATH[,ARG…]")))?;
    let mut words = rest.split(',');
    let path = PathBuf::from(words.next().unwrap_or_default());
    if !path.is_file() {
        return Err(failure(format!("--runtime {name}: {} is not a file", path.display())));
    }
    let path = path.canonicalize()?;
    Ok(Contender { name: name.to_owned(), path, global: words.map(Into::into).collect(), floor: false })
}

fn sibling(own: &Path, name: &str) -> PathBuf {
    own.with_file_name(name)
}

fn default_contenders(own: &Path) -> Vec<Contender> {
    let orlop = Some(sibling(own, "orlop")).filter(|path| path.is_file());
    let found = [("orlop", orlop), ("runc", in_path("runc")), ("crun", in_path("crun"))];
    let contender = |(name, path): (&str, Option<PathBuf>)| {
        Some(Contender { name: name.to_owned(), path: path?, global: Vec::new(), floor: false })
    };
    found.into_iter().filter_map(contender).collect()
}

fn count(value: &OsStr, flag: &str) -> Result<usize, Failure> {
    let number = value.to_str().and_then(|word| word.parse().ok());
    number.ok_or_else(|| failure(format!("{flag}: not a number: {}", value.display())))
}

fn text(value: &OsStr, flag: &str) -> Result<String, Failure> {
    value.to_str().map(str::to_owned).ok_or_else(|| failure(format!("{flag}: not UTF-8")))
}

/// The one of that name, or all.
fn named<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    value: &OsStr,
    flag: &str,
) -> Result<Vec<T>, Failure> {
    if value == "all" {
        return Ok(all.to_vec());
    }
    let known = all.iter().copied().find(|known| value == name(*known));
    let names: Vec<&str> = all.iter().map(|known| name(*known)).collect();
    let unknown = || failure(format!("{flag} {}: want one of {}, or all", value.display(), names.join(", ")));
    Ok(vec![known.ok_or_else(unknown)?])
}

/// Which hierarchies are asked for.
pub fn view(value: &OsStr) -> Result<CgroupView, Failure> {
    match value.to_str() {
        Some("auto") => Ok(CgroupView::Auto),
        Some("host") => Ok(CgroupView::Host),
        Some("v1") => Ok(CgroupView::V1),
        _ => Err(failure("--cgroup-view: want auto, host or v1")),
    }
}

impl Options {
    fn set(&mut self, flag: &str, value: &OsStr) -> Result<(), Failure> {
        match flag {
            "--runtime" => self.contenders.push(contender(&text(value, flag)?)?),
            "--bundle" => match text(value, flag)? {
                name if BUNDLES.contains(&name.as_str()) => self.bundles.push(name),
                name => return Err(failure(format!("--bundle {name}: want one of {}", BUNDLES.join(", ")))),
            },
            "--operation" => {
                self.operations.extend(named(&Operation::ALL, Operation::name, value, flag)?);
            }
            "--growth" => self.growth.extend(named(&Growth::ALL, Growth::name, value, flag)?),
            "--rounds" => self.rounds.counted = count(value, flag)?.max(1),
            "--growth-rounds" => self.growth_rounds.counted = count(value, flag)?.max(1),
            "--warm-up" => self.rounds.warm_up = count(value, flag)?,
            "--cgroup-view" => self.view = view(value)?,
            "--seccomp" => self.seccomp = Some(value.into()),
            "--json" => self.json = Some(std::path::absolute(value)?),
            "--shim" => self.shim = Some(std::path::absolute(value)?),
            "--docs" => self.docs = Some(std::path::absolute(value)?),
            "--dir" => self.dir = std::path::absolute(value)?,
            "--state" => self.state = std::path::absolute(value)?,
            _ => return Err(failure(format!("{flag}: no such option\n\n{USAGE}"))),
        }
        Ok(())
    }

    /// Puts in what was not said, and the floor, and looks whether all is there.
    fn complete(&mut self, own: &Path) -> Result<(), Failure> {
        if self.contenders.is_empty() {
            self.contenders = default_contenders(own);
        }
        if self.operations.is_empty() && self.growth.is_empty() {
            self.operations = Operation::ALL.to_vec();
        }
        if self.bundles.is_empty() {
            self.bundles = BUNDLES.map(str::to_owned).to_vec();
        }
        let lacks = |bundle: &str| !self.bundles.iter().any(|name| name == bundle);
        if !self.growth.is_empty() && lacks("plain") {
            return Err(failure("--growth: wants the plain bundle too"));
        }
        if self.growth.contains(&Growth::Rest) && lacks("docker-like") {
            return Err(failure("--growth rest: wants the docker-like bundle too"));
        }
        let floor = sibling(own, "floor");
        for needed in [&floor, &self.probe] {
            if !needed.is_file() {
                return Err(failure(format!(
                    "{} is missing: cargo build --release -p conformance",
                    needed.display()
                )));
            }
        }
        self.contenders.push(Contender {
            name: "floor".to_owned(),
            path: floor,
            global: Vec::new(),
            floor: true,
        });
        Ok(())
    }
}

/// Whether the file system at `path` is a tmpfs.
pub fn is_tmpfs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
}

/// Where state is kept on most hosts: a tmpfs.  On a disk each directory that is removed may cost as much as a tenth of a run.
fn state_directory() -> PathBuf {
    let usual = ["/run", "/dev/shm"].map(PathBuf::from).into_iter().find(|path| is_tmpfs(path));
    usual.unwrap_or_else(std::env::temp_dir)
}

/// Reads the command line; nothing when it only asked for help.
pub fn parse(args: Vec<OsString>) -> Result<Option<Options>, Failure> {
    let own = std::env::current_exe()?;
    let mut options = Options {
        contenders: Vec::new(),
        operations: Vec::new(),
        bundles: Vec::new(),
        rounds: Rounds { warm_up: 3, counted: 30 },
        view: CgroupView::Auto,
        growth: Vec::new(),
        growth_rounds: Rounds { warm_up: 0, counted: 9 },
        resources: false,
        seccomp: None,
        json: None,
        docs: None,
        shim: None,
        dir: std::env::temp_dir(),
        state: state_directory(),
        probe: sibling(&own, "probe"),
    };
    let mut words = args.into_iter();
    while let Some(word) = words.next() {
        let flag = text(&word, "the command line")?;
        match flag.as_str() {
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(None);
            }
            "--with-resources" => options.resources = true,
            _ => match flag.split_once('=') {
                Some((name, value)) if flag.starts_with("--") => options.set(name, OsStr::new(value))?,
                _ => {
                    let value = words
                        .next()
                        .ok_or_else(|| failure(format!("{flag}: a value is missing\n\n{USAGE}")))?;
                    options.set(&flag, &value)?;
                }
            },
        }
    }
    options.complete(&own)?;
    Ok(Some(options))
}
