//! The network, on the window's device. Loading it takes seconds, so a thread does it.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use eframe::egui;
use resnet_rs::models::Purpose;
use resnet_rs::weights::hub::{self, HubOptions};
use resnet_rs::weights::{ModelCard, TrainedNetwork};
use resnet_rs::{Classifier, Detector, Error, Found, Frame, Gpu, Guess, InferenceOptions, Pending, Precision};

/// The least score of the boxes that are drawn.
const LEAST_SCORE: f32 = 0.5;

/// A network of a task that the window shows.
pub(crate) enum Network {
    Classifier(Classifier),
    Detector(Detector),
}

/// What it says about a picture.
pub(crate) enum Answer {
    /// The five likeliest classes.
    Classes(Vec<Guess>),
    /// Objects with their boxes, in pixels of the texture.
    Objects(Vec<Found>),
}

impl Network {
    fn load(gpu: &Gpu, weights: &str, options: &InferenceOptions<'_>) -> Result<Self, String> {
        let trained = match weights.strip_prefix("hf:") {
            Some(repository) => hub::fetch(repository, &HubOptions::default()).map_err(Error::from),
            None => TrainedNetwork::read(weights).map_err(Error::from),
        };
        let trained = trained.map_err(|e| e.with_causes())?;
        let network = match trained.card.config.head.purpose() {
            Purpose::Classify => Classifier::new(gpu, &trained, options).map(Self::Classifier),
            Purpose::Detect => Detector::new(gpu, &trained, options).map(Self::Detector),
            other => return Err(format!("{weights} is a {}: give a classifier or a detector", other.network())),
        };
        network.map_err(|e| e.with_causes())
    }

    pub(crate) fn card(&self) -> &ModelCard {
        match self {
            Self::Classifier(network) => network.card(),
            Self::Detector(network) => network.card(),
        }
    }

    /// Submits a texture; the answer arrives while the window draws.
    pub(crate) fn submit(&self, frame: Frame) -> Result<Pending<Answer>, Error> {
        Ok(match self {
            Self::Classifier(network) => network.submit(frame)?.map(|prediction| Answer::Classes(prediction.top(5))),
            Self::Detector(network) => {
                network.submit(frame)?.map(|detections| Answer::Objects(detections.above(LEAST_SCORE).to_vec()))
            }
        })
    }
}

impl Answer {
    /// A word or two for the list of pictures.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Classes(best) => best.first().map_or_else(String::new, |guess| guess.label.clone()),
            Self::Objects(found) => format!("{} found", found.len()),
        }
    }
}

pub(crate) enum Model {
    Loading(Receiver<Result<Network, String>>),
    Ready(Box<Network>),
    Failed(String),
}

impl Model {
    pub(crate) fn load(gpu: &Gpu, weights: String, f16: bool, context: egui::Context) -> Self {
        let (sender, receiver) = channel();
        let gpu = gpu.clone();
        std::thread::spawn(move || {
            let precision = if f16 { Precision::F16 } else { Precision::F32 };
            let options = InferenceOptions { precision, ..InferenceOptions::default() };
            // The receiver is gone if another network was requested meanwhile.
            let _ = sender.send(Network::load(&gpu, &weights, &options));
            context.request_repaint();
        });
        Self::Loading(receiver)
    }

    /// Takes the network once it is loaded.
    pub(crate) fn update(&mut self) {
        let Self::Loading(receiver) = self else { return };
        match receiver.try_recv() {
            Ok(Ok(network)) => *self = Self::Ready(Box::new(network)),
            Ok(Err(message)) => *self = Self::Failed(message),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => *self = Self::Failed("the thread that loads it has ended".into()),
        }
    }
}
