// Focal loss of the logits of a level's anchors, turned such that each should be high: x = z for the anchor's class,
// else -z. With softplus(x) = ln(1 + exp(x)), each costs share * exp(-gamma * softplus(x)) * softplus(-x), which
// neither overflows nor divides by 0.
#if backward
// Its gradient: dz = +-share * exp(-gamma * softplus(x)) * (gamma * sigmoid(x) * softplus(-x) + sigmoid(-x)). Padding
// becomes 0.
#else
// Sums over chunks of quads, which boxes/sum adds.
#endif
//
// z, dz: [N, H, W, A * K] in quads, labels: [N, T], normalisers: [N]. i: a {{ "quad" if backward else "chunk" }}.
#set settings = "    alpha: f32,\n    gamma: f32,"
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
#if backward
@group(0) @binding(4) var<storage, read_write> dz: array<Quad>;
#if scaled
@group(0) @binding(5) var<storage, read> scale: array<f32>;
#endif
#else
@group(0) @binding(4) var<storage, read_write> chunk_sums: array<vec4<f32>>;
#endif

// The label of anchors that do not count.
const IGNORED = 0xffffffffu;

// ln(1 + e) for e from 0 to 1, as 2 * artanh(e / (2 + e)): near 1 the error of log() may exceed a small result. The
// omitted terms are below 2^-25 of the result.
fn log_of_one_and(e: vec4<f32>) -> vec4<f32> {
    let u = e / (e + 2.0);
    let s = u * u;
    return 2.0 * u * (1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * (1.0 / 9.0
        + s * (1.0 / 11.0 + s / 13.0))))));
}

// The losses of a quad's logits, or their slopes.
fn quad_of(at: Place) -> vec4<f32> {
    let channels = vec4<u32>(0u, 1u, 2u, 3u) + at.quad * 4u;
    let anchors = min(channels / p.classes, vec4<u32>(p.pixel_anchors - 1u));
    let rows = row(at.picture, at.anchor) + anchors;
    let own = vec4<u32>(labels[rows.x], labels[rows.y], labels[rows.z], labels[rows.w]);
    let counted = (own != vec4<u32>(IGNORED)) & (channels < vec4<u32>(p.pixel_anchors * p.classes));
    let right = own == channels % p.classes;
    let signs = select(vec4<f32>(-1.0), vec4<f32>(1.0), right);
    let x = signs * widen(z[at.at]);
    let e = exp(-abs(x));
    let rest = log_of_one_and(e);
    let surprise = max(-x, vec4<f32>(0.0)) + rest;
    let shares = select(vec4<f32>(1.0 - p.alpha), vec4<f32>(p.alpha), right);
    let modulated = shares * exp(-p.gamma * (max(x, vec4<f32>(0.0)) + rest));
#if backward
    let low = e / (1.0 + e);
    let high = 1.0 / (1.0 + e);
    let up = x > vec4<f32>(0.0);
    let found = -signs * modulated * (p.gamma * select(low, high, up) * surprise + select(high, low, up));
#else
    let found = modulated * surprise;
#endif
    return select(vec4<f32>(0.0), found, counted) * (p.factor * normalisers[at.picture]);
}
#include "boxes/result.wgsl"
