//! ResNet-RS on any GPU.
pub mod exec;
pub mod files;
pub mod gpu;
pub mod graph;
pub mod kernels;
pub mod models;
pub mod reference;
pub mod train;
pub mod weights;
