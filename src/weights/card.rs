//! What a weight file says of itself: the network, and how its pictures are prepared.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::models::{Config, IMAGENET_MEAN_STD, Preset};

/// Metadata key of the card, JSON.
const KEY: &str = "resnet-rs";

/// A network, and how pictures become its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The layers.
    pub config: Config,
    /// Side of the input in pixels.
    pub res: u32,
    /// Share of the resized picture that the evaluation crop keeps.
    pub crop_pct: f64,
    /// Mean of each colour, on a scale from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each colour.
    pub std: [f32; 3],
    /// Names of the classes; empty if unknown.
    pub classes: Vec<String>,
}

impl ModelCard {
    /// The pre-processing that timm gives the released model of this size; RS-50's for sizes that were never released.
    pub fn for_preset_of(config: Config) -> Self {
        let (res, crop_pct) = Preset::matching(&config.layers).map_or((160, 0.91), |p| (p.res, p.crop_pct));
        let (mean, std) = IMAGENET_MEAN_STD;
        Self { config, res, crop_pct, mean, std, classes: Vec::new() }
    }

    /// The card in a file's metadata, if it has one.
    pub(super) fn from_metadata(path: &Path, metadata: &BTreeMap<String, String>) -> Result<Option<Self>, Error> {
        let Some(json) = metadata.get(KEY) else { return Ok(None) };
        let damaged = |problem: String| Error::Malformed { path: path.to_owned(), problem };
        let card: Self = serde_json::from_str(json).map_err(|e| damaged(format!("its {KEY} metadata: {e}")))?;
        card.config.validate().map_err(|e| damaged(format!("its {KEY} metadata: {e}")))?;
        let input = (1..=4096).contains(&card.res) && card.crop_pct > 0.0 && card.crop_pct <= 1.0;
        let colours = card.mean.iter().all(|m| m.is_finite()) && card.std.iter().all(|s| s.is_finite() && *s > 0.0);
        let names = card.classes.is_empty() || card.classes.len() == card.config.classes;
        if !(input && colours && names) {
            let problem = "an input size, crop, mean, deviation or number of class names out of range";
            return Err(damaged(format!("its {KEY} metadata has {problem}")));
        }
        Ok(Some(card))
    }

    /// Metadata that carries the card.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let json = serde_json::to_string(self).unwrap_or_else(|e| unreachable!("a card is plain data: {e}"));
        BTreeMap::from([(KEY.to_owned(), json), ("format".to_owned(), "pt".to_owned())])
    }
}
