// How four channels lie in memory. Maps and weights are arrays of Group, read through widen and written through narrow;
// everything in between is f32. Vectors, features and scratch memory are vec4<f32> in any case.
#if storage == "f16"
enable f16;
alias Group = vec4<f16>;

fn widen(group: Group) -> vec4<f32> {
    return vec4<f32>(group);
}

fn narrow(v: vec4<f32>) -> Group {
    return vec4<f16>(v);
}
#elif storage == "packed"
// The same bytes, for devices that lack the type: two words of two halves.
alias Group = vec2<u32>;

fn widen(group: Group) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(group.x), unpack2x16float(group.y));
}

fn narrow(v: vec4<f32>) -> Group {
    return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}
#else
alias Group = vec4<f32>;

fn widen(group: Group) -> vec4<f32> {
    return group;
}

fn narrow(v: vec4<f32>) -> Group {
    return v;
}
#endif
