//! The optimiser. A node of many tensors takes few launches: each launch updates as many tensors as it can bind.

use super::{Kernel, Lowering, Params, Setting, View, fold, words};
use crate::gpu::{Family, Target};
use crate::graph::op::{
    AdamW, AdaptLossScale, BiasCorrection, GradientScale, ParameterRates, SgdMomentum, SquaredNorm,
};

pub(super) fn sgd_momentum(l: &mut Lowering<'_>, op: &SgdMomentum) {
    let kernel = l
        .kernel_in_full("optim/sgd_momentum")
        .with("nesterov", Setting::Flag(op.nesterov))
        .with("scaled", Setting::Flag(op.scaled));
    update_each(l, &kernel, op.leading(), words! { momentum: op.momentum }, |tensor| {
        let ParameterRates { weight_decay, lr_scale } = op.parameters[tensor];
        words! { weight_decay, lr_scale }
    });
}

pub(super) fn adamw(l: &mut Lowering<'_>, op: &AdamW) {
    let kernel = l.kernel_in_full("optim/adamw").with("scaled", Setting::Flag(op.scaled));
    let [new_mean, new_square] = op.decays.map(|decay| 1.0 - decay);
    update_each(l, &kernel, op.leading(), words! { new_mean, new_square, eps: op.eps }, |tensor| {
        let ParameterRates { weight_decay, lr_scale } = op.parameters[tensor];
        words! { weight_decay, lr_scale }
    });
}

pub(super) fn bias_correction(l: &mut Lowering<'_>, op: &BiasCorrection) {
    let mut views: Vec<View> = (0..l.node.inputs.len()).map(|i| l.input(i).whole()).collect();
    views.push(l.update(0).whole());
    let [new_first, new_second] = op.decays.map(|decay| 1.0 - decay);
    let kernel = Kernel::new("optim/bias_correction").with("scaled", Setting::Flag(op.scaled));
    l.each(kernel, views, 1, words! { new_first, new_second });
}

pub(super) fn accumulate(l: &mut Lowering<'_>) {
    update_each(l, &l.kernel_in_full("optim/accumulate"), 1, words! {}, |_| words! {});
}

pub(super) fn moving_average(l: &mut Lowering<'_>) {
    update_each(l, &l.kernel_in_full("optim/moving_average"), 1, words! {}, |_| words! {});
}

/// Tensors of a launch that binds `common` buffers, and `own` for each tensor. On CPU adapters a launch costs little,
/// and llvmpipe's lanes run the code for every tensor: one by one, RS-50's weights are updated in 0.6 of the time.
fn most_tensors(target: Target, common: usize, own: usize) -> usize {
    match target.family {
        Family::Tiles => (target.storage_buffers - common) / own,
        Family::Registers => 1,
    }
}

/// Launches a kernel over the node's inputs from `leading` on, each with its share of the updated tensors. `params` and
/// the inputs before are common to all; `own` returns a tensor's own parameters, besides its `count` of vec4.
fn update_each(l: &mut Lowering<'_>, kernel: &Kernel, leading: usize, params: Params, own: impl Fn(usize) -> Params) {
    let tensors = l.node.inputs.len() - leading;
    let updates = l.node.updates.len() / tensors.max(1);
    let most = most_tensors(l.target, leading, 1 + updates);
    for first in (0..tensors).step_by(most) {
        let run = first..(first + most).min(tensors);
        let mut views: Vec<View> = (0..leading).map(|i| l.input(i).whole()).collect();
        let (mut params, mut count) = (params.clone(), 0);
        for (i, tensor) in run.clone().enumerate() {
            let x = l.input(leading + tensor);
            views.push(x.whole());
            views.extend((0..updates).map(|u| l.update(updates * tensor + u).whole()));
            params = params.and_each(i, words! { count: x.vec4() }).and_each(i, own(tensor));
            count += x.vec4();
        }
        l.each(kernel.clone().with("tensors", Setting::Number(run.len())), views, count, params);
    }
}

pub(super) fn squared_norm(l: &mut Lowering<'_>) {
    let [factor, sums] = [l.input(0), l.update(0)].map(|tensor| tensor.whole());
    let tensors = 1..l.node.inputs.len();
    let most = most_tensors(l.target, 2, 1);
    let mut first_sum = 0;
    for first in tensors.clone().step_by(most) {
        let run = first..(first + most).min(tensors.end);
        let sums_of_run: usize = run.clone().map(|i| SquaredNorm::sums(l.input(i).spec)).sum();
        let views = [factor, sums].into_iter().chain(run.clone().map(|i| l.input(i).whole())).collect();
        let params = words! { chunk: SquaredNorm::CHUNK, first: first_sum, count: sums_of_run };
        let params = run
            .clone()
            .enumerate()
            .fold(params, |params, (i, tensor)| params.and_each(i, words! { count: l.input(tensor).vec4() }));
        let kernel = l.kernel_in_full("optim/squared_norm").with("tensors", Setting::Number(run.len()));
        l.launch(kernel, views, params, fold(sums_of_run));
        first_sum += sums_of_run;
    }
}

pub(super) fn gradient_scale(l: &mut Lowering<'_>, op: &GradientScale) {
    let sums = l.input(0);
    let views = vec![sums.whole(), l.input(1).whole(), l.output(0).whole(), l.output(1).whole()];
    // WGSL has no infinity. The largest number has the same effect.
    let params = words! { sums: sums.spec.elements(), max_norm: op.max_norm.min(f32::MAX) };
    l.team(Kernel::new("optim/gradient_scale"), views, 1, params);
}

pub(super) fn unscale(l: &mut Lowering<'_>) {
    let views = vec![l.input(0).whole(), l.input(1).whole(), l.output(0).whole()];
    l.each(Kernel::new("optim/unscale"), views, 1, words! {});
}

pub(super) fn adapt_loss_scale(l: &mut Lowering<'_>, op: &AdaptLossScale) {
    let views = vec![l.input(0).whole(), l.update(0).whole(), l.update(1).whole()];
    let [least, most] = AdaptLossScale::RANGE;
    let params = words! { growth_steps: op.growth_steps as f32, least, most };
    l.each(Kernel::new("optim/adapt_loss_scale"), views, 1, params);
}
