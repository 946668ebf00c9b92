//! Deflate streams that can be continued: libdeflate always ends what it writes, so the end is found and taken back.
//!
//! A stream is a row of blocks (RFC 1951), each with a bit that says whether it is the last. That of the last one stands
//! somewhere within, at no byte's boundary, and to find it all symbols before have to be walked over. That is a fraction of
//! the work of finding them (a tenth), for nothing is put out.

mod code;

#[cfg(test)]
mod tests;

use std::{array, io};

use self::code::{Code, Symbols};
use super::malformed;

/// The order in which the lengths of the length codes come (RFC 1951 §3.2.7).
const LENGTH_ORDER: [usize; 19] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The longest code of those lengths.
const MAX_LENGTH_BITS: usize = 7;

/// So often is looked up what comes in the 57 bits that one read gives at least. What was gone over by then are the bits of
/// a literal or length and of a distance, both with short codes: 39 at most. So all bits of another short code are there.
const LOOKS: usize = 3;

/// Makes complete streams such that can be continued at the next byte: their last blocks are the last no more, and a sync
/// flush (an empty stored block) fills up the byte.
///
/// The next step of a walk has to wait until it is known how long the last one was. So two walks at once take little more
/// time than one.
pub(super) fn continue_after<const N: usize>(streams: [&mut Vec<u8>; N]) -> io::Result<()> {
    let mut walkers = streams.each_ref().map(|stream| Walker::new(stream));
    walk(&mut walkers);
    let places = walkers.map(|walker| walker.place);
    for (stream, place) in streams.into_iter().zip(places) {
        let Place::Ended { last, end } = place else {
            let what = "the compressor has made what is no deflate stream";
            return Err(malformed(io::Error::other(what)));
        };
        stream[last / 8] &= !(1 << (last % 8));
        // The three bits of the empty block's head are zeros; so are those that fill up a byte, whatever they were.
        if end % 8 > 0 {
            stream[end / 8] &= (1 << (end % 8)) - 1;
        }
        if (8 - end % 8) % 8 < 3 {
            stream.push(0);
        }
        stream.extend_from_slice(&[0, 0, 0xff, 0xff]);
    }
    Ok(())
}

/// Walks all to their ends, side by side as long as all have one before them.
fn walk<const N: usize>(walkers: &mut [Walker<'_>; N]) {
    walkers.iter_mut().for_each(Walker::enter);
    while walkers.iter().all(Walker::is_within) {
        hurry(walkers);
        walkers.iter_mut().for_each(Walker::step);
    }
    for walker in walkers {
        while walker.is_within() {
            hurry(array::from_mut(walker));
            walker.step();
        }
    }
}

/// Walks over symbols with short codes. Returns where one of the walkers comes to another, or to the end of its stream.
///
/// This is where the time goes. There is no branch that depends on what a symbol is: those would be guessed wrong.
fn hurry<const N: usize>(walkers: &mut [Walker<'_>; N]) {
    // What changes is held apart, in registers.
    let mut at = walkers.each_ref().map(|walker| walker.at);
    let mut next = walkers.each_ref().map(|walker| walker.next);
    let streams = walkers.each_ref().map(|walker| walker.stream);
    let symbols = walkers.each_ref().map(|walker| &walker.symbols);
    let mut is_quick = true;
    while is_quick {
        let mut bits = [0; N];
        for n in 0..N {
            let Some(peeked) = peek(streams[n], at[n]) else {
                is_quick = false;
                continue;
            };
            bits[n] = peeked;
        }
        if !is_quick {
            break;
        }
        for look in 1..=LOOKS {
            for n in 0..N {
                let entry = symbols[n].entry(next[n], bits[n]);
                bits[n] >>= entry.bits();
                at[n] += entry.bits();
                next[n] = entry.next();
                is_quick &= look < LOOKS || entry.is_quick();
            }
        }
    }
    for (n, walker) in walkers.iter_mut().enumerate() {
        (walker.at, walker.next) = (at[n], next[n]);
    }
}

/// The next 57 bits at least, with zeros behind the end; `None` if it is behind the end itself.
fn peek(stream: &[u8], at: usize) -> Option<u64> {
    let rest = stream.get(at / 8..)?;
    let word = match rest.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => last_word(rest),
    };
    Some(word >> (at % 8))
}

#[cold]
fn last_word(rest: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

/// Where a walker has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Within a block, or before the first one.
    Within,
    /// To the end of the stream: where the bit is that says that a block is the last, and where that block ends.
    Ended { last: usize, end: usize },
    /// To what is no part of a stream.
    Lost,
}

/// Walks over a stream without decoding it.
struct Walker<'a> {
    stream: &'a [u8],
    /// Where it is, in bits.
    at: usize,
    place: Place,
    /// Where the block begins that it is in, and whether it is the last.
    head: usize,
    is_last: bool,
    /// What the bits of the block mean, and which of its two tables says what the next ones do.
    symbols: Symbols,
    next: usize,
}

