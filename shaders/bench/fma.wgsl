// Measures the adapter's peak rate of fused multiply-adds by independent chains in registers, without memory traffic.
//
// An invocation keeps `chains` vec4. With 3 of them, 12 chains are enough to hide the latency of a multiply-add on any
// adapter, and with the two factors they still fit the 16 registers of a CPU's SIMD unit. The kernel never writes
// `out`, but no compiler can know that.
struct Params {
    factor: f32,
    addend: f32,
    never: f32, // a sum that the chains do not reach
    iterations: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size({{ threads }})
fn main(@builtin(local_invocation_index) lane: u32) {
    let factor = vec4<f32>(p.factor);
    let addend = vec4<f32>(p.addend);
# for c in range(chains)
    var a{{ c }} = vec4<f32>(f32(lane) + {{ c }}.0);
# endfor
    for (var i = 0u; i < p.iterations; i++) {
# for u in range(unrolled)
#   for c in range(chains)
        a{{ c }} = fma(a{{ c }}, factor, addend);
#   endfor
# endfor
    }
    var sum = a0;
# for c in range(1, chains)
    sum += a{{ c }};
# endfor
    let total = dot(sum, vec4<f32>(1.0));
    if (total == p.never) {
        out[lane] = total;
    }
}
