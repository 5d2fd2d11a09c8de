//! What is known about a picture, and the targets that a network learns.

use image::GrayImage;

use super::{DepthMap, Error, Geometry};
use crate::boxes::Object;
use crate::graph::Elements;
use crate::models::Purpose;

/// What is known about a picture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Truth {
    /// Nothing. The padding of a batch is unknown too.
    Unknown,
    /// Its class, an index into [`super::Dataset::classes`].
    Class(u32),
    /// The objects in it.
    Objects(Vec<Object>),
    /// The class of each pixel, or [`super::IGNORED`]. It has the picture's size.
    Mask(GrayImage),
    /// The depth of each pixel. It has the picture's size.
    Depth(DepthMap),
}

/// A kind of truth that a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TruthKind {
    /// [`Truth::Class`].
    Class,
    /// [`Truth::Objects`].
    Objects,
    /// [`Truth::Mask`].
    Mask,
    /// [`Truth::Depth`].
    Depth,
}

impl From<Purpose> for TruthKind {
    /// What a network with this purpose learns from.
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Classify => Self::Class,
            Purpose::Segment => Self::Mask,
            Purpose::Detect => Self::Objects,
            Purpose::Depth => Self::Depth,
        }
    }
}

impl TruthKind {
    /// Its name in messages: `boxes of objects`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Class => "classes of pictures",
            Self::Objects => "boxes of objects",
            Self::Mask => "masks",
            Self::Depth => "depths",
        }
    }
}

impl Truth {
    /// The class, if the truth is a class.
    pub fn class(&self) -> Option<u32> {
        match self {
            Self::Class(class) => Some(*class),
            _ => None,
        }
    }
}

/// How a batch of N pictures was mixed: picture `i` with picture `N - 1 - i`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    /// The share of each picture that is its own, from 0 to 1; the rest comes from its partner.
    pub share: f32,
}

/// The targets of a batch: elements for inputs of the network's graph, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets(Vec<(&'static str, Elements<'static>)>);

impl Targets {
    /// Targets from pairs of an input's name and its elements.
    pub fn new(targets: Vec<(&'static str, Elements<'static>)>) -> Self {
        Self(targets)
    }

    /// Each target with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Elements<'_>)> {
        self.0.iter().map(|(name, elements)| (*name, elements.as_ref()))
    }
}

/// Turns truths into targets, on the threads that load pictures.
pub trait Encode: Send + Sync {
    /// The targets for a batch's truths; [`Truth::Unknown`] pads a short batch in an evaluation. `views` holds the
    /// geometry of each picture, `mixed` how the pictures were mixed, if they were.
    ///
    /// # Errors
    /// A truth of a kind that this task does not use.
    fn encode(&self, truths: &[Truth], views: &[Geometry], mixed: Option<Mixed>) -> Result<Targets, Error>;
}
