//! Flags that change a preset's layers.

use clap::Args;

use crate::models::{Config, Preset};
use crate::train::parse_depths;

#[derive(Args)]
pub(super) struct NetworkFlags {
    /// Classes of the classifier
    #[arg(long, value_name = "N", default_value_t = 1000)]
    classes: usize,
    /// Blocks of the four stages, such as 2,2,2,2 [default: the model's]
    #[arg(long, value_name = "A,B,C,D", value_parser = parse_depths)]
    depths: Option<[usize; 4]>,
    /// Multiplier of the channel counts [default: the model's]
    #[arg(long, value_name = "FACTOR")]
    width: Option<f64>,
}

impl NetworkFlags {
    /// The preset with these changes.
    pub(super) fn config(&self, preset: &Preset) -> Config {
        let config = preset.config(self.classes);
        Config { depths: self.depths.unwrap_or(config.depths), width: self.width.unwrap_or(config.width), ..config }
    }
}
