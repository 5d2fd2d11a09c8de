//! Training: the recipe, the step as one graph, the loop, and what a run leaves on disk.

pub mod ablate;
mod broken;
mod checkpoint;
pub mod curves;
mod data;
mod engine;
mod error;
mod evaluate;
mod fit;
mod flags;
mod init;
pub mod metrics;
mod numbers;
mod optimizer;
mod plot;
mod recipe;
pub mod report;
mod run;
mod schedule;
mod step;
pub mod task;
mod tensorboard;
mod trainer;
mod update;

pub use checkpoint::{Best, Checkpoint};
pub use error::{Divergence, Error};
pub use evaluate::{Evaluation, Show, evaluate};
pub use flags::RecipeFlags;
pub(crate) use flags::parse_numbers;
pub use metrics::{EpochLine, Line, Metrics, StepLine};
pub use numbers::{Measure, Numbers};
pub use optimizer::{AdamW, Optimizer, Sgd};
pub use recipe::{
    Augment, BoxLossName, Decay, DepthLossName, FrozenNorm, HeadName, OptimizerName, Recipe, TrainingPrecision,
};
pub use run::Run;
pub use schedule::{LearningRate, Schedule};
pub use step::{Step, StepOptions, When};
pub use trainer::{Ended, Observer, Summary, Trainer};
pub use update::{Learning, Update, ema_decay};
