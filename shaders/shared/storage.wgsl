// How four channels lie in memory. Maps and weights are arrays of Group, read through widen and written through narrow;
// everything in between is f32. Vectors, features and scratch memory are vec4<f32> in any case.
#if storage == "f32"
alias Group = vec4<f32>;

fn widen(group: Group) -> vec4<f32> {
    return group;
}

fn narrow(v: vec4<f32>) -> Group {
    return v;
}
#else
#if storage == "f16"
enable f16;
alias Group = vec4<f16>;

fn widen(group: Group) -> vec4<f32> {
    return vec4<f32>(group);
}
#else
// The same bytes for devices that lack the type: two halves to a word.
alias Group = vec2<u32>;

fn widen(group: Group) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(group.x), unpack2x16float(group.y));
}
#endif

fn narrow(v: vec4<f32>) -> Group {
    // WGSL leaves open what becomes of a number beyond the largest of f16.
#if gradient | default(false)
    // Here it becomes infinite, so that whoever sums up gradients sees that one was lost. Told by the bits, NaNs included, since
    // compilers may take it that no float is either.
    let bits = bitcast<vec4<u32>>(v);
    let lost = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x477fe000u); // 65504.0
    let kept = bitcast<vec4<f32>>(select(bits, bits & vec4<u32>(0x80000000u) | vec4<u32>(0x7f800000u), lost));
#else
    // Here it becomes the largest.
    let kept = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
#endif
#if storage == "f16"
    return vec4<f16>(kept);
#else
    return vec2<u32>(pack2x16float(kept.xy), pack2x16float(kept.zw));
#endif
}
#endif

#if full_weights | default(false)
// Training learns weights in f32 beside maps in f16.
alias Weights = vec4<f32>;

fn widen_weights(group: Weights) -> vec4<f32> {
    return group;
}
#else
alias Weights = Group;

fn widen_weights(group: Weights) -> vec4<f32> {
    return widen(group);
}
#endif
