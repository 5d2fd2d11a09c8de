//! A network ready to answer: built, fused and bound to a device.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::exec::{ParameterStore, Session, SessionOptions};
use crate::gpu::Gpu;
use crate::graph::freeze::{Frozen, freeze};
use crate::graph::{Precision, TensorId, fuse};
use crate::models::{Config, Input, Mode, Network};
use crate::reference::{self, Values};
use crate::weights::{StateDict, timm};
use crate::{Error, exec};

/// How a network is made ready to answer.
pub struct InferenceOptions<'a> {
    /// Pictures answered at a time.
    pub batch: usize,
    /// Storage of maps and weights.
    pub precision: Precision,
    /// How its session is prepared.
    pub session: SessionOptions<'a>,
}

impl Default for InferenceOptions<'_> {
    /// One picture at a time, f32.
    fn default() -> Self {
        Self { batch: 1, precision: Precision::F32, session: SessionOptions::default() }
    }
}

/// A fused inference network on a device, for a fixed number of pictures of a fixed size.
pub struct Inference {
    session: Session,
    input: TensorId,
    logits: TensorId,
}

impl Inference {
    /// Builds the network over parameters that others train, in f32; [`Self::prepare`] folds them. Those that the store does
    /// not hold yet are allocated, zero.
    ///
    /// # Errors
    /// If the network cannot be built for that size or does not fit the device.
    pub fn new(
        store: &mut ParameterStore,
        config: &Config,
        batch: usize,
        size: [usize; 2],
        input: Input,
        options: &SessionOptions<'_>,
    ) -> Result<Self, Error> {
        let mut network = Network::build(config, batch, size, input, Mode::Inference)?;
        fuse::for_inference(&mut network.graph, &[network.logits])?;
        store.allocate(&network.graph)?;
        let session = Session::new(store, network.graph, &[network.logits], options)?;
        Ok(Self { session, input: network.input, logits: network.logits })
    }

    /// Builds the network for pictures of `size` (height, width) with the weights of a file, `path` in messages. They are folded
    /// on the CPU on their way to the device, which never holds more than what answers.
    ///
    /// # Errors
    /// If the network cannot be built for that size or does not fit the device, or the weights are not those of the network.
    pub fn load(
        gpu: &Gpu,
        (path, weights): (&Path, &StateDict),
        config: &Config,
        size: [usize; 2],
        input: Input,
        options: &InferenceOptions<'_>,
    ) -> Result<Self, Error> {
        let Network { graph, input, logits, .. } = Network::build(config, options.batch, size, input, Mode::Inference)?;
        let frozen = freeze(graph.clone(), &[logits], options.precision)?;
        let mut store = ParameterStore::new(gpu);
        store.allocate(&frozen.graph)?;
        let mut session = Session::new(&store, frozen.graph.clone(), &[logits], &options.session)?;
        // The driver finishes kernels while the weights are folded. Uploads would wait for it.
        session.warm_up()?;
        store.load(&fold(&frozen, timm::values(path, weights, &graph)?)?)?;
        session.prepare()?;
        Ok(Self { session, input, logits })
    }

    /// Folds and transforms the current parameters of a network made by [`Self::new`]. To be called after they are loaded, and again whenever
    /// they have changed.
    pub fn prepare(&mut self) -> Result<(), Error> {
        Ok(self.session.prepare()?)
    }

    /// Logits `[N, classes]` of packed pixels `[N, H, W]`.
    pub fn logits_of_pixels(&mut self, pixels: &[u32]) -> Result<Vec<f32>, Error> {
        self.session.feed(&[], &[(self.input, pixels)])?;
        self.answer().map_err(Error::from)
    }

    /// Logits `[N, classes]` of standardised pictures `[N, H, W, 3]`.
    pub fn logits_of_tensor(&mut self, pictures: &[f32]) -> Result<Vec<f32>, Error> {
        self.session.feed(&[(self.input, pictures)], &[])?;
        self.answer().map_err(Error::from)
    }

    fn answer(&mut self) -> Result<Vec<f32>, exec::Error> {
        self.session.run()?;
        self.session.read(self.logits)
    }

    /// The session underneath, for its plan and its times.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// Parameters of a frozen network from those of the network that it was: as they are, or folded in f64 by the operations' twins.
fn fold(frozen: &Frozen, values: Vec<(String, Vec<f32>)>) -> Result<Vec<(String, Vec<f32>)>, Error> {
    let Frozen { graph, folding } = frozen;
    let stored: HashSet<&str> = graph.persistent().map(|id| graph.tensor(id).name.as_str()).collect();
    let readers = folding.consumers();
    let mut values: HashMap<String, Vec<f32>> = values.into_iter().collect();
    for (i, node) in folding.nodes().iter().enumerate() {
        let mut twin = Values::new();
        for &id in &node.inputs {
            twin.set(folding, id, values[&folding.tensor(id).name].iter().map(|&v| v.into()).collect())?;
        }
        reference::run_node(folding, node, &mut twin)?;
        for &id in &node.outputs {
            let result = twin.take(id).iter().flatten().map(|&v| v as f32).collect();
            values.insert(folding.tensor(id).name.clone(), result);
        }
        // What nobody reads again makes room.
        for id in &node.inputs {
            let name = folding.tensor(*id).name.as_str();
            if readers[id].last() == Some(&i) && !stored.contains(name) {
                values.remove(name);
            }
        }
    }
    let one = |name: &str| {
        let found = values.remove(name).unwrap_or_else(|| unreachable!("{name} is neither kept nor folded"));
        (name.to_owned(), found)
    };
    Ok(stored.into_iter().map(one).collect())
}
