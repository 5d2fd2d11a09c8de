//! The coefficients of a scan.

use super::huffman::{Bits, Table};
use super::markers::{Coding, Component, Frame, Scan, Tables, Way};
use super::pixels::Painter;
use super::{CUT_SHORT, transform};

/// By index in a block's zigzag: the coefficient's index row by row (T.81, figure 5).
#[rustfmt::skip]
pub(super) const NATURAL: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

const BAD_RUN: &str = "a damaged JPEG: a block of more than 64 coefficients";
const BAD_SIZE: &str = "a damaged JPEG: a coefficient out of range";

/// The coefficients of a block.
struct Block<'c> {
    values: &'c mut [i16],
    places: &'c [usize; 64],
}

impl Block<'_> {
    /// The coefficient at this index of the zigzag.
    #[inline(always)]
    fn at(&mut self, place: usize) -> &mut i16 {
        &mut self.values[self.places[place]]
    }
}

/// A component of a scan with its tables.
struct Part<'t> {
    /// Its index in the frame.
    component: usize,
    /// Its blocks in one MCU, across and down.
    across: usize,
    down: usize,
    dc: Option<&'t Table>,
    ac: Option<&'t Table>,
    /// Its previous DC coefficient.
    previous: i32,
}

/// Decodes the scan whose data begin at `at`; returns where the search for the next marker starts. The samples of a
/// sequential frame are computed row by row; those of a progressive one when all its scans are known.
pub(super) fn decode(
    (bytes, at): (&[u8], usize),
    frame: &mut Frame,
    scan: &Scan,
    tables: &Tables,
    painter: &mut Painter,
) -> Result<usize, String> {
    let way = frame.way(scan);
    let alone = scan.components.len() == 1;
    let mut parts = Vec::new();
    for &(component, dc, ac) in &scan.components {
        let Component { across, down, .. } = frame.components[component];
        let (across, down) = if alone { (1, 1) } else { (across, down) };
        let (dc, ac) = (tables.dc[dc].as_deref(), tables.ac[ac].as_deref());
        if (dc.is_none() && scan.coding.reads_dc()) || (ac.is_none() && scan.coding.reads_ac()) {
            return Err("a damaged JPEG: a scan without its Huffman tables".to_owned());
        }
        frame.components[component].begin(way, down, tables)?;
        parts.push(Part { component, across, down, dc, ac, previous: 0 });
    }
    let (units, rows) = match &parts[..] {
        [only] => (frame.components[only.component].wide, frame.components[only.component].high),
        _ => (frame.units, frame.unit_rows),
    };

    let mut bits = Bits::new(bytes, at);
    let mut zeros = 0;
    let (mut until_restart, mut restarts) = (tables.restart_interval, 0);
    for row in 0..rows {
        for unit in 0..units {
            if tables.restart_interval > 0 {
                if until_restart == 0 {
                    if bits.overrun() {
                        return Err(CUT_SHORT.to_owned());
                    }
                    bits.restart(restarts)?;
                    parts.iter_mut().for_each(|part| part.previous = 0);
                    (zeros, until_restart, restarts) = (0, tables.restart_interval, restarts + 1);
                }
                until_restart -= 1;
            }
            for part in &mut parts {
                let component = &mut frame.components[part.component];
                let first_row = if frame.progressive { row * part.down } else { 0 };
                for y in 0..part.down {
                    let start = (first_row + y) * component.stride * 64 + unit * part.across * 8;
                    for x in 0..part.across {
                        let values = &mut component.coefficients[start + x * 8..];
                        let block = Block { values, places: &component.places };
                        part.block(&mut bits, scan.coding, block, &mut zeros)?;
                    }
                }
            }
        }
        if bits.overrun() {
            return Err(CUT_SHORT.to_owned());
        }
        if way != Way::Progressive {
            for part in &parts {
                transform::rows(&mut frame.components[part.component], row * part.down, part.down, 0);
            }
        }
        if way == Way::AtOnce && row + 1 < rows {
            // The last row of pixels needs the next row of MCUs.
            painter.paint(frame, (row + 1) * 8 * parts.iter().map(|part| part.down).max().unwrap_or(1) - 1);
        }
    }
    for part in &parts {
        frame.components[part.component].finish(scan.coding);
    }
    if ends_in_zeros(bytes, &bits) { Err(CUT_SHORT.to_owned()) } else { Ok(bits.at()) }
}

/// Whether blocks were read from trailing zeros of a file without an end marker, as an interrupted download leaves them
/// on disk.
fn ends_in_zeros(bytes: &[u8], bits: &Bits) -> bool {
    // The last block of an intact file may end in one zero byte.
    const ENOUGH_BYTES: usize = 2;
    let rest = &bytes[bits.used().saturating_sub(ENOUGH_BYTES)..];
    rest.len() >= ENOUGH_BYTES && rest.iter().all(|byte| *byte == 0)
}

