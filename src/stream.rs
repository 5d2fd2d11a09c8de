//! Answers many files: the next ones are decoded and resized while the GPU works.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;

use crate::data::decode;
use crate::predictor::FromOutputs;
use crate::{Error, Pending, Picture, Predictor};

/// Batches on the GPU at a time.
const UNDER_WAY: usize = 2;

/// Pictures that each worker prepares before it waits for the slowest worker; a larger number makes waits rare. At most
/// twice this many per worker are in memory, at the size of the network's input.
const PICTURES_A_WORKER: usize = 4;

/// A batch that the GPU works on.
struct UnderWay<'p, P, A> {
    paths: &'p [P],
    /// Errors of the unreadable pictures, by position.
    failures: Vec<Option<Error>>,
    /// Answers for the readable pictures.
    answers: Pending<Vec<A>>,
}

impl<A: FromOutputs> Predictor<A> {
    /// Answers any number of picture files and calls `each` with every path and its answer, in order. An unreadable
    /// file is an error in its place and does not stop the others. If `each` breaks, the value that it breaks with is
    /// returned at once.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Detector) -> Result<(), resnet_rs::Error> {
    /// use std::ops::ControlFlow::Continue;
    ///
    /// let found = resnet_rs::data::pictures_in("holiday".as_ref())?;
    /// net.answer_files(&found.pictures, |path, answer| {
    ///     match answer {
    ///         Ok(detections) => println!("{}: {} objects", path.display(), detections.above(0.5).len()),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    ///     Continue::<()>(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the device fails.
    pub fn answer_files<P: AsRef<Path> + Sync, B>(
        &self,
        paths: &[P],
        mut each: impl FnMut(&Path, Result<A, Error>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let prepare = |path: &P| self.prepare(decode(path.as_ref())?);
        // On a thread of rayon's pool, waiting could block its only worker.
        let in_pool = rayon::current_thread_index().is_some();
        let workers = if in_pool { 1 } else { rayon::current_num_threads() };
        let at_once = (PICTURES_A_WORKER * workers).next_multiple_of(self.batch());
        // The GPU begins with the first batch.
        let (first, others) = paths.split_at(self.batch().min(paths.len()));
        let windows = std::iter::once(first).chain(others.chunks(at_once));
        std::thread::scope(|threads| {
            // Queues as many prepared pictures as are being prepared at a time.
            let (sender, prepared) = sync_channel(at_once / self.batch());
            threads.spawn(move || {
                for window in windows {
                    let pictures: Vec<Result<Picture<'static>, Error>> = match in_pool {
                        true => window.iter().map(prepare).collect(),
                        false => window.par_iter().map(prepare).collect(),
                    };
                    let mut pictures = pictures.into_iter();
                    for paths in window.chunks(self.batch()) {
                        let batch: Vec<_> = pictures.by_ref().take(paths.len()).collect();
                        if sender.send((paths, batch)).is_err() {
                            return; // nobody wants more
                        }
                    }
                }
            });
            let mut under_way = VecDeque::with_capacity(UNDER_WAY);
            for (paths, pictures) in prepared {
                let mut readable = Vec::with_capacity(pictures.len());
                let sort = |picture: Result<_, _>| picture.map(|picture| readable.push(picture)).err();
                let failures = pictures.into_iter().map(sort).collect();
                under_way.push_back(UnderWay { paths, failures, answers: self.submit_all(readable)? });
                if under_way.len() == UNDER_WAY
                    && let Some(oldest) = under_way.pop_front()
                    && let ControlFlow::Break(end) = tell(oldest, &mut each)?
                {
                    return Ok(ControlFlow::Break(end));
                }
            }
            for batch in under_way {
                if let ControlFlow::Break(end) = tell(batch, &mut each)? {
                    return Ok(ControlFlow::Break(end));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Waits for a batch and calls `each` for its files.
fn tell<P: AsRef<Path>, A: FromOutputs, B>(
    UnderWay { paths, failures, answers }: UnderWay<'_, P, A>,
    each: &mut impl FnMut(&Path, Result<A, Error>) -> ControlFlow<B>,
) -> Result<ControlFlow<B>, Error> {
    let mut answers = answers.wait()?.into_iter();
    for (path, failure) in paths.iter().zip(failures) {
        let answer = match failure {
            Some(failure) => Err(failure),
            None => Ok(answers.next().unwrap_or_else(|| unreachable!("each readable file has an answer"))),
        };
        if let ControlFlow::Break(end) = each(path.as_ref(), answer) {
            return Ok(ControlFlow::Break(end));
        }
    }
    Ok(ControlFlow::Continue(()))
}
