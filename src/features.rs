//! Feature maps of a network, for those who build on a backbone.

use crate::backbone::Seen;
use crate::inference::Answer;
use crate::models::Head;
use crate::predictor::{FromOutputs, Predictor};
use crate::weights::ModelCard;
use crate::{Error, Picture};

/// A trained network up to its last map, whatever it was trained for. It returns five maps of every picture, of strides
/// 2, 4, 8, 16 and 32, as timm's `features_only` does. Where a network for segmentation has an output stride of 16 or
/// 8, the coarser maps have that stride.
///
/// ```no_run
/// use resnet_rs::{Features, Gpu, GpuOptions};
///
/// let backbone = Features::load(&Gpu::new(&GpuOptions::default())?, "resnetrs50.safetensors")?;
/// let [stem, .., last] = backbone.extract(resnet_rs::Picture::open("street.jpg")?)?;
/// assert_eq!((stem.stride, last.stride), (2, 32));
/// # Ok::<(), resnet_rs::Error>(())
/// ```
pub type Features = Predictor<[FeatureMap; 5]>;

/// One map of a picture.
///
/// ```no_run
/// # fn example(map: &resnet_rs::FeatureMap) {
/// let [rows, columns, channels] = map.shape;
/// let centre = &map.data[(rows / 2 * columns + columns / 2) * channels..][..channels];
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FeatureMap {
    /// Distance between neighbouring elements, in pixels of the network's input.
    pub stride: usize,
    /// Rows, columns and channels.
    pub shape: [usize; 3],
    /// The elements, row-major: an element's channels lie side by side.
    pub data: Vec<f32>,
}

impl Features {
    /// The five maps of a picture of any size, finest first.
    ///
    /// ```no_run
    /// let gpu = resnet_rs::Gpu::new(&resnet_rs::GpuOptions::default())?;
    /// let backbone = resnet_rs::Features::load(&gpu, "resnetrs50.safetensors")?;
    /// for map in backbone.extract(resnet_rs::Picture::open("street.jpg")?)? {
    ///     println!("stride {}: {:?}", map.stride, map.shape);
    /// }
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::submit`], and a device that fails meanwhile.
    pub fn extract<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<[FeatureMap; 5], Error> {
        self.submit(picture)?.wait()
    }

    /// The five maps of each of several pictures, computed [`Self::batch`] pictures at a time.
    ///
    /// ```no_run
    /// # fn example(backbone: &resnet_rs::Features) -> Result<(), resnet_rs::Error> {
    /// use resnet_rs::Picture;
    ///
    /// let pictures = [Picture::open("street.jpg")?, Picture::open("square.jpg")?];
    /// for [.., coarsest] in backbone.extract_all(pictures)? {
    ///     println!("{:?}", coarsest.shape);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::extract`].
    pub fn extract_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Vec<[FeatureMap; 5]>, Error> {
        self.submit_all(pictures)?.wait()
    }
}

impl FromOutputs for [FeatureMap; 5] {
    fn tensors(_head: &Head) -> Option<Answer> {
        Some(Answer::Levels)
    }

    fn reader(card: &ModelCard, shapes: Vec<Vec<usize>>) -> impl Fn(&Seen<'_>) -> Self + Send + Sync + 'static {
        let output_stride = card.config.output_stride;
        move |seen| {
            std::array::from_fn(|level| FeatureMap {
                stride: (2 << level).min(output_stride),
                shape: [0, 1, 2].map(|axis| shapes[level][axis]),
                data: seen.outputs[level].floats().to_vec(),
            })
        }
    }
}
