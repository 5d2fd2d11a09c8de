//! Networks on an application's own device, and textures of that device as pictures; on every adapter.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "common/golden.rs"]
mod golden;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "common/synth.rs"]
mod synth;
#[path = "common/weights.rs"]
mod weights;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use image::RgbImage;
use resnet_rs::data::{CropMode, Interpolation, Placement, View, evaluation_crop, rows_read};
use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::graph::op::{ScaleAdd, Standardize};
use resnet_rs::graph::{DType, Graph, Spec};
use resnet_rs::kernels::frame::Crop;
use resnet_rs::models::{Config, DeepLabV3, Head, IMAGENET_MEAN_STD};
use resnet_rs::weights::ModelCard;
use resnet_rs::wgpu::{self, TextureFormat, TextureUsages};
use resnet_rs::{Classifier, Features, Frame, Gpu, InferenceOptions, Picture, Precision, Segmenter};

/// An application's device and queue.
struct App {
    device: wgpu::Device,
    queue: wgpu::Queue,
    gpu: Gpu,
}

impl App {
    fn open(adapter: &wgpu::Adapter, features: wgpu::Features) -> Self {
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() & features,
            required_limits: Gpu::LIMITS,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let gpu = Gpu::from_wgpu(adapter, device.clone(), queue.clone()).unwrap();
        Self { device, queue, gpu }
    }

    fn texture(&self, size: [u32; 2], format: TextureFormat, usage: TextureUsages) -> wgpu::Texture {
        self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("a picture"),
            size: wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        })
    }

    /// A texture that holds a picture's bytes.
    fn upload(&self, picture: &RgbImage, format: TextureFormat) -> wgpu::Texture {
        let (width, height) = picture.dimensions();
        let texture = self.texture([width, height], format, TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST);
        let swapped = matches!(format, TextureFormat::Bgra8Unorm | TextureFormat::Bgra8UnormSrgb);
        let bytes: Vec<u8> = picture
            .pixels()
            .flat_map(|&image::Rgb([r, g, b])| if swapped { [b, g, r, 7] } else { [r, g, b, 7] })
            .collect();
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width), rows_per_image: Some(height) };
        self.queue.write_texture(texture.as_image_copy(), &bytes, layout, texture.size());
        texture
    }
}

fn on_each(test: impl Fn(&wgpu::Adapter)) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    assert!(!adapters.is_empty(), "no GPU adapter answers; `scripts/setup test` installs two software adapters");
    for adapter in adapters {
        eprintln!("on {}", adapter.get_info().name);
        test(&adapter);
    }
}

fn classifier(gpu: &Gpu, res: u32, crop_pct: f64, batch: usize) -> Classifier {
    let card = ModelCard { res, crop_pct, ..ModelCard::for_preset_of(Config::resnet_rs([1, 1, 1, 1], 0.25, 10)) };
    let options = InferenceOptions { batch, ..InferenceOptions::default() };
    Classifier::new(gpu, &weights::network(&card), &options).unwrap()
}

/// Smooth colours with an edge: a filter that is off by a pixel or a weight gives another result.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |period: f32, at: u32| 127.5 + 127.5 * (at as f32 / period).sin();
        let edge = if (x / 7 + y / 11) % 2 == 0 { 255.0 } else { 0.0 };
        image::Rgb([wave(5.0, x) as u8, wave(9.0, x + 2 * y) as u8, (0.5 * edge + 0.5 * wave(3.0, y)) as u8])
    })
}

/// A network's input from a texture, as bytes: the second of two pictures of `res` x `res`.
fn shown(app: &App, frame: &Frame, res: u32, view: View) -> Vec<f32> {
    let mut graph = Graph::new();
    let pixels = graph.input("pixels", Spec::plain([2, res as usize, res as usize], DType::U32)).unwrap();
    let bytes = Standardize { mean: [0.0; 3], std: [1.0 / 255.0; 3] };
    let output = graph.apply1("bytes", bytes, &[pixels]).unwrap();
    let store = ParameterStore::new(&app.gpu);
    let mut session = Session::new(&store, graph, &[output], &SessionOptions::default()).unwrap();
    let [width, picture_height] = frame.size();
    let Placement { part, target } = view.placement((width, picture_height), [res as usize; 2]);
    let (rows, filter) = (rows_read(part, picture_height, target[3], view.interpolation), view.interpolation as u32);
    let crop = Crop { part, rows, picture_height, size: [res; 2], target, filter, border: view.border };
    session.feed_frame(pixels, 1, frame, &crop).unwrap();
    session.run().unwrap();
    let values = session.read(output).unwrap();
    assert!(values[..values.len() / 2].iter().all(|&v| v == 0.0), "the other picture is left alone");
    values[values.len() / 2..].to_vec()
}

