//! Derived from a recipe: the network, the step, the learning rate.

use std::sync::Arc;

use super::{Augment, BoxLossName, DepthLossName, FrozenNorm, HeadName, OptimizerName, Recipe, TrainingPrecision};
use crate::data::{self, Augmentation, Dataset, RandAugment, Transform};
use crate::graph::Precision;
use crate::graph::op::{BoxLossKind, DepthLossKind};
use crate::models::{
    self, ActivationChoice, Config, DeepLabV3, DeepLabV3Plus, DenseDepth, DropPathSchedule, EfficientNet, Fcn, Head,
    Layers, Norm, Preset, Purpose, ResNet, RetinaNet, UNet,
};
use crate::train::task::{Classify, Depth, Detect, Segment, Task};
use crate::train::{AdamW, Error, Learning, LearningRate, Measure, Optimizer, Sgd, StepOptions, When};
use crate::weights::ModelCard;

/// ImageNet-1k's classes, as in the released networks.
const DEFAULT_OUTPUTS: usize = 1000;

impl Recipe {
    /// The learning rate over the whole run.
    ///
    /// # Errors
    /// The warm-up does not end before the run does.
    pub fn learning_rate(&self, steps_per_epoch: u64) -> Result<LearningRate, Error> {
        let total = u64::from(self.epochs).saturating_mul(steps_per_epoch);
        let epochs = self.warmup_epochs.unwrap_or(0.0);
        let warmup = self.warmup_steps.unwrap_or((epochs * steps_per_epoch as f64) as u64);
        if warmup >= total {
            return Err(Error::Warmup { warmup, total });
        }
        Ok(LearningRate {
            schedule: self.schedule,
            peak: self.lr,
            total_steps: total,
            warmup_steps: warmup,
            steps_per_epoch,
        })
    }

    /// Pictures in a part of a step.
    pub fn part(&self) -> u32 {
        self.batch / self.accumulate
    }

    /// Side of an epoch's training pictures, px; `res` is that of the last epoch. Sides in between are multiples of 32,
    /// or of 4 for small pictures.
    pub fn res_of_epoch(&self, epoch: u64, res: u32) -> u32 {
        let last = u64::from(self.epochs) - 1;
        let Some(start) = self.res_start.filter(|_| epoch < last) else { return res };
        if epoch == 0 {
            return start;
        }
        let unit = if res >= 96 { 32 } else { 4 };
        let share = epoch as f64 / last as f64;
        let exact = f64::from(start) + share * (f64::from(res) - f64::from(start));
        ((exact / f64::from(unit)).round() as u32 * unit).max(unit).min(start.max(res))
    }

