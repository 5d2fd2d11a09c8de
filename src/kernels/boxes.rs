//! Losses of a detector's anchors.

use std::ops::Range;

use super::{Kernel, Lowering, Operand, Params, Setting, View, words};
use crate::graph::Spec;
use crate::graph::op::{
    BoxLoss, BoxLossGrad, BoxLossKind, FocalLoss, FocalLossGrad, MAX_BINDING_BYTES, MAX_LOOP_ITERATIONS,
};

/// Quads of a map and rows of labels or targets start in a binding at multiples of this number, which take a multiple
/// of the 256 bytes at which a binding may start.
const ALIGNED: usize = 64;

/// Most bytes that a binding of labels or targets holds before the first row that a launch needs, by [`ALIGNED`].
const SLACK_BYTES: u64 = 16 * ALIGNED as u64;

/// Least quads in a chunk.
const SHORTEST_CHUNK: usize = 1024;

/// Most chunks, but for those that the ends of runs cut short: one invocation may add them all.
const MOST_CHUNKS: usize = MAX_LOOP_ITERATIONS / 2;

/// The sizes that decide how the levels of a loss are cut.
struct Cut<'g> {
    levels: Vec<&'g Spec>,
    /// Bytes of a picture's labels or targets, the larger ones.
    truth_bytes: u64,
}

impl<'g> Cut<'g> {
    /// Of a loss with these inputs, of which the first ones are no levels.
    fn of_loss(inputs: &[&'g Spec], before_levels: usize) -> Self {
        let anchors = inputs[0].last() as u64;
        let row_bytes = if before_levels > 2 { 16 } else { 4 };
        Self { levels: inputs[before_levels..].to_vec(), truth_bytes: row_bytes * anchors }
    }

    /// Quads in every chunk but the last of a run.
    fn chunk_quads(&self) -> usize {
        let quads: usize = self.levels.iter().map(|level| level.rows() * level.quads()).sum();
        quads.div_ceil(MOST_CHUNKS).clamp(SHORTEST_CHUNK, MAX_LOOP_ITERATIONS)
    }

    /// Runs of a level's quads such that they and the truths of their anchors fit bindings: whole pictures, or else
    /// parts of one.
    fn runs(&self, level: &Spec) -> Vec<Range<usize>> {
        let quads = level.rows() * level.quads();
        let picture = quads / level.shape[0].max(1);
        let picture_bytes = self.truth_bytes.max(16 * picture as u64).max(1);
        let of = |start: usize, end: usize, step: usize| {
            (start..end).step_by(step.max(1)).map(move |first| first..(first + step).min(end))
        };
        match ((MAX_BINDING_BYTES - SLACK_BYTES) / picture_bytes) as usize {
            // Half a binding leaves room for the truths of pixels that a run cuts. A quad has at most 4 anchors.
            0 => {
                let part = (MAX_BINDING_BYTES / 32) as usize;
                of(0, quads, picture).flat_map(|run| of(run.start, run.end, part)).collect()
            }
            pictures => of(0, quads, pictures * picture).collect(),
        }
    }

    fn chunks(&self) -> usize {
        let chunk = self.chunk_quads();
        self.levels.iter().flat_map(|level| self.runs(level)).map(|run| run.len().div_ceil(chunk)).sum()
    }
}

/// Bytes of the chunks' sums of a loss with these inputs.
pub(super) fn scratch_bytes(inputs: &[&Spec], before_levels: usize) -> u64 {
    16 * Cut::of_loss(inputs, before_levels).chunks() as u64
}

/// A level of a node.
struct Level<'g> {
    map: Operand<'g>,
    /// Number of its first anchor.
    first: usize,
    /// Labels, normalisers, perhaps targets, perhaps the anchors' boxes.
    truths: Vec<Operand<'g>>,
    /// Numbers of an anchor in the map.
    numbers: usize,
    classes: usize,
    /// The factor of all losses.
    factor: f32,
}

