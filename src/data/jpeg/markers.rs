//! The marker segments of a JPEG: size, components, tables, scan headers.

use super::huffman::Table;
use super::scan::NATURAL;
use super::{DAMAGED, MJPEG_TABLES};

/// The code of the next marker; moves `at` past it. Bytes before the marker are skipped, as libjpeg does. `None` if
/// there is no marker left.
pub(super) fn next(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += bytes.get(*at..)?.iter().position(|byte| *byte == 0xFF)?;
        *at += bytes[*at..].iter().position(|byte| *byte != 0xFF)?;
        *at += 1;
        match bytes[*at - 1] {
            0 => {}
            code => return Some(code),
        }
    }
}

/// The content of the segment at `at`, without its length; moves `at` past the segment.
pub(super) fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], &'static str> {
    let length =
        bytes.get(*at..).and_then(|rest| rest.first_chunk()).map(|length| usize::from(u16::from_be_bytes(*length)));
    let content = length.and_then(|length| bytes.get(*at + 2..*at + length)).ok_or(super::CUT_SHORT)?;
    *at += 2 + content.len();
    Ok(content)
}

/// Quantisation steps by row and column of a block.
type Steps = [[i16; 8]; 8];

/// The current tables; a later one with the same number replaces an earlier one.
pub(super) struct Tables {
    pub dc: [Option<Box<Table>>; 4],
    pub ac: [Option<Box<Table>>; 4],
    /// Quantisation steps, row by row.
    steps: [Option<Steps>; 4],
    /// MCUs between restart markers; 0 for none.
    pub restart_interval: u32,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self { dc: Default::default(), ac: Default::default(), steps: [None; 4], restart_interval: 0 }
    }

    /// Reads a DQT segment.
    pub(super) fn quantisation(&mut self, mut content: &[u8]) -> Result<(), &'static str> {
        while let [head, rest @ ..] = content {
            let (wide, number) = (head >> 4 != 0, usize::from(head & 15));
            let length = if wide { 128 } else { 64 };
            let (values, rest) = rest.split_at_checked(length).ok_or(DAMAGED)?;
            let mut steps = Steps::default();
            for (at, place) in NATURAL.map(usize::from).into_iter().enumerate() {
                steps[place / 8][place % 8] = match wide {
                    true => i16::from_be_bytes([values[2 * at], values[2 * at + 1]]),
                    false => values[at].into(),
                };
            }
            *self.steps.get_mut(number).ok_or(DAMAGED)? = Some(steps);
            content = rest;
        }
        Ok(())
    }

    /// Reads a DHT segment.
    pub(super) fn huffman(&mut self, mut content: &[u8]) -> Result<(), &'static str> {
        while let [head, rest @ ..] = content {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(DAMAGED)?;
            let symbols = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(symbols).ok_or(DAMAGED)?;
            let tables = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(head & 15)).ok_or(DAMAGED)? = Some(Box::new(Table::new(counts, symbols)?));
            content = rest;
        }
        Ok(())
    }

    /// Fills in the standard tables, which Motion JPEG's frames omit, if none were given.
    pub(super) fn complete(&mut self) -> Result<(), &'static str> {
        for (number, [dc, ac]) in MJPEG_TABLES.iter().enumerate() {
            for (table, (counts, symbols)) in [(&mut self.dc[number], dc), (&mut self.ac[number], ac)] {
                if table.is_none() {
                    *table = Some(Box::new(Table::new(counts, symbols)?));
                }
            }
        }
        Ok(())
    }
}

/// A picture's size and components.
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    pub progressive: bool,
    pub components: Vec<Component>,
    /// Blocks of the finest component in one MCU (T.81's unit of interleaved data).
    pub across: usize,
    pub down: usize,
    /// MCUs in a row, and rows of MCUs.
    pub units: usize,
    pub unit_rows: usize,
}

/// One colour component: its samples and coefficients.
pub(super) struct Component {
    pub id: u8,
    /// Blocks of this component in one MCU.
    pub across: usize,
    pub down: usize,
    /// The number of its quantisation table, and that table's steps once its first scan has begun.
    quantisation: usize,
    pub steps: Option<Steps>,
    /// Size in samples.
    pub width: usize,
    pub height: usize,
    /// Size in blocks, without those that pad the last MCU.
    pub wide: usize,
    pub high: usize,
    /// Blocks in a row, with those that pad the last MCU.
    pub stride: usize,
    /// All coefficients of a progressive frame; only those of one row of MCUs of a sequential frame. A row of blocks is
    /// stored as eight rows of `8 * stride` values, as the samples are.
    pub coefficients: Vec<i16>,
    /// By index in the zigzag: where the coefficient is stored.
    pub places: [usize; 64],
    /// Rows of `8 * stride` samples: the last `kept` of them, row `y` as number `y % kept`.
    pub samples: Vec<u8>,
    pub kept: usize,
    /// By index in the zigzag: the lowest known bit of the coefficients.
    known: [u8; 64],
}

