//! How the windows of convolutions and pools slide over a map. All arithmetic of windows is in this file.

use std::fmt;

/// Longest side of a map, padding included: kernels keep both coordinates of a pixel in one register of 32 bits.
pub(super) const MAX_SIDE: usize = 32_767;

/// Zeros around a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Lines of zeros both above and below the map, then columns of zeros both left and right of it.
    Zeros([usize; 2]),
    /// TensorFlow's "same": as many zeros as `ceil(length / stride)` windows need, half of them before the map. If
    /// their number is odd, the extra zero lies after the map.
    Same,
}

impl Padding {
    /// No zeros.
    pub const NONE: Self = Self::Zeros([0; 2]);
}

/// The same number on every side.
impl From<usize> for Padding {
    fn from(zeros: usize) -> Self {
        Self::Zeros([zeros; 2])
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Zeros(zeros) => Pair(zeros).fmt(f),
            Self::Same => f.write_str("same"),
        }
    }
}

/// A window and how it slides over a map. Each pair holds the vertical value, then the horizontal one.
///
/// Window `o` reads pixel `o * stride + k * dilation - zeros before the map` with its tap `k`, along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Taps of a window.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels from one tap of a window to the next. May exceed 1 only along an axis of stride 1.
    pub dilation: [usize; 2],
    /// Zeros around the map.
    pub padding: Padding,
}

impl Window {
    /// The window of a 1x1 convolution: a single pixel, with stride 1.
    pub const POINTWISE: Self = Self { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], padding: Padding::NONE };

    /// A window of the same kernel and stride along both axes, without dilation.
    pub fn square(kernel: usize, stride: usize, padding: impl Into<Padding>) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], padding: padding.into() }
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels that a window spans, those between its taps included.
    pub fn extent(&self) -> [usize; 2] {
        [0, 1].map(|d| self.kernel[d].saturating_sub(1) * self.dilation[d] + 1)
    }

    /// Zeros before and after a map of `size` (height, width), a pair for each axis.
    pub fn zeros(&self, size: [usize; 2]) -> [[usize; 2]; 2] {
        let extent = self.extent();
        [0, 1].map(|d| match self.padding {
            Padding::Zeros(zeros) => [zeros[d]; 2],
            Padding::Same => {
                let windows = size[d].div_ceil(self.stride[d].max(1)).max(1);
                let zeros = ((windows - 1) * self.stride[d] + extent[d]).saturating_sub(size[d]);
                [zeros / 2, zeros - zeros / 2]
            }
        })
    }

    /// Zeros above and left of a map of `size`.
    pub fn before(&self, size: [usize; 2]) -> [usize; 2] {
        self.zeros(size).map(|[before, _]| before)
    }

    /// Number of windows down and across a map of `size`. Returns the reason if the window does not fit.
    pub(crate) fn windows(&self, size: [usize; 2]) -> Result<[usize; 2], String> {
        let Self { stride, dilation, kernel, .. } = *self;
        for (d, axis) in ["down", "across"].into_iter().enumerate() {
            if stride[d] > 1 && dilation[d] > 1 {
                return Err(format!(
                    "stride {} and dilation {} {axis} cannot be combined: use dilation 1 here, or stride 1 and let \
                     another layer shrink the map",
                    stride[d], dilation[d]
                ));
            }
        }
        let (extent, zeros) = (self.extent(), self.zeros(size));
        let padded = [0, 1].map(|d| size[d] + zeros[d][0] + zeros[d][1]);
        let fits =
            |d: usize| [kernel[d], stride[d], dilation[d], size[d]].iter().all(|&n| n > 0) && padded[d] >= extent[d];
        if !(fits(0) && fits(1)) {
            return Err(format!("a window of {self} does not fit {} x {} pixels", size[0], size[1]));
        }
        if padded[0].max(padded[1]) > MAX_SIDE {
            let side = size[0].max(size[1]);
            return Err(format!("a side of {side} pixels is too long, {MAX_SIDE} is the most, padding included"));
        }
        Ok([0, 1].map(|d| (padded[d] - extent[d]) / stride[d] + 1))
    }

    /// Like [`Self::windows`], for a pool: each of its windows must read a pixel of the map.
    pub(crate) fn pools(&self, size: [usize; 2]) -> Result<[usize; 2], String> {
        let windows = self.windows(size)?;
        let axes = self.over(size);
        let reads = |d: usize, window: usize| (0..self.kernel[d]).any(|tap| axes[d].pixel(window, tap).is_some());
        if [0, 1].iter().all(|&d| (0..windows[d]).all(|window| reads(d, window))) {
            return Ok(windows);
        }
        let [h, w] = size;
        Err(format!("a window of {self} over {h} x {w} pixels reads nothing but padding: use less of it"))
    }

    /// Checks the height and width of a kernel's weights.
    pub(super) fn check_kernel(&self, weights: [usize; 2]) -> Result<(), String> {
        if weights == self.kernel {
            return Ok(());
        }
        let ([kh, kw], [wh, ww]) = (self.kernel, weights);
        Err(format!("the weights are a kernel of {wh} x {ww}, the window is one of {kh} x {kw}"))
    }

    /// The window's two axes, over a map of `size`.
    pub(crate) fn over(&self, size: [usize; 2]) -> [Axis; 2] {
        let before = self.before(size);
        [0, 1].map(|d| Axis { stride: self.stride[d], dilation: self.dilation[d], before: before[d], length: size[d] })
    }
}

/// `3x3 stride 2 padding 1`, followed by ` dilation 2` for a dilated window. Tuning files contain this text.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kh, kw] = self.kernel;
        write!(f, "{kh}x{kw} stride {} padding {}", Pair(self.stride), self.padding)?;
        if self.dilation != [1; 2] {
            write!(f, " dilation {}", Pair(self.dilation))?;
        }
        Ok(())
    }
}

