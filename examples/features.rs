//! Computes the feature maps of a picture, to build another network on:
//! `cargo run --release --example features -- WEIGHTS.safetensors PICTURE`

use std::error::Error;

use resnet_rs::{Features, Gpu, GpuOptions, Picture};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(weights), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("give WEIGHTS.safetensors PICTURE".into());
    };
    let gpu = Gpu::new(&GpuOptions::default())?;
    let backbone = Features::load(&gpu, weights)?;
    for map in backbone.extract(Picture::open(picture)?)? {
        let [height, width, channels] = map.shape;
        let mean = map.data.iter().sum::<f32>() / map.data.len() as f32;
        println!("stride {:2}: {height} x {width} x {channels}, mean {mean:.4}", map.stride);
    }
    Ok(())
}
