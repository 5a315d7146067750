//! Every command and every flag: the one place where they are written down.

use super::{Command, Flag, Flags};

const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { long, short, value: None, help }
}

const fn value(long: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Flag {
    Flag { long, short, value: Some(value), help }
}

const BUNDLE: Flag = value(
    "bundle",
    Some('b'),
    "DIR",
    "the bundle: config.json and the root filesystem (default: the current directory)",
);
const CONSOLE_SOCKET: Flag =
    value("console-socket", None, "PATH", "send the master of the container's terminal to this Unix socket");
const PIDFD_SOCKET: Flag =
    value("pidfd-socket", None, "PATH", "send a pidfd of the new process to this Unix socket");
const PID_FILE: Flag = value("pid-file", None, "FILE", "write the process id to this file");
const NO_PIVOT: Flag = switch(
    "no-pivot",
    None,
    "enter the root without pivot_root, for a root on an initial ramdisk; weakens isolation",
);
const NO_NEW_KEYRING: Flag = switch(
    "no-new-keyring",
    None,
    "keep the caller's session keyring instead of giving the container its own",
);
const PRESERVE_FDS: Flag = value(
    "preserve-fds",
    None,
    "N",
    "pass N descriptors more, those after standard error and LISTEN_FDS (default: 0)",
);
const TRACE: Flag =
    value("trace", None, "FILE", "write the time of every step to this file, for a trace viewer");

/// The flags that stand before the command.
pub static GLOBAL: Command = Command {
    name: "",
    summary: "runs OCI containers",
    operands: "COMMAND",
    at_least: 0,
    at_most: usize::MAX,
    until: Flags::Anywhere,
    about: "A container comes from a bundle: a directory with a config.json and a root filesystem.\n\
            To run a first one, put a root filesystem into ./rootfs, then:\n\n    \
            orlop spec\n    orlop run my-container",
    flags: &[
        value(
            "root",
            None,
            "DIR",
            "where containers are recorded (default: /run/orlop, or orlop in $XDG_RUNTIME_DIR for an ordinary user)",
        ),
        value("log", None, "FILE", "append log lines to this file (default: standard error)"),
        value("log-format", None, "FORMAT", "text or json (default: text)"),
        switch("debug", None, "log debug messages too"),
        switch("systemd-cgroup", None, "let systemd make the cgroup; cgroupsPath is then slice:prefix:name"),
        value(
            "rootless",
            None,
            "WHEN",
            "go on without permission for cgroups: true, false or auto (default: auto)",
        ),
        value("criu", None, "PATH", "taken and ignored, as runc does: criu is found through PATH"),
        switch("version", Some('v'), "print the version and exit"),
    ],
};

/// The commands that work, in the order of the help text.
pub static COMMANDS: &[Command] = &[
    RUN, CREATE, START, EXEC, KILL, PAUSE, RESUME, UPDATE, PS, EVENTS, CHECKPOINT, RESTORE, DELETE, STATE,
    LIST, SPEC, FEATURES, PLAN, CHECK,
];

/// The command with this name.
pub fn find_command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

const RUN: Command = Command {
    name: "run",
    summary: "create a container and start it",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "Waits for the container's process, forwards signals and the terminal to it, ends with its exit\n\
            status (128 plus the number of the signal that ended it), and deletes the container.\n\
            With --detach it returns as soon as the process runs, and deletes nothing.",
    flags: &[
        BUNDLE,
        switch("detach", Some('d'), "return when the process runs"),
        switch("keep", None, "do not delete the container when its process has ended"),
        PID_FILE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PRESERVE_FDS,
        switch("no-subreaper", None, "do not adopt the container's orphaned processes"),
        NO_PIVOT,
        NO_NEW_KEYRING,
        TRACE,
    ],
};

const CREATE: Command = Command {
    name: "create",
    summary: "create a container without starting its program",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "Leaves a process that has everything set up and waits for \"start\" to run its program.",
    flags: &[BUNDLE, PID_FILE, CONSOLE_SOCKET, PIDFD_SOCKET, PRESERVE_FDS, NO_PIVOT, NO_NEW_KEYRING, TRACE],
};

const START: Command = Command {
    name: "start",
    summary: "run the program of a created container",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "The container must be in the state \"created\"; a container starts once.",
    flags: &[],
};

const EXEC: Command = Command {
    name: "exec",
    summary: "run another program in a running container",
    operands: "ID COMMAND [ARGUMENTS]",
    at_least: 1,
    at_most: usize::MAX,
    until: Flags::Until(1),
    about: "Everything from COMMAND on belongs to that program.  With --process the program comes from a file,\n\
            and COMMAND is left out.  Fails with status 255 where the program could not be started.",
    flags: &[
        value(
            "process",
            Some('p'),
            "FILE",
            "take the process from this file, which has the form of config.json's process",
        ),
        value("cwd", None, "DIR", "working directory, in the container"),
        value("env", Some('e'), "NAME=VALUE", "add to the environment; may be repeated"),
        switch("tty", Some('t'), "give the program a terminal"),
        value("user", Some('u'), "UID[:GID]", "run as this user and group, by number"),
        value("additional-gids", Some('g'), "GID", "add a supplementary group; may be repeated"),
        value("cap", Some('c'), "CAPABILITY", "add a capability; may be repeated"),
        switch("no-new-privs", None, "let the program gain no privileges through execve"),
        value("apparmor", None, "PROFILE", "run under this AppArmor profile"),
        value("process-label", None, "LABEL", "run under this SELinux label"),
        value(
            "cgroup",
            None,
            "[CONTROLLER:]PATH",
            "run in this cgroup below the container's, which has to be there; may be repeated",
        ),
        switch(
            "ignore-paused",
            None,
            "start in a paused container, where the program waits until it is resumed",
        ),
        switch("detach", Some('d'), "return when the program runs"),
        PID_FILE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PRESERVE_FDS,
        TRACE,
    ],
};

const KILL: Command = Command {
    name: "kill",
    summary: "send a signal to a container's first process",
    operands: "ID [SIGNAL]",
    at_least: 1,
    at_most: 2,
    until: Flags::Anywhere,
    about: "SIGNAL is a name with or without SIG, in any case, or a number; real-time signals are RTMIN+N and\n\
            RTMAX-N.  The default is TERM.",
    flags: &[switch("all", Some('a'), "send it to every process of the container")],
};

const PAUSE: Command = Command {
    name: "pause",
    summary: "stop all processes of a container where they are",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "They use no processor until \"resume\".  A paused container can be killed and deleted.",
    flags: &[],
};

const RESUME: Command = Command {
    name: "resume",
    summary: "let the processes of a paused container go on",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "Whoever paused it.",
    flags: &[],
};

const UPDATE: Command = Command {
    name: "update",
    summary: "change the limits of a running container",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "What is not given stays as it is.  If the kernel refuses a value, what was changed before it is set back.\n\
            SIZE is in bytes, or with a unit: 64m, 1.5g, all powers of 1024; -1 is no limit.\n\
            The file of --resources has the form of config.json's linux.resources:\n\n    \
            {\"memory\": {\"limit\": 67108864}, \"cpu\": {\"quota\": 50000}, \"pids\": {\"limit\": 100}}",
    flags: &[
        value(
            "resources",
            Some('r'),
            "FILE",
            "take the resources from this file, or from standard input if it is -",
        ),
        value("blkio-weight", None, "WEIGHT", "weight for block devices, 10 to 1000"),
        value("cpu-period", None, "US", "period of the processor quota, in microseconds"),
        value("cpu-quota", None, "US", "processor time in each period, in microseconds"),
        value("cpu-burst", None, "US", "unused quota that may be used later, in microseconds"),
        value("cpu-share", None, "SHARES", "weight for the processors, beside other containers"),
        value("cpu-rt-period", None, "US", "period of the real-time quota, in microseconds"),
        value("cpu-rt-runtime", None, "US", "real time in each period, in microseconds"),
        value("cpu-idle", None, "0|1", "run only when nobody else wants the processor"),
        value("cpuset-cpus", None, "LIST", "processors, as 0-3,7"),
        value("cpuset-mems", None, "LIST", "memory nodes, as 0-3,7"),
        value(
            "kernel-memory",
            None,
            "SIZE",
            "the kernel's memory for the container (cgroup version 1, old kernels)",
        ),
        value("kernel-memory-tcp", None, "SIZE", "buffers of TCP (cgroup version 1)"),
        value("memory", None, "SIZE", "memory in all"),
        value("memory-reservation", None, "SIZE", "memory that is left to it when there is little"),
        value("memory-swap", None, "SIZE", "memory and swap together"),
        value("pids-limit", None, "N", "number of processes and threads"),
        value("l3-cache-schema", None, "LINE", "parts of the L3 cache, as a line of resctrl's schemata"),
        value(
            "mem-bw-schema",
            None,
            "LINE",
            "share of the memory bandwidth, as a line of resctrl's schemata",
        ),
    ],
};

const PS: Command = Command {
    name: "ps",
    summary: "list the processes of a container",
    operands: "ID [OPTIONS]",
    at_least: 1,
    at_most: usize::MAX,
    until: Flags::Until(0),
    about: "Everything behind ID goes to ps(1) of this host, which must print a column PID; the default is -ef.",
    flags: &[value(
        "format",
        Some('f'),
        "FORMAT",
        "table, or json for the process ids alone (default: table)",
    )],
};

const EVENTS: Command = Command {
    name: "events",
    summary: "print what a container uses, and when it runs out of memory, as JSON",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "Ends when the container's first process does.",
    flags: &[
        value("interval", None, "TIME", "time between two lines of figures, as 5s or 1m30s (default: 5s)"),
        switch("stats", None, "print the figures once and end"),
    ],
};

const IMAGE_PATH: Flag =
    value("image-path", None, "DIR", "the directory of CRIU's images (default: ./checkpoint)");
const WORK_PATH: Flag =
    value("work-path", None, "DIR", "the directory of CRIU's log and sockets (default: that of the images)");
const TCP_ESTABLISHED: Flag =
    switch("tcp-established", None, "take established TCP connections along, and restore them");
const LINK_REMAP: Flag =
    switch("link-remap", None, "take open files without a name along, by links beside where they were");
const EXT_UNIX_SK: Flag = switch("ext-unix-sk", None, "allow Unix sockets that are connected to outside");
const SHELL_JOB: Flag = switch("shell-job", None, "allow processes in a session of the outside's");
const FILE_LOCKS: Flag = switch("file-locks", None, "take locks on files along, and restore them");
const AUTO_DEDUP: Flag = switch("auto-dedup", None, "keep no memory twice in a series of images");
const MANAGE_CGROUPS: Flag = value(
    "manage-cgroups-mode",
    None,
    "MODE",
    "what is done about cgroups inside the container's: soft, full, strict or ignore (default: soft)",
);
const EMPTY_NS: Flag = value(
    "empty-ns",
    None,
    "KIND",
    "leave out what is in this namespace; network is the only one, and left out in any case",
);

const CHECKPOINT: Command = Command {
    name: "checkpoint",
    summary: "write a running container to files, and end it",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "Needs CRIU in PATH.  Then the container is deleted; with --leave-running and --pre-dump it goes on, and so\n\
            it does when the checkpoint fails.",
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        value(
            "parent-path",
            None,
            "DIR",
            "the images of an earlier pre-dump, relative to --image-path; what has not changed is not written again",
        ),
        switch("leave-running", None, "let the container go on"),
        switch("pre-dump", None, "write memory only, and let the container go on; the dump comes later"),
        TCP_ESTABLISHED,
        switch("tcp-skip-in-flight", None, "leave out TCP connections that nobody has accepted yet"),
        LINK_REMAP,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        AUTO_DEDUP,
        switch("lazy-pages", None, "keep memory here, and serve it to criu lazy-pages at --page-server"),
        value("status-fd", None, "FD", "write a NUL byte to this descriptor when memory is served"),
        value(
            "page-server",
            None,
            "ADDRESS:PORT",
            "send memory to the criu page-server there; with --lazy-pages, serve it there",
        ),
        MANAGE_CGROUPS,
        EMPTY_NS,
    ],
};

