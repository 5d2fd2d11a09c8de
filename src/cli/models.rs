//! `models`: the presets.

use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;

use super::{Error, Global, output};
use crate::models::{PRESETS, Preset};
use crate::summary::Summary;

/// List the models by name, with their cost at their default resolution
#[derive(Args)]
pub(super) struct Models {}

#[derive(Serialize)]
struct Model {
    name: &'static str,
    depths: Vec<usize>,
    width: f64,
    res: u32,
    crop_pct: f64,
    params: u64,
    macs: u64,
    flops: u64,
}

pub(super) fn run(_: Models, global: &Global) -> Result<(), Error> {
    let models = PRESETS.iter().map(model).collect::<Result<Vec<_>, Error>>()?;
    if global.json {
        return Ok(output::json(&models)?);
    }
    let header = ["model", "depths", "width", "res", "crop", "parameters", "GMACs", "GFLOPs"];
    let row = |m: &Model| {
        [
            m.name.to_owned(),
            m.depths.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
            m.width.to_string(),
            m.res.to_string(),
            m.crop_pct.to_string(),
            HumanCount(m.params).to_string(),
            format!("{:.3}", m.macs as f64 / 1e9),
            format!("{:.3}", m.flops as f64 / 1e9),
        ]
    };
    Ok(output::table(header, &models.iter().map(row).collect::<Vec<_>>())?)
}

/// The costs with ImageNet's thousand classes, for one picture.
fn model(preset: &Preset) -> Result<Model, Error> {
    let summary = Summary::new(&preset.config(1000), 1, [preset.res as usize; 2])?;
    let &Preset { name, layers, res, crop_pct } = preset;
    let (depths, width) = (layers.depths(), layers.width());
    Ok(Model { name, depths, width, res, crop_pct, params: summary.params, macs: summary.macs, flops: summary.flops })
}
