//! The classes of a map's pixels.

use std::ops::Range;

use super::{EACH_WORKGROUP, Kernel, Lowering, Setting, View, fold, words};
use crate::graph::Spec;
use crate::graph::op::{Confusion, MAX_BINDING_BYTES, PixelCrossEntropy, PixelCrossEntropyGrad};

/// Alignment of a run of pixels: 64 labels take the 256 bytes at which a binding may start.
const ALIGNED_PIXELS: usize = 64;

/// How the sum over all pixels is cut into chunks.
pub(super) struct Chunks {
    /// Pixels in every chunk but perhaps the last.
    pub(super) chunk_pixels: usize,
    /// Number of chunks.
    pub(super) chunks: usize,
}

impl Chunks {
    pub(super) fn over(logits: &Spec) -> Self {
        let chunk_pixels = PixelCrossEntropy::chunk_pixels(logits.quads());
        Self { chunk_pixels, chunks: logits.rows().div_ceil(chunk_pixels) }
    }
}

/// Bytes of the chunks' sums.
pub(super) fn scratch_bytes(logits: &Spec) -> u64 {
    16 * Chunks::over(logits).chunks as u64
}

/// Runs of pixels whose logits fit a binding, each but the last a multiple of `unit` pixels.
pub(super) fn slices(logits: &Spec, unit: usize) -> Vec<Range<usize>> {
    let (pixels, unit) = (logits.rows(), unit * ALIGNED_PIXELS);
    let bytes = logits.quad_bytes() * logits.quads() as u64;
    let step = ((MAX_BINDING_BYTES / bytes) as usize / unit * unit).max(unit);
    (0..pixels).step_by(step).map(|first| first..(first + step).min(pixels)).collect()
}

/// A run of the elements of a map's labels.
fn labels(l: &Lowering<'_>, run: &Range<usize>) -> View {
    l.input(1).elements(run)
}

pub(super) fn cross_entropy(l: &mut Lowering<'_>, op: &PixelCrossEntropy) {
    let logits = l.input(0);
    let Chunks { chunk_pixels, chunks } = Chunks::over(logits.spec);
    let kernel = l.kernel("pixels/cross_entropy");
    for run in slices(logits.spec, chunk_pixels) {
        let views = vec![logits.rows(&run), labels(l, &run), l.workspace()];
        let (first, count) = (run.start / chunk_pixels, run.len().div_ceil(chunk_pixels));
        let params = words! {
            first, pixels: run.len(), chunk_pixels, classes: logits.spec.last(), quads: logits.spec.quads(),
            ignored: op.ignored,
        };
        l.team(kernel.clone(), views, count, params);
    }
    let outputs = [0, 1, 2].map(|i| l.output(i).whole());
    let views = [l.workspace()].into_iter().chain(outputs).collect();
    l.team(Kernel::new("pixels/mean"), views, 1, words! { chunks });
}

pub(super) fn cross_entropy_grad(l: &mut Lowering<'_>, op: &PixelCrossEntropyGrad) {
    let (logits, dlogits) = (l.input(0), l.output(0));
    let kernel = l.kernel("pixels/cross_entropy_grad").with("scaled", Setting::Flag(op.scaled));
    for run in slices(logits.spec, 1) {
        let mut views = vec![logits.rows(&run), labels(l, &run), l.input(2).whole(), dlogits.rows(&run)];
        views.extend(op.scaled.then(|| l.input(3).whole()));
        let params = words! {
            classes: logits.spec.last(), quads: logits.spec.quads(), ignored: op.ignored, weight: op.weight,
        };
        l.each(kernel.clone(), views, run.len(), params);
    }
}

pub(super) fn argmax(l: &mut Lowering<'_>) {
    let (logits, classes) = (l.input(0), l.output(0));
    for run in slices(logits.spec, 1) {
        let views = vec![logits.rows(&run), classes.elements(&run)];
        let params = words! { classes: logits.spec.last(), quads: logits.spec.quads() };
        l.each(l.kernel("pixels/argmax"), views, run.len(), params);
    }
}

/// Most counts of a picture that a workgroup keeps in its own memory, of which half of what WebGPU grants is used.
const LOCAL_COUNTS: usize = 2048;

/// Pixels that a workgroup counts in its own memory: many for each count that it then adds to all counts.
const COUNTED_PIXELS: usize = 64 * EACH_WORKGROUP;

pub(super) fn confusion(l: &mut Lowering<'_>, op: &Confusion) {
    let (predictions, truths, counts) = (l.input(0), l.input(1), l.output(0));
    let (classes, all) = (op.classes, op.classes * op.classes);
    let cleared = (MAX_BINDING_BYTES / 4) as usize;
    for first in (0..counts.spec.elements()).step_by(cleared) {
        let run = first..(first + cleared).min(counts.spec.elements());
        l.each(Kernel::new("pixels/clear"), vec![counts.elements(&run)], run.len(), words! {});
    }
    let pictures = counts.spec.shape[0];
    let pixels = truths.spec.elements() / pictures.max(1);
    // A binding may have to start before the first picture, so one picture less is taken if they must be cut.
    let fit = (MAX_BINDING_BYTES / 4) as usize / pixels.max(all).max(1);
    let step = if fit < pictures { fit.saturating_sub(1).max(1) } else { pictures };
    let local = all <= LOCAL_COUNTS;
    for first in (0..pictures).step_by(step.max(1)) {
        let run = first..(first + step).min(pictures);
        let of = |size: usize| run.start * size / ALIGNED_PIXELS * ALIGNED_PIXELS..run.end * size;
        let (seen, into) = (of(pixels), of(all));
        let views = vec![predictions.elements(&seen), truths.elements(&seen), counts.elements(&into)];
        let [begin, into] = [first * pixels - seen.start, first * all - into.start];
        let kernel = Kernel::new("pixels/confusion").with("local", Setting::Flag(local));
        if local {
            let chunks = pixels.div_ceil(COUNTED_PIXELS);
            let kernel = kernel
                .with("local_counts", Setting::Number(LOCAL_COUNTS))
                .with("chunk_pixels", Setting::Number(COUNTED_PIXELS));
            let params = words! { pixels, chunks, classes, ignored: op.ignored, begin, into };
            let count = run.len() * chunks;
            l.launch(kernel, views, params.counted(count), fold(count));
        } else {
            let params = words! { pixels, classes, ignored: op.ignored, begin, into };
            l.each(kernel, views, run.len() * pixels, params);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_pixels_fit_bindings_and_begin_where_bindings_may() {
        for shape in [[4, 513, 513, 21], [1, 3, 5, 7], [2, 1024, 1024, 150], [1, 64, 64, 8192]] {
            let logits = Spec::channels(shape);
            let bytes = logits.quad_bytes() * logits.quads() as u64;
            for unit in [1, Chunks::over(&logits).chunk_pixels] {
                let runs = slices(&logits, unit);
                assert_eq!(runs.iter().map(Range::len).sum::<usize>(), logits.rows(), "{shape:?}");
                assert_eq!(runs[runs.len() - 1].end, logits.rows(), "{shape:?}");
                for run in runs {
                    assert!(bytes * run.len() as u64 <= MAX_BINDING_BYTES, "{shape:?}: {run:?}");
                    // 4 bytes are the least of a pixel: its label.
                    assert_eq!((run.start % unit, run.start * 4 % 256), (0, 0), "{shape:?}: {run:?}");
                }
            }
        }
    }
}
