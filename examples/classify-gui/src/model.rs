//! The network, on the window's device. Loading it takes seconds, so a thread does it.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use eframe::egui;
use resnet_rs::weights::hub::HubOptions;
use resnet_rs::{Classifier, Gpu, InferenceOptions, Precision};

pub(crate) enum Model {
    Loading(Receiver<Result<Classifier, String>>),
    Ready(Box<Classifier>),
    Failed(String),
}

impl Model {
    pub(crate) fn load(gpu: &Gpu, weights: String, f16: bool, context: egui::Context) -> Self {
        let (sender, receiver) = channel();
        let gpu = gpu.clone();
        std::thread::spawn(move || {
            let precision = if f16 { Precision::F16 } else { Precision::F32 };
            let options = InferenceOptions { precision, ..InferenceOptions::default() };
            let loaded = match weights.strip_prefix("hf:") {
                Some(repository) => Classifier::from_hub(&gpu, repository, &HubOptions::default(), &options),
                None => Classifier::load_with(&gpu, &weights, &options),
            };
            // The receiver is gone if another network was requested meanwhile.
            let _ = sender.send(loaded.map_err(|e| e.with_causes()));
            context.request_repaint();
        });
        Self::Loading(receiver)
    }

    /// Takes the network once it is loaded.
    pub(crate) fn update(&mut self) {
        let Self::Loading(receiver) = self else { return };
        match receiver.try_recv() {
            Ok(Ok(classifier)) => *self = Self::Ready(Box::new(classifier)),
            Ok(Err(message)) => *self = Self::Failed(message),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => *self = Self::Failed("the thread that loads it has ended".into()),
        }
    }
}
