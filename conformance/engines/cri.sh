# containerd's CRI plugin, as a kubelet calls it, with a runtime class whose shim is under test.  RUNTIME is the shim's binary.
# Sourced by `inside`, after lib.sh.
# shellcheck shell=bash disable=SC2016,SC2034,SC2317,SC2329
# (functions are called by name; what stands in single quotes is for the shell inside)

needs_cri="containerd ip busybox runc python3 mmdebstrap curl protoc cni-plugins"
runtime_cri="containerd-shim-orlop-v2"
with_cri="containerd-shim-runc-v2"
# What is offered by containerd 2.x, and by containerd's own shim only with a newer runc than Debian 12's, or not at all; and what a
# killed shim of containerd's own leaves behind (cgroups).
beyond_cri="features recursive_read_only userns options shim_killed"

SOCKET=/run/containerd-engine/containerd.sock
export CONTAINERD_ADDRESS=$SOCKET CONTAINERD_NAMESPACE=k8s.io SOCKET

start_engine() {
    mkdir -p "$WORK"/{bin,net.d,pods,image}
    # Found on containerd's PATH by the name of the runtime class's type.
    ln -sf "$RUNTIME" "$WORK/bin/containerd-shim-tested-v2"
    export PATH=$WORK/bin:$PATH
    cat >"$WORK/net.d/10-bridge.conf" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "bridge": "pods0", "isGateway": true,
 "ipam": {"type": "host-local", "subnet": "10.77.0.0/16", "dataDir": "$WORK/ipam"}}
JSON
    cat >"$WORK/cri.toml" <<TOML
[plugins."io.containerd.grpc.v1.cri"]
  # A machine without CAP_SYS_RESOURCE cannot give a pod the score of its own.
  restrict_oom_score_adj = true
  sandbox_image = "docker.io/library/pause:latest"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$WORK/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "tested"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
    runtime_type = "io.containerd.tested.v2"
  # Only a runtime of this type is asked by containerd 2.x what it can do, wherever its shim is.
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.by-path]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "$RUNTIME"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.with-options]
    runtime_type = "io.containerd.tested.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.with-options.options]
      TypeUrl = "orlop/options"
TOML
    start_containerd containerd-engine "$WORK/cri.toml" || return 1
    # shellcheck disable=SC2015 # whichever fails, that is the end
    image_tar "$WORK/image/box.tar" && image_tar "$WORK/image/pause.tar" docker.io/library/pause:latest sleep 1000000 &&
        ctr image import "$WORK/image/box.tar" >/dev/null && ctr image import "$WORK/image/pause.tar" >/dev/null &&
        eventually 30 cri_ready || { tail -n 30 "$WORK/containerd-engine.log" >&2; return 1; }
}
# The network's configuration is read and the images are known some moments after the start.
cri_ready() { [ "$(cri Status | grep -A 1 Ready | grep -c 'status: true')" = 2 ] && cri ImageStatus 'image { image: "docker.io/library/pause:latest" }' | grep -q id:; }
restart_containerd() { start_containerd containerd-engine "$WORK/cri.toml" && eventually 30 cri_ready; }

