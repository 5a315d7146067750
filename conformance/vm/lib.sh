# Shared by the scripts beside it: where the parts of a machine are kept, and the tools that make and run them.
# Nothing is installed on the host: QEMU, a kernel, busybox and virtiofsd are unpacked from Debian's packages, and run
# against their own libraries.
# shellcheck shell=bash

suite=${ORLOP_VM_SUITE:-trixie}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/orlop-vm
tools=$cache/tools-$suite
tool_packages=base-files,qemu-system-x86,linux-image-cloud-amd64,busybox-static,virtiofsd,zstd,xz-utils

# Status 125: the machine, not what was to run in it, failed.
die() {
    echo "conformance/vm: $*" >&2
    exit 125
}

# tool PATH ARG...: executes a program of the tools, for at most $limit seconds.
tool() {
    local lib=$tools/usr/lib/x86_64-linux-gnu
    exec ${limit:+timeout --foreground -k 5 "$limit"} \
        "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$tools/usr/$1" "${@:2}"
}

# What is missing for this host to run a machine; nothing if it can.
cannot() {
    [ "$(uname -m)" = x86_64 ] || { echo "the machines are for x86_64"; return; }
    [ ! -d "$tools" ] || return 0
    [ "$(id -u)" -eq 0 ] || { echo "root must fetch QEMU and a kernel first (into $cache)"; return; }
    command -v mmdebstrap >/dev/null 2>&1 || echo "mmdebstrap is not installed"
}

pack() (cd "$1" && find . | "$tools/bin/busybox" cpio -o -H newc 2>/dev/null)

module() {
    (tool bin/xz -dc "$(find "$tools/usr/lib/modules" -name "$1.ko.xz")")
}

make_tools() {
    local tmp=$tools.tmp kernel at
    rm -rf "$tmp"
    mmdebstrap --quiet --variant=extract --include="$tool_packages" "$suite" "$tmp" >&2 ||
        die "mmdebstrap cannot fetch the tools"
    # QEMU starts an ELF kernel by its PVH entry, without some seconds of emulated decompression.  It lies in the
    # bzImage as a zstd stream, whose end zstd complains about after all is written.
    kernel=$(echo "$tmp"/boot/vmlinuz-*)
    while IFS=: read -r at _; do
        tail -c +$((at + 1)) "$kernel" | tools=$tmp tool bin/zstd -dc >"$tmp/vmlinux" 2>/dev/null || :
        [ "$(head -c 4 "$tmp/vmlinux")" != $'\x7fELF' ] || break
    done < <(LC_ALL=C grep -obUaP '\x28\xb5\x2f\xfd' "$kernel")
    [ -s "$tmp/vmlinux" ] || cp "$kernel" "$tmp/vmlinux"
    mv "$tmp" "$tools"
}

# made NAME FUNCTION...: the path of what FUNCTION makes at the path it is given, one for each version of the file it
# stands in; of several started at once, one makes it.
made() {
    local version path
    # shellcheck disable=SC2154 # the directory of these scripts, set by who reads this one
    version=$(cat "$here/lib.sh" "$here/$1.sh" | md5sum | cut -c1-12)
    path=$cache/$1-$suite-$version
    mkdir -p "$cache"
    (
        flock 9
        [ -d "$tools" ] || make_tools
        if [ ! -e "$path" ]; then
            rm -rf "$cache/$1-$suite-"*
            "make_$1" "$path.tmp" && mv "$path.tmp" "$path"
        fi
    ) 9>"$cache/lock" || die "cannot make $1"
    echo "$path"
}
