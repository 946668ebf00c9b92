//! Headers as they are written: ustar where everything fits, with PAX records (POSIX.1-2001, pax) for what does not.
//!
//! The numbers and the order are Go's (`archive/tar`), since that is what every registry's layers are made with: octal
//! fields, records sorted by key, a name outside ASCII as a record.

use tar::{EntryType, Header};

use crate::{root::Timestamp, xattr::Xattr};

/// What Go and the kernel's own tools use for extended attributes.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// The name of every extended header; readers replace it by the entry's.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// The largest numbers of fields with 7 and 11 octal digits.
const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;

const NAME: usize = 100;
const PREFIX: usize = 155;

/// Where the field `prefix` is in a ustar header.
const PREFIX_OFFSET: usize = 345;

/// One entry of an archive, apart from its contents.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Relative to the root; a directory's ends with a slash.
    pub(super) name: &'a [u8],
    pub(super) kind: Kind<'a>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: &'a [Xattr],
}

/// What an entry is, with what only such an entry has.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    File { size: u64 },
    Directory,
    Symlink { target: &'a [u8] },
    HardLink { target: &'a [u8] },
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

/// Appends the header of an entry to `out`, with the extended header before it where one is needed.
pub(super) fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    let mut records = Vec::new();
    header.set_entry_type(entry.kind.entry_type());
    header.set_mode(entry.mode & 0o7777);
    put_device(&mut header, &entry.kind);

    // In the order of the keys: capital letters sort before small ones.
    for (name, value) in entry.xattrs {
        record(&mut records, &[XATTR_PREFIX, name].concat(), value);
    }
    header.set_gid(number(&mut records, b"gid", entry.gid.into(), MAX_OCTAL_7));
    put_link(&mut header, &mut records, entry.kind.target());
    put_mtime(&mut header, &mut records, entry.mtime);
    put_name(&mut header, &mut records, entry.name);
    let size = if let Kind::File { size } = entry.kind { size } else { 0 };
    header.set_size(number(&mut records, b"size", size, MAX_OCTAL_11));
    header.set_uid(number(&mut records, b"uid", entry.uid.into(), MAX_OCTAL_7));

    if !records.is_empty() {
        append_pax(&records, out);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
}

impl<'a> Kind<'a> {
    fn entry_type(&self) -> EntryType {
        match self {
            Self::File { .. } => EntryType::Regular,
            Self::Directory => EntryType::Directory,
            Self::Symlink { .. } => EntryType::Symlink,
            Self::HardLink { .. } => EntryType::Link,
            Self::Char { .. } => EntryType::Char,
            Self::Block { .. } => EntryType::Block,
            Self::Fifo => EntryType::Fifo,
        }
    }

    fn target(&self) -> &'a [u8] {
        match self {
            Self::Symlink { target } | Self::HardLink { target } => target,
            _ => b"",
        }
    }
}

fn put_device(header: &mut Header, kind: &Kind<'_>) {
    if let (Kind::Char { major, minor } | Kind::Block { major, minor }, Some(ustar)) =
        (kind, header.as_ustar_mut())
    {
        // 12 and 20 bits in Linux: both fit in 7 octal digits.
        ustar.set_device_major(*major);
        ustar.set_device_minor(*minor);
    }
}

fn put_link(header: &mut Header, records: &mut Vec<u8>, target: &[u8]) {
    if !target.is_ascii() || target.len() > NAME {
        record(records, b"linkpath", target);
    }
    put_ascii(&mut header.as_old_mut().linkname, target);
}

fn put_name(header: &mut Header, records: &mut Vec<u8>, name: &[u8]) {
    if name.is_ascii()
        && name.len() > NAME
        && let Some(slash) = split(name)
    {
        header.as_mut_bytes()[PREFIX_OFFSET..PREFIX_OFFSET + slash].copy_from_slice(&name[..slash]);
        put_ascii(&mut header.as_old_mut().name, &name[slash + 1..]);
        return;
    }
    if !name.is_ascii() || name.len() > NAME {
        record(records, b"path", name);
    }
    put_ascii(&mut header.as_old_mut().name, name);
}

fn put_mtime(header: &mut Header, records: &mut Vec<u8>, mtime: Timestamp) {
    let seconds = u64::try_from(mtime.seconds).ok().filter(|seconds| *seconds <= MAX_OCTAL_11);
    header.set_mtime(seconds.unwrap_or(0));
    if seconds.is_none() || mtime.nanoseconds > 0 {
        record(records, b"mtime", decimal(mtime).as_bytes());
    }
}

/// Returns where to cut a long name so that both halves fit in a ustar header, if there is such a slash.
fn split(name: &[u8]) -> Option<usize> {
    let last = name.len().min(PREFIX + 1);
    let slash = name[..last].iter().rposition(|byte| *byte == b'/')?;
    let rest = name.len() - slash - 1;
    (slash > 0 && slash <= PREFIX && rest > 0 && rest <= NAME).then_some(slash)
}

/// Returns what goes into the field: the number, or 0 where a record had to be made.
fn number(records: &mut Vec<u8>, key: &[u8], value: u64, max: u64) -> u64 {
    if value <= max {
        return value;
    }
    record(records, key, value.to_string().as_bytes());
    0
}

/// Fills a field with as much of the text as fits, without what is not ASCII.
fn put_ascii(field: &mut [u8], text: &[u8]) {
    let bytes = text.iter().filter(|byte| byte.is_ascii());
    for (place, byte) in field.iter_mut().zip(bytes) {
        *place = *byte;
    }
}

/// Appends `length key=value\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if digits(length) > digits(rest) {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Returns the time as decimal seconds: `-1.5` is one and a half seconds before 1970.
fn decimal(time: Timestamp) -> String {
    if time.nanoseconds == 0 {
        return time.seconds.to_string();
    }
    let text = if time.seconds < 0 {
        let whole = -(time.seconds + 1);
        format!("-{whole}.{:09}", 1_000_000_000 - time.nanoseconds)
    } else {
        format!("{}.{:09}", time.seconds, time.nanoseconds)
    };
    text.trim_end_matches('0').to_owned()
}

fn append_pax(records: &[u8], out: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    put_ascii(&mut header.as_old_mut().name, PAX_NAME);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn times() {
        for (time, wanted) in [
            (time(0, 0), "0"),
            (time(12, 500_000_000), "12.5"),
            (time(1, 1), "1.000000001"),
            (time(-1, 0), "-1"),
            (time(-1, 500_000_000), "-0.5"),
            (time(-2, 500_000_000), "-1.5"),
            (time(-2, 1), "-1.999999999"),
        ] {
            assert_eq!(decimal(time), wanted);
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 4, 5, 6, 90, 91, 92, 93, 94, 95, 987, 988, 989, 990, 991, 9_990] {
            let mut records = Vec::new();
            record(&mut records, b"k", &vec![b'v'; length]);
            let text = String::from_utf8(records).unwrap();
            let (written, _) = text.split_once(' ').unwrap();
            assert_eq!(written.parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn long_names_are_cut_at_a_slash_that_fits() {
        let cut = |first: usize, second: usize| {
            split(&[vec![b'a'; first], vec![b'/'], vec![b'b'; second]].concat())
        };
        assert_eq!(cut(50, 60), Some(50));
        assert_eq!(cut(155, 100), Some(155));
        assert_eq!(cut(156, 99), None);
        assert_eq!(cut(50, 101), None);
        assert_eq!(cut(0, 100), None);
        assert_eq!(split(&[vec![b'a'; 120], vec![b'/']].concat()), None);
    }
}
