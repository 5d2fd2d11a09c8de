//! Maps from inside a network, for those who build on a backbone.

use std::fmt;
use std::path::Path;

use crate::backbone::Backbone;
use crate::gpu::Gpu;
use crate::inference::Answer;
use crate::weights::{ModelCard, TrainedNetwork};
use crate::{Error, InferenceOptions, Pending, Picture};

/// A trained network up to its last map, with its pre-processing: five maps of every picture, of strides 2, 4, 8, 16 and 32, as timm's
/// `features_only` gives them. Threads may share it.
pub struct Features {
    backbone: Backbone,
}

/// One map of a picture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FeatureMap {
    /// Pixels of the picture, as the network sees it, from one element to the next.
    pub stride: usize,
    /// Rows, columns and channels.
    pub shape: [usize; 3],
    /// The elements, row-major: an element's channels lie side by side.
    pub data: Vec<f32>,
}

impl Features {
    /// Loads a safetensors file, as [`crate::Classifier::load`] does. The classifier's own weights are not loaded.
    ///
    /// ```no_run
    /// let gpu = resnet_rs::Gpu::new(&resnet_rs::GpuOptions::default())?;
    /// let backbone = resnet_rs::Features::load(&gpu, "resnetrs50.safetensors")?;
    /// for map in backbone.extract(&image::open("street.jpg")?)? {
    ///     println!("stride {}: {:?}", map.stride, map.shape);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, belongs to no network that this crate has, or that does not fit the device.
    pub fn load(gpu: &Gpu, path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(gpu, path, &InferenceOptions::default())
    }

    /// The same with maps and weights in f16, say, or several pictures at a time.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(gpu: &Gpu, path: impl AsRef<Path>, options: &InferenceOptions<'_>) -> Result<Self, Error> {
        Self::new(gpu, &TrainedNetwork::read(path)?, options)
    }

    /// The same with weights from the Hugging Face hub, `OWNER/NAME` or `OWNER/NAME@REVISION`, which are downloaded once and then found in its
    /// cache ([`crate::weights::hub::fetch`]).
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
    /// # Errors
    /// If the weights are not those of the card's network, the card says what cannot be, or the network does not fit the device.
    pub fn new(gpu: &Gpu, network: &TrainedNetwork, options: &InferenceOptions<'_>) -> Result<Self, Error> {
        Ok(Self { backbone: Backbone::load(gpu, network, Answer::Pyramid, options)? })
    }

    /// The network and its pre-processing.
    pub fn card(&self) -> &ModelCard {
        self.backbone.card()
    }

    /// The five maps of a picture of any size, finest first.
    ///
    /// # Errors
    /// A picture without pixels, a texture that cannot be read, or a device that fails.
    pub fn extract<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<[FeatureMap; 5], Error> {
        self.submit(picture)?.wait()
    }

    /// Those of several pictures, as many at a time as the features were made for.
    ///
    /// # Errors
    /// As [`Self::extract`].
    pub fn extract_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Vec<[FeatureMap; 5]>, Error> {
        self.submit_all(pictures)?.wait()
    }

    /// Hands a picture over and returns while the GPU works on it, as [`crate::Classifier::submit`] does.
    ///
    /// # Errors
    /// As [`Self::extract`].
    pub fn submit<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Pending<[FeatureMap; 5]>, Error> {
        Ok(self.start(&[picture.into()])?.map(|mut one| one.swap_remove(0)))
    }

    /// The same for several pictures.
    ///
    /// # Errors
    /// As [`Self::extract`].
    pub fn submit_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Pending<Vec<[FeatureMap; 5]>>, Error> {
        self.start(&pictures.into_iter().map(Into::into).collect::<Vec<_>>())
    }

    fn start(&self, pictures: &[Picture<'_>]) -> Result<Pending<Vec<[FeatureMap; 5]>>, Error> {
        let shapes = self.backbone.shapes().to_vec();
        self.backbone.submit(pictures, move |outputs, i| {
            std::array::from_fn(|level| {
                let shape = [1, 2, 3].map(|axis| shapes[level][axis]);
                let elements: usize = shape.iter().product();
                FeatureMap { stride: 2 << level, shape, data: outputs[level][i * elements..][..elements].to_vec() }
            })
        })
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Features").field("config", &self.card().config).finish_non_exhaustive()
    }
}
