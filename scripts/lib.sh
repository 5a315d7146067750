# Shared by the scripts beside it: where things are, and what to do when a tool is missing.
# Sourced by bash with the working directory at the root of the checkout.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
# retry COMMAND...: what the network, or another program's lock, may refuse for a moment.
retry() {
    local pause
    for pause in 5 20; do
        ! "$@" || return 0
        say "once more in $pause s: $*"
        sleep "$pause"
    done
    "$@"
}
is_root() { [ "$(id -u)" -eq 0 ]; }

# The Debian package that brings a tool; the key is what have() can test for.
package_of() {
    case $1 in
    gcc) echo gcc libc6-dev ;;
    newuidmap) echo uidmap ;;
    setpriv) echo util-linux ;;
    busybox) echo busybox-static ;;
    libseccomp) echo libseccomp-dev ;;
    dockerd | docker) echo docker.io ;;
    ip) echo iproute2 ;;
    protoc) echo protobuf-compiler ;;
    cni-plugins) echo containernetworking-plugins ;;
    *) echo "$1" ;;
    esac
}

have() {
    case $1 in
    libseccomp) [ -e /usr/include/seccomp.h ] || [ -e /usr/local/include/seccomp.h ] ;;
    cni-plugins) [ -x /usr/lib/cni/bridge ] ;;
    # Podman's own helpers, which are on no PATH.
    netavark | aardvark-dns) [ -x "/usr/lib/podman/$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# need TOOL...: installs what is missing when root, says exactly what to install when not.
need() {
    local tool missing=() packages=()
    for tool; do
        have "$tool" || missing+=("$tool")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    for tool in "${missing[@]}"; do
        # shellcheck disable=SC2207 # package names hold no blanks; one tool may need two packages
        packages+=($(package_of "$tool"))
    done
    if ! is_root; then
        die "missing: ${missing[*]}; install with: sudo apt-get install -y ${packages[*]}"
    fi
    command -v apt-get >/dev/null 2>&1 ||
        die "missing: ${missing[*]}; there is no apt-get here: install what provides them (Debian: ${packages[*]})"
    say "installing ${packages[*]}"
    # Progress is noise; the words of a failure are not.
    export DEBIAN_FRONTEND=noninteractive
    if ! retry apt-get -qq update ||
        ! retry apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}" >/dev/null; then
        die "apt-get could not install: ${packages[*]}"
    fi
    for tool in "${missing[@]}"; do
        have "$tool" || die "$tool is still missing after installing $(package_of "$tool")"
    done
}

# A distribution's own Rust is usually too old for this workspace, so apt is not asked for it.
need_rust() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null 2>&1 ||
        die "missing: cargo (Rust $(rust_version) or later); install with:" \
            "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    need gcc
}

# build_release PACKAGE...: their programs, each package by itself: beside packages that want more of its dependencies orlop's functions
# get other names, which runtime-cli/hot-functions.txt does not know.
build_release() {
    local package
    for package; do
        cargo build --release -p "$package" --bins
    done
}

# The version that runc or crun says it has.
version_of() { "$1" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p'; }

rust_version() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

target_dir() {
    local base=${CARGO_TARGET_DIR:-$PWD/target}
    # Not there under sudo, where installing needs no cargo.
    if command -v cargo >/dev/null 2>&1; then
        base=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
        [ -n "$base" ] || die "cargo metadata does not name the target directory"
    fi
    echo "$base"
}

# Where cargo puts an artifact of profile $1.  The workspace always names a target (.cargo/config.toml), so
# there is a directory for it below the target directory, which the user may have moved.
artifact_dir() {
    local base host
    base=$(target_dir)
    host=${CARGO_BUILD_TARGET:-$(uname -m)-unknown-linux-gnu}
    echo "$base/$host/$1"
}
