//! Classifies a picture: `cargo run --release --example one_picture -- WEIGHTS.safetensors PICTURE`

use std::error::Error;

use resnet_rs::{Classifier, Gpu, GpuOptions, Picture};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(weights), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("give WEIGHTS.safetensors PICTURE".into());
    };
    let gpu = Gpu::new(&GpuOptions::default())?;
    let net = Classifier::load(&gpu, weights)?;
    for guess in net.classify(Picture::open(picture)?)?.top(5) {
        println!("{:6.2} %  {}", 100.0 * guess.probability, guess.label);
    }
    Ok(())
}
