//! From samples to pixels: upsampling of the coarser components, then conversion to RGB, both as libjpeg does by
//! default.

use image::RgbImage;

use super::markers::{Component, Frame};
use super::{Colours, transform};

/// How a component is upsampled to the size of the finest.
#[derive(Clone, Copy)]
enum Upsampling {
    /// It has the full size already.
    None,
    /// Repeats each sample this many times across and down.
    Repeated(usize, usize),
    /// Doubles the width: each result is 3/4 of the nearer sample and 1/4 of the farther one.
    Across,
    /// Doubles the height, with the same weights.
    Down,
    /// Doubles the height, then the width.
    Both,
}

impl Upsampling {
    fn of(component: &Component, frame: &Frame) -> Self {
        match (frame.across / component.across, frame.down / component.down) {
            (1, 1) => Self::None,
            (1, 2) => Self::Down,
            (2, 1) if component.width > 2 => Self::Across,
            (2, 2) if component.width > 2 => Self::Both,
            (across, down) => Self::Repeated(across, down),
        }
    }
}

/// Row `y` of a component at full size, at least as wide as the picture; `row` and `sums` are scratch memory.
#[inline(always)]
fn full_row<'r>(component: &'r Component, how: Upsampling, y: usize, row: &'r mut [u8], sums: &mut [u16]) -> &'r [u8] {
    let source = |y: usize| &component.samples[(y % component.kept) * component.stride * 8..][..component.width];
    // The nearer row and the farther one; at the edges the nearer one twice.
    let pair = || {
        let other = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(component.height - 1) };
        source(y / 2).iter().zip(source(other)).map(|(near, far)| 3 * u16::from(*near) + u16::from(*far))
    };
    match how {
        Upsampling::None => return source(y),
        Upsampling::Repeated(across, down) => {
            for (few, one) in row.chunks_exact_mut(across).zip(source(y / down)) {
                few.fill(*one);
            }
        }
        Upsampling::Down => {
            let rounding = 1 + (y % 2) as u16;
            row.iter_mut().zip(pair()).for_each(|(v, sum)| *v = ((sum + rounding) >> 2) as u8);
        }
        Upsampling::Across => {
            sums.iter_mut().zip(source(y)).for_each(|(sum, v)| *sum = (*v).into());
            across(&sums[..component.width], row, [1, 2], 2);
        }
        Upsampling::Both => {
            sums.iter_mut().zip(pair()).for_each(|(sum, v)| *sum = v);
            across(&sums[..component.width], row, [8, 7], 4);
        }
    }
    row
}

/// Doubles the number of values: each is 3/4 of the nearer and 1/4 of the farther value, plus a rounding term for the
/// results to the left and right of a value.
#[inline(always)]
fn across(values: &[u16], out: &mut [u8], [left, right]: [u16; 2], bits: u32) {
    let last = values.len() - 1;
    let out = &mut out.as_chunks_mut::<2>().0[..=last];
    for ((pair, near), [before, after]) in out[1..last]
        .iter_mut()
        .zip(&values[1..last])
        .zip(values[..last - 1].iter().zip(&values[2..]).map(|(before, after)| [before, after]))
    {
        *pair = [((3 * near + before + left) >> bits) as u8, ((3 * near + after + right) >> bits) as u8];
    }
    let edge = |near: u16, rounding: u16| ((4 * near + rounding) >> bits) as u8;
    out[0] = [edge(values[0], left), ((3 * values[0] + values[1] + right) >> bits) as u8];
    out[last] = [((3 * values[last] + values[last - 1] + left) >> bits) as u8, edge(values[last], right)];
}

/// Paints the pixels from the first row to the last.
pub(super) struct Painter {
    colours: Colours,
    picture: RgbImage,
    /// Rows that are done.
    done: usize,
    how: Vec<Upsampling>,
    /// Scratch rows, one per component, before and after the conversion to RGB.
    rows: Vec<Vec<u8>>,
    planes: [Vec<u8>; 3],
    sums: Vec<u16>,
}

impl Painter {
    pub(super) fn new(frame: &Frame, colours: Colours) -> Self {
        let room = frame.units * frame.across * 8;
        let how: Vec<_> = frame.components.iter().map(|component| Upsampling::of(component, frame)).collect();
        Self {
            colours,
            picture: RgbImage::new(frame.width as u32, frame.height as u32),
            done: 0,
            rows: vec![vec![0; room]; how.len()],
            how,
            planes: std::array::from_fn(|_| vec![0; frame.width]),
            sums: vec![0; room],
        }
    }

