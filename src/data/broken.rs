//! Pictures that cannot be read, and what takes their place.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::random::{Purpose, generator};
use super::{Error, Sample, Source};

/// How many pictures are tried for one place. Were half of all broken, the chance of so many in a row would be 2^-64:
/// more likely the disk is gone.
const MOST_TRIES: u64 = 64;

/// Waits before another attempt, since network file systems fail for a moment now and then.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(400)];

/// A picture that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Broken {
    /// Its number in the source.
    pub index: usize,
    /// What it is called there.
    pub picture: String,
    /// Why it cannot be read.
    pub problem: String,
}

impl Broken {
    pub(super) fn new(source: &dyn Source, index: usize, error: &Error) -> Self {
        let problem = match error {
            Error::Picture { problem, .. } | Error::Invalid { problem, .. } => problem.clone(),
            Error::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        Self { index, picture: source.name(index), problem }
    }
}

/// A picture that was asked for, with its number, and those that could not be read on the way to it.
pub(super) struct Read {
    pub(super) sample: Option<(usize, Sample)>,
    pub(super) broken: Vec<Broken>,
}

/// Reads a picture, if it can be read.
pub(super) fn read(source: &dyn Source, index: usize) -> Read {
    match patiently(source, index) {
        Ok(sample) => Read { sample: Some((index, sample)), broken: Vec::new() },
        Err(error) => Read { sample: None, broken: note(source, index, &error).into_iter().collect() },
    }
}

/// Reads a picture, or another in its place, which depends on the number of the first alone: so training goes on, to
/// bits that depend on nothing but the files.
///
/// # Errors
/// The last picture's, if none of many can be read.
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

/// Reads a picture, again after a while where the file system fails in a way that may pass.
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

/// What to note of a picture that cannot be read. One that is gone has been noted when the run was resumed.
fn note(source: &dyn Source, index: usize, error: &Error) -> Option<Broken> {
    (!matches!(error, Error::Gone { .. })).then(|| Broken::new(source, index, error))
}

/// Reads every picture of a source once, on all cores, and gives those that cannot be read. `progress` learns how many
/// are done, and answers whether to go on; `None` is returned if not.
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
