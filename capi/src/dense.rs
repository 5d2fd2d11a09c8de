//! Detectors, segmentation and depth networks.

use std::ffi::c_char;

use resnet_rs::Picture;

use crate::last_error::Failure;
use crate::pointers::{borrow, check, file, guard, picture, status, write};
use crate::{Network, Predictor, Status};

/// Less certain detections are dropped as soon as they are decoded, as in torchvision.
const LEAST_SCORE: f32 = 0.05;

/// An object that a detector found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Index of the class; never 0, which is the background.
    pub class_index: usize,
    /// How sure the network is, 0 to 1.
    pub score: f32,
    /// Left edge in pixels of the picture.
    pub left: f32,
    /// Top edge in pixels of the picture.
    pub top: f32,
    /// Right edge in pixels of the picture.
    pub right: f32,
    /// Bottom edge in pixels of the picture.
    pub bottom: f32,
}

/// Finds objects in a picture; see resnet_rs_classify() for its pixels.
///
/// Writes the objects with at least this score, 0.05 to 1, to `objects`, highest score first and no more than
/// `capacity`, and their number to `count`.
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
/// `stride_bytes * (height - 1) + 4 * width` bytes. `objects` is NULL or has room for `capacity`, `count` is NULL or
/// has room for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_detect(
    network: *const Network,
    rgba: *const u8,
    width: u32,
    height: u32,
    stride_bytes: usize,
    score: f32,
    objects: *mut Object,
    capacity: usize,
    count: *mut usize,
) -> Status {
    status(guard(|| {
        // SAFETY: as the caller promises.
        let picture = || unsafe { picture(rgba, width, height, stride_bytes) };
        // SAFETY: as the caller promises.
        unsafe { detect(borrow("network", network)?, picture, score, objects, capacity, count) }
    }))
}

/// Finds objects in a picture file, as resnet_rs_detect().
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `objects` is NULL or has
/// room for `capacity`, `count` is NULL or has room for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_detect_file(
    network: *const Network,
    path: *const c_char,
    score: f32,
    objects: *mut Object,
    capacity: usize,
    count: *mut usize,
) -> Status {
    // SAFETY: as the caller promises.
    status(guard(|| unsafe { detect(borrow("network", network)?, || file(path), score, objects, capacity, count) }))
}

/// Writes width and height of a picture file in pixels, upright as its EXIF data or XMP say.
///
/// # Safety
/// `path` is NULL or ends with a zero byte. `width` and `height` are NULL or have room for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_picture_size(path: *const c_char, width: *mut u32, height: *mut u32) -> Status {
    status(guard(|| {
        // SAFETY: as the caller promises.
        unsafe {
            let [of_width, of_height] = file(path)?.size();
            write("width", width, &[of_width])?;
            write("height", height, &[of_height])
        }
    }))
}

/// Tells the class of each pixel of a picture; see resnet_rs_classify() for its pixels.
///
/// Writes `width * height` indices of classes to `classes`, row by row; 65535 where the network did not see the pixel,
/// since the picture was cropped.
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
/// `stride_bytes * (height - 1) + 4 * width` bytes. `classes` is NULL or has room for `width * height` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_segment(
    network: *const Network,
    rgba: *const u8,
    width: u32,
    height: u32,
    stride_bytes: usize,
    classes: *mut u16,
) -> Status {
    status(guard(|| {
        let pixels = (width as usize).saturating_mul(height as usize);
        // SAFETY: as the caller promises.
        let picture = || unsafe { picture(rgba, width, height, stride_bytes) };
        // SAFETY: as the caller promises.
        unsafe { segment(borrow("network", network)?, picture, classes, pixels) }
    }))
}

/// Tells the class of each pixel of a picture file, as resnet_rs_segment(). `pixels` is the number of its pixels, from
/// resnet_rs_picture_size().
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `classes` is NULL or has
/// room for `pixels` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_segment_file(
    network: *const Network,
    path: *const c_char,
    classes: *mut u16,
    pixels: usize,
) -> Status {
    // SAFETY: as the caller promises.
    status(guard(|| unsafe { segment(borrow("network", network)?, || file(path), classes, pixels) }))
}

