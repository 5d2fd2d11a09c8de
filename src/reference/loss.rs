//! Softmax cross-entropy with label smoothing.

use super::{Error, View};
use crate::graph::op::{SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad};

/// The logarithm of softmax. The maximum is subtracted first, so that no exponential overflows.
pub(super) fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = max + logits.iter().map(|z| (z - max).exp()).sum::<f64>().ln();
    logits.iter().map(|z| z - log_sum).collect()
}

/// The class with the largest logit, the first of equal ones.
pub(super) fn likeliest(logits: &[f64]) -> Option<usize> {
    logits.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(k, _)| k)
}

/// A row of logits, and its target.
type Row<'a> = (&'a [f64], Vec<f64>);

/// The rows of the logits, each with its target: `(1 - smoothing) * onehot(label) + smoothing / K`, or, for two labels,
/// the average of their one-hot vectors by share. `inputs` are the inputs of the node.
fn rows_and_targets<'a>(node: &str, smoothing: f32, inputs: &[View<'a>]) -> Result<Vec<Row<'a>>, Error> {
    let logits = inputs[0];
    let (classes, smoothing) = (logits.channels(), f64::from(smoothing));
    let rows = logits.data.chunks_exact(classes).enumerate();
    rows.map(|(row, logits)| {
        let mut target = vec![smoothing / classes as f64; classes];
        let labels = match inputs[1..] {
            [labels, others, shares] => {
                let share = shares.data[row];
                vec![(labels.data[row], share), (others.data[row], 1.0 - share)]
            }
            _ => vec![(inputs[1].data[row], 1.0)],
        };
        for (label, share) in labels {
            let out_of_range = || Error::Label { node: node.to_owned(), row, label, classes };
            *target.get_mut(label as usize).ok_or_else(out_of_range)? += (1.0 - smoothing) * share;
        }
        Ok((logits, target))
    })
    .collect()
}

/// Per row `-sum over k of target[k] * log softmax(logits)[k]`, and top-1: the likeliest class's share of the target
/// without smoothing. Returns the means of both, then the two numbers of each row.
pub(super) fn softmax_cross_entropy(
    op: &SoftmaxCrossEntropy,
    node: &str,
    inputs: &[View<'_>],
) -> Result<Vec<Vec<f64>>, Error> {
    let rows = rows_and_targets(node, op.label_smoothing, inputs)?;
    let loss = |(logits, target): &Row<'_>| -target.iter().zip(log_softmax(logits)).map(|(t, l)| t * l).sum::<f64>();
    let losses: Vec<f64> = rows.iter().map(loss).collect();
    let plain = rows_and_targets(node, 0.0, inputs)?;
    let top1: Vec<f64> = plain.iter().map(|(logits, target)| likeliest(logits).map_or(0.0, |k| target[k])).collect();
    let mean = |values: &[f64]| vec![values.iter().sum::<f64>() / values.len() as f64];
    let of_rows = losses.iter().zip(&top1).flat_map(|(&loss, &top1)| [loss, top1]).collect();
    Ok(vec![mean(&losses), mean(&top1), of_rows])
}

/// `scale * weight * (softmax(logits) - target) / N`.
pub(super) fn softmax_cross_entropy_grad(
    op: &SoftmaxCrossEntropyGrad,
    node: &str,
    inputs: &[View<'_>],
) -> Result<Vec<f64>, Error> {
    let (inputs, scale) = inputs.split_at(inputs.len() - usize::from(op.scaled));
    let rows = rows_and_targets(node, op.label_smoothing, inputs)?;
    let scale = scale.first().map_or(1.0, |scale| scale.data[0]);
    let factor = scale * f64::from(op.weight) / rows.len() as f64;
    let gradient = |(logits, target): Row<'_>| {
        log_softmax(logits).into_iter().zip(target).map(move |(l, t)| (l.exp() - t) * factor)
    };
    Ok(rows.into_iter().flat_map(gradient).collect())
}
