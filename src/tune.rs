//! Measures which kernel is the fastest for each convolution of a network on an adapter. Only `resnet-rs tune` does
//! this; nothing tunes by itself.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::{NodeBench, distinct, median};
use crate::exec::{Error, Session};
use crate::gpu::{Gpu, Target};
use crate::graph::Graph;
use crate::kernels::{Choices, ConvShape, Method, candidates};

/// Timed runs of a candidate: at least the first number, at most the second, and in between as many as fit the time.
const FEWEST_RUNS: usize = 3;
const MOST_RUNS: usize = 30;
const ENOUGH: Duration = Duration::from_millis(200);

/// Time for which a candidate runs before its runs are timed.
const WARM_UP: Duration = Duration::from_millis(20);

/// A candidate must be this much faster than the default to replace it; less is chance.
const WORTHWHILE: f64 = 0.97;

/// A convolution of a network.
pub struct Layer {
    shape: ConvShape,
    /// How often the network contains it, with any epilogue.
    count: usize,
    node: NodeBench,
}

/// Time of one method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Its name.
    pub method: String,
    /// Median in milliseconds: on the adapter's own clock, or without one from submission to completion.
    pub ms: f64,
}

/// A convolution with the times of its candidates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Name of the shape.
    pub shape: String,
    /// How often the network contains it.
    pub count: usize,
    /// FLOPs, two per multiply-accumulate.
    pub flops: u64,
    /// The candidates, the default first.
    pub timings: Vec<Timing>,
    /// Index of the one to use.
    pub best: usize,
}

/// The convolutions of a network as a target runs them, one per shape, in the order of the network.
pub fn layers(network: &Graph, target: Target) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for node in distinct(network, |_| true) {
        let Some(shape) = node.conv_shape(target) else { continue };
        match layers.iter_mut().find(|layer| layer.shape == shape) {
            Some(layer) => layer.count += node.count,
            None => layers.push(Layer { shape, count: node.count, node }),
        }
    }
    layers
}

impl Layer {
    /// The convolution's shape.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Times every method that can serve the convolution.
    ///
    /// # Errors
    /// If it does not fit the device, or the device fails.
    pub fn measure(&self, gpu: &Gpu) -> Result<Measured, Error> {
        let methods = candidates(gpu.target(), &self.shape);
        let time = |method: Method| -> Result<Timing, Error> {
            let ms = self.median_ms(gpu, &Choices::only(&self.shape, method))?;
            Ok(Timing { method: method.to_string(), ms })
        };
        let timings = methods.into_iter().map(time).collect::<Result<Vec<_>, _>>()?;
        let flops = 2 * self.node.cost.macs;
        Ok(Measured { shape: self.shape.to_string(), count: self.count, flops, best: best(&timings), timings })
    }

    fn median_ms(&self, gpu: &Gpu, choices: &Choices) -> Result<f64, Error> {
        let mut session = self.node.session(gpu, Some(choices))?;
        let run_ms = |session: &mut Session| -> Result<f64, Error> {
            let started = Instant::now();
            let times = session.run_timed()?;
            let by_host = 1e3 * started.elapsed().as_secs_f64();
            Ok(times.map_or(by_host, |nodes| nodes.iter().map(|node| node.milliseconds).sum()))
        };
        // The driver may compile the kernel only at its first run, and an idle GPU takes a while to raise its clock.
        run_ms(&mut session)?;
        let started = Instant::now();
        while started.elapsed() < WARM_UP {
            session.run()?;
            session.wait()?;
        }
        let started = Instant::now();
        let mut times = Vec::new();
        while times.len() < FEWEST_RUNS || (times.len() < MOST_RUNS && started.elapsed() < ENOUGH) {
            times.push(run_ms(&mut session)?);
        }
        Ok(median(&times))
    }
}

/// Index of the fastest if it is [`WORTHWHILE`], else of the default, which comes first.
fn best(timings: &[Timing]) -> usize {
    let fastest = (0..timings.len()).min_by(|&a, &b| timings[a].ms.total_cmp(&timings[b].ms)).unwrap_or(0);
    if timings[fastest].ms < WORTHWHILE * timings[0].ms { fastest } else { 0 }
}

impl Measured {
    /// The choice for a tuning file, shape and method; `None` for the default.
    pub fn choice(&self) -> Option<(String, String)> {
        (self.best > 0).then(|| (self.shape.clone(), self.timings[self.best].method.clone()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::{Input, Mode, Network, Preset};
    use crate::train::task::Classify;
    use crate::train::{Step, StepOptions};

    #[test]
    fn convolutions_of_equal_shape_are_measured_once() {
        let config = Preset::find("resnet-rs-50").unwrap().config(10);
        let network = Network::build(&config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap().graph;
        let layers = layers(&network, Target::TILES);
        let all = network.nodes().iter().filter(|node| node.op.rule().name() == "conv2d").count();
        assert_eq!(layers.iter().map(|layer| layer.count).sum::<usize>(), all);
        assert!(layers.len() < all);
        for (i, layer) in layers.iter().enumerate() {
            assert_eq!(layer.node.conv_shape(Target::TILES), Some(layer.shape));
            assert!(layers[..i].iter().all(|other| other.shape != layer.shape));
        }
    }

    #[test]
    fn a_training_step_has_convolutions_in_every_direction() {
        let config = Preset::find("small").unwrap().config(10);
        let step =
            Step::build(&config, 2, [32; 2], Input::Tensor, &Classify::default(), &StepOptions::default()).unwrap();
        let layers = layers(&step.graph, Target::TILES);
        for direction in ["forward", "input gradient", "weight gradient"] {
            assert!(layers.iter().any(|layer| layer.shape.to_string().starts_with(direction)), "{direction}");
        }
    }

    #[test]
    fn the_default_stays_unless_another_is_clearly_faster() {
        let timings =
            |ms: &[f64]| -> Vec<Timing> { ms.iter().map(|&ms| Timing { method: String::new(), ms }).collect() };
        assert_eq!(best(&timings(&[10.0, 9.9, 12.0])), 0);
        assert_eq!(best(&timings(&[10.0, 9.0, 8.0])), 2);
        assert_eq!(best(&timings(&[10.0])), 0);
    }
}
