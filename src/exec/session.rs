//! A graph on a device, ready to run again and again.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};

use super::frames::FrameResizer;
use super::{Error, ParameterStore, layout};
use crate::gpu::{Buffer, Dispatch, Frame, Gpu, Submission};
use crate::graph::plan::{Home, MemoryPlan};
use crate::graph::{DType, Elements, Graph, NodeId, Role, Tensor, TensorId};
use crate::kernels::frame::Crop;
use crate::kernels::{self, Choices, Kernel, Launch, Place};

/// Work after which a submission is cut. Windows resets a GPU that is busy for two seconds; this much work takes half a
/// second on a GPU of 0.2 TFLOP/s and 20 GB/s, slower than any in use.
const SUBMISSION_FLOPS: u64 = 100_000_000_000;
const SUBMISSION_BYTES: u64 = 10_000_000_000;

/// Runs that may be under way at a time.
const MOST_IN_FLIGHT: usize = 2;

/// Uniform blocks start at multiples of this: WebGPU's default `min_uniform_buffer_offset_alignment`.
const PARAMS_STRIDE: u64 = 256;

/// How a session is prepared.
#[derive(Default)]
pub struct SessionOptions<'a> {
    /// Called with the number of compiled pipelines and the total.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    /// Kernels for convolutions; `None` for those of the device's tuning.
    pub choices: Option<&'a Choices>,
}

/// Time of one node.
#[derive(Clone, Debug)]
pub struct NodeTime {
    /// The node.
    pub node: NodeId,
    /// Its kernels' time in milliseconds on the adapter's own clock.
    pub milliseconds: f64,
}

/// A graph bound to a device.
pub struct Session {
    gpu: Gpu,
    graph: Graph,
    plan: MemoryPlan,
    buffers: HashMap<TensorId, Buffer>,
    setup: Vec<Dispatch>,
    /// Dispatches in groups that are submitted together.
    submissions: Vec<Vec<Dispatch>>,
    /// Node of each dispatch of `submissions`, flattened.
    nodes: Vec<NodeId>,
    /// The last runs, oldest first.
    in_flight: VecDeque<Submission>,
    /// Created at the first frame.
    frames: Option<FrameResizer>,
}

