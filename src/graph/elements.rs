//! Elements of a tensor in the program's memory.

use std::borrow::Cow;
use std::ops::Range;

/// Logical elements of a tensor, row-major, as they are fed to an input or read from an output. Elements of f16 tensors
/// are passed as f32.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements<'a> {
    /// Of a tensor of floats.
    F32(Cow<'a, [f32]>),
    /// Of a tensor of u32.
    U32(Cow<'a, [u32]>),
}

impl<'a> From<&'a [f32]> for Elements<'a> {
    fn from(elements: &'a [f32]) -> Self {
        Self::F32(elements.into())
    }
}

impl<'a> From<&'a [u32]> for Elements<'a> {
    fn from(elements: &'a [u32]) -> Self {
        Self::U32(elements.into())
    }
}

impl From<Vec<f32>> for Elements<'_> {
    fn from(elements: Vec<f32>) -> Self {
        Self::F32(elements.into())
    }
}

impl From<Vec<u32>> for Elements<'_> {
    fn from(elements: Vec<u32>) -> Self {
        Self::U32(elements.into())
    }
}

impl Elements<'_> {
    /// The elements of a tensor of floats.
    ///
    /// # Panics
    /// If they are u32.
    pub fn floats(&self) -> &[f32] {
        match self {
            Self::F32(elements) => elements,
            Self::U32(_) => panic!("these are the elements of a tensor of u32"),
        }
    }

    /// The elements of a tensor of u32.
    ///
    /// # Panics
    /// If they are floats.
    pub fn words(&self) -> &[u32] {
        match self {
            Self::U32(elements) => elements,
            Self::F32(_) => panic!("these are the elements of a tensor of floats"),
        }
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "a tensor is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::U32(elements) => elements.len(),
        }
    }

    /// Borrows a part of the elements.
    ///
    /// # Panics
    /// If it reaches beyond them.
    pub fn part(&self, range: Range<usize>) -> Elements<'_> {
        match self {
            Self::F32(elements) => elements[range].into(),
            Self::U32(elements) => elements[range].into(),
        }
    }

    /// Borrows the elements.
    pub fn as_ref(&self) -> Elements<'_> {
        match self {
            Self::F32(elements) => Elements::F32(Cow::Borrowed(elements)),
            Self::U32(elements) => Elements::U32(Cow::Borrowed(elements)),
        }
    }
}
