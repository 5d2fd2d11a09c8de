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

// WGSL leaves open what becomes of a number beyond the largest of f16. Here it becomes the largest.
fn narrow(v: vec4<f32>) -> Group {
    let within = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
#if storage == "f16"
    return vec4<f16>(within);
#else
    return vec2<u32>(pack2x16float(within.xy), pack2x16float(within.zw));
#endif
}
#endif