impl<'a> Walker<'a> {
    fn new(stream: &'a [u8]) -> Self {
        let (symbols, place) = (Symbols::new(), Place::Within);
        Self { stream, at: 0, place, head: 0, is_last: false, symbols, next: code::LITERALS }
    }

    fn is_within(&self) -> bool {
        self.place == Place::Within
    }

    /// Goes to the first symbol of the next block that has any, or to the end.
    fn enter(&mut self) {
        self.place = self.next_block().unwrap_or(Place::Lost);
    }

    /// Goes over a symbol that takes longer; nothing if the next one is none.
    fn step(&mut self) {
        self.place = self.slow_symbol().unwrap_or(Place::Lost);
    }

    fn next_block(&mut self) -> Option<Place> {
        while !self.is_last {
            self.head = self.at;
            self.is_last = self.take(1)? == 1;
            match self.take(2)? {
                0 => self.stored()?,
                1 => {
                    self.fixed()?;
                    return Some(Place::Within);
                }
                2 => {
                    self.dynamic()?;
                    return Some(Place::Within);
                }
                _ => return None,
            }
        }
        let (last, end) = (self.head, self.at);
        (end.div_ceil(8) == self.stream.len()).then_some(Place::Ended { last, end })
    }

    fn slow_symbol(&mut self) -> Option<Place> {
        let bits = peek(self.stream, self.at)?;
        if self.symbols.entry(self.next, bits).is_quick() {
            return Some(Place::Within);
        }
        let (length, next) = self.symbols.find(self.next, bits)?;
        self.at += length;
        if self.at > self.stream.len() * 8 {
            return None;
        }
        match next {
            Some(next) => self.next = next,
            None => return self.next_block(),
        }
        Some(Place::Within)
    }

    fn take(&mut self, bits: usize) -> Option<usize> {
        let value = peek(self.stream, self.at)? & ((1 << bits) - 1);
        self.at += bits;
        (self.at <= self.stream.len() * 8).then_some(value as usize)
    }

    fn stored(&mut self) -> Option<()> {
        self.at = self.at.next_multiple_of(8);
        let (length, complement) = (self.take(16)?, self.take(16)?);
        self.at += length * 8;
        (length ^ complement == 0xffff && self.at <= self.stream.len() * 8).then_some(())
    }

    fn fixed(&mut self) -> Option<()> {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        self.begin_symbols(&lengths, &[5; 32])
    }

    fn dynamic(&mut self) -> Option<()> {
        let literals = self.take(5)? + 257;
        let distances = self.take(5)? + 1;
        let count = self.take(4)? + 4;
        let mut lengths = [0; 19];
        for place in &LENGTH_ORDER[..count] {
            lengths[*place] = self.take(3)? as u8;
        }
        // 19 symbols with codes of 7 bits at most fit in an entry both.
        let mut table = [0; 1 << MAX_LENGTH_BITS];
        Code::of(&lengths)?.spread(&mut table, |symbol, length| (symbol as u8) << 3 | length);
        let mut lengths = [0; 286 + 32 + 138];
        let mut at = 0;
        while at < literals + distances {
            let entry = table[peek(self.stream, self.at)? as usize & (table.len() - 1)];
            if entry == 0 {
                return None;
            }
            self.take(usize::from(entry & 7))?;
            let (length, times) = match entry >> 3 {
                16 => (*lengths.get(at.checked_sub(1)?)?, 3 + self.take(2)?),
                17 => (0, 3 + self.take(3)?),
                18 => (0, 11 + self.take(7)?),
                length => (length, 1),
            };
            lengths.get_mut(at..at + times)?.fill(length);
            at += times;
        }
        let (literals, rest) = lengths.split_at(literals);
        self.begin_symbols(literals, &rest[..distances])
    }

    fn begin_symbols(&mut self, literals: &[u8], distances: &[u8]) -> Option<()> {
        self.next = code::LITERALS;
        self.symbols.fill(literals, distances)
    }
}
