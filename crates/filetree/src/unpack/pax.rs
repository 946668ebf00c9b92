//! Extended headers (POSIX.1-2001, "pax Header Block"): `length key=value\n`, the length counted in bytes.

use crate::{Fault, root::Timestamp, xattr::Xattr};

use super::{number, sparse::Chunk};

/// Where Go, and so every layer, keeps extended attributes. Values are arbitrary bytes.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What an extended header says about the entry that follows.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Sparse,
}

/// What it says about holes, in any of GNU tar's three ways.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// Version 1.0: the map precedes the contents.
    pub(super) map_in_data: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Versions 0.0 and 0.1: the map itself.
    pub(super) chunks: Option<Vec<Chunk>>,
    offset: Option<u64>,
}

impl Records {
    /// Reads the contents of an extended header. Unknown keys are left out, an empty value unsets its key.
    pub(super) fn parse(mut text: &[u8]) -> Result<Self, Fault> {
        let mut records = Self::default();
        while !text.is_empty() {
            let (key, value, rest) = next(text).ok_or(Fault::Pax)?;
            records.put(key, value)?;
            text = rest;
        }
        Ok(records)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            if name.is_empty() || name.contains(&0) {
                return Err(Fault::Pax);
            }
            // The last one counts; overlay's own are found here with empty values, and dropped later.
            self.xattrs.retain(|(present, _)| present != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        let number = |what| number::decimal(value).ok_or(Fault::Field(what));
        let count = |what| number::count(value).ok_or(Fault::Field(what));
        let text = (!value.is_empty()).then(|| value.to_vec());
        let set = !value.is_empty();
        match key {
            b"path" | b"linkpath" | b"GNU.sparse.name" if value.contains(&0) => {
                return Err(Fault::Name);
            }
            b"path" => self.path = text,
            b"linkpath" => self.link = text,
            b"size" => self.size = if set { Some(count("size")?) } else { None },
            b"uid" => self.uid = if set { Some(number("uid")?) } else { None },
            b"gid" => self.gid = if set { Some(number("gid")?) } else { None },
            b"mtime" => {
                let time = || number::time(value).ok_or(Fault::Field("mtime"));
                self.mtime = if set { Some(time()?) } else { None };
            }
            _ => self.sparse.put(key, value)?,
        }
        Ok(())
    }
}

impl Sparse {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let count = || number::count(value).ok_or(Fault::Sparse);
        match key {
            b"GNU.sparse.major" => self.map_in_data = count()? == 1,
            b"GNU.sparse.name" => self.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.real_size = Some(count()?),
            b"GNU.sparse.offset" => self.offset = Some(count()?),
            b"GNU.sparse.numbytes" => {
                let offset = self.offset.take().ok_or(Fault::Sparse)?;
                self.chunks.get_or_insert_default().push(Chunk { offset, length: count()? });
            }
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> =
                    value.split(|byte| *byte == b',').map(number::count).collect();
                let numbers = numbers.filter(|numbers| numbers.len() % 2 == 0);
                let pairs = numbers.ok_or(Fault::Sparse)?;
                let chunk = |pair: &[u64]| Chunk { offset: pair[0], length: pair[1] };
                self.chunks = Some(pairs.chunks_exact(2).map(chunk).collect());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Cuts the first record off: key, value, rest.
fn next(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number::count(&text[..space])?).ok()?;
    if length <= space + 1 || length > text.len() {
        return None;
    }
    let (record, rest) = text.split_at(length);
    let body = record[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty()).then_some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let text = b"11 path=ab\n12 uid=1000\n26 SCHILY.xattr.user.k=\n\0\n11 mtime=1\n8 size=\n";
        let records = Records::parse(text).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"ab"[..]));
        assert_eq!(records.uid, Some(1000));
        assert_eq!(records.size, None);
        assert_eq!(records.xattrs, [(b"user.k".to_vec(), b"\n\0".to_vec())]);
        assert_eq!(records.mtime, Some(Timestamp { seconds: 1, nanoseconds: 0 }));
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in [
            &b"path=ab\n"[..],
            b"0 path=ab\n",
            b"99 path=ab\n",
            b"11 path=ab",
            b"25 SCHILY.xattr.user.k=\n\0\n11 mtime=1\n",
            b"27 SCHILY.xattr.user.k=\n\0\n11 mtime=1\n",
            b"10 path=ab\n",
            b"8 pathab\n",
            b"6 =ab\n",
            b"18446744073709551616 path=ab\n",
            b"+11 path=ab\n",
            b"12 path=a\0b\n",
            b"11 size=-1\n",
            b"12 mtime=NaN\n",
        ] {
            assert!(Records::parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn holes_in_two_notations() {
        let wanted = [Chunk { offset: 0, length: 1 }, Chunk { offset: 512, length: 2 }];
        let records = Records::parse(b"28 GNU.sparse.map=0,1,512,2\n").unwrap();
        assert_eq!(records.sparse.chunks.as_deref(), Some(&wanted[..]));
        let text = b"23 GNU.sparse.offset=0\n25 GNU.sparse.numbytes=1\n25 GNU.sparse.offset=512\n25 GNU.sparse.numbytes=2\n";
        let records = Records::parse(text).unwrap();
        assert_eq!(records.sparse.chunks.as_deref(), Some(&wanted[..]));
        assert!(Records::parse(b"26 GNU.sparse.map=0,1,512\n").is_err());
    }
}
