# Shared by the engines' scenarios: images, daemons, and how a scenario is written down.
# Sourced by bash inside a world (see `world`), with these set:
#   WORK      a directory of this run, on a real file system
#   CACHE     what is made once and kept (images)
#   RUNTIME   the runtime under test, an absolute path
# shellcheck shell=bash

# The names under which engines know the runtime under test.
runtime_name() { basename "$RUNTIME"; }

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
    local end=$((SECONDS + $1))
    shift
    until bounded "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt "$end" ] || return 1
        sleep 0.05
    done
}

# What differs between two runs by nature becomes the same word: ids, times, process ids, sizes.
normal() {
    sed -E \
        -e 's/[0-9a-f]{64}/ID/g' -e 's/\b[0-9a-f]{12}\b/ID/g' \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+( ?[+-][0-9]{4})?( UTC|Z)?/TIME/g' \
        -e "s#$WORK#WORK#g" -e "s#$(runtime_name)#RUNTIME#g"
}

# A program, or a shell function, that may take half a minute ($BOUND seconds): what hangs is a result, too (status 124).
bounded() {
    if [ "$(type -t "$1")" = function ]; then
        timeout -k 2 "${BOUND:-30}" bash -c '"$@"' bash "$@"
    else
        timeout -k 2 "${BOUND:-30}" "$@"
    fi
}

# says NAME COMMAND...: one line of the transcript: the name, the exit status, and what was printed (both streams).
says() {
    local name=$1 out status=0
    shift
    out=$(bounded "$@" 2>&1 </dev/null) || status=$?
    printf '%s -> %d\n' "$name" "$status"
    [ -z "$out" ] || printf '%s\n' "$out" | tr -d '\r' | normal | sed 's/^/    /'
}

# status NAME COMMAND...: the exit status alone, where words may differ.
status() {
    local name=$1 status=0
    shift
    bounded "$@" >/dev/null 2>&1 </dev/null || status=$?
    printf '%s -> %d\n' "$name" "$status"
}

# A root file system of busybox: the image `box` of every engine, as a tar file.
box_tar() {
    local tar=$CACHE/box.tar root
    if [ ! -s "$tar" ]; then
        root=$(mktemp -d)
        chmod 755 "$root"
        mkdir -p "$root"/{bin,dev,etc,proc,root,sys,tmp,var/www}
        cp "$(command -v busybox)" "$root/bin/busybox"
        local applet
        for applet in $("$root/bin/busybox" --list); do
            [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
        done
        printf 'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/tmp:/bin/sh\n' >"$root/etc/passwd"
        printf 'root:x:0:\nweb:x:1000:\n' >"$root/etc/group"
        chmod 1777 "$root/tmp"
        echo 'served from the image' >"$root/var/www/index.html"
        echo 'not a program' >"$root/bin/not-executable"
        chmod 644 "$root/bin/not-executable"
        tar -C "$root" --numeric-owner --owner=0 --group=0 -cf "$tar.new" .
        mv "$tar.new" "$tar"
        rm -rf "$root"
    fi
    echo "$tar"
}

# A directory with the files of the packages.
unpack_debian() {
    rm -rf "$1"
    mkdir -m 755 "$1"
    mmdebstrap --quiet --variant=extract --include=base-files,bash,coreutils,libc-bin,python3-minimal,gunicorn \
        bookworm "$1" >/dev/null 2>"$CACHE/mmdebstrap.log" || { cat "$CACHE/mmdebstrap.log" >&2; return 1; }
}

# A Debian with bash and Python, from packages: the image `debian`.
debian_tar() {
    local tar=$CACHE/debian.tar root
    if [ ! -s "$tar" ]; then
        root=$(mktemp -d)
        retry unpack_debian "$root" || return 1
        printf 'root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/tmp:/bin/sh\n' >"$root/etc/passwd"
        printf 'root:x:0:\nwww-data:x:33:\n' >"$root/etc/group"
        # Packages that are unpacked and not configured have no /bin/sh of their own choice.
        [ -e "$root/bin/sh" ] || ln -s bash "$root/bin/sh"
        tar -C "$root" --numeric-owner --exclude=./usr/share/doc --exclude=./usr/share/locale --exclude=./dev \
            -cf "$tar.new" .
        mv "$tar.new" "$tar"
        rm -rf "$root"
    fi
    echo "$tar"
}

# image_tar FILE [NAME [COMMAND...]]: busybox as an image of the OCI layout, docker.io/library/box:latest if it has no other name.
image_tar() {
    python3 - "$(box_tar)" "$1" "${2:-docker.io/library/box:latest}" "${@:3}" <<'PY'
import hashlib, io, json, platform, sys, tarfile
layer = open(sys.argv[1], "rb").read()
out = tarfile.open(sys.argv[2], "w")
def put(name, data):
    info = tarfile.TarInfo(name); info.size = len(data); out.addfile(info, io.BytesIO(data))
def blob(data, kind):
    digest = hashlib.sha256(data).hexdigest()
    put("blobs/sha256/" + digest, data)
    return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)}
