//! The front door for applications: load weights once, classify pictures.

use std::path::Path;
use std::sync::Arc;

use image::{DynamicImage, RgbImage};

use crate::data::{evaluation_crop, pack};
use crate::gpu::Gpu;
use crate::models::Input;
use crate::weights::{ModelCard, StateDict, timm};
use crate::{Error, Inference, InferenceOptions};

/// A trained network with its pre-processing.
pub struct Classifier {
    inference: Inference,
    card: ModelCard,
    classes: Arc<[String]>,
    batch: usize,
}

impl Classifier {
    /// Loads a safetensors file under timm's names, as timm or this program wrote it. The variant is recognised from the
    /// tensors.
    ///
    /// ```no_run
    /// let gpu = resnet_rs::Gpu::new(&resnet_rs::GpuOptions::default())?;
    /// let mut net = resnet_rs::Classifier::load(&gpu, "resnetrs50.safetensors")?;
    /// let picture = image::open("cat.jpg")?;
    /// for guess in net.classify(&picture)?.top(5) {
    ///     println!("{:.1} % {}", 100.0 * guess.probability, guess.label);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, belongs to no ResNet, or the network does not fit the device.
    pub fn load(gpu: &Gpu, path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(gpu, path, &InferenceOptions::default())
    }

    /// The same with maps and weights in f16, say, or several pictures at a time.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(gpu: &Gpu, path: impl AsRef<Path>, options: &InferenceOptions<'_>) -> Result<Self, Error> {
        let path = path.as_ref();
        let weights = StateDict::read(path)?;
        let card = timm::recognise(path, &weights)?;
        Self::with_card(gpu, (path, &weights), card, options)
    }

    /// The same with weights in memory, `path` in messages, and a card that may differ from the file's own.
    ///
    /// # Errors
    /// If the weights are not those of the card's network, or that does not fit the device.
    pub fn with_card(
        gpu: &Gpu,
        (path, weights): (&Path, &StateDict),
        card: ModelCard,
        options: &InferenceOptions<'_>,
    ) -> Result<Self, Error> {
        let input = Input::Pixels { mean: card.mean, std: card.std };
        let size = [card.res as usize; 2];
        let inference = Inference::load(gpu, (path, weights), &card.config, size, input, options)?;
        let classes = card.classes.clone().into();
        Ok(Self { inference, card, classes, batch: options.batch })
    }

    /// The network and its pre-processing.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Classifies one picture of any size: resized, cropped and standardised as timm does for this variant.
    pub fn classify(&mut self, picture: &DynamicImage) -> Result<Prediction, Error> {
        let mut predictions = self.classify_all(&[picture.to_rgb8()])?;
        Ok(predictions.swap_remove(0))
    }

    /// Classifies several pictures, as many at a time as the classifier was made for.
    pub fn classify_all(&mut self, pictures: &[RgbImage]) -> Result<Vec<Prediction>, Error> {
        let mut predictions = Vec::with_capacity(pictures.len());
        let picture_pixels = (self.card.res as usize).pow(2);
        for group in pictures.chunks(self.batch) {
            let crop = |p: &RgbImage| pack(&evaluation_crop(p, self.card.res, self.card.crop_pct));
            let mut pixels: Vec<u32> = group.iter().flat_map(crop).collect();
            pixels.resize(self.batch * picture_pixels, 0);
            let logits = self.inference.logits_of_pixels(&pixels)?;
            let rows = logits.chunks(self.card.config.classes).take(group.len());
            predictions
                .extend(rows.map(|row| Prediction { probabilities: softmax(row), classes: self.classes.clone() }));
        }
        Ok(predictions)
    }
}

/// Probability of every class for one picture.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// One per class; they add up to 1.
    pub probabilities: Vec<f32>,
    classes: Arc<[String]>,
}

/// One class of a prediction.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Guess {
    /// Index of the class.
    pub class: usize,
    /// Name of the class; its index where the names are unknown.
    pub label: String,
    /// How likely it is, 0 to 1.
    pub probability: f32,
}

impl Prediction {
    /// The `k` likeliest classes, likeliest first; fewer if there are not so many.
    pub fn top(&self, k: usize) -> Vec<Guess> {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]).then(a.cmp(&b)));
        let guess = |class: usize| Guess {
            class,
            label: self.classes.get(class).cloned().unwrap_or_else(|| class.to_string()),
            probability: self.probabilities[class],
        };
        order.into_iter().take(k).map(guess).collect()
    }
}

/// Probabilities of one row of logits.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits.iter().map(|&z| f64::from(z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| (e / sum) as f32).collect()
}
