//! The keys that detach from a container: Docker's `--detach-keys`.

use std::str::FromStr;

/// A sequence of keys, each one byte; an empty one never detaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// Ctrl-P, Ctrl-Q.
    fn default() -> Self {
        Self(vec![16, 17])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Reads `ctrl-p,ctrl-q`: single characters, or `ctrl-` with a letter or one of `@[\]^_`, with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

fn key(text: &str) -> Result<u8, String> {
    let unknown =
        || format!("unknown key `{text}`: a character, or `ctrl-` and a letter or one of @[\\]^_");
    let control = text.strip_prefix("ctrl-");
    match (control.unwrap_or(text).as_bytes(), control) {
        ([byte], None) => Ok(*byte),
        (
            [byte @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')],
            Some(_),
        ) => Ok(byte.to_ascii_uppercase() - b'@'),
        _ => Err(unknown()),
    }
}

impl DetachKeys {
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { keys: &self.0, matched: 0 }
    }
}

/// Looks for the keys in what is typed.
pub(super) struct Watch<'a> {
    keys: &'a [u8],
    matched: usize,
}

impl Watch<'_> {
    /// Returns what is to be passed on, and whether the keys were there. Keys that may be the beginning are held back until
    /// the next one shows that they are not.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) != Some(byte) {
                passed.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys.get(self.matched) != Some(byte) {
                passed.push(*byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dockers() {
        for (text, expect) in [
            ("ctrl-p,ctrl-q", Ok(vec![16, 17])),
            ("a,ctrl-@,ctrl-_,ctrl-[", Ok(vec![b'a', 0, 31, 27])),
            ("ctrl-\\", Ok(vec![28])),
            ("", Ok(vec![])),
            ("ctrl-", Err(())),
            ("ctrl-1", Err(())),
            ("ab", Err(())),
            ("a,", Err(())),
        ] {
            assert_eq!(
                text.parse::<DetachKeys>().map(|keys| keys.0).map_err(|_| ()),
                expect,
                "{text}"
            );
        }
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
    }

    fn check(chunks: &[&[u8]], expect: &[u8], detached: bool) {
        let keys = DetachKeys::default();
        let mut watch = keys.watch();
        let mut all = Vec::new();
        let mut found = false;
        for chunk in chunks {
            let (passed, detach) = watch.pass(chunk);
            all.extend(passed);
            found |= detach;
        }
        assert_eq!((all.as_slice(), found), (expect, detached), "{chunks:?}");
    }

    #[test]
    fn the_keys_are_found_and_nothing_else_is_lost() {
        check(&[b"ab\x10\x11cd"], b"ab", true);
        check(&[b"a\x10", b"\x11"], b"a", true);
        check(&[b"a\x10", b"b\x11"], b"a\x10b\x11", false);
        check(&[b"\x10\x10\x11"], b"\x10", true);
        check(&[b"\x11\x10"], b"\x11", false);
        check(&[b"plain"], b"plain", false);
        let none = DetachKeys(Vec::new());
        assert_eq!(none.watch().pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
