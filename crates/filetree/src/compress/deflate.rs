//! Deflate streams that can be continued: libdeflate always ends what it writes, so the end is found and taken back.
//!
//! A stream is a row of blocks (RFC 1951), each with a bit that says whether it is the last. That of the last one stands
//! somewhere within, at no byte's boundary, and to find it all symbols before have to be walked over. That is a fraction of
//! the work of finding them (a fifth), for nothing is put out.

use std::io;

use super::malformed;

/// The longest code of the alphabets of literals and distances, and of the alphabet that their lengths are written in.
const MAX_BITS: usize = 15;
const MAX_LENGTH_BITS: usize = 7;

/// Codes up to this length are looked up. There are few longer ones, and a table for those would take longer to fill than it
/// takes to walk over a block.
const QUICK_BITS: usize = 10;

/// The order in which the lengths of the length codes come (RFC 1951 §3.2.7).
const LENGTH_ORDER: [usize; 19] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The symbol that ends a block.
const END: usize = 256;

/// What an entry of a table says besides how many bits to go: that a distance follows, or that the block ends.
const IS_LENGTH: u8 = 0x40;
const IS_END: u8 = 0x80;
const BITS: u8 = 0x3f;

/// Makes a complete stream one that can be continued at the next byte: its last block is the last no more, and a sync
/// flush (an empty stored block) fills up the byte.
pub(super) fn continue_after(stream: &mut Vec<u8>) -> io::Result<()> {
    let mut walker = Walker::new(stream);
    let (last, end) = walker.walk().ok_or_else(|| {
        malformed(io::Error::other("the compressor has made what is no deflate stream"))
    })?;
    stream[last / 8] &= !(1 << (last % 8));
    // The three bits of the empty block's head are zeros; so are those that fill up a byte.
    if (8 - end % 8) % 8 < 3 {
        stream.push(0);
    }
    stream.extend_from_slice(&[0, 0, 0xff, 0xff]);
    Ok(())
}

/// Walks over a stream without decoding it.
struct Walker<'a> {
    stream: &'a [u8],
    /// Where it is, in bits.
    at: usize,
    literals: Code<{ 1 << QUICK_BITS }>,
    distances: Code<{ 1 << QUICK_BITS }>,
}

impl<'a> Walker<'a> {
    fn new(stream: &'a [u8]) -> Self {
        Self { stream, at: 0, literals: Code::new(literal), distances: Code::new(distance) }
    }

    /// Returns where the bit is that says that a block is the last, and where that block ends; `None` unless that is where
    /// the stream ends.
    fn walk(&mut self) -> Option<(usize, usize)> {
        loop {
            let head = self.at;
            let is_last = self.take(1)? == 1;
            match self.take(2)? {
                0 => self.stored()?,
                1 => {
                    self.fixed();
                    self.symbols()?;
                }
                2 => {
                    self.dynamic()?;
                    self.symbols()?;
                }
                _ => return None,
            }
            if is_last {
                return (self.at.div_ceil(8) == self.stream.len()).then_some((head, self.at));
            }
        }
    }

    /// The next 56 bits; zeros behind the end.
    fn peek(&self) -> u64 {
        let rest = &self.stream[(self.at / 8).min(self.stream.len())..];
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(word)
            }
        };
        word >> (self.at % 8)
    }

    fn take(&mut self, bits: usize) -> Option<usize> {
        let value = self.peek() & ((1 << bits) - 1);
        self.at += bits;
        (self.at <= self.stream.len() * 8).then_some(value as usize)
    }

    fn stored(&mut self) -> Option<()> {
        self.at = self.at.next_multiple_of(8);
        let (length, complement) = (self.take(16)?, self.take(16)?);
        self.at += length * 8;
        (length ^ complement == 0xffff && self.at <= self.stream.len() * 8).then_some(())
    }

    fn fixed(&mut self) {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        // Codes of a fixed length are complete, so these are good.
        let _ = self.literals.fill(&lengths);
        let _ = self.distances.fill(&[5; 32]);
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
        let entry = |symbol, length| (symbol as u8) << 3 | length;
        let mut code = Code::<{ 1 << MAX_LENGTH_BITS }>::new(entry);
        code.fill(&lengths)?;
        let mut lengths = [0; 286 + 32 + 138];
        let mut at = 0;
        while at < literals + distances {
            let entry = code.entry(self.peek());
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
        self.literals.fill(&lengths[..literals])?;
        self.distances.fill(&lengths[literals..literals + distances])
    }

    /// Walks to the end of a block. This is where the time goes: several literals are walked over at each look.
    fn symbols(&mut self) -> Option<()> {
        let end = self.stream.len() * 8;
        while self.at <= end {
            // 57 bits at least are valid; a code has 15, a length and a distance with what belongs to them have 48.
            let bits = self.peek();
            let mut used = 0;
            while used <= 57 - MAX_BITS {
                let entry = self.literals.entry(bits >> used);
                let length = usize::from(entry & BITS);
                if entry & (IS_LENGTH | IS_END) == 0 {
                    if length == 0 {
                        return None;
                    }
                    used += length;
                } else if entry & IS_END != 0 {
                    self.at += used + length;
                    return (self.at <= end).then_some(());
                } else if used > 57 - 48 {
                    break;
                } else {
                    used += length;
                    let distance = self.distances.entry(bits >> used);
                    if distance == 0 {
                        return None;
                    }
                    used += usize::from(distance);
                    break;
                }
            }
            self.at += used;
        }
        None
    }
}

/// How many bits to go for a symbol of the first alphabet, its code being this long, and what comes then.
fn literal(symbol: usize, length: u8) -> u8 {
    match symbol {
        0..END => length,
        END => length | IS_END,
        257..265 | 285.. => length | IS_LENGTH,
        _ => (length + ((symbol - 261) / 4) as u8) | IS_LENGTH,
    }
}

