//! Weights in half the bytes.

use std::path::Path;

use half::f16;
use half::vec::HalfFloatVecExt;
use serde::Serialize;

use super::{Error, HostTensor, StateDict, file};
use crate::graph::Precision;

/// The largest relative error of rounding to F16.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rounding {
    /// Name of the tensor.
    pub tensor: String,
    /// The largest difference that rounding makes to one of its elements, as a share of its largest element. Numbers of
    /// 11 significant bits leave at most 2^-11, 4.9e-4. A larger share means that the whole tensor lies below F16's
    /// normal range: numbers below 2^-14, 6.1e-5, lose bits.
    pub share: f64,
}

impl StateDict {
    /// Writes a safetensors file as [`Self::write`] does, with kernels and matrices in F16, each number rounded to the
    /// nearest. Vectors stay F32: they are few (0.4 % of ResNet-RS-50's numbers, 1.8 % of EfficientNet-B0's), and the
    /// variances among them span more than F16 does.
    ///
    /// Returns the error of rounding; `None` if all matrices are zero.
    ///
    /// # Errors
    /// The errors of [`Self::write`], and a number beyond 65504, F16's largest; the error names its tensor. The runtime
    /// stores such a number as 65504 ([`crate::Precision`]), but a file replaces the weights, so it is refused here.
    pub fn write_half(&self, path: &Path) -> Result<Option<Rounding>, Error> {
        let matrices = || self.tensors.iter().filter(|(_, tensor)| stored_half(tensor));
        for (name, tensor) in matrices() {
            let beyond = |v: &f32| v.is_finite() && f16::from_f32(*v).is_infinite();
            if let Some(element) = tensor.data.iter().position(beyond) {
                let value = tensor.data[element];
                return Err(Error::BeyondHalf { path: path.to_owned(), tensor: name.clone(), element, value });
            }
        }
        file::write_as(path, &self.tensors, &self.metadata, Precision::F16)?;
        let costs = matrices().map(|(name, tensor)| Rounding { tensor: name.clone(), share: rounding(tensor) });
        Ok(costs.filter(|cost| cost.share.is_finite()).max_by(|a, b| a.share.total_cmp(&b.share)))
    }
}

/// Whether a tensor is stored in F16 in half-precision files: kernels and matrices are.
pub(super) fn stored_half(tensor: &HostTensor) -> bool {
    tensor.shape.len() >= 2
}

/// The largest difference to an element as a share of the largest; NaN if all are zero.
fn rounding(tensor: &HostTensor) -> f64 {
    let rounded = Vec::<f16>::from_f32_slice(&tensor.data);
    let differences = tensor.data.iter().zip(&rounded).map(|(&v, r)| (f64::from(v) - r.to_f64()).abs());
    let elements = tensor.data.iter().map(|&v| f64::from(v).abs());
    differences.fold(0.0, f64::max) / elements.fold(0.0, f64::max)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn dict(tensors: &[(&str, &[usize], &[f32])]) -> StateDict {
        let tensor = |shape: &[usize], data: &[f32]| HostTensor { shape: shape.to_vec(), data: data.to_vec() };
        let tensors = tensors.iter().map(|&(name, shape, data)| (name.to_owned(), tensor(shape, data)));
        StateDict { tensors: tensors.collect(), metadata: [("about".to_owned(), "these".to_owned())].into() }
    }

    #[test]
    fn matrices_are_rounded_and_vectors_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.safetensors");
        let odd = 1.0 + 2f32.powi(-11) + 2f32.powi(-20); // just above the middle of two neighbours in f16
        let weights = dict(&[
            ("bn1.running_mean", &[3], &[odd, 1e6, 1e-9]),
            ("conv1.weight", &[1, 3, 1, 1], &[odd, -0.25, 65_519.0]),
            ("fc.weight", &[1, 2], &[odd, 0.0]),
            ("zero.weight", &[1, 1], &[0.0]),
        ]);
        let cost = weights.write_half(&path).unwrap().unwrap();
        assert_eq!(cost.tensor, "fc.weight");
        assert!((cost.share - 2f64.powi(-11)).abs() < 2f64.powi(-19), "{}", cost.share);

        let read = StateDict::read(&path).unwrap();
        assert_eq!(read.metadata, weights.metadata);
        assert_eq!(read.tensors["bn1.running_mean"], weights.tensors["bn1.running_mean"]);
        let up = 1.0 + 2f32.powi(-10);
        assert_eq!(read.tensors["conv1.weight"].data, [up, -0.25, 65_504.0], "the last one's nearest is f16's largest");
        assert_eq!(read.tensors["fc.weight"].data, [up, 0.0]);
        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let dtype = |name| theirs.tensor(name).unwrap().dtype();
        assert_eq!(dtype("conv1.weight"), safetensors::Dtype::F16);
        assert_eq!(dtype("bn1.running_mean"), safetensors::Dtype::F32);
        assert_eq!(dtype("bn1.num_batches_tracked"), safetensors::Dtype::I64);
    }

    #[test]
    fn what_half_cannot_hold_is_refused_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.safetensors");
        dict(&[]).write_half(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        let refused = dict(&[("fc.weight", &[2, 1], &[0.0, -65_520.0])]).write_half(&path).unwrap_err().to_string();
        assert!(refused.contains("fc.weight holds -65520 at element 1") && refused.contains("F32"), "{refused}");
        let diverged = dict(&[("fc.weight", &[1, 1], &[f32::NAN])]).write_half(&path).unwrap_err().to_string();
        assert!(diverged.contains("diverged"), "{diverged}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
