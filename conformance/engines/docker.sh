# What people do with Docker.  Each function scenario_NAME prints a transcript: the same, whatever the runtime.
# Sourced by `inside`, after lib.sh.
# shellcheck shell=bash disable=SC2016,SC2034,SC2317,SC2329
# (functions are called by name; what stands in single quotes is for the shell inside)

needs_docker="dockerd containerd docker docker-compose docker-registry iptables ip busybox mmdebstrap curl script"
export DOCKER_HOST=unix:///run/docker.sock COMPOSE_PROJECT_NAME=shop DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false

# Debian's client, of the daemon's own version, whatever else there is on the PATH.
docker() { /usr/bin/docker "$@"; }

# start_daemon [JSON members]: a dockerd whose default runtime is the one under test.
start_daemon() {
    cat >"$WORK/daemon.json" <<JSON
{
  "runtimes": { "under-test": { "path": "$RUNTIME" } }, "default-runtime": "under-test",
  "storage-driver": "overlay2", "containerd": "/run/docker-containerd/containerd.sock",
  "data-root": "$WORK/docker", "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
  "hosts": ["$DOCKER_HOST"], "oom-score-adjust": 0, "insecure-registries": ["127.0.0.1:5000"],
  "shutdown-timeout": 3 ${1:+, $1}
}
JSON
    dockerd --config-file "$WORK/daemon.json" >>"$WORK/dockerd.log" 2>&1 &
    DAEMON=$!
    eventually 60 docker version || { tail -30 "$WORK/dockerd.log" >&2; return 1; }
}

start_engine() {
    start_containerd docker-containerd
    start_daemon
    docker import --change 'CMD ["sh"]' "$(box_tar)" box >/dev/null
    docker import --change 'CMD ["bash"]' "$(debian_tar)" debian >/dev/null
}

stop_engine() { stop_docker; }

stop_docker() {
    kill "$DAEMON"
    eventually 60 sh -c "! kill -0 $DAEMON"
}

inspect() { /usr/bin/docker inspect --format "$@"; }
running() { [ "$(inspect '{{.State.Running}}' "$1")" = true ]; }
stopped() { [ "$(inspect '{{.State.Running}}' "$1")" = false ]; }
answers() { curl -sS --max-time 3 "$1"; }

scenario_run() {
    says hello docker run --rm box echo hello
    says stdin sh -c 'echo words | /usr/bin/docker run --rm -i box cat'
    says both-streams docker run --rm box sh -c 'echo out; sleep 0.3; echo err >&2'
    says tty docker run --rm -t box sh -c 'test -t 0 && tty'
    says env docker run --rm -e A=b -w /tmp -h inside box sh -c 'echo $A $PWD $HOSTNAME $HOME'
    says user docker run --rm --user web box id
    says big-output sh -c '/usr/bin/docker run --rm box sh -c "seq 200000" | cksum'
}

scenario_exit_codes() {
    for code in 0 1 3 125 255; do
        status "exit $code" docker run --rm box sh -c "exit $code"
    done
    status signal docker run --rm --init box sh -c 'kill -9 $$'
    status missing docker run --rm box no-such-command
    status missing-path docker run --rm box /no/such/command
    status not-executable docker run --rm box /bin/not-executable
    status directory docker run --rm box /etc
    status bad-workdir docker run --rm -w /etc/passwd box true
    says directory-on-file sh -c '/usr/bin/docker run --rm -v /var:/etc/passwd box true 2>&1 | grep -o "Are you trying to mount a directory onto a file"'
    status directory-on-file docker run --rm -v /var:/etc/passwd box true
    docker run --name gone box no-such-command >/dev/null 2>&1
    says state inspect '{{.State.Status}} {{.State.ExitCode}}' gone
    docker rm gone >/dev/null
    says nothing-left docker ps -aq
}

scenario_detached() {
    status run docker run --name=ubuntu_test -itd --rm debian
    says ps docker ps --format '{{.Names}} {{.Image}} {{.Command}}'
    says exec docker exec ubuntu_test cat /etc/hostname
    says exec-status docker exec ubuntu_test bash -c 'exit 42'
    status exec-missing docker exec ubuntu_test no-such-command
    says exec-tty docker exec -t ubuntu_test tty
    says exec-user docker exec -u 33:33 -w /tmp -e X=y ubuntu_test bash -c 'id -u; pwd; echo $X'
    says exec-detached docker exec -d ubuntu_test touch /tmp/was-here
    eventually 60 docker exec ubuntu_test test -e /tmp/was-here
    says exec-seen docker exec ubuntu_test ls /tmp/was-here
    says exec-stdin sh -c 'echo through | /usr/bin/docker exec -i ubuntu_test cat'
    status stop docker stop -t 1 ubuntu_test
    eventually 60 sh -c '! /usr/bin/docker inspect ubuntu_test'
    says gone docker ps -aq
}

