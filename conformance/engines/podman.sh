# Podman, as root and as an ordinary user, and Buildah.
# Sourced by `inside`, after lib.sh.
# shellcheck shell=bash disable=SC2016,SC2034,SC2317,SC2329
# (functions are called by name; what stands in single quotes is for the shell inside)

needs_podman="podman buildah netavark aardvark-dns conmon tini iptables ip busybox mmdebstrap curl"

# podman with a storage of its own and the runtime under test.
podman() {
    command podman --root "$WORK/storage" --runroot /run/podman-storage --tmpdir /run/podman-tmp \
        --runtime "$RUNTIME" --cgroup-manager cgroupfs --events-backend none "$@"
}
buildah() {
    command buildah --root "$WORK/storage" --runroot /run/podman-storage "$@"
}

start_engine() {
    export CONTAINERS_CONF=$WORK/containers.conf STORAGE_DRIVER=overlay
    printf '[engine]\ninfra_image = "localhost/infra"\n[network]\nnetwork_backend = "netavark"\n' >"$CONTAINERS_CONF"
    mkdir -p /run/containers
    podman import -c 'CMD ["sh"]' "$(box_tar)" box >/dev/null &&
        podman import -c 'ENTRYPOINT ["sleep", "1000"]' "$(box_tar)" infra >/dev/null &&
        podman import -c 'CMD ["bash"]' "$(debian_tar)" debian >/dev/null
}
stop_engine() { podman rm -af >/dev/null 2>&1 || :; }

scenario_run() {
    says hello podman run --rm box echo hello
    says stdin bash -c 'echo words | podman run --rm -i box cat'
    says both-streams podman run --rm box sh -c 'echo out; sleep 0.3; echo err >&2'
    says tty podman run --rm -t box tty
    says env podman run --rm -e A=b -w /tmp -h inside box sh -c 'echo $A $PWD $HOME; hostname'
    says user podman run --rm --user web box id
    for code in 0 1 125 255; do status "exit $code" podman run --rm box sh -c "exit $code"; done
    status missing podman run --rm box no-such-command
    status not-executable podman run --rm box /bin/not-executable
    status bad-workdir podman run --rm -w /etc/passwd box true
    says nothing-left podman ps -aq
}

scenario_lifecycle() {
    status create podman create --name one box sh -c 'trap "echo bye; exit 7" TERM; echo up; while :; do usleep 20000; done'
    status start podman start one
    eventually 60 bash -c 'podman logs one | grep -q up'
    says exec podman exec one echo from exec
    says exec-status podman exec one sh -c 'exit 42'
    status exec-missing podman exec one no-such-command
    says exec-tty podman exec -t one tty
    says top bash -c 'podman top one comm | sort -u | head -1'
    status pause podman pause one
    says paused podman inspect --format '{{.State.Status}}' one
    status exec-paused podman exec one true
    status unpause podman unpause one
    status update-memory podman stats --no-stream one
    status stop podman stop -t 5 one
    says stopped podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' one
    says logs podman logs one
    status restart podman start one
    status kill podman kill one
    says wait podman wait one
    status rm podman rm one
}

scenario_flags() {
    says init podman run --rm --init --init-path /usr/bin/tini-static box sh -c 'cat /proc/1/comm'
    says read-only podman run --rm --read-only --tmpfs /tmp box sh -c '{ touch /x; touch /tmp/x && echo tmp is writable; } 2>&1'
    says cap-drop podman run --rm --cap-drop ALL box grep CapEff /proc/self/status
    says caps podman run --rm box grep CapEff /proc/self/status
    says seccomp podman run --rm box sh -c 'grep Seccomp: /proc/self/status'
    says device podman run --rm --device /dev/full box sh -c 'echo x >/dev/full'
    status ulimit podman run --rm --ulimit nofile=100:200 box sh -c 'test $(ulimit -Sn) = 100'
    says sysctl podman run --rm --sysctl net.ipv4.ip_default_ttl=77 box cat /proc/sys/net/ipv4/ip_default_ttl
    says memory podman run --rm --memory 32m box sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'
    says masked podman run --rm box sh -c '{ touch /proc/sys/kernel/x; ls /proc/acpi /sys/firmware; } 2>&1'
    says volume bash -c 'podman run --rm -v data:/srv box sh -c "echo kept >/srv/f"; podman run --rm -v data:/srv box cat /srv/f; podman volume rm data'
    says userns podman run --rm --uidmap 0:200000:65536 --network none box sh -c 'id -u; tr -s " " </proc/self/uid_map'
    says pids-limit podman run --rm --pids-limit 50 box true
    says shm podman run --rm --shm-size 3m box sh -c 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
    says oom podman run --rm --memory 16m --memory-swap 16m box dd if=/dev/zero of=/dev/null bs=64M count=1
}