/// Each filter and each crop mode, with and without a crop. Nearest only for steps without rounding errors, since these
/// decide between two pixels if a step ends between them.
fn views() -> Vec<(u32, View)> {
    use CropMode::{Border, Center, Squash};
    use Interpolation::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
    let center = [(33, 0.91), (33, 1.0), (64, 0.875)].map(|(res, crop_pct)| (res, View::center(crop_pct)));
    let others = [
        (Nearest, Squash, 1.0),
        (Box, Border, 0.9),
        (Bilinear, Center, 0.9),
        (Hamming, Squash, 0.9),
        (Bicubic, Border, 1.0),
        (Lanczos, Border, 0.9),
    ];
    let others = others.map(|(interpolation, crop_mode, crop_pct)| {
        (32, View { crop_pct, interpolation, crop_mode, border: [250, 120, 7] })
    });
    center.into_iter().chain(others).collect()
}

/// Pictures that are enlarged, shrunk a little and a lot, wide and tall, of odd sizes with unaligned pixels, and of the
/// network's own size.
#[test]
fn textures_are_resized_as_pictures_are() {
    use TextureFormat::{Bgra8Unorm, Bgra8UnormSrgb, Rgba8Unorm, Rgba8UnormSrgb};
    on_each(|adapter| {
        let app = App::open(adapter, Gpu::FEATURES);
        for (i, (width, height)) in
            [(33, 33), (20, 31), (61, 40), (333, 500), (1920, 1080), (1, 300), (2000, 3), (1, 1)]
                .into_iter()
                .enumerate()
        {
            let picture = picture(width, height);
            for (res, view) in views() {
                let format = [Rgba8Unorm, Rgba8UnormSrgb, Bgra8Unorm, Bgra8UnormSrgb][i % 4];
                let frame = Frame::new(&app.upload(&picture, format)).unwrap();
                let got = shown(&app, &frame, res, view);
                let want = evaluation_crop(&picture, [res as usize; 2], view);
                let off = got.iter().zip(want.as_raw()).map(|(g, &w)| (g - f32::from(w)).abs());
                let largest = off.fold(0.0, f32::max);
                // Both round twice; the CPU has fixed-point weights, the GPU f32.
                assert!(largest <= 2.0, "{width} x {height} {format:?} to {res} by {view:?}: off by {largest} levels");
            }
        }
    });
}

/// timm's crops of a photograph, every fourth row and column: within 3 levels in 99 % of the pixels.
#[test]
fn textures_are_resized_as_timm_does() {
    for (model, res, crop_pct) in [("rs50", 160, 0.91), ("rs101", 192, 0.94), ("rs152", 256, 1.0)] {
        let golden = golden::load(&format!("preprocess_{model}"));
        let picture = image::open(golden::path("picture.png")).unwrap().to_rgb8();
        let (mean, std) = IMAGENET_MEAN_STD;
        on_each(|adapter| {
            let app = App::open(adapter, Gpu::FEATURES);
            let frame = Frame::new(&app.upload(&picture, TextureFormat::Rgba8UnormSrgb)).unwrap();
            let got = shown(&app, &frame, res, View::center(crop_pct));
            let (side, res) = (res.div_ceil(4) as usize, res as usize);
            let close = |&(i, want): &(usize, &f32)| {
                let (c, y, x) = (i / side / side, i / side % side * 4, i % side * 4);
                let want = (want * std[c] + mean[c]) * 255.0;
                (got[(y * res + x) * 3 + c] - want).abs() <= 3.0
            };
            let share =
                golden["pixels"].iter().enumerate().filter(close).count() as f64 / golden["pixels"].len() as f64;
            eprintln!("{model}: {:.3} % of the pixels agree", 100.0 * share);
            assert!(share >= 0.99, "{model}: {share} of the pixels agree");
        });
    }
}

