//! config.md, features.md, features-linux.md.

use super::{Statement, must, should};

const ROOT: &str = "config.md#root";
const MOUNTS: &str = "config.md#mounts";
const OPTIONS: &str = "config.md#linux-mount-options";
const POSIX_MOUNTS: &str = "config.md#posix-platform-mounts";
const PROCESS: &str = "config.md#process";
const POSIX: &str = "config.md#posix-process";
const LINUX: &str = "config.md#linux-process";
const USER: &str = "config.md#posix-platform-user";
const HOOKS: &str = "config.md#posix-platform-hooks";
const ANNOTATIONS: &str = "config.md#annotations";
const VALID: &str = "config.md#valid-values";
const FEATURES: &str = "features.md#specification-version";
const SECCOMP: &str = "features-linux.md#seccomp";

pub const STATEMENTS: &[Statement] = &[
    must(
        "config.md#specification-version",
        "ociVersion is required, and SemVer",
        &["version-required", "version-not-semver"],
    ),
    must(
        "config.md#specification-version",
        "a config of an earlier version of the same major one is compatible",
        &["version-of-this-major"],
    ),
    must(
        ROOT,
        "root is required, and has a path",
        &["root-required", "root-path-required", "root-is-the-root", "root-relative", "root-absolute"],
    ),
    must(ROOT, "a directory is at the path", &["root-missing", "root-not-a-directory"]),
    must(
        ROOT,
        "readonly: the file system is read-only inside; by default not",
        &["root-readonly", "root-writable", "root-readonly-default"],
    ),
    must(MOUNTS, "entries are mounted in the listed order", &["mounts-order*"]),
    must(MOUNTS, "destination is required", &["mounts-destination-required"]),
    must(MOUNTS, "a relative destination is relative to /", &["mounts-relative-destination"]),
    must(
        MOUNTS,
        "with bind or rbind it is a bind mount, of a source that is absolute or relative to the bundle",
        &["mounts-bind-*"],
    ),
    must(
        OPTIONS,
        "the 40 options with MUST of the table",
        &[
            "mount-option-async",
            "mount-option-atime",
            "mount-option-bind*",
            "mount-option-d*",
            "mount-option-exec",
            "mount-option-iversion",
            "mount-option-l*",
            "mount-option-no*",
            "mount-option-private",
            "mount-option-rbind",
            "mount-option-r*",
            "mount-option-s*",
            "mount-option-unbindable",
        ],
    ),
    should(
        OPTIONS,
        "the 24 options with SHOULD of the table",
        &["mount-option-nosymfollow", "mount-option-symfollow", "mount-option-r*", "mount-option-idmap"],
    ),
    must(
        OPTIONS,
        "idmap, ridmap: the mappings of the mount are used",
        &["mount-option-idmap", "mount-option-ridmap"],
    ),
    must(
        OPTIONS,
        "idmap, ridmap without mappings and without a user namespace: an error",
        &["mount-no-mappings-*"],
    ),
    must(OPTIONS, "idmap, ridmap without mappings: those of the user namespace, or an error", &[])
        .but("both are allowed: nothing could fail"),
    should(
        OPTIONS,
        "idmap and ridmap are not passed on to mount(2); by mount_setattr(2)",
        &["mount-option-idmap", "mount-option-ridmap"],
    ),
    should(OPTIONS, "an option that mount(8) knows and the table has not has mount(8)'s meaning", &[])
        .but("which ones a runtime has is its choice"),
    should(
        OPTIONS,
        "an option that is not known is passed to the file system",
        &["mounts-data", "mounts-data-unknown"],
    ),
    must(POSIX_MOUNTS, "type is the file system's", &["mounts-type-*"]),
    should(
        POSIX_MOUNTS,
        "uidMappings and gidMappings are applied by mount_setattr(2)",
        &["mount-option-idmap"],
    ),
    should(POSIX_MOUNTS, "mappings come with idmap or ridmap in the options", &[])
        .but("an advice to who writes configs"),
    must(POSIX_MOUNTS, "uidMappings and gidMappings come together", &["mounts-mappings-together"]),
    must(PROCESS, "process is required by start", &["start-without-process"]),
    must(PROCESS, "terminal: whether one is attached", &["process-terminal*"]),
    must(
        PROCESS,
        "consoleSize is ignored without a terminal",
        &["process-console-size", "process-console-size-ignored"],
    ),
    must(PROCESS, "cwd is required, and absolute", &["process-cwd*"]),
    must(PROCESS, "env is the environment", &["process-env*"]),
    must(PROCESS, "args has at least one entry, which is looked for as by execvp", &["process-args*"]),
    must(POSIX, "rlimits of a type that the kernel does not have: an error", &["rlimits-unknown-type"]),
    must(POSIX, "getrlimit of the type succeeds", &["rlimit-*"]),
    must(POSIX, "soft: rlim_cur is it", &["rlimit-*", "rlimits-several"]),
    must(POSIX, "hard: rlim_max is it", &["rlimit-*", "rlimits-several"]),
    must(POSIX, "two entries of a type: an error", &["rlimits-duplicates"]),
    must(
        LINUX,
        "apparmorProfile, selinuxLabel: the process's",
        &["process-apparmor-absent", "process-selinux-absent"],
    )
    .but("where there is AppArmor or SELinux: needs a profile or a policy in the kernel of the host"),
    must(
        LINUX,
        "the five sets of capabilities",
        &[
            "capabilities-bounding",
            "capabilities-permitted",
            "capabilities-effective",
            "capabilities-inheritable",
            "capabilities-ambient",
            "capabilities-none",
            "capabilities-of-a-user",
        ],
    ),
    must(
        LINUX,
        "a capability that cannot be granted is logged as a warning",
        &["capabilities-unknown-warns"],
    ),
    should(LINUX, "a capability that cannot be granted is no error", &["capabilities-unknown"]),
    must(LINUX, "noNewPrivileges", &["process-no-new-privileges-*"]),
    must(LINUX, "oomScoreAdj is set when it is given", &["process-oom-score"]),
    must(LINUX, "oom_score_adj is not changed when it is not", &["process-oom-score-unset"]),
    must(
        LINUX,
        "scheduler: policy, nice, priority, flags; 0 where not set",
        &[
            "process-scheduler-OTHER",
            "process-scheduler-BATCH",
            "process-scheduler-IDLE",
            "process-scheduler-RR",
            "process-scheduler-FIFO",
            "process-scheduler-defaults",
            "process-scheduler-flags",
        ],
    )
    .but("SCHED_DEADLINE: needs time that the kernel has to give"),
    must(LINUX, "ioPriority: class and priority", &["process-io-priority-BE", "process-io-priority-IDLE"])
        .but(
            "IOPRIO_CLASS_RT: needs CAP_SYS_ADMIN or CAP_SYS_NICE, and changes nothing in the way it is set",
        ),
    must(LINUX, "execCPUAffinity is not for the container's process", &["process-exec-affinity"])
        .but("what it is for, exec, is no operation of the specification"),
    must(USER, "uid, gid, additionalGids, in the container's namespace", &["user-*", "mappings-user"]),
    must(USER, "umask, when it is given", &["user-umask"])
        .but("when it is not, the text says \"should\" in small letters; all runtimes here set 022"),
    must("config.md#hostname", "hostname is what processes inside see", &["hostname"]),
    should("config.md#hostname", "without it nothing is changed", &["hostname-unset"]),
    must("config.md#domainname", "domainname is what processes inside see", &["domainname"]),
    must(HOOKS, "path is absolute", &["hooks-relative-path", "hooks-missing-path"]),
    must(HOOKS, "args, env as of execv", &["hooks-args", "hooks-env"]),
    must(HOOKS, "timeout is above zero; the hook is aborted then", &["hooks-timeout*"]),
    must(HOOKS, "hooks are called in the listed order", &["hooks-order-of-a-list"]),
    must(HOOKS, "the state is passed over stdin", &["hooks-state-*"]),
    must(
        HOOKS,
        "prestart: as part of create, when the environment is there, before pivot_root",
        &["hooks-in-create-prestart"],
    )
    .but("before pivot_root, where namespaces are: the hook is outside and sees no difference"),
    must(HOOKS, "prestart: before createRuntime", &["hooks-order-of-kinds"]),
    must(
        HOOKS,
        "prestart: path and execution in the runtime's namespaces",
        &["hooks-path-prestart", "hooks-namespaces-prestart"],
    ),
    must(
        HOOKS,
        "createRuntime: as part of create, when the environment is there, before pivot_root",
        &["hooks-in-create-createRuntime"],
    )
    .but("as for prestart"),
    must(
        HOOKS,
        "createRuntime: path and execution in the runtime's namespaces",
        &["hooks-path-createRuntime", "hooks-namespaces-createRuntime"],
    ),
    must(
        HOOKS,
        "createContainer: as part of create, when the environment is there, before pivot_root",
        &["hooks-in-create-createContainer", "hooks-before-pivot"],
    ),
    must(HOOKS, "createContainer: after createRuntime", &["hooks-order-of-kinds"]),
    must(
        HOOKS,
        "createContainer: path in the runtime's, execution in the container's namespaces",
        &["hooks-path-createContainer", "hooks-namespaces-createContainer"],
    ),
    must(
        HOOKS,
        "startContainer: as part of start, before the program is executed",
        &["hooks-in-start-startContainer", "hooks-before-program"],
    ),
    must(
        HOOKS,
        "startContainer: path and execution in the container's namespaces",
        &["hooks-path-startContainer", "hooks-namespaces-startContainer"],
    ),
    must(
        HOOKS,
        "poststart: after the program is executed, before start returns",
        &["hooks-in-start-poststart", "hooks-after-program"],
    ),
    must(
        HOOKS,
        "poststart: path and execution in the runtime's namespaces",
        &["hooks-path-poststart", "hooks-namespaces-poststart"],
    ),
    must(
        HOOKS,
        "poststop: after the container is deleted, before delete returns",
        &["hooks-in-delete-poststop"],
    ),
    must(
        HOOKS,
        "poststop: path and execution in the runtime's namespaces",
        &["hooks-path-poststop", "hooks-namespaces-poststop"],
    ),
    must(
        ANNOTATIONS,
        "a map from strings that are not empty to strings",
        &["annotations-map", "annotations-empty-key", "annotations-value"],
    ),
    should(ANNOTATIONS, "keys are in reverse domain notation", &[]).but("an advice to who writes configs"),
    must(ANNOTATIONS, "those of org.opencontainers are as described", &[])
        .but("the runtime does not use them: their values mean something to who made the config"),
    must(ANNOTATIONS, "unknown keys are handled as unknown properties", &["annotations-unknown"]),
    must("config.md#extensibility", "unknown properties are ignored and no errors", &["unknown-*"]),
    must(
        VALID,
        "invalid or unsupported values: an error",
        &[
            "valid-*",
            "version-of-another-major",
            "rlimits-soft-above-hard",
            "process-oom-score-beyond",
            "process-scheduler-unknown*",
            "process-io-priority-class",
            "process-io-priority-level",
            "user-negative",
            "namespace-unknown-type",
            "time-offset-unknown",
            "mappings-user-not-mapped",
            "memory-swappiness-beyond",
            "cpu-cpus-missing",
            "huge-pages-unknown",
            "device-unknown-type",
            "sysctl-unknown",
            "sysctl-refused",
            "personality-unknown",
            "memory-policy-unknown",
            "memory-policy-without-nodes",
            "memory-policy-flag",
            "rootfs-propagation-unknown",
            "seccomp-unknown-*",
        ],
    ),
    should("features.md#features-document", "the document is determined when the runtime is compiled", &[])
        .but("cannot be seen from outside on one host"),
    must("features.md#features-document", "null is not an empty value", &[])
        .but("for who reads the document"),
    must(FEATURES, "ociVersionMin is accepted as ociVersion", &["features-version-Min"]),
    must(FEATURES, "ociVersionMax is accepted as ociVersion", &["features-version-Max"]),
    must(FEATURES, "ociVersionMax is not less than ociVersionMin", &["features-versions"]),
    must(FEATURES, "no properties that this version does not define", &["features-known-properties"]),
    must("features.md#hooks", "the hooks are supported", &["features-hooks"]),
    must("features.md#mount-options", "the options are recognised", &["features-mount-options"]),
    should(
        "features.md#mount-options",
        "options that go to the file system are not among them",
        &["features-no-data-options"],
    ),
    must("features.md#annotations", "a map as in the config", &["features-annotations"]),
    must("features-linux.md#namespaces", "the types are recognised", &["features-namespaces"]),
    must("features-linux.md#capabilities", "the names are recognised", &["features-capabilities"]),
    must(SECCOMP, "the actions are recognised", &["features-seccomp-actions"]),
    must(SECCOMP, "the operators are recognised", &["features-seccomp-operators"]),
    must(SECCOMP, "the architectures are recognised", &["features-seccomp-archs"]),
    must(SECCOMP, "the known flags are recognised", &[])
        .but("a flag that is known but not supported may be an error all the same"),
    must(SECCOMP, "the supported flags are supported", &["features-seccomp-flags"]),
    must("features-linux.md#memorypolicy", "the modes are recognised", &["features-memory-policy"]),
    must("features-linux.md#memorypolicy", "the flags are recognised", &[])
        .but("each goes with some modes alone, and needs a kernel that has it"),
    must(
        "features-linux.md#mountextensions",
        "idmap.enabled is true also where there is only a part of it",
        &[],
    )
    .but("what a part would be is the runtime's own"),
];
