//! Loop devices (`loop(4)`): a file as a block device.

#![allow(unsafe_code)]

use super::{Call, Fd, Result, call};
use core::mem::offset_of;

/// `struct loop_info64` of `<linux/loop.h>`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Config>() == 304 && offset_of!(Config, info.file_name) == 64);

/// How a loop device works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopFlags {
    /// Nothing can be written to it.
    pub read_only: bool,
    /// The file is read past the page cache.
    pub direct_io: bool,
}

/// The number of a device that no file is attached to, made when there is none (`LOOP_CTL_GET_FREE`); another may be faster to
/// use it.
///
/// # Errors
/// Those of `ioctl(2)` on `/dev/loop-control`.
pub fn free_loop_device(control: Fd) -> Result<usize> {
    const LOOP_CTL_GET_FREE: u32 = 0x4c82;
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Ioctl, SYS_ioctl, control, LOOP_CTL_GET_FREE, 0) }
}

/// Attaches `file` to `device`, until nobody has that open or mounted any more (`LOOP_CONFIGURE`, Linux 5.8).  `name` is what is
/// told of the file, by `losetup(8)` say; what is longer than 63 bytes is cut off.
///
/// # Errors
/// Those of `ioctl(2)`: `EBUSY` when another was faster.
pub fn attach_to_loop_device(device: Fd, file: Fd, name: &[u8], flags: LoopFlags) -> Result<()> {
    const LOOP_CONFIGURE: u32 = 0x4c0a;
    const READ_ONLY: u32 = 1;
    const AUTOCLEAR: u32 = 4;
    const DIRECT_IO: u32 = 16;
    let given = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
    let mut info = Info {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: AUTOCLEAR | given(flags.read_only, READ_ONLY) | given(flags.direct_io, DIRECT_IO),
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    // The last byte stays NUL.
    info.file_name.iter_mut().take(63).zip(name).for_each(|(to, from)| *to = *from);
    let config = Config { fd: file.0.cast_unsigned(), block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one struct loop_config.
    unsafe { call!(Call::Ioctl, SYS_ioctl, device, LOOP_CONFIGURE, &raw const config) }.map(drop)
}
