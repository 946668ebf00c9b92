//! Programs for other processors: whether the kernel runs them here, natively or by a handler of `binfmt_misc`.
//!
//! What the kernel does is best found out by asking it: [`probe`] is the smallest program for an architecture, and whoever
//! runs it in a sandbox knows. A list of handlers would not tell: they are often not to be seen (in a container, where
//! those of the host count all the same), and some processors run a second architecture without one. [`handler`] reads the
//! list to say what is missing where the probe fails.
//!
//! ```text
//! ELF header        class, byte order and machine of the architecture
//! program header    one segment: this file, readable and executable
//! code              exit(0)
//! ```

use std::{fs, io, path::Path};

/// Where the kernel lists its handlers, if that is mounted.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";

/// Where the program is in memory: what every architecture lets a program have, whatever its pages' size.
const ADDRESS: u64 = 0x40_0000;
/// The largest pages of any architecture.
const PAGE: u64 = 0x1_0000;

/// What tells the programs of two architectures apart.
struct Architecture {
    /// Go's name.
    name: &'static str,
    /// `EM_…` of `elf.h`.
    machine: u16,
    wide: bool,
    big_endian: bool,
    /// `e_flags`: the calling convention, where there is more than one.
    flags: u32,
    /// `exit(0)`.
    code: &'static [u8],
}

/// By Go's name. The code in words: the number of `exit` and 0 into two registers, and a system call.
const ARCHITECTURES: [Architecture; 11] = [
    little("386", 3, false, 0, &[0x31, 0xdb, 0xb8, 1, 0, 0, 0, 0xcd, 0x80]),
    little("amd64", 62, true, 0, &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]),
    little("arm", 40, false, 0x0500_0000, &[0, 0, 0xa0, 0xe3, 1, 0x70, 0xa0, 0xe3, 0, 0, 0, 0xef]),
    little("arm64", 183, true, 0, &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]),
    little("loong64", 258, true, 0x43, &[4, 0, 0x80, 2, 0x0b, 0x74, 0x81, 2, 0, 0, 0x2b, 0]),
    big("mips64", 8, 0x8000_0007, &[0x24, 4, 0, 0, 0x24, 2, 0x13, 0xc2, 0, 0, 0, 0x0c]),
    little("mips64le", 8, true, 0x8000_0007, &[0, 0, 4, 0x24, 0xc2, 0x13, 2, 0x24, 0x0c, 0, 0, 0]),
    big("ppc64", 21, 2, &[0x38, 0x60, 0, 0, 0x38, 0, 0, 1, 0x44, 0, 0, 2]),
    little("ppc64le", 21, true, 2, &[0, 0, 0x60, 0x38, 1, 0, 0, 0x38, 2, 0, 0, 0x44]),
    little("riscv64", 243, true, 0, &[0x13, 5, 0, 0, 0x93, 8, 0xd0, 5, 0x73, 0, 0, 0]),
    big("s390x", 22, 0, &[0xa7, 0x29, 0, 0, 0x0a, 1]),
];

const fn little(
    name: &'static str,
    machine: u16,
    wide: bool,
    flags: u32,
    code: &'static [u8],
) -> Architecture {
    Architecture { name, machine, wide, big_endian: false, flags, code }
}

const fn big(name: &'static str, machine: u16, flags: u32, code: &'static [u8]) -> Architecture {
    Architecture { name, machine, wide: true, big_endian: true, flags, code }
}

/// Returns a program for an architecture (Go's name) that ends with status 0 and does nothing else; `None` for an
/// architecture that is not known here.
pub fn probe(architecture: &str) -> Option<Vec<u8>> {
    let known = ARCHITECTURES.iter().find(|known| known.name == architecture)?;
    Some(known.program())
}

