//! The fields of one header. What extended headers say instead is in `unpack/pax.rs`; which of them counts, in
//! `unpack/reader.rs`.

use oci::Device;
use tar::Header;

use crate::Fault;

use super::{number, reader::Kind};

/// Returns a text field up to its end.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// Returns the name in the header itself, with the prefix where the format has one.
pub(super) fn name_of(header: &Header) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    let Some(ustar) = header.as_ustar() else { return name.to_vec() };
    // star keeps times behind a shorter prefix.
    let star = header.as_bytes()[508..] == *b"tar\0";
    let prefix = until_nul(if star { &ustar.prefix[..131] } else { &ustar.prefix });
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Returns the size field.
pub(super) fn size_of(header: &Header) -> Result<u64, Fault> {
    let size = number::field(&header.as_old().size);
    size.and_then(|size| u64::try_from(size).ok()).ok_or(Fault::Field("size"))
}

/// Returns what an entry of this type is.
pub(super) fn kind_of(flag: u8, name: &[u8]) -> Result<Kind, Fault> {
    Ok(match flag {
        // Archives older than the type of directories mark them by the name.
        0 if name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        _ => return Err(Fault::Type(flag)),
    })
}

/// Returns an owner. The largest 32-bit number is none: `chown` takes it for "leave as it is".
pub(super) fn owner(record: Option<i64>, field: &[u8], what: &'static str) -> Result<u32, Fault> {
    let id = match record {
        Some(id) => id,
        None => number::field(field).ok_or(Fault::Field(what))?,
    };
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(Fault::Owner(id))
}

/// Returns the numbers of a device; zeros for all else. The kernel cuts off what is too large, and could make 0:0 of it, which
/// is a deletion to overlay.
pub(super) fn device_of(header: &Header, kind: Kind) -> Result<(u32, u32), Fault> {
    if !matches!(kind, Kind::Char | Kind::Block) {
        return Ok((0, 0));
    }
    // The fields are at the same place in ustar and GNU headers.
    let bytes = header.as_bytes();
    let part = |from: usize, largest: u32, what| {
        let number = number::field(&bytes[from..from + 8]);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number <= largest).ok_or(Fault::Field(what))
    };
    let major = part(329, Device::MAX_MAJOR, "devmajor")?;
    Ok((major, part(337, Device::MAX_MINOR, "devminor")?))
}

/// Compares the sum over the header with the one in it. Some old archivers summed signed bytes.
pub(super) fn checksum_matches(block: &[u8; 512]) -> bool {
    let Some(wanted) = number::field(&block[148..156]) else { return false };
    let spaces = 8 * i64::from(b' ');
    let others = || block[..148].iter().chain(&block[156..]);
    let unsigned: i64 = others().map(|byte| i64::from(*byte)).sum();
    let signed: i64 = others().map(|byte| i64::from(*byte as i8)).sum();
    wanted == unsigned + spaces || wanted == signed + spaces
}