const RESTORE: Command = Command {
    name: "restore",
    summary: "make a container of what checkpoint has written",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "Needs CRIU in PATH, and a bundle like that of the container, which may have got another ID.\n\
            Waits for the container's process and deletes the container, as \"run\" does; not so with --detach.",
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        BUNDLE,
        switch("detach", Some('d'), "return when the processes run"),
        PID_FILE,
        CONSOLE_SOCKET,
        switch("no-subreaper", None, "do not adopt the container's orphaned processes"),
        switch(
            "no-pivot",
            None,
            "taken and without effect, as with runc: CRIU enters the root in its own way",
        ),
        TCP_ESTABLISHED,
        LINK_REMAP,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        AUTO_DEDUP,
        switch(
            "lazy-pages",
            None,
            "get memory when it is needed, from the criu lazy-pages that runs on --work-path",
        ),
        MANAGE_CGROUPS,
        EMPTY_NS,
        value("lsm-profile", None, "TYPE:NAME", "run under another profile: apparmor:NAME or selinux:LABEL"),
        value("lsm-mount-context", None, "CONTEXT", "give mounts another SELinux context"),
    ],
};

const DELETE: Command = Command {
    name: "delete",
    summary: "remove what a stopped container left",
    operands: "ID...",
    at_least: 1,
    at_most: usize::MAX,
    until: Flags::Anywhere,
    about: "Removes the record, the cgroups and whatever else the container still holds.",
    flags: &[switch("force", Some('f'), "kill the container first if it runs; succeed if there is none")],
};

