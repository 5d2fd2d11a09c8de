//! The C interface: load a network, show it RGBA pixels or a file, free it. The header is `include/resnet_rs.h`.

mod dense;
mod last_error;
mod outputs;
mod pointers;

use std::ffi::{CString, c_char};

pub use dense::Object;
use last_error::Failure;
pub use outputs::{Outputs, Tensor};
use pointers::{borrow, check, file, free, guard, picture, standardised, status, text, write};
use resnet_rs::models::Purpose;
use resnet_rs::weights::{ModelCard, TrainedNetwork};
use resnet_rs::{
    Classifier, DepthEstimator, Detector, Gpu, GpuOptions, InferenceOptions, Picture, Precision, Segmenter,
};

/// A network on a GPU, with the names of its classes.
pub struct Network {
    predictor: Predictor,
    labels: Vec<CString>,
}

enum Predictor {
    Classifier(Classifier),
    Detector(Detector),
    Segmenter(Segmenter),
    DepthEstimator(DepthEstimator),
}

impl Network {
    fn card(&self) -> &ModelCard {
        match &self.predictor {
            Predictor::Classifier(net) => net.card(),
            Predictor::Detector(net) => net.card(),
            Predictor::Segmenter(net) => net.card(),
            Predictor::DepthEstimator(net) => net.card(),
        }
    }

    fn classifier(&self) -> Result<&Classifier, Failure> {
        match &self.predictor {
            Predictor::Classifier(net) => Ok(net),
            _ => Err(self.other_task()),
        }
    }

    /// The error for a call that is for other networks.
    fn other_task(&self) -> Failure {
        let call = match &self.predictor {
            Predictor::Classifier(_) => "resnet_rs_classify",
            Predictor::Detector(_) => "resnet_rs_detect",
            Predictor::Segmenter(_) => "resnet_rs_segment",
            Predictor::DepthEstimator(_) => "resnet_rs_depth",
        };
        let found = self.card().config.head.purpose().network();
        Failure::OtherTask { found, call }
    }
}

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Successful.
    Ok = 0,
    /// Failed; resnet_rs_last_error() returns the error.
    Failed = 1,
}

/// A class, and how likely it is, 0 to 1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    /// Index of the class.
    pub class_index: usize,
    /// How likely it is, 0 to 1.
    pub probability: f32,
}

/// Flag of resnet_rs_load(): maps and weights are stored in 16 bits, which halves their memory.
pub const RESNET_RS_F16: u32 = 1;

/// Every flag there is.
const FLAGS: u32 = RESNET_RS_F16;

/// Version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn resnet_rs_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The error of this thread's last failed call, on one line; empty if no call has failed, or if the thread is ending.
/// Valid until this thread's next failed call, or its end.
#[unsafe(no_mangle)]
pub extern "C" fn resnet_rs_last_error() -> *const c_char {
    last_error::get()
}

/// Loads a safetensors file under timm's or torchvision's names, as they or resnet-rs wrote it: a classifier, a
/// detector, a segmentation network or a depth network.
///
/// `weights` is its path, in UTF-8. `device` is the number or a part of the name of the GPU, or NULL for the fastest.
/// `flags` is 0 or RESNET_RS_F16. Returns NULL if that fails; otherwise free the result with resnet_rs_free().
///
/// # Safety
/// `weights`, and `device` if it is not NULL, end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_load(weights: *const c_char, device: *const c_char, flags: u32) -> *mut Network {
    let loaded = guard(|| {
        // SAFETY: the caller passes strings that end with a zero byte, or NULL.
        let (weights, device) = unsafe { (text("weights", weights)?, text("device", device)?) };
        let weights = weights.ok_or(Failure::Null("weights"))?;
        if flags & !FLAGS != 0 {
            return Err(Failure::Flags(flags));
        }
        let gpu = Gpu::new(&GpuOptions { device: device.map(str::to_owned), ..GpuOptions::default() })?;
        let precision = if flags & RESNET_RS_F16 != 0 { Precision::F16 } else { Precision::F32 };
        let options = InferenceOptions { precision, ..InferenceOptions::default() };
        let network = TrainedNetwork::read(weights)?;
        let predictor = match network.card.config.head.purpose() {
            Purpose::Classify => Predictor::Classifier(Classifier::new(&gpu, &network, &options)?),
            Purpose::Detect => Predictor::Detector(Detector::new(&gpu, &network, &options)?),
            Purpose::Segment => Predictor::Segmenter(Segmenter::new(&gpu, &network, &options)?),
            Purpose::Depth => Predictor::DepthEstimator(DepthEstimator::new(&gpu, &network, &options)?),
        };
        let names = network.card.classes.iter();
        // A name with a zero byte ends there, as C reads it.
        let labels =
            names.map(|name| name.split('\0').next().and_then(|name| CString::new(name).ok()).unwrap_or_default());
        Ok(Box::into_raw(Box::new(Network { labels: labels.collect(), predictor })))
    });
    loaded.unwrap_or(std::ptr::null_mut())
}