/// The same for a distance.
fn distance(symbol: usize, length: u8) -> u8 {
    match symbol {
        0..4 => length,
        _ => length + (symbol / 2 - 1) as u8,
    }
}

/// What the next bits mean: an entry for each symbol, which is 0 for none.
struct Code<const SIZE: usize> {
    /// Returns the entry of a symbol with a code of this length.
    entry_of: fn(usize, u8) -> u8,
    /// The entries of short codes, by all that the next bits can be.
    quick: Box<[u8; SIZE]>,
    /// How many codes there are of each length.
    counts: [u32; MAX_BITS + 1],
    /// The symbols by the lengths of their codes.
    symbols: Vec<u16>,
}

impl<const SIZE: usize> Code<SIZE> {
    fn new(entry_of: fn(usize, u8) -> u8) -> Self {
        let (quick, counts) = (Box::new([0; SIZE]), [0; MAX_BITS + 1]);
        Self { entry_of, quick, counts, symbols: Vec::new() }
    }

    /// Takes the lengths of the symbols' codes (RFC 1951 §3.2.2); `None` if there are no such codes.
    fn fill(&mut self, lengths: &[u8]) -> Option<()> {
        self.counts = [0; MAX_BITS + 1];
        for length in lengths {
            *self.counts.get_mut(usize::from(*length))? += 1;
        }
        self.counts[0] = 0;
        // The first code of each length, and where its symbol is.
        let (mut next, mut places) = ([0u32; MAX_BITS + 1], [0u32; MAX_BITS + 1]);
        for length in 1..=MAX_BITS {
            next[length] = (next[length - 1] + self.counts[length - 1]) << 1;
            places[length] = places[length - 1] + self.counts[length - 1];
        }
        self.symbols.clear();
        self.symbols.resize(lengths.len(), 0);
        self.quick.fill(0);
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let (code, place) =
                (&mut next[usize::from(*length)], &mut places[usize::from(*length)]);
            self.symbols[*place as usize] = symbol as u16;
            let reversed = (code.reverse_bits() >> (32 - u32::from(*length))) as usize;
            (*code, *place) = (*code + 1, *place + 1);
            let step = 1 << *length;
            if *code > step as u32 {
                return None;
            }
            let entry = (self.entry_of)(symbol, *length);
            for place in (reversed..SIZE).step_by(step).take_while(|_| step <= SIZE) {
                self.quick[place] = entry;
            }
        }
        Some(())
    }

    /// Returns the entry of what comes next.
    fn entry(&self, bits: u64) -> u8 {
        match self.quick[bits as usize & (SIZE - 1)] {
            0 => self.long(bits),
            entry => entry,
        }
    }

    /// The same bit by bit: the codes of one length are consecutive numbers, and those of the next begin behind them.
    #[cold]
    fn long(&self, bits: u64) -> u8 {
        let (mut code, mut first, mut place) = (0, 0, 0);
        for length in 1..=MAX_BITS {
            code |= (bits >> (length - 1)) as u32 & 1;
            let count = self.counts[length];
            if code < first + count {
                let symbol = usize::from(self.symbols[(place + code - first) as usize]);
                return (self.entry_of)(symbol, length as u8);
            }
            place += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Inflates what is left open by the continuation, with an end put behind it.
    fn continued(mut stream: Vec<u8>) -> Vec<u8> {
        continue_after(&mut stream).unwrap();
        let mut twice = stream.clone();
        twice.extend_from_slice(&stream);
        twice.extend_from_slice(&[3, 0]);
        let mut contents = Vec::new();
        let mut decoder = flate2::write::DeflateDecoder::new(&mut contents);
        decoder.write_all(&twice).unwrap();
        decoder.finish().unwrap();
        contents
    }

    #[test]
    fn streams_of_every_kind_of_block_go_on() {
        let mut noise = 1u64;
        let mut random = |length: usize, mask: u8| -> Vec<u8> {
            let next = |state: &mut u64| {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (*state >> 56) as u8 & mask
            };
            (0..length).map(|_| next(&mut noise)).collect()
        };
        let mixed = [random(200_000, 3), random(200_000, 0xff), random(50_000, 0x3f)].concat();
        let distant = [random(32_000, 0xff).repeat(3), vec![7; 100_000]].concat();
        for contents in [
            vec![],
            b"a".to_vec(),
            b"fixed fixed fixed".to_vec(),
            random(70_000, 0xff),
            mixed,
            distant,
        ] {
            for level in [1, 5, 9, 12] {
                let level = libdeflater::CompressionLvl::new(level).unwrap();
                let mut compressor = libdeflater::Compressor::new(level);
                let mut stream = vec![0; compressor.deflate_compress_bound(contents.len())];
                let length = compressor.deflate_compress(&contents, &mut stream).unwrap();
                stream.truncate(length);
                assert!(continued(stream) == contents.repeat(2), "{} bytes", contents.len());
            }
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let level = libdeflater::CompressionLvl::new(5).unwrap();
        let contents: Vec<u8> = (0..300u32).map(|at| (at * at / 512) as u8).collect();
        let mut good = vec![0; 1000];
        let length =
            libdeflater::Compressor::new(level).deflate_compress(&contents, &mut good).unwrap();
        good.truncate(length);
        for end in 0..good.len() {
            assert!(continue_after(&mut good[..end].to_vec()).is_err(), "cut at {end}");
        }
        assert!(continue_after(&mut [&good[..], b"more"].concat()).is_err());
        assert!(continue_after(&mut vec![0xff; 100]).is_err());
        // Whatever the bits are, the walk ends.
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let _ = continue_after(&mut bad);
        }
    }
}
