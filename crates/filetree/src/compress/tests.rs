//! Every compression is read, damage is noticed, and gzip comes out the same whatever the machine.

use std::io::{Cursor, Read, Write};

use super::*;

fn read(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    decompress(Cursor::new(input)).unwrap().read_to_end(&mut contents)?;
    Ok(contents)
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut writer = gzip_writer(Vec::new());
    writer.write_all(contents).unwrap();
    writer.finish().unwrap()
}

/// Text that compresses somewhat, and differently all along.
fn text(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"abcdefgh"[(state >> 29) as usize]
        })
        .collect()
}

/// What `printf hello | zstd`, `bzip2` and `xz` print.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\x29\x00\x00\x68\x65\x6c\x6c\x6f\xa3\x6d\x9f\x88";
const BZIP2: &[u8] = b"\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x19\x31\x65\x3d\x00\x00\x00\x81\x00\x02\x44\xa0\x00\x21\x9a\x68\x33\x4d\x07\x33\x8b\xb9\x22\x9c\x28\x48\x0c\x98\xb2\x9e\x80";
const XZ: &[u8] = b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\x00\x04\x68\x65\x6c\x6c\x6f\x00\x00\x00\x00\xb1\x37\xb9\xdb\xe5\xda\x1e\x9b\x00\x01\x1d\x05\xb8\x2d\x80\xaf\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a";

#[test]
fn detection() {
    for (start, wanted) in [
        (&b"\x1f\x8b\x08"[..], Compression::Gzip),
        (b"\x28\xb5\x2f\xfd\x04", Compression::Zstd),
        (b"\x50\x2a\x4d\x18", Compression::Zstd),
        (b"BZh9", Compression::Bzip2),
        (b"\xfd7zXZ\0", Compression::Xz),
        (b"\xfd7zXZ", Compression::None),
        (b"", Compression::None),
        (b"\x1f", Compression::None),
        (b"ustar", Compression::None),
    ] {
        assert_eq!(Compression::detect(start), wanted, "{start:?}");
    }
}

#[test]
fn short_and_plain_streams_come_through() {
    for contents in [&b""[..], b"a", b"hello", b"\x1f"] {
        assert_eq!(read(contents).unwrap(), contents);
    }
}

#[test]
fn other_tools_output_is_read() {
    for compressed in [ZSTD, BZIP2, XZ] {
        assert_eq!(read(compressed).unwrap(), b"hello");
        assert!(read(&compressed[..compressed.len() - 5]).is_err(), "a truncated stream");
        assert_eq!(read(&[compressed, compressed].concat()).unwrap(), b"hellohello");
    }
}

#[test]
fn gzip_round_trips_at_every_boundary() {
    let block = 1024 * 1024;
    for length in [0, 1, 5, block - 1, block, block + 1, 3 * block, 7 * block + 12_345] {
        let contents = text(length);
        let compressed = gzip(&contents);
        assert_eq!(read(&compressed).unwrap(), contents, "{length}");
        // Also by a reader that stops at the end of the first member.
        let mut single = Vec::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut single).unwrap();
        assert_eq!(single, contents, "{length}");
    }
}

#[test]
fn gzip_does_not_depend_on_how_it_is_written() {
    let contents = text(2_500_000);
    let mut writer = gzip_writer(Vec::new());
    for chunk in contents.chunks(4097) {
        writer.write_all(chunk).unwrap();
        writer.flush().unwrap();
    }
    assert_eq!(writer.finish().unwrap(), gzip(&contents));
}

#[test]
fn gzip_of_nothing_is_pinned() {
    let wanted = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(gzip(b""), wanted);
}

#[test]
fn several_members_are_one_stream() {
    let joined = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(read(&joined).unwrap(), b"one two");
}

#[test]
fn damage_is_an_error() {
    let good = gzip(&text(10_000));
    let last = good.len() - 1;
    let mut crc = good.clone();
    crc[last - 7] ^= 1;
    let mut length = good.clone();
    length[last] ^= 0x40;
    let garbage = [&good[..], b"garbage"].concat();
    for (what, bad) in [
        ("truncated", &good[..last - 4]),
        ("wrong CRC", &crc),
        ("wrong length", &length),
        ("garbage behind", &garbage),
        ("zstd", b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("bzip2", b"BZh9nonsense-nonsense"),
        ("xz", b"\xfd7zXZ\0nonsense-nonsense"),
    ] {
        assert!(read(bad).is_err(), "{what}");
    }
}

#[test]
fn zstd_frames() {
    let frame = ZSTD;
    let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
    let several = [&skippable[..], frame, skippable, frame, skippable].concat();
    assert_eq!(read(&several).unwrap(), b"hellohello");
    assert!(read(&several[..several.len() - 1]).is_err(), "a truncated skippable frame");
    let mut wrong = frame.to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    assert!(read(&wrong).is_err(), "a wrong checksum");
    assert!(read(&frame[..frame.len() - 6]).is_err(), "a truncated frame");
    assert!(read(&[frame, b"garbage"].concat()).is_err(), "garbage behind");
}

/// Text, noise and zeros, in all three kinds of deflate blocks; longer than a block of ours.
fn mixture() -> Vec<u8> {
    let mut state = 7u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let next = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (*state >> 56) as u8
        };
        (0..length).map(|_| next(&mut state)).collect()
    };
    [text(900_000), noise(400_000), vec![0; 300_000], text(500_000), noise(1000)].concat()
}

#[test]
fn the_bytes_of_gzip_are_pinned() {
    let contents = mixture();
    let compressed = gzip(&contents);
    assert!(read(&compressed).unwrap() == contents);
    // Another digest means that all layers that were ever pushed get other names, and are pushed again: if that has to be,
    // it needs a new name of the profile in `export/src/layer.rs`, or the store serves the old ones under the new.
    assert_eq!(
        blake3::hash(&compressed).to_hex().as_str(),
        "c47e77e0a46c092379894e6e3a1ca6b17bd74ef4e83aa1bd0f4ff31d4d268a86"
    );
}

#[test]
fn gzip_is_the_same_on_any_number_of_threads() {
    let contents = [mixture(), mixture(), mixture()].concat();
    let on = |threads| {
        let mut writer = gzip_writer(Vec::new()).on(threads);
        writer.write_all(&contents).unwrap();
        writer.finish().unwrap()
    };
    let one = on(1);
    for threads in [2, 7] {
        assert!(on(threads) == one, "{threads} threads");
    }
}

fn zstd_on(contents: &[u8], threads: usize) -> Vec<u8> {
    let mut writer = zstd_writer(Vec::new()).on(threads);
    for piece in contents.chunks(100_001) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn zstd_round_trips_at_every_boundary() {
    let block = super::zstd::BLOCK;
    for length in [0, 1, block - 1, block, block + 1, 3 * block + 5] {
        let contents = text(length);
        let compressed = zstd_on(&contents, 2);
        assert_eq!(Compression::detect(&compressed), Compression::Zstd);
        assert!(read(&compressed).unwrap() == contents, "{length}");
    }
}

#[test]
fn the_bytes_of_zstd_are_pinned() {
    let contents = [mixture(), mixture()].concat();
    let compressed = zstd_on(&contents, 1);
    for threads in [2, 7] {
        assert!(zstd_on(&contents, threads) == compressed, "{threads} threads");
    }
    // Another digest means what it means for gzip.
    assert_eq!(
        blake3::hash(&compressed).to_hex().as_str(),
        "ad82d93da7ab490e424e8cb50bccd975e48ecbfcf2e1761e0d9fd2bc39cffb64"
    );
}