impl Architecture {
    fn program(&self) -> Vec<u8> {
        const EXECUTABLE: u16 = 2;
        const LOADED: u32 = 1;
        const READ_EXECUTE: u32 = 5;
        let (header, segment): (u16, u16) = if self.wide { (64, 56) } else { (52, 32) };
        let code = u64::from(header) + u64::from(segment);
        let size = code + self.code.len() as u64;

        let mut file = vec![0x7f, b'E', b'L', b'F'];
        file.extend([1 + u8::from(self.wide), 1 + u8::from(self.big_endian), 1]);
        file.resize(16, 0);
        self.half(&mut file, EXECUTABLE);
        self.half(&mut file, self.machine);
        self.word(&mut file, 1);
        self.address(&mut file, ADDRESS + code);
        self.address(&mut file, header.into());
        self.address(&mut file, 0);
        self.word(&mut file, self.flags);
        for value in [header, segment, 1, 0, 0, 0] {
            self.half(&mut file, value);
        }

        self.word(&mut file, LOADED);
        // The flags stand here in a wide file, and near the end in the other.
        if self.wide {
            self.word(&mut file, READ_EXECUTE);
        }
        for value in [0, ADDRESS, ADDRESS, size, size] {
            self.address(&mut file, value);
        }
        if !self.wide {
            self.word(&mut file, READ_EXECUTE);
        }
        self.address(&mut file, PAGE);
        file.extend(self.code);
        file
    }

    fn half(&self, file: &mut Vec<u8>, value: u16) {
        file.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn word(&self, file: &mut Vec<u8>, value: u32) {
        file.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn address(&self, file: &mut Vec<u8>, value: u64) {
        match (self.wide, self.big_endian) {
            (true, true) => file.extend(value.to_be_bytes()),
            (true, false) => file.extend(value.to_le_bytes()),
            // Everything here is below 4 GiB.
            (false, _) => self.word(file, value as u32),
        }
    }
}

/// What `binfmt_misc` says of an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    /// A program that the kernel has opened already: it runs in any root file system.
    Fixed {
        /// The program.
        interpreter: String,
    },
    /// A program that the kernel looks for in the root file system of whoever needs it.
    ByPath {
        /// The program.
        interpreter: String,
    },
    /// There is one, and it is switched off.
    Disabled {
        /// Its name.
        name: String,
    },
    /// There is none.
    Missing,
    /// None is to be seen: `binfmt_misc` is not mounted here. There may be one all the same.
    Unmounted,
}

/// Returns the handler for programs of an architecture (Go's name).
pub fn handler(architecture: &str) -> Handler {
    handler_in(Path::new(HANDLERS), architecture).unwrap_or(Handler::Unmounted)
}

fn handler_in(directory: &Path, architecture: &str) -> io::Result<Handler> {
    let Some(program) = probe(architecture) else { return Ok(Handler::Missing) };
    if !directory.join("register").exists() {
        return Ok(Handler::Unmounted);
    }
    let mut found = Handler::Missing;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that went away meanwhile is none; the kernel's own two files are no handlers.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if !takes(&text, &program) {
            continue;
        }
        match state_of(name, &text) {
            // The kernel asks no other one then.
            handler @ (Handler::Fixed { .. } | Handler::ByPath { .. }) => return Ok(handler),
            handler => found = handler,
        }
    }
    Ok(found)
}

/// The value of a line `key value` or `key: value`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(rest.trim_start_matches(':').trim())
}

/// Whether the magic bytes of a handler are those of a program (Documentation/admin-guide/binfmt-misc.rst).
fn takes(text: &str, program: &[u8]) -> bool {
    let bytes = |key: &str| field(text, key).and_then(unhex);
    let offset = field(text, "offset").and_then(|offset| offset.parse().ok()).unwrap_or(0);
    let (Some(magic), Some(program)) = (bytes("magic"), program.get(offset..)) else {
        return false;
    };
    let mask = bytes("mask").unwrap_or_else(|| vec![0xff; magic.len()]);
    magic.len() <= program.len()
        && magic
            .iter()
            .zip(&mask)
            .zip(program)
            .all(|((magic, mask), byte)| magic & mask == byte & mask)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

fn state_of(name: String, text: &str) -> Handler {
    let interpreter = field(text, "interpreter").unwrap_or_default().to_owned();
    if text.lines().next() != Some("enabled") {
        return Handler::Disabled { name };
    }
    match field(text, "flags").is_some_and(|flags| flags.contains('F')) {
        true => Handler::Fixed { interpreter },
        false => Handler::ByPath { interpreter },
    }
}

#[cfg(test)]
mod tests;
