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

/// The pictures of a source as they were when there were `count` of them, with these names if they have any: those that are gone cannot be
/// read, and those that are new are left out. So an epoch is as long as it was, and what is unchanged keeps its place.
pub fn as_before(source: Arc<dyn Source>, names: Option<&[String]>, count: usize) -> (Arc<dyn Source>, Changes) {
    let names_now = names.and_then(|_| source.names());
    let at: Vec<Option<usize>> = match (names, &names_now) {
        (Some(then), Some(now)) => {
            // Names that are equal, since what is no Unicode cannot be told apart, are taken in turn.
            let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(now.len());
            for (index, name) in now.iter().enumerate().rev() {
                places.entry(name).or_default().push(index);
            }
            then.iter().map(|name| places.get_mut(name.as_str()).and_then(Vec::pop)).collect()
        }
        _ => (0..count).map(|index| (index < source.len()).then_some(index)).collect(),
    };
    let name =
        |index: usize| names.and_then(|names| names.get(index).cloned()).unwrap_or_else(|| format!("picture {index}"));
    let gone: Vec<String> = (0..at.len()).filter(|&index| at[index].is_none()).map(name).collect();
    let changes = Changes { new: source.len() - (at.len() - gone.len()), gone };
    if changes == Changes::default() && at.iter().enumerate().all(|(index, at)| *at == Some(index)) {
        return (source, changes);
    }
    let names = names.map(<[String]>::to_vec);
    (Arc::new(Selection { source, at, names }), changes)
}

/// Pictures of a source, in an order of their own.
struct Selection {
    source: Arc<dyn Source>,
    /// The number of each in the source, if it is there.
    at: Vec<Option<usize>>,
    names: Option<Vec<String>>,
}

impl Source for Selection {
    fn len(&self) -> usize {
        self.at.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let gone = || Error::Picture { path: self.name(index).into(), problem: "it is gone".to_owned() };
        self.source.sample(self.at[index].ok_or_else(gone)?)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(self.at[index]?)
    }

    fn name(&self, index: usize) -> String {
        match (&self.names, self.at[index]) {
            (Some(names), _) => names[index].clone(),
            (None, Some(at)) => self.source.name(at),
            (None, None) => format!("picture {index}"),
        }
    }

    fn names(&self) -> Option<Vec<String>> {
        self.names.clone()
    }

    fn are_files(&self) -> bool {
        self.source.are_files()
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        self.source.bytes(self.at[index]?)
    }

    /// With names, as if all were there. Without, the source's own order, and then what is gone.
    fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        if self.names.is_some() {
            return super::order::shuffled(self.len(), &mut super::random::shuffling(seed, epoch));
        }
        let mut order = self.source.order(seed, epoch);
        order.retain(|&index| index < self.len());
        order.extend(self.source.len()..self.len());
        order
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Pictures whose names are these.
    struct Named(Vec<String>);

    impl Source for Named {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn sample(&self, index: usize) -> Result<Sample, Error> {
            Ok(Sample { image: image::RgbImage::new(1, 1), label: u32::from(self.0[index].as_bytes()[0]) })
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
        let (source, changes) = as_before(named("0 a c e f g"), then.names().as_deref(), 6);
        assert_eq!(changes, Changes { gone: vec!["b".into(), "d".into()], new: 2 });
        let seen: Vec<Option<char>> =
            (0..6).map(|at| source.sample(at).ok().and_then(|sample| char::from_u32(sample.label))).collect();
        assert_eq!(seen, [Some('a'), None, Some('c'), None, Some('e'), Some('f')]);
        assert_eq!(source.order(3, 1), then.order(3, 1));
        assert_eq!(source.names(), then.names());

        let (source, changes) = as_before(then.clone(), then.names().as_deref(), 6);
        assert_eq!((changes, source.len()), (Changes::default(), 6));
    }

    #[test]
    fn without_names_the_last_ones_count_as_gone_or_new() {
        for (now, gone, new) in [("a b c", vec!["picture 3", "picture 4"], 0), ("a b c d e f g", vec![], 2)] {
            let (source, changes) = as_before(named(now), None, 5);
            assert_eq!(
                (&changes.gone[..], changes.new, source.len()),
                (&gone.iter().map(|g| g.to_string()).collect::<Vec<_>>()[..], new, 5)
            );
            let mut order = source.order(0, 0);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
    }
}
