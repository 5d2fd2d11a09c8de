//! What each pixel of a picture shows.

use std::sync::Arc;

use image::GrayImage;
use serde::Serialize;

use crate::backbone::Seen;
use crate::classifier::label;
use crate::data::{ClassMap, IGNORED};
use crate::graph::op::Argmax;
use crate::inference::Answer;
use crate::models::{self, Head, Purpose};
use crate::predictor::{FromHead, FromOutputs, Predictor};
use crate::weights::ModelCard;
use crate::{Error, Picture};

/// A trained network that tells the class of each pixel.
///
/// ```no_run
/// use resnet_rs::{Gpu, GpuOptions, Segmenter};
///
/// let net = Segmenter::load(&Gpu::new(&GpuOptions::default())?, "run/best.safetensors")?;
/// for class in net.segment(resnet_rs::Picture::open("street.jpg")?)?.shares() {
///     println!("{:5.1} % {}", 100.0 * class.share, class.label);
/// }
/// # Ok::<(), resnet_rs::Error>(())
/// ```
pub type Segmenter = Predictor<Segmentation>;

/// The class of each pixel of a picture.
///
/// ```no_run
/// # fn example(segmentation: &resnet_rs::Segmentation) {
/// let (width, height) = segmentation.classes.dimensions();
/// println!("the middle shows {:?}", segmentation.label(segmentation.classes.get_pixel(width / 2, height / 2)[0]));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Segmentation {
    /// Of the picture's size: the likeliest class of each pixel, an index into the card's names, or
    /// [`Self::UNSEEN`].
    pub classes: ClassMap,
    names: Arc<[String]>,
}

/// How much of a picture a class covers, from [`Segmentation::shares`].
///
/// ```no_run
/// # fn example(class: &resnet_rs::ClassShare) {
/// println!("{:5.1} % {} (class {})", 100.0 * class.share, class.label, class.class);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassShare {
    /// Index of the class.
    pub class: usize,
    /// Name of the class, or its index if the names are unknown.
    pub label: String,
    /// Its share of the picture's pixels, 0 to 1.
    pub share: f64,
}

impl Segmenter {
    /// Tells the class of each pixel of a picture of any size.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Segmenter) -> Result<(), resnet_rs::Error> {
    /// let picture = resnet_rs::Picture::open("street.jpg")?;
    /// let mask = net.segment(picture)?.mask(); // as grey values
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::submit`], and a device that fails meanwhile.
    pub fn segment<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Segmentation, Error> {
        self.submit(picture)?.wait()
    }
}

impl Segmentation {
    /// In the place of a class: the network did not see the pixel, since the picture was cropped.
    pub const UNSEEN: u16 = u16::MAX;

    /// Name of a class, or its index if the names are unknown; `None` for [`Self::UNSEEN`].
    ///
    /// ```no_run
    /// # fn example(segmentation: &resnet_rs::Segmentation) {
    /// let corner = segmentation.label(segmentation.classes.get_pixel(0, 0)[0]);
    /// # }
    /// ```
    pub fn label(&self, class: u16) -> Option<String> {
        (class != Self::UNSEEN).then(|| label(&self.names, class.into()))
    }

    /// The classes that occur, largest first. Unseen pixels count as pixels of the picture, but not as a class.
    ///
    /// ```no_run
    /// # fn example(segmentation: &resnet_rs::Segmentation) {
    /// let sky = segmentation.shares().into_iter().find(|class| class.label == "sky").map_or(0.0, |class| class.share);
    /// # }
    /// ```
    pub fn shares(&self) -> Vec<ClassShare> {
        let mut counts = vec![0u64; usize::from(Self::UNSEEN)];
        for class in self.classes.iter().filter(|&&class| class != Self::UNSEEN) {
            counts[usize::from(*class)] += 1;
        }
        let pixels = self.classes.len() as f64;
        let share = |(class, count): (usize, u64)| ClassShare {
            class,
            label: label(&self.names, class),
            share: count as f64 / pixels,
        };
        let mut shares: Vec<ClassShare> =
            counts.into_iter().enumerate().filter(|(_, count)| *count > 0).map(share).collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        shares
    }

    /// The classes as 8-bit grey values, 255 where a pixel is unseen: what data sets call a mask. `None` if there are
    /// classes from 255 on.
    ///
    /// ```no_run
    /// # fn example(segmentation: &resnet_rs::Segmentation) {
    /// let grey = segmentation.mask().expect("a network of few classes");
    /// # }
    /// ```
    pub fn mask(&self) -> Option<GrayImage> {
        let byte = |&class: &u16| match class {
            Self::UNSEEN => Some(IGNORED),
            class => u8::try_from(class).ok().filter(|&class| class != IGNORED),
        };
        let (width, height) = self.classes.dimensions();
        GrayImage::from_raw(width, height, self.classes.iter().map(byte).collect::<Option<_>>()?)
    }
}

impl FromHead for Segmentation {}

impl FromOutputs for Segmentation {
    /// The likeliest classes, found on the device: a number a pixel to read instead of one a class.
    fn tensors(head: &Head) -> Option<Answer> {
        (head.purpose() == Purpose::Segment).then(|| {
            Answer::Made(Arc::new(|graph, outputs| {
                let logits = models::output(outputs, "logits")?;
                Ok(vec![graph.apply1("predicted", Argmax, &[logits])?])
            }))
        })
    }

    fn reader(card: &ModelCard, _shapes: Vec<Vec<usize>>) -> impl Fn(&Seen<'_>) -> Self + Send + Sync + 'static {
        let (side, names): (_, Arc<[String]>) = (card.res, card.classes.clone().into());
        move |seen| {
            let classes = seen.outputs[0].words().iter().map(|&class| class as u16).collect();
            let of_input = ClassMap::from_raw(side, side, classes);
            let of_input = of_input.unwrap_or_else(|| unreachable!("a class for each of the input's pixels"));
            let classes = seen.geometry.classes_to_picture(&of_input, seen.size, Self::UNSEEN);
            Self { classes, names: names.clone() }
        }
    }
}
