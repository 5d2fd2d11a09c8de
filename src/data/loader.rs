//! Batches ready for upload, decoded ahead on other threads.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::broken::{self, Broken};
use super::resize::evaluation_view;
use super::{Augmentation, Encode, Error, Geometry, Mixed, Sample, Source, Targets, Truth, View, pack};

/// How pictures become batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Pictures in a batch, at least 1.
    pub batch: usize,
    /// Batches that one step takes, N. Up to N + 1 decoded batches are queued.
    pub at_once: usize,
    /// Height and width of the pictures in pixels.
    pub size: [usize; 2],
    /// How they are transformed.
    pub transform: Transform,
}

/// How pictures are transformed, and in which order they come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// In file order, evaluation crop. Unreadable pictures are left out, and short batches are padded with black ones.
    Evaluate(View),
    /// Augmented. Other pictures replace unreadable ones, and a short last batch is dropped.
    Train {
        /// How pictures are augmented.
        augmentation: Augmentation,
        /// Whether all pictures are small and of the same size: then they are padded and cropped, not resized.
        small: bool,
        /// Whether each epoch is shuffled.
        shuffle: bool,
        /// Seed of order and augmentation.
        seed: u64,
    },
}

/// The pictures of one step with their truths.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Packed RGBA, red in the lowest byte, row by row: `batch * height * width` values.
    pub pixels: Vec<u32>,
    /// Height and width of the pictures in pixels.
    pub size: [usize; 2],
    /// The truth of each picture. There may be fewer than `batch`; the rest of the batch is padding.
    pub truths: Vec<Truth>,
    /// The geometry of each: where its points lie in the picture of the file.
    pub views: Vec<Geometry>,
    /// Height and width of each picture before that, in pixels.
    pub picture_sizes: Vec<[usize; 2]>,
    /// The targets of training, if the batch was loaded with an encoder.
    pub targets: Targets,
    /// The indices of these pictures in the source.
    pub indices: Vec<usize>,
    /// Pictures of this batch that cannot be read.
    pub broken: Vec<Broken>,
}

/// An epoch's batches in order.
pub struct Batches {
    receiver: Receiver<Result<Batch, Error>>,
    worker: Option<JoinHandle<()>>,
    wanted: Arc<AtomicBool>,
    waited: Duration,
}

impl Batches {
    /// Starts loading an epoch at batch number `start`, without targets: see [`Self::with_targets`].
    pub fn new(source: Arc<dyn Source>, options: LoaderOptions, epoch: u64, start: usize) -> Self {
        Self::start(source, options, None, epoch, start)
    }

    /// Starts loading an epoch at batch number `start`, with the targets that `encode` makes. A resumed run starts in
    /// the middle. Order and content do not depend on the threads' timing. Dropping the iterator ends the loading. An
    /// error is the last item and means that no picture can be read any more; a panic on a loading thread is resumed in
    /// [`Iterator::next`].
    pub fn with_targets(
        source: Arc<dyn Source>,
        options: LoaderOptions,
        encode: Arc<dyn Encode>,
        epoch: u64,
        start: usize,
    ) -> Self {
        Self::start(source, options, Some(encode), epoch, start)
    }

