//! The boxes that a detector starts from.

use super::Bounds;

/// Anchors of a cell of a map: 3 ratios times 3 sizes.
pub const PER_CELL: usize = 9;

/// Height over width of the anchors.
const RATIOS: [f32; 3] = [0.5, 1.0, 2.0];

/// The anchors of a picture, in the order of a detector's outputs: level, row, column, ratio, size.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchors {
    /// All boxes. Those at the picture's edge reach beyond it.
    pub boxes: Vec<Bounds>,
    /// How many of them each level has.
    pub levels: Vec<usize>,
}

/// Strides of a detector's levels, px.
const STRIDES: [usize; 5] = [8, 16, 32, 64, 128];

impl Anchors {
    /// The anchors of a picture of `[height, width]` in px, for a detector with levels of the strides 8 to 128.
    pub fn of_picture(picture: [usize; 2]) -> Self {
        Self::new(&STRIDES.map(|stride| picture.map(|side| side.div_ceil(stride))), picture)
    }

    /// The anchors of a picture of `[height, width]` in px, for maps of `[height, width]` in cells, the finest first.
    ///
    /// The anchors of the finest map have the area of squares of 32 px, 40 px and 50 px; each further level doubles
    /// them. They are centred on the upper left corner of their cell.
    pub fn new(maps: &[[usize; 2]], [height, width]: [usize; 2]) -> Self {
        let mut boxes = Vec::with_capacity(maps.iter().map(|[rows, columns]| rows * columns * PER_CELL).sum());
        for (level, &[rows, columns]) in maps.iter().enumerate() {
            let cell = cell(level);
            // A level's strides down and across differ where a side of the picture is no multiple of its stride.
            let (down, across) = (height / rows.max(1), width / columns.max(1));
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let (x, y) = ((column * across) as f32, (row * down) as f32);
                boxes.extend(cell.map(|[left, top, right, bottom]| [x + left, y + top, x + right, y + bottom]));
            }
        }
        Self { boxes, levels: maps.iter().map(|[rows, columns]| rows * columns * PER_CELL).collect() }
    }
}

/// The anchors of a cell around its corner, rounded to whole px.
fn cell(level: usize) -> [Bounds; PER_CELL] {
    std::array::from_fn(|i| {
        let (ratio, size) = (RATIOS[i / 3].sqrt(), i % 3);
        // torchvision cuts the sizes off: 32, 40, 50 on the finest level.
        let size = (32.0 * 2f64.powi(level as i32) * 2f64.powf(size as f64 / 3.0)).floor() as f32;
        let (x, y) = ((size / ratio / 2.0).round_ties_even(), (size * ratio / 2.0).round_ties_even());
        [-x, -y, x, y]
    })
}
