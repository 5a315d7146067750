//! The command lines of `conformance run` and `conformance matrix`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::Failure;
use crate::bench::{CgroupView, in_path, view};

/// Help text.
pub const USAGE: &str = "\
usage: conformance run [options]

  --runtime [NAME=]PATH[,GLOBAL-ARG…]  the runtime to test (default: the orlop beside this program)
  --filter TEXT                        only tests whose name or section has this in it (may be repeated)
  --list                               print the tests: name, level, section, what is demanded; run none
  --jobs N                             so many at once (default: the number of CPUs)
  --timeout SECONDS                    for each test (default 60)
  --format tap|junit                   what goes to standard output (default: tap)
  --strict                             a SHOULD that is not met fails the run, too
  --cgroup-view auto|host|v1           as for bench (default for run: host; for matrix: auto)

Exit status 0: every MUST that could be tested is met.

       conformance matrix --runtime NAME=PATH[,…] --runtime NAME=PATH[,…] … [options]

  --markdown FILE, --html FILE         the tests of all runtimes side by side (default: Markdown to standard output)
  --docs DIR                           also put it into DIR/conformance.md, between its markers, and DIR/conformance.html
  --filter, --jobs, --timeout, --cgroup-view  as above
";

/// A runtime.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is called in tables.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// Global arguments besides `--root`.
    pub global: Vec<String>,
}

/// What goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Test Anything Protocol.
    Tap,
    /// The XML of JUnit.
    Junit,
}

/// All of it.
pub struct Options {
    /// The runtimes.
    pub subjects: Vec<Subject>,
    /// Texts of which one must be in a name or section; none: all tests.
    pub filters: Vec<String>,
    /// Only say what there is.
    pub list: bool,
    /// How many at once.
    pub jobs: usize,
    /// For each test.
    pub limit: Duration,
    /// Of `run`.
    pub format: Format,
    /// Whether a SHOULD counts.
    pub strict: bool,
    /// Which hierarchies are seen.
    pub view: CgroupView,
    /// Where the matrix goes as Markdown.
    pub markdown: Option<PathBuf>,
    /// Where it goes as HTML.
    pub html: Option<PathBuf>,
    /// The directory whose pages are written anew.
    pub docs: Option<PathBuf>,
}

fn failure(text: impl Into<String>) -> Failure {
    Failure(text.into())
}

fn subject(text: &str) -> Result<Subject, Failure> {
    let (name, rest) = text.split_once('=').map_or((None, text), |(name, rest)| (Some(name), rest));
    let mut words = rest.split(',').map(str::to_owned);
    let path = words.next().unwrap_or_default();
    let path = match path.contains('/') {
        true => PathBuf::from(path),
        false => in_path(&path).unwrap_or_else(|| PathBuf::from(path)),
    };
    let path =
        path.canonicalize().map_err(|error| failure(format!("--runtime {}: {error}", path.display())))?;
    let own = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.map_or_else(own, str::to_owned);
    Ok(Subject { name, path, global: words.collect() })
}

fn number(value: &str, flag: &str) -> Result<usize, Failure> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| failure(format!("{flag}: want a number above zero, not {value}")))
}

impl Options {
    fn new(default_view: CgroupView) -> Self {
        Self {
            subjects: Vec::new(),
            filters: Vec::new(),
            list: false,
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            limit: Duration::from_secs(60),
            format: Format::Tap,
            strict: false,
            view: default_view,
            markdown: None,
            html: None,
            docs: None,
        }
    }

    fn set(&mut self, flag: &str, value: &OsStr) -> Result<(), Failure> {
        let text = value.to_str().ok_or_else(|| failure(format!("{flag}: not UTF-8")))?;
        match flag {
            "--runtime" => self.subjects.push(subject(text)?),
            "--filter" => self.filters.push(text.to_owned()),
            "--jobs" => self.jobs = number(text, flag)?,
            "--timeout" => self.limit = Duration::from_secs(number(text, flag)? as u64),
            "--format" => {
                self.format = match text {
                    "tap" => Format::Tap,
                    "junit" => Format::Junit,
                    _ => return Err(failure("--format: want tap or junit")),
                }
            }
            "--cgroup-view" => self.view = view(value)?,
            "--markdown" => self.markdown = Some(std::path::absolute(value)?),
            "--html" => self.html = Some(std::path::absolute(value)?),
            "--docs" => self.docs = Some(std::path::absolute(value)?),
            _ => return Err(failure(format!("{flag}: no such option\n\n{USAGE}"))),
        }
        Ok(())
    }
}

/// Reads the command line; nothing when it only asked for help.
pub fn parse(args: Vec<OsString>, default_view: CgroupView) -> Result<Option<Options>, Failure> {
    let mut options = Options::new(default_view);
    let mut words = args.into_iter();
    while let Some(word) = words.next() {
        let flag = word.to_str().ok_or_else(|| failure("the command line: not UTF-8"))?;
        match flag {
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(None);
            }
            "--list" => options.list = true,
            "--strict" => options.strict = true,
            _ => match flag.split_once('=') {
                Some((name, value)) if flag.starts_with("--") => options.set(name, OsStr::new(value))?,
                _ => {
                    let missing = || failure(format!("{flag}: a value is missing\n\n{USAGE}"));
                    options.set(flag, &words.next().ok_or_else(missing)?)?;
                }
            },
        }
    }
    if options.subjects.is_empty() && !options.list {
        let own = std::env::current_exe()?.with_file_name("orlop");
        options.subjects.push(subject(&own.to_string_lossy())?);
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Option<Options>, Failure> {
        parse(words.iter().map(Into::into).collect(), CgroupView::Host)
    }

    #[test]
    fn a_runtime_has_a_name_a_path_and_arguments() {
        let options =
            parsed(&["--runtime=one=/bin/sh,--debug,--x=y", "--runtime", "/bin/sh"]).unwrap().unwrap();
        assert_eq!(options.subjects[0].name, "one");
        assert_eq!(options.subjects[0].global, ["--debug", "--x=y"]);
        assert_eq!(options.subjects[1].name, options.subjects[1].path.file_name().unwrap().to_str().unwrap());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong: [&[&str]; 6] = [
            &["--runtime", "/nowhere/at/all"],
            &["--jobs", "0"],
            &["--jobs"],
            &["--format=xml"],
            &["--bogus", "1"],
            &["--cgroup-view", "v3"],
        ];
        for words in wrong {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
