//! The front door for applications: load weights once, hand over pictures, receive answers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::backbone::{Backbone, Seen};
use crate::gpu::Gpu;
use crate::inference::Answer;
use crate::models::{Head, Purpose};
use crate::weights::{HostTensor, ModelCard, TrainedNetwork};
use crate::{Error, InferenceOptions, Pending, Picture};

/// A trained network with its pre-processing, which answers a picture with an `A`: a [`Classifier`](crate::Classifier)
/// with a [`Prediction`](crate::Prediction), a [`Detector`](crate::Detector) with [`Detections`](crate::Detections), a
/// [`Segmenter`](crate::Segmenter) with a [`Segmentation`](crate::Segmentation), a
/// [`DepthEstimator`](crate::DepthEstimator) with [`Depths`](crate::Depths), [`Features`](crate::Features) with five
/// [`FeatureMap`](crate::FeatureMap)s. Threads may share it.
///
/// Pictures are resized, cropped and standardised as timm does for this network: pictures in memory on the CPU, in the
/// thread that hands them over; textures on the GPU. Answers are in the picture's own pixels.
///
/// ```no_run
/// use resnet_rs::{Classifier, Features, Gpu, Predictor};
///
/// fn describe<A>(net: &Predictor<A>) -> String {
///     format!("{} px, {} at a time", net.card().res, net.batch())
/// }
/// # fn example(classifier: &Classifier, backbone: &Features) {
/// println!("{}, {}", describe(classifier), describe(backbone));
/// # }
/// ```
pub struct Predictor<A> {
    pub(crate) backbone: Backbone,
    pub(crate) read: Arc<Reader<A>>,
}

/// Turns what a network computed for one picture into an answer.
type Reader<A> = dyn Fn(&Seen<'_>) -> A + Send + Sync;

/// Types that a predictor can answer with. Sealed: other crates cannot name this trait.
pub trait FromOutputs: Sized + Send + 'static {
    /// Which tensors a network with this head answers with; `None` if it does not answer so.
    fn tensors(head: &Head) -> Option<Answer>;

    /// Returns the function that turns what was computed for a picture, tensors of these shapes, into an answer.
    fn reader(card: &ModelCard, shapes: Vec<Vec<usize>>) -> impl Fn(&Seen<'_>) -> Self + Send + Sync + 'static;
}

/// Answers for which the whole network runs. Sealed, too.
pub trait FromHead: FromOutputs {}

/// The error for weights that need another predictor.
fn other_task(network: &TrainedNetwork) -> Error {
    let purpose = network.card.config.head.purpose();
    let predictor = match purpose {
        Purpose::Classify => "Classifier",
        Purpose::Detect => "Detector",
        Purpose::Segment => "Segmenter",
        Purpose::Depth => "DepthEstimator",
    };
    Error::OtherTask { path: network.path.clone(), found: purpose.network(), predictor }
}

impl<A: FromOutputs> Predictor<A> {
    /// Loads a safetensors file under timm's or torchvision's names, as they or this program wrote it. The network is
    /// recognised from the tensors. Weights that the answers do not need are not uploaded:
    /// [`Features`](crate::Features) need no classifier.
    ///
    /// ```no_run
    /// let gpu = resnet_rs::Gpu::new(&resnet_rs::GpuOptions::default())?;
    /// let net = resnet_rs::Classifier::load(&gpu, "resnetrs50.safetensors")?;
    /// for guess in net.classify(resnet_rs::Picture::open("cat.jpg")?)?.top(5) {
    ///     println!("{:.1} % {}", 100.0 * guess.probability, guess.label);
    /// }
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, belongs to no network of this crate or to one for another task, or the network does
    /// not fit the device.
    pub fn load(gpu: &Gpu, path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(gpu, path, &InferenceOptions::default())
    }

    /// [`Self::load`] with options: maps and weights in f16, for example, or several pictures at a time.
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

    /// [`Self::load_with`] for weights from the Hugging Face hub, `OWNER/NAME` or `OWNER/NAME@REVISION`. They are
    /// downloaded once and then read from its cache ([`crate::weights::hub::fetch`]).
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
    /// The errors of [`crate::weights::hub::fetch`] and of [`Self::load`].
    #[cfg(feature = "hub")]
    pub fn from_hub(
        gpu: &Gpu,
        repository: &str,
        hub: &crate::weights::hub::HubOptions<'_>,
        options: &InferenceOptions<'_>,
    ) -> Result<Self, Error> {
        Self::new(gpu, &crate::weights::hub::fetch(repository, hub)?, options)
    }

    /// [`Self::load_with`] for a network in memory, whose card may differ from the file's own.
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
    /// If the weights are not those of the card's network, a field of the card is out of range, the network is for
    /// another task, or it does not fit the device.
    pub fn new(gpu: &Gpu, network: &TrainedNetwork, options: &InferenceOptions<'_>) -> Result<Self, Error> {
        let tensors = A::tensors(&network.card.config.head).ok_or_else(|| other_task(network))?;
        let backbone = Backbone::load(gpu, network, tensors, options)?;
        let read = Arc::new(A::reader(&network.card, backbone.picture_shapes()));
        Ok(Self { backbone, read })
    }

    /// Resizes and crops a picture now, so that this can happen on another thread than [`Self::submit`]. Textures and
    /// prepared pictures stay as they are.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier, paths: &[&str]) -> Result<(), resnet_rs::Error> {
    /// use rayon::prelude::*;
    /// use resnet_rs::Picture;
    ///
    /// let prepared = paths.par_iter().map(|path| net.prepare(Picture::open(path)?)).collect::<Result<Vec<_>, _>>()?;
    /// let predictions = net.classify_all(prepared)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A picture without pixels, or one that was prepared for a network of another size or crop.
    pub fn prepare<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Picture<'static>, Error> {
        self.backbone.prepare(picture.into())
    }

    /// Hands a picture over and returns while the GPU works on it. If two batches are under way it first waits for the
    /// older one, so that fast submissions do not fill the memory.
    ///
    /// ```no_run
    /// # async fn example(net: &resnet_rs::Classifier, frame: resnet_rs::Frame) -> Result<(), resnet_rs::Error> {
    /// let pending = net.submit(frame)?;
    /// // ... whatever else is to be done ...
    /// println!("{:?}", pending.await?.top(1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A picture without pixels or prepared for a network of another size or crop, a texture that cannot be read, or a
    /// device that fails.
    pub fn submit<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Pending<A>, Error> {
        Ok(self.submit_all([picture])?.map(|mut one| one.swap_remove(0)))
    }

    /// [`Self::submit`] for several pictures, [`Self::batch`] of them at a time.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Features, pictures: [image::RgbImage; 2]) -> Result<(), resnet_rs::Error> {
    /// let pending = net.submit_all(&pictures)?;
    /// // ... whatever else is to be done ...
    /// assert_eq!(pending.wait()?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::submit`].
    pub fn submit_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Pending<Vec<A>>, Error> {
        let (pictures, read) = (pictures.into_iter().map(Into::into).collect::<Vec<_>>(), self.read.clone());
        self.backbone.submit(&pictures, move |seen| read(seen))
    }
}

