// What happens to a convolution's sum before it is stored. Absent parts bind nothing and cost nothing.
#set binding = namespace(next=first_binding | default(4))
#if bias
@group(0) @binding({{ binding.next }}) var<storage, read> bias: array<Full>;
#set binding.next = binding.next + 1
#endif
#if gate
@group(0) @binding({{ binding.next }}) var<storage, read> gate: array<Full>;
#set binding.next = binding.next + 1
#endif
#if shortcut
@group(0) @binding({{ binding.next }}) var<storage, read> shortcut: array<Quad>;
#endif

fn finish(sum: vec4<f32>, image: u32, column: u32, at: u32) -> vec4<f32> {
    var v = sum;
#if bias and not bias_added | default(false)
    v += from_full(bias[column]);
#endif
#if gate
    v *= from_full(gate[image * {{ out_quads | default("walk.out_quads") }} + column]);
#endif
#if shortcut
    v += widen(shortcut[at]);
#endif
    return activate(v);
}