/// A batch of textures and pictures, beside the application's own submissions.
#[test]
fn textures_and_pictures_are_classified_alike() {
    on_each(|adapter| {
        for features in [Gpu::FEATURES, wgpu::Features::empty()] {
            let app = App::open(adapter, features);
            let net = classifier(&app.gpu, 48, 0.9, 3);
            let pictures = [picture(80, 60), picture(47, 48), picture(400, 300)];
            let want = net.classify_all(&pictures).unwrap();
            let frames = pictures.each_ref().map(|p| Frame::new(&app.upload(p, TextureFormat::Rgba8Unorm)).unwrap());
            let mixed = [Picture::from(&frames[0]), Picture::from(&pictures[1]), Picture::from(&frames[2])];
            let pending = net.submit_all(mixed).unwrap();
            // The application continues and drops the textures.
            drop(frames);
            app.queue.submit([]);
            for (got, want) in pending.wait().unwrap().iter().zip(&want) {
                let off = got.probabilities.iter().zip(&want.probabilities).map(|(g, w)| (g - w).abs());
                let largest = off.fold(0.0, f32::max);
                assert!(largest < 0.01, "a level or two of some pixels move a probability by {largest}");
                assert_eq!(got.top(1)[0].class, want.top(1)[0].class);
            }
        }
    });
}

/// Answers for the pixels of wide and tall pictures, of their sizes.
#[test]
fn textures_and_pictures_are_segmented_alike() {
    let head = Head::DeepLabV3(DeepLabV3 { channels: 32, auxiliary: false });
    let network = weights::with_head(head, 4, 16);
    on_each(|adapter| {
        let app = App::open(adapter, Gpu::FEATURES);
        let net = Segmenter::new(&app.gpu, &network, &InferenceOptions::default()).unwrap();
        for picture in [picture(200, 60), picture(47, 90), picture(64, 64)] {
            let want = net.segment(&picture).unwrap().classes;
            let frame = Frame::new(&app.upload(&picture, TextureFormat::Rgba8Unorm)).unwrap();
            let got = net.segment(frame).unwrap().classes;
            assert_eq!(got.dimensions(), picture.dimensions());
            let off = got.iter().zip(want.iter()).filter(|(got, want)| got != want).count();
            // A level or two of some pixels move the borders between classes; nothing is resized in the last picture.
            let most = if picture.dimensions() == (64, 64) { 0 } else { want.len() / 50 };
            assert!(off <= most, "{off} of {} pixels", want.len());
        }
    });
}

/// Several threads submit many frames without waiting, small ones after large ones: no frame overwrites another that is
/// still in use.
#[test]
fn frames_in_flight_do_not_disturb_each_other() {
    on_each(|adapter| {
        let app = App::open(adapter, Gpu::FEATURES);
        let net = classifier(&app.gpu, 32, 0.9, 1);
        let pictures = [picture(20, 30), picture(900, 700), picture(64, 33), picture(1, 400)];
        let frames = pictures.each_ref().map(|p| Frame::new(&app.upload(p, TextureFormat::Rgba8Unorm)).unwrap());
        let want = frames.each_ref().map(|frame| net.classify(frame).unwrap().logits);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    let pending: Vec<_> = (0..12).map(|i| net.submit(&frames[i % 4]).unwrap()).collect();
                    for (i, pending) in pending.into_iter().enumerate() {
                        assert_eq!(pending.wait().unwrap().logits, want[i % 4], "frame {i}");
                    }
                });
            }
        });
    });
}

