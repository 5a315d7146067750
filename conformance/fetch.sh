# For the scripts that fetch programs of another Debian suite, newer than the host's C library.
# shellcheck shell=bash

# fetched CACHE SUITE PACKAGES PATH...: unpacks packages, with all that they need, to CACHE/root unless that has been done, and makes
# CACHE/bin/NAME of each program at a PATH below: a script that has the program's own loader find its own libraries.
fetched() {
    local cache=$1 suite=$2 path
    local -a packages
    read -ra packages <<<"$3"
    shift 3
    [ ! -d "$cache/bin" ] || return 0
    rm -rf "$cache" "$cache.new"
    "$(dirname "${BASH_SOURCE[0]}")/unpack-debian" "$suite" "$cache.new/root" --with-libraries "${packages[@]}"
    mkdir -p "$cache.new/bin"
    for path; do
        sed "s|PROGRAM|$path|" >"$cache.new/bin/${path##*/}" <<'WRAPPER'
#!/bin/sh
root=${0%/bin/*}/root
for loader in "$root"/usr/lib64/ld-linux-x86-64.so.* "$root"/usr/lib/*/ld-linux-*.so.*; do [ ! -x "$loader" ] || break; done
for libraries in "$root"/usr/lib/*-linux-gnu; do break; done
exec "$loader" --library-path "$libraries" "$root/PROGRAM" "$@"
WRAPPER
        chmod +x "$cache.new/bin/${path##*/}"
    done
    mv "$cache.new" "$cache"
}
