//! The C library's start without its questions to the processor.
//!
//! What glibc does between `_start` and `main` begins by some forty CPUID instructions, for the fastest of its string functions and
//! for the sizes of the caches.  Under a hypervisor each of them leaves the virtual machine (there is no way to have them
//! answered inside): 0.4 to 0.6 ms where we measured, a tenth of a whole `orlop run`, for programs that copy a few kilobytes.
//!
//! So a program may be linked with `orlop_next` as [`orlop_libc_start`](self): the same calls in the same order as glibc 2.36 makes
//! them in a static program, and in place of the questions what it takes a processor for that it knows nothing of: x86-64 as it first
//! was, and the sizes that its data begin with.  `main` finds the library as it always is, but for this: the first thread must not end by
//! `pthread_exit`; nothing can be loaded by `dlopen` (of a static program, the name services and iconv would), since what is
//! loaded asks for a processor that is known; tunables of the processor have no effect, and `sysconf` knows of no caches.  No program of ours
//! wants any of it.
//!
//! These are the library's own inner functions and variables, which another version may have changed.  So the build
//! compares the part of `libc.a` that is replaced, byte for byte, with those that this was written for
//! (`runtime-core/build/libc_start.rs`); with any other the program starts by `_start`, a little slower.

#![allow(unsafe_code)]

core::arch::global_asm!(
    ".pushsection .text.orlop_libc_start,\"ax\",@progbits",
    ".weak __libc_stack_end, _dl_aux_init, __tunables_init, _dl_x86_cpu_features, _dl_hwcap, _dl_relocate_static_pie",
    ".weak _dl_minsigstacksize",
    ".weak __x86_shared_non_temporal_threshold, __x86_rep_movsb_stop_threshold, __rela_iplt_start, __rela_iplt_end",
    ".weak __libc_setup_tls, _dl_random, __libc_early_init, __libc_init_first, __libc_enable_secure",
    ".weak __libc_check_standard_fds, _dl_debug_initialize, _init, _fini",
    ".weak __preinit_array_start, __preinit_array_end, __init_array_start, __init_array_end, __fini_array_start, __fini_array_end",
    ".globl orlop_libc_start",
    ".type orlop_libc_start,@function",
    // As at the kernel's entry: rsp points to argc, argv, NULL, envp, NULL, the auxiliary vector; rdx is 0, or a function to call at the
    // end.  Until the relocations are done everything is addressed relative to rip.  The registers rbx, rbp and r12 to r15
    // are those that a called function leaves alone; rsp is a multiple of 16.
    "orlop_libc_start:",
    ".cfi_startproc",
    ".cfi_undefined rip",
    "xor ebp, ebp",
    "mov r15, rdx",
    "mov r12, [rsp]",
    "lea r13, [rsp + 8]",
    "lea r14, [r13 + r12 * 8 + 8]",
    "mov [rip + environ], r14",
    "mov [rip + __libc_stack_end], rsp",
    "mov rdi, r14",
    "20:",
    "add rdi, 8",
    "cmp qword ptr [rdi - 8], 0",
    "jne 20b",
    "call _dl_aux_init",
    "mov rdi, r14",
    "call __tunables_init",
    // What a signal's frame may take, where the kernel does not say (before 5.14): enough for all registers that there are.
    "cmp qword ptr [rip + _dl_minsigstacksize], 0",
    "jne 21f",
    "mov qword ptr [rip + _dl_minsigstacksize], {frame}",
    "21:",
    // The processor: none of the kinds that are known, with no features; from what size on copies go past the caches, three quarters
    // of the shared cache that the library assumes; and for hwcap that it is one of 64 bits.
    "mov dword ptr [rip + _dl_x86_cpu_features], {kind_other}",
    "mov qword ptr [rip + _dl_hwcap], {hwcap_x86_64}",
    "mov qword ptr [rip + __x86_shared_non_temporal_threshold], {past_caches}",
    "mov qword ptr [rip + __x86_rep_movsb_stop_threshold], {past_caches}",
    "call _dl_relocate_static_pie",
    // What is relocated by asking a function, where the linker has put that apart: {{ offset, info, function }}.
    "mov rbx, [rip + __rela_iplt_start@GOTPCREL]",
    "30:",
    "cmp rbx, [rip + __rela_iplt_end@GOTPCREL]",
    "jae 31f",
    "call [rbx + 16]",
    "mov rcx, [rbx]",
    "mov [rcx], rax",
    "add rbx, 24",
    "jmp 30b",
    "31:",
    "call __libc_setup_tls",
    // The kernel's sixteen random bytes: the canary of the stack, of which the lowest byte is zero, and what pointers are masked with.
    "mov rcx, [rip + _dl_random]",
    "mov rax, [rcx]",
    "xor al, al",
    "mov fs:[0x28], rax",
    "mov rax, [rcx + 8]",
    "mov fs:[0x30], rax",
    "test r15, r15",
    "jz 40f",
    "mov rdi, r15",
    "xor esi, esi",
    "xor edx, edx",
    "call __cxa_atexit",
    "40:",
    "mov edi, 1",
    "call __libc_early_init",
    "mov edi, r12d",
    "mov rsi, r13",
    "mov rdx, [rip + environ]",
    "call __libc_init_first",
    "lea rdi, [rip + 80f]",
    "xor esi, esi",
    "xor edx, edx",
    "call __cxa_atexit",
    "cmp dword ptr [rip + __libc_enable_secure], 0",
    "je 50f",
    "call __libc_check_standard_fds",
    "50:",
    "lea rbx, [rip + __preinit_array_start]",
    "lea rbp, [rip + __preinit_array_end]",
    "call 70f",
    "call _init",
    "lea rbx, [rip + __init_array_start]",
    "lea rbp, [rip + __init_array_end]",
    "call 70f",
    "xor edi, edi",
    "xor esi, esi",
    "call _dl_debug_initialize",
    "xor ebp, ebp",
    "mov edi, r12d",
    "mov rsi, r13",
    "mov rdx, [rip + environ]",
    "call main",
    "mov edi, eax",
    "call exit",
    "hlt",
    // The functions from rbx up to rbp are called, with what `main` is given.
    "70:",
    "sub rsp, 8",
    "71:",
    "cmp rbx, rbp",
    "jae 72f",
    "mov edi, r12d",
    "mov rsi, r13",
    "mov rdx, [rip + environ]",
    "call [rbx]",
    "add rbx, 8",
    "jmp 71b",
    "72:",
    "add rsp, 8",
    "ret",
    // At the end: the functions of __fini_array, the last one first, and _fini.
    "80:",
    "push rbx",
    "push rbp",
    "sub rsp, 8",
    "lea rbx, [rip + __fini_array_end]",
    "lea rbp, [rip + __fini_array_start]",
    "81:",
    "cmp rbx, rbp",
    "jbe 82f",
    "sub rbx, 8",
    "call [rbx]",
    "jmp 81b",
    "82:",
    "add rsp, 8",
    "pop rbp",
    "pop rbx",
    "jmp _fini",
    ".cfi_endproc",
    ".size orlop_libc_start, . - orlop_libc_start",
    ".popsection",
    // `arch_kind_other` of the library's cpu-features.h.
    kind_other = const 4,
    hwcap_x86_64 = const 2,
    frame = const 16 << 10,
    past_caches = const 0x10_0000 * 3 / 4,
);