impl Level<'_> {
    fn pixel_anchors(&self) -> usize {
        self.map.spec.last() / self.numbers
    }

    fn picture_quads(&self) -> usize {
        self.map.spec.rows() * self.map.spec.quads() / self.map.spec.shape[0].max(1)
    }

    /// The anchors of a run's pixels, counted over all pictures.
    fn rows(&self, run: &Range<usize>) -> Range<usize> {
        let row = |quad: usize| {
            let (picture, within) = (quad / self.picture_quads(), quad % self.picture_quads());
            let pixel = within / self.map.spec.quads();
            picture * self.truths[0].spec.last() + self.first + pixel * self.pixel_anchors()
        };
        row(run.start)..row(run.end - 1) + self.pixel_anchors()
    }

    /// Views of a run, in the order of the shaders' bindings. `result` takes what the launch computes.
    fn views(&self, run: &Range<usize>, result: View) -> Vec<View> {
        let rows = aligned(&self.rows(run));
        let mut views = vec![quads(self.map, run), self.truths[0].elements(&rows), self.truths[1].whole()];
        views.extend(self.truths.get(2).map(|targets| targets.rows(&rows)));
        views.push(result);
        views.extend(self.truths.get(3).map(Operand::whole));
        views
    }

    /// The parameters of a run, in the order of `boxes/level.wgsl`.
    fn params(&self, run: &Range<usize>, settings: &Params) -> Params {
        let place = words! {
            begin: run.start, seen: aligned(run).start, quads: self.map.spec.quads(),
            picture_quads: self.picture_quads(), pixel_anchors: self.pixel_anchors(),
            anchors: self.truths[0].spec.last(), first: self.first, first_row: aligned(&self.rows(run)).start,
            classes: self.classes, factor: self.factor,
        };
        place.and(settings.clone())
    }
}

/// The run with its start moved back to a place where a binding may start.
fn aligned(run: &Range<usize>) -> Range<usize> {
    run.start / ALIGNED * ALIGNED..run.end
}

/// A view of a map's quads.
fn quads(map: Operand<'_>, run: &Range<usize>) -> View {
    let (run, bytes) = (aligned(run), map.spec.quad_bytes());
    View { place: map.place, offset: bytes * run.start as u64, bytes: bytes * run.len() as u64 }
}

/// Adds up the losses of all levels. `numbers`: of an anchor in a level's map.
fn sum(l: &mut Lowering<'_>, kernel: &Kernel, before: usize, [numbers, classes]: [usize; 2], settings: &Params) {
    let specs: Vec<&Spec> = l.node.inputs.iter().map(|&id| l.graph.spec(id)).collect();
    let cut = Cut::of_loss(&specs, before);
    let chunk_quads = cut.chunk_quads();
    let kernel = kernel.clone().with("backward", Setting::Flag(false)).with("scaled", Setting::Flag(false));
    let (mut first, mut first_sum) = (0, 0);
    for i in before..specs.len() {
        let truths = (0..before).map(|i| l.input(i)).collect();
        let factor = 1.0 / specs[0].shape[0] as f32;
        let level = Level { map: l.input(i), first, truths, numbers, classes, factor };
        for run in cut.runs(specs[i]) {
            let count = run.len().div_ceil(chunk_quads);
            let params = words! { first_sum, run_quads: run.len(), chunk_quads }.and(level.params(&run, settings));
            l.team(kernel.clone(), level.views(&run, l.workspace()), count, params);
            first_sum += count;
        }
        first += crate::graph::op::anchors_of(specs[i], numbers);
    }
    let views = vec![l.workspace(), l.output(0).whole()];
    l.team(Kernel::new("boxes/sum"), views, 1, words! { chunks: first_sum });
}

/// The gradient of one level, whose settings `build` completes.
fn gradient(l: &mut Lowering<'_>, kernel: &Kernel, before: usize, scaled: bool, mut level: Level<'_>, own: &Params) {
    level.factor /= l.input(1).spec.shape[0] as f32;
    let truths = level.truths[0].spec.last() as u64 * if before > 2 { 16 } else { 4 };
    let cut = Cut { levels: vec![level.map.spec], truth_bytes: truths };
    let kernel = kernel.clone().with("backward", Setting::Flag(true)).with("scaled", Setting::Flag(scaled));
    for run in cut.runs(level.map.spec) {
        let mut views = level.views(&run, quads(l.output(0), &run));
        views.extend(scaled.then(|| l.input(1 + before).whole()));
        l.each(kernel.clone(), views, run.len(), level.params(&run, own));
    }
}

pub(super) fn focal_loss(l: &mut Lowering<'_>, op: &FocalLoss) {
    let settings = words! { alpha: op.alpha, gamma: op.gamma };
    sum(l, &l.kernel("boxes/focal"), 2, [op.classes; 2], &settings);
}

pub(super) fn focal_loss_grad(l: &mut Lowering<'_>, op: &FocalLossGrad) {
    let FocalLoss { classes, alpha, gamma } = op.loss;
    let truths = vec![l.input(1), l.input(2)];
    let level = Level { map: l.input(0), first: op.first, truths, numbers: classes, classes, factor: op.weight };
    gradient(l, &l.kernel("boxes/focal"), 2, op.scaled, level, &words! { alpha, gamma });
}

