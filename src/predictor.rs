//! The front door for applications: load weights once, hand pictures over, have answers.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::backbone::Backbone;
use crate::gpu::Gpu;
use crate::inference::Answer;
use crate::weights::{ModelCard, TrainedNetwork};
use crate::{Error, InferenceOptions, Pending, Picture};

/// A trained network with its pre-processing, which answers a picture with an `A`: a [`Classifier`](crate::Classifier) with a
/// [`Prediction`](crate::Prediction), [`Features`](crate::Features) with five [`FeatureMap`](crate::FeatureMap)s. Threads may share it.
///
/// Pictures are resized, cropped and standardised as timm does for this variant: those in memory on the CPU, in the thread that hands them
/// over; textures on the GPU.
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
    read: Arc<Reader<A>>,
}

/// Makes an answer of a network's outputs for one picture.
type Reader<A> = dyn Fn(&[&[f32]]) -> A + Send + Sync;

/// What a predictor may answer a picture with. Sealed: nobody else can name it.
pub trait FromOutputs: Sized + Send + 'static {
    /// What the network is asked for.
    const OUTPUTS: Answer;

    /// What makes an answer of a picture's outputs, whose shapes are these.
    fn reader(card: &ModelCard, shapes: Vec<Vec<usize>>) -> impl Fn(&[&[f32]]) -> Self + Send + Sync + 'static;
}

impl<A: FromOutputs> Predictor<A> {
    /// Loads a safetensors file under timm's names, as timm or this program wrote it. The variant is recognised from the
    /// tensors. Weights that the answers do not need, as [`Features`](crate::Features) need none of the classes', do not go onto the device.
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
    /// If the file cannot be read, belongs to no network of this crate's, or the network does not fit the device.
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
        let backbone = Backbone::load(gpu, network, A::OUTPUTS, options)?;
        let read = Arc::new(A::reader(&network.card, backbone.picture_shapes()));
        Ok(Self { backbone, read })
    }

    /// Resizes and crops a picture now, for whoever does that in other threads than those that hand pictures over. Textures, and what is
    /// prepared already, stay as they are.
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

    /// Hands a picture over and returns while the GPU works on it. With two batches under way it first waits for the older of them, so that
    /// whoever submits faster than the GPU answers does not fill its memory.
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
    /// A picture without pixels or prepared for a network of another size or crop, a texture that cannot be read, or a device that fails.
    pub fn submit<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Pending<A>, Error> {
        Ok(self.submit_all([picture])?.map(|mut one| one.swap_remove(0)))
    }

    /// The same for several pictures, as many at a time as [`Self::batch`] says.
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
    /// As [`Self::submit`].
    pub fn submit_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Pending<Vec<A>>, Error> {
        let (pictures, read) = (pictures.into_iter().map(Into::into).collect::<Vec<_>>(), self.read.clone());
        self.backbone.submit(&pictures, move |outputs| read(outputs))
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
