//! Weights and pictures that PyTorch and this crate both derive from a name, so that no weights need to be stored. The
//! twin of `synth.py` beside the golden files; the arithmetic is in f32 and equal to the bit.

/// Values in [-1, 1), element `i` in the row-major order of the PyTorch tensor.
pub(crate) fn value(name: &str, elements: usize, seed: u32) -> Vec<f32> {
    let name_hash = name.bytes().fold(0x811c_9dc5, |h: u32, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let start = name_hash.wrapping_add(seed.wrapping_mul(0x85eb_ca6b));
    let element = |i: usize| {
        let mut x = start.wrapping_add((i as u32).wrapping_mul(0x9e37_79b9));
        x ^= x >> 16;
        x = x.wrapping_mul(0x7feb_352d);
        x ^= x >> 15;
        x = x.wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        (x >> 8) as f32 * 2f32.powi(-23) - 1.0
    };
    (0..elements).map(element).collect()
}

/// A parameter or running statistic of `shape` in PyTorch's order (OIHW, OI). `branch_gamma` scales the last batch norm
/// of each residual branch.
pub(crate) fn fill(name: &str, shape: &[usize], seed: u32, branch_gamma: f32) -> Vec<f32> {
    let v = value(name, shape.iter().product(), seed);
    let scaled = |f: &dyn Fn(f32) -> f32| v.iter().map(|&v| f(v)).collect();
    if name.ends_with("running_mean") {
        scaled(&|v| 0.1 * v)
    } else if name.ends_with("running_var") {
        scaled(&|v| 1.0 + 0.2 * v)
    } else if shape.len() >= 2 {
        let fan_in: usize = shape[1..].iter().product();
        let bound = (6.0 / fan_in as f64).sqrt() as f32;
        scaled(&|v| bound * v)
    } else if name.ends_with("bias") {
        scaled(&|v| 0.1 * v)
    } else {
        let gamma = if name.ends_with("bn3.weight") { branch_gamma } else { 1.0 };
        scaled(&|v| gamma * (1.0 + 0.1 * v))
    }
}

/// Standardised pictures, NHWC; the PyTorch tensor is NCHW `[n, c, h, w]`.
#[allow(dead_code, reason = "not every test binary that mounts this file shows tensors")]
pub(crate) fn images(name: &str, [n, c, h, w]: [usize; 4], seed: u32) -> Vec<f32> {
    let nchw = value(name, n * c * h * w, seed);
    let image = |n: usize| {
        let pixel = move |p: usize| (0..c).map(move |c_at| (n * c + c_at) * h * w + p);
        (0..h * w).flat_map(pixel)
    };
    (0..n).flat_map(image).map(|i| 1.7 * nchw[i]).collect()
}

/// Converts a tensor's elements from PyTorch's order (OIHW, OI) to this crate's: `shape` is HWIO, HWC for a depthwise
/// kernel, or IO. Vectors are unchanged.
#[allow(dead_code, reason = "not every test binary that mounts this file needs this crate's order")]
pub(crate) fn from_torch<T: Copy>(shape: &[usize], torch: &[T]) -> Vec<T> {
    let (taps, inputs, outputs) = match shape {
        // Depthwise: one kernel per channel.
        [kh, kw, channels] => (&[*kh, *kw][..], &1, channels),
        [taps @ .., inputs, outputs] => (taps, inputs, outputs),
        _ => return torch.to_vec(),
    };
    let taps: usize = taps.iter().product();
    let at = |tap: usize, i: usize, o: usize| torch[(o * inputs + i) * taps + tap];
    (0..taps * inputs * outputs).map(|k| at(k / outputs / inputs, k / outputs % inputs, k % outputs)).collect()
}

/// A parameter or running statistic in this crate's order, made from its name and its `shape` (HWIO, IO or a vector).
#[allow(dead_code, reason = "not every test binary that mounts this file needs this crate's order")]
pub(crate) fn parameter(name: &str, shape: &[usize], seed: u32, branch_gamma: f32) -> Vec<f32> {
    let torch_shape: Vec<usize> = match *shape {
        [h, w, i, o] => vec![o, i, h, w],
        [h, w, c] => vec![c, 1, h, w],
        [i, o] => vec![o, i],
        _ => shape.to_vec(),
    };
    from_torch(shape, &fill(name, &torch_shape, seed, branch_gamma))
}
