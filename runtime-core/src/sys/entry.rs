//! Where a program may start in place of the C library: the second execution that protects its binary, before anything else.
//!
//! [`crate::protect`] tells what is done and why.  It can only be called once the C library is up, and the
//! second execution brings the C library up again; on some virtual machines that alone is 0.4 ms, since it asks
//! the processor for its features by dozens of CPUID instructions, each of which traps there.  So a program may be linked with
//! `-e orlop_start`: then the usual case, a privileged caller on Linux 5.12 or later, is dealt with here, by six calls and no
//! library, and [`crate::protect::reexec_if_needed`] finds the program protected.
//!
//! Whatever else is the case, or fails, is left to it: this jumps to the C library's `_start` with the stack and
//! the registers that the kernel made.  So it decides nothing: a program that is not linked so is as safe.
//!
//! It only looks when an argument is the name of a command that brings a process into a container; which argument is the command is
//! not known yet, but a second execution too many is harmless.
//!
//! x86_64 only; elsewhere programs start as usual.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    // At the entry: rsp points to argc, argv, NULL, envp, NULL; rdx is for _start, 0 or a function of the dynamic linker.
    // The program is not relocated yet, so everything is addressed relative to rip; no memory but the stack is written.
    ".pushsection .text.orlop_start,\"ax\",@progbits",
    ".globl orlop_start",
    // A shared library has none, nor does it start anywhere.
    ".weak _start, orlop_next",
    ".type orlop_start,@function",
    "orlop_start:",
    ".cfi_startproc",
    ".cfi_undefined rip",
    "mov rbx, rsp",
    "mov r15, rdx",
    "lea r14, [rsp + 8]",
    // Is one of the arguments run, exec, create, start or restore?  Behind the last argument on the stack come the environment, the
    // name of the program and eight bytes of zero, so eight bytes may be read from any of them.
    "20:",
    "mov rax, [r14]",
    "add r14, 8",
    "test rax, rax",
    "jz 90f",
    "mov ecx, [rax]",
    "mov edx, [rax + 4]",
    "cmp ecx, 0x006e7572", // "run\0"
    "je 30f",
    "cmp ecx, 0x72617473", // "star" "t\0"
    "je 22f",
    "cmp ecx, 0x61657263", // "crea" "te\0"
    "je 23f",
    "cmp ecx, 0x74736572", // "rest" "ore\0"
    "je 24f",
    "cmp ecx, 0x63657865", // "exec" "\0"
    "jne 20b",
    "test dl, dl",
    "jz 30f",
    "jmp 20b",
    "22:",
    "cmp dx, 0x0074",
    "je 30f",
    "jmp 20b",
    "23:",
    "and edx, 0x00ffffff",
    "cmp edx, 0x00006574",
    "je 30f",
    "jmp 20b",
    "24:",
    "cmp edx, 0x0065726f",
    "jne 20b",
    // openat(AT_FDCWD, "/proc/self/exe", O_PATH | O_CLOEXEC)
    "30:",
    "sub rsp, 128",
    "mov eax, {openat}",
    "mov rdi, {cwd}",
    "lea rsi, [rip + 98f]",
    "mov edx, {path_flags}",
    "xor r10d, r10d",
    "syscall",
    "test rax, rax",
    "js 90f",
    "mov r12d, eax",
    // fstatfs: nothing is to be done on a mount that is read-only.
    "mov eax, {fstatfs}",
    "mov edi, r12d",
    "mov rsi, rsp",
    "syscall",
    "test rax, rax",
    "jnz 80f",
    "test byte ptr [rsp + {flags_offset}], 1",
    "jnz 80f",
    // open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE).  Not close-on-exec: with the last descriptor the mount goes, and to take a
    // mount down the kernel waits for all processors; the program does it when it has the time (`protect::keep_own_mount`).
    "mov eax, {open_tree}",
    "mov edi, r12d",
    "lea rsi, [rip + 97f]",
    "mov edx, {tree_flags}",
    "syscall",
    "test rax, rax",
    "js 80f",
    "mov r13d, eax",
    // mount_setattr(tree, "", AT_EMPTY_PATH, {{ .attr_set = MOUNT_ATTR_RDONLY }}, 32)
    "mov eax, {mount_setattr}",
    "mov edi, r13d",
    "mov edx, {empty_path}",
    "lea r10, [rip + 99f]",
    "mov r8d, 32",
    "syscall",
    "test rax, rax",
    "jnz 70f",
    // The same question as above, of what is to be executed: so it is executed at most once.
    "mov eax, {fstatfs}",
    "mov edi, r13d",
    "mov rsi, rsp",
    "syscall",
    "test rax, rax",
    "jnz 70f",
    "test byte ptr [rsp + {flags_offset}], 1",
    "jz 70f",
    // execveat(tree, "", argv, envp, AT_EMPTY_PATH)
    "mov eax, {execveat}",
    "mov edi, r13d",
    "lea rsi, [rip + 97f]",
    "lea rdx, [rbx + 8]",
    "mov r10, [rbx]",
    "lea r10, [rbx + r10 * 8 + 16]",
    "mov r8d, {empty_path}",
    "syscall",
    // It failed: everything as it was.
    "70:",
    "mov eax, {close}",
    "mov edi, r13d",
    "syscall",
    "80:",
    "mov eax, {close}",
    "mov edi, r12d",
    "syscall",
    // What is about to be met, page by page, is had in one call each in place of some 100 page faults.  A kernel that does not know how
    // (before 5.14) has the faults.  First what is written to: the relocations and the data.  Not what begins as zeros, of which less
    // is used than there is.
    "90:",
    "lea rdi, [rip + __init_array_start]",
    "and rdi, -4096",
    "lea rsi, [rip + __bss_start]",
    "sub rsi, rdi",
    "mov edx, {populate}",
    "mov eax, {madvise}",
    "syscall",
    // The code that the linker has laid side by side (hot-functions.txt), should it have done so.
    "lea rdi, [rip + orlop_start]",
    "and rdi, -4096",
    "lea rsi, [rip + orlop_hot_end]",
    "sub rsi, rdi",
    "cmp rsi, {hot_at_most}",
    "ja 91f",
    "mov edx, {populate_read}",
    "mov eax, {madvise}",
    "syscall",
    "91:",
    // The stack.
    "lea rdi, [rbx - {stack}]",
    "and rdi, -4096",
    "mov esi, {stack}",
    "mov edx, {populate}",
    "mov eax, {madvise}",
    "syscall",
    "mov rsp, rbx",
    "mov rdx, r15",
    "jmp orlop_next",
    "98: .asciz \"/proc/self/exe\"",
    "97: .byte 0",
    ".balign 8",
    "99: .quad {read_only}, 0, 0, 0",
    ".cfi_endproc",
    ".size orlop_start, . - orlop_start",
    ".popsection",
    // Where the code ends that hot-functions.txt names: it names this last.
    ".pushsection .text.orlop_hot_end,\"ax\",@progbits",
    ".globl orlop_hot_end",
    ".type orlop_hot_end,@function",
    "orlop_hot_end:",
    "ud2",
    // Like no other function, for it is not to be folded with one.
    ".ascii \"orlop_hot_end\"",
    ".size orlop_hot_end, . - orlop_hot_end",
    ".popsection",
    openat = const libc::SYS_openat,
    fstatfs = const libc::SYS_fstatfs,
    open_tree = const libc::SYS_open_tree,
    mount_setattr = const libc::SYS_mount_setattr,
    execveat = const libc::SYS_execveat,
    close = const libc::SYS_close,
    madvise = const libc::SYS_madvise,
    populate = const libc::MADV_POPULATE_WRITE,
    populate_read = const libc::MADV_POPULATE_READ,
    hot_at_most = const 3 << 19,
    // As much as a run uses, within what execve has made of it.
    stack = const 22 << 12,
    cwd = const libc::AT_FDCWD,
    path_flags = const libc::O_PATH | libc::O_CLOEXEC,
    tree_flags = const libc::AT_EMPTY_PATH | libc::OPEN_TREE_CLONE.cast_signed(),
    empty_path = const libc::AT_EMPTY_PATH,
    flags_offset = const core::mem::offset_of!(libc::statfs64, f_flags),
    read_only = const libc::MOUNT_ATTR_RDONLY,
);
