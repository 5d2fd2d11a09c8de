//! Finds the objects in a picture: `cargo run --release --example objects -- WEIGHTS.safetensors PICTURE`

use std::error::Error;

use resnet_rs::{Detector, Gpu, GpuOptions, Picture};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(weights), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("give WEIGHTS.safetensors PICTURE".into());
    };
    let gpu = Gpu::new(&GpuOptions::default())?;
    let net = Detector::load(&gpu, weights)?;
    for found in net.detect(Picture::open(picture)?)?.above(0.5) {
        let [left, top, right, bottom] = found.bounds;
        println!("{:.2}  {}  {left:.0}, {top:.0} to {right:.0}, {bottom:.0}", found.score, found.label);
    }
    Ok(())
}
