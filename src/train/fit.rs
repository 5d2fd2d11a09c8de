//! Checks whether a batch fits the device, by the plans alone, before anything is allocated.

use super::step::{Step, When};
use super::task::Task;
use super::update::Update;
use super::{Error, Recipe};
use crate::gpu::{Gpu, Target};
use crate::graph::plan::Bytes;
use crate::graph::{Graph, TensorId, fuse};
use crate::kernels::Choices;
use crate::models::{Input, Mode, Network};
use crate::weights::ModelCard;

/// The largest batch of `--batch auto`: more pictures hardly speed up a GPU, and cost accuracy.
const MOST_PICTURES: u32 = 1024;

/// Share of the device's memory that a run may plan. The rest is for drivers and staging.
const USABLE: f64 = 0.9;

/// Bytes of GPU memory that a run plans: the step, the update, and the networks that validate.
fn planned_bytes(
    recipe: &Recipe,
    card: &ModelCard,
    task: &dyn Task,
    target: Target,
    choices: &Choices,
) -> Result<u64, crate::Error> {
    let (options, part) = (recipe.step_options(), recipe.part() as usize);
    let (size, input) = ([card.res as usize; 2], Input::Pixels { mean: card.mean, std: card.std });
    let largest = recipe.res_start.map_or(card.res, |start| start.max(card.res)) as usize;
    let step = Step::build(&card.config, part, [largest; 2], input, task, &options)?;
    let step = if recipe.recompute { step.recomputing()? } else { step };
    let plan = |graph: &Graph, outputs: &[TensorId]| -> Result<Bytes, crate::Error> {
        Ok(choices.plan(graph.clone(), outputs, target)?.bytes)
    };
    let mut bytes = plan(&step.graph, &step.outputs())?.total();
    if options.when == When::AfterParts {
        let update = Update::build(&step, &options)?;
        let ends = plan(&update.graph, &[update.norm])?;
        // Both graphs hold the gradients as states; only the update holds momenta and averages.
        let shared: u64 = step.graph.persistent().map(|id| step.graph.spec(id).bytes()).sum();
        bytes += ends.total().saturating_sub(shared);
    }
    let mut network = Network::build(&card.config, part, size, input, Mode::Inference)?;
    let outputs = task.readings(&mut network.graph, &network.outputs)?;
    network.graph.retain_ancestors(&outputs);
    fuse::for_inference(&mut network.graph, &outputs)?;
    let validation = plan(&network.graph, &outputs)?.total_without_parameters();
    Ok(bytes + validation * if recipe.ema > 0.0 { 2 } else { 1 })
}

/// Refuses a batch that does not fit the device, and the error names one that does. Replaces a batch of 0
/// (`--batch auto`) by the largest that fits. Does nothing on a device whose memory is unknown.
pub(super) fn fit(
    gpu: &Gpu,
    recipe: &mut Recipe,
    card: &ModelCard,
    task: &dyn Task,
    pictures: usize,
) -> Result<(), crate::Error> {
    let limit = gpu.memory_bytes().map(|bytes| (USABLE * bytes as f64) as u64);
    let auto = recipe.batch == 0;
    let Some(limit) = limit else {
        return if auto { Err(Error::MemoryUnknown.into()) } else { Ok(()) };
    };
    let choices = Choices::of(gpu.tuning());
    let planned_bytes = |recipe: &Recipe| planned_bytes(recipe, card, task, gpu.target(), &choices);
    let fits = |part: u32, accumulate: u32| -> Result<bool, crate::Error> {
        Ok(planned_bytes(&Recipe { batch: part * accumulate, accumulate, ..recipe.clone() })? <= limit)
    };
    // Computing in parts takes extra memory, which does not depend on their number.
    let parts = recipe.accumulate.min(2);
    if auto {
        let most = MOST_PICTURES.min((pictures / 8).max(1) as u32);
        let found = largest(most, |part| fits(part, parts))?;
        recipe.batch = found.unwrap_or(1);
        return match found {
            Some(_) => Ok(()),
            None => Err(too_large(recipe, planned_bytes(recipe)?, limit, [None; 2])),
        };
    }
    let planned = planned_bytes(recipe)?;
    if planned <= limit {
        return Ok(());
    }
    let found = [parts, 2].map(|parts| largest(recipe.part(), |part| fits(part, parts)));
    let [as_asked, in_parts] = found;
    Err(too_large(recipe, planned, limit, [as_asked?, in_parts?]))
}