impl Part<'_> {
    /// Decodes one block; `zeros` counts the blocks from this one on that have no further coefficient in this scan.
    #[inline(always)]
    fn block(
        &mut self,
        bits: &mut Bits,
        coding: Coding,
        mut block: Block,
        zeros: &mut u32,
    ) -> Result<(), &'static str> {
        match (coding, self.dc, self.ac) {
            (Coding::Sequential, Some(dc), Some(ac)) => {
                *block.at(0) = dc_coefficient(bits, dc, &mut self.previous)? as i16;
                ac_coefficients(bits, ac, block)
            }
            (Coding::DcFirst { low }, Some(dc), _) => {
                *block.at(0) = (dc_coefficient(bits, dc, &mut self.previous)? << low) as i16;
                Ok(())
            }
            (Coding::DcMore { low }, _, _) => {
                *block.at(0) |= (bits.read(1) << low) as i16;
                Ok(())
            }
            (Coding::AcFirst { first, last, low }, _, Some(ac)) => {
                first_coefficients(bits, ac, block, first..=last, low, zeros)
            }
            (Coding::AcMore { first, last, low }, _, Some(ac)) => {
                more_coefficients(bits, ac, block, first..=last, low, zeros)
            }
            // The tables were checked before.
            _ => Ok(()),
        }
    }
}

#[inline(always)]
fn dc_coefficient(bits: &mut Bits, table: &Table, previous: &mut i32) -> Result<i32, &'static str> {
    let size = bits.symbol(table)?;
    if size > 15 {
        return Err(BAD_SIZE);
    }
    *previous = previous.wrapping_add(bits.value(size));
    Ok(*previous)
}

/// All but the first coefficient of a block (T.81, F.2.2.2). The block holds zeros so far.
#[inline(always)]
fn ac_coefficients(bits: &mut Bits, table: &Table, mut block: Block) -> Result<(), &'static str> {
    let mut at = 1;
    while at < 64 {
        bits.prepare();
        let found = table.coefficient(bits);
        let (run, value) = if found.bits > 0 {
            bits.skip(found.bits.into());
            (found.run, found.value)
        } else {
            match bits.symbol(table)? {
                0xF0 => (15, 0),
                symbol if symbol & 15 == 0 => break,
                symbol => (symbol >> 4, bits.value(symbol & 15) as i16),
            }
        };
        at += usize::from(run);
        if at > 63 {
            return if value == 0 { Ok(()) } else { Err(BAD_RUN) };
        }
        *block.at(at) = value;
        at += 1;
    }
    Ok(())
}

/// The upper bits of the coefficients of a band (T.81, G.1.2.2).
fn first_coefficients(
    bits: &mut Bits,
    table: &Table,
    mut block: Block,
    band: std::ops::RangeInclusive<u8>,
    low: u8,
    zeros: &mut u32,
) -> Result<(), &'static str> {
    if *zeros > 0 {
        *zeros -= 1;
        return Ok(());
    }
    let (mut at, last) = (*band.start(), *band.end());
    while at <= last {
        let symbol = bits.symbol(table)?;
        let (run, size) = (symbol >> 4, symbol & 15);
        if size > 0 {
            at += run;
            if at > last {
                return Err(BAD_RUN);
            }
            *block.at(at.into()) = (bits.value(size) << low) as i16;
            at += 1;
        } else if run == 15 {
            at += 16;
        } else {
            *zeros = (1 << run) + bits.read(run) - 1;
            break;
        }
    }
    Ok(())
}

/// One more bit of the coefficients of a band (T.81, G.1.2.3): nonzero ones get their bit as they are passed.
fn more_coefficients(
    bits: &mut Bits,
    table: &Table,
    mut block: Block,
    band: std::ops::RangeInclusive<u8>,
    low: u8,
    zeros: &mut u32,
) -> Result<(), &'static str> {
    let one = 1i16 << low;
    let refine = |bits: &mut Bits, coefficient: &mut i16| {
        if bits.read(1) == 1 && *coefficient & one == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient > 0 { one } else { -one });
        }
    };
    let (mut at, last) = (*band.start(), *band.end());
    while *zeros == 0 && at <= last {
        let symbol = bits.symbol(table)?;
        let mut run = symbol >> 4;
        let value = match symbol & 15 {
            0 if run < 15 => {
                *zeros = (1 << run) + bits.read(run);
                break;
            }
            0 => 0,
            1 => {
                if bits.read(1) == 1 {
                    one
                } else {
                    -one
                }
            }
            _ => return Err(BAD_SIZE),
        };
        while at <= last {
            let coefficient = block.at(at.into());
            at += 1;
            if *coefficient != 0 {
                refine(bits, coefficient);
            } else if run > 0 {
                run -= 1;
            } else {
                *coefficient = value;
                break;
            }
        }
    }
    if *zeros > 0 {
        *zeros -= 1;
        for at in at..=last {
            let coefficient = block.at(at.into());
            if *coefficient != 0 {
                refine(bits, coefficient);
            }
        }
    }
    Ok(())
}
