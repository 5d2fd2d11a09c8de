//! The range of every setting.

use super::{Augment, Error, OptimizerName, Recipe};
use crate::models::{self, Purpose};

impl Recipe {
    /// Checks every setting against its range.
    pub(in crate::train) fn validate(&self) -> Result<(), Error> {
        const MAX_INTEGER: u64 = i64::MAX as u64;
        let range = |setting, value: String, range, valid| match valid {
            true => Ok(()),
            false => Err(Error::Range { setting, value, range }),
        };
        let rate = |setting, value: f64| {
            range(setting, value.to_string(), "at least 0 and below 1", (0.0..1.0).contains(&value))
        };
        if let Some(depths) = self.depths {
            let valid = depths.iter().all(|n| (1..=1000).contains(n));
            range("depths", format!("{depths:?}"), "four numbers from 1 to 1000", valid)?;
        }
        if let Some(width) = self.width {
            range("width", width.to_string(), "from 0.125 to 8", models::WIDTHS.contains(&f64::from(width)))?;
        }
        if let Some(res) = self.res {
            range("res", res.to_string(), "from 1 to 4096 px", (1..=4096).contains(&res))?;
        }
        if let Some(res) = self.res_start {
            range("res-start", res.to_string(), "from 1 to 4096 px", (1..=4096).contains(&res))?;
        }
        if let Some(ratio) = self.se_ratio {
            range("se-ratio", ratio.to_string(), "from 0 to 1", (0.0..=1.0).contains(&ratio))?;
        }
        let [least, most] = self.scale;
        let scales = 0.05 <= least && least <= most && most <= 20.0;
        range("scale", format!("{least},{most}"), "two factors from 0.05 to 20, the smaller one first", scales)?;
        for (setting, value) in [("jitter", self.jitter), ("backbone-lr", self.backbone_lr)] {
            range(setting, value.to_string(), "from 0 to 2", (0.0..=2.0).contains(&value))?;
        }
        let metres = self.max_depth;
        range("max-depth", metres.to_string(), "from 0.01 to 10000 m", (0.01..=1e4).contains(&metres))?;
        let stride = self.output_stride.unwrap_or(32);
        range("output-stride", stride.to_string(), "8, 16 or 32", matches!(stride, 8 | 16 | 32))?;
        self.check_head()?;
        range("epochs", self.epochs.to_string(), "at least 1", self.epochs > 0)?;
        if let Some(n) = self.max_minutes {
            range("max-minutes", n.to_string(), "above 0 and at most 1000000", n > 0.0 && n <= 1e6)?;
        }
        let minutes = self.checkpoint_minutes;
        range("checkpoint-minutes", minutes.to_string(), "from 0 to 1000000", (0.0..=1e6).contains(&minutes))?;
        if let Some(n) = self.patience {
            range("patience", n.to_string(), "at least 1", n > 0)?;
        }
        if let Some(goal) = &self.goal {
            let names: Vec<&str> = self.task().measures().iter().map(|measure| measure.name).collect();
            if !names.contains(&&**goal) {
                return Err(Error::Goal { goal: goal.clone(), task: self.task, measured: names.join(", ") });
            }
        }
        let (parts, batch) = (self.accumulate, self.batch);
        range("batch", batch.to_string(), "at most 1048576", batch <= 1 << 20)?;
        let divides = if batch == 0 { parts == 1 } else { (1..=batch).contains(&parts) && batch.is_multiple_of(parts) };
        range("accumulate", parts.to_string(), "a divisor of --batch", divides)?;
        if let Some(norm) = self.clip_norm {
            range("clip-norm", norm.to_string(), "a finite number above 0", norm > 0.0 && norm.is_finite())?;
        }
        rate("ema", self.ema)?;
        self.frozen()?;
        self.lr_scales()?;
        range(
            "randaug-layers",
            self.randaug_layers.to_string(),
            "from 1 to 16",
            (1..=16).contains(&self.randaug_layers),
        )?;
        let magnitude = self.randaug_magnitude;
        range("randaug-magnitude", magnitude.to_string(), "from 0 to 30", (0.0..=30.0).contains(&magnitude))?;
        for (setting, value) in [("hflip", self.hflip.unwrap_or(0.0)), ("broken-at-most", self.broken_at_most)] {
            range(setting, value.to_string(), "from 0 to 1", (0.0..=1.0).contains(&value))?;
        }
        for (setting, value) in [("erasing", self.erasing), ("mixup", self.mixup), ("cutmix", self.cutmix)] {
            let most = if setting == "erasing" { 1.0 } else { 10.0 };
            let valid = (0.0..=most).contains(&value);
            range(setting, value.to_string(), if most == 1.0 { "from 0 to 1" } else { "from 0 to 10" }, valid)?;
        }
        let shift = self.crop_shift;
        range("crop-shift", shift.to_string(), "from 0 to 0.5", (0.0..=0.5).contains(&shift))?;
        range("lr", self.lr.to_string(), "a finite number above 0", self.lr > 0.0 && self.lr.is_finite())?;
        if let Some(n) = self.warmup_epochs {
            range("warmup-epochs", n.to_string(), "a finite number, 0 or more", n >= 0.0 && n.is_finite())?;
        }
        let decay = self.weight_decay;
        range("weight-decay", decay.to_string(), "a finite number, 0 or more", decay >= 0.0 && decay.is_finite())?;
        rate("momentum", self.momentum)?;
        rate("beta2", self.beta2)?;
        rate("label-smoothing", self.label_smoothing)?;
        rate("dropout", self.dropout)?;
        rate("drop-path", self.drop_path)?;
        let bn = self.bn_momentum;
        range("bn-momentum", bn.to_string(), "above 0 and at most 1", bn > 0.0 && bn <= 1.0)?;
        range("seed", self.seed.to_string(), "at most 2^63 - 1", self.seed <= MAX_INTEGER)?;
        if let Some(n) = self.max_steps {
            range("max-steps", n.to_string(), "from 1 to 2^63 - 1", (1..=MAX_INTEGER).contains(&n))?;
        }
        if self.task != Purpose::Classify && self.mixup + self.cutmix + self.erasing > 0.0 {
            let problem = "--mixup, --cutmix and --erasing need --task classify: they take things from their places";
            return Err(Error::Conflict { problem });
        }
        if self.augment == Augment::None && self.hflip.is_some_and(|hflip| hflip > 0.0) {
            return Err(Error::Conflict { problem: "--hflip needs --augment standard or randaug: choose one of them" });
        }
        if self.warmup_epochs.is_some() && self.warmup_steps.is_some() {
            return Err(Error::Conflict { problem: "give --warmup-epochs or --warmup-steps, not both" });
        }
        if self.optimizer == OptimizerName::Sgd && self.nesterov && self.momentum == 0.0 {
            return Err(Error::Conflict { problem: "--nesterov needs --momentum above 0: add --nesterov false" });
        }
        Ok(())
    }
}