scenario_lifecycle() {
    status create docker create --name one box sh -c 'trap "echo bye; exit 7" TERM; echo up; while :; do sleep 0.1; done'
    says created inspect '{{.State.Status}}' one
    status start docker start one
    eventually 60 sh -c '/usr/bin/docker logs one | grep -q up'
    says running inspect '{{.State.Status}} {{.State.ExitCode}}' one
    says attach sh -c '(sleep 0.7; /usr/bin/docker kill -s TERM one >/dev/null) & /usr/bin/docker attach --no-stdin one'
    says wait docker wait one
    says logs docker logs one
    status restart docker restart one
    eventually 60 running one
    status stop docker stop -t 3 one
    says stopped inspect '{{.State.Status}} {{.State.ExitCode}}' one
    status start-again docker start one
    status kill docker kill one
    eventually 60 stopped one
    says killed inspect '{{.State.ExitCode}} {{.State.OOMKilled}}' one
    status rename docker rename one two
    status rm docker rm two
    says nothing-left docker ps -aq
}

scenario_attach() {
    docker create -i --name chat box cat >/dev/null
    says start-attached sh -c 'echo to the container | /usr/bin/docker start -ai chat'
    eventually 60 stopped chat
    says ended inspect '{{.State.ExitCode}}' chat
    docker rm chat >/dev/null
    docker run --name=line -itd box sh -c 'read word; echo "got $word"' >/dev/null
    says attach-tty sh -c '(sleep 0.5; echo words; sleep 2) | script -qec "/usr/bin/docker attach line" /dev/null | grep -o "got words"'
    eventually 60 stopped line
    says tty-ended inspect '{{.State.ExitCode}}' line
    docker rm line >/dev/null
    docker run --name=left -itd box sh >/dev/null
    says detach sh -c '(sleep 0.5; printf "\020\021"; sleep 1) | script -qec "/usr/bin/docker attach left" /dev/null | grep -c "read escape sequence"'
    says runs-on inspect '{{.State.Running}}' left
    docker rm -f left >/dev/null
}

scenario_restart_policy() {
    docker run -d --name again --restart on-failure:2 box sh -c 'echo try; exit 5' >/dev/null
    eventually 60 sh -c '[ "$(/usr/bin/docker inspect --format "{{.State.Running}} {{.RestartCount}}" again)" = "false 2" ]'
    says ended inspect '{{.RestartCount}} {{.State.ExitCode}}' again
    says logs docker logs again
    docker rm -f again >/dev/null
    docker run -d --name always --restart always box sleep 1000 >/dev/null
    kill -9 "$(inspect '{{.State.Pid}}' always)"
    eventually 60 sh -c '[ "$(/usr/bin/docker inspect --format "{{.State.Running}} {{.RestartCount}}" always)" = "true 1" ]'
    says back inspect '{{.State.Running}} {{.RestartCount}}' always
    docker rm -f always >/dev/null
    docker run -d --name until --restart unless-stopped box sleep 1000 >/dev/null
    status stop docker stop -t 0 until
    sleep 0.5
    says stays inspect '{{.State.Running}} {{.RestartCount}}' until
    docker rm -f until >/dev/null
}

scenario_look() {
    docker run -d --name looked --memory 64m --pids-limit 50 box sh -c 'sleep 1000 & sleep 1000' >/dev/null
    says top sh -c '/usr/bin/docker top looked -o pid,comm | sed "s/^ *[0-9]* */N /" | sort'
    says stats sh -c '/usr/bin/docker stats --no-stream --format "{{.Name}} {{.MemUsage}} {{.PIDs}}" looked | sed "s/ [0-9.]*[KM]iB / N /"'
    says diff sh -c '/usr/bin/docker exec looked touch /new; /usr/bin/docker diff looked | grep new'
    says cp sh -c '/usr/bin/docker cp looked:/etc/passwd - | tar -tf -'
    says port docker port looked
    docker rm -f looked >/dev/null
    says info docker info --format '{{.DefaultRuntime}}'
}