/// `planned` are the bytes of the recipe, or of one picture for an automatic batch. The last argument holds the largest
/// part that fits alone, and the largest that fits if there are several parts.
fn too_large(recipe: &Recipe, planned: u64, limit: u64, [largest, in_parts]: [Option<u32>; 2]) -> crate::Error {
    let in_parts = in_parts.unwrap_or(0);
    let advice = match largest {
        Some(largest) => {
            // The fewest parts of equal size that fit.
            let parts = (1..=recipe.batch).find(|&k| recipe.batch.is_multiple_of(k) && recipe.batch / k <= in_parts);
            let keep =
                parts.map_or(String::new(), |k| format!(", or --accumulate {k} to keep steps of {}", recipe.batch));
            let batch = largest * recipe.accumulate;
            format!("the largest batch that fits is {batch}: give --batch {batch}{keep}")
        }
        None => "not even one picture fits: lower --res, choose a smaller model, or add --recompute".to_owned(),
    };
    Error::BatchMemory { part: recipe.part(), planned, limit, advice }.into()
}

/// The largest number up to `most` that fits, by bisection: if a number fits, all smaller ones must.
fn largest(most: u32, fits: impl Fn(u32) -> Result<bool, crate::Error>) -> Result<Option<u32>, crate::Error> {
    let (mut low, mut high) = (0, most + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? { low = middle } else { high = middle }
    }
    Ok((low > 0).then_some(low))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::Preset;
    use crate::train::TrainingPrecision;
    use crate::train::task::Classify;

    #[test]
    fn the_largest_is_found() {
        for limit in [0, 1, 2, 63, 64, 65, 1000] {
            let expected = limit.min(64);
            assert_eq!(largest(64, |n| Ok(n <= limit)).unwrap(), (expected > 0).then_some(expected));
        }
    }

    #[test]
    fn the_advice_is_about_whole_batches() {
        let advice = |accumulate, fitting| {
            let recipe = Recipe { batch: 256, accumulate, ..Recipe::default() };
            too_large(&recipe, 2 << 30, 1 << 30, fitting).to_string()
        };
        let whole = advice(1, [Some(100), Some(90)]);
        assert!(whole.contains("give --batch 100, or --accumulate 4 to keep steps of 256"), "{whole}");
        let in_parts = advice(4, [Some(39), Some(39)]);
        assert!(in_parts.contains("give --batch 156, or --accumulate 8 to keep steps of 256"), "{in_parts}");
        assert!(advice(1, [None, None]).contains("not even one picture fits"));
    }

    #[test]
    fn parts_and_recomputation_take_less() {
        let config = Preset::find("resnet-rs-50").unwrap().config(10);
        let card = ModelCard { res: 96, ..ModelCard::for_preset_of(config) };
        let recipe = Recipe { model: "resnet-rs-50".into(), batch: 32, ..Recipe::default() };
        let planned = |recipe: Recipe| {
            planned_bytes(&recipe, &card, &Classify::default(), Target::TILES, Choices::TABLE).unwrap()
        };
        let whole = planned(recipe.clone());
        assert!(planned(Recipe { accumulate: 8, ..recipe.clone() }) < whole);
        assert!(planned(Recipe { recompute: true, ..recipe.clone() }) < whole);
        assert!(planned(Recipe { precision: TrainingPrecision::Mixed, ..recipe.clone() }) < whole);
        assert!(planned(Recipe { ema: 0.999, ..recipe }) > whole);
    }
}
