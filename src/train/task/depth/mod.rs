//! Depth from one picture: each pixel is some metres away, or nobody knows.

mod metric;
mod section;

use rayon::prelude::*;
use serde_json::Value;

pub use metric::{Findings, Worst};

use super::{Loss, Metric, Remarks, Table, Task};
use crate::data::{self, Dataset, Encode, Geometry, Mixed, Source, Targets, Truth, TruthKind};
use crate::graph::op::{DepthLoss, DepthLossKind};
use crate::graph::{DType, Graph, Port, Spec, TensorId, autodiff};
use crate::models::{self, Config, DenseDepth, Head};
use crate::train::report::Section;
use crate::train::{Error, Measure, Recipe};
use crate::weights::ModelCard;

/// The task of predicting depth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// The loss.
    pub loss: DepthLossKind,
    /// Depths of this many metres or more do not count: the network cannot predict them.
    pub max_m: f32,
}

impl Default for Depth {
    /// BTS's loss (Lee et al. 2019, arXiv 1907.10326): logarithms, with the common factor of all depths counted at
    /// 15 %. The depths of rooms, up to 10 m.
    fn default() -> Self {
        Self { loss: DepthLossKind::SiLog { focus: 0.85 }, max_m: DenseDepth::default().max_m }
    }
}

const MEASURES: [Measure; 7] = [
    Measure { name: "delta1", label: "delta 1", is_share: true, higher_is_better: true },
    Measure { name: "delta2", label: "delta 2", is_share: true, higher_is_better: true },
    Measure { name: "delta3", label: "delta 3", is_share: true, higher_is_better: true },
    Measure { name: "abs_rel", label: "relative error", is_share: false, higher_is_better: false },
    Measure { name: "rmse", label: "root mean square error, m", is_share: false, higher_is_better: false },
    Measure { name: "log10", label: "error of log10", is_share: false, higher_is_better: false },
    Measure { name: "silog", label: "scale-invariant error of ln, x 100", is_share: false, higher_is_better: false },
];

impl Encode for Depth {
    /// `truth` `[N, H, W]`, f32: the depth of each of the input's pixels in metres, 0 where it is unknown or does not
    /// count.
    fn encode(&self, truths: &[Truth], views: &[Geometry], _mixed: Option<Mixed>) -> Result<Targets, data::Error> {
        let counted = |metres: f32| if metres < self.max_m { metres } else { 0.0 };
        let depth = |(truth, view): (&Truth, &Geometry)| match truth {
            Truth::Depth(depth) => Ok(view.depth_to_input(depth).into_raw().into_iter().map(counted).collect()),
            Truth::Unknown => Ok(vec![0.0; view.size[0] * view.size[1]]),
            _ => Err(data::Error::OtherTruth { truth: TruthKind::Depth }),
        };
        let depths = (truths, views).into_par_iter().map(depth).collect::<Result<Vec<Vec<f32>>, _>>()?;
        Ok(Targets::new(vec![("truth", depths.concat().into())]))
    }
}

/// The greatest depth that the network predicts, metres.
pub(super) fn max_m(config: &Config) -> f32 {
    match config.head {
        Head::DenseDepth(head) => head.max_m,
        _ => f32::INFINITY,
    }
}

/// The prediction at the input's size, and the input for the true depth.
fn at_full_size(graph: &mut Graph, outputs: &[Port]) -> Result<[TensorId; 2], models::Error> {
    let full = models::depth_of_pixels(graph, outputs)?;
    let [n, h, w, _] = graph.spec(full).as_map();
    Ok([full, graph.input("truth", Spec::plain([n, h, w], DType::F32))?])
}

impl Task for Depth {
    fn measures(&self) -> &'static [Measure] {
        &MEASURES
    }

    fn truth(&self) -> TruthKind {
        TruthKind::Depth
    }

    fn request(&self) -> &'static str {
        "Measure the depth of a picture"
    }

    fn card(&self, recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, models::Error> {
        let config = Config { classes: 1, ..recipe.config()? };
        super::dense_card(recipe, config, dataset)
    }

    /// The loss of `depth`, resized to the size of the picture, over the pixels whose depth is known.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, models::Error> {
        let inputs = at_full_size(graph, outputs)?;
        let id = graph.apply("loss", DepthLoss { kind: self.loss }, &inputs, &[])?[0];
        Ok(Loss { terms: vec![autodiff::Loss { id, weight: 1.0 }], reported: Vec::new() })
    }

    /// The depth of each pixel, and the loss.
    fn readings(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Vec<TensorId>, models::Error> {
        let inputs = at_full_size(graph, outputs)?;
        let loss = graph.apply("loss", DepthLoss { kind: self.loss }, &inputs, &[])?[0];
        Ok(vec![inputs[0], loss])
    }

    fn metric(&self, card: &ModelCard, keep: Option<usize>) -> Box<dyn Metric> {
        Box::new(metric::Errors::new(max_m(&card.config), keep))
    }

    fn remarks(&self, _settings: &toml::Table, card: &ModelCard) -> Remarks {
        let numbers = format!(
            "Delta 1 is the share of the pixels whose depth is wrong by less than a factor of 1.25, a mean over the \
             pictures. Pixels whose depth is unknown do not count, nor do those that are {} m away or more.",
            max_m(&card.config)
        );
        let whole = super::shown_whole(card) + " Depths are compared at that size.";
        Remarks { numbers: vec![numbers, whole], settings: Vec::new() }
    }

    fn section(&self, findings: super::Findings, card: &ModelCard, pictures: &dyn Source) -> Result<Section, Error> {
        section::section(&findings, card, pictures)
    }

    fn tables(&self, findings: &Value, _card: &ModelCard, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
        section::tables(findings, dataset)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::Luma;

    use super::*;
    use crate::data::DepthMap;

    /// The network cannot predict them, and errors do not count there either.
    #[test]
    fn depths_beyond_the_range_are_not_learnt() {
        let task = Depth { max_m: 5.0, ..Depth::default() };
        let truth = DepthMap::from_fn(4, 1, |x, _| Luma([[0.0, 4.5, 5.0, 60.0][x as usize]]));
        let targets = task.encode(&[Truth::Depth(truth)], &[Geometry::whole([1, 4])], None).unwrap();
        let (name, values) = targets.iter().next().unwrap();
        assert_eq!((name, values.floats()), ("truth", &[0.0, 4.5, 0.0, 0.0][..]));
    }
}
