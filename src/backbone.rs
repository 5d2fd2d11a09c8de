//! A network with its pre-processing, whatever its outputs are used for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::data::{Geometry, Placement, View, evaluation_crop, evaluation_geometry, pack, rows_read};
use crate::exec::PendingRead;
use crate::gpu::Gpu;
use crate::graph::Elements;
use crate::inference::{Answer, FoldedWeights, Inference};
use crate::kernels::frame::Crop;
use crate::models::Input;
use crate::picture::{self, Picture, Pixels, Prepared};
use crate::weights::{self, HostTensor, ModelCard, TrainedNetwork, named_outputs, timm};
use crate::{Error, InferenceOptions, Pending};

/// Takes pictures and returns outputs that are still being computed. Threads may share it: it holds a lock while a
/// batch is handed over, and, if two batches are under way already, until the older one is done.
pub(crate) struct Backbone {
    card: ModelCard,
    batch: usize,
    weights: FoldedWeights,
    /// For pictures.
    pictures: Mutex<Inference>,
    /// For tensors: the network for the last shape `[N, 3, H, W]` that was asked for.
    tensors: Mutex<Option<([usize; 4], Inference)>>,
}

/// Names and shapes of outputs.
type Described = Vec<(&'static str, Vec<usize>)>;

/// What a network computed for one picture.
pub struct Seen<'a> {
    /// Its part of each output.
    pub(crate) outputs: Vec<Elements<'a>>,
    /// Where the network's input lies in the picture.
    pub(crate) geometry: Geometry,
    /// Height and width of the picture.
    pub(crate) size: [usize; 2],
}

