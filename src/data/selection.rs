//! The pictures that a run began with, found again among those that are there now.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Error, Sample, Source};

/// What has become of a run's pictures since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pictures that are gone.
    pub gone: Vec<String>,
    /// How many are new, and no part of the run.
    pub new: usize,
}

/// The pictures of a source as they were when they had these names: those that are gone cannot be read, and those that
/// are new are left out. So an epoch is as long as it was, and what is unchanged keeps its place.
pub fn as_before(source: Arc<dyn Source>, then: Vec<String>) -> (Arc<dyn Source>, Changes) {
    let now = source.names().unwrap_or_default();
    if then == now {
        return (source, Changes::default());
    }
    // Names that are equal, since what is no Unicode cannot be told apart, are taken in turn.
    let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(now.len());
    for (index, name) in now.iter().enumerate().rev() {
        places.entry(name).or_default().push(index);
    }
    let at: Vec<Option<usize>> = then.iter().map(|name| places.get_mut(name.as_str()).and_then(Vec::pop)).collect();
    let gone: Vec<String> = then.iter().zip(&at).filter(|(_, at)| at.is_none()).map(|(name, _)| name.clone()).collect();
    let changes = Changes { new: now.len() - (at.len() - gone.len()), gone };
    (Arc::new(Selection { source, at, names: then }), changes)
}

/// Pictures of a source, in an order of their own.
struct Selection {
    source: Arc<dyn Source>,
    /// The number of each in the source, if it is there.
    at: Vec<Option<usize>>,
    names: Vec<String>,
}

impl Source for Selection {
    fn len(&self) -> usize {
        self.at.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let gone = || Error::Gone { name: self.name(index) };
        self.source.sample(self.at[index].ok_or_else(gone)?)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(self.at[index]?)
    }

    fn name(&self, index: usize) -> String {
        self.names[index].clone()
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.names.clone())
    }

    fn are_files(&self) -> bool {
        self.source.are_files()
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        self.source.bytes(self.at[index]?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Truth;
    use super::*;

    /// Pictures whose names are these.
    struct Named(Vec<String>);

    impl Source for Named {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn sample(&self, index: usize) -> Result<Sample, Error> {
            Ok(Sample {
                image: image::RgbImage::new(1, 1),
                truth: Truth::Class(u32::from(self.0[index].as_bytes()[0])),
            })
        }

        fn names(&self) -> Option<Vec<String>> {
            Some(self.0.clone())
        }
    }

    fn named(names: &str) -> Arc<Named> {
        Arc::new(Named(names.split_whitespace().map(str::to_owned).collect()))
    }

    #[test]
    fn what_is_unchanged_keeps_its_place() {
        let then = named("a b c d e f");
        let (source, changes) = as_before(named("0 a c e f g"), then.names().unwrap());
        assert_eq!(changes, Changes { gone: vec!["b".into(), "d".into()], new: 2 });
        let seen: Vec<Option<char>> =
            (0..6).map(|at| source.sample(at).ok().and_then(|sample| char::from_u32(sample.truth.class()?))).collect();
        assert_eq!(seen, [Some('a'), None, Some('c'), None, Some('e'), Some('f')]);
        assert_eq!(source.order(3, 1), then.order(3, 1));
        assert_eq!(source.names(), then.names());

        let (source, changes) = as_before(then.clone(), then.names().unwrap());
        assert_eq!((changes, source.len()), (Changes::default(), 6));
    }
}
