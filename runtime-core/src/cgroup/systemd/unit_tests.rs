//! The unit against a manager of ours, which answers as systemd does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use super::super::message::{self, peer};
use super::*;
use crate::cgroup::layout::OwnCgroups;

const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// What the manager does with a call: the bytes it sends, of its serial number.
type Answer = fn(u32) -> Vec<u8>;
/// The calls that a manager has had, once it has ended.
type Calls = JoinHandle<Vec<(String, Vec<Value>)>>;

fn started(serial: u32) -> Vec<u8> {
    // The job of another ends first, and something is said that nobody asked for.
    [
        peer::signal("UnitNew", &[Value::text("x.scope"), Value::Path("/x".into())]),
        peer::reply(serial, &[Value::Path(JOB.into())]),
        peer::job_removed("/org/freedesktop/systemd1/job/6", "b.scope", "failed"),
        peer::job_removed(JOB, "a.scope", "done"),
    ]
    .concat()
}

fn failed(serial: u32) -> Vec<u8> {
    [peer::job_removed(JOB, "a.scope", "failed"), peer::reply(serial, &[Value::Path(JOB.into())])].concat()
}

fn taken(serial: u32) -> Vec<u8> {
    peer::refusal(serial, "org.freedesktop.systemd1.UnitExists", "Unit a.scope already exists.")
}

fn none(serial: u32) -> Vec<u8> {
    peer::refusal(serial, "org.freedesktop.systemd1.NoSuchUnit", "Unit a.scope not loaded.")
}

fn unknown(serial: u32) -> Vec<u8> {
    let text = "Cannot set property MemoryZSwapMax, or unknown property.";
    peer::refusal(serial, "org.freedesktop.DBus.Error.PropertyReadOnly", text)
}

fn done(serial: u32) -> Vec<u8> {
    peer::reply(serial, &[])
}

fn read_message(stream: &mut UnixStream, ahead: &mut Vec<u8>) -> Vec<u8> {
    let mut chunk = [0; 512];
    loop {
        if let Some(length) = ahead.get(..message::START).map(|start| message::length(start).unwrap())
            && ahead.len() >= length
        {
            return ahead.drain(..length).collect();
        }
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the client is gone");
        ahead.extend_from_slice(&chunk[..n]);
    }
}

/// A manager that gives these answers, one for each call; at its end the calls that it has had.
fn manager(direct: bool, answers: &[Answer]) -> (Bus, Calls) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let answers = answers.to_vec();
    let calls = std::thread::spawn(move || {
        const HELLO: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
        let mut hello = vec![0; HELLO.len()];
        theirs.read_exact(&mut hello).unwrap();
        assert_eq!(hello, HELLO);
        theirs.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").unwrap();
        let (mut calls, mut ahead) = (Vec::new(), Vec::new());
        for answer in answers {
            let (serial, member, arguments) = peer::read_call(&read_message(&mut theirs, &mut ahead));
            calls.push((member, arguments));
            // In small pieces, as a stream may deliver them.
            for piece in answer(serial).chunks(50) {
                theirs.write_all(piece).unwrap();
            }
        }
        calls
    });
    ours.set_nonblocking(true).unwrap();
    let address = if direct { Address::Direct("/s".into()) } else { Address::Bus("/s".into()) };
    (Bus::on(ours.into(), &address).unwrap(), calls)
}

fn unit() -> Unit {
    let address = Address::Direct("/s".into());
    Unit { name: "a.scope".into(), slice: "system.slice".into(), address, started: false }
}

fn members(calls: Calls) -> Vec<String> {
    calls.join().unwrap().into_iter().map(|(member, _)| member).collect()
}

#[test]
fn a_unit_is_started_by_one_call() {
    let (mut bus, calls) = manager(true, &[started]);
    let properties = vec![("Delegate".to_owned(), Value::Bool(true))];
    assert!(start(&mut bus, &unit(), 42, properties).is_ok());
    let calls = calls.join().unwrap();
    assert_eq!(calls.len(), 1);
    let (member, arguments) = &calls[0];
    assert_eq!(member, "StartTransientUnit");
    assert_eq!(arguments[..2], [Value::text("a.scope"), Value::text("fail")]);
    let said = arguments[2].to_string();
    assert_eq!(said, "[('Delegate', <true>), ('PIDs', <[uint32 42]>)]");
}

#[test]
fn over_a_bus_there_is_a_greeting_and_a_subscription() {
    let (mut bus, calls) = manager(false, &[done, done, started]);
    assert!(start(&mut bus, &unit(), 42, Vec::new()).is_ok());
    assert_eq!(members(calls), ["Hello", "AddMatch", "StartTransientUnit"]);
}

