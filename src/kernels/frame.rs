//! From a texture to packed pixels: resized and cropped as `data::evaluation_crop` does it. No operation of a graph, since the size
//! changes from one picture to the next.

use std::ops::Range;

use super::{Kernel, fold, words};

/// The part of a picture that becomes the network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Crop {
    /// The part in the picture's pixels: left, top, width, height.
    pub part: [f64; 4],
    /// The rows that its pixels are made of.
    pub rows: Range<u32>,
    /// Height of the picture.
    pub picture_height: u32,
    /// Side of the input.
    pub side: u32,
    /// The part of the input that it fills: left, top, width, height. The rest is border.
    pub target: [u32; 4],
    /// Number of the filter that resizes, as `shaders/input/filters.wgsl` counts them.
    pub filter: u32,
    /// Colour of the border, red first.
    pub border: [u8; 3],
}

/// The two passes of a crop.
pub(crate) struct Passes {
    /// What the first hands to the second.
    pub(crate) rows_bytes: u64,
    /// Parameters and workgroups of either.
    pub(crate) rows: (Vec<u32>, [u32; 3]),
    pub(crate) columns: (Vec<u32>, [u32; 3]),
}

/// Their shaders: rows, columns.
pub fn kernels() -> [Kernel; 2] {
    [Kernel::new("input/frame_rows"), Kernel::new("input/frame_columns")]
}

impl Crop {
    /// The passes that write the crop as pixels `first_pixel`, ... of what the second binds. `is_linear` where the texture is read as linear light.
    pub(crate) fn passes(&self, is_linear: bool, first_pixel: u32) -> Passes {
        let Self { rows: Range { start, end }, picture_height, side, filter, .. } = *self;
        let ([left, top, part_width, part_height], [x, y, width, height]) = (self.part, self.target);
        let (across, down) = (part_width / f64::from(width), part_height / f64::from(height));
        let border = u32::from_le_bytes([self.border[0], self.border[1], self.border[2], 0]);
        let row_count = end - start;
        let (row_pixels, pixels) = (row_count * width, side * side);
        let workgroups = |pixels: u32| fold(pixels.div_ceil(64) as usize);
        let rows = words![row_pixels, width, start, u32::from(is_linear), filter, left as f32, across as f32];
        let columns = words![
            pixels,
            side,
            x,
            y,
            width,
            height,
            start,
            row_count,
            picture_height,
            first_pixel,
            filter,
            border,
            top as f32,
            down as f32
        ];
        Passes {
            rows_bytes: 4 * u64::from(row_pixels),
            rows: (rows, workgroups(row_pixels)),
            columns: (columns, workgroups(pixels)),
        }
    }
}
