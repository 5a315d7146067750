//! `linux.resources.memory`.

use oci_spec::runtime::LinuxMemory;

use super::convert::swap_beside;
use super::{LimitWrite, Missing, Side, Target, or_max};

const AT: &str = "linux.resources.memory";

pub(super) fn compile(memory: &LinuxMemory, target: &mut Target<'_>) {
    #[allow(deprecated, reason = "by kernels, and yet part of the specification")]
    let kernel = memory.kernel();
    let asked = [
        ("limit", given(memory.limit()).is_some()),
        ("swap", given(memory.swap()).is_some()),
        ("reservation", given(memory.reservation()).is_some()),
        ("kernel", kernel.is_some()),
        ("kernelTCP", memory.kernel_tcp().is_some()),
        ("swappiness", memory.swappiness().is_some()),
        ("disableOOMKiller", memory.disable_oom_killer().is_some()),
        ("useHierarchy", memory.use_hierarchy().is_some()),
    ];
    let Some((key, _)) = asked.into_iter().find(|(_, given)| *given) else { return };
    match target.side("memory", &format!("{AT}.{key}")) {
        Some(Side::V1) => {
            v1_limits(memory, kernel, target);
            v1_switches(memory, target);
        }
        Some(Side::V2) => {
            v2_limits(memory, target);
            v2_cannot(memory, kernel, target);
        }
        None => {}
    }
}

/// As in every runtime, 0 is "not given".
fn given(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != 0)
}

fn v1(file: &str, value: &impl ToString, key: &str) -> LimitWrite {
    LimitWrite::new("memory", Side::V1, file, value, &format!("{AT}.{key}"))
}

fn v1_limits(memory: &LinuxMemory, kernel: Option<i64>, target: &mut Target<'_>) {
    let limit = given(memory.limit());
    let mut pair: Vec<LimitWrite> =
        limit.map(|limit| v1("memory.limit_in_bytes", &limit, "limit")).into_iter().collect();
    // No limit to memory alone means none to memory and swap together: the kernel would refuse the one without the other.
    let swap = given(memory.swap()).map(|swap| (swap, "swap"));
    if let Some((swap, key)) = swap.or_else(|| limit.filter(|limit| *limit < 0).map(|limit| (limit, "limit")))
    {
        // Without the file swap is not accounted, and so not limited.
        let missing = if swap < 0 { Missing::Skip } else { Missing::Error };
        pair.push(v1("memory.memsw.limit_in_bytes", &swap, key).or(missing));
    }
    target.together(pair);
    if let Some(reservation) = given(memory.reservation()) {
        target.one(v1("memory.soft_limit_in_bytes", &reservation, "reservation"));
    }
    for (key, file, limit) in [
        ("kernel", "memory.kmem.limit_in_bytes", kernel),
        ("kernelTCP", "memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp()),
    ] {
        // No limit is what every group has, and kernels that have dropped it have nothing else.
        if let Some(limit) = limit.filter(|limit| *limit >= 0) {
            target.one(v1(file, &limit, key));
        }
    }
}

fn v1_switches(memory: &LinuxMemory, target: &mut Target<'_>) {
    if let Some(swappiness) = memory.swappiness() {
        target.one(v1("memory.swappiness", &swappiness, "swappiness"));
    }
    if let Some(disable) = memory.disable_oom_killer() {
        // Written when false, too: a group inherits it from the one above.
        target.one(v1("memory.oom_control", &u8::from(disable), "disableOOMKiller"));
    }
    if let Some(hierarchical) = memory.use_hierarchy() {
        // A kernel without the file knows nothing but hierarchies.
        let missing = if hierarchical { Missing::Skip } else { Missing::Error };
        target.one(v1("memory.use_hierarchy", &u8::from(hierarchical), "useHierarchy").or(missing));
    }
}

fn v2_limits(memory: &LinuxMemory, target: &mut Target<'_>) {
    let limit = given(memory.limit());
    let check = memory.check_before_update().unwrap_or(false);
    let write = |file: &str, value: i64, key: &str| {
        LimitWrite::new("memory", Side::V2, file, &or_max(value), &format!("{AT}.{key}"))
    };
    let mut pair = Vec::new();
    match swap_beside(limit, memory.swap()) {
        Ok(Some(swap)) => {
            // A kernel without swap has none to limit.
            let missing = if swap <= 0 { Missing::Skip } else { Missing::Error };
            let key = if given(memory.swap()).is_some() { "swap" } else { "limit" };
            let mut write = write("memory.swap.max", swap, key).or(missing);
            write.not_below = (check && swap >= 0).then_some("memory.swap.current");
            pair.push(write);
        }
        Ok(None) => {}
        Err(message) => target.fault(&format!("{AT}.swap"), message),
    }
    if let Some(limit) = limit {
        let mut write = write("memory.max", limit, "limit");
        write.not_below = (check && limit > 0).then_some("memory.current");
        pair.push(write);
    }
    target.together(pair);
    if let Some(reservation) = given(memory.reservation()) {
        target.one(write("memory.low", reservation, "reservation"));
    }
}

/// What version 2 has no file for, unless the value says what is so anyway.
fn v2_cannot(memory: &LinuxMemory, kernel: Option<i64>, target: &mut Target<'_>) {
    for (key, limited, what) in [
        (
            "kernel",
            kernel.is_some_and(|limit| limit >= 0),
            "counts the kernel's memory with the rest, and has no limit for it",
        ),
        (
            "kernelTCP",
            memory.kernel_tcp().is_some_and(|limit| limit >= 0),
            "counts the buffers of TCP with the rest, and has no limit for them",
        ),
        ("swappiness", memory.swappiness().is_some(), "has no swappiness of a group"),
        ("disableOOMKiller", memory.disable_oom_killer() == Some(true), "cannot do without the OOM killer"),
        ("useHierarchy", memory.use_hierarchy() == Some(false), "is always hierarchical"),
    ] {
        if limited {
            target.fault(&format!("{AT}.{key}"), format!("cgroup version 2 {what}"));
        }
    }
}
