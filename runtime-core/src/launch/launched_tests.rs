//! Records that arrive in another order than the halves would like.

use super::*;
use crate::sys::Call;
use crate::sys::socketpair;

/// The parent's end at a stage, and the child's end.
fn at(stage: Stage) -> (Launched, OwnedFd) {
    let (sync, childs_end) = socketpair().unwrap();
    let child = Child { pid: sys::getpid(), pidfd: sys::pidfd_open(sys::getpid()).unwrap() };
    (Launched::new(child, sync, stage), childs_end)
}

fn say(end: &OwnedFd, message: FromChild) {
    crate::launch::protocol::send(Fd::from(end), &message.encode()).unwrap();
}

/// The process and the stage that made it run side by side.
#[test]
fn the_process_may_overtake_its_stage() {
    let (mut launched, end) = at(Stage::Joining);
    let done = FromChild::StepDone { step: 0, time: 1 };
    let error = SysError { call: Call::Execve, errno: libc::ENOENT };
    let failed = FromChild::Failed { step: 3, error };
    for m in [done, FromChild::Ready, failed, FromChild::Forked { pid: 7 }] {
        say(&end, m);
    }
    let heard: Vec<_> = (0..4).map(|_| launched.hear().unwrap().unwrap()).collect();
    assert_eq!(heard, [FromChild::Forked { pid: 7 }, done, FromChild::Ready, failed]);
    drop(end);
    assert!(launched.hear().unwrap().is_none());
}

#[test]
fn a_stage_that_fails_is_heard_at_once() {
    let (mut launched, end) = at(Stage::Joining);
    let error = SysError { call: Call::Setns, errno: libc::EPERM };
    say(&end, FromChild::Failed { step: STAGE, error });
    assert_eq!(launched.hear().unwrap(), Some(FromChild::Failed { step: STAGE, error }));
}

/// A child that ends without having read what we said resets the connection; its own words stay to be read.
#[test]
fn a_report_outlives_a_reset() {
    let (mut launched, end) = at(Stage::Walking { hooks: true });
    launched.say(FromParent::Go(Gate::Maps)).unwrap();
    let error = SysError { call: Call::CloseRange, errno: libc::ENOSYS };
    say(&end, FromChild::Failed { step: STAGE, error });
    drop(end);
    assert_eq!(launched.hear().unwrap(), Some(FromChild::Failed { step: STAGE, error }));
    assert!(launched.hear().unwrap().is_none());
}

#[test]
fn what_is_out_of_order_is_an_error() {
    let (mut launched, end) = at(Stage::Ready);
    say(&end, FromChild::Forked { pid: 7 });
    assert!(launched.hear().unwrap_err().to_string().contains("broke the protocol"));
}

#[test]
fn last_words_are_those_that_were_said() {
    let (mut launched, end) = at(Stage::Walking { hooks: true });
    assert_eq!(launched.last_words(), None);
    let error = SysError { call: Call::CloseRange, errno: libc::ENOSYS };
    say(&end, FromChild::StepDone { step: 0, time: 1 });
    say(&end, FromChild::Failed { step: 1, error });
    assert_eq!(launched.last_words(), Some((1, error)));
    drop(end);
    assert_eq!(launched.last_words(), None);
}
