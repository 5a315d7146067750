# The small machine: pure cgroup v2 and no systemd.  PID 1 is a shell script; the root file system is a copy-on-write
# view of the host's, so that all of its programs are there.
# shellcheck shell=bash disable=SC2154 # $tools and $suite are in lib.sh

# In the order of what they need of each other.  The last two lines are for CRIU.
micro_modules="overlay veth dummy
    libcrc32c nfnetlink nf_defrag_ipv4 nf_defrag_ipv6 nf_conntrack nf_conntrack_netlink nf_tables
    inet_diag tcp_diag udp_diag raw_diag unix_diag af_packet_diag netlink_diag"

make_micro() {
    local tree=$1.tree name n=10
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,mod,new}
    cp "$tools/bin/busybox" "$tree/bin/"
    for name in $micro_modules; do module "$name" >"$tree/mod/$((n++))-$name.ko"; done
    cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
# First stage: a root that containers can pivot_root away from, which an initramfs is not.
b=/bin/busybox
for m in /mod/*.ko; do $b insmod $m; done
$b mkdir /lower /rw
$b mount -t virtiofs -o ro root /lower
$b mount -t tmpfs -o mode=755 rw /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /new
cd /new; $b mkdir -p proc sys dev run tmp .vm/share
$b cp $b /second /command .vm/
exec $b switch_root /new /.vm/busybox sh /.vm/second
INIT
    cat >"$tree/second" <<'INIT'
# Second stage, still PID 1.
b=/.vm/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
$b mount -t proc -o nosuid,nodev,noexec proc /proc
$b mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
# The other processors wait until the devices are set up: QEMU's threads do not always survive both at once.
for c in /sys/devices/system/cpu/cpu[1-9]*/online; do [ ! -e $c ] || echo 1 >$c; done
$b mount -t devtmpfs -o mode=755 dev /dev
$b mkdir -p /dev/pts /dev/shm /dev/mqueue
$b mount -t devpts -o ptmxmode=666,mode=620,gid=5 devpts /dev/pts
$b mount -t tmpfs shm /dev/shm
$b mount -t mqueue mqueue /dev/mqueue
$b ln -sf /proc/self/fd /dev/fd
$b ln -sf fd/0 /dev/stdin; $b ln -sf fd/1 /dev/stdout; $b ln -sf fd/2 /dev/stderr
$b mount -t tmpfs -o mode=755 run /run
$b mount -t tmpfs -o mode=1777 tmp /tmp
$b mount -t bpf bpf /sys/fs/bpf
$b mount -t securityfs securityfs /sys/kernel/security
$b mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate cgroup2 /sys/fs/cgroup
for c in $($b cat /sys/fs/cgroup/cgroup.controllers); do
    echo +$c >/sys/fs/cgroup/cgroup.subtree_control
done
$b ip link set lo up
$b hostname vm
$b mount -t virtiofs -o ro share /.vm/share && cd /.vm/share
# A pipe, unlike the port itself, can be opened by several.
$b mkfifo /run/.vm-out
$b cat /run/.vm-out >/dev/vport0p1 & cat=$!
exec 3>/run/.vm-out
$b setsid $b sh /.vm/command </dev/null >&3 2>&1 3>&- & command=$!
wait $command; status=$?
exec 3>&-
# What the command left running may hold the pipe: not waited for.
{ $b sleep 2; kill $cat 2>/dev/null; } & wait $cat
echo $status >/dev/vport0p2
$b poweroff -f
INIT
    chmod +x "$tree/init"
    pack "$tree" >"$1"
    rm -rf "$tree"
}