/// The kernel of a box loss, and its settings.
fn deltas(l: &Lowering<'_>, kind: BoxLossKind) -> (Kernel, Params) {
    let (name, delta) = match kind {
        BoxLossKind::L1 => ("l1", 0.0),
        BoxLossKind::Huber { delta } => ("huber", delta),
        BoxLossKind::Giou => ("giou", 0.0),
    };
    (l.kernel("boxes/deltas").with("kind", Setting::Text(name)), words! { delta })
}

pub(super) fn box_loss(l: &mut Lowering<'_>, op: &BoxLoss) {
    let (kernel, settings) = deltas(l, op.kind);
    sum(l, &kernel, op.before_levels(), [4, op.classes], &settings);
}

pub(super) fn box_loss_grad(l: &mut Lowering<'_>, op: &BoxLossGrad) {
    let ((kernel, settings), BoxLoss { classes, .. }) = (deltas(l, op.loss.kind), op.loss);
    let before = op.loss.before_levels();
    let truths = (1..=before).map(|i| l.input(i)).collect();
    let level = Level { map: l.input(0), first: op.first, truths, numbers: 4, classes, factor: op.weight };
    gradient(l, &kernel, before, op.scaled, level, &settings);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::gpu::Target;
    use crate::graph::autodiff::{Loss, differentiate};
    use crate::graph::{DType, Graph, Init};
    use crate::kernels::{Choices, lower};

    /// Two pictures of a level whose map takes 96 MiB each; one picture of 160 MiB; many anchors with few numbers, so
    /// that the truths are what is cut. All runs together are the level, and bind what a binding may hold.
    #[test]
    fn large_levels_are_cut_into_aligned_runs() {
        for (pictures, [h, w], anchors, classes) in
            [(2, [128, 128], 9, 170), (1, [161, 163], 16, 100), (5, [500, 501], 7, 1), (3, [7, 5], 9, 4)]
        {
            let mut g = Graph::new();
            let sizes = [[h, w], [3, 5]];
            let total = (h * w + 15) * anchors;
            let labels = g.input("labels", Spec::plain([pictures, total], DType::U32)).unwrap();
            let normalisers = g.input("normalisers", Spec::plain([pictures], DType::F32)).unwrap();
            let targets = g.input("targets", Spec::plain([pictures, total, 4], DType::F32)).unwrap();
            let boxes = g.input("anchors", Spec::plain([total, 4], DType::F32)).unwrap();
            let mut levels = |what: &str, numbers: usize| {
                sizes.map(|[h, w]| {
                    let spec = Spec::channels([pictures, h, w, anchors * numbers]);
                    g.parameter(format!("{what} {h}"), spec, Init::Constant(0.0)).unwrap()
                })
            };
            let (logits, deltas) = (levels("logits", classes), levels("deltas", 4));
            let focal = FocalLoss { classes, alpha: 0.25, gamma: 2.0 };
            let inputs = [&[labels, normalisers], &logits[..]].concat();
            let first = g.apply1("focal", focal, &inputs).unwrap();
            let inputs = [&[labels, normalisers, targets, boxes], &deltas[..]].concat();
            let second = g.apply1("giou", BoxLoss { classes, kind: BoxLossKind::Giou }, &inputs).unwrap();
            let losses = [first, second].map(|id| Loss { id, weight: 1.0 });
            differentiate(&mut g, &losses, None, |_, _, _| Ok(())).unwrap();
            for node in 0..g.nodes().len() {
                let launches = lower(&g, node, Target::TILES, Choices::TABLE).unwrap();
                let name = g.nodes()[node].op.rule().name();
                let views = launches.iter().flat_map(|launch| &launch.views);
                for view in views {
                    assert!(view.bytes > 0 && view.bytes <= MAX_BINDING_BYTES, "{name}: {view:?}");
                    assert!(view.offset.is_multiple_of(256), "{name}: {view:?}");
                }
            }
            let specs: Vec<&Spec> = g.nodes()[1].inputs.iter().map(|&id| g.spec(id)).collect();
            let cut = Cut::of_loss(&specs, 4);
            for level in &cut.levels {
                let runs = cut.runs(level);
                assert_eq!(runs.first().map(|run| run.start), Some(0));
                assert_eq!(runs.last().map(|run| run.end), Some(level.rows() * level.quads()));
                assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
            assert!(cut.chunks() <= MAX_LOOP_ITERATIONS && cut.chunk_quads() <= MAX_LOOP_ITERATIONS);
        }
    }
}