# cri METHOD [MESSAGE]: one call, with the message in protobuf's text form; prints the answer in the same form.
cri() {
    local method=$1 service=RuntimeService at
    [[ $method != *Image* ]] || service=ImageService
    at=$(mktemp -d "$WORK/call.XXXXXX")
    protoc -I "$here" --encode="runtime.v1.${method}Request" cri.proto <<<"${2:-}" >"$at/request" || return 90
    # What gRPC puts before a message: not compressed, so many bytes.
    { printf '%b' "\\0$(printf '\\x%02x' 0 0 $(($(stat -c %s "$at/request") / 256)) $(($(stat -c %s "$at/request") % 256)))"; cat "$at/request"; } >"$at/frame"
    curl -sS --max-time 60 --http2-prior-knowledge --unix-socket "$SOCKET" -H 'Content-Type: application/grpc' -H 'TE: trailers' \
        --data-binary "@$at/frame" -D "$at/heads" -o "$at/answer" "http://localhost/runtime.v1.$service/$method" || return 91
    local status
    status=$(sed -n 's/^grpc-status: *\([0-9]*\).*/\1/Ip' "$at/heads")
    if [ "$status" = 0 ]; then
        # A field that cri.proto does not have is shown by its number: not of interest.
        tail -c +6 "$at/answer" | protoc -I "$here" --decode="runtime.v1.${method}Response" cri.proto |
            awk '/^ *[0-9]+ \{/ { depth = 1; next } depth { depth += /\{/; depth -= /\}/; next } !/^ *[0-9]+:/'
    else
        sed -n 's/^grpc-message: *//Ip' "$at/heads" | tr -d '\r' | sed 's/%/\\x/g' | xargs -0 printf '%b' >&2
    fi
    rm -rf "$at"
    return "${status:-92}"
}

value() { sed -n "s/^ *$1: \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p"; }

# pod NAME [LINUX [HANDLER [ANNOTATIONS]]]: makes a pod, of the class under test; LINUX is of LinuxPodSandboxConfig.
pod() {
    local name=$1
    mkdir -p "$WORK/pods/$name"
    # Who shares the host's network shares its name.
    local host=''
    [[ ${2:-} == *"network: NODE"* ]] || host="hostname: \"$name\""
    echo "metadata { name: \"$name\" uid: \"$name-uid\" namespace: \"default\" } $host
        log_directory: \"$WORK/pods/$name\" linux { ${2:-} } ${4:-}" >"$WORK/pods/$name/config"
    cri RunPodSandbox "config { $(<"$WORK/pods/$name/config") } runtime_handler: \"${3:-tested}\"" >"$WORK/pods/$name/answer" || return
    value pod_sandbox_id <"$WORK/pods/$name/answer" >"$WORK/pods/$name/id"
}
pod_id() { cat "$WORK/pods/$1/id"; }

