//! A network with random weights and random pictures, as the program would run it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::ValueEnum;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::exec::{self, ParameterStore, Session, SessionOptions, initial_values};
use crate::gpu::Gpu;
use crate::graph::{DType, Elements, Graph, Init, Precision, Role, TensorId};
use crate::kernels::Choices;
use crate::models::Config;
use crate::summary::{Summary, inference, training_step};

/// Seed of all random numbers.
const SEED: u64 = 1;

/// Inputs of a step that are neither pictures nor targets, and the pictures.
const SETTINGS: [&str; 4] = ["pixels", "clock", "lr", "factor"];

/// How a network is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Inference of a batch with the fused network.
    Infer,
    /// One training step: forward, backward, update.
    Train,
}

/// A network, its pictures, and how it is run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name in reports.
    pub model: String,
    /// The network.
    pub config: Config,
    /// Side of the pictures in pixels.
    pub res: usize,
    /// Pictures in a batch.
    pub batch: usize,
    /// Inference or a training step.
    pub mode: Mode,
    /// Storage of maps and weights; with f16, a training step is one of mixed precision.
    pub precision: Precision,
    /// Whether a training step recomputes activations instead of keeping them.
    pub recompute: bool,
}

/// The workload and the adapter of a measurement: the start of every report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Subject {
    /// Name of the adapter.
    pub adapter: String,
    /// Name of the network.
    pub model: String,
    /// Side of the pictures in pixels.
    pub res: usize,
    /// Pictures in a batch.
    pub batch: usize,
    /// Inference or a training step.
    pub mode: Mode,
    /// Element type in memory.
    pub precision: Precision,
}

/// A graph and the outputs to read.
struct Program {
    graph: Graph,
    outputs: Vec<TensorId>,
}

/// Identifies a workload: model, side of the pictures, batch, mode, precision.
pub(super) type Key<'a> = (&'a str, usize, usize, Mode, Precision);

impl Workload {
    /// Identifies the workload.
    pub fn key(&self) -> Key<'_> {
        (&self.model, self.res, self.batch, self.mode, self.precision)
    }

    /// This workload on a device.
    pub fn on(&self, gpu: &Gpu) -> Subject {
        let Self { model, res, batch, mode, precision, .. } = self.clone();
        Subject { adapter: gpu.name().to_owned(), model, res, batch, mode, precision }
    }

    fn build(&self) -> Result<Program, Error> {
        let (config, size) = (&self.config, [self.res; 2]);
        Ok(match self.mode {
            Mode::Infer => {
                let network = inference(config, self.batch, size, self.precision)?;
                Program { outputs: network.output_ids(), graph: network.graph }
            }
            Mode::Train => {
                let step = training_step(config, self.batch, size, self.precision, self.recompute)?;
                Program { outputs: step.outputs(), graph: step.graph }
            }
        })
    }

    /// FLOPs of one run: of the network before fusion, or of the training step.
    ///
    /// # Errors
    /// If the configuration is out of range, or the pictures or the batch are too small.
    pub fn flops(&self) -> Result<u64, Error> {
        match self.mode {
            Mode::Infer => Ok(Summary::new(&self.config, self.batch, [self.res; 2])?.flops),
            Mode::Train => {
                let graph = self.build()?.graph;
                Ok(graph.nodes().iter().map(|n| 2 * n.cost(&graph).macs).sum())
            }
        }
    }

    /// GPU memory that a session on this device plans, parameters included.
    ///
    /// # Errors
    /// The errors of [`Self::flops`].
    pub fn planned_bytes(&self, gpu: &Gpu) -> Result<u64, Error> {
        let Program { graph, outputs } = self.build()?;
        let plan = Choices::of(gpu.tuning()).plan(graph, &outputs, gpu.target())?;
        Ok(plan.bytes.total())
    }

    /// Draws random weights, pictures and targets: the data that a user has in memory before opening the device.
    ///
    /// # Errors
    /// The errors of [`Self::flops`].
    pub fn prepare(self) -> Result<Prepared, Error> {
        let Program { graph, .. } = self.build()?;
        let mut weights = Vec::new();
        for tensor in graph.persistent().map(|id| graph.tensor(id)) {
            match tensor.role {
                // Memory is allocated as zeros.
                Role::Parameter(Init::Constant(0.0)) | Role::State(_, Init::Constant(0.0)) => {}
                Role::Parameter(init) | Role::State(_, init) => {
                    weights.push((tensor.name.clone(), initial_values(tensor, init, SEED)));
                }
                _ => {}
            }
        }
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(SEED);
        let pixels = (0..self.batch * self.res * self.res).map(|_| rng.random()).collect();
        let inputs = graph.ids().map(|id| graph.tensor(id)).filter(|tensor| tensor.role == Role::Input);
        let targets = inputs.filter(|tensor| !SETTINGS.contains(&&*tensor.name)).map(|tensor| {
            let elements = 0..tensor.spec.elements();
            let values: Elements<'static> = match tensor.spec.dtype {
                DType::U32 => {
                    elements.map(|_| rng.random_range(0..self.config.classes as u32)).collect::<Vec<_>>().into()
                }
                DType::F32 | DType::F16 => elements.map(|_| rng.random()).collect::<Vec<f32>>().into(),
            };
            (tensor.name.clone(), values)
        });
        let targets = targets.collect();
        Ok(Prepared { flops: self.flops()?, workload: self, weights, pixels, targets })
    }
}