impl Session {
    /// Plans memory, compiles kernels and binds everything. The store must hold all parameters and states of the graph.
    /// `outputs` can be read after a run.
    ///
    /// # Errors
    /// If the plan does not fit the device, or a shader is refused. Then nothing stays allocated.
    pub fn new(
        store: &ParameterStore,
        mut graph: Graph,
        outputs: &[TensorId],
        options: &SessionOptions<'_>,
    ) -> Result<Self, Error> {
        let gpu = store.gpu().clone();
        let tuned = Choices::of(gpu.tuning());
        let choices = options.choices.unwrap_or(&tuned);
        choices.rewrite(&mut graph, gpu.target())?;
        let plan = kernels::plan(&graph, outputs, gpu.target());
        let mut launches: Vec<(NodeId, Launch)> = Vec::new();
        let mut setup_len = 0;
        for (i, &node) in plan.setup.iter().chain(&plan.steps).enumerate() {
            launches.extend(kernels::lower(&graph, node, gpu.target(), choices)?.into_iter().map(|l| (node, l)));
            if i < plan.setup.len() {
                setup_len = launches.len();
            }
        }

        let mut kernels: Vec<&Kernel> = launches.iter().map(|(_, l)| &l.kernel).collect();
        kernels.sort();
        kernels.dedup();
        let sources: Vec<_> = kernels.iter().map(|k| k.source()).collect();
        let pipelines = gpu.compile(&sources, options.progress.unwrap_or(&|_, _| {}))?;
        let pipelines: HashMap<&Kernel, _> = kernels.into_iter().zip(pipelines).collect();

        let slots =
            plan.slots.iter().enumerate().map(|(i, &bytes)| gpu.allocate(&format!("activations, slot {i}"), bytes));
        let slots = slots.collect::<Result<Vec<_>, _>>()?;
        let mut buffers = HashMap::new();
        for (id, home) in plan.homes() {
            let tensor = graph.tensor(id);
            let buffer = match home {
                Home::Slot(address) => slots[address.slot].clone(),
                Home::Own if tensor.role.is_persistent() => store.buffer(tensor)?.clone(),
                Home::Own => gpu.allocate(&tensor.name, tensor.spec.bytes())?,
            };
            buffers.insert(id, buffer);
        }

        let params = gpu.allocate_uniform("kernel parameters", PARAMS_STRIDE * launches.len().max(1) as u64)?;
        let mut block = vec![0u8; params.bytes() as usize];
        let mut dispatches = Vec::with_capacity(launches.len());
        for (i, (node, launch)) in launches.iter().enumerate() {
            let at = i as u64 * PARAMS_STRIDE;
            let words = launch.params.bits();
            let words: &[u8] = bytemuck::cast_slice(&words);
            block[at as usize..at as usize + words.len()].copy_from_slice(words);
            let mut ranges = vec![(&params, at, PARAMS_STRIDE)];
            for view in &launch.views {
                let (buffer, start) = match view.place {
                    Place::Tensor(t) => (&buffers[&t], plan.offset(t)),
                    Place::Scratch(which) => {
                        let address = plan.scratch[&(*node, which)];
                        (&slots[address.slot], address.offset)
                    }
                };
                ranges.push((buffer, start + view.offset, view.bytes));
            }
            dispatches.push(gpu.bind(&pipelines[&launch.kernel], &ranges, launch.workgroups)?);
        }
        gpu.upload(&[(&params, 0, &block)])?;

        let steps = dispatches.split_off(setup_len);
        let nodes: Vec<NodeId> = launches[setup_len..].iter().map(|(node, _)| *node).collect();
        let submissions = cut(&graph, steps, &nodes);
        Ok(Self {
            gpu,
            graph,
            plan,
            buffers,
            setup: dispatches,
            submissions,
            nodes,
            in_flight: VecDeque::new(),
            frames: None,
        })
    }

    /// The graph as it runs, rewritten for the chosen algorithms.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The memory plan.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Kernels that a run launches.
    pub fn launches(&self) -> usize {
        self.nodes.len()
    }

    /// Makes the driver finish kernels that it would otherwise compile at their first use. Does not wait for it: call
    /// this before reading and loading parameters, which takes time as well.
    pub fn warm_up(&self) -> Result<(), Error> {
        Ok(self.gpu.warm_up(self.setup.iter().chain(self.submissions.iter().flatten()))?)
    }

    /// Runs the setup nodes: those that depend on parameters alone (folded weights, Winograd transforms). Call it after
    /// the parameters are loaded, and again whenever anything but this session's own runs changes them.
    pub fn prepare(&mut self) -> Result<(), Error> {
        if !self.setup.is_empty() {
            self.gpu.submit(&self.setup)?;
        }
        Ok(())
    }

    /// Feeds inputs of floats and of u32 in one upload; f16 inputs are rounded. Each must have as many elements as its
    /// tensor's shape.
    pub fn feed(&self, floats: &[(TensorId, &[f32])], words: &[(TensorId, &[u32])]) -> Result<(), Error> {
        let mut packed: Vec<(&Buffer, Vec<u8>)> = Vec::with_capacity(floats.len() + words.len());
        for &(id, values) in floats {
            layout::check_float(self.graph.tensor(id))?;
            let buffer = self.input_buffer(id)?;
            packed.push((buffer, layout::pack(self.graph.tensor(id), values)?));
        }
        for &(id, values) in words {
            layout::check_word(self.graph.tensor(id))?;
            let buffer = self.input_buffer(id)?;
            layout::check_length(self.graph.tensor(id), values.len())?;
            packed.push((buffer, bytemuck::cast_slice(values).to_vec()));
        }
        let writes: Vec<(&Buffer, u64, &[u8])> =
            packed.iter().map(|(buffer, bytes)| (*buffer, 0, &bytes[..])).collect();
        Ok(self.gpu.upload(&writes)?)
    }