/// Displays two numbers, or one number if they are equal.
struct Pair([usize; 2]);

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [down, across] if down == across => write!(f, "{down}"),
            [down, across] => write!(f, "{down}x{across}"),
        }
    }
}

/// One axis of a window over a map.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    stride: usize,
    dilation: usize,
    /// Zeros before the map.
    before: usize,
    /// Pixels of the map.
    length: usize,
}

impl Axis {
    /// The pixel that a window reads with a tap, unless that lies in the padding.
    pub(crate) fn pixel(&self, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap * self.dilation).checked_sub(self.before).filter(|&at| at < self.length)
    }

    /// The window, out of `windows`, that reads a pixel with a tap, if there is one: the inverse of [`Self::pixel`].
    pub(crate) fn window(&self, pixel: usize, tap: usize, windows: usize) -> Option<usize> {
        let offset = (pixel + self.before).checked_sub(tap * self.dilation)?;
        (offset % self.stride == 0 && offset / self.stride < windows).then_some(offset / self.stride)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// TensorFlow's documentation: with stride 2 an even map is padded after it alone, an odd one on both sides.
    #[test]
    fn same_puts_the_odd_zero_after_the_map() {
        let same = |length, kernel, stride| {
            let window = Window::square(kernel, stride, Padding::Same);
            (window.zeros([length; 2])[0], window.windows([length; 2]).unwrap()[0])
        };
        assert_eq!(same(224, 3, 2), ([0, 1], 112));
        assert_eq!(same(225, 3, 2), ([1, 1], 113));
        assert_eq!(same(112, 5, 2), ([1, 2], 56));
        assert_eq!(same(7, 5, 1), ([2, 2], 7));
        assert_eq!(same(1, 5, 2), ([2, 2], 1));
        assert_eq!(same(4, 1, 2), ([0, 0], 2), "no window reads the last pixel");
    }

    #[test]
    fn each_axis_has_its_own_numbers() {
        let window = Window { kernel: [3, 5], stride: [1, 2], dilation: [4, 1], padding: Padding::Zeros([4, 0]) };
        assert_eq!((window.extent(), window.before([7, 9])), ([9, 5], [4, 0]));
        assert_eq!(window.windows([7, 9]), Ok([7, 3]));
        assert_eq!(window.to_string(), "3x5 stride 1x2 padding 4x0 dilation 4x1");
        let same = Window { padding: Padding::Same, ..window };
        assert_eq!((same.zeros([7, 8]), same.windows([7, 8])), ([[4, 4], [1, 2]], Ok([7, 4])));
    }

    /// Every pixel that a window reads with a tap is read with that tap by that window alone, and the reverse.
    #[test]
    fn pixels_and_windows_are_inverse() {
        for (stride, dilation) in [(1, 1), (1, 3), (2, 1), (3, 1)] {
            let window = Window { stride: [stride; 2], dilation: [dilation; 2], ..Window::square(3, 1, 2) };
            let (length, [windows, _]) = (11, window.windows([11; 2]).unwrap());
            let [axis, _] = window.over([length; 2]);
            for tap in 0..3 {
                let read: Vec<_> = (0..windows).filter_map(|o| Some((axis.pixel(o, tap)?, o))).collect();
                let found: Vec<_> = (0..length).filter_map(|at| Some((at, axis.window(at, tap, windows)?))).collect();
                assert_eq!(read, found, "stride {stride}, dilation {dilation}, tap {tap}");
                assert!(!read.is_empty());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |window: Window, size| window.windows(size).unwrap_err();
        assert_eq!(Window::square(3, 2, 1).windows([5, 4]), Ok([3, 2]));
        let message = refused(Window::square(3, 1, 0), [2, 9]);
        assert!(message.contains("3x3 stride 1 padding 0 does not fit 2 x 9"), "{message}");
        let wide = Window { dilation: [1, 4], ..Window::square(3, 1, 0) };
        assert_eq!(wide.windows([3, 9]), Ok([1, 1]));
        assert!(refused(wide, [3, 8]).contains("dilation 1x4 does not fit 3 x 8"));
        for nothing in [
            Window { kernel: [3, 0], ..wide },
            Window { stride: [0, 1], ..wide },
            Window { dilation: [1, 0], padding: Padding::Same, ..wide },
        ] {
            assert!(refused(nothing, [9, 9]).contains("does not fit"), "{nothing}");
        }
        let both = refused(Window { stride: [1, 2], ..wide }, [9, 9]);
        assert!(both.contains("stride 2 and dilation 4 across"), "{both}");
        assert!(Window { stride: [2, 1], ..wide }.windows([9, 9]).is_ok(), "on different axes");
    }

    #[test]
    fn a_pool_of_padding_alone_is_refused() {
        assert_eq!(Window::square(3, 2, 2).pools([4, 4]), Ok([3, 3]));
        let refused = Window::square(3, 1, 3).pools([4, 4]).unwrap_err();
        assert!(refused.contains("nothing but padding"), "{refused}");
        // A lone pixel between two taps.
        let around = Window { dilation: [2; 2], ..Window::square(2, 1, 1) };
        assert!(around.pools([1, 2]).is_err() && around.pools([2, 2]).is_ok());
    }

    #[test]
    fn a_side_is_too_long_with_its_padding() {
        let reaching = |dilation: usize| Window { dilation: [dilation; 2], ..Window::square(3, 1, dilation) };
        assert!(reaching(1_000).windows([MAX_SIDE - 2_000; 2]).is_ok());
        let refused = reaching(1_001).windows([MAX_SIDE - 2_000; 2]).unwrap_err();
        assert!(refused.contains("too long"), "{refused}");
    }
}
