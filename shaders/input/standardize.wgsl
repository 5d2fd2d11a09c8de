// Converts 8-bit pixels to the network's input: (pixel / 255 - mean) / std per colour, as pixel * scale + shift.
// pixels: [N, H, W], RGBA with red in the lowest byte, x: [N, H, W, 3], a quad a pixel, its fourth lane 0. i: a pixel.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,
    scale_r: f32, scale_g: f32, scale_b: f32, // 1 / (255 * std)
    shift_r: f32, shift_g: f32, shift_b: f32, // -mean / std
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<Quad>;

fn each(i: u32) {
    let rgba = pixels[i];
    let colour = vec3<f32>(f32(rgba & 255u), f32((rgba >> 8u) & 255u), f32((rgba >> 16u) & 255u));
    let scale = vec3<f32>(p.scale_r, p.scale_g, p.scale_b);
    let shift = vec3<f32>(p.shift_r, p.shift_g, p.shift_b);
    x[i] = narrow(vec4<f32>(colour * scale + shift, 0.0));
}
