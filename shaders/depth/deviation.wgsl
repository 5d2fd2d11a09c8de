// Of one pixel: whether its depth is known, and d = ln(prediction) - ln(truth).
//
// The bits of a positive, normal, finite number; compilers may assume that no float is infinite or NaN.
fn known(truth: f32) -> bool {
    return bitcast<u32>(truth) - 0x00800000u < 0x7f000000u;
}

fn deviation(prediction: f32, truth: f32) -> f32 {
    return log((prediction + p.margin) / (truth + p.margin));
}
