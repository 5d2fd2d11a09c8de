//! The depth of each pixel.

use std::sync::Arc;

use crate::backbone::Seen;
use crate::data::DepthMap;
use crate::inference::Answer;
use crate::models::{Head, Purpose, depth_of_pixels};
use crate::predictor::{FromHead, FromOutputs, Predictor};
use crate::weights::ModelCard;
use crate::{Error, Picture};

/// A trained network that tells the depth of each pixel.
///
/// ```no_run
/// use resnet_rs::{DepthEstimator, Gpu, GpuOptions};
///
/// let net = DepthEstimator::load(&Gpu::new(&GpuOptions::default())?, "run/best.safetensors")?;
/// let depths = net.estimate(resnet_rs::Picture::open("room.jpg")?)?;
/// if let Some([nearest, farthest]) = depths.range() {
///     println!("{nearest:.2} m to {farthest:.2} m");
/// }
/// # Ok::<(), resnet_rs::Error>(())
/// ```
pub type DepthEstimator = Predictor<Depths>;

/// The depth of each pixel of a picture.
///
/// ```no_run
/// # fn example(depths: &resnet_rs::Depths) {
/// let (width, height) = depths.metres.dimensions();
/// println!("the middle is {:.2} m away", depths.metres.get_pixel(width / 2, height / 2)[0]);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Depths {
    /// Of the picture's size: the distance from the camera's plane, metres; 0 where the network did not see the pixel,
    /// since the picture was cropped.
    pub metres: DepthMap,
}

impl DepthEstimator {
    /// Tells the depth of each pixel of a picture of any size.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::DepthEstimator) -> Result<(), resnet_rs::Error> {
    /// let metres = net.estimate(resnet_rs::Picture::open("room.jpg")?)?.metres;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::submit`], and a device that fails meanwhile.
    pub fn estimate<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Depths, Error> {
        self.submit(picture)?.wait()
    }
}

impl Depths {
    /// The smallest and the largest depth, metres; `None` if the network saw no pixel.
    ///
    /// ```no_run
    /// # fn example(depths: &resnet_rs::Depths) {
    /// let is_near = depths.range().is_some_and(|[nearest, _]| nearest < 0.5);
    /// # }
    /// ```
    pub fn range(&self) -> Option<[f32; 2]> {
        let known = self.metres.iter().copied().filter(|&metres| metres > 0.0);
        known.fold(None, |range, metres| {
            let [nearest, farthest] = range.unwrap_or([metres; 2]);
            Some([nearest.min(metres), farthest.max(metres)])
        })
    }
}

impl FromHead for Depths {}

impl FromOutputs for Depths {
    /// The depths at the input's size, resized on the device as in training.
    fn tensors(head: &Head) -> Option<Answer> {
        (head.purpose() == Purpose::Depth)
            .then(|| Answer::Made(Arc::new(|graph, outputs| Ok(vec![depth_of_pixels(graph, outputs)?]))))
    }

    fn reader(card: &ModelCard, _shapes: Vec<Vec<usize>>) -> impl Fn(&Seen<'_>) -> Self + Send + Sync + 'static {
        let side = card.res;
        move |seen| {
            let of_input = DepthMap::from_raw(side, side, seen.outputs[0].floats().to_vec());
            let of_input = of_input.unwrap_or_else(|| unreachable!("a depth for each of the input's pixels"));
            Self { metres: seen.geometry.depth_to_picture(&of_input, seen.size) }
        }
    }
}
