//! The parameter block of a launch: the uniform at binding 0.

use std::borrow::Cow;

/// A parameter block: 32-bit words, in the order of the members of the shader's struct.
///
/// `tests/shaders.rs` compares names and types of every block with that struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Params(Vec<Word>);

/// A word of a parameter block.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Name of the struct's member.
    pub name: Cow<'static, str>,
    /// Its type and value.
    pub value: Scalar,
}

/// A 32-bit number of one of WGSL's types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `u32`.
    U32(u32),
    /// `i32`.
    I32(i32),
    /// `f32`.
    F32(f32),
}

impl Params {
    pub(crate) fn new(words: impl IntoIterator<Item = Word>) -> Self {
        Self(words.into_iter().collect())
    }

    /// The words in order.
    pub fn words(&self) -> &[Word] {
        &self.0
    }

    /// The block as the device reads it.
    pub fn bits(&self) -> Vec<u32> {
        self.0.iter().map(|word| word.value.bits()).collect()
    }

    /// This block with a first member `count` in front, which shaders that include `shared/each.wgsl` or
    /// `shared/team.wgsl` need.
    pub(super) fn counted(mut self, count: usize) -> Self {
        self.0.insert(0, Word { name: "count".into(), value: count.into() });
        self
    }

    /// This block with the words of another at its end.
    pub(super) fn and(mut self, words: Self) -> Self {
        self.0.extend(words.0);
        self
    }

    /// This block with the words of another at its end, their names followed by an index: `rate_2`.
    pub(super) fn and_each(mut self, index: usize, words: Self) -> Self {
        let indexed = |word: Word| Word { name: format!("{}_{index}", word.name).into(), ..word };
        self.0.extend(words.0.into_iter().map(indexed));
        self
    }
}

impl Scalar {
    fn bits(self) -> u32 {
        match self {
            Self::U32(value) => value,
            Self::I32(value) => value as u32,
            Self::F32(value) => value.to_bits(),
        }
    }
}

impl From<usize> for Scalar {
    fn from(value: usize) -> Self {
        Self::U32(value as u32)
    }
}

impl From<u32> for Scalar {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<f32> for Scalar {
    fn from(value: f32) -> Self {
        Self::F32(value)
    }
}

/// A parameter block from named values, in the order of the shader's struct: `words! { rows, eps: op.eps }`. A name
/// alone stands for the variable of that name.
macro_rules! words {
    ($($name:ident $(: $value:expr)?),* $(,)?) => {
        $crate::kernels::Params::new([$({
            $(let $name = $value;)?
            $crate::kernels::Word { name: stringify!($name).into(), value: $name.into() }
        }),*])
    };
}
pub(crate) use words;
