//! Computes convolutions of 3x3 and stride 1, and their input gradients, by Winograd's algorithm
//! ([`op::winograd`](super::op)). An input gradient is a convolution too: of the output's gradient, with the kernel
//! rotated by 180 degrees.
//!
//! One node becomes four nodes of the same name. The four are nodes of the graph, rather than a detail of the kernels,
//! so that an inference network can store transformed weights instead of the kernel, and the memory plan places the
//! transformed maps like all other tensors.

use super::op::{Epilogue, TAPS, WinogradInput, WinogradOutput, WinogradProduct, WinogradTile, WinogradWeights};
use super::{DType, Error, Graph, Node, Op, TensorId};

/// A convolution that the algorithm can compute.
struct Convolution<'n> {
    map: TensorId,
    weights: TensorId,
    /// The operands of the epilogue.
    rest: &'n [TensorId],
    padding: usize,
    dilation: usize,
    flipped: bool,
    epilogue: Epilogue,
}

impl<'n> Convolution<'n> {
    fn of(graph: &Graph, node: &'n Node) -> Option<Self> {
        let (window, flipped, epilogue) = match &node.op {
            Op::Conv2d(op) => (&op.window, false, op.epilogue),
            Op::Conv2dInputGrad(op) => (&op.window, true, Epilogue { shortcut: op.addend, ..Epilogue::NONE }),
            _ => return None,
        };
        let [padding, dilation] = WinogradTile::padding_and_dilation(window)?;
        // dx[y] = sum over k of dy[y + padding - k d] w[k]; for the rotated kernel, dy[y + k d - (2 d - padding)].
        let padding = if flipped { (dilation * (TAPS - 1)).checked_sub(padding)? } else { padding };
        let [map, weights, rest @ ..] = &node.inputs[..] else { return None };
        let (x, w) = (graph.spec(*map), graph.spec(*weights));
        let fits = x.dtype == DType::F32 && w.dtype == DType::F32;
        fits.then_some(Self { map: *map, weights: *weights, rest, padding, dilation, flipped, epilogue })
    }
}

/// Replaces every convolution that the algorithm can compute and for which `tile` returns a tile size.
///
/// # Errors
/// If a map has too many tiles ([`WinogradProduct::MAX_TILES`]); `tile` should return `None` for such a map.
pub fn rewrite(graph: &mut Graph, tile: impl Fn(&Graph, &Node) -> Option<WinogradTile>) -> Result<(), Error> {
    let nodes = graph.nodes().to_vec();
    let mut rewritten = Vec::with_capacity(nodes.len());
    for node in nodes {
        let chosen = Convolution::of(graph, &node).and_then(|conv| Some((conv, tile(graph, &node)?)));
        let Some((conv, tile)) = chosen else {
            rewritten.push(node);
            continue;
        };
        let Convolution { map, weights, padding, dilation, flipped, epilogue, .. } = conv;
        let result = graph.tensor(node.outputs[0]);
        let (role, [n, h, w, _]) = (result.role, result.spec.as_map());
        let first = graph.nodes().len();
        let mut push = |op: Op, inputs: &[TensorId]| graph.push(&node.name, op, inputs, &[], role).map(|out| out[0]);
        let u = push(WinogradWeights { tile, flipped }.into(), &[weights])?;
        let v = push(WinogradInput { tile, padding, dilation }.into(), &[map])?;
        let products = push(WinogradProduct.into(), &[v, u])?;
        rewritten.extend_from_slice(&graph.nodes()[first..]);
        let op = WinogradOutput { tile, size: [n, h, w], dilation, epilogue }.into();
        let inputs = [&[products], conv.rest].concat();
        rewritten.push(Node {
            name: node.name.clone(),
            op,
            inputs,
            updates: Vec::new(),
            outputs: node.outputs.clone(),
        });
    }
    graph.set_nodes(rewritten);
    Ok(())
}
