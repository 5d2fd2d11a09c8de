//! Which objects a picture shows, and where.

use std::sync::Arc;

use serde::Serialize;

use crate::backbone::Seen;
use crate::boxes::{Anchors, Bounds, Detection, Selection};
use crate::classifier::label;
use crate::graph::Elements;
use crate::inference::Answer;
use crate::models::{Head, Purpose};
use crate::predictor::{FromHead, FromOutputs, Predictor};
use crate::weights::ModelCard;
use crate::{Error, Picture};

/// A trained network that finds objects in pictures.
///
/// ```no_run
/// use resnet_rs::{Detector, Gpu, GpuOptions};
///
/// let net = Detector::load(&Gpu::new(&GpuOptions::default())?, "run/best.safetensors")?;
/// for found in net.detect(resnet_rs::Picture::open("street.jpg")?)?.above(0.5) {
///     println!("{:.2} {} at {:?}", found.score, found.label, found.bounds);
/// }
/// # Ok::<(), resnet_rs::Error>(())
/// ```
pub type Detector = Predictor<Detections>;

/// The objects found in a picture.
///
/// ```no_run
/// # fn example(detections: &resnet_rs::Detections) {
/// let people = detections.above(0.5).iter().filter(|found| found.label == "person").count();
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Detections {
    /// The objects, highest score first; by default all with a score above 0.05.
    pub objects: Vec<Found>,
}

/// One object of [`Detections`].
///
/// ```no_run
/// # fn example(found: &resnet_rs::Found) {
/// let [left, top, right, bottom] = found.bounds;
/// println!("{} of {:.0} x {:.0} px", found.label, right - left, bottom - top);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// Index of the class in the card's names. 0 is the background, which is never found.
    pub class: usize,
    /// Name of the class, or its index if the names are unknown.
    pub label: String,
    /// How sure the network is, 0 to 1.
    pub score: f32,
    /// Left, top, right and bottom edge in pixels of the picture.
    #[serde(rename = "box")]
    pub bounds: Bounds,
}

impl Detector {
    /// Finds the objects in a picture of any size.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Detector) -> Result<(), resnet_rs::Error> {
    /// let detections = net.detect(resnet_rs::Picture::open("street.jpg")?)?;
    /// println!("{} objects", detections.above(0.5).len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::submit`], and a device that fails meanwhile.
    pub fn detect<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Detections, Error> {
        self.submit(picture)?.wait()
    }

    /// The same network with another choice among the predicted boxes than torchvision's, for example with boxes of
    /// lower scores.
    ///
    /// ```no_run
    /// use resnet_rs::boxes::Selection;
    /// use resnet_rs::{Detector, Gpu, GpuOptions};
    ///
    /// let net = Detector::load(&Gpu::new(&GpuOptions::default())?, "run/best.safetensors")?;
    /// let net = net.with_selection(Selection { overlap: 0.6, most: 20, ..Selection::default() });
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    #[must_use]
    pub fn with_selection(self, selection: Selection) -> Self {
        let read = Arc::new(reader(self.card(), selection));
        Self { read, ..self }
    }
}

impl Detections {
    /// The objects with a score of at least this, highest first. It cannot bring back what the network's
    /// [`Selection`] dropped: by default scores up to 0.05.
    ///
    /// ```no_run
    /// # fn example(detections: &resnet_rs::Detections) {
    /// let (sure, all) = (detections.above(0.7), &detections.objects);
    /// println!("{} of {} are sure", sure.len(), all.len());
    /// # }
    /// ```
    pub fn above(&self, score: f32) -> &[Found] {
        &self.objects[..self.objects.partition_point(|found| found.score >= score)]
    }
}

impl FromHead for Detections {}

impl FromOutputs for Detections {
    fn tensors(head: &Head) -> Option<Answer> {
        (head.purpose() == Purpose::Detect).then_some(Answer::Outputs)
    }

    fn reader(card: &ModelCard, _shapes: Vec<Vec<usize>>) -> impl Fn(&Seen<'_>) -> Self + Send + Sync + 'static {
        reader(card, Selection::default())
    }
}

fn reader(card: &ModelCard, selection: Selection) -> impl Fn(&Seen<'_>) -> Detections + Send + Sync + 'static {
    let (input, names) = ([card.res as usize; 2], card.classes.clone());
    let anchors = Anchors::of_picture(input);
    move |Seen { outputs, geometry, size }| {
        // The logits of all levels, then the boxes of all levels.
        let joined = |levels: &[_]| levels.iter().flat_map(Elements::floats).copied().collect::<Vec<f32>>();
        let (logits, deltas) = outputs.split_at(outputs.len() / 2);
        let found = selection.detections(&joined(logits), &joined(deltas), &anchors, input);
        let object = |found: Detection| {
            let Detection { class, score, bounds } = found.in_picture(geometry, *size)?;
            let class = class as usize;
            Some(Found { class, label: label(&names, class), score, bounds })
        };
        Detections { objects: found.into_iter().filter_map(object).collect() }
    }
}
