//! A network with its pre-processing: what the classifier and the features have in common.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::data::{evaluation_crop, evaluation_part, pack, rows_read};
use crate::exec::PendingRead;
use crate::gpu::Gpu;
use crate::inference::{Answer, FoldedWeights, Inference};
use crate::kernels::frame::Crop;
use crate::models::Input;
use crate::picture::{self, Picture, Pixels};
use crate::weights::{self, ModelCard, TrainedNetwork, timm};
use crate::{Error, InferenceOptions, Pending};

/// Pictures in, values on their way out. Threads may share it: a lock is held while a batch is handed over, and where two are under way already,
/// until the older one is done.
pub(crate) struct Backbone {
    card: ModelCard,
    batch: usize,
    weights: FoldedWeights,
    /// Shapes of what a batch of pictures is answered with.
    shapes: Vec<Vec<usize>>,
    /// For pictures.
    pictures: Mutex<Inference>,
    /// For tensors, of the shape `[N, 3, H, W]` that was last asked for.
    tensors: Mutex<Option<([usize; 4], Inference)>>,
}

impl Backbone {
    pub(crate) fn load(
        gpu: &Gpu,
        TrainedNetwork { path, weights, card }: &TrainedNetwork,
        answer: Answer,
        options: &InferenceOptions<'_>,
    ) -> Result<Self, Error> {
        card.check().map_err(|problem| weights::Error::Card { path: path.clone(), problem })?;
        let input = Input::Pixels { mean: card.mean, std: card.std };
        let (file, size) = ((path.as_path(), weights), [card.res as usize; 2]);
        let (weights, pictures) = FoldedWeights::load(gpu, file, &card.config, (size, input), answer, options)?;
        let (shapes, pictures) = (pictures.shapes(), Mutex::new(pictures));
        Ok(Self { card: card.clone(), batch: options.batch, weights, shapes, pictures, tensors: Mutex::default() })
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Pictures answered at a time.
    #[cfg(feature = "pictures")]
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Shapes of what a batch of pictures is answered with.
    pub(crate) fn shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }

    /// Hands pictures over, a batch at a time. `answer` makes a picture's answer of its batch's outputs and its place in the batch.
    pub(crate) fn submit<T>(
        &self,
        pictures: &[Picture<'_>],
        answer: impl Fn(&[Vec<f32>], usize) -> T + Send + 'static,
    ) -> Result<Pending<Vec<T>>, Error> {
        pictures.iter().try_for_each(|picture| self.check(picture))?;
        let batches = pictures.chunks(self.batch).map(|group| Ok((self.submit_batch(group)?, group.len())));
        let (reads, counts): (Vec<_>, Vec<usize>) = batches.collect::<Result<Vec<_>, Error>>()?.into_iter().unzip();
        Ok(Pending::new(reads, move |batches| {
            let of_batch = |(outputs, count): (&Vec<_>, _)| (0..count).map(|i| answer(outputs, i)).collect::<Vec<_>>();
            batches.iter().zip(counts).flat_map(of_batch).collect()
        }))
    }

    /// Resizes and crops a picture that is in memory.
    pub(crate) fn prepare(&self, picture: Picture<'_>) -> Result<Picture<'static>, Error> {
        self.check(&picture)?;
        let (res, crop_pct) = (self.card.res, self.card.crop_pct);
        Ok(Picture(match picture.0 {
            Pixels::Host(rgb) => Pixels::Prepared(evaluation_crop(&rgb, res, crop_pct), crop_pct),
            Pixels::Device(frame) => Pixels::Device(frame),
            Pixels::Prepared(rgb, crop_pct) => Pixels::Prepared(rgb, crop_pct),
        }))
    }

    fn check(&self, picture: &Picture<'_>) -> Result<(), picture::Error> {
        let ((width, height), side) = (picture.size(), self.card.res);
        match picture.0 {
            _ if width == 0 || height == 0 => Err(picture::Error::Empty { width, height }),
            Pixels::Prepared(_, crop_pct) if width != side || crop_pct != self.card.crop_pct => {
                Err(picture::Error::Prepared)
            }
            _ => Ok(()),
        }
    }

    fn submit_batch(&self, group: &[Picture<'_>]) -> Result<PendingRead, Error> {
        let (res, crop_pct) = (self.card.res, self.card.crop_pct);
        let picture_pixels = (res as usize).pow(2);
        let packed = |picture: &Picture<'_>| match &picture.0 {
            Pixels::Host(picture) => pack(&evaluation_crop(picture, res, crop_pct)),
            Pixels::Prepared(picture, _) => pack(picture),
            Pixels::Device(_) => vec![0; picture_pixels],
        };
        let mut pixels: Vec<u32> = group.par_iter().map(packed).flatten_iter().collect();
        pixels.resize(self.batch * picture_pixels, 0);

        let mut network = lock(&self.pictures);
        network.feed_pixels(&pixels)?;
        for (index, picture) in group.iter().enumerate() {
            if let Pixels::Device(frame) = &picture.0 {
                let [width, picture_height] = frame.size();
                let part = evaluation_part((width, picture_height), res, crop_pct);
                let rows = rows_read(part, picture_height, res);
                let crop = Crop { part, rows, picture_height, side: res };
                network.feed_frame(index, frame, &crop)?;
            }
        }
        Ok(network.answer()?)
    }

    /// Hands over standardised pictures, NCHW.
    pub(crate) fn submit_tensor(&self, nchw: &[f32], shape: [usize; 4]) -> Result<PendingRead, Error> {
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
                // The memory of the one before is free for it.
                *other = None;
                &mut other.insert((shape, self.weights.network(n, [h, w], Input::Tensor)?)).1
            }
        };
        network.feed_tensor(&nhwc)?;
        Ok(network.answer()?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
