//! Converts between logical tensors and their padded form in GPU memory.

use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;

use super::Error;
use crate::graph::{DType, Layout, Spec, Tensor, WEIGHT_BLOCK};

/// Packs logical values into bytes in memory: padding is zero, f16 is rounded to nearest.
pub(super) fn pack(tensor: &Tensor, values: &[f32]) -> Result<Vec<u8>, Error> {
    check_length(tensor, values.len())?;
    let spec = &tensor.spec;
    let stored = |values: &[f32]| match spec.dtype {
        DType::F16 => {
            let (lowest, largest) = (f16::MIN.to_f32(), f16::MAX.to_f32());
            let within: Vec<f32> = values.iter().map(|v| v.clamp(lowest, largest)).collect();
            bytemuck::cast_slice(&Vec::<f16>::from_f32_slice(&within)).to_vec()
        }
        DType::F32 | DType::U32 => bytemuck::cast_slice(values).to_vec(),
    };
    if lies_as_is(spec) {
        return Ok(stored(values));
    }
    let mut padded = vec![0.0f32; spec.storage_shape().iter().product()];
    for Run { logical, stored, length } in runs(spec) {
        padded[stored..stored + length].copy_from_slice(&values[logical..logical + length]);
    }
    Ok(stored(&padded))
}

/// Unpacks bytes in memory into logical values.
pub(super) fn unpack(spec: &Spec, bytes: &[u8]) -> Vec<f32> {
    let padded: Vec<f32> = match spec.dtype {
        DType::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(bytes).to_f32_vec(),
        DType::F32 | DType::U32 => bytemuck::pod_collect_to_vec(bytes),
    };
    if lies_as_is(spec) {
        return padded;
    }
    let mut values = vec![0.0; spec.elements()];
    for Run { logical, stored, length } in runs(spec) {
        values[logical..logical + length].copy_from_slice(&padded[stored..stored + length]);
    }
    values
}

/// Fails unless `got` is the tensor's number of elements.
pub(super) fn check_length(tensor: &Tensor, got: usize) -> Result<(), Error> {
    let expected = tensor.spec.elements();
    if got == expected {
        return Ok(());
    }
    Err(Error::Length { tensor: tensor.name.clone(), shape: tensor.spec.shape.clone(), expected, got })
}

/// Fails unless the tensor holds floats.
pub(super) fn check_float(tensor: &Tensor) -> Result<(), Error> {
    match tensor.spec.dtype {
        DType::F32 | DType::F16 => Ok(()),
        DType::U32 => Err(Error::Tensor { tensor: tensor.name.clone(), problem: "holds u32, not floats" }),
    }
}

/// Fails unless the tensor holds u32.
pub(super) fn check_word(tensor: &Tensor) -> Result<(), Error> {
    match tensor.spec.dtype {
        DType::U32 => Ok(()),
        DType::F32 | DType::F16 => Err(Error::Tensor { tensor: tensor.name.clone(), problem: "holds floats, not u32" }),
    }
}

/// Whether memory holds the logical values in order, without padding.
fn lies_as_is(spec: &Spec) -> bool {
    spec.storage_shape() == spec.shape && (spec.layout != Layout::Weights || spec.last() <= WEIGHT_BLOCK)
}

/// A run of values that are contiguous in both forms.
struct Run {
    /// Index of the first among the logical values.
    logical: usize,
    /// Index of the first in memory.
    stored: usize,
    length: usize,
}

fn runs(spec: &Spec) -> impl Iterator<Item = Run> {
    let storage = spec.storage_shape();
    let rank = storage.len();
    let (width, padded_width) = (spec.last(), storage.last().copied().unwrap_or(1));
    // Only the last two dimensions are ever padded.
    let (inner, padded_inner) = if rank >= 2 { (spec.shape[rank - 2], storage[rank - 2]) } else { (1, 1) };
    let padded_rows = spec.rows() / inner.max(1) * padded_inner;
    let block = if spec.layout == Layout::Weights { WEIGHT_BLOCK } else { padded_width };
    (0..width).step_by(block.max(1)).flat_map(move |first| {
        let block_width = block.min(padded_width - first);
        (0..spec.rows()).map(move |row| Run {
            logical: row * width + first,
            stored: first * padded_rows + (row / inner * padded_inner + row % inner) * block_width,
            length: block.min(width - first),
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::{Layout, Role};

    #[test]
    fn packing_round_trips_and_pads_with_zeros() {
        let weights = Spec::weights([2, 1, 3, 5]);
        let half = [weights.clone(), Spec::channels([2, 8])].map(|spec| Spec { dtype: DType::F16, ..spec });
        let wide = [Spec::weights([1, 2, 4, 70]), Spec::weights([8, 64])];
        let full = [weights, Spec::channels([2, 3]), Spec::channels([7]), Spec::plain([3], DType::F32)];
        for spec in full.into_iter().chain(wide).chain(half) {
            let tensor = Tensor { name: "t".into(), spec: spec.clone(), role: Role::Input };
            let values: Vec<f32> = (1..=spec.elements()).map(|v| v as f32).collect();
            let bytes = pack(&tensor, &values).unwrap();
            assert_eq!(bytes.len() as u64, spec.bytes());
            assert_eq!(unpack(&spec, &bytes), values);
            let padded = Spec { shape: spec.storage_shape(), layout: Layout::Plain, ..spec };
            assert_eq!(unpack(&padded, &bytes).iter().sum::<f32>(), values.iter().sum::<f32>());
        }
    }

    /// The second block of columns follows the last row of the first.
    #[test]
    fn weights_lie_in_blocks_of_columns() {
        let spec = Spec::weights([4, 40]);
        let tensor = Tensor { name: "w".into(), spec: spec.clone(), role: Role::Input };
        let values: Vec<f32> = (0..spec.elements()).map(|v| v as f32).collect();
        let bytes = pack(&tensor, &values).unwrap();
        let stored: &[f32] = bytemuck::cast_slice(&bytes);
        assert_eq!(stored[32], 40.0, "row 1 follows row 0");
        assert_eq!(stored[4 * 32], 32.0, "then the second block");
        assert_eq!(stored[4 * 32 + 8], 72.0, "whose rows are 8 wide");
    }
}
