# containerd by its own client, through its own shim for runc, which is told to call the runtime under test.
# Sourced by `inside`, after lib.sh.
# shellcheck shell=bash disable=SC2016,SC2034,SC2317,SC2329
# (functions are called by name; what stands in single quotes is for the shell inside)

needs_containerd="containerd ip busybox runc python3 script mmdebstrap"
# How ctr is told what is under test.
CTR_FLAG=--runc-binary

scenario_run() {
    says hello run_ctr --rm -- hello echo hello
    says status run_ctr --rm -- code sh -c 'exit 7'
    says both-streams bash -c 'run_ctr --rm -- streams sh -c "echo out; echo err >&2" 2>&1 | sort'
    says env run_ctr --rm --env A=b --cwd /tmp -- env sh -c 'echo $A $PWD'
    status missing run_ctr --rm -- missing no-such-command
    status not-executable run_ctr --rm -- noexec /bin/not-executable
    says read-only run_ctr --rm --read-only -- ro touch /x
    says nothing-left ctr container ls -q
}

scenario_task() {
    status run run_ctr -d -- one sh -c 'trap "exit 9" TERM; while :; do usleep 20000; done'
    eventually 60 is one RUNNING
    says ls task_status one
    says exec ctr task exec --exec-id e1 one echo from exec
    says exec-status ctr task exec --exec-id e2 one sh -c 'exit 5'
    status exec-missing ctr task exec --exec-id e3 one no-such-command
    says ps sh -c 'ctr task ps one | tail -n +2 | grep -q . && echo some'
    status pause ctr task pause one
    says paused task_status one
    status exec-paused ctr task exec --exec-id e4 one true
    status resume ctr task resume one
    says resumed task_status one
    says metrics sh -c 'ctr task metrics --format json one | tr "," "\n" | grep -c usage'
    status kill ctr task kill -s TERM one
    eventually 60 is one STOPPED
    says stopped task_status one
    status rm ctr task rm one
    says nothing-left ctr task ls -q
    ctr container rm one
}

scenario_limits() {
    # ctr mounts no cgroups inside: what the kernel has for the group is read outside.
    run_ctr -d --memory-limit 33554432 --cpus 0.5 -- limited sleep 1000
    local file
    for file in memory/test/limited/memory.limit_in_bytes cpu/test/limited/cpu.cfs_quota_us; do
        [ ! -e "/sys/fs/cgroup/$file" ] || says "$file" cat "/sys/fs/cgroup/$file"
    done
    for file in memory.max cpu.max; do
        [ ! -e "/sys/fs/cgroup/test/limited/$file" ] || says "$file" cat "/sys/fs/cgroup/test/limited/$file"
    done
    remove limited
    says seccomp run_ctr --rm --seccomp -- sec sh -c 'grep Seccomp: /proc/self/status'
    says no-new-privileges run_ctr --rm -- nnp grep NoNewPrivs /proc/self/status
    says privileged-device run_ctr --rm --device /dev/full -- dev sh -c 'echo x >/dev/full'
    says cap run_ctr --rm --cap-add CAP_NET_ADMIN -- cap grep CapEff /proc/self/status
}

scenario_oom() {
    run_ctr -d --memory-limit 16777216 -- hungry sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' >/dev/null 2>&1
    eventually 60 is hungry STOPPED
    says code sh -c 'ctr task rm hungry 2>&1 | grep -o "code [0-9]*"'
    ctr container rm hungry
}

scenario_events() {
    listen "$WORK/events"
    run_ctr --rm -- seen true
    heard "$WORK/events" /tasks/delete
    says order sh -c "awk '{ print \$6 }' '$WORK/events' | grep /tasks/"
}

scenario_hooks() {
    mkdir -p "$WORK/hooked"
    # A spec of one's own: what ctr would write, with hooks.
    run_ctr -d -- model sleep 1000
    ctr container info --spec model >"$WORK/spec.json"
    remove model
    python3 - "$WORK/spec.json" "$WORK/hooked" <<'PY'
import json, sys
path, where = sys.argv[1:]
spec = json.load(open(path))
spec["process"]["args"] = ["true"]
spec["linux"]["cgroupsPath"] = "/test/hooked"
spec["root"]["path"] = path.replace("spec.json", "rootfs")
kinds = ["createRuntime", "poststop"]
spec["hooks"] = {k: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >{where}/{k}"]}] for k in kinds}
json.dump(spec, open(path, "w"))
PY
    says run ctr run --rm --runc-binary "$RUNTIME" --config "$WORK/spec.json" hooked
    says hooks ls "$WORK/hooked"
    says statuses sh -c "sed 's/.*\"status\": *\"\([a-z]*\)\".*/\1/' '$WORK/hooked/'*"
}

scenario_tty() {
    # script shows the end of its input as ^@, sooner or later.
    says tty sh -c "script -qec \"ctr run --rm --tty --env PATH=/bin --runc-binary $RUNTIME --rootfs $WORK/rootfs tty sh -c 'tty; stty size'\" /dev/null | tr -d '^@' | grep '[a-z]'"
    run_ctr -d -- host sleep 1000
    says exec-tty sh -c 'script -qec "ctr task exec --tty --exec-id t host tty" /dev/null | grep -v "resize pty" | tr -d "^@" | grep "[a-z]"'
    remove host
}

scenario_userns() {
    mkdir -p "$WORK/mapped"
    tar -C "$WORK/mapped" -xf "$(box_tar)"
    chown -R 200000:200000 "$WORK/mapped"
    says mapped ctr run --rm --runc-binary "$RUNTIME" --uidmap 0:200000:65536 --gidmap 0:200000:65536 \
        --env PATH=/bin --rootfs "$WORK/mapped" mapped sh -c 'id -u; tr -s " " </proc/self/uid_map'
}

scenario_many() {
    local n pids=()
    for n in $(seq 20); do
        run_ctr --rm -- "many$n" echo "from $n" >"$WORK/many.$n" 2>&1 &
        pids[n]=$!
    done
    for n in $(seq 20); do wait "${pids[n]}" || echo "container $n failed"; done
    says all sh -c "cat $WORK/many.* | sort -V"
    says nothing-left ctr container ls -q
}

scenario_restart() {
    run_ctr -d -- kept sh -c 'while ! test -e /go; do usleep 50000; done; exit 4'
    eventually 60 is kept RUNNING
    kill_containerd containerd-engine
    start_containerd containerd-engine
    says after task_status kept
    says exec ctr task exec --exec-id go kept touch /go
    eventually 60 is kept STOPPED
    says stopped task_status kept
    says code sh -c 'ctr task rm kept 2>&1 | grep -o "code [0-9]*"'
    ctr container rm kept
    rm -f "$WORK/rootfs/go"
}

stop_engine() { pkill -f "containerd --config $WORK/containerd-engine.toml"; }
