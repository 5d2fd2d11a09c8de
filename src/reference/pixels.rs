//! The classes of a map's pixels.

use super::loss::{likeliest, log_softmax};
use super::{Error, View};
use crate::graph::op::{Confusion, PixelCrossEntropy, PixelCrossEntropyGrad};

/// The logits of a pixel, and its label if it counts.
type Pixel<'a> = (&'a [f64], Option<usize>);

fn pixels<'a>(node: &str, ignored: u32, inputs: &[View<'a>]) -> Result<Vec<Pixel<'a>>, Error> {
    let classes = inputs[0].channels();
    let rows = inputs[0].data.chunks_exact(classes).zip(inputs[1].data).enumerate();
    rows.map(|(row, (logits, &label))| match label {
        label if label == f64::from(ignored) => Ok((logits, None)),
        label if label < classes as f64 => Ok((logits, Some(label as usize))),
        label => Err(Error::Label { node: node.to_owned(), row, label, classes }),
    })
    .collect()
}

/// Returns the mean loss, the share of pixels that are right, and the number of pixels that count.
pub(super) fn cross_entropy(op: &PixelCrossEntropy, node: &str, inputs: &[View<'_>]) -> Result<Vec<Vec<f64>>, Error> {
    let [mut loss, mut right, mut count] = [0.0; 3];
    for (logits, label) in pixels(node, op.ignored, inputs)? {
        let Some(label) = label else { continue };
        loss -= log_softmax(logits)[label];
        right += f64::from(u8::from(likeliest(logits) == Some(label)));
        count += 1.0;
    }
    let pixels = f64::max(count, 1.0);
    Ok([loss / pixels, right / pixels, count].map(|number| vec![number]).into())
}

/// `scale * weight * (softmax(logits) - onehot(label)) / count` where a pixel counts.
pub(super) fn cross_entropy_grad(
    op: &PixelCrossEntropyGrad,
    node: &str,
    inputs: &[View<'_>],
) -> Result<Vec<f64>, Error> {
    let scale = inputs.get(3).map_or(1.0, |scale| scale.data[0]);
    let factor = scale * f64::from(op.weight) / inputs[2].data[0].max(1.0);
    let mut gradient = Vec::with_capacity(inputs[0].data.len());
    for (logits, label) in pixels(node, op.ignored, inputs)? {
        let Some(label) = label else {
            gradient.extend(vec![0.0; logits.len()]);
            continue;
        };
        let softmax = log_softmax(logits).into_iter().map(f64::exp).enumerate();
        gradient.extend(softmax.map(|(k, p)| factor * (p - f64::from(u8::from(k == label)))));
    }
    Ok(gradient)
}

/// The likeliest class of each pixel.
pub(super) fn argmax(logits: View<'_>) -> Vec<f64> {
    let pixels = logits.data.chunks_exact(logits.channels());
    pixels.map(|logits| likeliest(logits).unwrap_or_default() as f64).collect()
}

/// Counts of truths (rows) and predictions (columns), picture by picture.
pub(super) fn confusion(op: &Confusion, predictions: View<'_>, truths: View<'_>) -> Vec<f64> {
    let [pictures, height, width] = truths.dims();
    let mut counts = vec![0.0; pictures * op.classes * op.classes];
    for (i, (&prediction, &truth)) in predictions.data.iter().zip(truths.data).enumerate() {
        let counts_for = |class: f64| class < op.classes as f64;
        if truth != f64::from(op.ignored) && counts_for(truth) && counts_for(prediction) {
            let picture = i / (height * width);
            counts[(picture * op.classes + truth as usize) * op.classes + prediction as usize] += 1.0;
        }
    }
    counts
}
