# containerd's shims: ours where containerd's own was, by containerd's own client.  RUNTIME is the shim's binary.
# Sourced by `inside`, after lib.sh.
# shellcheck shell=bash disable=SC2016,SC2034,SC2317,SC2329
# (functions are called by name; what stands in single quotes is for the shell inside)

needs_shim="containerd ip busybox runc python3 script mmdebstrap jq"
# What is under test and compared with, in place of runtimes: `run` reads this.
runtime_shim="containerd-shim-orlop-v2"
with_shim="containerd-shim-runc-v2"
# What containerd's own shim fails at, in one version or another (figures and OOM on hybrid cgroups, ctr's own options, a logger's
# standard error, descriptors after execs side by side, an exec beside another container's hook): each line must be a success,
# whatever the other side did.
beyond_shim="metrics oom userns logger execs hooks sequential_execs killed_midway"
# How ctr is told what is under test.
CTR_FLAG=--runtime

# By its full name, as who replaces it has it.
mkdir -p "$WORK/bin"
ln -sf "$RUNTIME" "$WORK/bin/containerd-shim-runc-v2"
PATH=$WORK/bin:$PATH

pid_of() { ctr task ls | awk -v id="$1" '$1 == id { print $2 }'; }
# The shim is the parent of the container's first process.
shim_of() { awk '/^PPid/ { print $2 }' "/proc/$(pid_of "$1")/status"; }
shims() { pgrep -cf -- "-namespace test -id" || :; }

