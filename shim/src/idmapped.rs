//! Root file systems with mapped ids, which containerd 2 has instead of copies for user namespaces (options `uidmap`, `gidmap`).

use crate::mounts::Place;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use orlop_core::idmapped;
use orlop_core::plan::IdMaps;
use orlop_core::sys::{self, Fd, Reason};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A map as it stands in an option: `inside:outside:count`, several with commas between them.
fn ranges(text: &str) -> Option<Vec<(u32, u32, u32)>> {
    let range = |range: &str| {
        let mut numbers = range.split(':').map(|number| number.parse().ok());
        let found = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(found)
    };
    text.split(',').map(range).collect()
}

/// The maps among the options, which are taken out of them.
///
/// # Errors
/// One is no map, or is there without the other.
pub(crate) fn maps(options: &mut Vec<String>) -> Result<Option<IdMaps>, String> {
    let mut take = |name: &str| {
        let index = options.iter().position(|option| option.starts_with(name));
        index.map(|index| options.remove(index))
    };
    match (take("uidmap="), take("gidmap=")) {
        (None, None) => Ok(None),
        (Some(uid), Some(gid)) => {
            let read = |option: &str| {
                let map = option.split_once('=').and_then(|(_, map)| ranges(map));
                map.ok_or_else(|| format!("mount option {option:?} is no map of ids"))
            };
            Ok(Some(IdMaps { uid: read(&uid)?, gid: read(&gid)? }))
        }
        (Some(one), None) | (None, Some(one)) => {
            Err(format!("mount option {one:?}: user and group ids are mapped together or not at all"))
        }
    }
}

fn attach(tree: &OwnedFd, target: &Path) -> Result<(), String> {
    let target_fd =
        File::open(target).map_err(|e| format!("open {}: {}", target.display(), Reason::of(&e)))?;
    let moved = sys::move_mount(Fd::from(tree), Fd::from(target_fd.as_fd()));
    moved.map_err(|e| format!("attach to {}: {}", target.display(), e.reason()))
}

/// Puts a copy with mapped ids over what is mounted at `place`.
///
/// # Errors
/// Its ids cannot be mapped.
pub(crate) fn cover(place: Place<'_>, maps: &IdMaps) -> Result<(), String> {
    let users = idmapped::user_namespace(maps).map_err(|e| e.to_string())?;
    let mut covered = Ok(());
    let found = place.with(|path| {
        covered = idmapped::tree(path, users.as_fd())
            .map_err(|e| e.to_string())
            .and_then(|tree| attach(&tree, path));
        Ok(())
    });
    found.map_err(|e| format!("find {place}: {}", Reason::from(e))).and(covered)
}

/// Mounts an overlay of layers whose ids are mapped at `place`.
///
/// The layers need mounts of their own, with paths.  They are made in a mount namespace of this thread's own, out of which the
/// overlay is taken when it is there: nobody else sees them, and they are gone with the namespace whatever happens.
///
/// # Errors
/// As with any overlay; or ids cannot be mapped.
pub(crate) fn overlay(
    place: Place<'_>,
    options: &[String],
    flags: MsFlags,
    maps: &IdMaps,
) -> Result<(), String> {
    let errno = |what: &'static str| move |e: nix::Error| format!("{what}: {}", Reason::from(e));
    let host = File::open("/proc/thread-self/ns/mnt")
        .map_err(|e| format!("open the mount namespace: {}", Reason::of(&e)))?;
    let users = idmapped::user_namespace(maps).map_err(|e| e.to_string())?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(errno("make a mount namespace"))?;
    let made = layered(place.rootfs(), options, flags, &users);
    setns(&host, CloneFlags::CLONE_NEWNS).map_err(errno("go back to the mount namespace"))?;
    let overlay = made?;
    let mut attached = Ok(());
    let found = place.with(|path| {
        attached = attach(&overlay, path);
        Ok(())
    });
    found.map_err(errno("find the place of the root file system")).and(attached)
}

