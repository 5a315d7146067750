//! What a command said and how it ended.

use std::process::ExitStatus;

use serde_json::Value;

/// A finished command.
#[derive(Debug)]
pub struct Output {
    /// The words of the command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The text without what a runtime warns an ordinary user of who has no cgroup: that has a test of its own.
#[must_use]
pub fn without_cgroup_warning(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.contains("no permission to make a cgroup")).collect()
}

impl Output {
    /// Asserts status 0.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "the assertion is often all that is wanted")]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "expected success: {self}");
        self
    }

    /// Asserts that it failed and said why on standard error.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "as above")]
    pub fn fails(self) -> Self {
        assert!(!self.status.success(), "expected a failure: {self}");
        assert!(!self.stderr.trim().is_empty(), "failed without a word: {self}");
        self
    }

    /// Asserts a failure whose words contain `text`, whatever the case of the letters.
    #[track_caller]
    pub fn fails_with(self, text: &str) {
        let output = self.fails();
        let found = output.stderr.to_lowercase().contains(&text.to_lowercase());
        assert!(found, "expected \"{text}\" in the error: {output}");
    }

    /// The exit status.
    #[track_caller]
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self}"))
    }

    /// Standard output as JSON, of a command that succeeded.
    #[track_caller]
    #[must_use]
    pub fn json(self) -> Value {
        let output = self.ok();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {output}"))
    }

    /// The lines of standard output, of a command that succeeded.
    #[track_caller]
    #[must_use]
    pub fn lines(self) -> Vec<String> {
        self.ok().stdout.lines().map(str::to_owned).collect()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}\n  {}\n  stdout: {}\n  stderr: {}",
            self.command,
            self.status,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}