/// Nothing of a coefficient is known.
const UNKNOWN: u8 = 255;

impl Frame {
    /// Reads an SOF segment.
    pub(super) fn new(progressive: bool, content: &[u8]) -> Result<Self, String> {
        let [precision, h1, h0, w1, w0, count, rest @ ..] = content else { return Err(DAMAGED.to_owned()) };
        let (height, width) = (u16::from_be_bytes([*h1, *h0]), u16::from_be_bytes([*w1, *w0]));
        if *precision != 8 {
            return Err(format!("a JPEG of {precision} bits a sample, which is not read: 8 are"));
        }
        if height == 0 {
            return Err("a JPEG that keeps its height until after its data (DNL), which is not read".to_owned());
        }
        if ![1, 3, 4].contains(count) {
            return Err(format!("a JPEG of {count} components, which is not read: 1, 3 and 4 are"));
        }
        if width == 0 || rest.len() < 3 * usize::from(*count) {
            return Err(DAMAGED.to_owned());
        }
        let (width, height) = (usize::from(width), usize::from(height));
        let parts: Vec<[u8; 3]> = rest.as_chunks().0[..usize::from(*count)].to_vec();
        let factors = |[_, factors, _]: &[u8; 3]| (usize::from(factors >> 4), usize::from(factors & 15));
        if parts.iter().map(factors).any(|(across, down)| !(1..=4).contains(&across) || !(1..=4).contains(&down)) {
            return Err(DAMAGED.to_owned());
        }
        let across = parts.iter().map(|part| factors(part).0).max().unwrap_or(1);
        let down = parts.iter().map(|part| factors(part).1).max().unwrap_or(1);
        let (units, unit_rows) = (width.div_ceil(8 * across), height.div_ceil(8 * down));
        let mut components = Vec::new();
        for part in &parts {
            let (own_across, own_down) = factors(part);
            if across % own_across != 0 || down % own_down != 0 {
                return Err(format!(
                    "a JPEG with {own_across} x {own_down} samples of one component where another has {across} x \
                     {down}, which is not read"
                ));
            }
            let stride = units * own_across;
            let (width, height) = ((width * own_across).div_ceil(across), (height * own_down).div_ceil(down));
            components.push(Component {
                id: part[0],
                across: own_across,
                down: own_down,
                quantisation: usize::from(part[2]),
                steps: None,
                width,
                height,
                wide: width.div_ceil(8),
                high: height.div_ceil(8),
                stride,
                coefficients: Vec::new(),
                places: NATURAL.map(|place| usize::from(place / 8) * stride * 8 + usize::from(place % 8)),
                samples: Vec::new(),
                kept: 0,
                known: [UNKNOWN; 64],
            });
        }
        Ok(Self { width, height, progressive, components, across, down, units, unit_rows })
    }

    /// Blocks of all components.
    pub(super) fn blocks(&self) -> usize {
        self.components.iter().map(Component::blocks).sum()
    }

    /// How the frame becomes a picture, if this is its first scan.
    pub(super) fn way(&self, scan: &Scan) -> Way {
        match (self.progressive, scan.components.len() == self.components.len()) {
            (true, _) => Way::Progressive,
            (false, true) => Way::AtOnce,
            (false, false) => Way::Sequential,
        }
    }

    /// Whether all coefficients are known.
    pub(super) fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.known == [0; 64])
    }
}

impl Component {
    /// Blocks that hold a part of the picture.
    pub(super) fn blocks(&self) -> usize {
        self.wide * self.high
    }

