//! Training: the recipe, the step as one graph, the loop, and what a run leaves on disk.

mod checkpoint;
pub mod curves;
mod error;
mod evaluate;
mod flags;
pub mod metrics;
mod recipe;
mod run;
mod schedule;
mod step;
mod trainer;

pub use checkpoint::Checkpoint;
pub use error::Error;
pub use evaluate::{Evaluation, evaluate};
pub use flags::RecipeFlags;
pub(crate) use flags::parse_depths;
pub use metrics::{EpochLine, Line, Metrics, StepLine};
pub use recipe::{Augment, Decay, Recipe};
pub use run::Run;
pub use schedule::{LearningRate, Schedule};
pub use step::{Optimizer, Step};
pub use trainer::{Observer, Summary, Trainer};
