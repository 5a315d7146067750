//! Network devices of the host that are moved into the container (`linux.netDevices`), and back.
//!
//! Everything is said to the kernel over two netlink sockets of the parent half: one of our network namespace, and one that
//! a short-lived child opens in the container's and hands back.  So what is done inside knows the name and the number that the
//! device really has there, and a step that fails can be taken back.

use super::command::{Report, give_up, reap, receive};
use super::netlink::{self, Address, Route};
use crate::sys::{self, CloneArgs, Fd, Reason};
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// A network device that could not be moved: `network device eth7: find it: no such device`.
#[derive(Debug, thiserror::Error)]
#[error("network device {device}: {action}: {reason}")]
pub struct NetDeviceError {
    /// Its name where it was.
    pub device: String,
    /// What was tried.
    pub action: &'static str,
    /// Why it failed.
    pub reason: String,
}

type Result<T> = std::result::Result<T, NetDeviceError>;

/// A device of the host, as it is before it moves.
#[derive(Debug)]
pub struct DeviceInfo {
    /// The name that was asked for.
    pub name: String,
    index: u32,
    /// Its permanent addresses of global scope, which the kernel drops when the device leaves its namespace.
    addresses: Vec<Address>,
}

/// For `map_err`.
fn failed(device: &str, action: &'static str) -> impl Fn(Errno) -> NetDeviceError {
    move |errno| NetDeviceError { device: device.to_owned(), action, reason: Reason::from(errno).to_string() }
}

fn taken(device: &str, action: &'static str, name: &str, place: &str) -> NetDeviceError {
    let reason = format!("{place} has a device of the name {name:?} already");
    NetDeviceError { device: device.to_owned(), action, reason }
}

/// Looks at the device `name` of our network namespace.
///
/// # Errors
/// When there is no such device, or the kernel does not tell.
pub fn prepare(name: &str) -> Result<DeviceInfo> {
    let mut host = Route::open().map_err(failed(name, "open a netlink socket"))?;
    let link = host.link(name).map_err(failed(name, "find it"))?;
    let addresses = host.addresses(link.index).map_err(failed(name, "read its addresses"))?;
    Ok(DeviceInfo { name: name.to_owned(), index: link.index, addresses })
}

/// Moves the device into the network namespace `netns` under the name `container_name`, gives it its addresses back, sets it
/// up, and returns its name there: a `%d` in `container_name` becomes the lowest number that is free.
///
/// # Errors
/// When the name is taken there or the kernel refuses; the device is then where it was, but down and without addresses if it
/// had left already.
pub fn move_to(info: &DeviceInfo, netns: BorrowedFd<'_>, container_name: &str) -> Result<String> {
    let action = "move it to the container";
    let mut host = Route::open().map_err(failed(&info.name, "open a netlink socket"))?;
    let mut inside = open_inside(netns, &info.name)?;
    let taken_names = inside.names().map_err(failed(&info.name, "list the container's devices"))?;
    let name = netlink::fill_template(container_name, &taken_names);
    if taken_names.contains(&name) {
        return Err(taken(&info.name, action, &name, "the container"));
    }
    host.move_link(info.index, netns, &name).map_err(failed(&info.name, action))?;
    match settle(&mut inside, info, &name) {
        Ok(()) => Ok(name),
        Err(error) => {
            // The first failure is what is told; if this fails too, delete tries again.
            let _ = bring_back(&mut inside, &name, &info.name);
            Err(error)
        }
    }
}

/// Addresses, and up.
fn settle(inside: &mut Route, info: &DeviceInfo, name: &str) -> Result<()> {
    let link = inside.link(name).map_err(failed(&info.name, "find it in the container"))?;
    for address in &info.addresses {
        inside
            .add_address(link.index, address, &info.name, name)
            .map_err(failed(&info.name, "give it its addresses in the container"))?;
    }
    inside.set_up(link.index, true).map_err(failed(&info.name, "set it up in the container"))
}

/// Moves the device `container_name` out of the network namespace `netns` into ours, under the name it had, and leaves it
/// down, so that its addresses cannot be in use twice.  A device that is not there (any more) is no error.  `container_name` is
/// what [`move_to`] has returned; or still the template, after a death between the move and the record of it.
///
/// # Errors
/// When the name is in use on the host again, or the kernel refuses.
pub fn move_back(netns: BorrowedFd<'_>, container_name: &str, host_name: &str) -> Result<()> {
    let mut inside = open_inside(netns, host_name)?;
    let names = inside.names().map_err(failed(host_name, "list the container's devices"))?;
    match netlink::matching(container_name, &names).as_slice() {
        [] => Ok(()),
        [name] => bring_back(&mut inside, name, host_name),
        several => {
            let reason = format!("which of {} is it?", several.join(", "));
            Err(NetDeviceError { device: host_name.to_owned(), action: "move it back to the host", reason })
        }
    }
}

