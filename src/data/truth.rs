//! What is known of a picture, and what a network is to learn of it.

use super::{Error, Geometry};
use crate::graph::Elements;

/// What is known of a picture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Truth {
    /// Its class, an index into [`super::Dataset::classes`].
    Class(u32),
}

impl Truth {
    /// The class, if that is what is known.
    pub fn class(&self) -> Option<u32> {
        match self {
            Self::Class(class) => Some(*class),
        }
    }
}

/// How the pictures of a batch were mixed: each with the one in its place from the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    /// How much of each picture is its own, from 0 to 1; the rest is the other's.
    pub share: f32,
}

/// What a network learns of a batch: elements for inputs of its graph, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets(Vec<(&'static str, Elements<'static>)>);

impl Targets {
    /// Elements by the names of the inputs.
    pub fn new(targets: Vec<(&'static str, Elements<'static>)>) -> Self {
        Self(targets)
    }

    /// Each target with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Elements<'_>)> {
        self.0.iter().map(|(name, elements)| (*name, elements.as_ref()))
    }
}

/// Makes targets of truths, in the threads that load pictures.
pub trait Encode: Send + Sync {
    /// The targets of a batch's truths. `views` says of each picture where its points have come to lie, `mixed` how the
    /// pictures were mixed, if they were.
    ///
    /// # Errors
    /// A truth of another kind.
    fn encode(&self, truths: &[Truth], views: &[Geometry], mixed: Option<Mixed>) -> Result<Targets, Error>;
}
