//! Batches ready for upload, decoded ahead of their use on other threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rand::RngExt;
use rayon::prelude::*;

use super::augment::training_crop;
use super::random::{Purpose, generator};
use super::{Augment, Error, Source, evaluation_crop};

/// Batches that are ready before they are asked for: one in use, two waiting.
const AHEAD: usize = 2;

/// How pictures become batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Pictures in a batch.
    pub batch: usize,
    /// Side of the pictures in pixels.
    pub res: u32,
    /// What is done to them.
    pub transform: Transform,
}

/// What is done to a picture, and in which order they come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// In file order, evaluation crop; a last short batch is filled up with black pictures.
    Evaluate {
        /// Share of the resized picture that the crop keeps.
        crop_pct: f64,
    },
    /// Augmented; a last short batch is left out.
    Train {
        /// How pictures are varied.
        augment: Augment,
        /// Whether all pictures are small ones of the same size, which are padded and cropped rather than resized.
        small: bool,
        /// Whether each epoch has an order of its own.
        shuffle: bool,
        /// What order and variation are drawn from.
        seed: u64,
    },
}

/// Pictures and classes of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Packed RGBA, red in the lowest byte, row by row: `batch * res * res` values.
    pub pixels: Vec<u32>,
    /// Classes, `batch` of them.
    pub labels: Vec<u32>,
    /// Pictures that are real; the rest fills up the batch.
    pub count: usize,
}

/// An epoch's batches in order.
pub struct Batches {
    receiver: Receiver<Result<Batch, Error>>,
}

impl Batches {
    /// Starts loading an epoch at batch number `start`, so that a resumed run can enter in the middle.
    /// Order and content do not depend on the threads' timing. Dropping the iterator ends the loading.
    pub fn new(source: Arc<dyn Source>, options: LoaderOptions, epoch: u64, start: usize) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            let order = order(source.len(), &options, epoch);
            let count = Self::count(source.len(), &options);
            for at in start..count {
                let end = ((at + 1) * options.batch).min(order.len());
                let batch = load(&*source, &options, epoch, &order[at * options.batch..end]);
                let failed = batch.is_err();
                // The receiver is gone when nobody wants more batches.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        Self { receiver }
    }

    /// Number of batches in an epoch over `samples` pictures.
    pub fn count(samples: usize, options: &LoaderOptions) -> usize {
        match options.transform {
            Transform::Evaluate { .. } => samples.div_ceil(options.batch),
            Transform::Train { .. } => samples / options.batch,
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.recv().ok()
    }
}

/// Order of an epoch's pictures: Fisher and Yates's shuffle where asked for.
fn order(samples: usize, options: &LoaderOptions, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    if let Transform::Train { shuffle: true, seed, .. } = options.transform {
        let mut rng = generator(seed, Purpose::Shuffle, epoch, 0);
        for i in (1..samples).rev() {
            order.swap(i, rng.random_range(0..=i as u64) as usize);
        }
    }
    order
}

fn load(source: &dyn Source, options: &LoaderOptions, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
    let res = options.res;
    let transform = |index: usize| {
        let sample = source.sample(index)?;
        let picture = match options.transform {
            Transform::Evaluate { crop_pct } => evaluation_crop(&sample.image, res, crop_pct),
            Transform::Train { augment, small, seed, .. } => {
                training_crop(&sample.image, res, augment, small, (seed, epoch, index as u64))
            }
        };
        Ok((pack(&picture), sample.label))
    };
    let samples = indices.par_iter().map(|&i| transform(i)).collect::<Result<Vec<_>, Error>>()?;
    let picture_pixels = (res * res) as usize;
    let mut batch = Batch {
        pixels: Vec::with_capacity(options.batch * picture_pixels),
        labels: Vec::with_capacity(options.batch),
        count: samples.len(),
    };
    for (pixels, label) in samples {
        batch.pixels.extend(pixels);
        batch.labels.push(label);
    }
    batch.pixels.resize(options.batch * picture_pixels, 0);
    batch.labels.resize(options.batch, 0);
    Ok(batch)
}

/// Packs a picture's pixels as RGBA, red in the lowest byte.
pub(crate) fn pack(picture: &image::RgbImage) -> Vec<u32> {
    picture.pixels().map(|p| u32::from_le_bytes([p[0], p[1], p[2], 255])).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Sample;
    use super::*;

    struct Numbers(usize);

    impl Source for Numbers {
        fn len(&self) -> usize {
            self.0
        }

        fn sample(&self, index: usize) -> Result<Sample, Error> {
            let colour = image::Rgb([index as u8, 0, 0]);
            Ok(Sample { image: image::RgbImage::from_pixel(2, 2, colour), label: index as u32 })
        }
    }

    fn labels(options: LoaderOptions, epoch: u64, start: usize) -> Vec<Vec<u32>> {
        Batches::new(Arc::new(Numbers(10)), options, epoch, start).map(|b| b.unwrap().labels).collect()
    }

    #[test]
    fn evaluation_fills_the_last_batch_and_training_drops_it() {
        let evaluate = LoaderOptions { batch: 4, res: 2, transform: Transform::Evaluate { crop_pct: 1.0 } };
        let batches: Vec<Batch> = Batches::new(Arc::new(Numbers(10)), evaluate, 0, 0).map(|b| b.unwrap()).collect();
        assert_eq!(batches.iter().map(|b| b.count).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(batches[2].labels, [8, 9, 0, 0]);
        assert_eq!(batches[2].pixels[4], 0xFF00_0009, "RGBA, red lowest");
        let transform = Transform::Train { augment: Augment::None, small: true, shuffle: false, seed: 1 };
        let train = LoaderOptions { batch: 4, res: 2, transform };
        assert_eq!(labels(train, 0, 0), [[0, 1, 2, 3], [4, 5, 6, 7]]);
    }

    #[test]
    fn shuffled_epochs_repeat_differ_and_can_be_entered_in_the_middle() {
        let transform = Transform::Train { augment: Augment::Standard, small: true, shuffle: true, seed: 1 };
        let train = LoaderOptions { batch: 3, res: 2, transform };
        let epoch = labels(train, 5, 0);
        assert_eq!(epoch, labels(train, 5, 0));
        assert_ne!(epoch, labels(train, 6, 0));
        assert_eq!(epoch[2..], labels(train, 5, 2)[..]);
        let mut all: Vec<u32> = epoch.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9, "no picture comes twice");
    }
}