/// Linear light is encoded before it is resized, for every format; features and f16 take frames as well.
#[test]
fn linear_light_is_seen_as_the_picture_that_it_is() {
    on_each(|adapter| {
        let app = App::open(adapter, Gpu::FEATURES);
        let decoded = |value: u8| {
            let v = f64::from(value) / 255.0;
            let linear = if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
            (255.0 * linear).round() as u8
        };
        // Bright pictures: eight bits of linear light do not distinguish dark ones.
        let encoded =
            RgbImage::from_fn(48, 48, |x, y| image::Rgb([150 + 2 * x as u8, 160 + y as u8, 255 - (x + y) as u8 / 2]));
        let linear = RgbImage::from_fn(48, 48, |x, y| image::Rgb(encoded.get_pixel(x, y).0.map(decoded)));
        let frame = |p: &RgbImage| Frame::new(&app.upload(p, TextureFormat::Rgba8Unorm)).unwrap();
        let got = shown(&app, &frame(&linear).linear(), 48, View::center(1.0));
        let off = got.iter().zip(encoded.as_raw()).map(|(g, &w)| (g - f32::from(w)).abs()).fold(0.0, f32::max);
        assert!(off <= 1.0, "off by {off} levels");

        let card =
            ModelCard { res: 48, crop_pct: 1.0, ..ModelCard::for_preset_of(Config::resnet_rs([1, 1, 1, 1], 0.25, 10)) };
        let half = InferenceOptions { precision: Precision::F16, ..InferenceOptions::default() };
        let features = Features::new(&app.gpu, &weights::network(&card), &half).unwrap();
        let (of_frame, of_picture) = (features.extract(frame(&encoded)).unwrap(), features.extract(&encoded).unwrap());
        assert_eq!(of_frame, of_picture, "a picture of the network's own size is the same to the bit");
    });
}

/// Each is refused with its reason, and the classifier and the device stay usable.
#[test]
fn unusable_textures_are_refused() {
    on_each(|adapter| {
        let (app, other) = (App::open(adapter, Gpu::FEATURES), App::open(adapter, Gpu::FEATURES));
        let net = classifier(&app.gpu, 32, 1.0, 1);
        let size = [40, 30];
        let readable = TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST;
        let refused = |texture: &wgpu::Texture| Frame::new(texture).unwrap_err().to_string();
        let floats = app.texture(size, TextureFormat::Rgba16Float, readable);
        assert!(refused(&floats).contains("Rgba16Float: draw or copy it to one of"), "{}", refused(&floats));
        let hidden = app.texture(size, TextureFormat::Rgba8Unorm, TextureUsages::COPY_DST);
        assert!(refused(&hidden).contains("TEXTURE_BINDING"));

        let foreign = Frame::new(&other.upload(&picture(40, 30), TextureFormat::Rgba8Unorm)).unwrap();
        let error = net.classify(&foreign).unwrap_err().to_string();
        assert!(error.contains("the texture cannot be read"), "{error}");
        let elsewhere = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapters = pollster::block_on(elsewhere.enumerate_adapters(wgpu::Backends::PRIMARY));
        // More textures than the other instance has, so that this texture's number is unknown there.
        let stranger = App::open(&adapters[0], Gpu::FEATURES);
        let many: Vec<_> = (0..300).map(|_| stranger.upload(&picture(40, 30), TextureFormat::Rgba8Unorm)).collect();
        let views: Vec<_> = many.iter().map(|texture| Frame::new(texture).unwrap()).collect();
        let error = net.classify(&views[299]).unwrap_err().to_string();
        assert!(error.contains("another wgpu instance"), "{error}");
        let view = many[0].create_view(&wgpu::TextureViewDescriptor::default());
        let error = Frame::of_view(&view, [41, 30], TextureFormat::Rgba8Unorm).unwrap_err().to_string();
        assert!(error.contains("cannot have 41 x 30"), "{error}");
        let gone = app.upload(&picture(40, 30), TextureFormat::Rgba8Unorm);
        let frame = Frame::new(&gone).unwrap();
        gone.destroy();
        let error = net.classify(&frame).unwrap_err().to_string();
        assert!(error.contains("the texture cannot be read"), "{error}");
        let sound = app.upload(&picture(40, 30), TextureFormat::Rgba8Unorm);
        net.classify(Frame::new(&sound).unwrap()).unwrap();
    });
}

#[test]
fn a_device_with_too_little_is_refused() {
    on_each(|adapter| {
        let required_limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..Gpu::LIMITS };
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let refused = Gpu::from_wgpu(adapter, device, queue).unwrap_err().to_string();
        assert!(refused.contains("max_storage_buffers_per_shader_stage 4, 8 are needed"), "{refused}");
    });
}

