//! Flags of the commands that run one workload.

use clap::Args;

use super::network::NetworkFlags;
use crate::bench::{Mode, Workload};
use crate::graph::Precision;
use crate::models::{self, Preset};

#[derive(Args)]
pub(super) struct WorkloadFlags {
    /// Name from `resnet-rs models`
    #[arg(value_parser = Preset::find)]
    model: &'static Preset,
    /// Side of the pictures, px [default: the model's or the task's]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=8192))]
    res: Option<u32>,
    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// A training step, not an answer
    #[arg(long)]
    train: bool,
    /// Storage of maps and weights; a training step in f16 is one of mixed precision
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Recompute activations, as `train --recompute` does
    #[arg(long, requires = "train")]
    recompute: bool,
    #[command(flatten)]
    network: NetworkFlags,
}

impl WorkloadFlags {
    pub(super) fn workload(&self) -> Result<Workload, models::Error> {
        Ok(Workload {
            model: self.network.name(self.model),
            config: self.network.config(self.model)?,
            res: self.res.or(self.network.res()).unwrap_or(self.model.res) as usize,
            batch: self.batch as usize,
            mode: if self.train { Mode::Train } else { Mode::Infer },
            precision: self.precision,
            recompute: self.recompute,
        })
    }
}