scenario_run() {
    says hello run_ctr --rm -- hello echo hello
    says status run_ctr --rm -- code sh -c 'exit 7'
    says both-streams bash -c 'run_ctr --rm -- streams sh -c "echo out; echo err >&2" 2>&1 | sort'
    says stdin sh -c "(sleep 1; echo typed) | ctr run --rm --runtime $RUNTIME --rootfs $WORK/rootfs in /bin/cat"
    says killed run_ctr --rm -- killed sh -c 'kill -9 $$'
    says env run_ctr --rm --env A=b --cwd /tmp -- env sh -c 'echo $A $PWD'
    says host-pids run_ctr --rm --privileged -- priv sh -c 'echo here'
    status missing run_ctr --rm -- missing no-such-command
    ctr container rm missing 2>/dev/null
    status not-executable run_ctr --rm -- noexec /bin/not-executable
    ctr container rm noexec 2>/dev/null
    says read-only run_ctr --rm --read-only -- ro touch /x
    says net-host run_ctr --rm --net-host -- net sh -c 'echo $(ls /sys/class/net)'
    says nothing-left ctr container ls -q
    eventually 60 no_shims
    says shims shims
    says mounts sh -c 'grep -c /rootfs /proc/self/mounts'
}
no_shims() { [ "$(shims)" = 0 ]; }
# Of those that should not be there any more: which they are, and what they are at.
tell_shims() {
    local pid
    for pid in $(pgrep -f -- "-namespace test -id"); do
        tr '\0' ' ' <"/proc/$pid/cmdline"
        grep -e PPid -e Threads "/proc/$pid/status" | tr '\n\t' '  '
        cat "/proc/$pid"/task/*/wchan
        echo
        pgrep -P "$pid" -a
        ls -l "/proc/$pid/fd"
    done >&2
}

scenario_image() {
    status import import_box
    says run ctr run --rm --snapshotter native --runtime "$RUNTIME" docker.io/library/box:latest imaged /bin/echo from an image
    says overlay sh -c "ctr run --rm --snapshotter overlayfs --runtime $RUNTIME docker.io/library/box:latest layered /bin/grep -c 'overlay / ' /proc/mounts"
    says mounts sh -c 'grep -c "/rootfs overlay" /proc/self/mounts'
}
import_box() {
    mkdir -p "$WORK/image"
    image_tar "$WORK/image/box.tar" && ctr image import --no-unpack "$WORK/image/box.tar"
}

scenario_task() {
    status run run_ctr -d -- one sh -c 'trap "exit 9" TERM; while :; do usleep 20000; done'
    eventually 60 is one RUNNING
    says ls task_status one
    says exec ctr task exec --exec-id e1 one echo from exec
    says exec-status ctr task exec --exec-id e2 one sh -c 'exit 5'
    says exec-stdin sh -c '(sleep 1; echo typed) | ctr task exec --exec-id e5 one cat'
    says exec-again ctr task exec --exec-id e1 one echo the id is free again
    status exec-missing ctr task exec --exec-id e3 one no-such-command
    says exec-user ctr task exec --user 1000 --cwd /tmp --exec-id e6 one sh -c 'id -u; pwd'
    says ps sh -c 'ctr task ps one | tail -n +2 | grep -q . && echo some'
    status pause ctr task pause one
    says paused task_status one
    status exec-paused ctr task exec --exec-id e4 one true
    status resume ctr task resume one
    says resumed task_status one
    status rm-running ctr task rm one
    status kill ctr task kill -s TERM one
    eventually 60 is one STOPPED
    says stopped task_status one
    status kill-stopped ctr task kill one
    status exec-stopped ctr task exec --exec-id e7 one true
    says rm ctr task rm one
    says nothing-left ctr task ls -q
    ctr container rm one
}

# What a client is told of what cannot be run: engines look for words in it.
scenario_words() {
    run_ctr -d -- words sleep 1000
    refused missing no-such-command
    refused missing-path /no/such/command
    refused not-executable /bin/not-executable
    refused directory /tmp
    refused cwd-is-a-file --cwd /etc/passwd true
    remove words
}
# refused NAME [FLAG VALUE] COMMAND: as the program of a container, and in one.
refused() {
    local name=$1 flags=()
    shift
    while [ $# -gt 1 ]; do flags+=("$1" "$2"); shift 2; done
    says "run-$name" words_of "$1" run_ctr --rm "${flags[@]}" -- "not-$name" "$@"
    ctr container rm "not-$name" >/dev/null 2>&1
    says "exec-$name" words_of "$1" ctr task exec "${flags[@]}" --exec-id "x-$name" words "$@"
}
# words_of PROGRAM COMMAND...: of what it prints, the words that engines look for (docs/compat.md), and the program's name.
words_of() {
    local program=$1 status=0 out
    shift
    out=$("$@" 2>&1) || status=$?
    grep -oE -e 'OCI runtime (create|exec) failed|exec failed: unable|unable to start container process|executable file not found|permission denied' \
        -e 'no such file or directory|not a directory' -e "exec: \"$program\"" <<<"$out"
    return "$status"
}

scenario_metrics() {
    run_ctr -d --memory-limit 33554432 -- counted sleep 1000
    # The names of what is counted, and the values that are known.
    ctr task metrics --format json counted >"$WORK/metrics"
    says pids jq -e '.pids.current == 1' "$WORK/metrics"
    says limit sh -c "jq '.. | .limit? // empty' $WORK/metrics | grep -q -x 33554432"
    says usage jq -e '.memory.usage.usage > 0 and .cpu.usage.total > 0' "$WORK/metrics"
    says ps sh -c 'ctr task ps counted | grep -q "$(ctr task ls | awk "/counted/ { print \$2 }")"'
    remove counted
}

scenario_limits() {
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
    listen "$WORK/oom.events"
    # At once: an event that comes right after the start is told as well.
    run_ctr -d --memory-limit 16777216 -- hungry sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' >/dev/null 2>&1
    eventually 60 is hungry STOPPED
    heard "$WORK/oom.events" /tasks/oom
    says code sh -c 'ctr task rm hungry 2>&1 | grep -o "code [0-9]*"'
    says event grep -q '/tasks/oom' "$WORK/oom.events"
    ctr container rm hungry
}

scenario_events() {
    listen "$WORK/events"
    run_ctr --rm -- seen true
    run_ctr -d -- more sleep 1000
    ctr task exec --exec-id e1 more true
    ctr task pause more
    ctr task resume more
    remove more
    heard "$WORK/events" '/tasks/delete.*"more"'
    says order sh -c "awk '{ print \$6 }' '$WORK/events' | grep /tasks/"
    says content sh -c "grep -e /tasks/exit -e /tasks/delete -e /tasks/exec '$WORK/events' | grep -o '{.*' | jq -cS 'del(.pid, .exited_at)'"
}

scenario_tty() {
    # containerd's own shim loses the last words of a terminal whose process ends at once.
    says tty sh -c "script -qec \"ctr run --rm --tty --env PATH=/bin --runtime $RUNTIME --rootfs $WORK/rootfs tty sh -c 'tty; stty size; sleep 1'\" /dev/null | tr -d '^@'"
    says much sh -c "script -qec \"ctr run --rm --tty --env PATH=/bin --runtime $RUNTIME --rootfs $WORK/rootfs much seq 20000\" /dev/null | tr -dc '0-9\\n' | md5sum"
    run_ctr -d -- host sleep 1000
    says exec-tty sh -c 'script -qec "ctr task exec --tty --exec-id t host tty" /dev/null | grep -v "resize pty" | tr -dc "a-z0-9/"'
    remove host
}

scenario_userns() {
    # With options of a type that containerd's own shim does not know.
    import_box >/dev/null
    says mapped ctr run --rm --runtime "$RUNTIME" --snapshotter native --uidmap 0:200000:65536 --gidmap 0:200000:65536 \
        docker.io/library/box:latest mapped /bin/sh -c 'grep -q 200000 /proc/self/uid_map && echo x >/dev/stdout'
}

scenario_output() {
    says much sh -c "ctr run --rm --runtime $RUNTIME --env PATH=/bin --rootfs $WORK/rootfs seq seq 300000 | md5sum"
    says slow sh -c "ctr run --rm --runtime $RUNTIME --env PATH=/bin --rootfs $WORK/rootfs slow seq 100000 | (sleep 1; md5sum)"
    says stdout-again run_ctr --rm -- again sh -c 'echo x >/dev/stdout'
    says stderr-again run_ctr --rm -- again sh -c 'echo y >/proc/self/fd/2'
    # A file in place of the client.
    run_ctr -d --log-uri "file://$WORK/log.file" -- filed sh -c 'echo out; echo err >&2'
    eventually 60 is filed STOPPED
    says file sort "$WORK/log.file"
    remove filed
}

scenario_logger() {
    # What the process writes to standard error arrives too, and so does its last line.
    cat >"$WORK/logger" <<'SH'
#!/bin/sh
exec 5>&-
exec >"$1" 2>&1
echo "$CONTAINER_ID $CONTAINER_NAMESPACE"
cat <&3
cat <&4
SH
    chmod 755 "$WORK/logger"
    run_ctr -d --log-uri "binary://$WORK/logger?$WORK/log.binary" -- logged sh -c 'echo out; echo err >&2'
    eventually 60 is logged STOPPED
    eventually 60 grep -q err "$WORK/log.binary"
    says binary sh -c "sort $WORK/log.binary | tr '\n' ' ' | grep -x 'err logged test out '"
    remove logged
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

scenario_execs() {
    run_ctr -d -- busy sleep 1000
    local n m shim before
    shim=$(shim_of busy)
    before=$(find "/proc/$shim/fd" | wc -l)
    for n in 1 2 3; do
        (
            for m in $(seq 10); do ctr task exec --exec-id "x$n-$m" busy true & done
            wait
        )
    done
    says descriptors test "$(find "/proc/$shim/fd" | wc -l)" -le $((before + 1))
    says no-zombies sh -c "! pgrep -P $shim -r Z"
    remove busy
}

scenario_pod() {
    run_ctr -d --annotation io.kubernetes.cri.sandbox-id=pod1 -- pod1 sleep 1000
    run_ctr -d --annotation io.kubernetes.cri.sandbox-id=pod1 -- pod1-a sleep 1000
    run_ctr -d --annotation io.kubernetes.cri.sandbox-id=pod1 -- pod1-b sh -c 'exit 3'
    says one-shim test "$(shim_of pod1)" = "$(shim_of pod1-a)"
    says shims shims
    eventually 60 is pod1-b STOPPED
    # The first goes, the shim stays for the others.
    remove pod1
    says others sh -c 'ctr task exec --exec-id e pod1-a echo still here'
    remove pod1-a
    remove pod1-b
    eventually 60 no_shims
    says gone shims
}

# A hook that takes long holds up its own container, and no other of the pod.
scenario_hooks() {
    mkdir -p "$WORK/hooked"
    run_ctr -d --annotation io.kubernetes.cri.sandbox-id=pod2 -- pod2 sleep 1000
    ctr container info --spec pod2 >"$WORK/hooked/spec.json"
    local kind
    for kind in createRuntime poststart poststop; do
        # A spec of one's own: what ctr would write, with a hook that waits for a file.
        jq --arg go "$WORK/hooked/go-$kind" --arg kind "$kind" --arg root "$WORK/rootfs" '
            .process.args = ["sh", "-c", "exit 3"] | .linux.cgroupsPath = "/test/slow" | .root.path = $root |
            .hooks = {($kind): [{path: "/bin/sh", args: ["sh", "-c", "touch \($go).here; while [ ! -e \($go) ]; do sleep 0.05; done"]}]}
            ' "$WORK/hooked/spec.json" >"$WORK/hooked/$kind.json"
        bounded ctr run --rm --runtime "$RUNTIME" --config "$WORK/hooked/$kind.json" slow >"$WORK/hooked/out" 2>&1 </dev/null &
        local slow=$!
        eventually 60 test -e "$WORK/hooked/go-$kind.here"
        says "$kind-exec" ctr task exec --exec-id "e-$kind" pod2 echo not held up
        says "$kind-run" run_ctr --rm --annotation io.kubernetes.cri.sandbox-id=pod2 -- "quick-$kind" echo not held up
        says "$kind-list" sh -c 'ctr task ls | grep -c pod2'
        says "$kind-pause" sh -c 'ctr task pause pod2 && ctr task resume pod2'
        touch "$WORK/hooked/go-$kind"
        wait "$slow"
        says "$kind-code" test $? = 3
    done
    remove pod2
    eventually 60 no_shims
    says shims shims
}

scenario_restart() {
    local ended
    run_ctr -d -- kept sh -c 'while ! test -e /go; do usleep 50000; done; exit 4'
    run_ctr -d -- ended sh -c 'while ! test -e /end; do usleep 50000; done; exit 6'
    eventually 60 is kept RUNNING
    ended=$(pid_of ended)
    kill_containerd containerd-engine
    touch "$WORK/rootfs/end"
    eventually 60 sh -c "! kill -0 $ended"
    start_containerd containerd-engine
    says after task_status kept
    says ended-meanwhile task_status ended
    says ended-code sh -c 'ctr task rm ended 2>&1 | grep -o "code [0-9]*"'
    kill_containerd containerd-engine
    start_containerd containerd-engine
    says exec ctr task exec --exec-id go kept touch /go
    eventually 60 is kept STOPPED
    says stopped task_status kept
    says code sh -c 'ctr task rm kept 2>&1 | grep -o "code [0-9]*"'
    ctr container rm kept
    ctr container rm ended
    rm -f "$WORK/rootfs/go" "$WORK/rootfs/end"
}

# Private memory of the shim, KiB.
uss() { awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$1/smaps_rollup"; }

# settled PID: waits until that does not change any more: what is free is given back when nothing has happened for two seconds.
settled() {
    local was='' now try
    for try in $(seq 20); do
        now=$(uss "$1")
        [ "$now" != "$was" ] || return 0
        was=$now
        sleep 4
    done
}

# ORLOP_EXECS of them, one after another: 1000 by hand.
scenario_sequential_execs() {
    run_ctr -d -- busy sleep 1000
    local n shim before memory
    shim=$(shim_of busy)
    for n in 1 2 3 4 5; do ctr task exec --exec-id "warm$n" busy true; done
    settled "$shim"
    before=$(find "/proc/$shim/fd" | wc -l) memory=$(uss "$shim")
    for n in $(seq "${ORLOP_EXECS:-15}"); do ctr task exec --exec-id "x$n" busy true || echo "exec $n failed"; done
    settled "$shim"
    echo "private memory before $memory KiB, after $(uss "$shim") KiB, ${ORLOP_EXECS:-15} execs" >&2
    says descriptors test "$(find "/proc/$shim/fd" | wc -l)" -le "$before"
    says memory test "$(uss "$shim")" -le $((memory * 110 / 100))
    says no-zombies sh -c "! pgrep -P $shim -r Z"
    remove busy
}

# ORLOP_CROWD containers in a pod: 200 by hand.
scenario_crowd() {
    local n crowd=${ORLOP_CROWD:-10}
    for n in $(seq "$crowd"); do run_ctr -d --annotation io.kubernetes.cri.sandbox-id=crowd -- "crowd$n" sleep 1000; done
    says shims shims
    says running test "$(ctr task ls | grep -c RUNNING)" = "$crowd"
    says first ctr task exec --exec-id e crowd1 echo first
    says last ctr task exec --exec-id e "crowd$crowd" echo last
    for n in $(seq "$crowd"); do remove "crowd$n"; done
    eventually 60 no_shims
    says gone shims
    says groups sh -c '! find /sys/fs/cgroup -type d -name "crowd*" | grep .'
}

scenario_fifos() {
    # Nobody reads: the process waits, and goes on for who comes, goes, and comes again.
    # ctr may hear the first words while it starts the process.
    run_ctr -d -- talker sh -c 'n=0; while :; do n=$((n+1)); echo line $n; usleep 2000; done' >/dev/null
    says heard bash -c 'hears_lines talker'
    says heard-again bash -c 'hears_lines talker'
    says still task_status talker
    remove talker
    # The process does not want its input any more; the client writes on.
    says half-closed bash -c 'yes | ctr run --rm --runtime "$RUNTIME" --env PATH=/bin --rootfs "$WORK/rootfs" half sh -c "head -n 1; exec <&-; usleep 300000; echo alive"'
}
hears_lines() {
    local lines
    exec {lines}< <(exec ctr task attach "$1" 2>/dev/null)
    grep -m 3 -c '^line [0-9]*' <&$lines
    # It takes no broken pipe for a reason to end.
    kill -9 $!
}

# containerd killed while it creates containers and starts execs, ORLOP_KILLS times at times of chance: nothing is lost, or left.
scenario_killed_midway() {
    local round n id pids
    for round in $(seq "${ORLOP_KILLS:-3}"); do
        run_ctr -d -- "steady$round" sleep 9876
        pids=()
        for n in 1 2 3; do
            bounded run_ctr -d -- "half$round-$n" sleep 9876 >/dev/null 2>&1 &
            pids+=($!)
            bounded ctr task exec --exec-id "e$n" "steady$round" true >/dev/null 2>&1 &
            pids+=($!)
        done
        sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
        kill_containerd containerd-engine
        wait "${pids[@]}"
        start_containerd containerd-engine
        says "steady-$round" is "steady$round" RUNNING
        says "exec-$round" ctr task exec --exec-id again "steady$round" echo works
    done
    for id in $(ctr container ls -q) $(ctr task ls -q); do
        remove "$id" >/dev/null 2>&1
    done
    # containerd 1.6 keeps a shim that it was about to make a container in; started anew, it removes the bundle without a word.
    kill_containerd containerd-engine
    start_containerd containerd-engine
    eventually 60 no_shims || tell_shims
    says shims test "$(shims)" = 0
    says tasks test -z "$(ctr task ls -q)"
    says containers test -z "$(ctr container ls -q)"
    says processes sh -c '! pgrep -x -f "sleep 9876"'
    says groups sh -c '! find /sys/fs/cgroup -type d -name "steady*" -o -type d -name "half*" | grep .'
    says mounts sh -c '! grep /rootfs /proc/self/mounts'
}

scenario_shim_killed() {
    run_ctr -d -- orphan sleep 1000
    local pid
    pid=$(pid_of orphan)
    kill -9 "$(shim_of orphan)"
    eventually 60 sh -c "! kill -0 $pid"
    says process-gone sh -c "kill -0 $pid 2>&1 | grep -o 'No such process'"
    eventually 60 gone orphan
    says task ctr task ls -q
    says container ctr container rm orphan
    says cgroups sh -c 'find /sys/fs/cgroup -name orphan'
    says again run_ctr --rm -- orphan echo the id is free again
}
gone() { [ -z "$(task_status "$1")" ]; }

# What works with a CRIU only, which `run` puts on the PATH where one works.
scenario_checkpoint() {
    criu check >/dev/null 2>&1 || { echo "skipped: no CRIU works here"; return; }
    mkdir -p "$WORK/image"
    image_tar "$WORK/image/frozen.tar"
    ctr image import --no-unpack "$WORK/image/frozen.tar" >/dev/null
    listen "$WORK/checkpoint.events"
    # By name: options of the runtime are sent to this one alone.
    ctr run -d --runtime io.containerd.runc.v2 --snapshotter native docker.io/library/box:latest frozen \
        /bin/sh -c 'n=0; while :; do n=$((n + 1)); echo $n >/tmp/n; usleep 20000; done' >/dev/null
    eventually 60 is frozen RUNNING
    BOUND=60
    says stays ctr task checkpoint --image-path "$WORK/image/stays" frozen
    says running task_status frozen
    says goes-on ctr task exec --exec-id e1 frozen /bin/sh -c 'n=; until [ "$n" ]; do n=$(cat /tmp/n); done; for i in $(seq 200); do usleep 100000; [ "$(cat /tmp/n)" -gt $n ] 2>/dev/null && exec echo counts; done'
    says images sh -c "ls $WORK/image/stays | grep -c -e inventory.img -e core-1.img"
    says exits ctr task checkpoint --exit --image-path "$WORK/image/exits" --work-path "$WORK/image/work" frozen
    eventually 60 is frozen STOPPED
    says stopped task_status frozen
    says log sh -c "ls $WORK/image/work | grep dump.log"
    status checkpoint-stopped ctr task checkpoint frozen
    says code sh -c 'ctr task rm frozen 2>&1 | grep -o "code [0-9]*"'
    heard "$WORK/checkpoint.events" '/tasks/exit.*"id":"frozen"'
    # containerd's own does not tell of checkpoints.
    says events sh -c "awk '{ print \$6 }' '$WORK/checkpoint.events' | grep /tasks/ | grep -v checkpointed"
    ctr container rm frozen
}

scenario_restore() {
    criu check >/dev/null 2>&1 || { echo "skipped: no CRIU works here"; return; }
    mkdir -p "$WORK/image"
    image_tar "$WORK/image/moved.tar"
    ctr image import --no-unpack "$WORK/image/moved.tar" >/dev/null
    ctr run -d --runtime io.containerd.runc.v2 --snapshotter native docker.io/library/box:latest moved \
        /bin/sh -c 'n=0; while [ ! -e /tmp/end ]; do n=$((n + 1)); echo $n >/tmp/n; usleep 20000; done; exit 5' >/dev/null
    eventually 60 is moved RUNNING
    eventually 60 ctr task exec --exec-id w moved /bin/sh -c '[ "$(cat /tmp/n)" -gt 20 ] 2>/dev/null'
    BOUND=60
    says checkpoint ctr container checkpoint --task --rw --image moved docker.io/library/kept:1
    remove moved
    says restore ctr container restore --rw --live again docker.io/library/kept:1
    eventually 60 is again RUNNING
    says running task_status again
    # The counter goes on where it was: it does not begin anew.
    says counter ctr task exec --exec-id e1 again /bin/sh -c 'n=; until [ "$n" ]; do n=$(cat /tmp/n); done; [ "$n" -gt 20 ] && echo more than at the beginning'
    says counts ctr task exec --exec-id e2 again /bin/sh -c 'n=; until [ "$n" ]; do n=$(cat /tmp/n); done; for i in $(seq 200); do usleep 100000; [ "$(cat /tmp/n)" -gt $n ] 2>/dev/null && exec echo counts; done'
    status pause ctr task pause again
    status resume ctr task resume again
    status end ctr task exec --exec-id e3 again /bin/touch /tmp/end
    eventually 60 is again STOPPED
    says code sh -c 'ctr task rm again 2>&1 | grep -o "code [0-9]*"'
    ctr container rm again
    # Without images there is nothing to restore.
    eventually 60 no_shims
    says shims shims
}

stop_engine() { pkill -f "containerd --config $WORK/containerd-engine.toml"; }
