//! The paper's advice on scaling as a search (Bello et al. 2021, section 6): which ResNet-RS to train for a budget of
//! latency or memory on the adapter at hand.
//!
//! 1. *Depth where over-fitting can occur, width otherwise.* Of the paper's regimes, 10, 100 and 350 epochs of
//!    ImageNet, the longest favours depth, shorter ones favour width. [`Task::long_epochs`] is the boundary.
//! 2. *Resolution slowly.* In the released ResNet-RS, the side of the pictures grows with the fifth root of the FLOPs:
//!    from 160 px at 4.6 GFLOPs to 320 px at 128.
//!
//! So candidates form a ladder, from the smallest network up, and the search finds the highest rung within the budget.
//! Latencies are measured, each in a separate session. FLOPs decide which rung to try next, and which rungs are too far
//! beyond the budget to try.

use serde::Serialize;

use super::Mode;
use crate::graph::Precision;
use crate::models::{Config, Error, ResNet};
use crate::summary::Summary;

/// What the network is to do, and what it will be trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Whether the latency is that of inference or of a training step.
    pub mode: Mode,
    /// Pictures in a batch.
    pub batch: usize,
    /// Storage of maps.
    pub precision: Precision,
    /// Number of classes.
    pub classes: usize,
    /// Epochs that it will be trained for.
    pub epochs: u32,
    /// Pictures that it will be trained on.
    pub pictures: u64,
    /// Side of the pictures in pixels, if the data fix it.
    pub res: Option<usize>,
    /// Largest side of the pictures in pixels otherwise.
    pub most_res: usize,
}

/// The budget of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Budget {
    /// Milliseconds.
    pub latency_ms: Option<f64>,
    /// Bytes of planned GPU memory.
    pub memory_bytes: Option<u64>,
}

/// What grows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More blocks, at the released width.
    Depth,
    /// More channels, at about fifty layers.
    Width,
}

/// A network and its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Blocks of the four stages.
    pub depths: [usize; 4],
    /// Multiplier of the channel counts.
    pub width: f64,
    /// Side of the pictures in pixels.
    pub res: usize,
    /// FLOPs of an answer to one picture.
    pub flops: u64,
    /// Learned numbers.
    pub params: u64,
}

/// Measured cost of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Median milliseconds of a run, if it ran.
    pub ms: Option<f64>,
    /// Half the 95 % confidence interval of the median, as a share of the median.
    pub spread: f64,
    /// Planned bytes.
    pub planned_bytes: u64,
}

/// A candidate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The network.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Its cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Whether the cost is within the budget, including the median's uncertainty.
    pub fits: bool,
}

/// What to train.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// What grew first.
    pub direction: Direction,
    /// Number of epochs from which over-fitting is expected with this many pictures.
    pub long_epochs: u32,
    /// The largest network within the budget; none if the smallest is beyond it.
    pub chosen: Option<Tried>,
    /// Everything that was tried, in order.
    pub tried: Vec<Tried>,
}

/// The released depths, and smaller ones: 14 and 26 layers.
const DEPTHS: [[usize; 4]; 9] = [
    [1, 1, 1, 1],
    [2, 2, 2, 2],
    [3, 4, 6, 3],
    [3, 4, 23, 3],
    [3, 8, 36, 3],
    [3, 24, 36, 3],
    [4, 29, 53, 4],
    [4, 36, 72, 4],
    [4, 44, 87, 4],
];

/// Indices into [`DEPTHS`] with widths. Below RS-50 at the released width, depth and width grow in turn for both
/// directions.
const SMALL: [(usize, f64); 7] = [(0, 0.25), (1, 0.25), (1, 0.5), (2, 0.5), (1, 0.75), (2, 0.75), (1, 1.0)];
/// The released networks, then wider ones at the largest depth.
const DEEPER: [(usize, f64); 9] =
    [(2, 1.0), (3, 1.0), (4, 1.0), (5, 1.0), (6, 1.0), (7, 1.0), (8, 1.0), (8, 1.5), (8, 2.0)];
/// Up to the widest of the paper's study, then deeper ones at that width.
const WIDER: [(usize, f64); 9] =
    [(2, 1.0), (2, 1.25), (2, 1.5), (2, 2.0), (3, 1.5), (3, 2.0), (4, 2.0), (5, 2.0), (6, 2.0)];

/// The smallest released network's side and FLOPs, and the exponent with which the side grows with FLOPs: from RS-50 at
/// 160 px to RS-420 at 320 px.
const RES_AT: (f64, f64) = (160.0, 4.558e9);
const RES_POWER: f64 = 0.2;
/// Sides are multiples of the network's total stride.
const RES_UNIT: usize = 32;
/// Steps of [`RES_UNIT`] by which a side may exceed that rule if no larger network fits the budget.
const RES_STEPS: usize = 2;