/// The application loses its device, which is reported only to its own handlers.
#[test]
fn a_lost_device_of_the_application_is_an_error() {
    on_each(|adapter| {
        let app = App::open(adapter, Gpu::FEATURES);
        let net = classifier(&app.gpu, 32, 1.0, 1);
        let pending = net.submit(picture(40, 30)).unwrap();
        app.device.destroy();
        if let Err(error) = pollster::block_on(pending) {
            assert!(error.to_string().contains("was lost"), "{error}");
        }
        let error = net.classify(picture(40, 30)).unwrap_err().to_string();
        assert!(error.contains("was lost"), "{error}");
        let again = App::open(adapter, Gpu::FEATURES);
        classifier(&again.gpu, 32, 1.0, 1).classify(picture(40, 30)).unwrap();
    });
}

/// Remembers in which thread it was dropped.
struct DroppedIn(Arc<Mutex<Option<ThreadId>>>);

impl Drop for DroppedIn {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = Some(std::thread::current().id());
    }
}

/// The thread that waits for answers shares the device, and must not be the one that closes it, perhaps while the
/// program ends.
#[test]
fn a_device_is_closed_by_the_last_who_drops_it() {
    on_each(|adapter| {
        for _ in 0..10 {
            let app = App::open(adapter, Gpu::FEATURES);
            let closed = Arc::<Mutex<Option<ThreadId>>>::default();
            let of_device = DroppedIn(closed.clone());
            app.device.set_device_lost_callback(move |_, _| _ = &of_device);
            let net = classifier(&app.gpu, 32, 1.0, 1);
            pollster::block_on(net.submit(picture(40, 30)).unwrap()).unwrap();
            assert_eq!(*closed.lock().unwrap(), None);
            drop(net);
            drop(app);
            assert_eq!(*closed.lock().unwrap(), Some(std::thread::current().id()));
        }
    });
}

/// Another thread of the application polls the device all the time, and wgpu maps a buffer in the first poll of any
/// thread.
#[test]
fn reading_back_survives_an_application_that_polls() {
    const READS: usize = 5_000;
    let mut graph = Graph::new();
    let x = graph.input("x", Spec::channels([1, 1, 1, 4])).unwrap();
    let sum = graph.apply1("sum", ScaleAdd::ADD, &[x, x]).unwrap();
    on_each(|adapter| {
        let app = App::open(adapter, Gpu::FEATURES);
        let options = SessionOptions::default();
        let mut session = Session::new(&ParameterStore::new(&app.gpu), graph.clone(), &[sum], &options).unwrap();
        session.feed(&[(x, &[1.0, 2.0, 3.0, 4.0])], &[]).unwrap();
        session.run().unwrap();
        let over = AtomicBool::new(false);
        let read = || {
            for i in 0..READS {
                let mut pending = session.read_later(&[sum]).unwrap();
                if i % 2 == 1 {
                    pollster::block_on(std::future::poll_fn(|context| pending.poll_ready(context)));
                }
                let values = pending.wait().unwrap_or_else(|error| panic!("read {i}: {error}"));
                assert_eq!(values, [[2.0, 4.0, 6.0, 8.0]], "read {i}");
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    app.device.poll(wgpu::PollType::Poll).unwrap();
                }
            });
            let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
            over.store(true, Ordering::Relaxed);
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    });
}

/// While a thread waits for a long answer, the application destroys a texture, which takes the same lock as presenting
/// a frame.
#[test]
fn waiting_does_not_hold_the_application_up() {
    on_each(|adapter| {
        let app = App::open(adapter, Gpu::FEATURES);
        let net = classifier(&app.gpu, 256, 1.0, 16);
        net.classify(picture(256, 256)).unwrap();
        let texture = app.upload(&picture(40, 30), TextureFormat::Rgba8Unorm);
        let answered = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let pending = net.submit_all(vec![picture(256, 256); 16]).unwrap();
            threads.spawn(|| {
                pollster::block_on(pending).unwrap();
                answered.store(true, Ordering::Relaxed);
            });
            std::thread::sleep(Duration::from_millis(20));
            if answered.load(Ordering::Relaxed) {
                eprintln!(
                    "skipped: the GPU is fast, or its driver, as llvmpipe, returns from a submission when it has run"
                );
                return;
            }
            texture.destroy();
            assert!(!answered.load(Ordering::Relaxed), "the application has waited for the network");
        });
    });
}
