//! Huffman codes, and the bit reader.

/// Codes of at most this many bits are decoded by one look-up. Nearly all codes have at most 10 bits, and tables of
/// that size stay in the cache.
const LOOKUP_BITS: u32 = 10;

/// One Huffman table of a JPEG.
pub(super) struct Table {
    /// By the next ten bits: the symbol, and the length of its code in bits; 0 if the code is longer.
    short: [(u8, u8); 1 << LOOKUP_BITS],
    /// By the next ten bits: the coefficient that they hold, code and value.
    coefficients: [Coefficient; 1 << LOOKUP_BITS],
    /// By the length of a code: the first 16-bit value beyond all codes of that length.
    limits: [u32; 17],
    /// By the length of a code: the difference between a code and the index of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// A coefficient from the look-up table, with the run of zeros before it.
#[derive(Clone, Copy, Default)]
pub(super) struct Coefficient {
    pub value: i16,
    /// Zeros before it; 64 for the end of a block.
    pub run: u8,
    /// Bits of code and value together; 0 if they do not fit the look-up.
    pub bits: u8,
}

impl Table {
    /// A table with `counts[n]` codes of `n + 1` bits; `symbols` lists their symbols in order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, &'static str> {
        let mut table = Self {
            short: [(0, 0); 1 << LOOKUP_BITS],
            coefficients: [Coefficient::default(); 1 << LOOKUP_BITS],
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0u32, 0);
        for bits in 1..=16 {
            table.offsets[bits] = place as i32 - code as i32;
            for _ in 0..counts[bits - 1] {
                if code >= 1 << bits {
                    return Err("a damaged JPEG: more Huffman codes than their lengths allow");
                }
                let symbol = *symbols.get(place).ok_or("a damaged JPEG: a Huffman code without a symbol")?;
                if bits as u32 <= LOOKUP_BITS {
                    let rest = LOOKUP_BITS - bits as u32;
                    table.short[(code << rest) as usize..((code + 1) << rest) as usize].fill((symbol, bits as u8));
                }
                code += 1;
                place += 1;
            }
            table.limits[bits] = code << (16 - bits);
            code <<= 1;
        }
        for (ahead, coefficient) in table.coefficients.iter_mut().enumerate() {
            *coefficient = Coefficient::of(ahead as u32, table.short[ahead]);
        }
        Ok(table)
    }

    /// The next coefficient, if its bits fit the look-up.
    #[inline(always)]
    pub(super) fn coefficient(&self, bits: &Bits) -> Coefficient {
        self.coefficients[bits.peek(LOOKUP_BITS) as usize]
    }
}

impl Coefficient {
    fn of(ahead: u32, (symbol, code_bits): (u8, u8)) -> Self {
        let (run, size) = (symbol >> 4, symbol & 15);
        let bits = code_bits + size;
        match size {
            _ if code_bits == 0 || u32::from(bits) > LOOKUP_BITS => Self::default(),
            0 if run < 15 => Self { value: 0, run: 64, bits },
            // Sixteen zeros: fifteen and a coefficient of 0.
            0 => Self { value: 0, run, bits },
            _ => {
                let value = (ahead >> (LOOKUP_BITS - u32::from(bits))) & ((1 << size) - 1);
                Self { value: extend(value, size.into()) as i16, run, bits }
            }
        }
    }
}

/// The value that `size` bits stand for (T.81, F.2.2.1): the lower half of them is negative.
#[inline(always)]
fn extend(value: u32, size: u32) -> i32 {
    let value = value as i32;
    if size > 0 && value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
}