scenario_update() {
    docker run -d --name limits --memory 64m --cpus 0.5 box sleep 1000 >/dev/null
    local show='cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max'
    says before docker exec limits sh -c "$show"
    status update docker update --memory 128m --memory-swap 256m --cpus 0.25 --pids-limit 20 limits
    says after docker exec limits sh -c "$show"
    status too-small docker update --memory 1k limits
    docker rm -f limits >/dev/null
}

scenario_pause() {
    docker run -d --name still box sh -c 'while :; do echo x >>/n; usleep 1000; done' >/dev/null
    eventually 60 docker exec still test -s /n
    local file before
    file=/proc/$(inspect '{{.State.Pid}}' still)/root/n
    status pause docker pause still
    says paused inspect '{{.State.Status}} {{.State.Paused}}' still
    status exec-refused docker exec still true
    before=$(wc -c <"$file")
    sleep 0.2
    echo "stands still: $([ "$before" -eq "$(wc -c <"$file")" ] && echo yes || echo no)"
    status unpause docker unpause still
    status goes-on eventually 60 sh -c "[ \$(wc -c <$file) -gt $before ]"
    status pause docker pause still
    status rm-paused docker rm -f still
    says nothing-left docker ps -aq
}

scenario_health() {
    docker run -d --name well --health-cmd 'test -e /ok' --health-interval 300ms --health-retries 2 box sh -c 'sleep 1; touch /ok; sleep 1000' >/dev/null
    eventually 60 sh -c '[ "$(/usr/bin/docker inspect --format "{{.State.Health.Status}}" well)" = healthy ]'
    says healthy inspect '{{.State.Health.Status}}' well
    docker exec well rm /ok
    eventually 60 sh -c '[ "$(/usr/bin/docker inspect --format "{{.State.Health.Status}}" well)" = unhealthy ]'
    says unhealthy inspect '{{.State.Health.Status}}' well
    docker rm -f well >/dev/null
}

scenario_publish() {
    docker run -d --name web -p 127.0.0.1:8080:80 box httpd -f -p 80 -h /var/www >/dev/null
    eventually 60 answers http://127.0.0.1:8080/
    says answer answers http://127.0.0.1:8080/
    says port docker port web
    docker rm -f web >/dev/null
    status closed answers http://127.0.0.1:8080/
    docker run -d --name web -P --expose 80 box httpd -f -p 80 -h /var/www >/dev/null
    local port
    port=$(/usr/bin/docker port web 80 | head -1 | sed 's/.*://')
    eventually 60 answers "http://127.0.0.1:$port/"
    says any-port answers "http://127.0.0.1:$port/"
    docker rm -f web >/dev/null
}

scenario_volumes() {
    says create docker volume create data
    says write docker run --rm -v data:/srv box sh -c 'echo kept >/srv/file; cat /srv/file'
    says survives docker run --rm -v data:/srv:ro box cat /srv/file
    status read-only docker run --rm -v data:/srv:ro box touch /srv/other
    says ls docker volume ls -q
    says inspect docker volume inspect --format '{{.Name}} {{.Driver}}' data
    mkdir -p "$WORK/host"
    echo from the host >"$WORK/host/f"
    says bind docker run --rm -v "$WORK/host:/h:ro" box cat /h/f
    says tmpfs docker run --rm --tmpfs /t:size=1m box sh -c 'grep " /t " /proc/mounts | cut -d" " -f1-3'
    status in-use sh -c '/usr/bin/docker create --name holds -v data:/srv box >/dev/null; /usr/bin/docker volume rm data'
    docker rm holds >/dev/null
    says rm docker volume rm data
    docker run --rm -v /anonymous box true
    docker volume create unused >/dev/null
    says prune sh -c '/usr/bin/docker volume prune -f | grep -c .'
    says none docker volume ls -q
}

scenario_networks() {
    status create docker network create --subnet 10.231.0.0/24 back
    docker run -d --name server --network back box httpd -f -p 80 -h /var/www >/dev/null
    says by-name docker run --rm --network back box wget -q -O - http://server/
    docker run -d --name lone box sleep 1000 >/dev/null
    status not-connected docker exec lone wget -q -O - http://server/
    status connect docker network connect back lone
    says connected docker exec lone wget -q -O - http://server/
    says members sh -c '/usr/bin/docker network inspect --format "{{range .Containers}}{{println .Name}}{{end}}" back | sort'
    status disconnect docker network disconnect back lone
    status apart docker exec lone wget -q -O - http://server/
    docker rm -f lone server >/dev/null
    says rm docker network rm back
    says none docker run --rm --network none box sh -c 'ip link | grep -c ^[0-9]'
    says of-another sh -c '/usr/bin/docker run -d --name mate box sleep 1000 >/dev/null; /usr/bin/docker run --rm --network container:mate box ip -o -4 addr show dev eth0 | grep -c 172.17'
    docker rm -f mate >/dev/null
    says host-network docker run --rm --network host box ip link show lo
}

