//! Converts a texture to packed pixels, resized and cropped as in `data::evaluation_crop`. This is not an operation of
//! a graph, since the size changes from one picture to the next.

use std::ops::Range;

use super::{EACH_WORKGROUP, Kernel, Params, fold, words};

/// The part of a picture that becomes the network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Crop {
    /// The part in the picture's pixels: left, top, width, height.
    pub part: [f64; 4],
    /// The rows of the picture that the resized part is computed from.
    pub rows: Range<u32>,
    /// Height of the picture.
    pub picture_height: u32,
    /// Height and width of the input.
    pub size: [u32; 2],
    /// The part of the input that the resized part fills: left, top, width, height. The rest is border.
    pub target: [u32; 4],
    /// Number of the filter that resizes, as in `shaders/input/filters.wgsl`.
    pub filter: u32,
    /// Colour of the border, red first.
    pub border: [u8; 3],
}

/// The two passes of a crop.
pub struct Passes {
    /// Bytes of the rows that the first pass writes and the second reads.
    pub rows_bytes: u64,
    /// The first pass.
    pub rows: Pass,
    /// The second pass.
    pub columns: Pass,
}

/// One pass of a crop.
pub struct Pass {
    /// The parameter block.
    pub params: Params,
    /// Workgroups along x, y, z.
    pub workgroups: [u32; 3],
}

/// The shaders of the two passes: rows, columns.
pub fn kernels() -> [Kernel; 2] {
    [Kernel::new("input/frame_rows"), Kernel::new("input/frame_columns")]
}

impl Crop {
    /// The passes that write the crop to the pixels from `first_pixel` on of the range that the second pass binds.
    /// `is_linear`: whether the texture is read as linear light.
    pub fn passes(&self, is_linear: bool, first_pixel: u32) -> Passes {
        let Self { rows: Range { start: first_row, end }, picture_height, size: [input_height, input_width], .. } =
            *self;
        let ([part_left, part_top, part_width, part_height], [left, top, width, height]) = (self.part, self.target);
        let row_count = end - first_row;
        let row_pixels = row_count * width;
        let rows = words! {
            width,
            first_row,
            is_linear: u32::from(is_linear),
            filter_number: self.filter,
            start: part_left as f32,
            scale: (part_width / f64::from(width)) as f32,
        };
        let columns = words! {
            input_width,
            left,
            top,
            width,
            height,
            first_row,
            row_count,
            picture_height,
            first_pixel,
            filter_number: self.filter,
            border: u32::from_le_bytes([self.border[0], self.border[1], self.border[2], 0]),
            start: part_top as f32,
            scale: (part_height / f64::from(height)) as f32,
        };
        Passes {
            rows_bytes: 4 * u64::from(row_pixels),
            rows: Pass::over(row_pixels, rows),
            columns: Pass::over(input_height * input_width, columns),
        }
    }
}

impl Pass {
    /// A pass with one invocation per pixel.
    fn over(pixels: u32, params: Params) -> Self {
        let pixels = pixels as usize;
        Self { params: params.counted(pixels), workgroups: fold(pixels.div_ceil(EACH_WORKGROUP)) }
    }
}
