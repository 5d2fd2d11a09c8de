//! Frame times of an application that draws and classifies on the same device: while nothing else runs, and while a
//! picture of the last frame is always being classified.
//!
//! `cargo bench --bench frames -- [MODEL [FRAMES]]`; by default resnet-rs-50 and 500 frames. A frame is a picture of
//! 640 x 480, cleared to a colour and waited for. It is classified from its texture.

#[path = "common/application.rs"]
mod application;

use std::error::Error;
use std::time::{Duration, Instant};

use application::{arguments, untrained};
use resnet_rs::{Classifier, Frame, Gpu, InferenceOptions, Pending, wgpu};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (model, frames) = arguments(500)?;
    let (canvas, gpu) = pollster::block_on(open())?;
    let net = Classifier::new(&gpu, &untrained(&gpu, &model)?, &InferenceOptions::default())?;
    net.classify(Frame::new(&canvas.texture)?)?;
    println!("{model} at {} px on {}, {frames} frames", net.card().res, gpu.name());

    let mut idle = Vec::with_capacity(frames);
    for i in 0..frames {
        let started = Instant::now();
        canvas.draw(i)?;
        idle.push(started.elapsed());
    }
    told("idle", idle);

    let mut classifying = Vec::with_capacity(frames);
    let mut answers = 0;
    let mut pending = None;
    let began = Instant::now();
    for i in 0..frames {
        let started = Instant::now();
        if pending.as_ref().is_none_or(Pending::is_ready)
            && let Some(answer) = pending.replace(net.submit(Frame::new(&canvas.texture)?)?)
        {
            answer.wait()?;
            answers += 1;
        }
        canvas.draw(i)?;
        classifying.push(started.elapsed());
    }
    told("while it classifies", classifying);
    println!("{answers} answers, {:.1} a second", f64::from(answers) / began.elapsed().as_secs_f64());
    Ok(())
}

/// Prints the median and the 99th percentile of frame times.
fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |share: f64| 1e3 * times[((times.len() - 1) as f64 * share) as usize].as_secs_f64();
    println!("{what}: median {:.2} ms, 99 of 100 within {:.2} ms, all within {:.2} ms", ms(0.5), ms(0.99), ms(1.0));
}

/// The application: its device, and the picture that it draws.
struct Canvas {
    device: wgpu::Device,
    queue: wgpu::Queue,
    texture: wgpu::Texture,
}

async fn open() -> Result<(Canvas, Gpu), Box<dyn Error + Send + Sync>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let (device, queue) = adapter
        .request_device(&wgpu::DeviceDescriptor {
            required_features: adapter.features() & Gpu::FEATURES,
            required_limits: Gpu::LIMITS,
            ..Default::default()
        })
        .await?;
    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("canvas"),
        size: wgpu::Extent3d { width: 640, height: 480, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8UnormSrgb,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    });
    let gpu = Gpu::from_wgpu(&adapter, device.clone(), queue.clone())?;
    Ok((Canvas { device, queue, texture }, gpu))
}

impl Canvas {
    /// Draws a frame in a changing colour, and waits until it could be shown.
    fn draw(&self, frame: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
        let red = 0.5 + 0.5 * (frame as f64 / 30.0).sin();
        let view = self.texture.create_view(&wgpu::TextureViewDescriptor::default());
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations {
                    load: wgpu::LoadOp::Clear(wgpu::Color { r: red, g: 0.3, b: 0.0, a: 1.0 }),
                    store: wgpu::StoreOp::Store,
                },
            })],
            ..Default::default()
        });
        let submission = self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None })?;
        Ok(())
    }
}