scenario_build() {
    mkdir -p "$WORK/app"
    cat >"$WORK/app/app.py" <<'PY'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("hello " + environ["PATH_INFO"] + "\n").encode()]
PY
    cat >"$WORK/app/Dockerfile" <<'DOCKERFILE'
FROM debian
WORKDIR /srv/app
COPY app.py .
RUN python3 -c "import gunicorn; print('gunicorn is there')" && mkdir /srv/data
ENV WORKERS=1
EXPOSE 8000
VOLUME /srv/data
CMD ["sh", "-c", "exec gunicorn --workers $WORKERS --bind 0.0.0.0:8000 app:application"]
DOCKERFILE
    says build sh -c "/usr/bin/docker build -q -t app '$WORK/app'"
    says failing-run sh -c "printf 'FROM box\nRUN exit 9\n' | /usr/bin/docker build -q - 2>&1 | grep -o 'non-zero code: 9'"
    docker run -d --name app -p 127.0.0.1:8000:8000 app >/dev/null
    eventually 30 answers http://127.0.0.1:8000/
    says request answers http://127.0.0.1:8000/path
    says volume docker exec app ls -d /srv/data
    status stop docker stop -t 5 app
    says code inspect '{{.State.ExitCode}}' app
    docker rm -v app >/dev/null
}

scenario_compose() {
    mkdir -p "$WORK/shop"
    cat >"$WORK/shop/docker-compose.yml" <<'YML'
version: "3"
services:
  store:
    image: box
    command: httpd -f -p 80 -h /var/www
  front:
    image: box
    command: sh -c 'while ! wget -q -O /page http://store/; do sleep 0.1; done; sleep 1000'
    depends_on: [store]
YML
    status up docker-compose -f "$WORK/shop/docker-compose.yml" up -d
    eventually 60 docker-compose -f "$WORK/shop/docker-compose.yml" exec -T front test -s /page
    says page docker-compose -f "$WORK/shop/docker-compose.yml" exec -T front cat /page
    status scale docker-compose -f "$WORK/shop/docker-compose.yml" up -d --scale store=2
    says services docker-compose -f "$WORK/shop/docker-compose.yml" ps --services
    status down docker-compose -f "$WORK/shop/docker-compose.yml" down -t 1
    says nothing-left docker ps -aq
}

scenario_registry() {
    cat >"$WORK/registry.yml" <<YML
version: 0.1
storage: { filesystem: { rootdirectory: $WORK/registry } }
http: { addr: "127.0.0.1:5000" }
YML
    docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 &
    local registry=$!
    eventually 60 answers http://127.0.0.1:5000/v2/
    docker tag box 127.0.0.1:5000/box
    status push docker push -q 127.0.0.1:5000/box
    docker rmi 127.0.0.1:5000/box >/dev/null
    status pull docker pull -q 127.0.0.1:5000/box
    says run docker run --rm 127.0.0.1:5000/box echo pulled
    kill "$registry"
}

