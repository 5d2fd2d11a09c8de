//! Measuring: whole networks ([`measure`]), their operations one by one ([`Profile`]), and the adapter's own peaks
//! ([`Peaks`]) to hold both against.
//!
//! # Definitions
//! - *FLOPs*: two per multiply-accumulate of convolutions and linear layers; other operations do not count, as is
//!   usual. A training step's FLOPs are those of its graph: forward pass, weight gradients, and the input gradients of
//!   all layers but the first, so a little less than three times the forward pass.
//! - *First answer*: from asking for the device to the first result in the program's memory. It covers opening the
//!   device, building the graph, planning, generating and compiling shaders, allocating, uploading weights from memory,
//!   one run and the read-back. Every measurement opens its own device, with no pipeline compiled. Drivers may still
//!   keep a cache on disk (Mesa: `MESA_SHADER_CACHE_DISABLE=true` switches it off).
//! - *Steady state*: median over repeated runs, each from submission to its result in the program's memory. The inputs
//!   stay on the device. After the first run, one more run precedes the timed ones.
//! - *Limit* of a node: the longer of two times: its FLOPs at the peak rate, and its least bytes
//!   ([`crate::graph::Cost::bytes`]) at the peak bandwidth. *Share of the limit*: the limit divided by the measured
//!   time; for a whole network, the quotient of the sums. A node whose input is still in a cache can exceed the limit.
//! - *Moved bytes*: bytes of bound memory that the kernels read and write ([`Meter`]).

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
