//! ResNet-RS on any GPU.
pub mod graph;
pub mod models;
