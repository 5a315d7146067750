//! The container's program of the benchmark: it ends, and does nothing else.
//!
//! A program of a C library spends half a millisecond before its `main` where CPUID instructions trap, as long as all that
//! one runtime has over another; so what is run here has no library.

/// The file: an ELF header, one program header, the instructions (elf(5)).
pub fn program() -> Vec<u8> {
    const HEADERS: u16 = 64 + 56;
    const ADDRESS: u64 = 0x40_0000;
    let code = instructions();
    let length = (usize::from(HEADERS) + code.len()) as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // Executable; the machine; version.
    file.extend([2u16, MACHINE].map(u16::to_le_bytes).concat());
    file.extend(1u32.to_le_bytes());
    // Where it begins; where the program headers and the section headers lie.
    file.extend([ADDRESS + u64::from(HEADERS), 64, 0].map(u64::to_le_bytes).concat());
    file.extend(0u32.to_le_bytes());
    // Sizes and numbers: this header, program headers, section headers.
    file.extend([64u16, 56, 1, 64, 0, 0].map(u16::to_le_bytes).concat());
    // To be loaded, readable and executable, the whole file.
    file.extend([1u32, 4 | 1].map(u32::to_le_bytes).concat());
    file.extend([0, ADDRESS, ADDRESS, length, length, 0x1000].map(u64::to_le_bytes).concat());
    file.extend(code);
    file
}

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;

/// xor edi, edi; mov eax, `__NR_exit_group`; syscall
#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<u8> {
    vec![0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05]
}

#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

/// mov x0, 0; mov x8, `__NR_exit_group`; svc 0
#[cfg(target_arch = "aarch64")]
fn instructions() -> Vec<u8> {
    [0xd280_0000u32, 0xd280_0bc8, 0xd400_0001].map(u32::to_le_bytes).concat()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn it_ends_well() {
        let bytes = std::env::temp_dir().join(format!("orlop-smallest-{}", std::process::id()));
        let program = bytes.with_extension("program");
        std::fs::write(&bytes, super::program()).unwrap();
        // By a process of its own: a child that another test makes meanwhile would have it open to be written, too (ETXTBSY).
        let installed = Command::new("install").arg("-m755").args([&bytes, &program]).status().unwrap();
        let ended = Command::new(&program).status();
        for file in [&bytes, &program] {
            std::fs::remove_file(file).unwrap();
        }
        assert!(installed.success());
        assert!(ended.unwrap().success());
    }
}
