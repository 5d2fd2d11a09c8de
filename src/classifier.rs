//! The front door for applications: load weights once, classify pictures.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::backbone::Backbone;
use crate::gpu::Gpu;
use crate::inference::Answer;
use crate::weights::{ModelCard, TrainedNetwork};
use crate::{Error, InferenceOptions, Pending, Picture};

/// A trained network with its pre-processing. Threads may share it.
///
/// Pictures are resized, cropped and standardised as timm does for this variant: those in memory on the CPU, in the thread that hands them
/// over; textures on the GPU.
pub struct Classifier {
    pub(crate) backbone: Backbone,
    classes: Arc<[String]>,
}

impl Classifier {
    /// Loads a safetensors file under timm's names, as timm or this program wrote it. The variant is recognised from the
    /// tensors.
    ///
    /// ```no_run
    /// let gpu = resnet_rs::Gpu::new(&resnet_rs::GpuOptions::default())?;
    /// let net = resnet_rs::Classifier::load(&gpu, "resnetrs50.safetensors")?;
    /// for guess in net.classify(&image::open("cat.jpg")?)?.top(5) {
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
    /// ```no_run
    /// use resnet_rs::{Classifier, Gpu, GpuOptions, InferenceOptions, Precision};
    ///
    /// let gpu = Gpu::new(&GpuOptions::default())?;
    /// let options = InferenceOptions { batch: 8, precision: Precision::F16, ..InferenceOptions::default() };
    /// let net = Classifier::load_with(&gpu, "resnetrs50.safetensors", &options)?;
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(gpu: &Gpu, path: impl AsRef<Path>, options: &InferenceOptions<'_>) -> Result<Self, Error> {
        Self::new(gpu, &TrainedNetwork::read(path)?, options)
    }

    /// The same with weights from the Hugging Face hub, `OWNER/NAME` or `OWNER/NAME@REVISION`, which are downloaded once and then found in its
    /// cache ([`crate::weights::hub::fetch`]).
    ///
    /// ```no_run
    /// use resnet_rs::{Classifier, Gpu, GpuOptions, InferenceOptions, weights::hub::HubOptions};
    ///
    /// let gpu = Gpu::new(&GpuOptions::default())?;
    /// let hub = HubOptions::default();
    /// let net = Classifier::from_hub(&gpu, "timm/resnetrs50.tf_in1k", &hub, &InferenceOptions::default())?;
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there, and as [`Self::load`].
    #[cfg(feature = "hub")]
    pub fn from_hub(
        gpu: &Gpu,
        repository: &str,
        hub: &crate::weights::hub::HubOptions<'_>,
        options: &InferenceOptions<'_>,
    ) -> Result<Self, Error> {
        Self::new(gpu, &crate::weights::hub::fetch(repository, hub)?, options)
    }

    /// The same of a network in memory, whose card may differ from the file's own.
    ///
    /// ```no_run
    /// use resnet_rs::weights::TrainedNetwork;
    /// use resnet_rs::{Classifier, Gpu, GpuOptions, InferenceOptions};
    ///
    /// let gpu = Gpu::new(&GpuOptions::default())?;
    /// let mut network = TrainedNetwork::read("resnetrs50.safetensors")?;
    /// network.card.res = 224; // larger than it was trained on, as timm tests it
    /// let net = Classifier::new(&gpu, &network, &InferenceOptions::default())?;
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the weights are not those of the card's network, the card says what cannot be, or the network does not fit the device.
    pub fn new(gpu: &Gpu, network: &TrainedNetwork, options: &InferenceOptions<'_>) -> Result<Self, Error> {
        let classes = network.card.classes.clone().into();
        Ok(Self { backbone: Backbone::load(gpu, network, Answer::Logits, options)?, classes })
    }

    /// The network and its pre-processing.
    pub fn card(&self) -> &ModelCard {
        self.backbone.card()
    }

    /// Classifies one picture of any size.
    ///
    /// # Errors
    /// A picture without pixels, a texture that cannot be read, or a device that fails.
    pub fn classify<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Prediction, Error> {
        self.submit(picture)?.wait()
    }

    /// Classifies several pictures, as many at a time as the classifier was made for.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier) -> Result<(), Box<dyn std::error::Error>> {
    /// let pictures = [image::open("cat.jpg")?, image::open("dog.jpg")?];
    /// for prediction in net.classify_all(&pictures)? {
    ///     println!("{}", prediction.top(1)[0].label);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn classify_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Prediction>, Error> {
        self.submit_all(pictures)?.wait()
    }

    /// Resizes and crops a picture now, for whoever does that in other threads than those that hand pictures over. Textures, and what is
    /// prepared already, stay as they are.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier, paths: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    /// use rayon::prelude::*;
    ///
    /// let prepared: Vec<_> = paths
    ///     .par_iter()
    ///     .map(|path| Ok(net.prepare(image::open(path)?)?))
    ///     .collect::<Result<_, Box<dyn std::error::Error + Send + Sync>>>()
    ///     .map_err(|e| e.to_string())?;
    /// let predictions = net.classify_all(prepared)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A picture without pixels.
    pub fn prepare<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Picture<'static>, Error> {
        self.backbone.prepare(picture.into())
    }

    /// Hands a picture over and returns while the GPU works on it. With two batches under way it first waits for the older of them, so that
    /// whoever submits faster than the GPU answers does not fill its memory.
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn submit<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Pending<Prediction>, Error> {
        Ok(self.start(&[picture.into()])?.map(|mut one| one.swap_remove(0)))
    }

    /// The same for several pictures.
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn submit_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Pending<Vec<Prediction>>, Error> {
        self.start(&pictures.into_iter().map(Into::into).collect::<Vec<_>>())
    }

    fn start(&self, pictures: &[Picture<'_>]) -> Result<Pending<Vec<Prediction>>, Error> {
        let (width, classes) = (self.card().config.classes, self.classes.clone());
        self.backbone.submit(pictures, move |outputs, i| {
            Prediction::new(outputs[0][i * width..][..width].to_vec(), classes.clone())
        })
    }

    /// Logits of standardised pictures, `[N, 3, H, W]` as PyTorch has them, row by row: what timm's models return for the same tensor.
    /// A network is made for each new shape, and the last is kept.
    ///
    /// # Errors
    /// If the shape is another, there are not as many numbers, the network cannot see so small a picture, or the device fails.
    pub fn logits(&self, nchw: &[f32], shape: [usize; 4]) -> Result<Vec<f32>, Error> {
        Ok(self.backbone.submit_tensor(nchw, shape)?.wait()?.swap_remove(0))
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier").field("config", &self.card().config).finish_non_exhaustive()
    }
}

/// What a network says of one picture.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prediction {
    /// Results before the softmax, one per class.
    pub logits: Vec<f32>,
    /// Probability of every class; they add up to 1.
    pub probabilities: Vec<f32>,
    classes: Arc<[String]>,
}

/// One class of a prediction.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Guess {
    /// Index of the class.
    pub class: usize,
    /// Name of the class; its index where the names are unknown.
    pub label: String,
    /// How likely it is, 0 to 1.
    pub probability: f32,
}

impl Prediction {
    fn new(logits: Vec<f32>, classes: Arc<[String]>) -> Self {
        Self { probabilities: softmax(&logits), logits, classes }
    }

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