scenario_pod() {
    status create podman pod create --name shop
    status server podman run -d --pod shop --name server box httpd -f -p 80 -h /var/www
    says together podman run --rm --pod shop box wget -q -O - http://127.0.0.1/
    says ps podman ps --pod --format '{{.Names}} {{.PodName}}' --filter name=server
    status stop podman pod stop -t 1 shop
    status rm podman pod rm -f shop
}

scenario_build() {
    mkdir -p "$WORK/app"
    printf 'FROM debian\nWORKDIR /srv\nCOPY Dockerfile .\nRUN python3 -c "print(6*7)" >answer\nENV A=b\nCMD ["cat", "answer"]\n' >"$WORK/app/Dockerfile"
    says build bash -c "podman build -q -t app '$WORK/app' | grep -c ."
    says run podman run --rm app
    says failing-run bash -c "printf 'FROM box\nRUN exit 9\n' | podman build -q -f - '$WORK/app' 2>&1 | grep -o 'exit status 9' | head -1"
    says run-as-user bash -c "printf 'FROM box\nUSER web\nRUN id >/tmp/id\nCMD [\"cat\", \"/tmp/id\"]\n' | podman build -q -t asweb -f - '$WORK/app' >/dev/null && podman run --rm asweb"
}

scenario_buildah() {
    mkdir -p "$WORK/bud"
    echo content >"$WORK/bud/file"
    says from buildah from --name work box
    says run buildah run --runtime "$RUNTIME" work echo from buildah
    status run-status buildah run --runtime "$RUNTIME" work sh -c 'exit 7'
    status run-missing buildah run --runtime "$RUNTIME" work no-such-command
    says copy bash -c "buildah copy -q work '$WORK/bud/file' /srv/file | grep -c ."
    says seen buildah run --runtime "$RUNTIME" work cat /srv/file
    says user buildah run --runtime "$RUNTIME" --user web work id
    says volume buildah run --runtime "$RUNTIME" -v "$WORK/bud:/bud:ro" work cat /bud/file
    says no-network buildah run --runtime "$RUNTIME" --network none work sh -c 'ip link | grep -c "^[0-9]"'
    says caps buildah run --runtime "$RUNTIME" --cap-drop CAP_CHOWN work sh -c 'touch /x; chown 1 /x'
    says tty buildah run --runtime "$RUNTIME" --tty work tty
    status config buildah config --workingdir /srv --env A=b --cmd 'cat file' --user web work
    says commit bash -c 'buildah commit -q work built | grep -c .'
    says built podman run --rm built
    says inspect buildah inspect --type image --format '{{.OCIv1.Config.WorkingDir}} {{.OCIv1.Config.User}} {{.OCIv1.Config.Env}}' built
    printf 'FROM box\nWORKDIR /srv\nCOPY file .\nRUN cat file >copied && id -u >>copied\nENV A=b\nUSER web\nCMD ["cat", "/srv/copied"]\n' >"$WORK/bud/Containerfile"
    says bud bash -c "buildah bud -q --runtime '$RUNTIME' -t buded '$WORK/bud' | grep -c ."
    says buded podman run --rm buded
    status bud-fails bash -c "printf 'FROM box\nRUN exit 9\n' | buildah bud -q --runtime '$RUNTIME' -f - '$WORK/bud'"
    says rm bash -c 'buildah rm work | grep -c .'
    says nothing-left buildah containers -q
}

answers() { curl -sS --max-time 3 "$1"; }

scenario_publish() {
    podman run -d --name web -p 127.0.0.1:8081:80 box httpd -f -p 80 -h /var/www >/dev/null
    eventually 60 answers http://127.0.0.1:8081/
    says answer answers http://127.0.0.1:8081/
    podman rm -f -t 0 web >/dev/null
    status closed answers http://127.0.0.1:8081/
}

scenario_attach() {
    podman run -d --name chat -i box sh -c 'read word; echo "got $word"; exit 3' >/dev/null
    says attach bash -c 'echo words | podman attach chat'
    says wait podman wait chat
    podman rm chat >/dev/null
}

scenario_health() {
    podman run -d --name well --health-cmd 'test -e /ok' --health-interval disable box sleep 1000 >/dev/null
    status ill podman healthcheck run well
    podman exec well touch /ok
    status well podman healthcheck run well
    podman rm -f -t 0 well >/dev/null
}

