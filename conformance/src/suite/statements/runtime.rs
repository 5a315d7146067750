//! runtime.md and runtime-linux.md.

use super::{Statement, must};

const STATE: &str = "runtime.md#state";
const LIFECYCLE: &str = "runtime.md#lifecycle";
const ERRORS: &str = "runtime.md#errors";
const OPERATIONS: &str = "runtime.md#operations";
const QUERY: &str = "runtime.md#query-state";
const CREATE: &str = "runtime.md#create";
const START: &str = "runtime.md#start";
const KILL: &str = "runtime.md#kill";
const DELETE: &str = "runtime.md#delete";

pub const STATEMENTS: &[Statement] = &[
    must("runtime.md#scope-of-a-container", "who creates a container can use all operations on it", &["scope-creator"]),
    must(STATE, "ociVersion is there, a version of the specification", &["state-properties", "state-version"]),
    must(STATE, "id is there", &["state-properties"]),
    must(STATE, "id is unique on the host", &["create-id-in-use"]).but("across state directories: runtimes keep no record of each other's; the specification asks create for uniqueness within the runtime's scope alone"),
    must(STATE, "status is there: creating, created, running, stopped as defined", &["state-created", "state-running", "state-stopped", "hooks-state-*"]),
    must(STATE, "further values of status are for other states", &[]).but("a value that a runtime might have for a state of its own cannot be provoked by the operations of the specification"),
    must(STATE, "pid is there when the status is created or running", &["state-created", "state-running", "state-pid"]),
    must(STATE, "for hooks in the runtime's namespaces pid is as the runtime sees it, for those in the container's as the container sees it", &["hooks-pid-*"]),
    must(STATE, "bundle is there, an absolute path", &["state-properties", "state-bundle"]),
    must(STATE, "annotations are those of the config; without any they are absent or empty", &["state-annotations", "state-no-annotations"]),
    must(STATE, "as JSON it is of the form of the schema", &["state-properties"]),
    must(LIFECYCLE, "2: the environment is created according to config.json", &["create-applies-*"]),
    must(LIFECYCLE, "2: when it cannot be, there is an error", &["mounts-bind-missing", "mounts-unknown-type", "root-missing"]),
    must(LIFECYCLE, "2: the program is not run by create", &["create-runs-nothing"]),
    must(LIFECYCLE, "2: later changes of config.json do not matter", &["lifecycle-config-changes"]),
    must(LIFECYCLE, "3: prestart hooks are invoked", &["hooks-in-create-prestart"]),
    must(LIFECYCLE, "3: when one fails: an error, the container is stopped and destroyed, poststop hooks", &["hooks-failing-prestart", "hooks-poststop-after-prestart"]),
    must(LIFECYCLE, "4: createRuntime hooks are invoked", &["hooks-in-create-createRuntime"]),
    must(LIFECYCLE, "4: when one fails: an error, the container is stopped and destroyed, poststop hooks", &["hooks-failing-createRuntime", "hooks-poststop-after-createRuntime", "hooks-nothing-follows"]),
    must(LIFECYCLE, "5: createContainer hooks are invoked", &["hooks-in-create-createContainer"]),
    must(LIFECYCLE, "5: when one fails: an error, the container is stopped and destroyed, poststop hooks", &["hooks-failing-createContainer", "hooks-poststop-after-createContainer"]),
    must(LIFECYCLE, "7: startContainer hooks are invoked", &["hooks-in-start-startContainer"]),
    must(LIFECYCLE, "7: when one fails: an error, the container is stopped and destroyed, poststop hooks", &["hooks-failing-startContainer", "hooks-poststop-after-startContainer"]),
    must(LIFECYCLE, "8: the program is run", &["start-runs-args"]),
    must(LIFECYCLE, "9: poststart hooks are invoked", &["hooks-in-start-poststart"]),
    must(LIFECYCLE, "9: when one fails: an error, the container is stopped and destroyed, poststop hooks", &["hooks-failing-poststart", "hooks-poststop-after-poststart"]),
    must(LIFECYCLE, "12: what create made is undone", &["delete-removes-*"]),
    must(LIFECYCLE, "13: poststop hooks are invoked", &["hooks-in-delete-poststop"]),
    must(LIFECYCLE, "13: when one fails: a warning, and the others go on", &["hooks-failing-poststop", "hooks-failing-poststop-warns"]),
    must(ERRORS, "an error leaves things as if the operation had not been tried", &["errors-*", "create-id-*", "start-running", "start-stopped", "delete-created", "delete-running"]),
    must("runtime.md#warnings", "after a warning the operation goes on as without", &["hooks-failing-poststop", "capabilities-unknown"]),
    must(OPERATIONS, "state, create, start, kill, delete are there", &["scope-creator"]),
    must(QUERY, "without an id: an error", &["query-without-id"]),
    must(QUERY, "of a container that does not exist: an error", &["query-unknown"]),
    must(QUERY, "the state is returned", &["state-properties"]),
    must(CREATE, "without a bundle or an id: an error", &["create-without-id", "create-without-bundle", "create-without-config"]),
    must(CREATE, "an id that is in use or not valid: an error, and no new container", &["create-id-in-use", "create-id-running", "create-empty-id"]),
    must(CREATE, "a new container is created", &["state-created"]),
    must(CREATE, "all properties but process are applied", &["create-applies-*"]),
    must(CREATE, "args are not applied until start", &["create-runs-nothing"]),
    must(CREATE, "a property that cannot be applied: an error, and no new container", &["mounts-bind-missing", "mounts-unknown-type", "errors-create-leaves-nothing"]),
    must(START, "without an id: an error", &["start-without-id"]),
    must(START, "of a container that is not created: an error without effect", &["start-unknown", "start-running", "start-stopped"]),
    must(START, "the program of process is run", &["start-runs-args"]),
    must(START, "without process: an error", &["start-without-process"]),
    must(KILL, "without an id: an error", &["kill-without-id"]),
    must(KILL, "of a container neither created nor running: an error without effect", &["kill-unknown", "kill-stopped"]),
    must(KILL, "the signal is sent to the container's process", &["kill-created", "kill-running", "kill-kill"]),
    must(DELETE, "without an id: an error", &["delete-without-id"]),
    must(DELETE, "of a container that is not stopped: an error without effect", &["delete-unknown", "delete-created", "delete-running"]),
    must(DELETE, "what create made is deleted", &["delete-stopped", "delete-removes-*"]),
    must(DELETE, "what it did not make is not", &["delete-leaves-*"]),
    must(DELETE, "the id may be used again", &["delete-frees-the-id"]),
    must("runtime-linux.md#file-descriptors", "only the standard streams are open, but for what the caller asked for", &["process-descriptors"]),
    must("runtime-linux.md#dev-symbolic-links", "/dev/fd, stdin, stdout, stderr are links into /proc/self/fd", &["dev-link-*"]),
];
