//! `predict --tensor`: the outputs of a standardised tensor.

use std::path::Path;

use super::super::{Error, Global};
use super::Predict;
use crate::InferenceOptions;
use crate::exec::SessionOptions;
use crate::gpu::Gpu;
use crate::inference::{Answer, Inference};
use crate::models::Input;
use crate::weights::{HostTensor, StateDict, TrainedNetwork, timm};

/// Reads the tensor `input` of a file, and writes all outputs for it, or its logits alone.
pub(super) fn predict(
    args: &Predict,
    global: &Global,
    gpu: &Gpu,
    trained: &TrainedNetwork,
    tensor: &Path,
) -> Result<(), Error> {
    let file = StateDict::read(tensor)?;
    let usable = |t: &&HostTensor| t.shape.len() == 4 && t.shape[1] == 3 && !t.data.is_empty();
    let Some(input) = file.tensors.get("input").filter(usable) else {
        let name = tensor.display();
        return Err(Error::failed(format!(
            "{name}: expected a tensor named input of shape [N, 3, H, W], N, H and W at least 1"
        )));
    };
    let shape @ [n, _, h, w] = [0, 1, 2, 3].map(|d| input.shape[d]);
    let compiling = global.progress("compiling kernels");
    let session = SessionOptions { progress: Some(&compiling), ..SessionOptions::default() };
    let options = InferenceOptions { batch: n, precision: args.precision, session };
    let mut network = Inference::load(gpu, trained, [h, w], Input::Tensor, Answer::Outputs, &options)?;
    drop(compiling);
    let mut outputs = network.outputs_of_tensor(&timm::pictures_from_torch(&input.data, shape))?;
    if args.logits.is_some() {
        outputs.retain(|name, _| name == "logits");
        if outputs.is_empty() {
            let advice = "a depth network has no logits: give --outputs FILE instead of --logits FILE";
            return Err(Error::usage(advice.to_owned()));
        }
    }
    let results = StateDict { tensors: outputs, ..StateDict::default() };
    args.logits.iter().chain(&args.outputs).try_for_each(|path| Ok(results.write(path)?))
}