/// Tells the depth of each pixel of a picture; see resnet_rs_classify() for its pixels.
///
/// Writes `width * height` depths in metres to `metres`, row by row; 0 where the network did not see the pixel, since
/// the picture was cropped.
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
/// `stride_bytes * (height - 1) + 4 * width` bytes. `metres` is NULL or has room for `width * height` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_depth(
    network: *const Network,
    rgba: *const u8,
    width: u32,
    height: u32,
    stride_bytes: usize,
    metres: *mut f32,
) -> Status {
    status(guard(|| {
        let pixels = (width as usize).saturating_mul(height as usize);
        // SAFETY: as the caller promises.
        let picture = || unsafe { picture(rgba, width, height, stride_bytes) };
        // SAFETY: as the caller promises.
        unsafe { depth(borrow("network", network)?, picture, metres, pixels) }
    }))
}

/// Tells the depth of each pixel of a picture file, as resnet_rs_depth(). `pixels` is the number of its pixels, from
/// resnet_rs_picture_size().
///
/// # Safety
/// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `metres` is NULL or has
/// room for `pixels` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_rs_depth_file(
    network: *const Network,
    path: *const c_char,
    metres: *mut f32,
    pixels: usize,
) -> Status {
    // SAFETY: as the caller promises.
    status(guard(|| unsafe { depth(borrow("network", network)?, || file(path), metres, pixels) }))
}

/// # Safety
/// `objects` is NULL or has room for `capacity`, `count` is NULL or has room for one number; no other thread uses them
/// meanwhile.
unsafe fn detect(
    network: &Network,
    picture: impl FnOnce() -> Result<Picture<'static>, Failure>,
    score: f32,
    objects: *mut Object,
    capacity: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    let Predictor::Detector(net) = &network.predictor else { return Err(network.other_task()) };
    check("objects", objects)?;
    check("count", count)?;
    if !(LEAST_SCORE..=1.0).contains(&score) {
        return Err(Failure::Score(score));
    }
    let detections = net.detect(picture()?)?;
    let object = |found: &resnet_rs::Found| {
        let [left, top, right, bottom] = found.bounds;
        Object { class_index: found.class, score: found.score, left, top, right, bottom }
    };
    let found: Vec<Object> = detections.above(score).iter().take(capacity).map(object).collect();
    // SAFETY: as the caller promises.
    unsafe {
        write("objects", objects, &found)?;
        write("count", count, &[found.len()])
    }
}

/// # Safety
/// `classes` is NULL or has room for `pixels` numbers, which no other thread uses meanwhile.
unsafe fn segment(
    network: &Network,
    picture: impl FnOnce() -> Result<Picture<'static>, Failure>,
    classes: *mut u16,
    pixels: usize,
) -> Result<(), Failure> {
    let Predictor::Segmenter(net) = &network.predictor else { return Err(network.other_task()) };
    check("classes", classes)?;
    let found = net.segment(picture()?)?.classes.into_raw();
    let there = found.len();
    // SAFETY: the caller promises room for so many.
    if there == pixels { unsafe { write("classes", classes, &found) } } else { Err(Failure::Pixels { pixels, there }) }
}

/// # Safety
/// `metres` is NULL or has room for `pixels` floats, which no other thread uses meanwhile.
unsafe fn depth(
    network: &Network,
    picture: impl FnOnce() -> Result<Picture<'static>, Failure>,
    metres: *mut f32,
    pixels: usize,
) -> Result<(), Failure> {
    let Predictor::DepthEstimator(net) = &network.predictor else { return Err(network.other_task()) };
    check("metres", metres)?;
    let found = net.estimate(picture()?)?.metres.into_raw();
    let there = found.len();
    // SAFETY: the caller promises room for so many.
    if there == pixels { unsafe { write("metres", metres, &found) } } else { Err(Failure::Pixels { pixels, there }) }
}
