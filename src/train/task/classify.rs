//! Classification: each picture is of one class, or while pictures are mixed of two.

use super::{Loss, Task, Term};
use crate::data::{self, Encode, Mixed, Targets, Truth};
use crate::graph::op::SoftmaxCrossEntropy;
use crate::graph::{DType, Graph, Port, Spec};
use crate::models::Error;

/// Tells classes apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classify {
    /// Share of the target spread over all classes, in `[0, 1)`.
    pub label_smoothing: f32,
    /// Whether each picture has two labels and a share, as mixup and CutMix give them.
    pub mixed: bool,
}

impl Task for Classify {
    /// Cross-entropy with label smoothing of `logits` `[N, K]`. The targets are `labels` `[N]`, u32, and where pictures
    /// are mixed `others` `[N]`, u32, and `shares` `[N]`, f32, of the first labels.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, Error> {
        let logits = super::output(outputs, "logits")?;
        let batch = graph.spec(logits).shape[0];
        let mut target = |name: &str, dtype| graph.input(name, Spec::plain([batch], dtype));
        let mut inputs = vec![logits, target("labels", DType::U32)?];
        if self.mixed {
            inputs.extend([target("others", DType::U32)?, target("shares", DType::F32)?]);
        }
        let op = SoftmaxCrossEntropy { label_smoothing: self.label_smoothing, mixed: self.mixed };
        let outputs = graph.apply("loss", op, &inputs, &[])?;
        Ok(Loss {
            terms: vec![Term { port: Port { name: "loss", id: outputs[0] }, weight: 1.0 }],
            reported: vec![Port { name: "top1", id: outputs[1] }],
        })
    }
}

impl Encode for Classify {
    fn encode(&self, truths: &[Truth], mixed: Option<Mixed>) -> Result<Targets, data::Error> {
        let labels: Vec<u32> = truths.iter().filter_map(Truth::class).collect();
        let others: Vec<u32> = match mixed {
            Some(_) => labels.iter().rev().copied().collect(),
            None => labels.clone(),
        };
        let shares = vec![mixed.map_or(1.0, |mixed| mixed.share); labels.len()];
        let mut targets = vec![("labels", labels.into())];
        if self.mixed {
            targets.extend([("others", others.into()), ("shares", shares.into())]);
        }
        Ok(Targets::new(targets))
    }
}
