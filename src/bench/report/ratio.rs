//! The paper's table 3: FLOPs, parameters, latency and memory of an EfficientNet, divided by those of the ResNet-RS of
//! equal accuracy.

use super::{Device, Report, Slice};
use crate::bench::results::Row;

/// A pair of networks of about the same accuracy, and the paper's quotients (Bello et al. 2021, table 3) for training
/// steps of 128 pictures, or of fewer if 128 do not fit.
struct Pair {
    resnet_rs: (&'static str, usize),
    efficientnet: (&'static str, usize),
    paper: [(&'static str, [Option<f64>; 4]); 2],
}

/// Each quotient in the order of [`Ratio::quotients`].
const PAIRS: [Pair; 2] = [
    Pair {
        resnet_rs: ("resnet-rs-350", 256),
        efficientnet: ("efficientnet-b6", 528),
        paper: [
            ("paper, TPUv3, training step, bf16", [Some(38.0 / 69.0), Some(43.0 / 164.0), Some(2.7), Some(2.3)]),
            ("paper, V100, training step, f32", [Some(38.0 / 69.0), Some(43.0 / 164.0), Some(3.3), None]),
        ],
    },
    Pair {
        resnet_rs: ("resnet-rs-420", 320),
        efficientnet: ("efficientnet-b7", 600),
        paper: [
            ("paper, TPUv3, training step, bf16", [Some(74.0 / 128.0), Some(66.0 / 192.0), Some(2.9), Some(1.8)]),
            ("paper, V100, training step, f32", [Some(74.0 / 128.0), Some(66.0 / 192.0), Some(2.8), None]),
        ],
    },
];

/// Cost of an EfficientNet, divided by that of the ResNet-RS of its accuracy.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Ratio {
    /// Both networks: `efficientnet-b6@528 by resnet-rs-350@256`.
    pub pair: String,
    /// Device and workload, or the source of the figures.
    pub of: String,
    /// FLOPs, parameters, latency, memory, as far as they are known.
    pub quotients: [Option<f64>; 4],
    /// Whether one of the latencies is noisy.
    pub noisy: bool,
}

impl Report {
    /// The paper's pairs for which there are rows: measured quotients beside the paper's. Memory is the allocated
    /// memory.
    pub fn ratios(&self) -> Vec<Ratio> {
        let mut ratios = Vec::new();
        for Pair { resnet_rs, efficientnet, paper } in &PAIRS {
            let pair = format!("{}@{} by {}@{}", efficientnet.0, efficientnet.1, resnet_rs.0, resnet_rs.1);
            let mut measured = Vec::new();
            for device in &self.devices {
                for slice in self.slices() {
                    let find = |(model, res)| {
                        let rows = &device.results.rows;
                        rows.iter().find(|row| Slice::of(row) == slice && row.model == model && row.res == res)
                    };
                    if let (Some(ours), Some(theirs)) = (find(*resnet_rs), find(*efficientnet)) {
                        measured.push(self.ratio(&pair, device, slice, theirs, ours));
                    }
                }
            }
            if !measured.is_empty() {
                let quoted = |(of, quotients): &(&str, _)| Ratio {
                    pair: pair.clone(),
                    of: (*of).to_owned(),
                    quotients: *quotients,
                    noisy: false,
                };
                ratios.extend(measured);
                ratios.extend(paper.iter().map(quoted));
            }
        }
        ratios
    }

    fn ratio(&self, pair: &str, device: &Device, slice: Slice, theirs: &Row, ours: &Row) -> Ratio {
        let both = theirs.measured().zip(ours.measured());
        let quotients = [
            Some(theirs.flops as f64 / ours.flops as f64),
            Some(theirs.params as f64 / ours.params as f64),
            both.map(|(theirs, ours)| theirs.median_ms / ours.median_ms),
            both.map(|(theirs, ours)| theirs.allocated_bytes as f64 / ours.allocated_bytes as f64),
        ];
        let noisy = [theirs, ours].into_iter().any(|row| self.is_noisy(device, row));
        Ratio { pair: pair.to_owned(), of: format!("{}: {}", device.label, slice.name()), quotients, noisy }
    }
}
