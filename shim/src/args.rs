//! The command line that containerd gives to a shim.
//!
//! The grammar is that of Go's flag package, which containerd's own shims use: one dash or two, a value after `=` or a
//! blank, and the first word that is no flag ends them.

use std::ffi::OsString;

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Serve the Task service on the socket that standard input is.
    #[default]
    Serve,
    /// Start a shim, or name the one that is there.
    Start,
    /// Remove what a shim that died has left.
    Delete,
    /// Tell what the runtime can do.
    Info,
    /// Tell the version.
    Version,
    /// Tell the flags.
    Help,
}

/// The flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// What is to be done.
    pub action: Action,
    /// `-namespace`: of containerd's, that the containers are in.
    pub namespace: String,
    /// `-id`: the container's.
    pub id: String,
    /// `-address`: containerd's gRPC socket.
    pub address: String,
    /// `-publish-binary`: containerd itself.
    pub publish_binary: String,
    /// `-bundle`: for `delete`; else the working directory is the bundle.
    pub bundle: String,
    /// `-socket`: where to serve, in place of a place of the shim's own choice.
    pub socket: String,
    /// `-debug`: more in the log.
    pub debug: bool,
}

/// A flag's name and, when it is in the same word, its value.
fn flag(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    if name.is_empty() {
        return None;
    }
    Some(name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))))
}

impl Args {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// A flag is unknown, has no value, or an action is unknown.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut args = Self::default();
        let mut words =
            words.map(|word| word.into_string().map_err(|w| format!("argument {w:?} is not UTF-8")));
        while let Some(word) = words.next().transpose()? {
            let Some((name, value)) = flag(&word) else {
                args.act(&word)?;
                break;
            };
            match name {
                "v" | "version" => args.action = Action::Version,
                "h" | "help" => args.action = Action::Help,
                "info" => args.action = Action::Info,
                "debug" => args.debug = value != Some("false"),
                _ => {
                    let place =
                        args.text(name).ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
                    *place = match value {
                        Some(value) => value.to_owned(),
                        None => words
                            .next()
                            .transpose()?
                            .ok_or_else(|| format!("flag needs an argument: -{name}"))?,
                    };
                }
            }
        }
        args.check()
    }

    fn act(&mut self, word: &str) -> Result<(), String> {
        let action = match word {
            "start" => Action::Start,
            "delete" => Action::Delete,
            _ => return Err(format!("unknown action {word:?}: there are start and delete")),
        };
        // -v, -h and -info answer whatever follows.
        if self.action == Action::Serve {
            self.action = action;
        }
        Ok(())
    }

    fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "namespace" => &mut self.namespace,
            "id" => &mut self.id,
            "address" => &mut self.address,
            "publish-binary" => &mut self.publish_binary,
            "bundle" => &mut self.bundle,
            "socket" => &mut self.socket,
            _ => return None,
        })
    }

    fn check(self) -> Result<Self, String> {
        let serves = matches!(self.action, Action::Serve | Action::Start | Action::Delete);
        if serves && self.namespace.is_empty() {
            return Err("shim namespace cannot be empty".to_owned());
        }
        if serves && self.id.is_empty() {
            return Err("shim id cannot be empty".to_owned());
        }
        // Both become names of files.
        for (what, name) in [("namespace", &self.namespace), ("id", &self.id)] {
            if name.contains('/') || name.as_str() == ".." || name.as_str() == "." {
                return Err(format!("{what} {name:?} is no name"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn what_containerd_sends_is_understood() {
        let args = parse(&[
            "-namespace",
            "k8s.io",
            "-address",
            "/run/c.sock",
            "-publish-binary",
            "/usr/bin/containerd",
            "-id",
            "c1",
            "-debug",
            "start",
        ])
        .unwrap();
        assert_eq!(args.action, Action::Start);
        assert_eq!((args.namespace.as_str(), args.id.as_str(), args.debug), ("k8s.io", "c1", true));
        assert_eq!(
            (args.address.as_str(), args.publish_binary.as_str()),
            ("/run/c.sock", "/usr/bin/containerd")
        );
        let args = parse(&["--namespace=a", "-id=b", "-bundle", "/b", "delete"]).unwrap();
        assert_eq!((args.action, args.bundle.as_str()), (Action::Delete, "/b"));
    }

    #[test]
    fn questions_are_found_among_other_flags() {
        assert_eq!(parse(&["-namespace", "k8s.io", "--version"]).unwrap().action, Action::Version);
        assert_eq!(parse(&["-info"]).unwrap().action, Action::Info);
        assert_eq!(parse(&["-v", "start"]).unwrap().action, Action::Version);
    }

    #[test]
    fn faults_are_named() {
        for (words, fault) in [
            (&["-what"][..], "not defined: -what"),
            (&["-id"], "needs an argument: -id"),
            (&["-id", "c1", "start"], "namespace cannot be empty"),
            (&["-namespace", "n", "start"], "id cannot be empty"),
            (&["-namespace", "../n", "-id", "c", "start"], "is no name"),
            (&["-namespace", "n", "-id", "c", "stop"], "unknown action"),
        ] {
            assert!(parse(words).unwrap_err().contains(fault), "{words:?}");
        }
    }
}
