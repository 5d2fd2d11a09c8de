//! Mixed precision: half the memory, nearly the same gradients, and overflowing steps are skipped.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "common/synth.rs"]
mod synth;

use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{Gpu, Target};
use resnet_rs::graph::{Precision, TensorId};
use resnet_rs::kernels;
use resnet_rs::models::{ActivationChoice, Config, Input, Preset, ResNet};
use resnet_rs::train::task::Classify;
use resnet_rs::train::{AdamW, Learning, Optimizer, Sgd, Step, StepOptions, When};

const BATCH: usize = 8;
const SEED: u32 = 23;
const LABELS: [u32; BATCH] = [0, 1, 2, 3, 4, 5, 6, 7];

/// A smooth activation, so that rounding changes gradients as little and moves nothing across the kink of a ReLU; and
/// every branch is active.
fn config() -> Config {
    let smooth = ResNet { activation: ActivationChoice::Silu, zero_init_last: false, ..ResNet::rs([1, 1, 1, 1], 0.25) };
    Config::new(smooth, 10)
}

const OPTIMIZERS: [Optimizer; 2] = [
    Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: true }),
    Optimizer::AdamW(AdamW { decays: [0.9, 0.999], eps: 1e-8 }),
];

fn step(precision: Precision, when: When) -> Step {
    step_of(OPTIMIZERS[0], precision, when)
}

fn step_of(optimizer: Optimizer, precision: Precision, when: When) -> Step {
    let learning = Learning { optimizer, ..Learning::default() };
    let options = StepOptions { learning, precision, when, ..StepOptions::default() };
    Step::build(&config(), BATCH, [32; 2], Input::Tensor, &Classify::default(), &options).unwrap()
}

/// A step with fixed initial weights.
struct Running {
    store: ParameterStore,
    session: Session,
    norm: Option<TensorId>,
}

impl Running {
    fn new(gpu: &Gpu, step: Step) -> Self {
        let mut store = ParameterStore::new(gpu);
        store.allocate(&step.graph).unwrap();
        store.initialize(SEED.into()).unwrap();
        let (outputs, norm) = (step.outputs(), step.norm);
        let session = Session::new(&store, step.graph, &outputs, &SessionOptions::default()).unwrap();
        Self { store, session, norm }
    }

    /// Runs one step; returns the norm of the gradients if it is known.
    fn run(&mut self) -> Option<f32> {
        let pictures = synth::images("input", [BATCH, 3, 32, 32], SEED);
        let feeds = [
            ("input", pictures[..].into()),
            ("labels", LABELS[..].into()),
            ("clock", [0, 0][..].into()),
            ("lr", [0.05][..].into()),
            ("factor", [1.0][..].into()),
        ];
        self.session.feed_inputs(&feeds).unwrap();
        self.session.run().unwrap();
        let norm = self.norm.map(|norm| self.session.read(norm).unwrap()[0]);
        self.session.wait().unwrap();
        norm
    }

    /// Weights and momenta, by name.
    fn learned(&self) -> Vec<(String, Vec<f32>)> {
        let read = self
            .store
            .read_all(|t| {
                !t.name.contains("running_") && !["loss_scale", "squared_norms"].iter().any(|of| t.name.starts_with(of))
            })
            .unwrap();
        read.into_iter().map(|(t, v)| (t.name.clone(), v)).collect()
    }

    fn loss_scale(&self) -> f32 {
        self.store.read("loss_scale").unwrap()[0]
    }
}

fn bits(values: &[(String, Vec<f32>)]) -> Vec<u32> {
    values.iter().flat_map(|(_, v)| v.iter().map(|v| v.to_bits())).collect()
}

#[test]
fn activations_take_little_more_than_half() {
    for (model, classes, batch, res) in [("small", 10, 128, 32), ("resnet-rs-50", 1000, 32, 160)] {
        let config = Preset::find(model).unwrap().config(classes);
        let slots = |precision| {
            let options = StepOptions { precision, ..StepOptions::default() };
            let step = Step::build(&config, batch, [res; 2], Input::Tensor, &Classify::default(), &options).unwrap();
            kernels::plan(&step.graph, &step.outputs(), Target::TILES).bytes.slots as f64
        };
        let share = slots(Precision::F16) / slots(Precision::F32);
        eprintln!("{model}, batch {batch}, {res} px: {share:.3} of f32's activation bytes");
        assert!(share <= 0.6, "{model}: {share}");
    }
}

