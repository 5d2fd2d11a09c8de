//! A network as pure data: typed tensors, operations, and everything that can be derived from them without a GPU.
//!
//! [`Graph`] holds tensors and nodes in execution order. Everything else reads it: shape inference and cost ([`op`]),
//! automatic differentiation ([`autodiff`]), fusion for inference ([`fuse`], [`freeze`]), storage in 16 bits
//! ([`half`]), and the memory plan ([`plan`]). The `kernels` floor lowers the same nodes to GPU dispatches, and the
//! `reference` floor interprets them in f64.

pub mod autodiff;
mod elements;
pub mod freeze;
pub mod fuse;
pub mod half;
mod network;
pub mod op;
mod pack;
pub mod plan;
pub mod recompute;
mod tensor;
pub mod winograd;

pub use elements::Elements;
pub use half::Precision;
pub use network::{Error, Graph, Node, NodeId};
pub use op::{Activation, Cost, Op};
pub use tensor::{DType, Init, LANES, Layout, Port, Role, Spec, StateKind, Tensor, TensorId, WEIGHT_BLOCK};