impl<A: FromHead> Predictor<A> {
    /// The network's outputs for standardised pictures, `[N, 3, H, W]` in PyTorch's order, row by row: what
    /// torchvision's and timm's models return for the same tensor. Each new shape needs a network of its own; the last
    /// one is kept.
    ///
    /// | Network | Outputs |
    /// |---|---|
    /// | classifier | `logits` `[N, K]` for K classes |
    /// | detector | `logits` `[N, A, K]` and `boxes` `[N, A, 4]` for A anchors; see [`crate::boxes`] |
    /// | segmentation | `logits` `[N, K, H, W]` |
    /// | depth | `depth` `[N, 1, H / 2, W / 2]`, metres |
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Segmenter, nchw: &[f32]) -> Result<(), resnet_rs::Error> {
    /// let logits = &net.outputs(nchw, [1, 3, 520, 520])?["logits"];
    /// assert_eq!(logits.shape, [1, net.card().config.classes, 520, 520]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the shape is not of this form, `nchw` has another number of elements, the pictures are too small for the
    /// network, or the device fails.
    pub fn outputs(&self, nchw: &[f32], shape: [usize; 4]) -> Result<BTreeMap<String, HostTensor>, Error> {
        self.backbone.outputs(nchw, shape)
    }
}

impl<A> Predictor<A> {
    /// The network and its pre-processing.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier) {
    /// let card = net.card();
    /// println!("{} classes at {} px: {:?}", card.config.classes, card.res, card.classes.first());
    /// # }
    /// ```
    pub fn card(&self) -> &ModelCard {
        self.backbone.card()
    }

    /// Pictures answered at a time, [`InferenceOptions::batch`].
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier, pictures: &[image::RgbImage]) -> Result<(), resnet_rs::Error> {
    /// for group in pictures.chunks(net.batch()) {
    ///     println!("{} more", net.classify_all(group)?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch(&self) -> usize {
        self.backbone.batch()
    }
}

impl<A> fmt::Debug for Predictor<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predictor").field("config", &self.card().config).finish_non_exhaustive()
    }
}
