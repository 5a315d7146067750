//! `containerd-shim-orlop-v2`: see the library, of which this is the command line.

#![cfg_attr(not(test), no_main)]

use orlop_core::sys::Reason;
use orlop_shim::args::{Action, Args};
use orlop_shim::start::Started;
use orlop_shim::{delete, info, logger, serve, start};
use std::io::{self, Write};

// Not the standard library's start: after that every thread makes a second stack for itself, and the shim, with all its containers'
// streams, ends with a panic where there is no memory for one.
#[cfg(not(test))]
orlop_core::program!(start_shim);

const NAME: &str = "containerd-shim-orlop-v2";

fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{NAME}:\n  Version:  {version}\n  Engine:   orlop-core {version}\n")
}

const HELP: &str = "\
Usage: containerd-shim-orlop-v2 [flags] start|delete
       containerd-shim-orlop-v2 -info | -v | -h

containerd calls it; put it, or a link to it, on containerd's PATH and name the runtime io.containerd.orlop.v2.

  -namespace NAME       namespace of containerd that the containers are in
  -id ID                id of the container
  -address PATH         containerd's gRPC socket
  -publish-binary PATH  containerd itself; events go through the socket in TTRPC_ADDRESS instead
  -bundle PATH          bundle to delete, if not the working directory
  -socket PATH          socket to serve on, in place of one below /run/containerd/s
  -debug                write more to the log
  -info                 print what the runtime can do, as a protobuf message, and exit
  -v                    print the version and exit
  -h                    print this help and exit
";

/// What goes to standard output, and who is told when it is there; or why it failed.
fn run() -> Result<Started, String> {
    let args = Args::parse(std::env::args_os().skip(1))?;
    if matches!(args.action, Action::Serve) {
        // Before anything else: the program may run anew.  The others enter no container, and so no container can get at the file
        // through them; and what `start` starts runs from a protected one at once.
        orlop_core::protect::reexec_if_needed().map_err(|e| e.to_string())?;
    }
    let answer = match args.action {
        Action::Version => version().into_bytes(),
        Action::Help => HELP.as_bytes().to_vec(),
        Action::Info => info::info()?,
        Action::Start => return start::start(&args),
        Action::Delete => {
            logger::to_stderr(&args.namespace, args.debug);
            delete::delete(&args)
        }
        Action::Serve => serve::serve(&args).map(|()| Vec::new())?,
    };
    Ok(Started::nothing(answer))
}

#[cfg_attr(test, allow(dead_code, reason = "the tests are a program of their own"))]
fn start_shim() -> u8 {
    let done = run().and_then(|started| {
        let mut out = io::stdout().lock();
        out.write_all(&started.answer)
            .and_then(|()| out.flush())
            .map_err(|e| format!("cannot write to standard output: {}", Reason::of(&e)))?;
        started.answered()
    });
    match done {
        Ok(()) => 0,
        Err(error) => {
            // The exit status carries the failure even when nobody reads standard error.
            let _ = writeln!(io::stderr(), "{NAME}: {error}");
            1
        }
    }
}