/// Pictures of ImageNet, and the epochs between the paper's regimes of 100 and 350: their geometric mean.
const IMAGENET_PICTURES: f64 = 1_281_167.0;
const IMAGENET_LONG_EPOCHS: f64 = 187.0;

/// Rungs with a predicted latency above this multiple of the budget are not tried.
const HOPELESS: f64 = 3.0;

impl Task {
    /// Number of epochs from which over-fitting is expected. For ImageNet it lies between the paper's regimes. Fewer
    /// pictures are memorised sooner: the number falls with the square root of the number of pictures, which is a
    /// choice of this program.
    pub fn long_epochs(&self) -> u32 {
        let share = self.pictures as f64 / IMAGENET_PICTURES;
        (IMAGENET_LONG_EPOCHS * share.sqrt()).round().max(1.0) as u32
    }

    /// What grows first.
    pub fn direction(&self) -> Direction {
        if self.epochs >= self.long_epochs() { Direction::Depth } else { Direction::Width }
    }

    /// The candidates from the smallest network up, in order of FLOPs.
    ///
    /// # Errors
    /// If the pictures are too small for a network.
    pub fn ladder(&self) -> Result<Vec<Candidate>, Error> {
        let rest = if self.direction() == Direction::Depth { DEEPER } else { WIDER };
        let mut ladder: Vec<Candidate> = Vec::new();
        for (depth, width) in SMALL.into_iter().chain(rest) {
            let candidate = self.candidate(DEPTHS[depth], width)?;
            if ladder.last().is_none_or(|last| candidate.flops > last.flops) {
                ladder.push(candidate);
            }
        }
        Ok(ladder)
    }

    /// A network, with the side of pictures that its FLOPs suggest.
    fn candidate(&self, depths: [usize; 4], width: f64) -> Result<Candidate, Error> {
        if let Some(res) = self.res {
            return self.at(depths, width, res);
        }
        let sides = (2..=(self.most_res / RES_UNIT).max(2)).map(|n| self.at(depths, width, n * RES_UNIT));
        let off = |c: &Candidate| (RES_AT.0 * (c.flops as f64 / RES_AT.1).powf(RES_POWER) - c.res as f64).abs();
        let sides = sides.collect::<Result<Vec<_>, _>>()?;
        Ok(sides
            .into_iter()
            .min_by(|a, b| off(a).total_cmp(&off(b)))
            .unwrap_or_else(|| unreachable!("one side at least")))
    }

    fn at(&self, depths: [usize; 4], width: f64, res: usize) -> Result<Candidate, Error> {
        let Summary { params, flops, .. } = Summary::new(&self.config(depths, width), 1, [res; 2])?;
        Ok(Candidate { depths, width, res, flops, params })
    }

    /// The network of a candidate.
    pub fn config(&self, depths: [usize; 4], width: f64) -> Config {
        Config::new(ResNet::rs(depths, width), self.classes)
    }
}

impl Budget {
    /// Whether a candidate ran within the budget.
    fn admits(&self, cost: &Cost) -> bool {
        let in_memory = self.memory_bytes.is_none_or(|limit| cost.planned_bytes <= limit);
        let in_time = |ms: f64| self.latency_ms.is_none_or(|limit| ms * (1.0 + cost.spread) <= limit);
        in_memory && cost.ms.is_some_and(in_time)
    }
}

