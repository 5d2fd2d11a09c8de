//! Finds the pictures that a run began with among those of today.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Error, Sample, Source, Truth};

/// How a run's pictures have changed since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pictures that are gone.
    pub gone: Vec<String>,
    /// Number of new pictures, which the run does not use.
    pub new: usize,
}

/// The pictures of a source in the order of the names `then`. Missing ones cannot be read, and new ones are left out.
/// So an epoch keeps its length, and unchanged pictures keep their places.
pub fn as_before(source: Arc<dyn Source>, then: Vec<String>) -> (Arc<dyn Source>, Changes) {
    let now = source.names().unwrap_or_default();
    if then == now {
        return (source, Changes::default());
    }
    // Names that are not Unicode may look equal; such pictures are matched in order.
    let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(now.len());
    for (index, name) in now.iter().enumerate().rev() {
        places.entry(name).or_default().push(index);
    }
    let at: Vec<Option<usize>> = then.iter().map(|name| places.get_mut(name.as_str()).and_then(Vec::pop)).collect();
    let gone: Vec<String> = then.iter().zip(&at).filter(|(_, at)| at.is_none()).map(|(name, _)| name.clone()).collect();
    let changes = Changes { new: now.len() - (at.len() - gone.len()), gone };
    (Arc::new(Selection { source, at, names: then }), changes)
}

/// Pictures of a source in another order.
struct Selection {
    source: Arc<dyn Source>,
    /// The index of each in the source, if it is there.
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

    fn truth(&self, index: usize, size: [u32; 2]) -> Option<Result<Truth, Error>> {
        self.source.truth(self.at[index]?, size)
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
    use super::*;

    /// Pictures with these names.
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
