# Docker with the shim under test in place of containerd's own.  RUNTIME is the shim's binary.
# Docker 20.10 takes no other name than io.containerd.runc.v2 (and runtimes of its configuration, which it runs by that shim), so
# the shim is installed under the file name that belongs to it.
# Sourced by `inside`, after lib.sh.
# shellcheck shell=bash disable=SC2016,SC2034,SC2317,SC2329
# (functions are called by name; what stands in single quotes is for the shell inside)

# shellcheck source=conformance/engines/docker.sh
. "$(dirname "${BASH_SOURCE[0]}")/docker.sh"
needs_docker_shim="dockerd containerd docker iptables ip busybox mmdebstrap runc"
runtime_docker_shim="containerd-shim-orlop-v2"
with_docker_shim="containerd-shim-runc-v2"

start_engine() {
    mkdir -p "$WORK/bin"
    cp "$RUNTIME" "$WORK/bin/containerd-shim-runc-v2"
    export PATH=$WORK/bin:$PATH
    start_containerd docker-containerd
    RUNTIME=$(command -v runc) start_daemon
    docker import --change 'CMD ["sh"]' "$(box_tar)" box >/dev/null
}

box() { docker run --runtime io.containerd.runc.v2 "$@"; }
shims() { pgrep -c containerd-shim || :; }
no_shims() { [ "$(shims)" = 0 ]; }

scenario_run() {
    says hello box --rm box echo hello
    says code box --rm box sh -c 'exit 7'
    says stdin sh -c 'echo words | /usr/bin/docker run --rm -i --runtime io.containerd.runc.v2 box cat'
    says tty box --rm -t box tty
    status missing box --rm box no-such-command
    eventually 60 no_shims
    says shims-left shims
}

scenario_life() {
    box -d --name one box sh -c 'echo logged; trap "exit 9" TERM; while :; do sleep 0.1; done' >/dev/null
    says shims shims
    says exec docker exec one sh -c 'echo in; exit 3'
    status exec-missing docker exec one no-such-command
    says logs docker logs one
    says stats sh -c '/usr/bin/docker stats --no-stream --format "{{.PIDs}}" one | grep -c "^[12]$"'
    status pause docker pause one
    says paused inspect '{{.State.Paused}}' one
    status unpause docker unpause one
    status update docker update --memory 64m --memory-swap 64m one
    status restart docker restart -t 3 one
    says running inspect '{{.State.Running}}' one
    status stop docker stop -t 3 one
    says code inspect '{{.State.ExitCode}}' one
    says rm docker rm one
    eventually 60 no_shims
    says shims-left shims
}

scenario_oom() {
    box --name hungry --memory 16m --memory-swap 16m box sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' >/dev/null 2>&1
    says killed inspect '{{.State.OOMKilled}} {{.State.ExitCode}}' hungry
    docker rm hungry >/dev/null
}