scenario_kube() {
    cat >"$WORK/pod.yml" <<'YML'
apiVersion: v1
kind: Pod
metadata:
  name: played
spec:
  containers:
    - name: web
      image: localhost/box
      command: [/bin/httpd, -f, -p, "80", -h, /var/www]
      resources: { limits: { memory: 64Mi } }
YML
    podman tag box localhost/box
    says play podman play kube "$WORK/pod.yml"
    says inside podman exec played-web /bin/wget -q -O - http://127.0.0.1/
    status down podman play kube --down "$WORK/pod.yml"
}

scenario_many() {
    local n pids=()
    for n in $(seq 10); do
        podman run --rm box echo "from $n" >"$WORK/many.$n" 2>&1 &
        pids[n]=$!
    done
    for n in $(seq 10); do wait "${pids[n]}" || echo "container $n failed"; done
    says all sh -c "cat $WORK/many.* | sort -V"
}

# counter NAME: that it counts on from more than it had at first, and goes on counting.
counter() {
    podman exec "$1" sh -c 'n=; until [ "$n" ] && [ "$n" -gt 20 ]; do n=$(cat /tmp/n); usleep 20000; done
        for i in $(seq 100); do usleep 50000; m=$(cat /tmp/n); [ "${m:-0}" -gt "$n" ] && exec echo counts; done'
}

scenario_checkpoint() {
    criu check >/dev/null 2>&1 || { echo "skipped: no CRIU works here"; return; }
    BOUND=90
    local count='n=0; while :; do n=$((n + 1)); echo $n >/tmp/n; usleep 20000; done'
    status run podman run -d --name frozen --network none box sh -c "$count"
    says before counter frozen
    status stays podman container checkpoint --leave-running frozen
    says running podman inspect --format '{{.State.Status}}' frozen
    status exits podman container checkpoint --keep frozen
    says stopped podman inspect --format '{{.State.Status}} {{.State.Checkpointed}}' frozen
    status restore podman container restore frozen
    says restored podman inspect --format '{{.State.Status}}' frozen
    says goes-on counter frozen
    status again podman container checkpoint frozen
    status restore-again podman container restore frozen
    says goes-on-again counter frozen
    status export podman container checkpoint --export "$WORK/frozen.tar.gz" frozen
    status rm podman rm -f -t 0 frozen
    # More than a new one would have counted to by then: it goes on where it was.
    status import podman container restore --import "$WORK/frozen.tar.gz" --name thawed
    says imported counter thawed
    says exec-status podman exec thawed sh -c 'exit 42'
    status pause podman pause thawed
    status unpause podman unpause thawed
    status kill podman kill thawed
    says wait podman wait thawed
    status rm-imported podman rm thawed
    status missing podman container checkpoint no-such-container
    status not-running bash -c 'podman create --name fresh box true && podman container checkpoint fresh'
    status rm-fresh podman rm fresh
}

# As an ordinary user with subordinate ids, and no cgroup of his own.
rootless() {
    (
        cd "$WORK/rootless" &&
            env -i PATH="$PATH" HOME="$WORK/rootless" XDG_RUNTIME_DIR=/run/user/64998 TMPDIR=/tmp \
                CONTAINERS_CONF="$WORK/rootless.conf" \
                setpriv --reuid=64998 --regid=64998 --clear-groups \
                podman --runtime "$RUNTIME" --cgroup-manager cgroupfs --events-backend none --storage-driver vfs "$@"
    )
}

scenario_rootless() {
    mkdir -p "$WORK/rootless" /run/user/64998
    chown 64998:64998 "$WORK/rootless" /run/user/64998
    chmod 711 "$WORK"
    printf '[containers]\nnetns = "host"\n' >"$WORK/rootless.conf"
    local file
    for file in subuid subgid passwd group; do
        touch "/etc/$file"
        cp "/etc/$file" "$WORK/$file"
        mount --bind "$WORK/$file" "/etc/$file"
    done
    echo 'sailor:300000:65536' | tee -a /etc/subuid >>/etc/subgid
    echo "sailor:x:64998:64998::$WORK/rootless:/bin/sh" >>/etc/passwd
    echo 'sailor:x:64998:' >>/etc/group
    cp "$(box_tar)" "$WORK/rootless/box.tar"
    chmod 644 "$WORK/rootless/box.tar"
    says import bash -c "rootless import -q '$WORK/rootless/box.tar' box | grep -c sha256"
    says hello rootless run --rm box echo hello
    says id rootless run --rm box sh -c 'id -u; tr -s " " </proc/self/uid_map | head -1'
    says user rootless run --rm --user web box id -u
    says keep-id rootless run --rm --userns keep-id box id -u
    status run rootless run -d --name one box sleep 1000
    says exec rootless exec one echo from exec
    status missing rootless run --rm box no-such-command
    status rm rootless rm -f -t 0 one
    says nothing-left rootless ps -aq
}