/// A workload with its weights and pictures in the program's memory.
pub struct Prepared {
    /// The workload.
    pub workload: Workload,
    /// FLOPs of one run.
    pub flops: u64,
    weights: Vec<(String, Vec<f32>)>,
    pixels: Vec<u32>,
    /// Random values for the task's inputs, by name.
    targets: Vec<(String, Elements<'static>)>,
}

/// A workload on a device, its first run done.
pub struct Running {
    /// The session.
    pub session: Session,
    /// Time to the first answer in milliseconds.
    pub first_ms: f64,
    /// Pipelines compiled.
    pub pipelines: usize,
    outputs: Vec<TensorId>,
}

impl Prepared {
    /// Runs the workload up to its first answer. `since` is the time at which the device was asked for; `progress` is
    /// called with the number of compiled pipelines and the total.
    ///
    /// # Errors
    /// If it does not fit the device, or the device fails.
    pub fn start(&self, gpu: &Gpu, since: Instant, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Running, Error> {
        let Program { graph, outputs } = self.workload.build()?;
        let mut store = ParameterStore::new(gpu);
        store.allocate(&graph)?;
        let pipelines = AtomicUsize::new(0);
        let compiling = |done, total| {
            pipelines.store(total, Ordering::Relaxed);
            progress(done, total);
        };
        let mut session = Session::new(
            &store,
            graph,
            &outputs,
            &SessionOptions { progress: Some(&compiling), ..SessionOptions::default() },
        )?;
        session.warm_up()?;
        store.load(&self.weights)?;
        session.prepare()?;
        let mut values: Vec<(&str, Elements<'_>)> = vec![
            ("pixels", self.pixels[..].into()),
            ("clock", [SEED as u32, 0][..].into()),
            ("lr", [0.01][..].into()),
            ("factor", [1.0][..].into()),
        ];
        values.extend(self.targets.iter().map(|(name, elements)| (&**name, elements.as_ref())));
        session.feed_inputs(&values)?;
        session.run()?;
        session.read_later(&outputs)?.wait()?;
        let first_ms = 1e3 * since.elapsed().as_secs_f64();
        Ok(Running { session, first_ms, pipelines: pipelines.into_inner(), outputs })
    }
}

impl Running {
    /// Runs once more and returns the milliseconds from submission to the result in the program's memory.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run_ms(&mut self) -> Result<f64, exec::Error> {
        let started = Instant::now();
        self.session.run()?;
        self.session.read_later(&self.outputs)?.wait()?;
        Ok(1e3 * started.elapsed().as_secs_f64())
    }
}
