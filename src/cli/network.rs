//! Flags that change a preset's layers.

use clap::Args;

use crate::models::{self, Config, Layers, Preset, Purpose};
use crate::train::{HeadName, Recipe, parse_numbers, task};

#[derive(Args)]
pub(super) struct NetworkFlags {
    /// What the network is made for
    #[arg(long, value_enum, default_value_t)]
    task: Purpose,
    /// Head of another task than classify [default: the task's]
    #[arg(long, value_enum)]
    head: Option<HeadName>,
    /// Channels of the head's maps [default: the head's]
    #[arg(long, value_name = "N")]
    head_channels: Option<usize>,
    /// Channels of the maps of U-Net's or the depth decoder, coarsest first [default: the task's]
    #[arg(long, value_name = "A,B,C,D,E", value_parser = parse_numbers::<usize, 5>)]
    decoder_widths: Option<[usize; 5]>,
    /// Stride of the backbone's last map, px: 32, or 16 or 8 by dilation [default: the task's]
    #[arg(long, value_name = "8|16|32")]
    output_stride: Option<usize>,
    /// Classes that it tells apart, a background included [default: 1000; detect 91; segment 21]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Blocks of a ResNet's four stages, such as 2,2,2,2 [default: the model's]
    #[arg(long, value_name = "A,B,C,D", value_parser = parse_numbers::<usize, 4>)]
    depths: Option<[usize; 4]>,
    /// Multiplier of the channel counts [default: the model's]
    #[arg(long, value_name = "FACTOR")]
    width: Option<f64>,
}

impl NetworkFlags {
    /// Classes that the network tells apart: by default ImageNet's, COCO's or VOC's.
    pub(super) fn classes(&self) -> usize {
        self.classes.unwrap_or(match self.task {
            Purpose::Classify => 1000,
            Purpose::Detect => 91,
            Purpose::Segment => 21,
            Purpose::Depth => 1,
        })
    }

    /// Side of the pictures that the task is usually shown; `None` for that of the model.
    pub(super) fn res(&self) -> Option<u32> {
        task::usual_side(self.task)
    }

    /// The preset's name with these changes, to distinguish it from the preset.
    pub(super) fn name(&self, preset: &Preset) -> String {
        let task = (self.task != Purpose::Classify).then(|| format!(" --task {}", self.task));
        let head = self.head.map(|head| format!(" --head {head}"));
        let channels = self.head_channels.map(|channels| format!(" --head-channels {channels}"));
        let widths = self.decoder_widths.map(|w| format!(" --decoder-widths {}", w.map(|w| w.to_string()).join(",")));
        let stride = self.output_stride.map(|stride| format!(" --output-stride {stride}"));
        let depths = self.depths.map(|d| format!(" --depths {}", d.map(|d| d.to_string()).join(",")));
        let width = self.width.map(|width| format!(" --width {width}"));
        let parts = [Some(preset.name.to_owned()), task, head, channels, widths, stride, depths, width];
        parts.into_iter().flatten().collect()
    }

    /// The preset with these changes.
    pub(super) fn config(&self, preset: &Preset) -> Result<Config, models::Error> {
        let head = Recipe {
            task: self.task,
            head: self.head,
            head_channels: self.head_channels,
            decoder_widths: self.decoder_widths,
            output_stride: self.output_stride,
            ..Recipe::default()
        };
        let mut config = head.headed(preset.config(self.classes()));
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
