// Counts how often each class is taken for each other one, picture by picture.
#if local
// A workgroup first counts {{ chunk_pixels }} pixels of one picture in its own memory. i: a workgroup.
#else
// i: a pixel.
#endif
//
// predictions, truths: [N, pixels], counts: [N, truths, predictions], all 0 before the first launch.
struct Params {
    count: u32,    // {{ "workgroups" if local else "pixels of all pictures" }}
    pixels: u32,   // of a picture
#if local
    chunks: u32,   // workgroups for each picture
#endif
    classes: u32,  // K
    ignored: u32,  // truth of pixels that do not count
    begin: u32,    // where the first pixel is in the bindings
    into: u32,     // where the first count is in its binding
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> predictions: array<u32>;
@group(0) @binding(2) var<storage, read> truths: array<u32>;
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;

// Index of a pixel's count in those of its picture, or K * K if it does not count.
fn count_of(pixel: u32) -> u32 {
    let truth = truths[p.begin + pixel];
    let prediction = predictions[p.begin + pixel];
    let counted = truth != p.ignored && truth < p.classes && prediction < p.classes;
    return select(p.classes * p.classes, truth * p.classes + prediction, counted);
}
#if local

var<workgroup> own: array<atomic<u32>, {{ local_counts }}>;

@compute @workgroup_size({{ each_workgroup }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = workgroup.y * workgroups.x + workgroup.x;
    let all = p.classes * p.classes;
    for (var at = lane; at < all; at += {{ each_workgroup }}u) {
        atomicStore(&own[at], 0u);
    }
    workgroupBarrier();
    let picture = i / p.chunks;
    let begin = i % p.chunks * {{ chunk_pixels }}u;
    // A workgroup past the last counts nothing.
    let end = select(0u, min(begin + {{ chunk_pixels }}u, p.pixels), i < p.count);
    for (var pixel = begin + lane; pixel < end; pixel += {{ each_workgroup }}u) {
        let at = count_of(picture * p.pixels + pixel);
        if (at < all) {
            atomicAdd(&own[at], 1u);
        }
    }
    workgroupBarrier();
    for (var at = lane; at < all; at += {{ each_workgroup }}u) {
        let found = atomicLoad(&own[at]);
        if (found > 0u) {
            atomicAdd(&counts[p.into + picture * all + at], found);
        }
    }
}
#else
#include "shared/each.wgsl"

fn each(i: u32) {
    let all = p.classes * p.classes;
    let at = count_of(i);
    if (at < all) {
        atomicAdd(&counts[p.into + i / p.pixels * all + at], 1u);
    }
}
#endif
