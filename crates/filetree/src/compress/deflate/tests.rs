//! Streams of every kind go on; what is none is refused; and an inflater is of the same opinion.

use std::io::{Read, Write};

use super::*;

/// Inflates a stream that goes on with the same once more, and then with an end.
fn inflated_twice(stream: &[u8]) -> Vec<u8> {
    let twice = [stream, stream, &[3, 0]].concat();
    let mut contents = Vec::new();
    let mut decoder = flate2::write::DeflateDecoder::new(&mut contents);
    decoder.write_all(&twice).unwrap();
    decoder.finish().unwrap();
    contents
}

/// What is in a stream, if an inflater takes it and all of it.
fn inflated(stream: &[u8]) -> Option<Vec<u8>> {
    let mut contents = Vec::new();
    let mut decoder = flate2::bufread::DeflateDecoder::new(stream);
    decoder.read_to_end(&mut contents).ok()?;
    (decoder.total_in() == stream.len() as u64).then_some(contents)
}

fn deflated(contents: &[u8], level: i32) -> Vec<u8> {
    let level = libdeflater::CompressionLvl::new(level).unwrap();
    let mut compressor = libdeflater::Compressor::new(level);
    let mut stream = vec![0; compressor.deflate_compress_bound(contents.len())];
    let length = compressor.deflate_compress(contents, &mut stream).unwrap();
    stream.truncate(length);
    stream
}

/// By another one, which makes other blocks.
fn deflated_otherwise(contents: &[u8], level: u32) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 56) as u8
    }

    fn bytes(&mut self, length: usize, mask: u8) -> Vec<u8> {
        (0..length).map(|_| self.next() & mask).collect()
    }

    /// Bytes of which each is half as frequent as the one before, so that there are codes of all lengths.
    fn rarer_and_rarer(&mut self, length: usize) -> Vec<u8> {
        let mut zeros = || u16::from_le_bytes([self.next(), self.next()]).leading_zeros() as u8;
        (0..length).map(|_| zeros() + 16 * (zeros() / 2)).collect()
    }
}

/// Contents that make blocks of all kinds.
fn all_kinds() -> Vec<Vec<u8>> {
    let mut noise = Noise(1);
    let mixed =
        [noise.bytes(200_000, 3), noise.bytes(200_000, 0xff), noise.bytes(50_000, 0x3f)].concat();
    vec![
        vec![],
        b"a".to_vec(),
        b"fixed fixed fixed".to_vec(),
        noise.bytes(70_000, 0xff),
        mixed,
        [noise.bytes(32_000, 0xff).repeat(3), vec![7; 100_000]].concat(),
        noise.rarer_and_rarer(150_000),
    ]
}

/// All that two compressors make of it.
fn all_streams() -> Vec<(Vec<u8>, Vec<u8>)> {
    let of = |contents: Vec<u8>| {
        let one = [1, 5, 9, 12].map(|level| deflated(&contents, level));
        let other = [0, 1, 6].map(|level| deflated_otherwise(&contents, level));
        let streams: Vec<_> = one.into_iter().chain(other).collect();
        streams.into_iter().map(move |stream| (contents.clone(), stream))
    };
    all_kinds().into_iter().flat_map(of).collect()
}

#[test]
fn streams_of_every_kind_of_block_go_on() {
    for (contents, mut stream) in all_streams() {
        continue_after([&mut stream]).unwrap();
        assert!(inflated_twice(&stream) == contents.repeat(2), "{} bytes", contents.len());
    }
}

#[test]
fn two_at_once_become_what_each_becomes() {
    let streams: Vec<_> = all_streams().into_iter().map(|(_, stream)| stream).collect();
    let alone = |stream: &Vec<u8>| {
        let mut stream = stream.clone();
        continue_after([&mut stream]).unwrap();
        stream
    };
    let alone: Vec<_> = streams.iter().map(alone).collect();
    for (number, first) in streams.iter().enumerate() {
        // Near ones are of the same contents, the others of others.
        for other in [number, number + 1, number + 9, number + 25] {
            let other = other % streams.len();
            let (mut one, mut two) = (first.clone(), streams[other].clone());
            continue_after([&mut one, &mut two]).unwrap();
            assert!(one == alone[number] && two == alone[other], "{number} and {other}");
        }
    }
}

/// The walk takes what an inflater takes, and comes to the same end. It takes more, for it looks at no contents.
fn check_against_inflater(stream: &[u8], what: &dyn std::fmt::Display) {
    let mut walked = stream.to_vec();
    let result = continue_after([&mut walked]);
    if let Some(contents) = inflated(stream) {
        result.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(inflated_twice(&walked) == contents.repeat(2), "{what}");
    }
}

#[test]
fn an_inflater_agrees_on_what_is_damaged() {
    let mut noise = Noise(3);
    let short: Vec<u8> = (0..300u32).map(|at| (at * at / 512) as u8).collect();
    let rare = noise.rarer_and_rarer(500);
    for contents in [&short[..], &rare, b"fixed fixed fixed"] {
        for stream in
            [deflated(contents, 5), deflated(contents, 9), deflated_otherwise(contents, 6)]
        {
            for at in 0..stream.len() * 8 {
                let mut bad = stream.clone();
                bad[at / 8] ^= 1 << (at % 8);
                check_against_inflater(&bad, &format_args!("bit {at} of {contents:?}"));
            }
        }
    }
    for length in 0..300 {
        let bytes = noise.bytes(length, 0xff);
        check_against_inflater(&bytes, &format_args!("{bytes:?}"));
    }
}

#[test]
fn what_is_no_stream_is_refused() {
    let contents: Vec<u8> = (0..300u32).map(|at| (at * at / 512) as u8).collect();
    let good = deflated(&contents, 5);
    for end in 0..good.len() {
        assert!(continue_after([&mut good[..end].to_vec()]).is_err(), "cut at {end}");
        // Nor beside one that is good.
        let (mut cut, mut good) = (good[..end].to_vec(), good.clone());
        assert!(continue_after([&mut good, &mut cut]).is_err(), "cut at {end}");
    }
    assert!(continue_after([&mut [&good[..], b"more"].concat()]).is_err());
    assert!(continue_after([&mut vec![0xff; 100]]).is_err());
}

#[test]
fn a_walk_does_not_go_on_behind_the_end() {
    // The most frequent symbol has the code 0: what is read behind the end is that again and again.
    let contents = Noise(5).rarer_and_rarer(600);
    for stream in [deflated(&contents, 5), deflated_otherwise(&contents, 6)] {
        for end in 0..stream.len() {
            assert!(continue_after([&mut stream[..end].to_vec()]).is_err(), "cut at {end}");
        }
    }
}
