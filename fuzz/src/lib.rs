//! What all targets share: a reader may take little memory, and a target is a line.

use peak_alloc::PeakAlloc;

pub use libfuzzer_sys;
pub use resnet_rs::fuzzing;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A reader may take this much memory, and [`INPUTS`] times its input besides.
const FREE_BYTES: usize = 256 << 20;
const INPUTS: usize = 20;

/// Runs a reader on an input. Panics if the reader takes too much memory.
pub fn run(input: &[u8], reader: fn(&[u8])) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    reader(input);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let most = FREE_BYTES + INPUTS * input.len();
    let length = input.len();
    assert!(taken <= most, "an input of {length} bytes takes {taken} bytes of memory; at most {most} are allowed");
}

/// The target of a reader, one of [`fuzzing`]'s functions.
#[macro_export]
macro_rules! target {
    ($reader:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::run(input, $crate::fuzzing::$reader));
    };
}