fn bring_back(inside: &mut Route, name: &str, host_name: &str) -> Result<()> {
    let action = "move it back to the host";
    let failed = failed(host_name, action);
    let mut host = Route::open().map_err(&failed)?;
    if host.link(host_name).is_ok() {
        return Err(taken(host_name, action, host_name, "the host"));
    }
    // Of the calling thread, which may have a namespace of its own.
    let ours = sys::openat(Fd::CWD, c"/proc/thread-self/ns/net", libc::O_RDONLY, 0)
        .map(sys::own)
        .map_err(|e| failed(Errno::from_raw(e.errno)))?;
    let link = inside.link(name).map_err(&failed)?;
    inside.set_up(link.index, false).map_err(&failed)?;
    inside.move_link(link.index, ours.as_fd(), host_name).map_err(&failed)
}

/// Brings the loopback device of another network namespace up.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<()> {
    let failed = failed("lo", "bring it up in the container's network namespace");
    let mut inside = open_inside(netns, "lo")?;
    let link = inside.link("lo").map_err(&failed)?;
    inside.set_up(link.index, true).map_err(&failed)
}

/// Opens a netlink socket in another network namespace.  The kernel opens a socket where the caller is, and moving this thread,
/// even for a moment, is not ours to do (invariant I9).  So a child does.
fn open_inside(netns: BorrowedFd<'_>, device: &str) -> Result<Route> {
    let action = "open a netlink socket in the container's network namespace";
    let failed = failed(device, action);
    let by_call = |e: sys::SysError| failed(Errno::from_raw(e.errno));
    let (ours, theirs) = sys::socketpair().map_err(by_call)?;
    let args = CloneArgs { no_signal: true, ..CloneArgs::default() };
    let child = sys::clone3(&args, || {
        let opened = sys::setns(Fd::from(netns), libc::CLONE_NEWNET).and_then(|()| sys::route_socket());
        match opened.and_then(|socket| sys::send_fd(Fd::from(&theirs), &[0], socket)) {
            Ok(()) => sys::exit(0),
            Err(error) => give_up(Fd::from(&theirs), error),
        }
    })
    .map_err(by_call)?;
    drop(theirs);
    let received = receive(&ours);
    reap(child.pidfd.as_fd()).map_err(&failed)?;
    match received {
        Ok(Report::Made(socket)) => Ok(Route::from(socket)),
        Ok(Report::Failed(error)) => Err(by_call(error)),
        Ok(Report::Closed | Report::Unwatched(_)) => Err(failed(Errno::EPIPE)),
        Err(error) => Err(NetDeviceError { device: device.to_owned(), action, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::process::Command;

    /// Runs `test` in a thread that has a network namespace of its own, with the pid of a process in another one.
    fn apart(test: impl FnOnce(i32, BorrowedFd<'_>) + Send + 'static) {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return;
        }
        let body = move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let (ours, theirs) = sys::socketpair().unwrap();
            let flags = libc::CLONE_NEWNET.unsigned_abs().into();
            let args = CloneArgs { flags, no_signal: true, ..CloneArgs::default() };
            let container = sys::clone3(&args, || {
                sys::close(Fd::from(&ours));
                let _ = sys::read(Fd::from(&theirs), &mut [0]);
                sys::exit(0)
            })
            .unwrap();
            let netns = std::fs::File::open(format!("/proc/{}/ns/net", container.pid)).unwrap();
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(container.pid, netns.as_fd())));
            drop(ours);
            let _ = sys::pidfd_send_signal(Fd::from(&container.pidfd), libc::SIGKILL);
            reap(container.pidfd.as_fd()).unwrap();
            result.unwrap();
        };
        std::thread::spawn(body).join().unwrap();
    }

    /// Runs ip(8) here, or in the namespace of `pid`.
    fn ip(pid: Option<i32>, args: &str) -> Value {
        let mut command = match pid {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{pid}/ns/net")).arg("ip");
                command
            }
            None => Command::new("ip"),
        };
        let output = command.arg("-j").args(args.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The addresses of device `name`, as `address/prefix label`.
    fn addresses(link: &Value) -> Vec<String> {
        let infos = link.pointer("/0/addr_info").and_then(Value::as_array).unwrap();
        let text = |info: &Value, key: &str| info.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let global =
            infos.iter().filter(|info| text(info, "scope") != "link" || text(info, "family") == "inet");
        global
            .map(|i| {
                format!("{}/{} {}", text(i, "local"), i.get("prefixlen").unwrap(), text(i, "label"))
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn a_device_moves_in_with_its_addresses_and_back_out() {
        apart(|pid, netns| {
            ip(None, "link add d0 mtu 1400 address 02:00:00:00:00:07 type veth");
            ip(None, "addr add 10.1.2.3/24 brd + dev d0 label d0:web");
            ip(None, "addr add 10.1.2.4/24 dev d0");
            ip(None, "addr add 10.9.9.9/24 dev d0 scope link");
            ip(None, "addr add 10.8.8.8/24 dev d0 valid_lft 1000 preferred_lft 1000");
            ip(None, "addr add 2001:db8::1/64 dev d0 nodad");
            ip(None, "link set d0 up");
            let info = prepare("d0").unwrap();
            // Takes the number that the device has here, so that it gets another inside.
            ip(Some(pid), &format!("link add taken index {} type veth", info.index));
            assert_eq!(move_to(&info, netns, "eth0").unwrap(), "eth0");
            let inside = ip(Some(pid), "addr show eth0");
            assert_eq!(
                addresses(&inside),
                ["10.1.2.3/24 eth0:web", "10.1.2.4/24 eth0", "2001:db8::1/64"],
                "{inside}"
            );
            assert_ne!(inside.pointer("/0/ifindex").unwrap(), &Value::from(info.index));
            assert_eq!(inside.pointer("/0/mtu").unwrap(), &Value::from(1400));
            assert_eq!(inside.pointer("/0/address").unwrap(), &Value::from("02:00:00:00:00:07"));
            assert_eq!(inside.pointer("/0/addr_info/0/broadcast").unwrap(), &Value::from("10.1.2.255"));
            assert!(inside.pointer("/0/flags").unwrap().as_array().unwrap().contains(&Value::from("UP")));
            let error = prepare("d0").unwrap_err().to_string();
            assert_eq!(error, "network device d0: find it: no such device");

            move_back(netns, "eth0", "d0").unwrap();
            let outside = ip(None, "addr show d0");
            assert!(addresses(&outside).is_empty(), "{outside}");
            assert!(!outside.pointer("/0/flags").unwrap().as_array().unwrap().contains(&Value::from("UP")));
            // It is not there any more, which is as good.
            move_back(netns, "eth0", "d0").unwrap();
        });
    }

    #[test]
    fn a_template_gets_the_lowest_free_number() {
        apart(|pid, netns| {
            ip(None, "link add d0 type veth");
            ip(Some(pid), "link add eth0 type veth");
            assert_eq!(move_to(&prepare("d0").unwrap(), netns, "eth%d").unwrap(), "eth1");
            let error = move_back(netns, "eth%d", "d0").unwrap_err().to_string();
            assert!(
                error.contains("which of eth0, eth1 is it?") || error.contains("which of eth1, eth0"),
                "{error}"
            );
            ip(Some(pid), "link del eth0");
            move_back(netns, "eth%d", "d0").unwrap();
            prepare("d0").unwrap();
        });
    }

    #[test]
    fn names_in_use_are_refused_on_both_sides() {
        apart(|pid, netns| {
            ip(None, "link add d0 type veth");
            ip(Some(pid), "link add eth0 type veth");
            let error = move_to(&prepare("d0").unwrap(), netns, "eth0").unwrap_err().to_string();
            assert_eq!(
                error,
                "network device d0: move it to the container: the container has a device of the name \"eth0\" already"
            );
            move_to(&prepare("d0").unwrap(), netns, "eth9").unwrap();
            ip(None, "link add d0 type veth");
            let error = move_back(netns, "eth9", "d0").unwrap_err().to_string();
            assert_eq!(
                error,
                "network device d0: move it back to the host: the host has a device of the name \"d0\" already"
            );
            ip(Some(pid), "link show eth9");
        });
    }

    #[test]
    fn a_device_that_cannot_be_set_up_inside_comes_back() {
        apart(|pid, netns| {
            ip(None, "link add d0 type veth");
            ip(None, "addr add 2001:db8::1/64 dev d0 nodad");
            let forbid = "net.ipv6.conf.default.disable_ipv6=1";
            let status = Command::new("nsenter")
                .arg(format!("--net=/proc/{pid}/ns/net"))
                .args(["sysctl", "-qw", forbid])
                .status();
            assert!(status.unwrap().success());
            let error = move_to(&prepare("d0").unwrap(), netns, "eth0").unwrap_err().to_string();
            assert_eq!(error, "network device d0: give it its addresses in the container: permission denied");
            prepare("d0").unwrap();
            let no_namespace = std::fs::File::open("/dev/null").unwrap();
            let error = move_back(no_namespace.as_fd(), "eth0", "d0").unwrap_err().to_string();
            assert!(error.ends_with("network namespace: invalid argument"), "{error}");
        });
    }
}
