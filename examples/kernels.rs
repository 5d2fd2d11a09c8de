//! Writes the shaders that a network uses as plain WGSL, one file per kernel, for compilers and other tools:
//! `cargo run --release --example kernels -- OUT_DIR [MODEL] [RES] [BATCH]`. Needs no GPU; the kernels are those for
//! GPUs. Prints each kernel's number of launches in an inference and in a training step, and the fewest and most
//! workgroups of a launch.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use resnet_rs::gpu::Target;
use resnet_rs::graph::Precision;
use resnet_rs::kernels::{Choices, Kernel, lower};
use resnet_rs::models::Preset;
use resnet_rs::summary::{inference, training_step};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("give a folder to write to")?);
    let model = args.next().unwrap_or_else(|| "resnet-rs-50".into());
    let preset = Preset::find(&model)?;
    let res = args.next().map_or(Ok(preset.res as usize), |r| r.parse())?;
    let batch = args.next().map_or(Ok(8), |b| b.parse())?;
    std::fs::create_dir_all(&folder)?;

    let config = preset.config(1000);
    let inference = inference(&config, batch, [res; 2], Precision::F32)?;
    let training = training_step(&config, batch, [res; 2], Precision::F32, false)?;
    let mut workgroups: BTreeMap<Kernel, Vec<u32>> = BTreeMap::new();
    for mut graph in [inference.graph, training.graph] {
        Choices::TABLE.rewrite(&mut graph, Target::TILES)?;
        for node in 0..graph.nodes().len() {
            for launch in lower(&graph, node, Target::TILES, Choices::TABLE)? {
                workgroups.entry(launch.kernel).or_default().push(launch.workgroups.iter().product());
            }
        }
    }
    println!("launches  workgroups  kernel");
    for (kernel, workgroups) in workgroups {
        let name = kernel.name().replace(['/', ' ', '='], "-").replace(['<', '>', '[', ']'], "").replace(".wgsl", "-");
        let span = (workgroups.iter().min().unwrap_or(&0), workgroups.iter().max().unwrap_or(&0));
        println!("{:8} {:5}-{:<5}  {name}", workgroups.len(), span.0, span.1);
        std::fs::write(folder.join(format!("{name}.wgsl")), kernel.wgsl())?;
    }
    Ok(())
}
