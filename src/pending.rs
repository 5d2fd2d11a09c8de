//! Answers that the GPU is still computing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Error;
use crate::exec::PendingRead;
use crate::graph::Elements;

/// An answer that the GPU is working on. An application that draws calls [`Self::is_ready`] once a frame; one with an
/// async runtime, whichever it is, awaits it; any other calls [`wait`](Self::wait).
///
/// ```no_run
/// # fn example(net: &resnet_rs::Classifier, picture: &image::DynamicImage) -> Result<(), resnet_rs::Error> {
/// let mut pending = Some(net.submit(picture)?);
/// loop {
///     // ... draw a frame ...
///     if let Some(answer) = pending.take_if(|pending| pending.is_ready()) {
///         println!("{:?}", answer.wait()?.top(1));
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropping it abandons the answer; the GPU finishes what it has begun.
#[must_use = "take the answer by waiting for it or awaiting it"]
pub struct Pending<T> {
    /// In the order in which they arrive.
    reads: Vec<PendingRead>,
    /// Turns their values into the answer.
    finish: Option<Finish<T>>,
}

/// From the values of each output of each read, to the answer.
type Finish<T> = Box<dyn FnOnce(Vec<Vec<Elements<'static>>>) -> T + Send>;

impl<T> Pending<T> {
    pub(crate) fn new(
        reads: Vec<PendingRead>,
        finish: impl FnOnce(Vec<Vec<Elements<'static>>>) -> T + Send + 'static,
    ) -> Self {
        Self { reads, finish: Some(Box::new(finish)) }
    }

    /// The same answer, with `then` applied to it: answers of several networks can be of one type.
    ///
    /// ```no_run
    /// # fn example(
    /// #     classifier: &resnet_rs::Classifier, detector: &resnet_rs::Detector, picture: &image::RgbImage,
    /// # ) -> Result<(), resnet_rs::Error> {
    /// let class = classifier.submit(picture)?.map(|prediction| prediction.top(1)[0].label.clone());
    /// let number = detector.submit(picture)?.map(|detections| format!("{} objects", detections.objects.len()));
    /// for answer in [class, number] {
    ///     println!("{}", answer.wait()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<U>(self, then: impl FnOnce(T) -> U + Send + 'static) -> Pending<U>
    where
        T: 'static,
    {
        let finish = self.finish.unwrap_or_else(|| unreachable!("an answer is taken once"));
        Pending::new(self.reads, move |values| then(finish(values)))
    }

    /// Whether [`Self::wait`] will return at once. Never blocks.
    ///
    /// ```no_run
    /// # fn example(answers: Vec<resnet_rs::Pending<resnet_rs::Prediction>>) {
    /// let (ready, under_way): (Vec<_>, Vec<_>) = answers.into_iter().partition(|pending| pending.is_ready());
    /// # }
    /// ```
    pub fn is_ready(&self) -> bool {
        self.reads.last().is_none_or(PendingRead::is_ready)
    }

    /// Waits for the answer.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier, pictures: &[image::RgbImage]) -> Result<(), resnet_rs::Error> {
    /// let pending = net.submit_all(pictures)?;
    /// // ... the CPU is free meanwhile ...
    /// let predictions = pending.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the device has failed or was lost meanwhile.
    pub fn wait(mut self) -> Result<T, Error> {
        self.take()
    }

    fn take(&mut self) -> Result<T, Error> {
        let Some(finish) = self.finish.take() else { unreachable!("an answer is taken once") };
        Ok(finish(self.reads.drain(..).map(PendingRead::wait_elements).collect::<Result<_, _>>()?))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.reads.last_mut().map(|last| last.poll_ready(context)) {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(())) | None => Poll::Ready(this.take()),
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
