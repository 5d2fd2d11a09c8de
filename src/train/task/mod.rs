//! What networks learn to do. A task knows what the rest of training does not: which truth a picture must have, the loss,
//! the metric, and what is worth showing.

mod classify;

use std::fmt;

pub use classify::Classify;

use crate::data::Encode;
use crate::graph::{Graph, Port, TensorId};
use crate::models::Error;

/// Something that networks learn.
pub trait Task: Encode + fmt::Debug {
    /// Appends the loss of a network's outputs, and an input for each target.
    ///
    /// # Errors
    /// If the outputs are not those of a network for this task.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, Error>;
}

/// The loss of a batch as tensors of a graph, each `[1]`: a mean over the batch's pictures.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is added up, each with its weight in the sum.
    pub terms: Vec<Term>,
    /// What else is read after each step.
    pub reported: Vec<Port>,
}

/// A term of a loss.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// The term.
    pub port: Port,
    /// What it is multiplied by.
    pub weight: f32,
}

/// The output of a name.
fn output(outputs: &[Port], name: &'static str) -> Result<TensorId, Error> {
    let port = outputs.iter().find(|port| port.name == name);
    port.map(|port| port.id).ok_or_else(|| Error::NoOutput { name, outputs: outputs.iter().map(|p| p.name).collect() })
}
