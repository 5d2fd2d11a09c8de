// How four channels lie in memory. Maps are arrays of Quad, read through widen and written through narrow. Weights of
// convolutions are arrays of Weights, read through widen_weights. All arithmetic is in f32. Tensors that are f32
// whatever the maps are, such as vectors and sums, are arrays of Full, accessed through from_full and to_full. Where
// reading them takes no time, they may be arrays of vec4<f32>, which have the same bytes.
//
// The bytes are those of four f32 or four f16, whatever type a kernel declares. CPU adapters that support 64-bit
// integers load by them, since llvmpipe moves each word of each lane into its register separately.
#macro quad(name, widen, storage)
#if storage == "f32"
alias {{ name }} = vec4<f32>;

fn {{ widen }}(quad: {{ name }}) -> vec4<f32> {
    return quad;
}
#elif storage == "f32_by_64"
alias {{ name }} = vec2<u64>;

fn {{ widen }}(quad: {{ name }}) -> vec4<f32> {
    let low = vec2<u32>(quad);
    let high = vec2<u32>(quad >> vec2<u32>(32u));
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}
#elif storage == "f16"
alias {{ name }} = vec4<f16>;

fn {{ widen }}(quad: {{ name }}) -> vec4<f32> {
    return vec4<f32>(quad);
}
#elif storage == "packed"
// For devices without f16 in shaders: two halves in a word.
alias {{ name }} = vec2<u32>;

fn {{ widen }}(quad: {{ name }}) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y));
}
#else
alias {{ name }} = u64;

fn {{ widen }}(quad: {{ name }}) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(u32(quad)), unpack2x16float(u32(quad >> 32u)));
}
#endif
#endmacro
#if storage == "f16"
enable f16;
#endif
{{ quad("Quad", "widen", storage) }}
#if weights is defined
// In training, weights stay f32 where maps are f16.
{{ quad("Weights", "widen_weights", weights) }}
#endif
#set full = "f32_by_64" if "by_64" in storage else "f32"
{{ quad("Full", "from_full", full) }}
fn to_full(v: vec4<f32>) -> Full {
#if full == "f32"
    return v;
#else
    let bits = bitcast<vec4<u32>>(v);
    return vec2<u64>(bits.xz) | (vec2<u64>(bits.yw) << vec2<u32>(32u));
#endif
}

fn narrow(v: vec4<f32>) -> Quad {
#if storage == full
    return to_full(v);
#else
    // WGSL leaves the conversion of a number beyond the largest f16 indeterminate.
#if gradient
    // Here such a number becomes infinite, so that the gradients' norm shows the overflow. NaNs become infinite, too.
    // The test looks at bits, since compilers may assume that no float is infinite or NaN.
    let bits = bitcast<vec4<u32>>(v);
    let lost = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x477fe000u); // 65504.0
    let kept = bitcast<vec4<f32>>(select(bits, (bits & vec4<u32>(0x80000000u)) | vec4<u32>(0x7f800000u), lost));
#else
    // Here such a number becomes the largest f16.
    let kept = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
#endif
#if storage == "f16"
    return vec4<f16>(kept);
#elif storage == "packed"
    return vec2<u32>(pack2x16float(kept.xy), pack2x16float(kept.zw));
#else
    return u64(pack2x16float(kept.xy)) | (u64(pack2x16float(kept.zw)) << 32u);
#endif
#endif
}
