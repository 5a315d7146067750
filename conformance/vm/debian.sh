# The machine with systemd: a small Debian, pure cgroup v2, runc, crun and podman to compare with, and `tester`, an
# ordinary user with subordinate ids and a user manager of its own, to which all controllers are delegated.
# shellcheck shell=bash disable=SC2154 # $tools and $suite are in lib.sh

debian_modules="virtio_blk overlay"
debian_packages=systemd,systemd-sysv,libpam-systemd,dbus,dbus-user-session,kmod,procps,iproute2
debian_packages+=,runc,crun,podman,uidmap,strace,jq,busybox-static

make_debian() {
    local out=$1 root=$1/root unit name
    rm -rf "$out"
    mkdir -p "$out"
    mmdebstrap --quiet --variant=minbase --include="$debian_packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$root" >&2 || die "mmdebstrap cannot fetch the guest"
    cp -a "$tools/usr/lib/modules" "$root/usr/lib/"
    chroot "$root" depmod "$(ls "$root/usr/lib/modules")"
    echo vm >"$root/etc/hostname"
    echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
    # An empty one means "first boot", which enables every unit.
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
    chroot "$root" useradd -m -u 1000 -s /bin/bash tester
    mkdir -p "$root/var/lib/systemd/linger" "$root/etc/systemd/system/user@.service.d" "$root/.vm/share"
    touch "$root/var/lib/systemd/linger/tester" "$root/etc/.updated" "$root/var/.updated"
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$root/etc/systemd/system/user@.service.d/delegate.conf"
    # What takes time here and serves nobody.
    for unit in netavark-dhcp-proxy.{service,socket} getty.target apt-daily{,-upgrade}.timer \
        dpkg-db-backup.timer fstrim.timer systemd-pstore.service; do
        chroot "$root" systemctl -q disable "$unit" 2>/dev/null || :
    done
    for unit in getty.target modprobe@{configfs,drm,efi_pstore,fuse}.service systemd-journal-flush.service \
        systemd-random-seed.service systemd-update-utmp.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    debian_command "$root"

    mkdir -p "$out/tree"/{bin,mod,proc,new,run/vm}
    cp "$tools/bin/busybox" "$out/tree/bin/"
    for name in $debian_modules; do module "$name" >"$out/tree/mod/$name.ko"; done
    debian_init >"$out/tree/init"
    chmod +x "$out/tree/init"
    pack "$out/tree" >"$out/initramfs"
    truncate -s 4G "$out/disk.ext4"
    mke2fs -q -t ext4 -m 0 -E lazy_itable_init=1 -d "$root" "$out/disk.ext4"
    rm -rf "$root" "$out/tree"
}

# The service that runs the command once all has started, and ends the machine.
debian_command() {
    cat >"$1/etc/systemd/system/vm-run.service" <<'UNIT'
[Unit]
Description=The command this machine was started for
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate
[Service]
Type=exec
ExecStart=/usr/local/lib/vm-run
Delegate=yes
TasksMax=infinity
Environment=HOME=/root
[Install]
WantedBy=multi-user.target
UNIT
    chroot "$1" systemctl -q enable vm-run.service 2>/dev/null
    cat >"$1/usr/local/lib/vm-run" <<'RUN'
#!/bin/sh
. /run/vm/config
systemctl is-system-running --wait >/dev/null
cd /.vm/share
mkfifo -m 622 /run/vm/out
cat /run/vm/out >/dev/vport0p1 & cat=$!
exec 3>/run/vm/out
if [ "$user" ]; then
    runuser -u "$user" -- env HOME="/home/$user" XDG_RUNTIME_DIR=/run/user/1000 \
        systemd-run --user --quiet --wait --collect --pipe --same-dir -p Delegate=yes \
        bash /run/vm/command </dev/null >&3 2>&1 3>&-
else
    setsid bash /run/vm/command </dev/null >&3 2>&1 3>&-
fi
status=$?
exec 3>&-
{ sleep 2; kill $cat 2>/dev/null; } & wait $cat
echo $status >/dev/vport0p2
RUN
    chmod +x "$1/usr/local/lib/vm-run"
}

debian_init() {
    cat <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
for m in /mod/*.ko; do $b insmod $m; done
# The other processors wait until the devices are set up: QEMU's threads do not always survive both at once.
$b mkdir -p /sys; $b mount -t sysfs sysfs /sys
for c in /sys/devices/system/cpu/cpu[1-9]*/online; do [ ! -e $c ] || echo 1 >$c; done
$b umount /sys
$b mkdir -p /dev; $b mount -t devtmpfs dev /dev
$b mount -t ext4 -o rw,noatime /dev/vda /new
$b mount -t virtiofs -o ro share /new/.vm/share
$b mount -t tmpfs -o mode=755,nosuid,nodev run /new/run
$b cp -r /run/vm /new/run/vm
$b mount --move /dev /new/dev
exec $b switch_root /new /usr/lib/systemd/systemd
INIT
}
