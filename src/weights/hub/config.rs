//! `config.json`, timm's description of a network that is on the hub.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Error;
use crate::files;
use crate::models::{Layers, Preset};
use crate::weights::{ModelCard, StateDict, timm};

/// What is of use of it.
#[derive(Default, Deserialize)]
pub(super) struct Config {
    #[serde(skip)]
    path: PathBuf,
    architecture: Option<String>,
    num_classes: Option<usize>,
    label_names: Option<Vec<String>>,
    pretrained_cfg: Option<Pretrained>,
}

/// How the network was trained.
#[derive(Clone, Default, Deserialize)]
struct Pretrained {
    /// Channels, height, width.
    input_size: Option<[u32; 3]>,
    crop_pct: Option<f64>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    label_names: Option<Vec<String>>,
}

impl Config {
    /// Reads the file; one that says nothing if there is none.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = files::read_text(path).map_err(crate::weights::Error::from)?;
        let config: Self = serde_json::from_str(&text)
            .map_err(|e| Error::Config { path: path.to_owned(), problem: format!("it cannot be understood: {e}") })?;
        Ok(Self { path: path.to_owned(), ..config })
    }

    /// The network of the weights beside it: from their own card if this program wrote them, else from tensors and
    /// description.
    pub(super) fn card(&self, weights_path: &Path, weights: &StateDict) -> Result<ModelCard, Error> {
        let own = ModelCard::from_metadata(weights_path, &weights.metadata)?;
        let is_own = own.is_some();
        let card = match (own, &self.architecture) {
            (Some(card), _) => card,
            (None, Some(_)) => timm::from_tensors(weights_path, weights)?,
            (None, None) => timm::recognise(weights_path, weights)?,
        };
        self.agrees(&card, is_own)?;
        if is_own { Ok(card) } else { self.complete(card) }
    }

    /// Whether weights and description are of the same network.
    fn agrees(&self, card: &ModelCard, is_own: bool) -> Result<(), Error> {
        let Some(architecture) = self.architecture.as_deref() else { return Ok(()) };
        let efficientnet = matches!(card.config.layers, Layers::EfficientNet(_));
        if efficientnet && !is_own && !architecture.starts_with("tf_efficientnet_b") {
            return Err(Error::Architecture {
                path: self.path.clone(),
                architecture: architecture.to_owned(),
                reason: "has the tensors of TensorFlow's EfficientNet, but pads maps in another way, which is not \
                         implemented; take the tf_efficientnet_b* of that size",
            });
        }
        match Preset::find(architecture) {
            Ok(preset) if preset.layers.same_tensors(&card.config.layers) => Ok(()),
            Ok(_) => {
                Err(self.wrong(format!("it tells of a {architecture}, and the weights are those of another network")))
            }
            Err(_) => {
                let path = self.path.display();
                log::warn!(
                    "{path}: {architecture} is no network of this program; it is taken for what its tensors look like"
                );
                Ok(())
            }
        }
    }

    /// What the tensors do not tell.
    fn complete(&self, card: ModelCard) -> Result<ModelCard, Error> {
        let classes = card.config.classes;
        if self.num_classes.is_some_and(|n| n != classes) {
            return Err(self.wrong(format!("its num_classes is not the {classes} of the weights")));
        }
        let Pretrained { input_size, crop_pct, mean, std, label_names } =
            self.pretrained_cfg.clone().unwrap_or_default();
        let res = match input_size {
            None => card.res,
            Some([3, height, width]) if height == width => height,
            Some(size) => return Err(self.wrong(format!("its input_size is {size:?}, not 3 colours of a square"))),
        };
        let card = ModelCard {
            res,
            crop_pct: crop_pct.unwrap_or(card.crop_pct),
            mean: mean.unwrap_or(card.mean),
            std: std.unwrap_or(card.std),
            classes: self.label_names.clone().or(label_names).unwrap_or(card.classes),
            config: card.config,
        };
        card.check().map_err(|problem| self.wrong(format!("it has {problem}")))?;
        Ok(card)
    }

    fn wrong(&self, problem: String) -> Error {
        Error::Config { path: self.path.clone(), problem }
    }
}