    /// Allocates memory for a scan of this component that decodes `down` rows of blocks at a time.
    pub(super) fn begin(&mut self, way: Way, down: usize, tables: &Tables) -> Result<(), &'static str> {
        if self.steps.is_none() {
            let steps = *tables.steps.get(self.quantisation).ok_or(DAMAGED)?;
            self.steps = Some(steps.ok_or("a damaged JPEG: a component without its table of quantisation")?);
        }
        let (sample_rows, coefficient_rows) = self.block_rows(way);
        self.kept = 8 * sample_rows;
        self.samples.resize(self.kept * self.stride * 8, 0);
        self.coefficients.resize(if way == Way::Progressive { coefficient_rows } else { down } * self.stride * 64, 0);
        Ok(())
    }

    /// Rows of blocks whose samples are kept, and rows whose coefficients are kept.
    fn block_rows(&self, way: Way) -> (usize, usize) {
        let all = self.high.next_multiple_of(self.down);
        match way {
            // Upsampling needs a row of the previous MCU.
            Way::AtOnce => (all.min(2 * self.down), self.down),
            Way::Progressive => (all.min(2 * self.down), all),
            Way::Sequential => (all, self.down),
        }
    }

    /// The memory of samples and coefficients, which take one and two bytes each.
    pub(super) fn memory_bytes(&self, way: Way) -> u64 {
        let (sample_rows, coefficient_rows) = self.block_rows(way);
        (sample_rows + 2 * coefficient_rows) as u64 * self.stride as u64 * 64
    }

    /// Notes which bits are known after a scan.
    pub(super) fn finish(&mut self, coding: Coding) {
        match coding {
            Coding::Sequential => self.known = [0; 64],
            Coding::DcFirst { low } | Coding::DcMore { low } => self.known[0] = low,
            Coding::AcFirst { first, last, low } | Coding::AcMore { first, last, low } => {
                self.known[usize::from(first)..=usize::from(last)].fill(low);
            }
        }
    }
}

/// How a frame becomes a picture.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Row by row: its only scan holds all components.
    AtOnce,
    /// Component by component, in several scans.
    Sequential,
    /// From its coefficients, once all scans are decoded.
    Progressive,
}

/// Which part of its components' coefficients a scan holds: all of them, or some of their bits, from bit `low` on.
#[derive(Clone, Copy)]
pub(super) enum Coding {
    Sequential,
    DcFirst { low: u8 },
    DcMore { low: u8 },
    AcFirst { first: u8, last: u8, low: u8 },
    AcMore { first: u8, last: u8, low: u8 },
}

impl Coding {
    pub(super) fn reads_dc(self) -> bool {
        matches!(self, Self::Sequential | Self::DcFirst { .. })
    }

    pub(super) fn reads_ac(self) -> bool {
        matches!(self, Self::Sequential | Self::AcFirst { .. } | Self::AcMore { .. })
    }
}

/// The head of a scan.
pub(super) struct Scan {
    /// The numbers of its components, and of their Huffman tables for DC and AC.
    pub components: Vec<(usize, usize, usize)>,
    pub coding: Coding,
}

impl Scan {
    /// Reads an SOS segment.
    pub(super) fn new(frame: &Frame, content: &[u8]) -> Result<Self, &'static str> {
        let (count, rest) = content.split_first().ok_or(DAMAGED)?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(*count)).ok_or(DAMAGED)?;
        let [first, last, bits, ..] = *rest else { return Err(DAMAGED) };
        let mut components: Vec<(usize, usize, usize)> = Vec::new();
        for [id, tables] in parts.as_chunks().0 {
            let new = |at: &usize| components.iter().all(|(known, ..)| known != at);
            let component = frame.components.iter().enumerate().filter(|(_, component)| component.id == *id);
            let component = component.map(|(at, _)| at).find(new).ok_or("a damaged JPEG: a scan of no component")?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 {
                return Err(DAMAGED);
            }
            components.push((component, dc, ac));
        }
        let unit: usize =
            components.iter().map(|(at, ..)| frame.components[*at].across * frame.components[*at].down).sum();
        // T.81, B.2.3.
        if components.is_empty() || (components.len() > 1 && unit > 10) {
            return Err("a damaged JPEG: a scan of more than ten blocks a unit");
        }
        let (high, low) = (bits >> 4, bits & 15);
        let coding = match (frame.progressive, first) {
            (false, _) => Coding::Sequential,
            (true, 0) if last == 0 && low < 14 => match high {
                0 => Coding::DcFirst { low },
                _ => Coding::DcMore { low },
            },
            (true, 1..) if first <= last && last < 64 && low < 14 && components.len() == 1 => match high {
                0 => Coding::AcFirst { first, last, low },
                _ => Coding::AcMore { first, last, low },
            },
            _ => return Err("a damaged JPEG: a scan of no band of coefficients"),
        };
        Ok(Self { components, coding })
    }
}