    /// Feeds all inputs by name, in one upload. Values without an input of that name are ignored, so that one list
    /// serves graphs of several kinds.
    ///
    /// # Errors
    /// An input that is missing in the list, or elements of another type or number.
    pub fn feed_inputs(&self, values: &[(&str, Elements<'_>)]) -> Result<(), Error> {
        let (mut floats, mut words) = (Vec::new(), Vec::new());
        for id in self.graph.ids().filter(|id| self.buffers.contains_key(id)) {
            let tensor = self.graph.tensor(id);
            if tensor.role != Role::Input {
                continue;
            }
            match values.iter().find(|(name, _)| *name == tensor.name) {
                Some((_, Elements::F32(values))) => floats.push((id, &values[..])),
                Some((_, Elements::U32(values))) => words.push((id, &values[..])),
                None => {
                    return Err(Error::Tensor { tensor: tensor.name.clone(), problem: "is an input without values" });
                }
            }
        }
        self.feed(&floats, &words)
    }

    /// Feeds picture `index` of an input of packed pixels `[N, H, W]` with a crop of a frame, resized to `[H, W]`.
    pub fn feed_frame(&mut self, input: TensorId, index: usize, frame: &Frame, crop: &Crop) -> Result<(), Error> {
        layout::check_word(self.graph.tensor(input))?;
        let pixels = self.input_buffer(input)?.clone();
        let size = crop.size.map(|side| side as usize);
        let shape = &self.graph.spec(input).shape;
        if shape[1..] != size || index >= shape[0] {
            return Err(Error::Length {
                tensor: self.graph.tensor(input).name.clone(),
                shape: shape.clone(),
                expected: shape[1..].iter().product(),
                got: size[0] * size[1],
            });
        }
        let frames = match &mut self.frames {
            Some(frames) => frames,
            none => none.insert(FrameResizer::new(&self.gpu)?),
        };
        frames.resize(frame, crop, &pixels, index)
    }

    fn input_buffer(&self, id: TensorId) -> Result<&Buffer, Error> {
        let tensor = self.graph.tensor(id);
        if tensor.role != Role::Input {
            return Err(Error::Tensor { tensor: tensor.name.clone(), problem: "is not an input" });
        }
        self.buffer(id)
    }

    fn buffer(&self, id: TensorId) -> Result<&Buffer, Error> {
        self.buffers.get(&id).ok_or_else(|| Error::Tensor {
            tensor: self.graph.tensor(id).name.clone(),
            problem: "is not used by this network",
        })
    }

    /// Submits all nodes and returns. If two runs are under way it first waits for the older one, so the CPU prepares
    /// the next batch meanwhile and never runs further ahead.
    pub fn run(&mut self) -> Result<(), Error> {
        while self.in_flight.len() >= MOST_IN_FLIGHT
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.gpu.wait(&oldest)?;
        }
        let mut last = None;
        for group in &self.submissions {
            last = Some(self.gpu.submit(group)?);
        }
        self.in_flight.extend(last);
        Ok(())
    }

    /// Waits until every run is over.
    pub fn wait(&mut self) -> Result<(), Error> {
        match self.in_flight.drain(..).next_back() {
            Some(last) => Ok(self.gpu.wait(&last)?),
            None => Ok(()),
        }
    }

    /// Runs all nodes and measures each with the adapter's own clock; `None` if it has none.
    pub fn run_timed(&mut self) -> Result<Option<Vec<NodeTime>>, Error> {
        let mut times = Some(Vec::with_capacity(self.nodes.len()));
        for group in &self.submissions {
            let group_times = self.gpu.submit_timed(group)?;
            times = times.zip(group_times).map(|(times, of_group)| [times, of_group].concat());
        }
        let Some(times) = times else { return Ok(None) };
        let mut per_node: Vec<NodeTime> = Vec::new();
        for (&node, milliseconds) in self.nodes.iter().zip(times) {
            match per_node.last_mut().filter(|n| n.node == node) {
                Some(last) => last.milliseconds += milliseconds,
                None => per_node.push(NodeTime { node, milliseconds }),
            }
        }
        Ok(Some(per_node))
    }

    /// Waits for all runs and reads an output's logical values.
    pub fn read(&self, output: TensorId) -> Result<Vec<f32>, Error> {
        Ok(self.read_later(&[output])?.wait()?.remove(0))
    }

    /// Starts reading outputs of the last run; their values stay available after later runs are submitted.
    pub fn read_later(&self, outputs: &[TensorId]) -> Result<PendingRead, Error> {
        let range = |&output: &TensorId| {
            let tensor = self.graph.tensor(output);
            let kept = self.plan.home(output) == Some(Home::Own);
            if !kept {
                return Err(Error::Tensor { tensor: tensor.name.clone(), problem: "is not an output of this session" });
            }
            Ok((self.buffer(output)?, 0, tensor.spec.bytes()))
        };
        let ranges = outputs.iter().map(range).collect::<Result<Vec<_>, _>>()?;
        let tensors = outputs.iter().map(|&output| self.graph.tensor(output).clone()).collect();
        Ok(PendingRead { download: self.gpu.download(&ranges)?, tensors })
    }
}

/// Outputs that are being read back from the GPU.
pub struct PendingRead {
    download: crate::gpu::Download,
    tensors: Vec<Tensor>,
}

impl PendingRead {
    /// Whether [`Self::wait`] will return at once.
    pub fn is_ready(&self) -> bool {
        self.download.is_ready()
    }