/// Reads the bits of a scan in order.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Index of the next byte that is not in `buffer`; never beyond the next marker.
    at: usize,
    /// The next bits, from the top.
    buffer: u64,
    /// Number of bits in `buffer`.
    count: u32,
    /// Zero bits that were appended after the last bit.
    invented: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0, invented: 0 }
    }

    /// Where the search for the next marker starts after the scan.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether more bits were read than there are before the next marker.
    #[inline]
    pub(super) fn overrun(&self) -> bool {
        self.invented > self.count
    }

    /// Index of the last byte that was read, not counting bytes that were only peeked at.
    pub(super) fn used(&self) -> usize {
        self.at.saturating_sub((self.count.saturating_sub(self.invented) / 8) as usize)
    }

    /// Continues after restart marker number `number`.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), &'static str> {
        match super::markers::next(self.bytes, &mut self.at) {
            Some(code) if usize::from(code) == 0xD0 + number % 8 => {
                *self = Self::new(self.bytes, self.at);
                Ok(())
            }
            Some(0xD0..=0xD7) => Err("a damaged JPEG: its restart markers are not in order"),
            _ => Err(super::CUT_SHORT),
        }
    }

    /// Makes at least 56 bits ready, enough for a code of 16 bits and a value of 16.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(next) = self.bytes[self.at..].first_chunk() {
            let next = u64::from_be_bytes(*next);
            // None of these bytes is FF, so there is no stuffing and no marker.
            if next & (!next).wrapping_sub(0x0101_0101_0101_0101) & 0x8080_8080_8080_8080 == 0 {
                let taken = (63 - self.count) / 8;
                self.buffer |= next >> self.count;
                self.count += taken * 8;
                self.at += taken as usize;
                return;
            }
        }
        self.refill_by_bytes();
    }

    #[inline(never)]
    fn refill_by_bytes(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes[self.at..] {
                [0xFF, ref after @ ..] => {
                    let fill = after.iter().take_while(|byte| **byte == 0xFF).count();
                    if after.get(fill) == Some(&0) {
                        self.at += fill + 2;
                        Some(0xFF)
                    } else {
                        None
                    }
                }
                [byte, ..] => {
                    self.at += 1;
                    Some(byte)
                }
                [] => None,
            };
            if byte.is_none() {
                self.invented = self.invented.saturating_add(8);
            }
            self.buffer |= u64::from(byte.unwrap_or(0)) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Makes the bits of a code and its value ready.
    #[inline(always)]
    pub(super) fn prepare(&mut self) {
        if self.count < 32 {
            self.refill();
        }
    }

    #[inline(always)]
    fn peek(&self, bits: u32) -> u32 {
        (self.buffer >> (64 - bits)) as u32
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The next symbol. The bits of the value after it are ready, too.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, &'static str> {
        self.prepare();
        let (symbol, bits) = table.short[self.peek(LOOKUP_BITS) as usize];
        if bits > 0 {
            self.skip(bits.into());
            return Ok(symbol);
        }
        self.long_symbol(table)
    }

    #[inline(never)]
    fn long_symbol(&mut self, table: &Table) -> Result<u8, &'static str> {
        let ahead = self.peek(16);
        let long = LOOKUP_BITS as usize + 1..=16;
        let bits = long.clone().find(|&bits| ahead < table.limits[bits]);
        let place = bits.map(|bits| (ahead >> (16 - bits)) as i32 + table.offsets[bits]);
        let symbol = place.and_then(|place| table.symbols.get(usize::try_from(place).ok()?));
        let (Some(bits), Some(&symbol)) = (bits, symbol) else {
            return Err("a damaged JPEG: bits that are no Huffman code");
        };
        self.skip(bits as u32);
        Ok(symbol)
    }

    /// The value of `size` bits, at most 16, that follows a symbol.
    #[inline(always)]
    pub(super) fn value(&mut self, size: u8) -> i32 {
        extend(self.take(size.into()), size.into())
    }

    /// The next `bits`, at most 16, which are ready.
    #[inline(always)]
    fn take(&mut self, bits: u32) -> u32 {
        if bits == 0 {
            return 0;
        }
        let value = self.peek(bits);
        self.skip(bits);
        value
    }

    /// The next `bits`, at most 16.
    #[inline(always)]
    pub(super) fn read(&mut self, bits: u8) -> u32 {
        self.prepare();
        self.take(bits.into())
    }
}
