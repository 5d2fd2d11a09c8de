// Losses of the deltas of a level's anchors, one quad each, where an anchor has a class.
#if backward
// Their gradient; 0 for the other anchors.
#else
// Sums over chunks of anchors, which boxes/sum adds.
#endif
//
// z, dz: [N, H, W, A * 4] in quads, labels: [N, T], normalisers: [N], targets: [N, T, 4], boxes: [T, 4].
// i: {{ "an anchor" if backward else "a chunk" }}.
#set settings = "    delta: f32,          // Huber's"
#include "shared/storage.wgsl"
#include "boxes/level.wgsl"
#if backward
#include "shared/each.wgsl"
#else
#include "shared/team.wgsl"
#endif

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<Quad>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> normalisers: array<f32>;
@group(0) @binding(4) var<storage, read> targets: array<vec4<f32>>;
#if backward
@group(0) @binding(5) var<storage, read_write> dz: array<Quad>;
#else
@group(0) @binding(5) var<storage, read_write> chunk_sums: array<vec4<f32>>;
#endif
#set next = 6
#if kind == "giou"
@group(0) @binding(6) var<storage, read> boxes: array<vec4<f32>>;
#set next = 7
#endif
#if scaled
@group(0) @binding({{ next }}) var<storage, read> scale: array<f32>;
#endif

#if kind == "giou"
#include "boxes/giou.wgsl"
#elif kind == "huber"
fn compare(delta: vec4<f32>, goal: vec4<f32>) -> vec4<f32> {
    let d = delta - goal;
#if backward
    return clamp(d, vec4<f32>(-p.delta), vec4<f32>(p.delta));
#else
    let m = min(abs(d), vec4<f32>(p.delta));
    return m * (abs(d) - 0.5 * m);
#endif
}
#else
fn compare(delta: vec4<f32>, goal: vec4<f32>) -> vec4<f32> {
    return {{ "sign" if backward else "abs" }}(delta - goal);
}
#endif

// The losses of an anchor's deltas, or their slopes.
fn quad_of(at: Place) -> vec4<f32> {
    let anchor = at.anchor + at.quad;
    let here = row(at.picture, anchor);
    if (labels[here] >= p.classes) {
        return vec4<f32>(0.0);
    }
    let found = compare(widen(z[at.at]), targets[here]{{ ", boxes[anchor]" if kind == "giou" else "" }});
    return found * (p.factor * normalisers[at.picture]);
}
#include "boxes/result.wgsl"
