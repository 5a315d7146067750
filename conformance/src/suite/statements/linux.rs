//! config-linux.md.

use super::{Statement, must, should};

const NAMESPACES: &str = "config-linux.md#namespaces";
const MAPPINGS: &str = "config-linux.md#user-namespace-mappings";
const DEVICES: &str = "config-linux.md#devices";
const NET: &str = "config-linux.md#network-devices";
const GROUPS: &str = "config-linux.md#control-groups";
const PATH: &str = "config-linux.md#cgroups-path";
const OWNERSHIP: &str = "config-linux.md#cgroup-ownership";
const UNIFIED: &str = "config-linux.md#unified";
const RDT: &str = "config-linux.md#intelrdt";
const SECCOMP: &str = "config-linux.md#seccomp";
const STATE: &str = "config-linux.md#the-container-process-state";
const NO_RDT: &str = "needs a processor with Intel RDT";

pub const STATEMENTS: &[Statement] = &[
    should("config-linux.md#default-filesystems", "/proc, /sys, /dev/pts, /dev/shm are there", &["default-file-system-*"]).but("without entries in mounts: the text does not say who has to see to it, and runtimes leave it to the config"),
    should(NAMESPACES, "the eight types are supported", &["namespace-new-*"]),
    must(NAMESPACES, "type is required", &["namespace-type-required"]),
    must(NAMESPACES, "path is absolute", &["namespace-path-relative"]),
    must(NAMESPACES, "with a path the process is in that namespace", &["namespace-joined-*"]).but("user, mount: a mount namespace cannot be joined and get a root of its own, and what is allowed in a user namespace that is joined depends on its owner"),
    must(NAMESPACES, "a path that is not of the type: an error", &["namespace-path-of-another-type", "namespace-path-no-namespace", "namespace-path-missing"]),
    must(NAMESPACES, "without a path a new one is created", &["namespace-new-*", "namespace-pid-isolates", "namespace-network-isolates"]),
    must(NAMESPACES, "a type that is not there: the runtime's is inherited", &["namespace-inherited-*"]).but("mount: runtimes refuse to change the root of their own"),
    must(NAMESPACES, "a type that is there twice: an error", &["namespace-twice"]),
    must(MAPPINGS, "uidMappings, gidMappings are the maps", &["mappings"]),
    should(MAPPINGS, "the ownership of files is not changed", &["mappings-ownership"]),
    must("config-linux.md#offset-for-time-namespace", "timeOffsets: secs and nanosecs of a clock", &["time-offset-monotonic", "time-offset-boottime"]),
    must(DEVICES, "devices are available in the container, with type, path, mode, owner", &["device-c", "device-b", "device-u", "device-p", "device-mode", "device-owner", "device-elsewhere"]),
    must(DEVICES, "a file that is there and does not match: an error", &["device-is-there", "device-is-a-file", "device-is-another"]),
    must(DEVICES, "major and minor are required but for p", &["device-without-numbers"]),
    should(DEVICES, "the same numbers are not used for several devices", &[]).but("an advice to who writes configs"),
    must("config-linux.md#default-devices", "null, zero, full, random, urandom, tty, ptmx are supplied; console with a terminal", &["default-device*", "process-console-device"]),
    must(NET, "the devices are available in the container, by their name", &["net-device-moved", "net-device-renamed"]),
    must(NET, "the runtime checks whether a device can be moved", &["net-device-missing"]),
    must(NET, "a name that is taken: an error", &["net-device-name-taken"]),
    must(NET, "a name with %d is a template", &["net-device-template"]),
    must(NET, "attributes and permanent global addresses are kept", &["net-device-address"]),
    must(NET, "the device is set up", &["net-device-up"]),
    must(NET, "the runtime does not manage the device's life and configuration inside", &[]).but("that nothing more is done cannot be told from what the kernel does"),
    must(NET, "the runtime does not move the device out before deletion", &["net-device-stays"]),
    must(GROUPS, "a cgroup that is found unfit: an error", &[]).but("which checks there are is the runtime's choice"),
    must(GROUPS, "a mount of type cgroup shows them", &["mounts-cgroup"]),
    must(PATH, "an absolute path is relative to the mount point", &["cgroups-path-absolute"]),
    must(PATH, "the same value is the same place", &["cgroups-path-same", "cgroups-path-relative"]),
    must(PATH, "a value that the runtime finds invalid: an error", &[]).but("which ones are invalid is the runtime's choice"),
    should(OWNERSHIP, "the owner is not changed on v1", &["cgroup-ownership"]),
    should(OWNERSHIP, "the owner is not changed without a new cgroup namespace", &["cgroup-ownership"]),
    should(OWNERSHIP, "the owner is changed if and only if the cgroup file system is mounted to be written", &["cgroup-ownership"]).but("that it is changed: a test of Orlop's own on machines with v2 alone (conformance/tests/cgroups.rs)"),
    should(OWNERSHIP, "only the directory and the files of /sys/kernel/cgroup/delegate", &[]).but("as above"),
    must(OWNERSHIP, "a file of that list that is not there is no error; without the list there is a fixed one", &[]).but("as above; the list is in every kernel that is supported"),
    should(OWNERSHIP, "files that are there are changed, and no others", &[]).but("as above"),
    must("config-linux.md#allowed-device-list", "entries are applied in the listed order", &["device-rules-*"]),
    must("config-linux.md#memory", "limit, reservation, swap; -1 for no limit; swappiness, disableOOMKiller", &["memory-limit", "memory-unlimited", "memory-reservation", "memory-swap", "memory-swappiness", "memory-oom-killer"]).but("kernel, kernelTCP: NOT RECOMMENDED, and gone from kernels; useHierarchy: kernels have no other way"),
    must("config-linux.md#memory", "checkBeforeUpdate: a limit below the usage is rejected", &[]).but("update is no operation of the specification"),
    must("config-linux.md#cpu", "shares, quota, period, burst, cpus, mems, idle", &["cpu-shares", "cpu-quota", "cpu-period", "cpu-burst", "cpu-cpus", "cpu-mems", "cpu-idle"]).but("realtimeRuntime, realtimePeriod: a group gets real time only if the groups above have some"),
    must("config-linux.md#cpu", "quota is not less than burst", &[]).but("whether that is an error is the runtime's choice"),
    must("config-linux.md#block-io", "weight and rates of devices", &["block-*"]).but("leafWeight: gone from kernels; weightDevice: needs BFQ on the disk"),
    must("config-linux.md#block-io", "an entry of weightDevice has weight or leafWeight", &[]).but("as above"),
    must("config-linux.md#huge-page-limits", "limits of reservations, or of usage", &["huge-pages"]),
    must("config-linux.md#network", "classID and priorities", &["network-*"]),
    must("config-linux.md#pids", "limit; -1 for none", &["pids-limit", "pids-unlimited"]),
    should("config-linux.md#pids", "0 is a limit like any other", &["pids-zero"]),
    must("config-linux.md#rdma", "hcaHandles, hcaObjects, at least one of them", &[]).but("needs a device with RDMA"),
    must(UNIFIED, "the controllers that are needed are enabled", &["unified"]),
    must(UNIFIED, "what is not known to the runtime is written all the same", &["unified-unknown-file"]),
    must(UNIFIED, "a controller that is not there: an error", &["unified-missing-controller"]),
    must(UNIFIED, "a property of v1 that cannot be converted: an error", &[]).but("which ones are converted is the runtime's choice"),
    must(RDT, "without a mounted resctrl: an error", &["intel-rdt-absent"]),
    must(RDT, "the pid is written to tasks of the directory closID", &[]).but(NO_RDT),
    must(RDT, "without intelRdt no resctrl is touched", &[]).but(NO_RDT),
    must(RDT, "closID / is the default class", &[]).but(NO_RDT),
    must(RDT, "memBwSchema, schemata: their form", &[]).but(NO_RDT),
    must(RDT, "l3CacheSchema, memBwSchema, schemata are written in this order; none: nothing is written", &[]).but(NO_RDT),
    must(RDT, "closID that is not set, that is not there, that is there with another schema", &[]).but(NO_RDT),
    must(RDT, "directories that the runtime made are removed, others not", &[]).but(NO_RDT),
    must(RDT, "enableMonitoring: a MON group, deleted in the end", &[]).but(NO_RDT),
    must("config-linux.md#memory-policy", "mode, nodes, flags are the policy of the process", &["memory-policy-interleave", "memory-policy-bind", "memory-policy-preferred", "memory-policy-local"]),
    must("config-linux.md#sysctl", "the parameters are set", &["sysctl"]),
    must(SECCOMP, "defaultAction, actions, names, arguments, flags", &["seccomp-action-*", "seccomp-names", "seccomp-args", "seccomp-op-*", "seccomp-errno*", "seccomp-default-errno", "seccomp-flags"]).but("TRACE: needs a tracer"),
    must(SECCOMP, "an errno for an action that has none: an error", &["seccomp-errno-unsupported", "seccomp-default-errno-unsupported"]),
    must(SECCOMP, "names has at least one entry", &["seccomp-no-names"]),
    must(SECCOMP, "listenerPath is a stream socket; one state in a connection, which is closed then", &["seccomp-notify", "seccomp-notify-state"]),
    must(SECCOMP, "sending fails: an error", &["seccomp-notify-nobody"]),
    must(SECCOMP, "listenerPath is ignored when nothing is notified", &["seccomp-listener-ignored"]),
    must(SECCOMP, "listenerMetadata is not set without listenerPath", &["seccomp-metadata-alone"]),
    must(STATE, "JSON as payload, descriptors by SCM_RIGHTS, in the first call", &["seccomp-notify-state"]),
    must(STATE, "ociVersion, pid, state are there; fds names the descriptors; metadata", &["seccomp-notify-state"]),
    must("config-linux.md#rootfs-mount-propagation", "the propagation of the root's mount", &["rootfs-propagation-shared", "rootfs-propagation-slave", "rootfs-propagation-private", "rootfs-propagation-unbindable"]),
    must("config-linux.md#masked-paths", "the paths cannot be read; they are absolute", &["masked-*"]),
    must("config-linux.md#readonly-paths", "the paths cannot be written; they are absolute", &["readonly-*"]),
    must("config-linux.md#mount-label", "the SELinux context of mounts", &[]).but("needs SELinux"),
    must("config-linux.md#personality", "domain; flags are not supported", &["personality-LINUX*", "personality-flags"]),
];