const STATE: Command = Command {
    name: "state",
    summary: "print a container's state as JSON",
    operands: "ID",
    at_least: 1,
    at_most: 1,
    until: Flags::Anywhere,
    about: "The status is creating, created, running, paused or stopped.",
    flags: &[],
};

const LIST: Command = Command {
    name: "list",
    summary: "list the containers recorded under --root",
    operands: "",
    at_least: 0,
    at_most: 0,
    until: Flags::Anywhere,
    about: "A container that cannot be read is reported on standard error and left out.",
    flags: &[
        value("format", Some('f'), "FORMAT", "table or json (default: table)"),
        switch("quiet", Some('q'), "print ids only"),
    ],
};

const SPEC: Command = Command {
    name: "spec",
    summary: "write a config.json to start from",
    operands: "",
    at_least: 0,
    at_most: 0,
    until: Flags::Anywhere,
    about: "It runs \"sh\" in new namespaces on a read-only ./rootfs.  An existing config.json is never overwritten.",
    flags: &[
        BUNDLE,
        switch("rootless", None, "write one that an ordinary user can run, in a user namespace of one id"),
    ],
};

const CHECK: Command = Command {
    name: "check",
    summary: "tell what this host offers and lacks for containers",
    operands: "",
    at_least: 0,
    at_most: 0,
    until: Flags::Anywhere,
    about: "Tries what can be tried without leaving a trace, and says what is lost by what lacks.  The status is 1 when no\n\
            container can run here, as the caller of the command.",
    flags: &[value("format", Some('f'), "FORMAT", "text or json (default: text)")],
};

const FEATURES: Command = Command {
    name: "features",
    summary: "print what this runtime implements, as JSON",
    operands: "",
    at_least: 0,
    at_most: 0,
    until: Flags::Anywhere,
    about: "The features document of the runtime specification: what is recognised in a config.json, whether or not this\n\
            host offers it.",
    flags: &[],
};

const PLAN: Command = Command {
    name: "plan",
    summary: "show what run would do, step by step, and do nothing",
    operands: "[ID]",
    at_least: 0,
    at_most: 1,
    until: Flags::Anywhere,
    about: "Each step names the property of config.json it comes from.  Needs no privileges.",
    flags: &[
        BUNDLE,
        value("format", Some('f'), "FORMAT", "text or json (default: text)"),
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
};
