// The activation function of this kernel, chosen when its text is rendered, and its derivative at the same argument.
fn activate(x: vec4<f32>) -> vec4<f32> {
#if activation == "relu"
    return max(x, vec4<f32>(0.0));
#elif activation == "silu"
    return x / (1.0 + exp(-x));
#elif activation == "sigmoid"
    return 1.0 / (1.0 + exp(-x));
#else
    return x;
#endif
}
