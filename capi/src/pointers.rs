//! What every call does with its pointers, its result and its failures.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use resnet_rs::Picture;

use crate::Status;
use crate::last_error::{self, Failure};

/// Runs a call's work. A failure, panics included, becomes this thread's last error.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T, Failure>) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Failure::Panic));
    result.map_err(|failure| last_error::set(&failure)).ok()
}

pub(crate) fn status(done: Option<()>) -> Status {
    if done.is_some() { Status::Ok } else { Status::Failed }
}

/// Something that this library made for the caller.
///
/// # Safety
/// `made` is NULL, or was made by Box::into_raw and lives as long as it is borrowed.
pub(crate) unsafe fn borrow<'m, T>(name: &'static str, made: *const T) -> Result<&'m T, Failure> {
    // SAFETY: as the caller promises.
    unsafe { made.as_ref() }.ok_or(Failure::Null(name))
}

/// Frees something that this library made for the caller.
///
/// # Safety
/// `made` is NULL, or was made by Box::into_raw and is not used any more.
pub(crate) unsafe fn free<T>(made: *mut T) {
    let freed = guard(|| {
        if !made.is_null() {
            // SAFETY: as the caller promises.
            drop(unsafe { Box::from_raw(made) });
        }
        Ok(())
    });
    let _ = freed; // only a panic, which last_error has
}

/// # Safety
/// `text` is NULL, or ends with a zero byte and lives as long as it is borrowed.
pub(crate) unsafe fn text<'t>(name: &'static str, text: *const c_char) -> Result<Option<&'t str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes.to_str().map(Some).map_err(|_| Failure::NotUtf8(name))
}

/// # Safety
/// `first` is NULL, or points to `length` elements that live as long as they are borrowed. Together they are no longer
/// than `isize::MAX` bytes.
unsafe fn slice<'s, T>(name: &'static str, first: *const T, length: usize) -> Result<&'s [T], Failure> {
    check(name, first)?;
    // SAFETY: not NULL, aligned, and otherwise as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(first, length) })
}

/// Standardised pictures of this shape.
///
/// # Safety
/// `pictures` is NULL, or points to one float for each element of the shape. The floats live as long as the result.
pub(crate) unsafe fn standardised<'p>(pictures: *const f32, shape: [usize; 4]) -> Result<&'p [f32], Failure> {
    let elements = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    let fits = |&elements: &usize| elements <= isize::MAX as usize / size_of::<f32>();
    let elements = elements.filter(fits).ok_or(Failure::Shape(shape))?;
    // SAFETY: the caller promises this many floats.
    unsafe { slice("pictures", pictures, elements) }
}

/// Copies results to memory that may be uninitialised.
///
/// # Safety
/// `first` is NULL, or points to room for all `values`, which no other thread uses meanwhile.
pub(crate) unsafe fn write<T: Copy>(name: &'static str, first: *mut T, values: &[T]) -> Result<(), Failure> {
    check(name, first)?;
    // SAFETY: not NULL, aligned, and otherwise as the caller promises; `values` does not overlap it.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), first, values.len()) };
    Ok(())
}

pub(crate) fn check<T>(name: &'static str, first: *const T) -> Result<(), Failure> {
    if first.is_null() {
        return Err(Failure::Null(name));
    }
    if first.is_aligned() { Ok(()) } else { Err(Failure::Unaligned(name)) }
}

/// A picture of 8-bit RGBA.
///
/// # Safety
/// `rgba` is NULL or points to `stride_bytes * (height - 1) + 4 * width` bytes.
pub(crate) unsafe fn picture(
    rgba: *const u8,
    width: u32,
    height: u32,
    stride_bytes: usize,
) -> Result<Picture<'static>, Failure> {
    // The number of bytes that the caller promises; if it overflows, there cannot be that much memory.
    let rows = (height as usize).saturating_sub(1);
    let bytes = stride_bytes.checked_mul(rows).and_then(|bytes| bytes.checked_add((width as usize).checked_mul(4)?));
    let bytes =
        bytes.filter(|&bytes| bytes <= isize::MAX as usize).ok_or(Failure::Size { width, height, stride_bytes })?;
    // SAFETY: the caller promises this many bytes.
    let rgba = unsafe { slice("rgba", rgba, bytes) }?;
    Ok(Picture::rgba(rgba, [width, height], stride_bytes)?)
}

/// A picture file.
///
/// # Safety
/// `path` is NULL or ends with a zero byte.
pub(crate) unsafe fn file(path: *const c_char) -> Result<Picture<'static>, Failure> {
    // SAFETY: as the caller promises.
    let path = unsafe { text("path", path) }?;
    Ok(Picture::open(path.ok_or(Failure::Null("path"))?)?)
}
