//! Measuring: whole networks ([`measure`]), their operations one by one ([`Profile`]), and the adapter's own peaks
//! ([`Peaks`]) to hold both against.
//!
//! # Definitions
//! - *FLOPs* are two a multiply-accumulate of convolutions and linear layers; the rest is not counted, as the field does. A
//!   training step's are those of its graph: forward pass, weight gradients, and the input gradients of all layers but the
//!   first, so a little less than three times the forward pass.
//! - *First answer*: from asking for the device to the first result in the program's memory. That is opening the device,
//!   building the graph, planning, generating and compiling shaders, allocating, uploading weights that are in memory
//!   already, one run and the reading. Every measurement starts on a device of its own, with no pipeline compiled; a cache
//!   that the driver keeps on disk is the driver's affair (Mesa: `MESA_SHADER_CACHE_DISABLE=true` switches it off).
//! - *Steady state*: median over repeated runs, each from submission to its result in the program's memory. The inputs stay on
//!   the device. One run goes before, besides the first.
//! - *Limit* of a node: the larger of its FLOPs at the peak rate and of its least bytes ([`crate::graph::Cost::bytes`]) at the
//!   peak bandwidth. *Share of the limit*: that time by the measured one; for a whole network, the sums of both. A map that
//!   a cache still holds from the node before can exceed the limit.
//! - *Moved bytes*: what the kernels read and write of the memory bound to them ([`Meter`]).

mod nodes;
mod peaks;
mod profile;
mod repeat;
mod report;
mod results;
pub mod scale;
mod speed;
mod suite;
mod traffic;
mod workload;

pub use nodes::{NodeBench, distinct};
pub use peaks::{Peaks, kernels};
pub use profile::{Line, Profile};
pub use repeat::{Patience, median, repeat, spread};
pub use report::{Ratio, Report};
pub use results::{
    Error as ResultsError, Kind, Machine, Measured, NOISY, Outcome, Results, Roofline, Row, Settings, VERSION,
};
pub use speed::{measure, roofline};
pub use suite::Suite;
use suite::published_top1;
pub use traffic::{BatchNormTraffic, Meter, Traffic};
pub use workload::{Mode, Prepared, Running, Subject, Workload};