    /// Paints rows up to `end`, exclusive; their samples must be decoded.
    pub(super) fn paint(&mut self, frame: &Frame, end: usize) {
        super::wide(
            #[inline(always)]
            || self.rows(frame, end),
        );
    }

    /// Computes the samples from all coefficients and paints them, one row of MCUs at a time.
    pub(super) fn paint_from_coefficients(&mut self, frame: &mut Frame) {
        for row in 0..frame.unit_rows {
            for component in &mut frame.components {
                let first = row * component.down;
                transform::rows(component, first, component.down, first);
            }
            if row + 1 < frame.unit_rows {
                // The last row of pixels needs the next row of MCUs.
                self.paint(frame, (row + 1) * 8 * frame.down - 1);
            }
        }
    }

    /// The picture, once its last row is there.
    pub(super) fn finish(mut self, frame: &Frame) -> RgbImage {
        self.paint(frame, frame.height);
        self.picture
    }

    #[inline(always)]
    fn rows(&mut self, frame: &Frame, end: usize) {
        let Self { colours, picture, done, how, rows, planes, sums } = self;
        for (y, pixels) in picture.chunks_exact_mut(3 * frame.width).enumerate().take(end).skip(*done) {
            let mut full = [&[][..]; 4];
            for (((full, component), how), row) in full.iter_mut().zip(&frame.components).zip(&*how).zip(&mut *rows) {
                *full = &full_row(component, *how, y, row, sums)[..frame.width];
            }
            fill(*colours, full, planes, pixels.as_chunks_mut().0);
        }
        *done = end;
    }
}

/// Fills a row of pixels from the components' full rows.
#[inline(always)]
fn fill(colours: Colours, [a, b, c, k]: [&[u8]; 4], planes: &mut [Vec<u8>; 3], pixels: &mut [[u8; 3]]) {
    match colours {
        Colours::Grey => pixels.iter_mut().zip(a).for_each(|(pixel, v)| *pixel = [*v; 3]),
        Colours::Rgb | Colours::Cmyk => interleave([a, b, c], pixels),
        Colours::YCbCr | Colours::Ycck => {
            from_ycc([a, b, c], planes);
            let [red, green, blue] = &*planes;
            interleave([red, green, blue], pixels);
        }
    }
    // Adobe's YCCK holds the inks, not inverted.
    let ink = if colours == Colours::Ycck { 255 } else { 0 };
    pixels.iter_mut().zip(k).for_each(|(pixel, k)| *pixel = pixel.map(|v| product(v ^ ink, *k)));
}

#[inline(always)]
fn interleave([a, b, c]: [&[u8]; 3], pixels: &mut [[u8; 3]]) {
    for (((pixel, a), b), c) in pixels.iter_mut().zip(a).zip(b).zip(c) {
        *pixel = [*a, *b, *c];
    }
}

/// RGB from luma and two chroma components (JFIF 1.02, page 3), with 16 fractional bits.
#[inline(always)]
fn from_ycc([y, blue, red]: [&[u8]; 3], [r, g, b]: &mut [Vec<u8>; 3]) {
    const fn fixed(value: f64) -> i32 {
        (value * 65_536.0 + 0.5) as i32
    }
    const HALF: i32 = 1 << 15;
    let byte = |v: i32| v.clamp(0, 255) as u8;
    for (((((y, blue), red), r), g), b) in y.iter().zip(blue).zip(red).zip(r).zip(g).zip(b) {
        let (y, blue, red) = (i32::from(*y), i32::from(*blue) - 128, i32::from(*red) - 128);
        *r = byte(y + ((fixed(1.402) * red + HALF) >> 16));
        *g = byte(y + ((-fixed(0.344_14) * blue - fixed(0.714_14) * red + HALF) >> 16));
        *b = byte(y + ((fixed(1.772) * blue + HALF) >> 16));
    }
}

/// `a * b / 255`, rounded: the light that passes a coloured ink and black, both stored inverted.
#[inline(always)]
fn product(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    ((product + (product >> 8)) >> 8) as u8
}
