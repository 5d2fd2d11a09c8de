//! The card of a weight file: its network, and how pictures are prepared.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::data::{CropMode, Interpolation, View};
use crate::models::{Config, IMAGENET_MEAN_STD, Preset};

/// Metadata key of the card, JSON.
const KEY: &str = "resnet-rs";

/// ImageNet-1k's classes, a line each in the order of ILSVRC2012's indices, which is timm's: torchvision's names
/// (BSD-3-Clause, see imagenet-classes.LICENSE), since they are short and distinct. WordNet's names, which timm prints,
/// list synonyms, and two classes are called crane.
const IMAGENET_CLASSES: &str = include_str!("imagenet-classes.txt");
/// Number of ImageNet-1k's classes.
const IMAGENET_COUNT: usize = 1000;

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
    /// The filter that resizes pictures; older cards lack it and mean bicubic.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// How pictures that are not square are cropped; older cards lack it and mean the centre crop.
    #[serde(default)]
    pub crop_mode: CropMode,
    /// Names of the classes; empty if unknown.
    pub classes: Vec<String>,
}

impl ModelCard {
    /// The card with timm's pre-processing for the released model of this size; RS-50's for sizes that were never
    /// released. A thousand classes are taken for ImageNet's and get their names; other classes have no names.
    pub fn for_preset_of(config: Config) -> Self {
        let (res, crop_pct) = Preset::matching(&config.layers).map_or((160, 0.91), |p| (p.res, p.crop_pct));
        let (mean, std) = IMAGENET_MEAN_STD;
        let (interpolation, crop_mode) = (Interpolation::default(), CropMode::default());
        Self { config, res, crop_pct, mean, std, interpolation, crop_mode, classes: Vec::new() }.with_class_names()
    }

    /// How a picture becomes the network's `res` x `res` pixels. A border has the mean colour, which the network sees
    /// as zeros.
    pub fn view(&self) -> View {
        let &Self { crop_pct, interpolation, crop_mode, mean, .. } = self;
        let border = mean.map(|m| (255.0 * f64::from(m)).round_ties_even() as u8);
        View { crop_pct, interpolation, crop_mode, border }
    }

    /// Names a thousand nameless classes as ImageNet's.
    fn with_class_names(mut self) -> Self {
        if self.classes.is_empty() && self.config.classes == IMAGENET_COUNT {
            self.classes = IMAGENET_CLASSES.lines().map(str::to_owned).collect();
        }
        self
    }

    /// The card in a file's metadata, if it has one.
    pub(crate) fn from_metadata(path: &Path, metadata: &BTreeMap<String, String>) -> Result<Option<Self>, Error> {
        let Some(json) = metadata.get(KEY) else { return Ok(None) };
        let damaged = |problem: String| Error::Malformed {
            path: path.to_owned(),
            problem: format!("its {KEY} metadata{problem}"),
        };
        let card: Self = serde_json::from_str(json).map_err(|e| damaged(format!(": {e}")))?;
        card.config.validate().map_err(|e| damaged(format!(": {e}")))?;
        card.check().map_err(|problem| damaged(format!(" has {problem}")))?;
        Ok(Some(card.with_class_names()))
    }

    /// Checks the pre-processing and the names; the error says what is out of range.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let input = (1..=4096).contains(&self.res) && self.crop_pct > 0.0 && self.crop_pct <= 1.0;
        let colours = self.mean.iter().all(|m| m.is_finite()) && self.std.iter().all(|s| s.is_finite() && *s > 0.0);
        let names = self.classes.is_empty() || self.classes.len() == self.config.classes;
        let problem = "an input size, crop, mean, deviation or number of class names out of range";
        if input && colours && names { Ok(()) } else { Err(problem) }
    }

    /// Metadata that hold the card.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let json = serde_json::to_string(self).unwrap_or_else(|e| unreachable!("a card is plain data: {e}"));
        BTreeMap::from([(KEY.to_owned(), json), ("format".to_owned(), "pt".to_owned())])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_nameless_classes_are_imagenets() {
        let card = |classes| ModelCard::for_preset_of(Config::resnet_rs([1; 4], 0.25, classes));
        let imagenet = card(1000);
        let names = [(0, "tench"), (1, "goldfish"), (207, "golden retriever"), (281, "tabby"), (999, "toilet tissue")];
        assert!(names.iter().all(|&(class, name)| imagenet.classes[class] == name));
        assert_eq!(imagenet.classes.iter().collect::<std::collections::BTreeSet<_>>().len(), 1000);
        assert!(card(999).classes.is_empty());

        let path = Path::new("w");
        let read = |card: &ModelCard| ModelCard::from_metadata(path, &card.to_metadata()).unwrap().unwrap();
        let mut own = imagenet.clone();
        own.classes[281] = "Minka".into();
        assert_eq!(read(&own), own);
        assert_eq!(read(&ModelCard { classes: Vec::new(), ..own }), imagenet);
    }
}