/// The overlay, detached, made below `scratch` in this mount namespace, which is left for good.
fn layered(scratch: &Path, options: &[String], flags: MsFlags, users: &OwnedFd) -> Result<OwnedFd, String> {
    let errno = |what: &'static str| move |e: nix::Error| format!("{what}: {}", Reason::from(e));
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(errno("make mounts private"))?;
    let layers = options.iter().find_map(|option| option.strip_prefix("lowerdir="));
    let layers = layers.ok_or("an overlay without lowerdir")?;
    // Taken before the scratch may cover them.
    let layers = layers.split(':').map(|layer| idmapped::tree(Path::new(layer), users.as_fd()));
    let layers = layers.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    mount(Some("layers"), scratch, Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .map_err(errno("mount a place for the layers"))?;
    let directory = |name: &str| -> Result<PathBuf, String> {
        let path = scratch.join(name);
        fs::create_dir(&path).map_err(|e| format!("make {}: {}", path.display(), Reason::of(&e)))?;
        Ok(path)
    };
    let mut names = Vec::new();
    for (layer, number) in layers.iter().zip(0..) {
        let name = format!("{number}");
        attach(layer, &directory(&name)?)?;
        names.push(name);
    }
    let target = directory("overlay")?;
    let lower = format!("lowerdir={}", names.join(":"));
    let others = options.iter().filter(|option| !option.starts_with("lowerdir="));
    let data = others.map(String::as_str).chain([lower.as_str()]).collect::<Vec<_>>().join(",");
    nix::unistd::chdir(scratch).map_err(errno("go to the layers"))?;
    mount(Some("overlay"), &target, Some("overlay"), flags, Some(data.as_str())).map_err(errno("mount"))?;
    idmapped::detached(&target, false).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Mount;
    use crate::mounts::tests::{leave, own_world, strings, the};
    use crate::mounts::{mount_all, unmount_all};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn maps_are_read_and_taken_out() {
        let mut options = strings(&["ro", "uidmap=0:1000:10,10:5000:1", "gidmap=0:2000:20", "x"]);
        let found = maps(&mut options).unwrap().unwrap();
        assert_eq!(found.uid, [(0, 1000, 10), (10, 5000, 1)]);
        assert_eq!(found.gid, [(0, 2000, 20)]);
        assert_eq!(options, ["ro", "x"]);
        assert_eq!(maps(&mut options), Ok(None));
        for odd in [&["uidmap=0:1:1"][..], &["uidmap=0:1", "gidmap=0:1:1"], &["uidmap=0:1:1", "gidmap=a:1:1"]]
        {
            assert!(maps(&mut strings(odd)).is_err(), "{odd:?}");
        }
    }

    /// Whether an error is that of a kernel or a file system that cannot map ids.
    fn cannot(error: &str) -> bool {
        error.contains("map the ids of")
    }

    #[test]
    fn files_of_layers_have_the_ids_of_the_map() {
        let Some(world) = own_world("idmapped") else { return };
        let (rootfs, one, two) = (world.join("rootfs"), world.join("one"), world.join("two"));
        let (upper, work) = (world.join("upper"), world.join("work"));
        for directory in [&one, &two, &upper, &work] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(one.join("a"), "1").unwrap();
        fs::write(two.join("b"), "2").unwrap();
        let [lower, upper, work] = [
            format!("lowerdir={}:{}", one.display(), two.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ];
        let ids = ["uidmap=0:1000:10", "gidmap=0:2000:10"];
        let overlay: Mount =
            the("overlay", Path::new("overlay"), "", &[&lower, &upper, &work, ids[0], ids[1]]);
        let bound = the("bind", &one, "", &["rbind", ids[0], ids[1]]);
        for (mount, files) in [(overlay, &["a", "b"][..]), (bound, &["a"])] {
            match mount_all(&[mount], &rootfs) {
                Err(e) if cannot(&e) => {
                    crate::mounts::tests::skip(&e);
                    continue;
                }
                made => made.unwrap(),
            }
            for file in files {
                let found = fs::metadata(rootfs.join(file)).unwrap();
                assert_eq!((found.uid(), found.gid()), (1000, 2000), "{file}");
            }
            let info = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            assert!(!info.contains("layers"), "nothing but the root file system is left: {info}");
            unmount_all(&rootfs);
            assert!(fs::read_dir(&rootfs).unwrap().next().is_none());
        }
        assert_eq!(fs::metadata(one.join("a")).unwrap().uid(), 0);
        leave(&world);
    }
}
