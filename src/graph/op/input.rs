//! From pixels to the network's input.

use super::{Half, Rule};
use crate::graph::{DType, Spec};

/// `(pixel / 255 - mean) / std` per colour.
///
/// Input: `[N, H, W]` of u32, each RGBA with red in the lowest byte; alpha is ignored. Output `[N, H, W, 3]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standardize {
    /// Mean of each colour, on a scale from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each colour, on the same scale.
    pub std: [f32; 3],
}

impl Rule for Standardize {
    fn name(&self) -> &'static str {
        "standardize"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1)?;
        let [n, h, w] = *inputs[0].shape.as_slice() else {
            return Err("expected packed pixels [N, H, W]".into());
        };
        if inputs[0].dtype != DType::U32 {
            return Err("pixels are u32, RGBA".into());
        }
        if self.std.iter().any(|&s| s.is_nan() || s <= 0.0) {
            return Err(format!("standard deviations must be positive, got {:?}", self.std));
        }
        Ok(vec![Spec::channels([n, h, w, 3])])
    }
}
