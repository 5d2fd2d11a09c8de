//! Flags that change a preset's layers.

use clap::Args;

use crate::models::{self, Config, Layers, Preset};
use crate::train::parse_depths;

#[derive(Args)]
pub(super) struct NetworkFlags {
    /// Classes of the classifier
    #[arg(long, value_name = "N", default_value_t = 1000)]
    classes: usize,
    /// Blocks of a ResNet's four stages, such as 2,2,2,2 [default: the model's]
    #[arg(long, value_name = "A,B,C,D", value_parser = parse_depths)]
    depths: Option<[usize; 4]>,
    /// Multiplier of the channel counts [default: the model's]
    #[arg(long, value_name = "FACTOR")]
    width: Option<f64>,
}

impl NetworkFlags {
    /// Classes of the classifier.
    pub(super) fn classes(&self) -> usize {
        self.classes
    }

    /// The preset's name with these changes, to distinguish it from the preset.
    pub(super) fn name(&self, preset: &Preset) -> String {
        let depths = self.depths.map(|d| format!(" --depths {}", d.map(|d| d.to_string()).join(",")));
        let width = self.width.map(|width| format!(" --width {width}"));
        [Some(preset.name.to_owned()), depths, width].into_iter().flatten().collect()
    }

    /// The preset with these changes.
    pub(super) fn config(&self, preset: &Preset) -> Result<Config, models::Error> {
        let mut config = preset.config(self.classes);
        match &mut config.layers {
            Layers::ResNet(layers) => {
                layers.depths = self.depths.unwrap_or(layers.depths);
                layers.width = self.width.unwrap_or(layers.width);
            }
            Layers::EfficientNet(_) if self.depths.is_some() => {
                return Err(models::Error::NotOfFamily { model: preset.name, field: "depths" });
            }
            Layers::EfficientNet(layers) => layers.width = self.width.unwrap_or(layers.width),
        }
        Ok(config)
    }
}
