//! What is written beside a file about whom it belongs to, or which device it stands for, where it can have neither: in a
//! user namespace with one id every file belongs to that id.
//!
//! | on | attribute | value |
//! |---|---|---|
//! | a regular file, a directory | [`Deed::ATTRIBUTE`] | `UID:GID`, or `UID:GID:c:MAJOR:MINOR` (`b` for a block device) |
//! | a link, a FIFO, a socket | [`Deed::CAPABILITY`], as the kernel lets those have no other | 20 bytes: `struct vfs_cap_data`, version 2, the two ids in the place of the lower capabilities, `MARK` in that of the upper ones |
//!
//! An ordinary user without any namespace writes down more: [`Deed::MODE`], [`Deed::CAPABILITIES`] and [`Deed::LINKS`], in the
//! place of [`Deed::CAPABILITY`].
//!
//! No deed says 0:0. Nothing but reading and writing the values is here.

/// In the place of the capabilities 32 to 63, both permitted and inheritable: there are no such.
const MARK: u32 = u32::from_le_bytes(*b"kiln");

/// `VFS_CAP_REVISION_2` of `linux/capability.h`.
const REVISION: u32 = 0x0200_0000;

/// Whom a file belongs to, and which device it stands for, if it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deed {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The device.
    pub device: Option<Device>,
}

/// A device that a regular file, which is empty, stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Whether it is a block device, and not a character device.
    pub is_block: bool,
    /// The number of its driver.
    pub major: u32,
    /// Its number there.
    pub minor: u32,
}

impl Device {
    /// The largest major number of a device, as Linux has them: twelve bits.
    pub const MAX_MAJOR: u32 = 0xfff;

    /// The largest minor number of a device: twenty bits.
    pub const MAX_MINOR: u32 = 0xf_ffff;
}

impl Deed {
    /// The attribute of what can have attributes of users.
    pub const ATTRIBUTE: &'static str = "user.kiln.deed";

    /// The attribute of everything else. It gives no capabilities: nothing that has it as a deed can be executed.
    pub const CAPABILITY: &'static str = "security.capability";

    /// What the names of all attributes begin with that kiln writes for itself.
    pub const PREFIX: &'static str = "user.kiln.";

    /// The attribute of a file or a directory whose mode an ordinary user cannot give it without being kept out: octal.
    pub const MODE: &'static str = "user.kiln.mode";

    /// The attribute of a file whose capabilities an ordinary user may not give it, as they are in [`Deed::CAPABILITY`].
    pub const CAPABILITIES: &'static str = "user.kiln.capability";

    /// What the name of a directory's attribute begins with that lists what in it can have no attributes and belongs to the
    /// same owner; `UID:GID` follows.
    pub const LINKS: &'static str = "user.kiln.links.";

    /// Whether it says nothing that one without a deed does not.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The value of [`Deed::ATTRIBUTE`].
    pub fn to_text(&self) -> String {
        let Self { uid, gid, device } = self;
        match device {
            None => format!("{uid}:{gid}"),
            Some(Device { is_block, major, minor }) => {
                format!("{uid}:{gid}:{}:{major}:{minor}", if *is_block { 'b' } else { 'c' })
            }
        }
    }

    /// Reads a value of [`Deed::ATTRIBUTE`]; `None` for what is none. The character device 0:0 is a deletion to overlay, which
    /// no deed says: whoever wrote that down did not do it by making a device. Nor does one say numbers that Linux does not have
    /// and would cut off, perhaps to that one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let fields: Vec<&str> = std::str::from_utf8(text).ok()?.split(':').collect();
        let number = |text: &str| text.parse::<u32>().ok();
        let (uid, gid, device) = match fields[..] {
            [uid, gid] => (uid, gid, None),
            [uid, gid, kind @ ("b" | "c"), major, minor] => {
                let (major, minor) = (number(major)?, number(minor)?);
                (uid, gid, Some(Device { is_block: kind == "b", major, minor }))
            }
            _ => return None,
        };
        let deletes = matches!(device, Some(Device { is_block: false, major: 0, minor: 0 }));
        let is_in_range = device.is_none_or(|device| {
            device.major <= Device::MAX_MAJOR && device.minor <= Device::MAX_MINOR
        });
        let (uid, gid) = (number(uid)?, number(gid)?);
        (!deletes && is_in_range).then_some(Self { uid, gid, device })
    }

    /// The value of [`Deed::CAPABILITY`].
    pub fn to_capability(&self) -> [u8; 20] {
        let words = [REVISION, self.uid, MARK, self.gid, MARK];
        let mut bytes = [0; 20];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a value of [`Deed::CAPABILITY`]; `None` for one that is about capabilities.
    pub fn from_capability(value: &[u8]) -> Option<Self> {
        let mut words = value.chunks_exact(4).map(|it| it.try_into().map_or(0, u32::from_le_bytes));
        let (_, uid, mark) = (words.next()?, words.next()?, words.next()?);
        let (gid, again) = (words.next()?, words.next()?);
        let is_deed = mark == MARK && again == MARK;
        is_deed.then_some(Self { uid, gid, device: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(deed: Deed, text: &str) {
        assert_eq!(deed.to_text(), text);
        assert_eq!(Deed::parse(text.as_bytes()), Some(deed));
    }

    #[test]
    fn texts() {
        check(Deed { uid: 1000, gid: 7, device: None }, "1000:7");
        let device = Some(Device { is_block: false, major: 1, minor: 3 });
        check(Deed { uid: 0, gid: 6, device }, "0:6:c:1:3");
        let device = Some(Device { is_block: true, major: 259, minor: 70_000 });
        check(Deed { uid: 4_294_967_294, gid: 0, device }, "4294967294:0:b:259:70000");
    }

    #[test]
    fn what_is_no_deed() {
        for text in [
            "",
            "1",
            "1:",
            "1:2:3",
            "1:-2",
            "1:2:c:1",
            "1:2:p:1:2",
            "1:2:c:1:2:3",
            "x:y",
            "0:0:c:0:0",
            "0:0:c:4096:0",
            "0:0:c:0:1048576",
        ] {
            assert_eq!(Deed::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn capabilities() {
        let deed = Deed { uid: 1234, gid: 5678, device: None };
        assert_eq!(Deed::from_capability(&deed.to_capability()), Some(deed));
        // CAP_NET_RAW, as `ping` has it.
        let ping = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Deed::from_capability(&ping), None);
        assert_eq!(Deed::from_capability(b"short"), None);
    }
}
