//! Which of the classes a picture shows.

use std::sync::Arc;

use crate::backbone::Seen;
use crate::inference::Answer;
use crate::models::{Head, Purpose};
use crate::predictor::{FromHead, FromOutputs, Predictor};
use crate::weights::ModelCard;
use crate::{Error, Picture};

/// A trained network that classifies pictures.
///
/// ```no_run
/// use resnet_rs::{Classifier, Gpu, GpuOptions};
///
/// let net = Classifier::load(&Gpu::new(&GpuOptions::default())?, "resnetrs50.safetensors")?;
/// println!("{}", net.classify(resnet_rs::Picture::open("cat.jpg")?)?.top(1)[0].label);
/// # Ok::<(), resnet_rs::Error>(())
/// ```
pub type Classifier = Predictor<Prediction>;

impl Classifier {
    /// Classifies one picture of any size.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier) -> Result<(), resnet_rs::Error> {
    /// for guess in net.classify(resnet_rs::Picture::open("cat.jpg")?)?.top(5) {
    ///     println!("{:.1} % {}", 100.0 * guess.probability, guess.label);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::submit`], and a device that fails meanwhile.
    pub fn classify<'p>(&self, picture: impl Into<Picture<'p>>) -> Result<Prediction, Error> {
        self.submit(picture)?.wait()
    }

    /// Classifies several pictures, [`Self::batch`] of them at a time.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier) -> Result<(), resnet_rs::Error> {
    /// use resnet_rs::Picture;
    ///
    /// let pictures = [Picture::open("cat.jpg")?, Picture::open("dog.jpg")?];
    /// for prediction in net.classify_all(pictures)? {
    ///     println!("{}", prediction.top(1)[0].label);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn classify_all<'p, P: Into<Picture<'p>>>(
        &self,
        pictures: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Prediction>, Error> {
        self.submit_all(pictures)?.wait()
    }

    /// Classifies any number of picture files, as [`Self::answer_files`].
    ///
    /// # Errors
    /// If the device fails.
    #[cfg(feature = "pictures")]
    pub fn classify_files<P: AsRef<std::path::Path> + Sync, B>(
        &self,
        paths: &[P],
        each: impl FnMut(&std::path::Path, Result<Prediction, Error>) -> std::ops::ControlFlow<B>,
    ) -> Result<std::ops::ControlFlow<B>, Error> {
        self.answer_files(paths, each)
    }

    /// Logits of standardised pictures, `[N, 3, H, W]` in PyTorch's order, row by row: the only one of
    /// [`Self::outputs`].
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier, nchw: &[f32]) -> Result<(), resnet_rs::Error> {
    /// let logits = net.logits(nchw, [4, 3, 160, 160])?;
    /// assert_eq!(logits.len(), 4 * net.card().config.classes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::outputs`].
    pub fn logits(&self, nchw: &[f32], shape: [usize; 4]) -> Result<Vec<f32>, Error> {
        let logits = self.outputs(nchw, shape)?.remove("logits");
        Ok(logits.unwrap_or_else(|| unreachable!("a classifier has logits")).data)
    }
}

/// A network's answer for one picture.
///
/// ```no_run
/// # fn example(prediction: &resnet_rs::Prediction) {
/// // Surprise at the likeliest class, in bits, where no name is wanted.
/// let most = prediction.probabilities.iter().copied().fold(0.0, f32::max);
/// println!("{:.2} bits", -most.log2());
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prediction {
    /// Results before the softmax, one per class.
    pub logits: Vec<f32>,
    /// Probability of every class; they add up to 1.
    pub probabilities: Vec<f32>,
    classes: Arc<[String]>,
}

/// One class of a prediction, from [`Prediction::top`].
///
/// ```no_run
/// # fn example(guess: &resnet_rs::Guess) {
/// println!("{:5.1} % {} (class {})", 100.0 * guess.probability, guess.label, guess.class);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Guess {
    /// Index of the class.
    pub class: usize,
    /// Name of the class, or its index if the names are unknown.
    pub label: String,
    /// How likely it is, 0 to 1.
    pub probability: f32,
}

impl FromHead for Prediction {}

impl FromOutputs for Prediction {
    fn tensors(head: &Head) -> Option<Answer> {
        (head.purpose() == Purpose::Classify).then_some(Answer::Outputs)
    }

    fn reader(card: &ModelCard, _shapes: Vec<Vec<usize>>) -> impl Fn(&Seen<'_>) -> Self + Send + Sync + 'static {
        let classes: Arc<[String]> = card.classes.clone().into();
        move |seen| {
            let logits = seen.outputs[0].floats().to_vec();
            Self { probabilities: softmax(&logits), logits, classes: classes.clone() }
        }
    }
}

impl Prediction {
    /// The `k` likeliest classes, likeliest first; all classes if there are fewer than `k`.
    ///
    /// ```no_run
    /// # fn example(prediction: &resnet_rs::Prediction) {
    /// let sure = prediction.top(1)[0].probability > 0.9;
    /// for guess in prediction.top(if sure { 1 } else { 5 }) {
    ///     println!("{}", guess.label);
    /// }
    /// # }
    /// ```
    pub fn top(&self, k: usize) -> Vec<Guess> {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]).then(a.cmp(&b)));
        let guess =
            |class: usize| Guess { class, label: label(&self.classes, class), probability: self.probabilities[class] };
        order.into_iter().take(k).map(guess).collect()
    }
}

/// The name of a class, or its index if the names are unknown.
pub(crate) fn label(names: &[String], class: usize) -> String {
    names.get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// Probabilities of one row of logits.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits.iter().map(|&z| f64::from(z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| (e / sum) as f32).collect()
}