#[test]
fn a_job_that_fails_is_a_failure() {
    let (mut bus, _calls) = manager(true, &[failed]);
    let answer = start(&mut bus, &unit(), 42, Vec::new());
    assert!(matches!(answer, Err(StartError::Failed(why)) if why.contains("\"failed\"")));
}

#[test]
fn a_name_that_a_failed_unit_has_is_taken_from_it() {
    let (mut bus, calls) = manager(true, &[taken, done, started]);
    assert!(start(&mut bus, &unit(), 42, Vec::new()).is_ok());
    assert_eq!(members(calls), ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

#[test]
fn a_name_that_another_unit_has_is_left_to_it() {
    let (mut bus, calls) = manager(true, &[taken, none, taken]);
    let answer = start(&mut bus, &unit(), 42, Vec::new());
    assert!(matches!(answer, Err(StartError::Taken(why)) if why.contains("already exists")));
    assert_eq!(members(calls).len(), 3);
}

#[test]
fn a_limit_without_a_property_is_ours_to_write() {
    let (mut bus, calls) = manager(true, &[unknown, started]);
    let properties =
        vec![("MemoryZSwapMax".to_owned(), Value::U64(1)), ("MemoryMax".to_owned(), Value::U64(2))];
    assert!(start(&mut bus, &unit(), 42, properties).is_ok());
    let last = calls.join().unwrap().pop().unwrap().1[2].to_string();
    assert!(last.contains("MemoryMax") && !last.contains("MemoryZSwapMax"), "{last}");
    // One that an annotation asks for is not left out.
    let (mut bus, _calls) = manager(true, &[unknown]);
    assert!(start(&mut bus, &unit(), 42, vec![("Foo".to_owned(), Value::U64(1))]).is_err());
}

#[test]
fn a_manager_that_refuses_us_or_goes_away() {
    for said in [&b"REJECTED EXTERNAL\r\n"[..], b"", b"OK 12\r\n"] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(said).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        ours.set_nonblocking(true).unwrap();
        let bus = Bus::on(ours.into(), &Address::Direct("/s".into()));
        assert!(bus.and_then(|mut bus| bus.run("StopUnit", &[])).is_err(), "{said:?}");
    }
}

#[test]
fn where_units_have_their_groups() {
    let manager = |user: bool, root: &str| Manager {
        address: Address::Direct("/s".into()),
        user,
        own: OwnCgroups { v1: Vec::new(), v2: Some(root.to_owned()) },
    };
    let mount = |root: &str| Layout::V2(HierarchyMount { mount_point: "/c".into(), root: root.into() });
    let path = |layout: &Layout, manager: &Manager, given| {
        let placement = place(layout, manager, given, "id", manager.user);
        placement.map(|p| p.v2().unwrap().path.display().to_string()).map_err(|e| e.to_string())
    };
    let (system, of_user) = (manager(false, "/"), manager(true, "/user.slice/user@1.service"));
    for (manager, root, given, expected) in [
        (&system, "/", None, "/c/system.slice/orlop-id.scope"),
        (&system, "/", Some("a-b.slice:p:n"), "/c/a.slice/a-b.slice/p-n.scope"),
        (&of_user, "/", None, "/c/user.slice/user@1.service/user.slice/orlop-id.scope"),
        (&of_user, "/user.slice", None, "/c/user@1.service/user.slice/orlop-id.scope"),
    ] {
        assert_eq!(path(&mount(root), manager, given), Ok(expected.to_owned()));
    }
    assert!(path(&mount("/docker"), &of_user, None).is_err());
    assert!(path(&mount("/"), &system, Some("/a/b")).unwrap_err().contains("slice:prefix:name"));
}

#[test]
fn of_version_1_systemd_keeps_some() {
    let v1 = |label: &str| crate::cgroup::V1Hierarchy {
        label: label.into(),
        mount: HierarchyMount { mount_point: format!("/c/{label}").into(), root: "/".into() },
    };
    let layout = Layout::V1(vec![v1("cpu,cpuacct"), v1("freezer"), v1("name=systemd")]);
    let manager = Manager { address: Address::Direct("/s".into()), user: false, own: OwnCgroups::default() };
    let placement = place(&layout, &manager, Some("a-b.slice::n"), "id", false).unwrap();
    assert!(placement.groups().iter().all(|g| g.path.ends_with("a.slice/a-b.slice/n.scope")));
    let parents: Vec<usize> = placement.groups().iter().map(|g| g.parents.len()).collect();
    assert_eq!(parents, [0, 2, 0]);
    let text = serde_json::to_string(&placement).unwrap();
    assert_eq!(serde_json::from_str::<Placement>(&text).unwrap(), placement);
}
