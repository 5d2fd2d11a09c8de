//! A network ready to answer: built, fused and bound to a device.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::exec::{ParameterStore, PendingRead, Session, SessionOptions};
use crate::gpu::{Frame, Gpu};
use crate::graph::freeze::{Frozen, freeze};
use crate::graph::{Elements, Graph, Port, Precision, Role, TensorId, fuse};
use crate::kernels::frame::Crop;
use crate::models::{self, Config, Input, Mode, Network};
use crate::reference;
use crate::weights::{HostTensor, TrainedNetwork, named_outputs, timm};
use crate::{Error, exec};

/// How a network is made ready to answer.
///
/// ```
/// use resnet_rs::{InferenceOptions, Precision};
///
/// let half = InferenceOptions { batch: 16, precision: Precision::F16, ..InferenceOptions::default() };
/// ```
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

/// Which tensors a network answers with.
#[derive(Clone)]
pub enum Answer {
    /// The network's outputs ([`Network::outputs`]): the logits `[N, classes]` of a classifier.
    Outputs,
    /// The last map of each of the strides 2, 4, 8, 16 and 32 ([`Network::levels`]).
    Levels,
    /// What is made of the outputs by nodes that this function appends. They may have inputs of their own.
    Made(Arc<Make>),
}

/// Appends nodes that read a network's outputs, and returns the tensors to read.
pub type Make = dyn Fn(&mut Graph, &[Port]) -> Result<Vec<TensorId>, models::Error> + Send + Sync;

impl Answer {
    /// The tensors to read, after the network's graph is completed.
    fn tensors(&self, network: &mut Network) -> Result<Vec<Port>, models::Error> {
        let ports = match self {
            Self::Outputs => network.outputs.clone(),
            Self::Levels => network.levels.iter().map(|level| Port { name: level.name, id: level.map }).collect(),
            Self::Made(make) => {
                let made = make(&mut network.graph, &network.outputs)?;
                made.into_iter().map(|id| Port { name: "made", id }).collect()
            }
        };
        network.graph.retain_ancestors(&ids(&ports));
        Ok(ports)
    }
}

/// The tensors of ports.
fn ids(ports: &[Port]) -> Vec<TensorId> {
    ports.iter().map(|port| port.id).collect()
}

/// A network's weights, folded and on a device. Networks for any batch and any size of pictures share them.
pub struct FoldedWeights {
    store: ParameterStore,
    config: Config,
    precision: Precision,
}

impl FoldedWeights {
    /// Loads a network's weights and builds a first network over them, for pictures of `size` (height, width). The
    /// weights are folded on the CPU before the upload, so the device only ever holds the folded ones.
    ///
    /// # Errors
    /// If the network cannot be built for that size or does not fit the device, or the weights are not those of the
    /// network.
    pub fn load(
        gpu: &Gpu,
        trained: &TrainedNetwork,
        size: [usize; 2],
        input: Input,
        answer: Answer,
        options: &InferenceOptions<'_>,
    ) -> Result<(Self, Inference), Error> {
        let TrainedNetwork { path, weights, card } = trained;
        let (mut store, config) = (ParameterStore::new(gpu), &card.config);
        let network = Network::build(config, options.batch, size, input, Mode::Inference)?;
        let (frozen, input, outputs) = frozen(network.clone(), &answer, options.precision)?;
        store.allocate(&frozen.graph)?;
        let session = Session::new(&store, frozen.graph.clone(), &ids(&outputs), &options.session)?;
        // The driver finishes compiling kernels while the weights are folded; uploads would wait for it.
        session.warm_up()?;
        store.load(&reference::fold(&frozen, timm::values(path, weights, &network.graph)?)?)?;
        let mut first = Inference { session, input, outputs };
        first.prepare()?;
        Ok((Self { store, config: config.clone(), precision: options.precision }, first))
    }

    /// One more network over the same weights. If the device runs convolutions by Winograd's algorithm, the network
    /// holds transformed copies of some weights. `answer` may differ from that of the first network, but must not need
    /// weights that the first one did not.
    ///
    /// # Errors
    /// If the network cannot be built for that size or does not fit the device.
    pub fn network(&self, batch: usize, size: [usize; 2], input: Input, answer: &Answer) -> Result<Inference, Error> {
        let network = Network::build(&self.config, batch, size, input, Mode::Inference)?;
        let (frozen, input, outputs) = frozen(network, answer, self.precision)?;
        let session = Session::new(&self.store, frozen.graph, &ids(&outputs), &SessionOptions::default())?;
        let mut network = Inference { session, input, outputs };
        network.prepare()?;
        Ok(network)
    }
}

/// The frozen inference graph, the tensor to feed, and those to read.
fn frozen(
    mut network: Network,
    answer: &Answer,
    precision: Precision,
) -> Result<(Frozen, TensorId, Vec<Port>), models::Error> {
    let outputs = answer.tensors(&mut network)?;
    let Network { graph, input, .. } = network;
    Ok((freeze(graph, &ids(&outputs), precision)?, input, outputs))
}

