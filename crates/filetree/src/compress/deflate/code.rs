//! What the bits of a deflate block mean to who only wants to get over them: how many belong to a symbol, and which alphabet
//! the next symbol is of (RFC 1951 §3.2).
//!
//! ```text
//! literal 0..255 | end 256 | length 257..285 + extra bits ─► distance 0..29 + extra bits
//!    ▲                                                          │
//!    └──────────────────────────────────────────────────────────┘
//! ```

/// The longest code of both alphabets.
const MAX_BITS: usize = 15;

/// Codes up to this length are looked up. There are few longer ones, and larger tables take longer to fill, and more room
/// next to the processor, than they save.
const QUICK_BITS: usize = 10;
const SIZE: usize = 1 << QUICK_BITS;

/// Where the table of each alphabet begins: that of literals, ends and lengths, and that of distances.
pub(super) const LITERALS: usize = 0;
pub(super) const DISTANCES: usize = SIZE;

/// The symbol that ends a block.
const END: usize = 256;

/// How to get over what comes next.
///
/// ```text
/// 7         not like this: the code is long, or there is none, or the block ends; then the bits to go are 0
/// 6         a distance comes next
/// 5 … 0     the bits to go
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u8);

impl Entry {
    const IS_SLOW: u8 = 0x80;
    const TO_DISTANCE: u8 = 0x40;
    const BITS: u8 = 0x3f;
    const SLOW_LITERAL: Self = Self(Self::IS_SLOW);
    /// It is a distance that comes next, still.
    const SLOW_DISTANCE: Self = Self(Self::IS_SLOW | Self::TO_DISTANCE);

    /// Of a symbol of the first alphabet, its code being this long.
    fn literal(symbol: usize, length: u8) -> Self {
        Self(match symbol {
            0..END => length,
            END => Self::IS_SLOW,
            257..265 | 285.. => length | Self::TO_DISTANCE,
            _ => (length + ((symbol - 261) / 4) as u8) | Self::TO_DISTANCE,
        })
    }

    fn distance(symbol: usize, length: u8) -> Self {
        Self(match symbol {
            0..4 => length,
            _ => length + (symbol / 2 - 1) as u8,
        })
    }

    pub(super) fn is_quick(self) -> bool {
        self.0 & Self::IS_SLOW == 0
    }

    /// How many bits to go.
    pub(super) fn bits(self) -> usize {
        usize::from(self.0 & Self::BITS)
    }

    /// Where the table of what comes then begins.
    pub(super) fn next(self) -> usize {
        usize::from(self.0 & Self::TO_DISTANCE) * (DISTANCES / Self::TO_DISTANCE as usize)
    }

    fn is_plain_literal(self) -> bool {
        self.0 & (Self::IS_SLOW | Self::TO_DISTANCE) == 0
    }
}

/// Both alphabets of a block.
#[derive(Debug)]
pub(super) struct Symbols {
    literals: Code,
    distances: Code,
    /// The table of each, by all that the next bits can be.
    table: Box<[Entry; 2 * SIZE]>,
    /// Entries of single literals and lengths, with the lengths of their codes. Those of the table get over as many
    /// literals as the bits are sure to hold.
    single: Box<[(Entry, u8); SIZE]>,
}

impl Symbols {
    /// Begins with nothing: to be filled.
    pub(super) fn new() -> Self {
        Self {
            literals: Code::default(),
            distances: Code::default(),
            table: Box::new([Entry::SLOW_LITERAL; 2 * SIZE]),
            single: Box::new([(Entry::SLOW_LITERAL, 0); SIZE]),
        }
    }

    /// Takes the lengths of the codes; `None` if there are no such codes.
    pub(super) fn fill(&mut self, literals: &[u8], distances: &[u8]) -> Option<()> {
        self.literals = Code::of(literals)?;
        self.distances = Code::of(distances)?;
        let (first, second) = self.table.split_at_mut(DISTANCES);
        second.fill(Entry::SLOW_DISTANCE);
        self.distances.spread(second, Entry::distance);
        self.single.fill((Entry::SLOW_LITERAL, 0));
        let single = |symbol, length| (Entry::literal(symbol, length), length);
        self.literals.spread(&mut self.single[..], single);
        for (bits, entry) in first.iter_mut().enumerate() {
            *entry = several(&self.single, bits);
        }
        Some(())
    }

