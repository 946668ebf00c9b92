//! The calls that a program without a `/proc` of its own asks about: opening a file by its path, and reading a link.

use super::AARCH64;
use super::Machine;
use super::X86_64;
use super::number_of;

/// Their names.
const NAMES: &[&str] = &["open", "openat", "readlink", "readlinkat"];

/// A call that is asked about; addresses are those of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Open { path: u64, flags: u32 },
    ReadLink { path: u64, buffer: u64, size: u64 },
}

impl Asked {
    /// Reads a call; `None` for any other, and for another machine's.
    pub(crate) fn of(machine: u32, number: u32, arguments: [u64; 6]) -> Option<Self> {
        let native = [X86_64, AARCH64].into_iter().find(|known| known.id == machine)?;
        let name = NAMES.iter().find(|name| number_of(name, native.column) == Some(number))?;
        let [first, second, third, fourth, ..] = arguments;
        Some(match *name {
            "open" => Self::Open { path: first, flags: second as u32 },
            "openat" => Self::Open { path: second, flags: third as u32 },
            "readlink" => Self::ReadLink { path: first, buffer: second, size: third },
            _ => Self::ReadLink { path: second, buffer: third, size: fourth },
        })
    }

    /// Where its path is.
    pub(crate) fn path(self) -> u64 {
        match self {
            Self::Open { path, .. } | Self::ReadLink { path, .. } => path,
        }
    }
}

/// The numbers of these calls; none for a 32-bit variant, whose programs do without.
pub(super) fn numbers(machine: &Machine) -> Vec<u32> {
    if ![X86_64.id, AARCH64.id].contains(&machine.id) {
        return Vec::new();
    }
    NAMES.iter().filter_map(|name| number_of(name, machine.column)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_by_their_machine() {
        let arguments = [1, 2, 3, 4, 5, 6];
        let of = |machine: &Machine, number| Asked::of(machine.id, number, arguments);
        assert_eq!(of(&X86_64, 2), Some(Asked::Open { path: 1, flags: 2 }));
        assert_eq!(of(&X86_64, 257), Some(Asked::Open { path: 2, flags: 3 }));
        assert_eq!(of(&AARCH64, 56), Some(Asked::Open { path: 2, flags: 3 }));
        let link = Asked::ReadLink { path: 2, buffer: 3, size: 4 };
        assert_eq!(of(&X86_64, 267), Some(link));
        assert_eq!(of(&AARCH64, 78), Some(link));
        assert_eq!(of(&X86_64, 56), None);
        assert_eq!(of(&super::super::I386, 5), None);
    }
}
