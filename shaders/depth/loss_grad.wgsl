// Gradient of the loss of depth/loss, whose share in the total loss is `weight`, by the predictions; 0 where the depth
// is not known{{ ", and where the loss is a root of 0" if root else "" }}.
//
// predictions, gradient: [pixels] in quads, of which the first number counts, truths: [pixels], statistics: [3], the
// number of known pixels, the mean of d and its biased variance. i: a pixel.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,  // pixels
    margin: f32, // added to depths
    level: f32,  // weight of the squared mean
    factor: f32, // of the root
    weight: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> predictions: array<Quad>;
@group(0) @binding(2) var<storage, read> truths: array<f32>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<Quad>;
#if scaled
@group(0) @binding(5) var<storage, read> scale: array<f32>;
#endif

#include "depth/deviation.wgsl"
#include "depth/square.wgsl"

fn each(i: u32) {
    let truth = truths[i];
    var found = 0.0;
    if (known(truth)) {
        let prediction = widen(predictions[i]).x;
        let pixels = statistics[0];
        let mean = statistics[1];
        let slope = spread(pixels) * (deviation(prediction, truth) - mean) + p.level * mean;
        found = 2.0 * slope / (max(pixels, 1.0) * (prediction + p.margin));
#if root
        let below = square(pixels, mean, statistics[2]);
        found = select(0.0, found * 0.5 * p.factor / sqrt(max(below, 1e-37)), below > 0.0);
#endif
    }
    gradient[i] = narrow(vec4<f32>(found * p.weight{{ " * scale[0]" if scaled else "" }}, 0.0, 0.0, 0.0));
}
