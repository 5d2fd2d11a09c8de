// dx = dy / (H * W) everywhere, plus another path's gradient of the same map where there is one.
// dy: [N, C] in vec4 or [N, 1, 1, C] in quads, dx, addend: [N, H, W, C] in quads. i: a quad of dx.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,  // quads in dx
    quads: u32,  // C / 4
    pixels: u32, // H * W
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<{{ "Quad" if of_map else "Full" }}>;
@group(0) @binding(2) var<storage, read_write> dx: array<Quad>;
#if addend
@group(0) @binding(3) var<storage, read> addend: array<Quad>;
#endif

fn each(i: u32) {
    let n = i / (p.pixels * p.quads);
    let d = {{ "widen" if of_map else "from_full" }}(dy[n * p.quads + i % p.quads]);
    dx[i] = narrow(d / f32(p.pixels){{ " + widen(addend[i])" if addend else "" }});
}
