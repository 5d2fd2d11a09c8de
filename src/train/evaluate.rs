//! Validation: a network over a whole source of pictures.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::Numbers;
use super::task::Metric;
use crate::data::{Batch, Batches, Broken, Encode, LoaderOptions, Source, Transform, View};
use crate::exec::PendingRead;
use crate::inference::Inference;
use crate::{Error, train};

/// The result of an evaluation on pictures with known truths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The metric's numbers.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// Pictures evaluated.
    pub images: usize,
    /// Pictures per second, loading included.
    pub images_per_s: f64,
    /// Unreadable pictures, which are not counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<Broken>,
}

/// How pictures are fed to a network in an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Show {
    /// Pictures at a time: the batch that the network was built for.
    pub batch: usize,
    /// Their height and width in pixels, for which the network was built.
    pub size: [usize; 2],
    /// Crop and resizing of each.
    pub view: View,
}

/// Runs a network, which answers with [`task::readings`](super::task::readings), over all pictures of a source, and
/// passes its answers to `metric`. `encode` makes the targets that the network needs, if any. `progress` is called with
/// the number done and the total, and returns whether to continue; if not, the result is `None`.
///
/// The next batch is decoded and uploaded while the network works on the current one.
///
/// # Errors
/// If no picture can be read, or the device fails.
pub fn evaluate(
    network: &mut Inference,
    source: &Arc<dyn Source>,
    show: Show,
    encode: Arc<dyn Encode>,
    metric: &mut dyn Metric,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Option<Evaluation>, Error> {
    let (start, Show { batch, size, view }) = (Instant::now(), show);
    let options = LoaderOptions { batch, at_once: 1, size, transform: Transform::Evaluate(view) };
    let (mut images, mut broken) = (0, Vec::new());
    let mut count = |(batch, read): (Batch, PendingRead)| -> Result<bool, Error> {
        metric.add(&batch, &read.wait_elements()?);
        images += batch.indices.len();
        broken.extend(batch.broken);
        Ok(progress(images + broken.len(), source.len()))
    };
    let mut under_way = None;
    let batches = match network.has_other_inputs() {
        true => Batches::with_targets(source.clone(), options, encode, 0, 0),
        false => Batches::new(source.clone(), options, 0, 0),
    };
    for batch in batches {
        let batch = batch?;
        network.feed_all(&batch.pixels, &batch.targets.iter().collect::<Vec<_>>())?;
        let before = under_way.replace((batch, network.answer()?));
        if let Some(before) = before
            && !count(before)?
        {
            return Ok(None);
        }
    }
    if let Some(last) = under_way
        && !count(last)?
    {
        return Ok(None);
    }
    if let (0, Some(first)) = (images, broken.first()) {
        return Err(
            train::Error::NothingReadable { picture: first.picture.clone(), problem: first.problem.clone() }.into()
        );
    }
    let (numbers, images_per_s) = (metric.numbers(), images as f64 / start.elapsed().as_secs_f64());
    Ok(Some(Evaluation { numbers, images, images_per_s, broken }))
}
