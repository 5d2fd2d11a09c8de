//! How windows slide over a map: those of convolutions and pools.

use std::fmt;

/// Zeros around a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// As many on every side.
    Even(usize),
    /// TensorFlow's "same": as many as there must be for `ceil(length / stride)` windows, half of them before the map; an odd one
    /// lies behind it.
    Same,
}

impl Padding {
    /// No zeros.
    pub const NONE: Self = Self::Even(0);

    /// Zeros above and left of a map of `size` (height, width).
    pub fn before(self, size: [usize; 2], kernel: [usize; 2], stride: usize) -> [usize; 2] {
        [0, 1].map(|d| self.along(size[d], kernel[d], stride)[0])
    }

    /// Windows down and across a map of `size`, or why there are none.
    pub(crate) fn windows(self, size: [usize; 2], kernel: [usize; 2], stride: usize) -> Result<[usize; 2], String> {
        let windows = [0, 1].map(|d| {
            let padded = size[d] + self.along(size[d], kernel[d], stride).iter().sum::<usize>();
            let fits = stride > 0 && kernel[d] > 0 && size[d] > 0 && padded >= kernel[d];
            if fits { (padded - kernel[d]) / stride + 1 } else { 0 }
        });
        if windows.contains(&0) {
            let ([kh, kw], [h, w]) = (kernel, size);
            return Err(format!(
                "a window of {kh} x {kw} with stride {stride} does not fit {h} x {w} pixels, padding {self}"
            ));
        }
        Ok(windows)
    }

    /// Zeros before and behind an axis.
    pub(crate) fn along(self, length: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Self::Even(zeros) => [zeros; 2],
            Self::Same => {
                let windows = length.div_ceil(stride.max(1)).max(1);
                let zeros = ((windows - 1) * stride + kernel).saturating_sub(length);
                [zeros / 2, zeros - zeros / 2]
            }
        }
    }
}

impl From<usize> for Padding {
    fn from(zeros: usize) -> Self {
        Self::Even(zeros)
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even(zeros) => write!(f, "{zeros}"),
            Self::Same => f.write_str("same"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// TensorFlow's documentation: with stride 2 an even map is padded behind alone, an odd one on both sides.
    #[test]
    fn same_puts_the_odd_zero_behind() {
        let same = |length, kernel, stride| {
            let windows = Padding::Same.windows([length; 2], [kernel; 2], stride).unwrap();
            (Padding::Same.along(length, kernel, stride), windows[0])
        };
        assert_eq!(same(224, 3, 2), ([0, 1], 112));
        assert_eq!(same(225, 3, 2), ([1, 1], 113));
        assert_eq!(same(112, 5, 2), ([1, 2], 56));
        assert_eq!(same(7, 5, 1), ([2, 2], 7));
        assert_eq!(same(1, 5, 2), ([2, 2], 1));
        assert_eq!(same(4, 1, 2), ([0, 0], 2), "no window reads the last pixel");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Padding::Even(1).windows([5, 4], [3, 3], 2), Ok([3, 2]));
        let refused = Padding::NONE.windows([2, 9], [3, 3], 1).unwrap_err();
        assert!(refused.contains("3 x 3 with stride 1 does not fit 2 x 9"), "{refused}");
        assert!(Padding::Same.windows([4, 4], [3, 3], 0).is_err());
    }
}