/// Frees a network. NULL is ignored.
///
/// # Safety
/// `network` is NULL, or comes from resnet_rs_load() and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_free(network: *mut Network) {
    // SAFETY: as the caller promises.
    unsafe { free(network) }
}

/// Number of classes of the network, of a detector with the background, its class 0; 1 of a depth network; 0 for NULL.
///
/// # Safety
/// `network` is NULL, or comes from resnet_rs_load().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_class_count(network: *const Network) -> usize {
    // SAFETY: as the caller promises.
    let count = guard(|| Ok(unsafe { borrow("network", network) }?.card().config.classes));
    count.unwrap_or(0)
}

/// Name of a class, in UTF-8; NULL if it has none. Valid as long as the network.
///
/// # Safety
/// `network` is NULL, or comes from resnet_rs_load().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_label(network: *const Network, class_index: usize) -> *const c_char {
    let label = guard(|| {
        // SAFETY: as the caller promises.
        let network = unsafe { borrow("network", network) }?;
        Ok(network.labels.get(class_index).map_or(std::ptr::null(), |label| label.as_ptr()))
    });
    label.unwrap_or(std::ptr::null())
}

/// Classifies a picture of any size: 8-bit RGBA, sRGB, alpha ignored, rows `stride_bytes` apart, the first on top. It
/// is resized and cropped as timm does it.
///
/// Writes the `count` likeliest classes to `guesses`, likeliest first; `count` is at most resnet_rs_class_count().
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
/// `stride_bytes * (height - 1) + 4 * width` bytes. `guesses` is NULL or has room for `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_classify(
    network: *const Network,
    rgba: *const u8,
    width: u32,
    height: u32,
    stride_bytes: usize,
    guesses: *mut Guess,
    count: usize,
) -> Status {
    status(guard(|| {
        // SAFETY: as the caller promises.
        unsafe { classify(borrow("network", network)?, || picture(rgba, width, height, stride_bytes), guesses, count) }
    }))
}

/// Classifies a picture file: JPEG, PNG, WebP, GIF, BMP or TIFF, turned upright as its EXIF data or XMP say. See
/// resnet_rs_classify() for `guesses` and `count`.
///
/// `path` is in UTF-8.
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `guesses` is NULL or has
/// room for `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_classify_file(
    network: *const Network,
    path: *const c_char,
    guesses: *mut Guess,
    count: usize,
) -> Status {
    status(guard(|| {
        // SAFETY: as the caller promises.
        unsafe { classify(borrow("network", network)?, || file(path), guesses, count) }
    }))
}

/// Writes the likeliest classes of a picture.
///
/// # Safety
/// `guesses` is NULL, or points to room for `count`, which no other thread uses meanwhile.
unsafe fn classify(
    network: &Network,
    picture: impl FnOnce() -> Result<Picture<'static>, Failure>,
    guesses: *mut Guess,
    count: usize,
) -> Result<(), Failure> {
    let (classifier, classes) = (network.classifier()?, network.card().config.classes);
    if count == 0 || count > classes {
        return Err(Failure::Count { count, classes });
    }
    check("guesses", guesses)?;
    let prediction = classifier.classify(picture()?)?;
    let found = prediction.top(count).into_iter().map(|g| Guess { class_index: g.class, probability: g.probability });
    // SAFETY: as the caller promises.
    unsafe { write("guesses", guesses, &found.collect::<Vec<_>>()) }
}

/// Computes the logits, `[count, classes]` floats, of `count` standardised pictures, `[count, 3, height, width]` floats
/// in PyTorch's order.
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `pictures` is NULL or points to `count * 3 * height * width`
/// floats. `logits` is NULL or has room for `count * resnet_rs_class_count()` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_logits(
    network: *const Network,
    pictures: *const f32,
    count: usize,
    height: usize,
    width: usize,
    logits: *mut f32,
) -> Status {
    status(guard(|| {
        // SAFETY: as the caller promises.
        let classifier = unsafe { borrow("network", network) }?.classifier()?;
        let shape = [count, 3, height, width];
        // SAFETY: as the caller promises.
        let pictures = unsafe { standardised(pictures, shape) }?;
        check("logits", logits)?;
        // SAFETY: the caller promises room for one row of classes per picture, which is the number of logits.
        unsafe { write("logits", logits, &classifier.logits(pictures, shape)?) }
    }))
}