/// A fused inference network on a device, for a fixed number of pictures of a fixed size.
pub struct Inference {
    session: Session,
    input: TensorId,
    outputs: Vec<Port>,
}

impl Inference {
    /// Builds the network over parameters that a training step updates, in f32; [`Self::prepare`] folds them.
    /// Parameters that the store lacks are allocated and filled with zeros.
    ///
    /// # Errors
    /// If the network cannot be built for that size or does not fit the device.
    pub fn new(
        store: &mut ParameterStore,
        config: &Config,
        batch: usize,
        size: [usize; 2],
        input: Input,
        answer: &Answer,
        options: &SessionOptions<'_>,
    ) -> Result<Self, Error> {
        let mut network = Network::build(config, batch, size, input, Mode::Inference)?;
        let outputs = answer.tensors(&mut network)?;
        fuse::for_inference(&mut network.graph, &ids(&outputs))?;
        store.allocate(&network.graph)?;
        let session = Session::new(store, network.graph, &ids(&outputs), options)?;
        Ok(Self { session, input: network.input, outputs })
    }

    /// Builds a trained network for pictures of `size` (height, width): [`FoldedWeights::load`] for a single network.
    ///
    /// # Errors
    /// The errors of [`FoldedWeights::load`].
    pub fn load(
        gpu: &Gpu,
        trained: &TrainedNetwork,
        size: [usize; 2],
        input: Input,
        answer: Answer,
        options: &InferenceOptions<'_>,
    ) -> Result<Self, Error> {
        Ok(FoldedWeights::load(gpu, trained, size, input, answer, options)?.1)
    }

    /// Folds and transforms the current parameters of a network made by [`Self::new`]. Call it after they are loaded,
    /// and again whenever they have changed.
    pub fn prepare(&mut self) -> Result<(), Error> {
        Ok(self.session.prepare()?)
    }

    /// Logits `[N, classes]` of packed pixels `[N, H, W]`.
    pub fn logits_of_pixels(&mut self, pixels: &[u32]) -> Result<Vec<f32>, Error> {
        self.feed_pixels(pixels)?;
        Ok(self.answer()?.wait()?.swap_remove(0))
    }

    /// Logits `[N, classes]` of standardised pictures `[N, H, W, 3]`.
    pub fn logits_of_tensor(&mut self, pictures: &[f32]) -> Result<Vec<f32>, Error> {
        self.feed_tensor(pictures)?;
        Ok(self.answer()?.wait()?.swap_remove(0))
    }

    /// Hands over packed pixels `[N, H, W]`.
    pub(crate) fn feed_pixels(&self, pixels: &[u32]) -> Result<(), exec::Error> {
        self.session.feed(&[], &[(self.input, pixels)])
    }

    /// Hands over packed pixels `[N, H, W]`, and values for the other inputs by name.
    pub(crate) fn feed_all(&self, pixels: &[u32], others: &[(&str, Elements<'_>)]) -> Result<(), exec::Error> {
        let mut values = vec![("pixels", pixels.into())];
        values.extend(others.iter().map(|(name, elements)| (*name, elements.as_ref())));
        self.session.feed_inputs(&values)
    }

    /// Whether the network has other inputs than the pictures.
    pub(crate) fn has_other_inputs(&self) -> bool {
        let graph = self.session.graph();
        graph.ids().any(|id| id != self.input && graph.tensor(id).role == Role::Input)
    }

    /// Hands over standardised pictures `[N, H, W, 3]`.
    pub(crate) fn feed_tensor(&self, pictures: &[f32]) -> Result<(), exec::Error> {
        self.session.feed(&[(self.input, pictures)], &[])
    }

    /// Hands over one picture of packed pixels `[N, H, W]`.
    pub(crate) fn feed_frame(&mut self, index: usize, frame: &Frame, crop: &Crop) -> Result<(), exec::Error> {
        self.session.feed_frame(self.input, index, frame, crop)
    }

    /// Starts the work on the batch that was handed over. At most two batches are under way; a third waits for the
    /// first.
    pub(crate) fn answer(&mut self) -> Result<PendingRead, exec::Error> {
        self.session.run()?;
        self.session.read_later(&ids(&self.outputs))
    }

    /// All outputs of standardised pictures `[N, H, W, 3]` by name, in PyTorch's order, for a network that answers with
    /// [`Answer::Outputs`].
    pub fn outputs_of_tensor(&mut self, pictures: &[f32]) -> Result<BTreeMap<String, HostTensor>, Error> {
        self.feed_tensor(pictures)?;
        Ok(named_outputs(&self.described(), self.answer()?.wait()?))
    }

    /// Names and shapes of the outputs.
    pub(crate) fn described(&self) -> Vec<(&'static str, Vec<usize>)> {
        self.outputs.iter().map(|port| (port.name, self.session.graph().spec(port.id).shape.clone())).collect()
    }

    /// The session, for its plan and its times.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}