/// Each map is rounded to 11 bits in the forward pass and its gradient in the backward pass, with a relative error of
/// 2^-12 / sqrt(3) in the root mean square. The errors of some 40 maps add up like steps of a random walk: sqrt(2 * 40)
/// * 2^-12 / sqrt(3) is 0.13 %. The gates' inner ReLUs have a kink: about that share of their values changes sides, and
///   a gradient that lacks a share e of its terms has an error of sqrt(e).
#[test]
fn gradients_are_those_of_full_precision_but_for_rounding() {
    adapters::on_each(|gpu| {
        let (mut full, mut mixed) = (
            Running::new(gpu, step(Precision::F32, When::Together)),
            Running::new(gpu, step(Precision::F16, When::AtOnce)),
        );
        let norms = [full.run().unwrap(), mixed.run().unwrap()].map(f64::from);
        // With zero initial momentum and no decay, the momentum is the gradient.
        let (mut squares, mut error) = (0.0, 0.0);
        for ((name, want), (_, got)) in
            full.learned().iter().zip(&mixed.learned()).filter(|((n, _), _)| n.ends_with(".momentum"))
        {
            assert_eq!(want.len(), got.len(), "{name}");
            for (want, got) in want.iter().zip(got).map(|(w, g)| (f64::from(*w), f64::from(*g))) {
                squares += want * want;
                error += (want - got) * (want - got);
            }
        }
        let error = (error / squares).sqrt();
        eprintln!("{}: gradients off by {:.2} % of their norm", gpu.name(), 100.0 * error);
        assert!(error > 0.0, "f16 rounds");
        assert!(error <= 0.0013f64.sqrt(), "{error}");
        assert!((norms[1] / norms[0] - 1.0).abs() <= error, "{norms:?}");
    });
}

/// With a loss scale so large that gradients overflow, nothing learns until the scale has fallen, and then everything
/// does.
#[test]
fn steps_that_overflow_are_left_out_until_the_scale_fits() {
    let left_out = |gpu: &Gpu, optimizer| {
        let mut mixed = Running::new(gpu, step_of(optimizer, Precision::F16, When::AtOnce));
        mixed.store.write("loss_scale", &[2f32.powi(24)]).unwrap();
        let before = bits(&mixed.learned());
        let mut scale = 2f32.powi(24);
        assert!(!mixed.run().unwrap().is_finite(), "the gradients overflow");
        loop {
            scale /= 2.0;
            assert_eq!(mixed.loss_scale(), scale);
            assert!(scale >= 1.0 && bits(&mixed.learned()) == before, "a step that overflows changes nothing");
            if mixed.run().unwrap().is_finite() {
                break;
            }
        }
        assert_eq!(mixed.loss_scale(), scale, "a step that fits leaves the scale");
        assert!(bits(&mixed.learned()) != before);
    };
    adapters::on_each(|gpu| OPTIMIZERS.into_iter().for_each(|optimizer| left_out(gpu, optimizer)));
}

#[test]
fn recomputed_maps_are_stored_alike() {
    adapters::on_fastest(|gpu| {
        let of = |step: Step| {
            let mut running = Running::new(gpu, step);
            running.run();
            running.run();
            bits(&running.learned())
        };
        let kept = step(Precision::F16, When::AtOnce);
        let rebuilt = step(Precision::F16, When::AtOnce).recomputing().unwrap();
        let slots = |step: &Step| kernels::plan(&step.graph, &step.outputs(), Target::TILES).bytes.slots;
        assert!(slots(&rebuilt) < slots(&kept));
        assert!(of(kept) == of(rebuilt));
    });
}

/// Without a limit on the norm, learning together equals learning at once, to the bit.
#[test]
fn learning_together_changes_nothing_by_itself() {
    adapters::on_fastest(|gpu| {
        let of = |optimizer, when| {
            let mut running = Running::new(gpu, step_of(optimizer, Precision::F32, when));
            running.run();
            running.run();
            bits(&running.learned())
        };
        for optimizer in OPTIMIZERS {
            assert!(of(optimizer, When::AtOnce) == of(optimizer, When::Together));
        }
    });
}