    /// The parts of its network; empty if its model is unknown.
    fn parts(&self) -> Vec<&'static str> {
        self.config().map_or(Vec::new(), |config| config.parts())
    }

    /// The head of its task.
    fn head(&self) -> HeadName {
        self.head.unwrap_or(match self.task {
            // A classifier has no choice, so what stands here is not used.
            Purpose::Classify | Purpose::Segment => HeadName::DeepLabV3,
            Purpose::Detect => HeadName::RetinaNet,
            Purpose::Depth => HeadName::DenseDepth,
        })
    }

    /// Fails if the head is one of another task.
    pub(super) fn check_head(&self) -> Result<(), Error> {
        let fits = match self.task {
            Purpose::Classify => self.head.is_none(),
            Purpose::Segment => !matches!(self.head(), HeadName::RetinaNet | HeadName::DenseDepth),
            Purpose::Detect => self.head() == HeadName::RetinaNet,
            Purpose::Depth => self.head() == HeadName::DenseDepth,
        };
        if fits { Ok(()) } else { Err(Error::Conflict { problem: "--head is one of another --task: leave it out" }) }
    }

    /// The layers of its head.
    fn head_layers(&self) -> Head {
        if self.task == Purpose::Classify {
            return Head::Classifier;
        }
        let channels = self.head_channels;
        match self.head() {
            HeadName::RetinaNet => {
                let usual = RetinaNet::default();
                Head::RetinaNet(RetinaNet { channels: channels.unwrap_or(usual.channels) })
            }
            HeadName::DeepLabV3 => {
                let usual = DeepLabV3::default();
                Head::DeepLabV3(DeepLabV3 { channels: channels.unwrap_or(usual.channels), ..usual })
            }
            HeadName::DeepLabV3Plus => {
                let usual = DeepLabV3Plus::default();
                Head::DeepLabV3Plus(DeepLabV3Plus { channels: channels.unwrap_or(usual.channels) })
            }
            HeadName::Fcn => Head::Fcn(Fcn::default()),
            HeadName::UNet => {
                let usual = UNet::default();
                Head::UNet(UNet { widths: self.decoder_widths.unwrap_or(usual.widths) })
            }
            HeadName::DenseDepth => {
                let usual = DenseDepth::default();
                let widths = self.decoder_widths.unwrap_or(usual.widths);
                Head::DenseDepth(DenseDepth { widths, max_m: self.max_depth as f32 })
            }
        }
    }

    /// Number of leading parts that are frozen.
    pub(super) fn frozen(&self) -> Result<usize, Error> {
        let parts = self.parts();
        let (Some(name), [learnable @ .., _]) = (&self.freeze, &parts[..]) else { return Ok(0) };
        match learnable.iter().position(|part| part == name) {
            Some(at) => Ok(at + 1),
            None => Err(Error::Part {
                setting: "freeze",
                value: name.clone(),
                parts: format!("one of {}", learnable.join(", ")),
            }),
        }
    }

    /// The factor of each part's learning rate.
    pub(super) fn lr_scales(&self) -> Result<Vec<f32>, Error> {
        let (frozen, parts) = (self.frozen()?, self.parts());
        let mut scales = vec![None; parts.len()];
        let entries = self.lr_scale.iter().flat_map(|text| text.split(','));
        for entry in entries.filter(|entry| !entry.trim().is_empty()) {
            let parsed = entry.split_once('=').and_then(|(part, factor)| {
                let part = parts.iter().position(|known| *known == part.trim())?;
                Some((part, factor.trim().parse::<f32>().ok().filter(|f| *f >= 0.0 && f.is_finite())?))
            });
            let Some((part, factor)) = parsed else {
                let parts = format!("PART=FACTOR,.. with the parts {}", parts.join(", "));
                return Err(Error::Part { setting: "lr-scale", value: entry.to_owned(), parts });
            };
            if scales[part].replace(factor).is_some() {
                return Err(Error::Range { setting: "lr-scale", value: entry.to_owned(), range: "one factor a part" });
            }
            if part < frozen {
                return Err(Error::Range {
                    setting: "lr-scale",
                    value: entry.to_owned(),
                    range: "of a part that learns",
                });
            }
        }
        let backbone = self.config().map_or(0, |config| config.layers.stages().len());
        let of_part = |(part, scale): (usize, Option<f32>)| {
            scale.unwrap_or(1.0) * if part < backbone { self.backbone_lr as f32 } else { 1.0 }
        };
        Ok(scales.into_iter().enumerate().map(of_part).collect())
    }

    fn optimizer(&self) -> Optimizer {
        let momentum = self.momentum as f32;
        match self.optimizer {
            OptimizerName::Sgd => Optimizer::Sgd(Sgd { momentum, nesterov: self.nesterov }),
            OptimizerName::AdamW => Optimizer::AdamW(AdamW { decays: [momentum, self.beta2 as f32], eps: AdamW::EPS }),
        }
    }

    /// The options of a training step. The recipe must be valid.
    pub(in crate::train) fn step_options(&self) -> StepOptions {
        let when = if self.accumulate > 1 { When::AfterParts } else { When::AtOnce };
        let precision = match self.precision {
            TrainingPrecision::F32 => Precision::F32,
            TrainingPrecision::Mixed => Precision::F16,
        };
        StepOptions {
            frozen: self.frozen().unwrap_or(0),
            norm: match self.frozen_norm {
                FrozenNorm::None => Norm::Batch,
                FrozenNorm::Statistics => Norm::Running,
                FrozenNorm::All => Norm::Frozen,
            },
            learning: Learning {
                optimizer: self.optimizer(),
                weight_decay: self.weight_decay as f32,
                decay: self.decay,
                lr_scales: self.lr_scales().unwrap_or_default(),
                ema: self.ema > 0.0,
                max_norm: self.clip_norm.map_or(f32::INFINITY, |norm| norm as f32),
            },
            when,
            precision,
        }
    }

    /// The task that the network learns.
    pub fn task(&self) -> Arc<dyn Task> {
        match self.task {
            Purpose::Classify => {
                let mixed = self.mixup > 0.0 || self.cutmix > 0.0;
                Arc::new(Classify { label_smoothing: self.label_smoothing as f32, mixed })
            }
            Purpose::Segment => Arc::new(Segment),
            Purpose::Detect => Arc::new(Detect {
                box_loss: match self.box_loss {
                    BoxLossName::L1 => BoxLossKind::L1,
                    BoxLossName::Huber => BoxLossKind::Huber { delta: 0.1 },
                    BoxLossName::Giou => BoxLossKind::Giou,
                },
            }),
            Purpose::Depth => Arc::new(Depth {
                loss: match self.depth_loss {
                    DepthLossName::ScaleInvariant => DepthLossKind::ScaleInvariant { lambda: 0.5 },
                    DepthLossName::Silog => DepthLossKind::SiLog { focus: 0.85 },
                    DepthLossName::Sigloss => DepthLossKind::SigLoss,
                },
                max_m: self.max_depth as f32,
            }),
        }
    }

    /// The measure of a task that decides which epoch is the best.
    pub fn goal(&self, task: &dyn Task) -> Measure {
        let chosen = |measure: &&Measure| self.goal.as_deref() == Some(measure.name);
        *task.measures().iter().find(chosen).unwrap_or(&task.measures()[0])
    }

    /// The network, with the default number of classes; the task sets the actual one.
    ///
    /// # Errors
    /// An unknown model, or a setting that the model does not have.
    pub fn config(&self) -> Result<Config, models::Error> {
        Ok(Config {
            dropout: self.dropout as f32,
            drop_path: self.drop_path as f32,
            bn_momentum: self.bn_momentum as f32,
            ..self.headed(Config::new(self.layers()?, DEFAULT_OUTPUTS))
        })
    }

    /// A network with the head of this recipe, and the output stride that it needs.
    pub(crate) fn headed(&self, config: Config) -> Config {
        let head = self.head_layers();
        let usual = match head {
            Head::DeepLabV3(_) | Head::DeepLabV3Plus(_) | Head::Fcn(_) => 16,
            Head::Classifier | Head::RetinaNet(_) | Head::UNet(_) | Head::DenseDepth(_) => 32,
        };
        Config { output_stride: self.output_stride.unwrap_or(usual), head, ..config }
    }

    /// The model's layers, with the recipe's changes.
    fn layers(&self) -> Result<Layers, models::Error> {
        let preset = Preset::find(&self.model)?;
        match preset.layers {
            Layers::ResNet(layers) => Ok(Layers::ResNet(ResNet {
                depths: self.depths.unwrap_or(layers.depths),
                width: self.width.map_or(layers.width, f64::from),
                se_ratio: self.se_ratio.unwrap_or(layers.se_ratio),
                stem: self.stem.unwrap_or(layers.stem),
                stem_downsampling: self.stem_downsampling.unwrap_or(layers.stem_downsampling),
                shortcut: self.shortcut.unwrap_or(layers.shortcut),
                activation: self.activation.unwrap_or(layers.activation),
                drop_path_schedule: self.drop_path_schedule.unwrap_or(layers.drop_path_schedule),
                zero_init_last: self.zero_init_last.unwrap_or(layers.zero_init_last),
            })),
            Layers::EfficientNet(layers) => {
                let of_resnets = [
                    ("depths", self.depths.is_some()),
                    ("se-ratio", self.se_ratio.is_some()),
                    ("stem", self.stem.is_some()),
                    ("stem-downsampling", self.stem_downsampling.is_some()),
                    ("shortcut", self.shortcut.is_some()),
                    // EfficientNet's own choices, block by block and SiLU, are accepted.
                    ("activation relu", self.activation == Some(ActivationChoice::Relu)),
                    ("drop-path-schedule stage", self.drop_path_schedule == Some(DropPathSchedule::Stage)),
                    ("zero-init-last", self.zero_init_last == Some(true)),
                ];
                if let Some((field, _)) = of_resnets.into_iter().find(|(_, given)| *given) {
                    return Err(models::Error::NotOfFamily { model: preset.name, field });
                }
                let width = self.width.map_or(layers.width, f64::from);
                Ok(Layers::EfficientNet(EfficientNet { width, ..layers }))
            }
        }
    }

    /// The card of this recipe's network for a data set.
    ///
    /// # Errors
    /// An unknown model.
    pub fn card(&self, config: Config, dataset: &Dataset) -> Result<ModelCard, models::Error> {
        let preset = Preset::find(&self.model)?;
        let res = self.res.or(dataset.native_res).unwrap_or(preset.res);
        // Small pictures are shown whole; photographs as timm crops them for this model.
        let crop_pct = if dataset.native_res.is_some() { 1.0 } else { preset.crop_pct };
        Ok(ModelCard { res, crop_pct, mean: dataset.mean, std: dataset.std, ..ModelCard::for_preset_of(config) })
    }

    /// This recipe, with the data's choices for settings that are not set.
    pub(in crate::train) fn for_data(&self, dataset: &Dataset) -> Self {
        let mirrors = dataset.mirrored && self.augment != Augment::None;
        let hflip = self.hflip.unwrap_or(if mirrors { 0.5 } else { 0.0 });
        Self { hflip: Some(hflip), ..self.clone() }
    }

    /// How training pictures are transformed.
    pub(in crate::train) fn transform(&self, dataset: &Dataset, card: &ModelCard) -> Transform {
        let (dense, border) = (self.task != Purpose::Classify, card.view().border);
        let rand_augment = RandAugment {
            layers: self.randaug_layers,
            magnitude: self.randaug_magnitude as f32,
            convention: self.randaug_convention,
            colour_only: dense,
        };
        let augmentation = Augmentation {
            crop: match self.augment {
                // Boxes, masks and depths are learnt from whole pictures.
                Augment::None if dense => data::Augment::View(card.view()),
                Augment::None => data::Augment::default(),
                Augment::Standard | Augment::Randaug if dense => {
                    let [least, most] = self.scale;
                    data::Augment::Scale { least, most, hflip: self.hflip.unwrap_or(0.5) as f32, border }
                }
                Augment::Standard | Augment::Randaug => {
                    data::Augment::Standard { shift: self.crop_shift as f32, hflip: self.hflip.unwrap_or(0.5) as f32 }
                }
            },
            jitter: self.jitter as f32,
            rand_augment: (self.augment == Augment::Randaug).then_some(rand_augment),
            erasing: self.erasing as f32,
            mixup: self.mixup as f32,
            cutmix: self.cutmix as f32,
        };
        let small = dataset.native_res.is_some();
        Transform::Train { augmentation, small, shuffle: self.shuffle, seed: self.seed }
    }
}