    fn start(
        source: Arc<dyn Source>,
        options: LoaderOptions,
        encode: Option<Arc<dyn Encode>>,
        epoch: u64,
        start: usize,
    ) -> Self {
        let (sender, receiver) = sync_channel(options.at_once + 1);
        let wanted = Arc::new(AtomicBool::new(true));
        let still_wanted = wanted.clone();
        let worker = thread::spawn(move || {
            let order = order(&*source, &options, epoch);
            let count = Self::count(source.len(), &options);
            for at in start..count {
                let end = ((at + 1) * options.batch).min(order.len());
                let indices = &order[at * options.batch..end];
                let Some(batch) = load(&*source, &options, epoch, at, indices, &still_wanted) else { return };
                let batch = batch.and_then(|(batch, mixed)| match &encode {
                    Some(encode) => with_targets(batch, options.batch, &**encode, mixed),
                    None => Ok(batch),
                });
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        Self { receiver, worker: Some(worker), wanted, waited: Duration::ZERO }
    }

    /// Number of batches in an epoch over `samples` pictures.
    pub fn count(samples: usize, options: &LoaderOptions) -> usize {
        match options.transform {
            Transform::Evaluate(_) => samples.div_ceil(options.batch),
            Transform::Train { .. } => samples / options.batch,
        }
    }

    /// Time that the caller has spent waiting in [`Iterator::next`]: close to zero as long as loading keeps up.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let asked = Instant::now();
        let received = self.receiver.recv();
        self.waited += asked.elapsed();
        received.ok().or_else(|| match self.worker.take().map(JoinHandle::join) {
            // A decoder's panic must not look like the end of the epoch.
            Some(Err(panic)) => resume_unwind(panic),
            _ => None,
        })
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

/// Order of an epoch's pictures: the source's own order if they are shuffled, else by index.
fn order(source: &dyn Source, options: &LoaderOptions, epoch: u64) -> Vec<usize> {
    match options.transform {
        Transform::Train { shuffle: true, seed, .. } => source.order(seed, epoch),
        _ => (0..source.len()).collect(),
    }
}

/// Loads one batch; `None` once the iterator is dropped.
fn load(
    source: &dyn Source,
    options: &LoaderOptions,
    epoch: u64,
    number: usize,
    indices: &[usize],
    wanted: &AtomicBool,
) -> Option<Result<(Batch, Option<Mixed>), Error>> {
    let place = |index: usize| -> Result<Place, Error> {
        let read = match options.transform {
            Transform::Evaluate(_) => broken::read(source, index),
            Transform::Train { .. } => broken::read_or_replace(source, index)?,
        };
        let picture = read.sample.map(|(at, Sample { image, truth })| {
            let (picture, geometry) = match options.transform {
                Transform::Evaluate(view) => evaluation_view(&image, options.size, view),
                Transform::Train { augmentation, small, seed, .. } => {
                    augmentation.picture(&image, options.size, small, (seed, epoch, index as u64))
                }
            };
            let size = [image.height(), image.width()].map(|side| side as usize);
            Seen { at, pixels: pack(&picture), truth, geometry, size }
        });
        Ok(Place { picture, broken: read.broken })
    };
    let places = indices.par_iter().map(|&index| wanted.load(Ordering::Relaxed).then(|| place(index)));
    let batch = join(places.collect::<Option<Vec<_>>>()?, options);
    Some(batch.map(|mut batch| {
        let mixed = match options.transform {
            Transform::Evaluate(_) => None,
            Transform::Train { augmentation, seed, .. } => {
                augmentation.batch(&mut batch.pixels, options.size, (seed, epoch, number as u64))
            }
        };
        (batch, mixed)
    }))
}

/// Adds the targets of a batch, padded to `count` pictures.
fn with_targets(batch: Batch, count: usize, encode: &dyn Encode, mixed: Option<Mixed>) -> Result<Batch, Error> {
    let targets = match count - batch.truths.len() {
        0 => encode.encode(&batch.truths, &batch.views, mixed)?,
        missing => {
            let blank = Geometry::whole(batch.size);
            let truths = [&batch.truths[..], &vec![Truth::Unknown; missing]].concat();
            encode.encode(&truths, &[&batch.views[..], &vec![blank; missing]].concat(), mixed)?
        }
    };
    Ok(Batch { targets, ..batch })
}

/// One place of a batch: its picture with index, truth and geometry, and the unreadable pictures before it.
struct Place {
    picture: Option<Seen>,
    broken: Vec<Broken>,
}

/// A picture as the network sees it.
struct Seen {
    /// Its index in the source.
    at: usize,
    pixels: Vec<u32>,
    truth: Truth,
    geometry: Geometry,
    /// Height and width of the picture itself.
    size: [usize; 2],
}

/// Joins the pictures and pads the batch. Of several errors the first by position is returned, whichever thread was
/// faster.
fn join(places: Vec<Result<Place, Error>>, options: &LoaderOptions) -> Result<Batch, Error> {
    let picture_pixels = options.size[0] * options.size[1];
    let mut batch = Batch {
        pixels: Vec::with_capacity(options.batch * picture_pixels),
        size: options.size,
        truths: Vec::with_capacity(options.batch),
        views: Vec::with_capacity(options.batch),
        picture_sizes: Vec::with_capacity(options.batch),
        targets: Targets::default(),
        indices: Vec::with_capacity(options.batch),
        broken: Vec::new(),
    };
    for place in places {
        let Place { picture, broken } = place?;
        batch.broken.extend(broken);
        if let Some(Seen { at, pixels, truth, geometry, size }) = picture {
            batch.indices.push(at);
            batch.pixels.extend(pixels);
            batch.truths.push(truth);
            batch.views.push(geometry);
            batch.picture_sizes.push(size);
        }
    }
    batch.pixels.resize(options.batch * picture_pixels, 0);
    Ok(batch)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::{Augment, Convention, RandAugment, Sample};
    use super::*;

    struct Numbers(usize);

    impl Source for Numbers {
        fn len(&self) -> usize {
            self.0
        }

        fn sample(&self, index: usize) -> Result<Sample, Error> {
            let colour = image::Rgb([index as u8, 0, 0]);
            Ok(Sample { image: image::RgbImage::from_pixel(2, 2, colour), truth: Truth::Class(index as u32) })
        }
    }

    fn classes(batch: &Batch) -> Vec<u32> {
        batch.truths.iter().filter_map(Truth::class).collect()
    }

    fn labels(options: LoaderOptions, epoch: u64, start: usize) -> Vec<Vec<u32>> {
        Batches::new(Arc::new(Numbers(10)), options, epoch, start).map(|b| classes(&b.unwrap())).collect()
    }

    /// Encodes the classes, and the share that each picture keeps.
    struct Shares;

    impl Encode for Shares {
        fn encode(&self, truths: &[Truth], _views: &[Geometry], mixed: Option<Mixed>) -> Result<Targets, Error> {
            let share = mixed.map_or(1.0, |mixed| mixed.share);
            let classes: Vec<u32> = truths.iter().filter_map(Truth::class).collect();
            Ok(Targets::new(vec![("classes", classes.into()), ("share", vec![share].into())]))
        }
    }

    #[test]
    fn evaluation_fills_the_last_batch_and_training_drops_it() {
        let evaluate =
            LoaderOptions { batch: 4, at_once: 1, size: [2, 2], transform: Transform::Evaluate(View::center(1.0)) };
        let batches: Vec<Batch> = Batches::new(Arc::new(Numbers(10)), evaluate, 0, 0).map(|b| b.unwrap()).collect();
        assert_eq!(batches.iter().map(|b| b.truths.len()).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!((classes(&batches[2]), batches[2].pixels.len()), (vec![8, 9], 4 * 4));
        assert_eq!(batches[2].pixels[4], 0xFF00_0009, "RGBA, red lowest");
        let transform =
            Transform::Train { augmentation: Augmentation::default(), small: true, shuffle: false, seed: 1 };
        let train = LoaderOptions { batch: 4, at_once: 1, size: [2, 2], transform };
        assert_eq!(labels(train, 0, 0), [[0, 1, 2, 3], [4, 5, 6, 7]]);
    }

    #[test]
    fn shuffled_epochs_repeat_differ_and_can_be_entered_in_the_middle() {
        let augmentation =
            Augmentation { crop: Augment::Standard { shift: 0.125, hflip: 0.5 }, ..Augmentation::default() };
        let transform = Transform::Train { augmentation, small: true, shuffle: true, seed: 1 };
        let train = LoaderOptions { batch: 3, at_once: 1, size: [2, 2], transform };
        let epoch = labels(train, 5, 0);
        assert_eq!(epoch, labels(train, 5, 0));
        assert_ne!(epoch, labels(train, 6, 0));
        assert_eq!(epoch[2..], labels(train, 5, 2)[..]);
        let mut all: Vec<u32> = epoch.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9, "no picture comes twice");
    }

    /// Pictures in which every pixel differs.
    struct Patterns;

    impl Source for Patterns {
        fn len(&self) -> usize {
            12
        }

        fn sample(&self, index: usize) -> Result<Sample, Error> {
            let image = image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([16 * x as u8, 16 * y as u8, index as u8]));
            Ok(Sample { image, truth: Truth::Class(index as u32) })
        }
    }

    /// As in a resumed run, with all kinds of augmentation.
    #[test]
    fn varied_epochs_repeat_differ_and_can_be_entered_in_the_middle() {
        let scale = Augment::Scale { least: 0.5, most: 2.0, hflip: 0.5, border: [9; 3] };
        [Augment::Standard { shift: 0.125, hflip: 0.5 }, scale].into_iter().for_each(varied_epochs);
    }

    fn varied_epochs(crop: Augment) {
        let rand_augment =
            Some(RandAugment { layers: 2, magnitude: 9.0, convention: Convention::Timm, colour_only: false });
        let augmentation = Augmentation { crop, jitter: 0.5, rand_augment, erasing: 0.5, mixup: 0.2, cutmix: 1.0 };
        let batches = |augmentation, epoch, start| -> Vec<Batch> {
            let transform = Transform::Train { augmentation, small: true, shuffle: true, seed: 1 };
            let options = LoaderOptions { batch: 4, at_once: 1, size: [16, 16], transform };
            let batches = Batches::with_targets(Arc::new(Patterns), options, Arc::new(Shares), epoch, start);
            batches.map(|b| b.unwrap()).collect()
        };
        let epoch = batches(augmentation, 5, 0);
        assert_eq!(epoch, batches(augmentation, 5, 0));
        assert_eq!(epoch[1..], batches(augmentation, 5, 1)[..]);
        assert_ne!(epoch, batches(augmentation, 6, 0));
        let share = |batch: &Batch| batch.targets.iter().last().map(|(_, share)| format!("{share:?}"));
        assert_ne!(share(&epoch[0]), share(&epoch[1]), "each batch has a share of its own");
        for without in [
            Augmentation { jitter: 0.0, ..augmentation },
            Augmentation { rand_augment: None, ..augmentation },
            Augmentation { erasing: 0.0, ..augmentation },
            Augmentation { mixup: 0.0, cutmix: 0.0, ..augmentation },
        ] {
            let fewer = batches(without, 5, 0);
            assert_ne!(epoch, fewer, "{without:?}");
            assert_eq!(epoch[2].truths, fewer[2].truths, "what else is varied does not change the order");
        }
    }

    /// Panics at one picture, and counts the pictures that were asked for.
    struct Faulty(std::sync::atomic::AtomicUsize);

    impl Source for Faulty {
        fn len(&self) -> usize {
            1000
        }

        fn sample(&self, index: usize) -> Result<Sample, Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(5));
            assert!(index != 6, "the decoder fails");
            match index {
                4 | 5 => Err(Error::invalid(self.name(index), "broken")),
                _ => Numbers(10).sample(index),
            }
        }
    }

    fn faulty(batch: usize, start: usize) -> (Arc<Faulty>, Batches) {
        let source = Arc::new(Faulty(0.into()));
        let options =
            LoaderOptions { batch, at_once: 1, size: [2, 2], transform: Transform::Evaluate(View::center(1.0)) };
        (source.clone(), Batches::new(source, options, 0, start))
    }

    /// Otherwise a decoder that panics would look like the end of the epoch.
    #[test]
    fn a_panic_reaches_the_caller() {
        let (_, batches) = faulty(2, 3);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batches.count()));
        assert!(caught.is_err(), "ended after {caught:?} batches");
    }

    #[test]
    fn evaluation_leaves_out_what_cannot_be_read() {
        let (_, mut batches) = faulty(3, 1);
        let batch = batches.next().unwrap().unwrap();
        assert_eq!((&batch.indices[..], &batch.truths[..]), (&[3][..], &[Truth::Class(3)][..]));
        assert_eq!(batch.broken.iter().map(|broken| broken.index).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(batch.pixels.len(), 3 * 4);
    }

    /// Every third picture is broken; later all are.
    struct Thirds {
        all: bool,
    }

    impl Source for Thirds {
        fn len(&self) -> usize {
            60
        }

        fn sample(&self, index: usize) -> Result<Sample, Error> {
            match self.all || index.is_multiple_of(3) {
                true => Err(Error::invalid(self.name(index), "broken")),
                false => Numbers(60).sample(index),
            }
        }
    }

    #[test]
    fn training_puts_other_pictures_in_the_places_of_broken_ones() {
        let transform = Transform::Train { augmentation: Augmentation::default(), small: true, shuffle: true, seed: 1 };
        let options = LoaderOptions { batch: 10, at_once: 1, size: [2, 2], transform };
        let epoch = |start| -> Vec<Batch> {
            Batches::new(Arc::new(Thirds { all: false }), options, 0, start).map(|batch| batch.unwrap()).collect()
        };
        let batches = epoch(0);
        assert_eq!(batches, epoch(0), "whichever thread is faster");
        assert_eq!(batches[4..], epoch(4)[..], "entered in the middle");
        assert_eq!(batches.iter().map(|batch| batch.truths.len()).sum::<usize>(), 60);
        let indices: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
        assert!(indices.iter().all(|index| !index.is_multiple_of(3)), "{indices:?}");
        let mut broken: Vec<usize> = batches.iter().flat_map(|b| b.broken.iter().map(|broken| broken.index)).collect();
        broken.sort_unstable();
        broken.dedup();
        assert_eq!(broken, (0..60).step_by(3).collect::<Vec<_>>());

        let mut none = Batches::new(Arc::new(Thirds { all: true }), options, 0, 0);
        assert!(none.next().unwrap().is_err(), "no picture is left");
        assert!(none.next().is_none());
    }

    #[test]
    fn the_time_that_the_caller_waits_is_measured() {
        let (_, mut batches) = faulty(100, 1);
        assert!(batches.next().unwrap().is_ok());
        let loading = std::time::Duration::from_millis(100 * 5) / rayon::current_num_threads() as u32;
        let first = batches.waited();
        assert!(first >= loading / 2, "{first:?} of {loading:?}");
        // While the caller is busy, the next batch gets ready.
        std::thread::sleep(3 * loading);
        assert!(batches.next().unwrap().is_ok());
        assert!(batches.waited() - first < loading / 2, "{:?}, then {first:?}", batches.waited());
    }

    /// A whole batch of these pictures takes two seconds.
    #[test]
    fn dropping_ends_the_loading_within_a_batch() {
        let (source, batches) = faulty(400 * rayon::current_num_threads(), 0);
        while source.0.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        drop(batches);
        let start = std::time::Instant::now();
        while Arc::strong_count(&source) > 1 {
            assert!(start.elapsed().as_millis() < 400, "still loading, {:?} pictures", source.0);
            std::thread::yield_now();
        }
    }
}
