// How the sum of a weight gradient over the pixels of a batch is cut into runs of consecutive lines: several whole
// images, or a part of one (src/kernels/splits.rs). Each run stores a complete result, and conv/sum_partials adds these
// in order.
//
// The parameter block {{ params }} of the file that includes this has
//     images          of this dispatch
//     run_images      images in a run
//     runs_per_image  more than 1 only where run_images is 1
//     run_lines       lines of an image in a run
//     out_h           lines of an image

// Images of a run: first and one past the last.
fn run_images(run: u32) -> vec2<u32> {
    let first = min(run / {{ params }}.runs_per_image * {{ params }}.run_images, {{ params }}.images);
    return vec2<u32>(first, min(first + {{ params }}.run_images, {{ params }}.images));
}

// Lines of each image of a run: first and one past the last.
fn run_lines(run: u32) -> vec2<u32> {
    let first = min(run % {{ params }}.runs_per_image * {{ params }}.run_lines, {{ params }}.out_h);
    return vec2<u32>(first, min(first + {{ params }}.run_lines, {{ params }}.out_h));
}
