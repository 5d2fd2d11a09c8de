//! The classes of a map's pixels.

use std::ops::Range;

use super::{Kernel, Lowering, Setting, View, words};
use crate::graph::Spec;
use crate::graph::op::{MAX_BINDING_BYTES, MAX_LOOP_ITERATIONS, PixelCrossEntropy, PixelCrossEntropyGrad};

/// Alignment of a run of pixels: 64 labels take the 256 bytes at which a binding may start.
const ALIGNED_PIXELS: usize = 64;

/// How the sum over all pixels is cut into chunks.
struct Chunks {
    /// Pixels in every chunk but perhaps the last. One invocation may walk through all classes of a chunk twice.
    chunk_pixels: usize,
    /// Number of chunks.
    chunks: usize,
}

impl Chunks {
    fn over(logits: &Spec) -> Self {
        let chunk_pixels = (MAX_LOOP_ITERATIONS / (2 * logits.quads() + 2)).clamp(1, 1024);
        Self { chunk_pixels, chunks: logits.rows().div_ceil(chunk_pixels) }
    }
}

/// Bytes of the chunks' sums.
pub(super) fn scratch_bytes(logits: &Spec) -> u64 {
    16 * Chunks::over(logits).chunks as u64
}

/// Runs of pixels whose logits fit a binding, each but the last a multiple of `unit` pixels.
fn slices(logits: &Spec, unit: usize) -> Vec<Range<usize>> {
    let (pixels, unit) = (logits.rows(), unit * ALIGNED_PIXELS);
    let bytes = 16 * logits.quads() as u64;
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
    let kernel = l.kernel_in_full("pixels/cross_entropy");
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
    let kernel = l.kernel_in_full("pixels/cross_entropy_grad").with("scaled", Setting::Flag(op.scaled));
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
        l.each(l.kernel_in_full("pixels/argmax"), views, run.len(), params);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_pixels_fit_bindings_and_begin_where_bindings_may() {
        for shape in [[4, 513, 513, 21], [1, 3, 5, 7], [2, 1024, 1024, 150], [1, 64, 64, 8192]] {
            let logits = Spec::channels(shape);
            let bytes = 16 * logits.quads() as u64;
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