base = "application/vnd.oci.image."
top = blob(layer, base + "layer.v1.tar")
architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
config = {"architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": sys.argv[4:] or ["sh"]},
          "rootfs": {"type": "layers", "diff_ids": [top["digest"]]}, "history": [{}]}
cfg = blob(json.dumps(config).encode(), base + "config.v1+json")
manifest = {"schemaVersion": 2, "mediaType": base + "manifest.v1+json", "config": cfg, "layers": [top]}
entry = blob(json.dumps(manifest).encode(), base + "manifest.v1+json")
entry["annotations"] = {"io.containerd.image.name": sys.argv[3]}
put("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
put("index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
out.close()
PY
}

# start_containerd NAME [FILE]: a containerd of this world at /run/NAME/containerd.sock; FILE has more of its configuration, without
# which it has no CRI plugin.
start_containerd() {
    local name=$1 more=${2:-}
    mkdir -p "/run/$name"
    {
        cat <<TOML
version = 2
root = "$WORK/$name"
state = "/run/$name/state"
TOML
        [ -n "$more" ] || echo 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
        cat <<TOML
[grpc]
  address = "/run/$name/containerd.sock"
TOML
        [ -z "$more" ] || cat "$more"
    } >"$WORK/$name.toml"
    containerd --config "$WORK/$name.toml" >>"$WORK/$name.log" 2>&1 &
    eventually 30 ctr --address "/run/$name/containerd.sock" version ||
        { cat "$WORK/$name.log" >&2; return 1; }
}

# kill_containerd NAME: as a crash ends it.
kill_containerd() {
    pkill -9 -f "containerd --config $WORK/$1.toml"
    # Before another takes its place: its database is locked as long as it is there.
    eventually 60 no_containerd "$1"
}
no_containerd() { ! pgrep -f "containerd --config $WORK/$1.toml"; }

# listen FILE: the events of containerd go to FILE, from now on, as process $LISTENER.
listen() {
    : >"$1"
    ctr events >"$1" 2>/dev/null &
    LISTENER=$!
    eventually 60 hears "$1" || echo "no events come" >&2
}
# It is listening when it hears of what happens now.
hears() { ctr namespaces label "$CONTAINERD_NAMESPACE" heard="$RANDOM" && test -s "$1"; }
# heard FILE PATTERN...: waits for such events, and listens no longer.
heard() {
    local file=$1 pattern
    shift
    for pattern; do eventually 60 grep -q "$pattern" "$file"; done
    kill "$LISTENER"
}

# By ctr, for engines that set CTR_FLAG, ctr's flag for what is under test.
export CONTAINERD_ADDRESS=/run/containerd-engine/containerd.sock CONTAINERD_NAMESPACE=test

start_engine() {
    start_containerd containerd-engine || return 1
    mkdir -p "$WORK/rootfs"
    tar -C "$WORK/rootfs" -xf "$(box_tar)"
}

# run_ctr [FLAG...] -- ID COMMAND...
run_ctr() {
    local flags=()
    while [ "$1" != -- ]; do
        flags+=("$1")
        shift
    done
    shift
    local id=$1
    shift
    ctr run "$CTR_FLAG" "$RUNTIME" --env PATH=/bin "${flags[@]}" --rootfs "$WORK/rootfs" "$id" "$@"
}
task_status() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
# Or there never was one.
has_ended() { is "$1" STOPPED || is "$1" ""; }
is() { [ "$(task_status "$1")" = "$2" ]; }
remove() {
    ctr task kill -s KILL "$1" 2>/dev/null
    eventually 60 has_ended "$1"
    ctr task rm "$1" >/dev/null 2>&1
    ctr container rm "$1"
}
