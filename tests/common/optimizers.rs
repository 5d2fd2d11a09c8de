//! How the networks of the golden files `train_small_*` learnt (`tests/golden/make_golden.py`).

use resnet_rs::train::{AdamW, Decay, Learning, Optimizer, Sgd};

/// `train_small_sgd`.
pub(super) fn sgd() -> Learning {
    let optimizer = Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: false });
    Learning { optimizer, weight_decay: 4e-5, decay: Decay::All, ..Learning::default() }
}

/// `train_small_nesterov`.
pub(super) fn nesterov() -> Learning {
    let optimizer = Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: true });
    Learning { optimizer, weight_decay: 4e-5, decay: Decay::Kernels, ..Learning::default() }
}

/// `train_small_adamw`.
pub(super) fn adamw() -> Learning {
    let optimizer = Optimizer::AdamW(AdamW::default());
    Learning { optimizer, weight_decay: 0.05, decay: Decay::Kernels, ..Learning::default() }
}