impl Backbone {
    pub(crate) fn load(
        gpu: &Gpu,
        network: &TrainedNetwork,
        answer: Answer,
        options: &InferenceOptions<'_>,
    ) -> Result<Self, Error> {
        let card = network.card.clone();
        card.check().map_err(|problem| weights::Error::Card { path: network.path.clone(), problem })?;
        let input = Input::Pixels { mean: card.mean, std: card.std };
        let (weights, pictures) = FoldedWeights::load(gpu, network, [card.res as usize; 2], input, answer, options)?;
        Ok(Self { card, batch: options.batch, weights, pictures: Mutex::new(pictures), tensors: Mutex::default() })
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Pictures answered at a time.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Shapes of the outputs for one picture.
    pub(crate) fn picture_shapes(&self) -> Vec<Vec<usize>> {
        lock(&self.pictures).described().into_iter().map(|(_, batch)| batch[1..].to_vec()).collect()
    }

    /// Hands pictures over, a batch at a time. `read` turns what was computed for a picture into its answer.
    pub(crate) fn submit<T>(
        &self,
        pictures: &[Picture<'_>],
        read: impl Fn(&Seen<'_>) -> T + Send + 'static,
    ) -> Result<Pending<Vec<T>>, Error> {
        pictures.iter().try_for_each(|picture| self.check(picture))?;
        let (batch, res, view) = (self.batch, self.card.res as usize, self.card.view());
        let sizes: Vec<[u32; 2]> = pictures.iter().map(Picture::size).collect();
        let reads = pictures.chunks(batch).map(|group| self.submit_batch(group)).collect::<Result<_, _>>()?;
        Ok(Pending::new(reads, move |batches| {
            let of_picture = |(i, &[width, height]): (usize, &[u32; 2])| {
                let outputs = batches[i / batch].iter().map(|output| part(output, i % batch, batch)).collect();
                let geometry = evaluation_geometry((width, height), [res; 2], view);
                read(&Seen { outputs, geometry, size: [height as usize, width as usize] })
            };
            sizes.iter().enumerate().map(of_picture).collect()
        }))
    }

    /// Resizes and crops a picture that is in memory.
    pub(crate) fn prepare(&self, picture: Picture<'_>) -> Result<Picture<'static>, Error> {
        self.check(&picture)?;
        let (res, view, size) = (self.card.res as usize, self.card.view(), picture.size());
        Ok(Picture(match picture.0 {
            Pixels::Host(rgb) => {
                Pixels::Prepared(Prepared { input: evaluation_crop(&rgb, [res; 2], view), view, size })
            }
            Pixels::Device(frame) => Pixels::Device(frame),
            Pixels::Prepared(prepared) => Pixels::Prepared(prepared),
        }))
    }

    fn check(&self, picture: &Picture<'_>) -> Result<(), picture::Error> {
        let ([width, height], side) = (picture.size(), self.card.res);
        match &picture.0 {
            _ if width == 0 || height == 0 => Err(picture::Error::Empty { width, height }),
            Pixels::Prepared(Prepared { input, view, .. }) if input.width() != side || *view != self.card.view() => {
                Err(picture::Error::Prepared)
            }
            _ => Ok(()),
        }
    }

    /// Pixels of a batch, `[N, H, W]`; `None` if all pictures are on the device. The pixels of frames and of missing
    /// pictures are arbitrary.
    fn batch_pixels(&self, group: &[Picture<'_>]) -> Option<Vec<u32>> {
        if group.iter().all(|picture| matches!(picture.0, Pixels::Device(_))) {
            return None;
        }
        let (res, view) = (self.card.res, self.card.view());
        let picture_pixels = (res as usize).pow(2);
        let packed = |picture: &Picture<'_>| match &picture.0 {
            Pixels::Host(picture) => pack(&evaluation_crop(picture, [res as usize; 2], view)),
            Pixels::Prepared(prepared) => pack(&prepared.input),
            Pixels::Device(_) => vec![0; picture_pixels],
        };
        let mut pixels: Vec<u32> = match group.iter().any(|picture| matches!(picture.0, Pixels::Host(_))) {
            true => group.par_iter().map(packed).flatten_iter().collect(),
            // Copied in this thread: the workers may be busy decoding the next pictures.
            false => group.iter().flat_map(packed).collect(),
        };
        pixels.resize(self.batch * picture_pixels, 0);
        Some(pixels)
    }

    fn submit_batch(&self, group: &[Picture<'_>]) -> Result<PendingRead, Error> {
        let pixels = self.batch_pixels(group);
        let mut network = lock(&self.pictures);
        if let Some(pixels) = pixels {
            network.feed_pixels(&pixels)?;
        }
        for (index, picture) in group.iter().enumerate() {
            if let Pixels::Device(frame) = &picture.0 {
                network.feed_frame(index, frame, &crop(frame.size(), self.card.res, self.card.view()))?;
            }
        }
        Ok(network.answer()?)
    }

    /// The outputs of standardised pictures, NCHW, by name, in PyTorch's order.
    pub(crate) fn outputs(&self, nchw: &[f32], shape: [usize; 4]) -> Result<BTreeMap<String, HostTensor>, Error> {
        let (described, read) = self.submit_tensor(nchw, shape)?;
        Ok(named_outputs(&described, read.wait()?))
    }

    /// Hands over standardised pictures, NCHW. Also returns names and shapes of the outputs.
    fn submit_tensor(&self, nchw: &[f32], shape: [usize; 4]) -> Result<(Described, PendingRead), Error> {
        let [n, channels, h, w] = shape;
        let elements = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        if channels != 3 || elements != Some(nchw.len()) || nchw.is_empty() {
            return Err(picture::Error::Tensor { shape, got: nchw.len() }.into());
        }
        let nhwc = timm::pictures_from_torch(nchw, shape);

        let mut kept = lock(&self.tensors);
        let network = match &mut *kept {
            Some((of, network)) if *of == shape => network,
            other => {
                // Frees the memory of the previous network first.
                *other = None;
                &mut other.insert((shape, self.weights.network(n, [h, w], Input::Tensor, &Answer::Outputs)?)).1
            }
        };
        network.feed_tensor(&nhwc)?;
        Ok((network.described(), network.answer()?))
    }
}

/// The part of a frame that a network for `res` x `res` pixels sees.
fn crop([width, picture_height]: [u32; 2], res: u32, view: View) -> Crop {
    let Placement { part, target } = view.placement((width, picture_height), [res as usize; 2]);
    let rows = rows_read(part, picture_height, target[3], view.interpolation);
    Crop { part, rows, picture_height, size: [res; 2], target, filter: view.interpolation as u32, border: view.border }
}

/// One picture's part of a batch's output.
fn part<'o>(output: &'o Elements<'_>, picture: usize, batch: usize) -> Elements<'o> {
    let elements = output.len() / batch;
    output.part(picture * elements..(picture + 1) * elements)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