scenario_flags() {
    says init docker run --rm --init box sh -c 'cat /proc/1/comm'
    says read-only docker run --rm --read-only --tmpfs /tmp box sh -c '{ touch /x; touch /tmp/x && echo tmp is writable; } 2>&1'
    says cap-drop docker run --rm --cap-drop ALL box sh -c 'grep Cap /proc/self/status'
    says cap-add docker run --rm --cap-drop ALL --cap-add NET_ADMIN box sh -c 'grep CapEff /proc/self/status'
    says no-new-privileges docker run --rm --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status
    says seccomp docker run --rm box sh -c '{ grep Seccomp: /proc/self/status; unshare -U true; } 2>&1'
    says seccomp-off docker run --rm --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status
    says device docker run --rm --device /dev/full box sh -c '{ ls /dev/full; echo x >/dev/full; } 2>&1'
    says device-read-only docker run --rm --device /dev/kmsg:/dev/other:r box sh -c '{ test -c /dev/other; echo x >/dev/other; } 2>&1'
    says user docker run --rm --user 4711:4712 box sh -c 'id -u; id -g; grep CapEff /proc/self/status'
    says host-userns docker run --rm --userns host box sh -c 'tr -s " " </proc/self/uid_map'
    says no-device docker run --rm box sh -c 'mknod /n c 1 7 && echo x >/n'
    says ulimit docker run --rm --ulimit nofile=100:200 box sh -c 'ulimit -Sn; ulimit -Hn'
    says sysctl docker run --rm --sysctl net.ipv4.ip_default_ttl=77 box cat /proc/sys/net/ipv4/ip_default_ttl
    says memory docker run --rm --memory 32m --memory-swap 32m box sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null'
    says cpus docker run --rm --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 box sh -c 'nproc; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null'
    says pids docker run --rm --pids-limit 10 box sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done'
    docker run -d --name mate --ipc shareable box sleep 1000 >/dev/null
    says ipc-and-pid docker run --rm --ipc container:mate --pid container:mate box sh -c 'ps -o args | grep -c "^sleep 1000"'
    docker rm -f mate >/dev/null
    says pid-host sh -c '/usr/bin/docker run --rm --pid host box ps -o args | grep -c "^dockerd "'
    says uts-host docker run --rm --uts host box true
    says shm docker run --rm --shm-size 3m box sh -c 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
    says masked docker run --rm box sh -c '{ wc -c </proc/kcore; ls /proc/acpi /sys/firmware; touch /proc/sys/kernel/hostname; } 2>&1'
    says group-add docker run --rm --group-add 4711 box id -G
    says stop-signal docker run --rm --stop-signal INT box true
    says oom-score docker run --rm --oom-score-adj 300 box cat /proc/self/oom_score_adj
    says hosts docker run --rm --add-host there:10.1.2.3 --dns 10.9.9.9 box sh -c 'grep there /etc/hosts; grep -v "^#" /etc/resolv.conf'
    says cgroup-namespace docker run --rm --cgroupns private box sh -c 'cut -d: -f3 /proc/self/cgroup | sort -u'
    status bad-flag docker run --rm --memory 1k box true
    status bad-sysctl docker run --rm --sysctl kernel.no_such=1 box true
}

scenario_oom() {
    docker run --name hungry --memory 16m --memory-swap 16m box sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' >/dev/null 2>&1
    says killed inspect '{{.State.OOMKilled}} {{.State.ExitCode}}' hungry
    docker rm hungry >/dev/null
}

scenario_many() {
    local n
    for n in $(seq 20); do docker run --rm box echo "from $n" >"$WORK/many.$n" 2>&1 & pids[n]=$!; done
    for n in $(seq 20); do wait "${pids[n]}" || echo "container $n failed with $?"; done
    says all sh -c "cat $WORK/many.* | sort -V"
    says nothing-left docker ps -aq
}

scenario_daemon_restart() {
    stop_docker
    start_daemon '"live-restore": true'
    docker run -d --name survivor box sh -c 'while ! test -e /go; do sleep 0.1; done; exit 6' >/dev/null
    kill -9 "$DAEMON"
    rm -f /run/docker.pid
    start_daemon '"live-restore": true'
    says survived inspect '{{.State.Running}}' survivor
    says exec docker exec survivor touch /go
    says wait docker wait survivor
    docker rm survivor >/dev/null
    stop_docker
    start_daemon
}

scenario_userns_remap() {
    stop_docker
    echo 'dockremap:200000:65536' >"$WORK/subid"
    touch /etc/subuid /etc/subgid
    mount --bind "$WORK/subid" /etc/subuid
    mount --bind "$WORK/subid" /etc/subgid
    getent passwd dockremap >/dev/null || {
        cp /etc/passwd "$WORK/passwd"; echo 'dockremap:x:64999:64999::/:/bin/false' >>"$WORK/passwd"; mount --bind "$WORK/passwd" /etc/passwd
        cp /etc/group "$WORK/group"; echo 'dockremap:x:64999:' >>"$WORK/group"; mount --bind "$WORK/group" /etc/group
    }
    start_daemon '"userns-remap": "dockremap"'
    docker import --change 'CMD ["sh"]' "$(box_tar)" box >/dev/null
    says id docker run --rm box sh -c 'id -u; tr -s " " </proc/self/uid_map'
    says root-outside sh -c '/usr/bin/docker run -d --name mapped box sleep 1000 >/dev/null; stat -c %u /proc/$(/usr/bin/docker inspect --format "{{.State.Pid}}" mapped)'
    says exec docker exec mapped id -u
    says device docker run --rm box sh -c 'ls -l /dev/null | cut -c1'
    docker rm -f mapped >/dev/null
    stop_docker
    start_daemon
}
