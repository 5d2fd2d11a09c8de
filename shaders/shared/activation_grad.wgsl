// Derivative of the activation function at its argument x.
fn activation_derivative(x: vec4<f32>) -> vec4<f32> {
#if activation == "relu"
    return select(vec4<f32>(0.0), vec4<f32>(1.0), x > vec4<f32>(0.0));
#elif activation == "silu"
    let s = 1.0 / (1.0 + exp(-x));
    return s * (1.0 + x * (1.0 - s));
#elif activation == "sigmoid"
    let s = 1.0 / (1.0 + exp(-x));
    return s * (1.0 - s);
#else
    return vec4<f32>(1.0);
#endif
}
