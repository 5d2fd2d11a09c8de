//! Pictures that cannot be read, and what takes their place.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::random::{Purpose, generator};
use super::{Error, Sample, Source};

/// Pictures that are tried for one place. If half of all pictures were broken, that many broken ones in a row would
/// have a probability of 2^-64; it is more likely that the disk is gone.
const MOST_TRIES: u64 = 64;

/// Waits before another attempt, since network file systems fail for a moment now and then.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(400)];

/// A picture that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Broken {
    /// Its index in the source.
    pub index: usize,
    /// Its name in the source.
    pub picture: String,
    /// Why it cannot be read.
    pub problem: String,
}

impl Broken {
    /// The problem names a file only if that is not the picture's own, but such as its mask.
    pub(super) fn new(source: &dyn Source, index: usize, error: &Error) -> Self {
        let picture = source.name(index);
        let is_own = |path: &Path| path.ends_with(&picture);
        let problem = match error {
            Error::Picture { path, problem } | Error::Invalid { path, problem } if is_own(path) => problem.clone(),
            Error::Read { path, source } if is_own(path) => source.to_string(),
            other => other.to_string(),
        };
        Self { index, picture, problem }
    }
}

/// The picture that was read, with its index, and those that could not be read before it.
pub(super) struct Read {
    pub(super) sample: Option<(usize, Sample)>,
    pub(super) broken: Vec<Broken>,
}

/// Reads a picture; an unreadable one is noted.
pub(super) fn read(source: &dyn Source, index: usize) -> Read {
    match patiently(source, index) {
        Ok(sample) => Read { sample: Some((index, sample)), broken: Vec::new() },
        Err(error) => Read { sample: None, broken: note(source, index, &error).into_iter().collect() },
    }
}

/// Reads a picture, or another in its place if it is unreadable, so that training continues. The replacement depends on
/// the picture's index alone, so the result still depends on nothing but the files.
///
/// # Errors
/// The last picture's error, if [`MOST_TRIES`] pictures in a row are unreadable.
pub(super) fn read_or_replace(source: &dyn Source, index: usize) -> Result<Read, Error> {
    let mut broken = Vec::new();
    let mut at = index;
    for attempt in 1.. {
        match patiently(source, at) {
            Ok(sample) => return Ok(Read { sample: Some((at, sample)), broken }),
            Err(error) if attempt == MOST_TRIES => return Err(error),
            Err(error) => broken.extend(note(source, at, &error)),
        }
        at = generator(0, Purpose::Replace, attempt, index as u64).random_range(0..source.len() as u64) as usize;
    }
    unreachable!("the last attempt returns")
}

/// Reads a picture, and retries after a pause if the file system fails in a way that may pass.
fn patiently(source: &dyn Source, index: usize) -> Result<Sample, Error> {
    for pause in PAUSES {
        match source.sample(index) {
            Err(Error::Read { source, .. }) if may_pass(source.kind()) => std::thread::sleep(pause),
            result => return result,
        }
    }
    source.sample(index)
}

fn may_pass(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::UnexpectedEof | ErrorKind::IsADirectory
    )
}

/// The note on an unreadable picture. A missing one was noted already when the run was resumed.
fn note(source: &dyn Source, index: usize, error: &Error) -> Option<Broken> {
    (!matches!(error, Error::Gone { .. })).then(|| Broken::new(source, index, error))
}

/// Reads every picture of a source once, on all cores, and returns those that cannot be read. `progress` is called with
/// the number done and returns whether to continue; if it does not, the result is `None`.
pub fn find_broken(source: &dyn Source, progress: &(dyn Fn(usize) -> bool + Sync)) -> Option<Vec<Broken>> {
    let (done, wanted) = (AtomicUsize::new(0), AtomicBool::new(true));
    let check = |index: usize| {
        if !wanted.load(Ordering::Relaxed) {
            return None;
        }
        let broken = read(source, index).broken.pop();
        if !progress(done.fetch_add(1, Ordering::Relaxed) + 1) {
            wanted.store(false, Ordering::Relaxed);
        }
        broken
    };
    let broken = (0..source.len()).into_par_iter().filter_map(check).collect();
    wanted.into_inner().then_some(broken)
}
