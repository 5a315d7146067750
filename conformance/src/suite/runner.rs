//! Runs tests side by side, each in a process of its own: what one does to itself (namespaces, working directory, a panic, a hang)
//! meets no other, and one that takes too long can be ended.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{io, panic, process, thread};

use conformance::harness::{self, leaks};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::Failure;
use super::case::Case;
use super::options::Subject;
use super::trial::{Skip, Trial};

/// Exit statuses of the process of a test.
const FAILED: i32 = 1;
const SKIPPED: i32 = 77;

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As demanded.
    Pass,
    /// Not so, for this reason.
    Fail(String),
    /// Not run, for this reason.
    Skip(String),
}

/// A test and how it went.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The test.
    pub case: &'static Case,
    /// How it went.
    pub verdict: Verdict,
    /// How long it took.
    pub time: Duration,
}

/// Directories and settings of a run.
#[derive(Debug)]
pub struct Runner<'a> {
    subject: &'a Subject,
    probe: PathBuf,
    limit: Duration,
    directory: PathBuf,
}

impl<'a> Runner<'a> {
    /// For one runtime.
    pub fn new(subject: &'a Subject, limit: Duration) -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(format!("orlop-suite-{}-{}", process::id(), subject.name));
        fs::create_dir_all(&directory)?;
        // The state that the runtime of an ordinary user or of another namespace needs is in the trials' own directories.
        Ok(Self { subject, probe: harness::probe_path(), limit, directory })
    }

    /// Runs all, `jobs` at once, and tells each in the order of the list as soon as it is known.
    pub fn run(
        &self,
        cases: &[&'static Case],
        jobs: usize,
        tell: &mut (dyn FnMut(usize, &Finding) + Send),
    ) -> Vec<Finding> {
        let next = AtomicUsize::new(0);
        let told = Mutex::new((0, vec![None; cases.len()], tell));
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let finding = self.one(case);
                        let at = cases.iter().position(|one| one.name == case.name).unwrap_or_default();
                        let mut told = told.lock().expect("nobody panics with it");
                        let (upto, findings, tell) = &mut *told;
                        findings[at] = Some(finding);
                        while let Some(Some(finding)) = findings.get(*upto) {
                            tell(*upto, finding);
                            *upto += 1;
                        }
                    }
                });
            }
        });
        let (_, findings, _) = told.into_inner().expect("nobody panicked with it");
        findings.into_iter().flatten().collect()
    }

    fn one(&self, case: &'static Case) -> Finding {
        let begin = Instant::now();
        let verdict = match case.missing() {
            Some(reason) => Verdict::Skip(reason),
            None => self.try_one(case).unwrap_or_else(|error| Verdict::Fail(format!("not run: {error}"))),
        };
        Finding { case, verdict, time: begin.elapsed() }
    }

    fn try_one(&self, case: &Case) -> io::Result<Verdict> {
        let result = self.directory.join(case.name);
        let mut command = Command::new(std::env::current_exe()?);
        command.args([super::CASE, case.name]).arg(&result);
        command.env("ORLOP_RUNTIME", &self.subject.path).env("ORLOP_PROBE", &self.probe);
        command.env("ORLOP_RUNTIME_ARGS", self.subject.global.join(" "));
        // What is left is removed below; that nothing is, is asked by tests of their own.
        command.env("ORLOP_LEAKS_ARE_FINE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, to be ended as a whole.
        let mut child = command.process_group(0).spawn()?;
        let status = wait(&mut child, self.limit)?;
        self.clear_away(child.id());
        let text = fs::read_to_string(&result).unwrap_or_default();
        Ok(match status.map(|status| (status, status.code())) {
            Some((_, Some(0))) => Verdict::Pass,
            Some((_, Some(SKIPPED))) => Verdict::Skip(text),
            Some((_, Some(FAILED))) => Verdict::Fail(text),
            Some((status, _)) => Verdict::Fail(format!("the test itself died: {status}")),
            None => Verdict::Fail(format!("took longer than {} s", self.limit.as_secs())),
        })
    }

    /// Removes what the containers of a test's process have left.
    fn clear_away(&self, pid: u32) {
        let prefix = format!("orlop-ot-{pid}-");
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_prefix("orlop-").filter(|_| name.starts_with(&prefix)) else {
                continue;
            };
            self.clear_container(id, &entry.path());
        }
    }

    fn clear_container(&self, id: &str, directory: &Path) {
        let state = directory.join("state");
        let mut delete = Command::new(&self.subject.path);
        delete.args(&self.subject.global).arg("--root").arg(&state).args(["delete", "--force", id]);
        delete.env("XDG_RUNTIME_DIR", directory.join("run"));
        delete.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // Most often there is nothing to delete; what is left after it is removed without the runtime.
        if let Ok(mut child) = delete.spawn() {
            let _ = wait(&mut child, self.limit);
        }
        leaks::remove(id, directory, &state);
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Waits for a child that leads a process group; where it takes too long the group is killed.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            // With the runtime that it waits for; not yet waited for, so the number is still its own.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The whole of a test's process: runs it, and ends the process with the status that tells how it went.
pub fn single(case: &'static Case, result: &Path) {
    let result = result.to_owned();
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let (status, text) = match payload.downcast_ref::<Skip>() {
            Some(skip) => (SKIPPED, skip.0.clone()),
            None => (FAILED, message(info)),
        };
        let _ = fs::write(&result, text);
        process::exit(status);
    }));
    // The process of a container becomes a child of ours when its runtime ends, so that its end can be waited for.
    nix::sys::prctl::set_child_subreaper(true).expect("a flag can be set");
    (case.run)(&mut Trial::new(case));
}

fn message(info: &panic::PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    let place = info.location().map(|place| {
        let file = Path::new(place.file()).file_name().unwrap_or_default().to_string_lossy();
        format!(" ({file}:{})", place.line())
    });
    format!("{text}{}", place.unwrap_or_default())
}