    /// As [`Self::is_ready`]; if not ready, registers the waker to wake.
    pub fn poll_ready(&mut self, context: &Context<'_>) -> Poll<()> {
        self.download.poll_ready(context)
    }

    /// Waits for the values of each output, which must be floats.
    ///
    /// # Errors
    /// An output of u32, or a device that fails.
    pub fn wait(self) -> Result<Vec<Vec<f32>>, Error> {
        self.tensors.iter().try_for_each(layout::check_float)?;
        let bytes = self.download.wait()?;
        Ok(self.tensors.iter().zip(&bytes).map(|(tensor, bytes)| layout::unpack(&tensor.spec, bytes)).collect())
    }

    /// Waits for the values of each output, of any type.
    ///
    /// # Errors
    /// A device that fails.
    pub fn wait_elements(self) -> Result<Vec<Elements<'static>>, Error> {
        let bytes = self.download.wait()?;
        let elements = |(tensor, bytes): (&Tensor, &Vec<u8>)| match tensor.spec.dtype {
            DType::U32 => bytemuck::pod_collect_to_vec::<u8, u32>(bytes).into(),
            DType::F32 | DType::F16 => layout::unpack(&tensor.spec, bytes).into(),
        };
        Ok(self.tensors.iter().zip(&bytes).map(elements).collect())
    }
}

/// Groups dispatches so that each group stays below the work of one submission.
fn cut(graph: &Graph, dispatches: Vec<Dispatch>, nodes: &[NodeId]) -> Vec<Vec<Dispatch>> {
    let mut groups = vec![Vec::new()];
    let (mut flops, mut bytes) = (0, 0);
    let mut dispatches = dispatches.into_iter();
    // The launches of a node are adjacent.
    for launches in nodes.chunk_by(|a, b| a == b) {
        let cost = graph.nodes()[launches[0]].cost(graph);
        let count = launches.len() as u64;
        for dispatch in dispatches.by_ref().take(launches.len()) {
            flops += 2 * cost.macs / count;
            bytes += cost.bytes / count;
            if let Some(group) = groups.last_mut() {
                group.push(dispatch);
            }
            if flops >= SUBMISSION_FLOPS || bytes >= SUBMISSION_BYTES {
                groups.push(Vec::new());
                (flops, bytes) = (0, 0);
            }
        }
    }
    groups.retain(|g| !g.is_empty());
    groups
}
