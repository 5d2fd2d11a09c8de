//! The learning rate of each step.

use std::f64::consts::PI;

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine from the peak down to 0 over the whole run.
    Cosine,
    /// Divided by 10 after 30/90, 60/90 and 80/90 of the epochs.
    Step,
    /// `(1 - share of the run)^0.9`, down to 0: usual for segmentation (DeepLab, torchvision).
    Poly,
    /// Stays at the peak.
    Constant,
}

/// The learning rate as a function of the step.
///
/// The warm-up rises linearly from 0 to the schedule's value at the end of the warm-up: the cosine runs from step 0,
/// and the warm-up replaces its beginning. TensorFlow's Model Garden does the same: it trains ResNet-RS with 1.6 over
/// 109,200 steps and a warm-up of 1,560 steps to 1.5992.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// How it falls.
    pub schedule: Schedule,
    /// The peak learning rate, before the warm-up is applied.
    pub peak: f64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// Steps until the warm-up is over; fewer than `total_steps`.
    pub warmup_steps: u64,
    /// Steps of an epoch, at least 1.
    pub steps_per_epoch: u64,
}

impl LearningRate {
    /// The learning rate of a step, counted from 0.
    pub fn lr(&self, step: u64) -> f32 {
        let lr = if step < self.warmup_steps {
            self.scheduled(self.warmup_steps) * step as f64 / self.warmup_steps as f64
        } else {
            self.scheduled(step)
        };
        lr as f32
    }

    fn scheduled(&self, step: u64) -> f64 {
        match self.schedule {
            Schedule::Cosine => {
                let done = (step as f64 / self.total_steps as f64).min(1.0);
                0.5 * self.peak * (1.0 + (PI * done).cos())
            }
            Schedule::Step => self.peak * 0.1f64.powi(self.drops(step)),
            Schedule::Poly => self.peak * (1.0 - (step as f64 / self.total_steps as f64).min(1.0)).powf(0.9),
            Schedule::Constant => self.peak,
        }
    }

    /// Number of drops up to a step. They happen at whole epochs, rounded down, as in the released TPU code: epochs
    /// 116, 233 and 311 of 350. A drop at epoch 0 of a short run is omitted, since it would only lower the peak.
    fn drops(&self, step: u64) -> i32 {
        let epochs = self.total_steps as f64 / self.steps_per_epoch as f64;
        let epoch = step / self.steps_per_epoch;
        let milestone = |ninetieths: f64| (epochs * ninetieths / 90.0).floor() as u64;
        [30.0, 60.0, 80.0].map(milestone).iter().filter(|&&m| m > 0 && epoch >= m).count() as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_lr(rate: &LearningRate, points: &[(u64, f64)]) {
        for &(step, expected) in points {
            // One rounding to f32, and the table's number of digits.
            let lr = f64::from(rate.lr(step));
            assert!((lr - expected).abs() <= 1e-7 * expected + 1e-12, "step {step}: {lr}, expected {expected}");
        }
    }

    #[test]
    fn cosine_of_the_model_garden() {
        let rate = LearningRate {
            schedule: Schedule::Cosine,
            peak: 1.6,
            total_steps: 109_200,
            warmup_steps: 1_560,
            steps_per_epoch: 312,
        };
        assert!((rate.lr(1_560) - 1.5992).abs() < 5e-5, "the figure of the released configuration");
        assert_lr(
            &rate,
            &[
                (0, 0.0),
                (1, 0.001_025_124_649_508),
                (780, 0.799_597_226_616_5),
                (1_559, 1.598_169_328_583_5),
                (1_560, 1.599_194_453_233_1),
                (27_300, 1.365_685_424_949_2),
                (54_600, 0.8),
                (81_900, 0.234_314_575_050_8),
                (109_199, 3.310_659e-10),
                (109_200, 0.0),
                (200_000, 0.0),
            ],
        );
    }

    #[test]
    fn cosine_of_the_golden_run() {
        let rate = LearningRate {
            schedule: Schedule::Cosine,
            peak: 0.02,
            total_steps: 937,
            warmup_steps: 100,
            steps_per_epoch: 937,
        };
        let cosine = |step: f64| 0.01 * (1.0 + (PI * step / 937.0).cos());
        let points = [0.0, 1.0, 50.0, 99.0].map(|s| (s, cosine(100.0) * s / 100.0));
        let later = [100.0, 101.0, 468.0, 500.0, 900.0, 936.0].map(|s| (s, cosine(s)));
        assert_lr(&rate, &points.into_iter().chain(later).map(|(s, lr)| (s as u64, lr)).collect::<Vec<_>>());
    }

    #[test]
    fn step_of_the_tpu_code() {
        let rate = LearningRate {
            schedule: Schedule::Step,
            peak: 1.6,
            total_steps: 109_475,
            warmup_steps: 19 * 312,
            steps_per_epoch: 312,
        };
        assert_lr(
            &rate,
            &[
                (0, 0.0),
                (2_964, 0.8),
                (5_927, 1.6 * 5_927.0 / 5_928.0),
                (5_928, 1.6),
                (116 * 312 - 1, 1.6),
                (116 * 312, 0.16),
                (233 * 312 - 1, 0.16),
                (233 * 312, 0.016),
                (311 * 312 - 1, 0.016),
                (311 * 312, 0.0016),
                (109_474, 0.0016),
            ],
        );
    }

    #[test]
    fn short_runs_start_at_the_peak() {
        for epochs in 1..5 {
            let rate = LearningRate {
                schedule: Schedule::Step,
                peak: 0.1,
                total_steps: epochs * 10,
                warmup_steps: 0,
                steps_per_epoch: 10,
            };
            assert_lr(&rate, &[(0, 0.1), (9, 0.1)]);
        }
    }

    #[test]
    fn constant_after_the_warmup() {
        let rate = LearningRate {
            schedule: Schedule::Constant,
            peak: 0.5,
            total_steps: 100,
            warmup_steps: 4,
            steps_per_epoch: 10,
        };
        let points = [0.0, 0.125, 0.25, 0.375, 0.5, 0.5].into_iter().zip(0..).map(|(lr, step)| (step, lr));
        assert_lr(&rate, &points.chain([(50, 0.5), (99, 0.5), (100, 0.5), (1000, 0.5)]).collect::<Vec<_>>());
    }
}