# container POD NAME CONFIG [SCRIPT]: makes a container that runs SCRIPT, in busybox; CONFIG is of ContainerConfig.
container() {
    local made
    made=$(cri CreateContainer "pod_sandbox_id: \"$(pod_id "$1")\" sandbox_config { $(<"$WORK/pods/$1/config") }
        config { metadata { name: \"$2\" } image { image: \"docker.io/library/box:latest\" } log_path: \"$2.log\"
        ${4:+command: [\"sh\", \"-c\", \"$4\"]} $3 }") || return
    value container_id <<<"$made" >"$WORK/pods/$1/$2.id"
}
id_of() { cat "$WORK/pods/${1%/*}/${1#*/}.id"; }
# Of a container POD/NAME.
start() { cri StartContainer "container_id: \"$(id_of "$1")\""; }
stop() { cri StopContainer "container_id: \"$(id_of "$1")\" timeout: ${2:-10}"; }
remove() { cri RemoveContainer "container_id: \"$(id_of "$1")\""; }
state() { cri ContainerStatus "container_id: \"$(id_of "$1")\"" | grep -E '^  (state|exit_code|reason)' | grep -v 'reason: ""'; }
has_state() { state "$1" | grep -q "$2"; }
# run POD NAME CONFIG SCRIPT: made and started.
run() { container "$@" && start "$1/$2"; }
# exec_sync POD/NAME TIMEOUT COMMAND...
exec_sync() {
    local id word words=''
    id=$(id_of "$1")
    for word in "${@:3}"; do words+=" cmd: \"$word\""; done
    cri ExecSync "container_id: \"$id\" timeout: $2 $words"
}
remove_pod() {
    cri StopPodSandbox "pod_sandbox_id: \"$(pod_id "$1")\"" && cri RemovePodSandbox "pod_sandbox_id: \"$(pod_id "$1")\""
}
shims() { pgrep -cf -- "-namespace k8s.io .*-id" || :; }
no_shims() { [ "$(shims)" = 0 ]; }
# What a pod may leave: shims, mounts of its root file systems, groups.
left() {
    eventually 60 no_shims
    says shims-left shims
    says mounts-left sh -c '! grep k8s.io /proc/self/mounts'
    says groups-left sh -c '! find /sys/fs/cgroup -type d -path "*/k8s.io/*" -o -type d -name "*:cri-containerd:*" | grep .'
}
export here
SLEEPS='trap \"exit 0\" TERM; while :; do usleep 50000; done'

scenario_version() {
    says version bash -c 'cri Version | grep -v runtime_version'
    says status bash -c 'cri Status | grep -A1 type: | grep -v -e --'
}

scenario_features() {
    case $(containerd --version) in
    *" 1."*) says none echo "containerd 1.x does not ask" ;;
    *) says features bash -c 'cri Status | grep -A 5 "name: \"by-path\"" | grep -e recursive -e user_n' ;;
    esac
}

scenario_pod() {
    status run pod one
    says status bash -c 'cri PodSandboxStatus "pod_sandbox_id: \"$(pod_id one)\"" | grep -e state: -e handler: -e "ip: \"10.77"  | sed "s/10.77.[0-9.]*/IP/"'
    says list bash -c 'cri ListPodSandbox | grep -e name: -e state: -e handler'
    status again pod one
    says wrong-handler pod two "" no-such-handler
    status stop cri StopPodSandbox "pod_sandbox_id: \"$(pod_id one)\""
    says stopped bash -c 'cri PodSandboxStatus "pod_sandbox_id: \"$(pod_id one)\"" | grep state:'
    status stop-again cri StopPodSandbox "pod_sandbox_id: \"$(pod_id one)\""
    status remove cri RemovePodSandbox "pod_sandbox_id: \"$(pod_id one)\""
    status remove-again cri RemovePodSandbox "pod_sandbox_id: \"$(pod_id one)\""
    says list-after cri ListPodSandbox
    left
}

scenario_container() {
    pod one
    status create container one main "envs { key: \"WHO\" value: \"world\" } working_dir: \"/tmp\"" "echo hello \$WHO from \$PWD; $SLEEPS"
    says created state one/main
    status start start one/main
    says running state one/main
    status start-again start one/main
    says exec exec_sync one/main 10 sh -c 'echo out; echo err >&2; exit 3'
    says exec-host exec_sync one/main 10 hostname
    says exec-missing-code bash -c 'exec_sync one/main 10 no-such-command 2>&1 | grep -o -e "executable file not found in .PATH" -e "no such file or directory" | head -n 1'
    status exec-missing exec_sync one/main 10 no-such-command
    status exec-not-executable exec_sync one/main 10 /bin/not-executable
    says exec-too-long bash -c 'exec_sync one/main 1 sleep 4321 2>&1 | grep -o "timeout 1s exceeded"'
    says exec-processes bash -c 'exec_sync one/main 10 ps | grep -c "sleep 4321"'
    status remove-running-refused-or-forced remove one/main
    says list cri ListContainers
    status create-missing container one missing 'command: "no-such-command"'
    status start-missing start one/missing
    says missing bash -c 'state one/missing'
    status remove-missing remove one/missing
    status code run one code "" "exit 7"
    eventually 60 has_state one/code EXITED
    says ended state one/code
    status signal run one signal "" "kill -9 \$\$"
    eventually 60 has_state one/signal EXITED
    says signalled state one/signal
    status exec-ended exec_sync one/code 10 true
    # With two ended containers in it.
    status gone remove_pod one
    left
}

# logged POD/NAME WORD: until it stands in the log.  containerd tells the end of a container before it has written its last lines.
logged() { eventually 60 grep -q "$2" "$WORK/pods/${1%/*}/${1#*/}.log"; }

scenario_logs() {
    pod one
    run one main "" 'echo out; sleep 0.2; echo err >&2; sleep 0.2; printf unfinished'
    eventually 60 has_state one/main EXITED
    logged one/main unfinished
    says lines bash -c 'cut -d " " -f 2- "$WORK/pods/one/main.log"'
    # containerd 1.6 lets go of a pipe when its process has ended, whether it has read it to the end or not: with any shim.
    run one much "" 'seq 20000; sleep 2'
    eventually 60 has_state one/much EXITED
    logged one/much ' 20000$'
    says much bash -c 'cut -d " " -f 4- "$WORK/pods/one/much.log" | md5sum'
    run one rotated "" "while ! test -e /go; do usleep 20000; done; echo after; $SLEEPS"
    mv "$WORK/pods/one/rotated.log" "$WORK/pods/one/rotated.log.1"
    status reopen cri ReopenContainerLog "container_id: \"$(id_of one/rotated)\""
    exec_sync one/rotated 10 touch /go
    eventually 60 test -s "$WORK/pods/one/rotated.log"
    says rotated bash -c 'cut -d " " -f 2- "$WORK/pods/one/rotated.log"'
    remove_pod one
}

# stream CALL MESSAGE: what kubectl attach and exec do; standard input is the process's.
stream() { "$here/cri-stream" "$(cri "$1" "$2" | value url)"; }
attach() { cri Attach "container_id: \"$(id_of "$1")\" stdin: true stdout: true stderr: true" | value url; }
# said POD/NAME WORD: says it until the container has heard it, and a moment longer, so that the client hears the answer too.
said() {
    local log="$WORK/pods/${1%/*}/${1#*/}.log" try
    for try in $(seq 60); do
        ! grep -q "got $2" "$log" || break
        echo "$2"
        sleep 0.3
    done
    sleep 1
}
scenario_streams() {
    pod one
    run one main "" "echo early; $SLEEPS"
    says exec bash -c 'stream Exec "container_id: \"$(id_of one/main)\" cmd: [\"sh\", \"-c\", \"echo out; sleep 1; echo err >&2; exit 4\"] stdout: true stderr: true" | sed "s/container ID/container/"'
    says exec-stdin bash -c '{ sleep 0.5; echo typed; sleep 3; } | stream Exec "container_id: \"$(id_of one/main)\" cmd: [\"head\", \"-n\", \"1\"] stdin: true stdout: true stderr: true"'
    says exec-tty bash -c 'stream Exec "container_id: \"$(id_of one/main)\" cmd: [\"sh\", \"-c\", \"sleep 1; test -t 1; echo is a terminal: \$?; sleep 1\"] tty: true stdout: true"'
    run one cat 'stdin: true' 'while read -r line; do echo got $line; done'
    # Whoever attaches goes, and the next finds the same process.
    says attach bash -c 'said one/cat one | { timeout 20 "$here/cri-stream" --close "$(attach one/cat)" | grep got | sort -u; }'
    says attach-again bash -c 'said one/cat two | { timeout 20 "$here/cri-stream" --close "$(attach one/cat)" | grep got | sort -u; }'
    says still state one/cat
    run one once 'stdin: true stdin_once: true' 'while read -r line; do echo got $line; done; echo end'
    bash -c 'said one/once last | timeout 20 "$here/cri-stream" --close "$(attach one/once)"' >/dev/null 2>&1
    eventually 60 has_state one/once EXITED
    logged one/once end
    says once bash -c 'state one/once; cut -d " " -f 4- "$WORK/pods/one/once.log" | uniq'
    run one tty 'tty: true stdin: true' 'test -t 0; echo terminal: $?; while :; do usleep 50000; done'
    eventually 60 test -s "$WORK/pods/one/tty.log"
    says tty bash -c 'cut -d " " -f 4- "$WORK/pods/one/tty.log" | tr -d "\r"'
    remove_pod one
}

scenario_stats() {
    pod one
    run one main "linux { resources { memory_limit_in_bytes: 67108864 cpu_shares: 512 } }" "$SLEEPS"
    says container bash -c 'cri ContainerStats "container_id: \"$(id_of one/main)\"" | grep -A2 -e usage_core -e usage_bytes -e working_set | grep -c "value: [1-9]"'
    says list bash -c 'cri ListContainerStats | grep -c "value: [1-9]"'
    says pod bash -c 'cri PodSandboxStats "pod_sandbox_id: \"$(pod_id one)\"" | grep -A1 process_count'
    remove_pod one
}

scenario_shared_pids() {
    local shared="security_context { namespace_options { pid: POD } }"
    pod one "$shared"
    run one first "linux { $shared }" "$SLEEPS"
    run one second "linux { $shared }" "$SLEEPS"
    # The first process of all is the pod's own; each sees the other's.
    says first-sees bash -c 'exec_sync one/first 10 ps | grep -c "[d]o usleep"'
    says one-namespace test "$(exec_sync one/first 10 readlink /proc/self/ns/pid)" = "$(exec_sync one/second 10 readlink /proc/self/ns/pid)"
    says init bash -c 'exec_sync one/second 10 sh -c "tr \"\\\\\\\\0\" \" \" </proc/1/cmdline"'
    says shims shims
    # What a container leaves behind in a namespace that is not its own goes with it.
    run one third "linux { $shared }" '(trap \"\" TERM HUP; exec sleep 4321) & sleep 0.5; exit 5'
    eventually 60 has_state one/third EXITED
    says third state one/third
    status remove-third remove one/third
    says left-behind bash -c 'exec_sync one/first 10 ps | grep -c "[s]leep 4321"'
    status stop stop one/first 5
    says second state one/second
    local second
    second=$(id_of one/second)
    status debug run one debug "linux { security_context { namespace_options { pid: TARGET target_id: \"$second\" } } }" "$SLEEPS"
    remove_pod one
    local own="security_context { namespace_options { pid: CONTAINER } }"
    pod two "$own"
    run two first "linux { $own }" "$SLEEPS"
    run two second "linux { $own }" "$SLEEPS"
    says apart bash -c 'exec_sync two/first 10 ps | grep -c "[d]o usleep"'
    remove_pod two
    left
}

scenario_stop() {
    pod one
    run one polite "" 'trap \"exit 9\" TERM; echo ready; while :; do usleep 50000; done'
    eventually 60 test -s "$WORK/pods/one/polite.log"
    status polite stop one/polite 25
    says polite-code state one/polite
    run one stubborn "" 'trap \"\" TERM; echo ready; while :; do usleep 50000; done'
    eventually 60 test -s "$WORK/pods/one/stubborn.log"
    status stubborn stop one/stubborn 1
    says stubborn-code state one/stubborn
    run one now "" "$SLEEPS"
    status now stop one/now 0
    says now-code state one/now
    # Of a container that never ran.
    container one never "" "$SLEEPS"
    status remove-created remove one/never
    remove_pod one
    left
}

scenario_oom() {
    pod one
    run one hungry "linux { resources { memory_limit_in_bytes: 16777216 } }" 'usleep 300000; exec dd if=/dev/zero of=/dev/null bs=64M count=1'
    eventually 60 has_state one/hungry EXITED
    says ended state one/hungry
    remove_pod one
}

scenario_update() {
    pod one
    run one main "linux { resources { memory_limit_in_bytes: 67108864 cpu_shares: 512 } }" "$SLEEPS"
    update() { cri UpdateContainerResources "container_id: \"$(id_of one/main)\" linux { $1 }"; }
    of_group() {
        local group
        group=$(find /sys/fs/cgroup -type d -path "*$(id_of one/main)" | while read -r dir; do [ ! -e "$dir/$1" ] || echo "$dir"; done | head -n 1)
        cat "$group/$1"
    }
    export -f update of_group
    status update update "memory_limit_in_bytes: 33554432 cpu_period: 100000 cpu_quota: 25000 cpu_shares: 256"
    local file
    for file in memory.limit_in_bytes cpu.cfs_quota_us cpu.shares memory.max cpu.max cpu.weight; do
        [ -z "$(find /sys/fs/cgroup -path "*$(id_of one/main)/$file")" ] || says "$file" of_group "$file"
    done
    status refused update "memory_limit_in_bytes: 1"
    says still state one/main
    remove_pod one
}

# Names as systemd has them, which a kubelet may send whatever the driver is.
scenario_slice() {
    pod one 'cgroup_parent: "/kubepods.slice/kubepods-pod1.slice"'
    status run run one main "linux { resources { cpu_shares: 512 } }" "$SLEEPS"
    says group bash -c 'exec_sync one/main 10 cat /proc/self/cgroup | tr "\\\\" "\n" | grep -o "[^/]*slice.*" | sort -u'
    status remove remove_pod one
    left
}

scenario_security() {
    pod one 'sysctls { key: "net.ipv4.ip_unprivileged_port_start" value: "80" }'
    run one main "linux { security_context { run_as_user { value: 1000 } run_as_group { value: 1000 } supplemental_groups: 2000
        readonly_rootfs: true no_new_privs: true seccomp { profile_type: RuntimeDefault }
        capabilities { add_capabilities: \"NET_ADMIN\" drop_capabilities: \"CHOWN\" }
        masked_paths: \"/proc/kcore\" readonly_paths: \"/proc/sys\" } }" "$SLEEPS"
    says id exec_sync one/main 10 id
    says status exec_sync one/main 10 grep -e Cap -e NoNewPrivs -e Seccomp: /proc/self/status
    says read-only exec_sync one/main 10 touch /file
    says masked exec_sync one/main 10 head -c 1 /proc/kcore
    says sysctl exec_sync one/main 10 cat /proc/sys/net/ipv4/ip_unprivileged_port_start
    says network exec_sync one/main 10 ls /sys/class/net
    remove_pod one
    pod host "security_context { namespace_options { network: NODE pid: NODE ipc: NODE } privileged: true }"
    status host run host main "linux { security_context { namespace_options { network: NODE pid: NODE ipc: NODE } } }" "$SLEEPS"
    says host-network exec_sync host/main 10 ls /sys/class/net
    remove_pod host
    left
}

scenario_recursive_read_only() {
    case $(containerd --version) in *" 1."*) says none echo "containerd 1.x has none"; return ;; esac
    mkdir -p "$WORK/tree/below"
    mount -t tmpfs tmpfs "$WORK/tree/below"
    pod one "" by-path
    status run run one main "mounts { container_path: \"/tree\" host_path: \"$WORK/tree\" readonly: true recursive_read_only: true }
        linux { security_context {} }" "$SLEEPS"
    says refused bash -c 'exec_sync one/main 10 touch /tree/below/file | grep -o "Read-only file system"'
    status remove remove_pod one
    umount "$WORK/tree/below"
}

# A pod with ids of its own, which is offered to runtimes that tell they can map mounts.
scenario_userns() {
    case $(containerd --version) in *" 1."*) says none echo "containerd 1.x maps none"; return ;; esac
    local mapped="userns_options { mode: POD uids { host_id: 300000 container_id: 0 length: 65536 } gids { host_id: 400000 container_id: 0 length: 65536 } }"
    mkdir -p "$WORK/volume"
    echo shared >"$WORK/volume/file"
    chmod 777 "$WORK/volume"
    status pod pod one "security_context { namespace_options { $mapped } }" by-path
    status run run one main "linux { security_context { namespace_options { $mapped } } }
        mounts { container_path: \"/volume\" host_path: \"$WORK/volume\" uidMappings { host_id: 300000 container_id: 0 length: 65536 }
            gidMappings { host_id: 400000 container_id: 0 length: 65536 } }" "$SLEEPS"
    says uids bash -c 'exec_sync one/main 10 sh -c "tr -s \\\" \\\" </proc/self/uid_map" | grep -o "300000 65536"'
    says gids bash -c 'exec_sync one/main 10 sh -c "tr -s \\\" \\\" </proc/self/gid_map" | grep -o "400000 65536"'
    # Root inside is nobody outside, and yet owns the image's files and the volume's.
    says root bash -c 'exec_sync one/main 10 stat -c "%u:%g %n" /bin/busybox /volume/file'
    status writes exec_sync one/main 10 sh -c "echo hers >/volume/new && echo hers >/etc/new"
    says outside stat -c '%u:%g' "$WORK/volume/new"
    says process bash -c 'stat -c %u:%g "/proc/$(ctr task ls | awk -v id="$(id_of one/main)" "\$1 == id { print \$2 }")"'
    says one-namespace bash -c 'test "$(readlink "/proc/$(ctr task ls | awk -v id="$(id_of one/main)" "\$1 == id { print \$2 }")/ns/user")" = "$(readlink "/proc/$(ctr task ls | awk -v id="$(pod_id one)" "\$1 == id { print \$2 }")/ns/user")"'
    status remove remove_pod one
    left
}

# A class whose options are of a type of their own.
scenario_options() {
    status pod pod one "" with-options
    status run run one main "" "$SLEEPS"
    says state state one/main
    status remove remove_pod one
    left
}

scenario_removed_running() {
    pod one
    run one first "" "$SLEEPS"
    run one second "" 'trap \"\" TERM; while :; do usleep 50000; done'
    status remove cri RemovePodSandbox "pod_sandbox_id: \"$(pod_id one)\""
    says pods cri ListPodSandbox
    says containers cri ListContainers
    left
}

scenario_restart() {
    pod one
    run one kept "" 'while ! test -e /go; do usleep 50000; done; exit 4'
    run one ended "stdin: true" 'read -r line; exit 6'
    kill_containerd containerd-engine
    pkill -9 -n -f '^sh -c read -r line'
    restart_containerd
    says kept state one/kept
    says ended state one/ended
    kill_containerd containerd-engine
    restart_containerd
    status exec exec_sync one/kept 10 touch /go
    eventually 60 has_state one/kept EXITED
    says kept-ended state one/kept
    status more run one more "" "exit 2"
    status remove remove_pod one
    left
}

scenario_many() {
    local n pids=()
    for n in 1 2 3 4 5 6; do
        { pod "many$n" && run "many$n" main "" "$SLEEPS" && exec_sync "many$n/main" 20 hostname; } >"$WORK/many.$n" 2>&1 &
        pids[n]=$!
    done
    for n in 1 2 3 4 5 6; do wait "${pids[n]}" || echo "pod $n failed"; done
    says all bash -c 'cat "$WORK"/many.*'
    for n in 1 2 3 4 5 6; do remove_pod "many$n" & pids[n]=$!; done
    for n in 1 2 3 4 5 6; do wait "${pids[n]}" || echo "pod $n stays"; done
    left
}

scenario_shim_killed() {
    pod one
    run one first "" "$SLEEPS"
    run one second "" "$SLEEPS"
    local shim
    shim=$(pgrep -f -- "-namespace k8s.io .*-id")
    kill -9 "$shim"
    eventually 60 has_state one/first EXITED
    says first bash -c 'state one/first | grep state'
    eventually 60 has_state one/second EXITED
    says second bash -c 'state one/second | grep state'
    status remove remove_pod one
    status again pod one
    status remove-again remove_pod one
    left
}

stop_engine() { pkill -f "containerd --config $WORK/containerd-engine.toml"; }
