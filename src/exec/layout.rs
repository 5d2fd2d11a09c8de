//! Between logical tensors and their padded form in GPU memory.

use super::Error;
use crate::graph::{DType, Spec, Tensor};

/// Bytes in memory of logical f32 values: padding is filled with zeros.
pub(super) fn pack(tensor: &Tensor, values: &[f32]) -> Result<Vec<u8>, Error> {
    check_length(tensor, values.len())?;
    let spec = &tensor.spec;
    let storage = spec.storage_shape();
    if storage == spec.shape {
        return Ok(bytemuck::cast_slice(values).to_vec());
    }
    let mut padded = vec![0.0f32; storage.iter().product()];
    for (row, at) in rows(spec).enumerate() {
        let width = spec.last();
        padded[at..at + width].copy_from_slice(&values[row * width..(row + 1) * width]);
    }
    Ok(bytemuck::cast_slice(&padded).to_vec())
}

/// Logical f32 values of bytes in memory.
pub(super) fn unpack(spec: &Spec, bytes: &[u8]) -> Vec<f32> {
    let padded: &[f32] = bytemuck::cast_slice(bytes);
    if spec.storage_shape() == spec.shape {
        return padded.to_vec();
    }
    rows(spec).flat_map(|at| padded[at..at + spec.last()].iter().copied()).collect()
}

/// Fails unless `got` is the tensor's number of elements.
pub(super) fn check_length(tensor: &Tensor, got: usize) -> Result<(), Error> {
    let expected = tensor.spec.elements();
    if got == expected {
        return Ok(());
    }
    Err(Error::Length { tensor: tensor.name.clone(), shape: tensor.spec.shape.clone(), expected, got })
}

/// Fails unless the tensor holds `dtype`.
pub(super) fn check_dtype(tensor: &Tensor, dtype: DType) -> Result<(), Error> {
    if tensor.spec.dtype == dtype {
        return Ok(());
    }
    Err(Error::Tensor { tensor: tensor.name.clone(), problem: "holds another element type" })
}

/// Where each logical row starts in the padded storage.
fn rows(spec: &Spec) -> impl Iterator<Item = usize> + use<> {
    let storage = spec.storage_shape();
    let rank = storage.len();
    let width = storage.last().copied().unwrap_or(1);
    // Only the last two dimensions are ever padded.
    let (inner, padded_inner) = if rank >= 2 { (spec.shape[rank - 2], storage[rank - 2]) } else { (1, 1) };
    let outer = spec.rows() / inner.max(1);
    (0..outer).flat_map(move |o| (0..inner).map(move |i| (o * padded_inner + i) * width))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::Role;

    #[test]
    fn packing_round_trips_and_pads_with_zeros() {
        for spec in
            [Spec::weights([2, 1, 3, 5]), Spec::channels([2, 3]), Spec::channels([7]), Spec::plain([3], DType::F32)]
        {
            let tensor = Tensor { name: "t".into(), spec: spec.clone(), role: Role::Input };
            let values: Vec<f32> = (1..=spec.elements()).map(|v| v as f32).collect();
            let bytes = pack(&tensor, &values).unwrap();
            assert_eq!(bytes.len() as u64, spec.bytes());
            assert_eq!(unpack(&spec, &bytes), values);
            let sum: f32 = bytemuck::cast_slice::<u8, f32>(&bytes).iter().sum();
            assert_eq!(sum, values.iter().sum::<f32>());
        }
    }
}
