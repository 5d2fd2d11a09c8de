//! Drop pictures or folders on a window and see how a network classifies them, or where it finds objects. The network
//! runs on the window's own GPU device: a picture is uploaded once, as a texture that is drawn and shown to it.
//!
//! ```text
//! cargo run --release -p classify-gui -- holiday/
//! ```

mod app;
mod frame_times;
mod gallery;
mod loader;
mod model;
mod texture;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use eframe::egui_wgpu::WgpuSetup;
use eframe::wgpu;
use resnet_rs::Gpu;

/// Drop pictures on a window and see how a network classifies them, or where it finds objects
#[derive(Parser)]
struct Args {
    /// Safetensors file of a classifier or a detector, or a repository on the Hugging Face hub
    #[arg(long, value_name = "FILE|hf:OWNER/NAME", default_value = "hf:timm/resnetrs50.tf_in1k")]
    weights: String,
    /// Start with these pictures, or those in these folders
    #[arg(value_name = "PICTURE")]
    pictures: Vec<PathBuf>,
    /// Start with maps and weights in f16
    #[arg(long)]
    f16: bool,
    /// Draw continuously until all pictures are classified and a while longer, print frame times, and close
    #[arg(long)]
    frame_times: bool,
}

fn main() -> eframe::Result {
    let args = Args::parse();
    let mut options = eframe::NativeOptions { renderer: eframe::Renderer::Wgpu, ..Default::default() };
    options.viewport = options.viewport.with_inner_size([960.0, 640.0]);
    let mut setup = WgpuSetup::without_display_handle();
    if let WgpuSetup::CreateNew(new) = &mut setup {
        // OpenGL's compute shaders are too limited.
        new.instance_descriptor.backends = wgpu::Backends::PRIMARY;
        new.device_descriptor = Arc::new(|adapter| wgpu::DeviceDescriptor {
            label: Some("classify-gui"),
            required_features: adapter.features() & Gpu::FEATURES,
            required_limits: Gpu::LIMITS,
            ..Default::default()
        });
    }
    options.wgpu_options.wgpu_setup = setup;
    eframe::run_native("ResNet-RS", options, Box::new(|context| Ok(Box::new(app::App::new(context, args)?))))
}
