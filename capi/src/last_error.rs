//! The last error of each thread.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

/// Why a call failed.
pub(crate) enum Failure {
    /// A pointer that must not be NULL.
    Null(&'static str),
    /// A pointer to floats or structs at an odd address.
    Unaligned(&'static str),
    /// A string that is not UTF-8.
    NotUtf8(&'static str),
    /// A flag that does not exist.
    Flags(u32),
    /// More guesses than classes, or none.
    Count { count: usize, classes: usize },
    /// A call for other networks.
    OtherTask { found: &'static str, call: &'static str },
    /// Room for another number of pixels than the picture has.
    Pixels { pixels: usize, there: usize },
    /// A score that is not a number, or beyond the detector's limits.
    Score(f32),
    /// A picture of more bytes than memory can hold.
    Size { width: u32, height: u32, stride_bytes: usize },
    /// A tensor of more elements than memory can hold.
    Shape([usize; 4]),
    /// An output that the network does not have.
    Output { index: usize, there: usize },
    /// A bug in this library.
    Panic,
    /// An error from the library.
    Library(resnet_rs::Error),
}

impl<E: Into<resnet_rs::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Library(error.into())
    }
}

impl Failure {
    fn message(&self) -> String {
        match self {
            Self::Null(name) => format!("{name} is NULL"),
            Self::Unaligned(name) => format!("{name} is not aligned for its type"),
            Self::NotUtf8(name) => format!("{name} is not UTF-8"),
            Self::Flags(flags) => {
                format!("flags {flags:#x} contain one that does not exist: RESNET_RS_F16 is the only one")
            }
            Self::Count { count, classes } => format!("{count} guesses were requested, 1 to {classes} can be had"),
            Self::OtherTask { found, call } => {
                format!("the network is a {found}: call {call}() or {call}_file()")
            }
            Self::Pixels { pixels, there } => {
                format!("room for {pixels} pixels, the picture has {there}: ask resnet_rs_picture_size()")
            }
            Self::Score(score) => format!("the score is {score}: it must be from 0.05 to 1"),
            Self::Size { width, height, stride_bytes } => {
                format!(
                    "a picture of {width} x {height} pixels with rows {stride_bytes} bytes apart is larger than memory"
                )
            }
            Self::Shape(shape) => format!("a tensor of shape {shape:?} is larger than memory"),
            Self::Output { index, there } => format!("there are {there} outputs, and none has the index {index}"),
            Self::Panic => {
                "resnet-rs has failed in a way that it should not: please report it, with what it wrote to stderr"
                    .into()
            }
            Self::Library(error) => error.with_causes(),
        }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

pub(crate) fn set(failure: &Failure) {
    let bytes: Vec<u8> = failure.message().bytes().filter(|&byte| byte != 0).collect();
    // A thread that is ending may have dropped its storage.
    let _ = LAST.try_with(|last| *last.borrow_mut() = CString::new(bytes).unwrap_or_default());
}

pub(crate) fn get() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