    /// Returns how to get over what comes next, of the alphabet with the table that begins there.
    #[inline]
    pub(super) fn entry(&self, table: usize, bits: u64) -> Entry {
        self.table[table | (bits as usize & (SIZE - 1))]
    }

    /// The same for any symbol: how many bits to go, and where the table of what comes then begins; `None` for that if the
    /// block ends.
    #[cold]
    pub(super) fn find(&self, table: usize, bits: u64) -> Option<(usize, Option<usize>)> {
        if table == DISTANCES {
            let (symbol, length) = self.distances.find(bits)?;
            return Some((Entry::distance(symbol, length).bits(), Some(LITERALS)));
        }
        let (symbol, length) = self.literals.find(bits)?;
        if symbol == END {
            return Some((usize::from(length), None));
        }
        let entry = Entry::literal(symbol, length);
        Some((entry.bits(), Some(entry.next())))
    }
}

/// Returns the entry that gets over all literals that these bits hold, and over a length whose code they hold behind them.
fn several(single: &[(Entry, u8); SIZE], bits: usize) -> Entry {
    let mut all = single[bits].0;
    while all.is_plain_literal() {
        let (next, length) = single[bits >> all.bits()];
        if !next.is_quick() || all.bits() + usize::from(length) > QUICK_BITS {
            break;
        }
        all = Entry(all.0 + next.0);
    }
    all
}

/// The codes of an alphabet. Those of one length are consecutive numbers, and those of the next begin behind them.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// How many there are of each length.
    counts: [u32; MAX_BITS + 1],
    /// The symbols by the lengths of their codes.
    symbols: Vec<u16>,
}

impl Code {
    /// Takes the lengths of the symbols' codes (RFC 1951 §3.2.2), 0 for no code; `None` if there are no such codes.
    pub(super) fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0; MAX_BITS + 1];
        for length in lengths {
            *counts.get_mut(usize::from(*length))? += 1;
        }
        counts[0] = 0;
        // Where the symbols of each length are, and how many codes are taken.
        let (mut places, mut taken) = ([0; MAX_BITS + 2], 0);
        for length in 1..=MAX_BITS {
            places[length + 1] = places[length] + counts[length] as usize;
            taken = (taken << 1) + counts[length];
            if taken > 1 << length {
                return None;
            }
        }
        let mut symbols = vec![0; lengths.len()];
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let place = &mut places[usize::from(*length)];
            symbols[*place] = symbol as u16;
            *place += 1;
        }
        Some(Self { counts, symbols })
    }

    /// Puts what `entry_of` says of a symbol and the length of its code wherever the bits are that code, however they go
    /// on, for codes short enough. The table's length is a power of two.
    pub(super) fn spread<T: Copy>(&self, table: &mut [T], entry_of: impl Fn(usize, u8) -> T) {
        let (mut code, mut place) = (0u32, 0);
        for length in 1..=MAX_BITS.min(table.len().ilog2() as usize) {
            code <<= 1;
            for symbol in &self.symbols[place..place + self.counts[length] as usize] {
                let entry = entry_of(usize::from(*symbol), length as u8);
                // Codes are written from their highest bit on, and all else from the lowest.
                let reversed = (code.reverse_bits() >> (32 - length)) as usize;
                table[reversed..].iter_mut().step_by(1 << length).for_each(|slot| *slot = entry);
                code += 1;
            }
            place += self.counts[length] as usize;
        }
    }

    /// Returns the symbol that comes next and the length of its code, bit by bit.
    fn find(&self, bits: u64) -> Option<(usize, u8)> {
        let (mut code, mut first, mut place) = (0, 0, 0);
        for length in 1..=MAX_BITS {
            code |= (bits >> (length - 1)) as u32 & 1;
            let count = self.counts[length];
            if code < first + count {
                let symbol = self.symbols[(place + code - first) as usize];
                return Some((usize::from(symbol), length as u8));
            }
            place += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}