/// Finds the largest network of the ladder within a budget, then the largest pictures. `measure` returns a candidate's
/// cost.
///
/// # Errors
/// The first error of `measure`, or pictures too small for a network.
pub fn advise<E: From<Error>>(
    task: &Task,
    budget: &Budget,
    mut measure: impl FnMut(&Candidate) -> Result<Cost, E>,
) -> Result<Advice, E> {
    let ladder = task.ladder()?;
    let mut advice =
        Advice { direction: task.direction(), long_epochs: task.long_epochs(), chosen: None, tried: Vec::new() };
    let mut attempt = |candidate: Candidate, advice: &mut Advice| {
        let cost = measure(&candidate)?;
        let tried = Tried { candidate, cost, fits: budget.admits(&cost) };
        advice.tried.push(tried);
        if tried.fits {
            advice.chosen = Some(tried);
        }
        Ok::<Tried, E>(tried)
    };
    // Rungs below `fits` are within the budget; `beyond` and the rungs above it are not.
    let (mut fits, mut beyond) = (0, ladder.len());
    let mut next = 0;
    while fits < beyond {
        let tried = attempt(ladder[next], &mut advice)?;
        if tried.fits {
            fits = next + 1
        } else {
            beyond = next
        }
        let predicted = |rung: &Candidate| {
            let by_flops = rung.flops as f64 / tried.candidate.flops as f64;
            let of = |taken: f64, limit: f64| taken * by_flops / limit;
            let time = budget.latency_ms.zip(tried.cost.ms).map_or(0.0, |(limit, ms)| of(ms, limit));
            let memory = budget.memory_bytes.map_or(0.0, |limit| of(tried.cost.planned_bytes as f64, limit as f64));
            time.max(memory)
        };
        if fits < beyond && predicted(&ladder[fits]) > HOPELESS {
            break;
        }
        let promising = (fits..beyond).rev().find(|&rung| predicted(&ladder[rung]) <= 1.0);
        next = promising.unwrap_or(fits);
    }
    for _ in 0..RES_STEPS {
        let Some(Tried { candidate: Candidate { depths, width, res, .. }, .. }) = advice.chosen else { break };
        let larger = res + RES_UNIT;
        if task.res.is_some() || larger > task.most_res || !attempt(task.at(depths, width, larger)?, &mut advice)?.fits
        {
            break;
        }
    }
    Ok(advice)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TASK: Task = Task {
        mode: Mode::Infer,
        batch: 1,
        precision: Precision::F32,
        classes: 1000,
        epochs: 350,
        pictures: 1_281_167,
        res: None,
        most_res: 448,
    };

    /// A machine of 1 GFLOP/ms whose plans take 10 bytes per parameter.
    fn cost(candidate: &Candidate) -> Result<Cost, Error> {
        let planned_bytes = 10 * candidate.params;
        Ok(Cost { ms: Some(candidate.flops as f64 / 1e9), spread: 0.01, planned_bytes })
    }

    fn advise_ms(task: Task, limit: f64) -> Advice {
        advise(&task, &Budget { latency_ms: Some(limit), memory_bytes: None }, cost).unwrap()
    }

    /// The rule gives about the released sizes of pictures, and the ladder is monotonic.
    #[test]
    fn resolution_follows_flops_slowly() {
        let ladder = TASK.ladder().unwrap();
        let res = |depths| ladder.iter().find(|c| c.depths == depths && c.width == 1.0).unwrap().res;
        let released = [([3, 4, 6, 3], 160), ([3, 4, 23, 3], 192), ([4, 36, 72, 4], 288), ([4, 44, 87, 4], 320)];
        for (depths, expected) in released {
            assert_eq!(res(depths), expected, "{depths:?}");
        }
        assert!(ladder.is_sorted_by(|a, b| a.flops < b.flops));
        let small = Task { res: Some(32), classes: 10, ..TASK };
        assert!(small.ladder().unwrap().iter().all(|c| c.res == 32));
    }

    #[test]
    fn depth_where_over_fitting_can_occur_and_width_otherwise() {
        for (epochs, pictures, direction) in [
            (350, 1_281_167, Direction::Depth),
            (100, 1_281_167, Direction::Width),
            (10, 1_281_167, Direction::Width),
            (100, 60_000, Direction::Depth),
            (10, 60_000, Direction::Width),
            (350, 300_000_000, Direction::Width),
        ] {
            assert_eq!(Task { epochs, pictures, ..TASK }.direction(), direction, "{epochs} epochs of {pictures}");
        }
        let [deep, wide] = [350, 10].map(|epochs| advise_ms(Task { epochs, ..TASK }, 60.0).chosen.unwrap());
        assert!(deep.candidate.width == 1.0 && deep.candidate.depths == [4, 29, 53, 4], "{deep:?}");
        assert!(wide.candidate.width == 1.5 && wide.candidate.depths == [3, 4, 23, 3], "{wide:?}");
    }

    /// The choice is within the budget and the next rung is not; few rungs are tried.
    #[test]
    fn the_largest_within_the_budget_is_found() {
        let ladder = TASK.ladder().unwrap();
        for limit in [0.3, 1.0, 5.0, 20.0, 60.0, 150.0] {
            let advice = advise_ms(TASK, limit);
            let chosen = advice.chosen.unwrap();
            assert!(chosen.fits && chosen.cost.ms.unwrap() * 1.01 <= limit, "{limit} ms: {chosen:?}");
            let rung =
                ladder.iter().position(|c| (c.depths, c.width) == (chosen.candidate.depths, chosen.candidate.width));
            if let Some(next) = ladder.get(rung.unwrap() + 1) {
                assert!(1.01 * next.flops as f64 / 1e9 > limit, "{limit} ms: {next:?} would fit");
            }
            assert!(advice.tried.len() <= 9, "{} tried", advice.tried.len());
            assert!(advice.tried.iter().all(|t| t.candidate.flops as f64 / 1e9 < HOPELESS * limit.max(1.0)));
        }
    }

    #[test]
    fn memory_is_a_budget_too_and_nothing_may_fit() {
        let budget = |memory_bytes| Budget { latency_ms: None, memory_bytes: Some(memory_bytes) };
        let chosen = advise(&TASK, &budget(700_000_000), cost).unwrap().chosen.unwrap();
        assert_eq!(chosen.candidate.depths, [3, 4, 23, 3], "63.6 million parameters");
        assert_eq!(advise(&TASK, &budget(1000), cost).unwrap().chosen, None);
        let none = advise_ms(TASK, 0.001);
        assert_eq!((none.chosen, none.tried.len()), (None, 1));
    }
}
