//! Training: the recipe, the step as one graph, the loop, and what a run leaves on disk.

mod checkpoint;
pub mod curves;
mod error;
mod flags;
pub mod metrics;
mod recipe;
mod schedule;
mod step;

pub use checkpoint::Checkpoint;
pub use error::Error;
pub use flags::RecipeFlags;
pub use metrics::{EpochLine, Line, Metrics, StepLine};
pub use recipe::{Augment, Decay, Recipe};
pub use schedule::{LearningRate, Schedule};
pub use step::{Optimizer, Step};
