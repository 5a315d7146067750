//! Bundles whose program is the test's own binary, and a main that is both: the tests, and the program.

#![allow(dead_code, reason = "each test binary uses a part")]

use orlop_core::{CreateOptions, Runtime, spec};
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The name of the program in the container.
pub const PROGRAM: &str = "/bin/inside";

/// A directory for one test, removed with all that is in it.
pub struct Scratch {
    pub path: PathBuf,
    pub runtime: Runtime,
}

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("orlop-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let runtime = Runtime::new(path.join("state"));
        Self { path, runtime }
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path.join("bundle/rootfs")
    }

    /// Writes a bundle that runs `args` of [`inside`]; `change` has the last word on its configuration.
    pub fn bundle(&self, args: &[&str], change: impl FnOnce(&mut Value)) -> PathBuf {
        let bundle = self.path.join("bundle");
        std::fs::create_dir_all(bundle.join("rootfs/bin")).unwrap();
        let program = bundle.join("rootfs").join(PROGRAM.trim_start_matches('/'));
        if !program.exists() {
            std::fs::copy(std::env::current_exe().unwrap(), program).unwrap();
        }
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let rootless = (!uid.is_root()).then(|| (uid.as_raw(), gid.as_raw()));
        let mut config = serde_json::to_value(spec::example(rootless)).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = json!([&[PROGRAM], args].concat());
        change(&mut config);
        std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    pub fn options(&self, id: &str) -> CreateOptions {
        CreateOptions { id: id.into(), bundle: self.path.join("bundle"), ..CreateOptions::default() }
    }

    /// Runs the bundle; what it wrote, and its exit code.
    pub fn output(&self, mut options: CreateOptions) -> Result<(String, i32), orlop_core::Error> {
        let (mut output, end) = std::io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        options.stdio = Some([null.into(), end.try_clone().unwrap().into(), end.into()]);
        let (container, process) = self.runtime.run(options)?;
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        let status = process.wait()?;
        container.delete(false)?;
        Ok((text, status.code()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The program in the container.
pub fn inside(args: &[String]) -> ! {
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["exit", code] => std::process::exit(code.parse().unwrap()),
        ["echo", words @ ..] => println!("{}", words.join(" ")),
        ["forever"] => loop {
            std::thread::park();
        },
        ["read", paths @ ..] => {
            for path in paths {
                println!("{}", std::fs::read_to_string(path).unwrap_or_else(|e| e.to_string()).trim_end());
            }
        }
        ["descriptors"] => descriptors(),
        other => panic!("{other:?}"),
    }
    std::process::exit(0)
}

/// Prints the numbers of the open descriptors, without asking procfs, which would open another.
fn descriptors() {
    let open: Vec<_> = (0..4096).filter(|n| orlop_core::sys::is_open(orlop_core::sys::Fd(*n))).collect();
    println!("{open:?}");
}

pub type Test = (&'static str, fn());

/// Runs the tests that the command line selects, or is the program of a container.
pub fn main(tests: &[Test]) {
    let args: Vec<String> = std::env::args().collect();
    if Path::new(&args[0]) == Path::new(PROGRAM) {
        inside(&args[1..]);
    }
    if args.iter().any(|a| a == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let filter = args.iter().skip(1).find(|a| !a.starts_with('-'));
    let mut passed = 0;
    for (name, test) in tests {
        if filter.is_none_or(|f| name.contains(f.as_str())) {
            let start = Instant::now();
            test();
            println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f32());
            passed += 1;
        }
    }
    println!("{passed} passed, 0 failed");
}
