//! Runs a network on the application's own device, on a texture that never leaves it, and awaits the answer:
//! `cargo run --release --example own_device -- WEIGHTS.safetensors`

use std::error::Error;

use resnet_rs::{Classifier, Frame, Gpu, wgpu};

fn main() -> Result<(), Box<dyn Error>> {
    let weights = std::env::args().nth(1).ok_or("give WEIGHTS.safetensors")?;
    pollster::block_on(run(&weights))
}

async fn run(weights: &str) -> Result<(), Box<dyn Error>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let (device, queue) = adapter
        .request_device(&wgpu::DeviceDescriptor {
            required_features: adapter.features() & Gpu::FEATURES,
            required_limits: Gpu::LIMITS,
            ..Default::default()
        })
        .await?;

    let gpu = Gpu::from_wgpu(&adapter, device.clone(), queue.clone())?;
    let net = Classifier::load(&gpu, weights)?;

    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("what the application draws"),
        size: wgpu::Extent3d { width: 640, height: 480, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8UnormSrgb,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    });
    draw(&device, &queue, &texture);

    let answer = net.submit(Frame::new(&texture)?)?;
    for guess in answer.await?.top(5) {
        println!("{:6.2} %  {}", 100.0 * guess.probability, guess.label);
    }
    Ok(())
}

/// An orange picture, in place of an application's rendering.
fn draw(device: &wgpu::Device, queue: &wgpu::Queue, texture: &wgpu::Texture) {
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        color_attachments: &[Some(wgpu::RenderPassColorAttachment {
            view: &view,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations {
                load: wgpu::LoadOp::Clear(wgpu::Color { r: 1.0, g: 0.3, b: 0.0, a: 1.0 }),
                store: wgpu::StoreOp::Store,
            },
        })],
        ..Default::default()
    });
    queue.submit([encoder.finish()]);
}
