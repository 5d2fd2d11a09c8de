//! A network's outputs as they are, for standardised pictures.

use std::ffi::{CString, c_char};

use resnet_rs::weights::HostTensor;

use crate::last_error::Failure;
use crate::pointers::{borrow, free, guard, standardised, status, write};
use crate::{Network, Predictor, Status};

/// What a network answered for standardised pictures: tensors with names.
pub struct Outputs(Vec<(CString, HostTensor)>);

/// A tensor of a network's outputs. The pointers are valid as long as the outputs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tensor {
    /// Its name, such as "logits".
    pub name: *const c_char,
    /// Its elements, row by row: the last dimension is the innermost.
    pub values: *const f32,
    /// The lengths of its dimensions, of which the first is the number of pictures.
    pub shape: *const usize,
    /// Number of dimensions.
    pub dimensions: usize,
}

impl Predictor {
    fn outputs(&self, pictures: &[f32], shape: [usize; 4]) -> Result<Outputs, resnet_rs::Error> {
        let outputs = match self {
            Self::Classifier(net) => net.outputs(pictures, shape),
            Self::Detector(net) => net.outputs(pictures, shape),
            Self::Segmenter(net) => net.outputs(pictures, shape),
            Self::DepthEstimator(net) => net.outputs(pictures, shape),
        }?;
        let named = |(name, tensor)| (CString::new(name).unwrap_or_default(), tensor);
        Ok(Outputs(outputs.into_iter().map(named).collect()))
    }
}

/// Computes the outputs of any network for `count` standardised pictures, `[count, 3, height, width]` floats in
/// PyTorch's order: the same numbers as the layers of PyTorch's networks give, before boxes are chosen.
///
/// The outputs, by name, with N for `count` and K for resnet_rs_class_count(): a classifier has `logits` `[N, K]`; a
/// detector `boxes` `[N, A, 4]` and `logits` `[N, A, K]`, which are changes of its A anchors and scores before the
/// sigmoid; a segmentation network `logits` `[N, K, height, width]`; a depth network `depth`
/// `[N, 1, height / 2, width / 2]` in metres, where halves are rounded up. Returns NULL if that fails; otherwise free
/// the result with resnet_rs_outputs_free().
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `pictures` is NULL or points to `count * 3 * height * width`
/// floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_run(
    network: *const Network,
    pictures: *const f32,
    count: usize,
    height: usize,
    width: usize,
) -> *mut Outputs {
    let computed = guard(|| {
        let shape = [count, 3, height, width];
        // SAFETY: as the caller promises.
        let (network, pictures) = unsafe { (borrow("network", network)?, standardised(pictures, shape)?) };
        Ok(Box::into_raw(Box::new(network.predictor.outputs(pictures, shape)?)))
    });
    computed.unwrap_or(std::ptr::null_mut())
}

/// Number of outputs; 0 for NULL.
///
/// # Safety
/// `outputs` is NULL, or comes from resnet_rs_run().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_output_count(outputs: *const Outputs) -> usize {
    // SAFETY: as the caller promises.
    guard(|| Ok(unsafe { borrow("outputs", outputs) }?.0.len())).unwrap_or(0)
}

/// Writes one of the outputs to `tensor`; they are in the order of their names, and `index` counts from 0.
///
/// # Safety
/// `outputs` is NULL, or comes from resnet_rs_run(). `tensor` is NULL or has room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_output(outputs: *const Outputs, index: usize, tensor: *mut Tensor) -> Status {
    status(guard(|| {
        // SAFETY: as the caller promises.
        let outputs = &unsafe { borrow("outputs", outputs) }?.0;
        let there = outputs.len();
        let (name, found) = outputs.get(index).ok_or(Failure::Output { index, there })?;
        let (values, shape) = (found.data.as_ptr(), found.shape.as_ptr());
        let found = Tensor { name: name.as_ptr(), values, shape, dimensions: found.shape.len() };
        // SAFETY: as the caller promises.
        unsafe { write("tensor", tensor, &[found]) }
    }))
}

/// Frees outputs. NULL is ignored.
///
/// # Safety
/// `outputs` is NULL, or comes from resnet_rs_run() and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_outputs_free(outputs: *mut Outputs) {
    // SAFETY: as the caller promises.
    unsafe { free(outputs) }
}
