//! Lists of workloads with a name.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Mode, Workload};
use crate::graph::Precision;
use crate::models::{Layers, Preset};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// A few networks of each family and the paper's pair, RS-350 and B6, one picture at a time: under a minute on a
    /// laptop's GPU.
    Quick,
    /// Typical use of a laptop's GPU: the smaller networks of each family, inference and training steps.
    Laptop,
    /// The paper's eleven ResNet-RS, EfficientNet B0 to B7 and their RS forms: inference and training steps, f32 and
    /// f16.
    Paper,
}

/// The eleven released ResNet-RS, with the sides of their pictures (tensorflow/tpu,
/// models/official/resnet/resnet_rs/README.md).
const PAPER: [(&str, u32); 11] = [
    ("resnet-rs-50", 160),
    ("resnet-rs-101", 160),
    ("resnet-rs-101", 192),
    ("resnet-rs-152", 192),
    ("resnet-rs-152", 224),
    ("resnet-rs-152", 256),
    ("resnet-rs-200", 256),
    ("resnet-rs-270", 256),
    ("resnet-rs-350", 256),
    ("resnet-rs-350", 320),
    ("resnet-rs-420", 320),
];

/// The first `sizes` of EfficientNet B0 to B7, or of their RS forms.
fn efficientnets(rs: &str, sizes: u32) -> Vec<(String, u32)> {
    (0..sizes).map(|size| at_home(&format!("efficientnet-{rs}b{size}"))).collect()
}

/// A preset with its own size of pictures.
fn at_home(name: &str) -> (String, u32) {
    (name.to_owned(), preset(name).res)
}

fn preset(name: &str) -> &'static Preset {
    Preset::find(name).unwrap_or_else(|e| unreachable!("the suites' own names: {e}"))
}

/// How networks are run.
struct Ask {
    mode: Mode,
    batch: usize,
    precision: Precision,
}

const ANSWER: Ask = Ask { mode: Mode::Infer, batch: 1, precision: Precision::F32 };

impl Suite {
    /// The workloads, most informative first, since an interrupted suite keeps the first ones.
    pub fn workloads(self) -> Vec<Workload> {
        let paper = || PAPER.map(|(name, res)| (name.to_owned(), res));
        let half = Ask { precision: Precision::F16, ..ANSWER };
        let step = |batch| Ask { mode: Mode::Train, batch, ..ANSWER };
        match self {
            Self::Quick => {
                let names = ["resnet-50", "resnet-rs-50", "resnet-rs-101", "efficientnet-b0", "efficientnet-b2"];
                let mut networks: Vec<_> = names.map(at_home).into();
                networks.push(at_home("efficientnet-rs-b2"));
                networks.extend([("resnet-rs-350".to_owned(), 256), at_home("efficientnet-b6")]);
                let trained = ["resnet-rs-50", "efficientnet-b0"].map(at_home);
                [asked(&networks, &ANSWER), asked(&trained, &step(8))].concat()
            }
            Self::Laptop => {
                let mut networks: Vec<_> = ["resnet-50", "resnet-101", "se-resnet-50"].map(at_home).into();
                networks.extend(paper().into_iter().take(6));
                networks.extend(efficientnets("", 5));
                networks.extend(efficientnets("rs-", 5));
                let asks = [ANSWER, Ask { batch: 8, ..ANSWER }, half, step(8)];
                asks.iter().flat_map(|ask| asked(&networks, ask)).collect()
            }
            Self::Paper => {
                let mut networks: Vec<_> = paper().into();
                networks.extend(efficientnets("", 8));
                networks.extend(efficientnets("rs-", 8));
                let mixed = Ask { precision: Precision::F16, ..step(32) };
                [ANSWER, half, step(32), mixed].iter().flat_map(|ask| asked(&networks, ask)).collect()
            }
        }
    }
}

fn asked(networks: &[(String, u32)], ask: &Ask) -> Vec<Workload> {
    let workload = |(name, res): &(String, u32)| Workload {
        model: name.clone(),
        config: preset(name).config(1000),
        res: *res as usize,
        batch: ask.batch,
        mode: ask.mode,
        precision: ask.precision,
        recompute: false,
    };
    networks.iter().map(workload).collect()
}

/// Top-1 on ImageNet in percent, as published: for [`PAPER`], and for the EfficientNets with which Bello et al. compare
/// (2021, section 4.2): B5 and B7 trained with RandAugment, the other sizes with AutoAugment.
pub(super) fn published_top1(workload: &Workload) -> Option<f64> {
    const RESNET_RS: [f64; 11] = [78.8, 80.3, 81.2, 82.0, 82.2, 83.0, 83.4, 83.8, 84.0, 84.2, 84.4];
    const EFFICIENTNET: [f64; 8] = [77.1, 79.1, 80.1, 81.6, 82.9, 83.7, 84.0, 84.7];
    let Workload { model, config, res, .. } = workload;
    let preset = Preset::find(model).ok().filter(|preset| preset.config(1000) == *config)?;
    match config.layers {
        Layers::ResNet(_) => {
            let row = PAPER.iter().position(|(name, side)| *name == preset.name && *side as usize == *res)?;
            Some(RESNET_RS[row])
        }
        Layers::EfficientNet(_) => {
            let size: usize = preset.name.strip_prefix("efficientnet-b")?.parse().ok()?;
            (preset.res as usize == *res).then(|| EFFICIENTNET.get(size).copied()).flatten()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn suites_hold_what_the_paper_compares() {
        for suite in Suite::value_variants() {
            let workloads = suite.workloads();
            for (i, workload) in workloads.iter().enumerate() {
                let same = |other: &Workload| {
                    let key = |w: &Workload| (w.model.clone(), w.res, w.batch, w.mode, w.precision);
                    key(other) == key(workload)
                };
                assert!(!workloads[..i].iter().any(same), "{suite:?}: {workload:?} stands twice");
            }
            assert!(workloads.iter().any(|w| w.mode == Mode::Train) && workloads.iter().any(|w| w.mode == Mode::Infer));
        }
        let paper = Suite::Paper.workloads();
        assert_eq!(paper.len(), 4 * (11 + 8 + 8));
        let published: Vec<f64> = paper[..27].iter().filter_map(published_top1).collect();
        assert_eq!(published.len(), 19, "none for EfficientNet-RS");
        assert_eq!((published[0], published[8], published[17], published[18]), (78.8, 84.0, 84.0, 84.7));
        let other = Workload { res: 224, ..paper[0].clone() };
        assert_eq!(published_top1(&other), None);
        for pair in [("resnet-rs-350", 256), ("efficientnet-b6", 528)] {
            assert!(Suite::Quick.workloads().iter().any(|w| (w.model.as_str(), w.res) == pair), "{pair:?}");
        }
    }
}
